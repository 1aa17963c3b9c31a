/* file_store.h: files written under one directory and never outside of it.
 *
 * A path comes from a peer and is trusted in nothing: it must be relative, without empty parts, "."
 * and "..". Each directory on the way is opened (and made) by itself, without following symbolic
 * links. A file is written under a temporary name and appears under its own only when it is complete.
 */
#ifndef FILE_STORE_H
#define FILE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file_store {
    int root_fd;
    uint32_t mask;  /* the process's umask */
    bool is_synced; /* fsync each file before it gets its name, and its directory after */
};

/* A file that is being written. */
struct file_writer {
    int fd, dir_fd; /* -1 when there is none */
    bool is_synced;
    char temp_name[40];
    char name[256];
};

/* Opens a directory, which is made when it does not exist (its parent must). Call it before other
 * threads make files: it reads the umask.
 * Returns 0 or a negative errno. */
int file_store_open(struct file_store *ret_store, const char *path, bool is_synced);
void file_store_close(struct file_store *store);

/* Says whether a path of `len` bytes, not terminated, may be used. Returns NULL, or why not. */
const char *file_store_path_fault(const uint8_t *path, size_t len);

/* Begins a file; only the permission bits of `mode` count. The path must have no fault.
 * Returns 0 or a negative errno: -ELOOP or -ENOTDIR where a symbolic link is in the way. */
int file_writer_begin(struct file_writer *ret_writer, const struct file_store *store,
                      const char *path, uint32_t mode);

/* Appends. Returns 0 or a negative errno. */
int file_writer_add(struct file_writer *writer, const void *data, size_t len);

/* Gives the file its name, replacing what had it. On failure the file is removed. Either way the
 * writer is done. Returns 0 or a negative errno. */
int file_writer_commit(struct file_writer *writer);

/* Removes what was written; fine for a writer that is done. */
void file_writer_abort(struct file_writer *writer);

/* Where a writer starts: no file. */
#define FILE_WRITER_NONE ((struct file_writer){.fd = -1, .dir_fd = -1})

#endif
