/* file_list.h: the regular files below some arguments, with the names they get on the other side. */
#ifndef FILE_LIST_H
#define FILE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file_item {
    char *path; /* to open it here */
    char *name; /* relative, without "." and "..": points into `path` or is its last part */
    uint64_t size;
    uint32_t mode;
};

struct file_list {
    struct file_item *items;
    size_t cnt, cap;
    uint64_t bytes;
    size_t skipped_cnt; /* symbolic links, devices and what could not be read */
    size_t unreadable_cnt;
    char first_unreadable[512]; /* its path and why */
};

/* What a name is made of. */
enum file_list_naming {
    FILE_LIST_AS_GIVEN, /* "a/b" stays "a/b"; of absolute paths and "..", what follows the last part */
    FILE_LIST_BELOW,    /* what stands below the argument, a directory */
};

/* Adds an argument: a file, or a directory with everything below it, ordered by name. Symbolic links
 * are followed for the argument itself only. What cannot be opened is counted, not added.
 * Returns 0 or a negative errno (of the argument itself, or of memory). */
int file_list_add(struct file_list *list, const char *argument, enum file_list_naming naming);
void file_list_free(struct file_list *list);

#endif
