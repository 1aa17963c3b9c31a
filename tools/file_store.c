#include "file_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_BYTES_MAX 255
#define PATH_BYTES_MAX 4095

int file_store_open(struct file_store *ret_store, const char *path, bool is_synced)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return -errno;
    /* The user named this directory, so a symbolic link to it is followed. */
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    mode_t mask = umask(0); /* can only be read by setting it; no other thread runs yet */
    umask(mask);
    *ret_store = (struct file_store){.root_fd = fd, .mask = mask, .is_synced = is_synced};
    return 0;
}

void file_store_close(struct file_store *store)
{
    if (store->root_fd >= 0)
        close(store->root_fd);
    store->root_fd = -1;
}

const char *file_store_path_fault(const uint8_t *path, size_t len)
{
    if (len == 0)
        return "it is empty";
    if (len > PATH_BYTES_MAX)
        return "it is longer than 4095 bytes";
    if (memchr(path, '\0', len) != NULL)
        return "it contains a zero byte";
    if (path[0] == '/')
        return "it is absolute";
    for (size_t from = 0; from <= len;) {
        const uint8_t *slash = memchr(path + from, '/', len - from);
        size_t to = slash != NULL ? (size_t)(slash - path) : len;
        size_t part_len = to - from;
        const uint8_t *part = path + from;
        if (part_len == 0)
            return "a part of it is empty";
        if (part_len > NAME_BYTES_MAX)
            return "a part of it is longer than 255 bytes";
        if (part[0] == '.' && (part_len == 1 || (part_len == 2 && part[1] == '.')))
            return "it contains \".\" or \"..\"";
        from = to + 1;
    }
    return NULL;
}

/* Opens the directory that `path` names its file in, part by part, and finds the file's name.
 * Returns a descriptor or a negative errno. */
static int open_parent(const struct file_store *store, const char *path, const char **ret_name)
{
    int dir_fd = fcntl(store->root_fd, F_DUPFD_CLOEXEC, 0);
    if (dir_fd < 0)
        return -errno;
    for (;;) {
        const char *slash = strchr(path, '/');
        if (slash == NULL) {
            *ret_name = path;
            return dir_fd;
        }
        char part[NAME_BYTES_MAX + 1];
        size_t len = (size_t)(slash - path);
        memcpy(part, path, len);
        part[len] = '\0';
        int error = 0;
        if (mkdirat(dir_fd, part, 0777) != 0 && errno != EEXIST)
            error = -errno;
        int next_fd = -1;
        if (error == 0) {
            next_fd = openat(dir_fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (next_fd < 0)
                error = -errno;
        }
        close(dir_fd);
        if (error != 0)
            return error;
        dir_fd = next_fd;
        path = slash + 1;
    }
}

int file_writer_begin(struct file_writer *ret_writer, const struct file_store *store,
                      const char *path, uint32_t mode)
{
    if (file_store_path_fault((const uint8_t *)path, strlen(path)) != NULL)
        return -EINVAL;
    const char *name = "";
    int dir_fd = open_parent(store, path, &name);
    if (dir_fd < 0)
        return dir_fd;

    struct file_writer writer = {.fd = -1, .dir_fd = dir_fd, .is_synced = store->is_synced};
    snprintf(writer.name, sizeof(writer.name), "%s", name);
    int error = -EEXIST;
    for (int i = 0; i < 16 && error == -EEXIST; i++) {
        uint64_t random = 0;
        if (getrandom(&random, sizeof(random), 0) != sizeof(random)) {
            error = -EIO;
            break;
        }
        snprintf(writer.temp_name, sizeof(writer.temp_name), ".weir-%016" PRIx64 ".part", random);
        /* Nobody but us reads it before it is whole; the permissions come at the end. */
        writer.fd = openat(dir_fd, writer.temp_name,
                           O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        error = writer.fd < 0 ? -errno : 0;
    }
    if (error == 0) {
        if (fchmod(writer.fd, (mode_t)(mode & 0777u & ~store->mask)) != 0)
            error = -errno;
    } else {
        writer.temp_name[0] = '\0'; /* not ours to remove */
    }
    if (error != 0) {
        file_writer_abort(&writer);
        return error;
    }
    *ret_writer = writer;
    return 0;
}

int file_writer_add(struct file_writer *writer, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t written = write(writer->fd, at, len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? -errno : -EIO;
        at += written;
        len -= (size_t)written;
    }
    return 0;
}

int file_writer_commit(struct file_writer *writer)
{
    int error = 0;
    if (writer->is_synced && fsync(writer->fd) != 0)
        error = -errno;
    /* close() is where some file systems first tell of a full disk. */
    if (close(writer->fd) != 0 && error == 0)
        error = -errno;
    writer->fd = -1;
    if (error == 0 &&
        renameat(writer->dir_fd, writer->temp_name, writer->dir_fd, writer->name) != 0)
        error = -errno;
    if (error == 0) {
        writer->temp_name[0] = '\0';
        if (writer->is_synced && fsync(writer->dir_fd) != 0)
            error = -errno;
    }
    file_writer_abort(writer);
    return error;
}

void file_writer_abort(struct file_writer *writer)
{
    if (writer->fd >= 0)
        close(writer->fd);
    if (writer->dir_fd >= 0) {
        if (writer->temp_name[0] != '\0')
            unlinkat(writer->dir_fd, writer->temp_name, 0);
        close(writer->dir_fd);
    }
    *writer = FILE_WRITER_NONE;
}
