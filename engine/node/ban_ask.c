/* Bans that another program asks a node for, running or not.
 *
 * The file of bans has one writer, its node. Who wants something of it appends a line to "PATH.asks", under a lock; the
 * node renames that file to "PATH.asks.taken", carries out each line, writes its own file and then removes the taken
 * one. So nothing that was asked for is lost: not where both write at once (a writer that has the lock has checked that
 * the file still has its name; the node waits for the lock), nor with a crash (what was taken is taken again; times are
 * absolute, so that twice is once).
 *
 * A line is that of the file of bans, hash and all; until 0 asks for the end of a ban. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/node/internal.h"
#include "engine/node/whole_file.h"

#define ASK_BYTES_MAX ((size_t)1 << 20)
#define LOCK_TRIES \
    1000 /* of 10 ms: who holds the lock is writing one line, perhaps to a slow disk */
#define PATH_BYTES 1024u

/* False: the path is too long. */
static bool name_of(const char *ban_path, const char *tail, char ret_path[PATH_BYTES])
{
    int len = snprintf(ret_path, PATH_BYTES, "%s%s", ban_path, tail);
    return len > 0 && len < (int)PATH_BYTES - 8;
}

static int error_of(int number)
{
    return number == EACCES || number == EPERM || number == EROFS ? WEIR_E_ACCESS : WEIR_E_SYSTEM;
}

/* ---- asking -------------------------------------------------------------------------------- */

/* Whether the open file is the one that has the name now. */
static bool has_name(int fd, const char *path)
{
    struct stat own, named;
    return fstat(fd, &own) == 0 && stat(path, &named) == 0 && own.st_dev == named.st_dev &&
           own.st_ino == named.st_ino;
}

/* Opens the file and locks it, so that it will not be taken before the lock is gone. */
static int open_locked(const char *path)
{
    for (;;) {
        int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
        if (fd < 0)
            return -1;
        while (flock(fd, LOCK_EX) != 0) {
            if (errno == EINTR)
                continue;
            int number = errno;
            close(fd);
            errno = number;
            return -1;
        }
        if (has_name(fd, path))
            return fd;
        close(fd);
    }
}

static bool append(int fd, const char *text, size_t len)
{
    ssize_t put = write(fd, text, len);
    if (put == (ssize_t)len)
        return true;
    if (put >= 0) /* a disk that is full: half a line is one that nobody can read */
        errno = ENOSPC;
    return false;
}

static int ask(const char *ban_path, const struct weir_ban_entry *entry)
{
    char path[PATH_BYTES], line[WEIR_BAN_LINE_BYTES], last = '\n';
    if (!name_of(ban_path, ".asks", path))
        return WEIR_E_MISUSE;
    size_t len = weir_ban_line_format(entry, line);
    int fd = open_locked(path);
    if (fd < 0)
        return error_of(errno);
    int error = 0;
    off_t size = lseek(fd, 0, SEEK_END);
    if (size > (off_t)(ASK_BYTES_MAX - WEIR_BAN_LINE_BYTES))
        error = WEIR_E_LIMIT;
    /* Somebody died in the middle of a line: it is not to take the next one along. */
    if (!error && size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n' &&
        !append(fd, "\n", 1))
        error = error_of(errno);
    if (!error && (!append(fd, line, len) || fdatasync(fd) != 0))
        error = error_of(errno);
    close(fd);
    return error;
}

static uint64_t unix_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec;
}

int weir_ban_ask(const char *ban_path, const char *whom, weir_ns duration, int reason)
{
    struct weir_ban_entry entry = {.is_manual = true, .since_s = unix_s()};
    if (!ban_path || !ban_path[0] || !whom || duration == 0 || reason < 0 ||
        reason >= WEIR_REASON_CNT)
        return WEIR_E_MISUSE;
    int error = weir_ban_whom_parse(&entry, whom);
    entry.until_s = weir_ban_end_s(entry.since_s, duration);
    entry.reason = reason ? (uint16_t)reason : (uint16_t)WEIR_R_BANNED;
    return error ? error : ask(ban_path, &entry);
}

int weir_unban_ask(const char *ban_path, const char *whom)
{
    struct weir_ban_entry entry = {.is_manual = true, .since_s = unix_s(), .reason = WEIR_R_BANNED};
    if (!ban_path || !ban_path[0] || !whom)
        return WEIR_E_MISUSE;
    int error = weir_ban_whom_parse(&entry, whom);
    return error ? error : ask(ban_path, &entry);
}

int weir_ban_is_asked(const char *ban_path)
{
    static const char *const tails[] = {".asks", ".asks.taken"};
    struct stat stat_of;
    char path[PATH_BYTES];
    if (!ban_path)
        return 0;
    for (size_t i = 0; i < 2; i++) {
        if (name_of(ban_path, tails[i], path) && stat(path, &stat_of) == 0)
            return 1;
    }
    return 0;
}

