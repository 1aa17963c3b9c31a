#include "engine/node/key_text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/crypto.h"

#define FILE_BYTES_MAX 4096u /* a few lines; more is not ours */
#define NAME_BYTES_MAX 255u
#define FILE_MODE_OTHERS 077u

/* Says what the system answered, and finds the code for it. */
static int system_fail(int number, const char *doing, char *ret_why)
{
    if (ret_why)
        snprintf(ret_why, WEIR_KEY_WHY_BYTES, "%s: %s, %s", strerrorname_np(number),
                 strerrordesc_np(number), doing);
    return number == EACCES || number == EPERM || number == EROFS ? WEIR_E_ACCESS
           : number == EEXIST                                     ? WEIR_E_IN_USE
           : number == ENOMEM                                     ? WEIR_E_NOMEM
                                                                  : WEIR_E_SYSTEM;
}

/* ---- writing ------------------------------------------------------------------------------------- */

/* Opens the folder that `path` is in; `*ret_name` is the rest. Returns a descriptor or a negative errno. */
static int folder_open(const char *path, const char **ret_name)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    *ret_name = slash ? slash + 1 : path;
    if (**ret_name == '\0')
        return -EISDIR;
    if (strlen(*ret_name) > NAME_BYTES_MAX || len >= sizeof folder)
        return -ENAMETOOLONG;
    if (!slash)
        memcpy(folder, ".", 2);
    else if (len == 0)
        memcpy(folder, "/", 2);
    else
        memcpy(folder, path, len), folder[len] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t written = write(fd, text, len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? errno : EIO;
        text += written;
        len -= (size_t)written;
    }
    return 0;
}

/* Makes the new file under a name of its own, whole and on the disk. Returns 0 or an errno; nothing is
 * left behind on failure. */
static int temp_write(int folder_fd, const char *text, size_t len, char ret_name[64])
{
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return EIO;
    snprintf(ret_name, 64, ".weir-key-%016" PRIx64 ".part", random);
    int fd =
        openat(folder_fd, ret_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    int error = fchmod(fd, 0600) != 0 ? errno : 0; /* whatever the umask is */
    if (!error)
        error = write_all(fd, text, len);
    if (!error && fsync(fd) != 0)
        error = errno;
    if (close(fd) != 0 && !error)
        error = errno;
    if (error)
        unlinkat(folder_fd, ret_name, 0);
    return error;
}

/* Gives the file its name. Returns 0 or an errno. */
static int temp_name(int folder_fd, const char *temp, const char *name, bool is_replace)
{
    if (is_replace)
        return renameat(folder_fd, temp, folder_fd, name) != 0 ? errno : 0;
    /* A second name and not a rename: it fails when there is such a file, on every file system. */
    if (linkat(folder_fd, temp, folder_fd, name, 0) != 0)
        return errno;
    unlinkat(folder_fd, temp, 0);
    return 0;
}

int weir_key_store(const struct weir_key *key, const char *path, uint32_t flags, char *ret_why)
{
    char line[WEIR_KEY_TEXT_BYTES], text[512], temp[64], id_text[WEIR_ID_TEXT_BYTES];
    struct weir_id id;
    const char *name;
    if (!path || (key->kind != WEIR_KEY_NODE && key->kind != WEIR_KEY_NETWORK))
        return WEIR_E_MISUSE;
    int error = key->kind == WEIR_KEY_NODE ? weir_key_id(&id, key) : 0;
    if (error)
        return error;
    int folder_fd = folder_open(path, &name);
    if (folder_fd < 0)
        return system_fail(-folder_fd, "opening its folder", ret_why);

    weir_key_text_write(key, line);
    int len =
        key->kind == WEIR_KEY_NODE
            ? snprintf(text, sizeof text,
                       "# The secret key of a weir node. Whoever has it is this node:\n"
                       "# %s\n%s\n",
                       weir_id_text(&id, id_text), line)
            : snprintf(text, sizeof text,
                       "# The secret key of a weir network. Whoever has it may join.\n%s\n", line);
    int number = temp_write(folder_fd, text, (size_t)len, temp);
    if (number) {
        error = system_fail(number, "writing it", ret_why);
    } else {
        number = temp_name(folder_fd, temp, name, (flags & WEIR_KEY_REPLACE) != 0);
        if (number) {
            unlinkat(folder_fd, temp, 0);
            error = system_fail(number, "giving it its name", ret_why);
        } else if (fsync(folder_fd) != 0) {
            error = system_fail(errno, "writing its folder", ret_why);
        }
    }
    close(folder_fd);
    weir_wipe(line, sizeof line);
    weir_wipe(text, sizeof text);
    return error;
}

/* ---- reading ------------------------------------------------------------------------------------- */

/* Whether the open file is one that only its owner, or the system, can read. */
static int file_judge(int fd, char *ret_why)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0)
        return system_fail(errno, "looking at it", ret_why);
    if (!S_ISREG(stat.st_mode)) {
        weir_key_why(ret_why, "it is not a regular file");
        return WEIR_E_KEY;
    }
    if ((stat.st_mode & FILE_MODE_OTHERS) != 0) {
        if (ret_why)
            snprintf(ret_why, WEIR_KEY_WHY_BYTES,
                     "its mode is %04o, so others than its owner can use it; chmod 600 it",
                     (unsigned)(stat.st_mode & 07777));
        return WEIR_E_KEY_EXPOSED;
    }
    if (stat.st_uid != geteuid() && stat.st_uid != 0) {
        weir_key_why(ret_why, "it belongs to another user, who can read and change it");
        return WEIR_E_KEY_EXPOSED;
    }
    return 0;
}

