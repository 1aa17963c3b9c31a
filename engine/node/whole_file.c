#include "engine/node/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/mem/heap.h"

char *weir_file_read(const char *path, size_t bytes_max, size_t *ret_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat stat;
    if (fd < 0)
        return NULL;
    char *text = NULL;
    size_t len = 0;
    if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode)) {
        errno = EINVAL;
    } else {
        if (bytes_max > (size_t)stat.st_size)
            bytes_max = (size_t)stat.st_size;
        text = weir_heap_alloc(NULL, bytes_max + 1);
    }
    while (text && len < bytes_max) {
        ssize_t got = read(fd, text + len, bytes_max - len);
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

int weir_file_replace(const char *path, const void *bytes, size_t len)
{
    char temporary[1024 + 8];
    snprintf(temporary, sizeof(temporary), "%s.tmp", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno;
    int error = write_all(fd, bytes, len) && fsync(fd) == 0 ? 0 : errno;
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

int weir_file_remove(const char *path)
{
    if (unlink(path) != 0)
        return errno;
    sync_folder(path);
    return 0;
}