int64_t weir_ban_read(const char *ban_path, struct weir_ban_info *ret_bans, size_t ban_max)
{
    if (!ban_path || (!ret_bans && ban_max))
        return WEIR_E_MISUSE;
    size_t len;
    char *text = weir_file_read(ban_path, WEIR_BAN_FILE_BYTES_MAX, &len);
    if (!text && errno == ENOENT)
        return 0;
    if (!text)
        return error_of(errno);
    struct weir_bans *bans;
    struct weir_bans_read got;
    int64_t cnt = weir_bans_create(&bans, WEIR_BANS_MAX);
    if (cnt == 0) {
        weir_bans_parse(bans, text, len, unix_s(), &got);
        cnt = weir_bans_tell(bans, unix_s(), ret_bans, ban_max);
        weir_bans_free(bans);
    }
    weir_heap_release(text);
    return cnt;
}

/* ---- taking -------------------------------------------------------------------------------- */

/* Waits until nobody writes to the file any more. */
static bool is_written(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
    bool is_free = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) == 0;
    const struct timespec wait = {.tv_nsec = 10 * (long)WEIR_NS_PER_MS};
    for (int i = 0; fd >= 0 && !is_free && i < LOCK_TRIES; i++) {
        nanosleep(&wait, NULL);
        is_free = flock(fd, LOCK_SH | LOCK_NB) == 0;
    }
    if (fd >= 0)
        close(fd);
    return is_free;
}

static bool carry_out(weir_node *node, const struct weir_ban_entry *entry)
{
    if (entry->until_s == 0)
        return weir_guard_end_ban(node, entry);
    if (entry->until_s <= weir_guard_wall_s(node))
        return false; /* over before anybody heard of it */
    int error = weir_guard_add_ban(node, entry, 0);
    if (error)
        weir_log(node, WEIR_LOG_WARN, "bans: one that was asked for cannot be had: %s",
                 weir_error_text(error));
    return error == 0;
}

static int64_t carry_out_all(weir_node *node, const char *path, const char *text, size_t len)
{
    int64_t done = 0;
    uint32_t number = 0, damaged = 0;
    for (size_t at = 0; at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t line_len = end ? (size_t)(end - text) - at : len - at;
        char line[WEIR_BAN_LINE_BYTES];
        struct weir_ban_entry entry;
        number++;
        bool is_good = end && line_len < sizeof(line);
        if (is_good) {
            memcpy(line, text + at, line_len);
            is_good = weir_ban_line_parse(line, line_len, &entry) && entry.is_manual;
        }
        if (is_good)
            done += carry_out(node, &entry);
        else if (damaged++ == 0)
            weir_log(node, WEIR_LOG_WARN, "bans: %s:%u: damaged, and left out", path, number);
        at += line_len + 1;
    }
    return done;
}

/* Carries out what lies in a file that was taken; none: 0. */
static int64_t take_file(weir_node *node, const char *path)
{
    size_t len;
    char *text = NULL;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return 0;
    if (!is_written(path))
        return errno == EWOULDBLOCK ? WEIR_E_TIMEOUT : error_of(errno);
    text = weir_file_read(path, ASK_BYTES_MAX, &len);
    if (!text)
        return error_of(errno);
    int64_t done = carry_out_all(node, path, text, len);
    weir_heap_release(text);
    if (!weir_guard_save(node))
        return WEIR_E_SYSTEM; /* they hold, and are taken again */
    if (weir_file_remove(path) != 0)
        return error_of(errno);
    return done;
}

int64_t weir_guard_take_asks(weir_node *node)
{
    struct weir_guard *guard = &node->guard;
    char asked[PATH_BYTES], taken[PATH_BYTES];
    if (!name_of(guard->path, ".asks", asked) || !name_of(guard->path, ".asks.taken", taken))
        return WEIR_E_MISUSE;
    pthread_mutex_lock(&guard->take_mutex);
    int64_t before = take_file(node, taken), done = 0;
    if (before >= 0) {
        if (rename(asked, taken) == 0)
            done = take_file(node, taken);
        else if (errno != ENOENT)
            done = error_of(errno);
    }
    pthread_mutex_unlock(&guard->take_mutex);
    return before < 0 ? before : done < 0 ? done : before + done;
}

int64_t weir_ban_take(weir_node *node)
{
    if (!node)
        return WEIR_E_MISUSE;
    if (weir_shard_here(node))
        return WEIR_E_SHARD_THREAD;
    if (!node->guard.path[0])
        return WEIR_E_STATE;
    int64_t done = weir_guard_take_asks(node);
    weir_guard_sweep_shards(node);
    return done;
}