/* Reads at most `cap` bytes. Returns how many or a negative errno. */
static ssize_t read_all(int fd, char *ret_text, size_t cap)
{
    size_t len = 0;
    while (len < cap) {
        ssize_t got = read(fd, ret_text + len, cap - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        len += (size_t)got;
    }
    return (ssize_t)len;
}

int weir_key_file_read(const char *text, size_t len, uint32_t kind, uint8_t ret_secret[32],
                       char *ret_why)
{
    const char *key = NULL;
    size_t key_len = 0;
    if (len > FILE_BYTES_MAX) {
        weir_key_why(ret_why, "it is too large for a key file");
        return WEIR_E_KEY;
    }
    for (size_t at = 0; at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t line_len = end ? (size_t)(end - (text + at)) : len - at;
        if (line_len > 0 && text[at] != '#') {
            if (line_len >= 10 && memcmp(text + at, "-----BEGIN", 10) == 0) {
                weir_key_why(ret_why, "it is a PEM file and not a weir key");
                return WEIR_E_KEY;
            }
            if (key) {
                weir_key_why(ret_why, "it has more than one line that is not a comment");
                return WEIR_E_KEY;
            }
            if (!end) {
                weir_key_why(ret_why, "it is cut short: its last line does not end");
                return WEIR_E_KEY;
            }
            key = text + at;
            key_len = line_len;
        }
        at += line_len + 1;
    }
    if (!key) {
        weir_key_why(ret_why, "there is no key in it: it is empty or cut short");
        return WEIR_E_KEY;
    }
    return weir_key_text_read(key, key_len, kind, ret_secret, ret_why);
}

int weir_key_load(struct weir_key *ret_key, const char *path, uint32_t kind, char *ret_why)
{
    char text[FILE_BYTES_MAX + 1];
    struct weir_key key = {.kind = kind};
    if (!path || (kind != WEIR_KEY_NODE && kind != WEIR_KEY_NETWORK))
        return WEIR_E_MISUSE;
    /* Without blocking: somebody may have put a pipe there. */
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return system_fail(errno, "opening it", ret_why);
    int error = file_judge(fd, ret_why);
    if (!error) {
        ssize_t len = read_all(fd, text, sizeof text);
        error = len < 0 ? system_fail((int)-len, "reading it", ret_why)
                        : weir_key_file_read(text, (size_t)len, kind, key.secret, ret_why);
        weir_wipe(text, sizeof text);
    }
    close(fd);
    if (!error)
        *ret_key = key;
    weir_key_wipe(&key);
    return error;
}
