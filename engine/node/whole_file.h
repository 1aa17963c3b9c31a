/* engine/node/whole_file.h: files that are read and written as a whole. Both wait for the disk: not for a shard's
 * thread. */
#ifndef WEIR_ENGINE_NODE_WHOLE_FILE_H
#define WEIR_ENGINE_NODE_WHOLE_FILE_H

#include <stddef.h>

/* Reads a regular file of at most `bytes_max` (what is behind them is left out). Returns memory that the caller
 * gives to weir_heap_release, or NULL with errno. */
char *weir_file_read(const char *path, size_t bytes_max, size_t *ret_len);

/* Writes a file so that at any instant there is the whole old one or the whole new one: to "PATH.tmp", synced, then
 * renamed, then the folder synced. Mode 0600. Returns 0 or an errno; the old file stays as it was then. */
int weir_file_replace(const char *path, const void *bytes, size_t len);

/* Removes a file, so that it does not come back after a power failure. Returns 0 or an errno. */
int weir_file_remove(const char *path);

#endif
