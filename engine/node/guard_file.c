/* The file of bans: read when the node is made, written by a thread of its own whenever they change, because a
 * shard must not wait for a disk. The text is peers/bans.h's; a new file replaces the old one in one step. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/node/internal.h"

#define FILE_BYTES_MAX ((size_t)65536 * WEIR_BAN_LINE_BYTES)

/* ---- reading ------------------------------------------------------------------------------- */

/* Reads a whole file; NULL with errno. */
static char *read_all(const char *path, size_t *ret_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat stat;
    if (fd < 0)
        return NULL;
    char *text = NULL;
    size_t len = 0;
    if (fstat(fd, &stat) == 0 && !S_ISREG(stat.st_mode))
        errno = EINVAL;
    else
        text = weir_heap_alloc(NULL, FILE_BYTES_MAX);
    while (text && len < FILE_BYTES_MAX) {
        ssize_t got = read(fd, text + len, FILE_BYTES_MAX - len);
        if (got < 0 && errno != EINTR) {
            int error = errno;
            weir_heap_release(text);
            text = NULL;
            errno = error;
        } else if (got == 0) {
            break;
        } else if (got > 0) {
            len += (size_t)got;
        }
    }
    int error = errno;
    close(fd);
    errno = error;
    *ret_len = len;
    return text;
}

/* What is damaged is kept aside, for whoever wants to look. */
static void tell_damage(weir_node *node, const struct weir_bans_read *got)
{
    const char *path = node->guard.path;
    char aside[sizeof(node->guard.path) + 16];
    snprintf(aside, sizeof(aside), "%s.damaged", path);
    bool is_aside = rename(path, aside) == 0;
    weir_log(node, WEIR_LOG_WARN,
             "bans: %s is damaged (%u lines, the first is line %u%s): the other %u bans hold%s%s",
             path, got->damaged_cnt, got->damaged_line,
             got->is_cut ? "; its end is missing or does not match" : "", got->ban_cnt,
             is_aside ? "; the file is now " : "", is_aside ? aside : "");
}

int weir_guard_load(weir_node *node, uint64_t now_s)
{
    struct weir_guard *guard = &node->guard;
    const char *path = guard->path;
    if (!path[0])
        return 0;
    size_t len;
    char *text = read_all(path, &len);
    if (!text && errno == ENOENT)
        return 0;
    if (!text) {
        weir_log(node, WEIR_LOG_ERROR, "bans: %s cannot be read: %s", path, strerror(errno));
        return WEIR_E_ACCESS;
    }
    struct weir_bans_read got;
    weir_bans_parse(guard->bans, text, len, now_s, &got);
    weir_heap_release(text);
    if (got.dropped_cnt)
        weir_log(node, WEIR_LOG_WARN, "bans: %s has %u bans more than bans_max: dropped", path,
                 got.dropped_cnt);
    if (got.damaged_cnt || got.is_cut) {
        tell_damage(node, &got);
        guard->version++; /* written anew */
    }
    return 0;
}

/* ---- writing ------------------------------------------------------------------------------- */

static bool write_all(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t put = write(fd, text, len);
        if (put < 0 && errno != EINTR)
            return false;
        if (put > 0) {
            text += put;
            len -= (size_t)put;
        }
    }
    return true;
}

/* Makes the rename itself outlast a power failure. */
static void sync_folder(const char *path)
{
    char folder[1024];
    snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == folder)
        slash++;
    if (slash)
        *slash = '\0';
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

/* Returns 0 or an errno; the old file stays as it was then. */
static int write_file(const char *path, const char *text, size_t len)
{
    char temporary[1024 + 8];
    snprintf(temporary, sizeof(temporary), "%s.tmp", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno;
    int error = write_all(fd, text, len) && fsync(fd) == 0 ? 0 : errno;
    if (close(fd) != 0 && !error)
        error = errno;
    if (!error && rename(temporary, path) != 0)
        error = errno;
    if (error)
        (void)unlink(temporary);
    else
        sync_folder(path);
    return error;
}

/* Writes once; the mutex is held, and released meanwhile. False: it failed. */
static bool save(weir_node *node)
{
    struct weir_guard *guard = &node->guard;
    size_t room = ((size_t)weir_bans_cnt(guard->bans) + 2) * WEIR_BAN_LINE_BYTES;
    char *text = weir_heap_alloc_raw(NULL, room);
    if (!text)
        return false;
    size_t len = weir_bans_format(guard->bans, text);
    uint64_t version = guard->version;
    pthread_mutex_unlock(&guard->mutex);
    int error = write_file(guard->path, text, len);
    weir_heap_release(text);
    if (error)
        weir_log(node, WEIR_LOG_WARN, "bans: %s cannot be written: %s; trying again with the next",
                 guard->path, strerror(error));
    pthread_mutex_lock(&guard->mutex);
    if (!error)
        guard->saved_version = version;
    return !error;
}

static void *run(void *arg)
{
    weir_node *node = arg;
    struct weir_guard *guard = &node->guard;
    pthread_setname_np(pthread_self(), "weir-bans");
    pthread_mutex_lock(&guard->mutex);
    uint64_t tried = guard->saved_version;
    for (;;) {
        while (!guard->is_stopping && (guard->version == tried))
            pthread_cond_wait(&guard->cond, &guard->mutex);
        bool is_last = guard->is_stopping;
        tried = guard->version;
        if (guard->version != guard->saved_version)
            (void)save(node);
        if (is_last)
            break;
    }
    pthread_mutex_unlock(&guard->mutex);
    return NULL;
}

void weir_guard_changed(weir_node *node)
{
    struct weir_guard *guard = &node->guard;
    guard->version++;
    if (!guard->path[0])
        return;
    if (!guard->has_saver && !guard->is_stopping)
        guard->has_saver = pthread_create(&guard->saver, NULL, run, node) == 0;
    pthread_cond_signal(&guard->cond);
}

void weir_guard_end_saver(weir_node *node)
{
    struct weir_guard *guard = &node->guard;
    pthread_mutex_lock(&guard->mutex);
    bool has_saver = guard->has_saver;
    guard->has_saver = false;
    guard->is_stopping = true;
    /* Without a thread (none could be made, or nothing changed but the damage that was found). */
    if (!has_saver && guard->path[0] && guard->bans && guard->version != guard->saved_version)
        (void)save(node);
    pthread_cond_signal(&guard->cond);
    pthread_mutex_unlock(&guard->mutex);
    if (has_saver)
        pthread_join(guard->saver, NULL);
}
