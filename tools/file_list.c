#include "file_list.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How many bytes at the beginning of a path are not part of the name. */
static size_t name_offset(const char *argument, enum file_list_naming naming, bool is_directory)
{
    size_t len = strlen(argument);
    if (naming == FILE_LIST_BELOW && is_directory)
        return len + 1;
    /* Behind the last "..", and behind the last slash of an absolute path. */
    size_t from = 0;
    const char *last = strrchr(argument, '/');
    if (argument[0] == '/')
        from = (size_t)(last - argument) + 1;
    for (size_t at = 0; at < len;) {
        const char *slash = strchr(argument + at, '/');
        size_t to = slash != NULL ? (size_t)(slash - argument) : len;
        bool is_dots = (to - at == 1 && argument[at] == '.') ||
                       (to - at == 2 && argument[at] == '.' && argument[at + 1] == '.');
        if (is_dots && to + 1 > from)
            from = to + 1;
        at = to + 1;
    }
    return from;
}

static int add_item(struct file_list *list, const FTSENT *entry, size_t offset)
{
    if (list->cnt == list->cap) {
        size_t cap = list->cap != 0 ? 2 * list->cap : 256;
        struct file_item *items = realloc(list->items, cap * sizeof(*items));
        if (items == NULL)
            return -ENOMEM;
        list->items = items;
        list->cap = cap;
    }
    char *path = strdup(entry->fts_path);
    if (path == NULL)
        return -ENOMEM;
    list->items[list->cnt++] = (struct file_item){
        .path = path,
        .name = path + (offset < strlen(path) ? offset : 0),
        .size = (uint64_t)entry->fts_statp->st_size,
        .mode = (uint32_t)entry->fts_statp->st_mode,
    };
    list->bytes += (uint64_t)entry->fts_statp->st_size;
    return 0;
}

static void note_unreadable(struct file_list *list, const char *path, int error)
{
    list->skipped_cnt++;
    if (list->unreadable_cnt++ == 0)
        snprintf(list->first_unreadable, sizeof(list->first_unreadable), "%.400s: %s", path,
                 strerror(error));
}

static int by_name(const FTSENT **left, const FTSENT **right)
{
    return strcmp((*left)->fts_name, (*right)->fts_name);
}

static int add_entry(struct file_list *list, FTS *fts, FTSENT *entry, size_t offset)
{
    switch (entry->fts_info) {
    case FTS_F:
        if (!S_ISREG(entry->fts_statp->st_mode))
            break;
        /* access() would ask for the real user; opening is what counts later. */
        {
            int fd = open(entry->fts_accpath, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
            if (fd < 0) {
                note_unreadable(list, entry->fts_path, errno);
                return 0;
            }
            close(fd);
        }
        return add_item(list, entry, offset);
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        if (entry->fts_level == 0)
            return -entry->fts_errno;
        note_unreadable(list, entry->fts_path, entry->fts_errno);
        return 0;
    case FTS_D:
    case FTS_DP:
        return 0;
    case FTS_DC:
        fts_set(fts, entry, FTS_SKIP);
        break;
    default:
        break;
    }
    list->skipped_cnt++;
    return 0;
}

/* Makes "dir//sub/" be "dir/sub", so that both give the same names. */
static void squeeze_slashes(char *path)
{
    size_t len = 0;
    for (const char *c = path; *c != '\0'; c++) {
        if (*c != '/' || len == 0 || path[len - 1] != '/')
            path[len++] = *c;
    }
    if (len > 1 && path[len - 1] == '/')
        len--;
    path[len] = '\0';
}

int file_list_add(struct file_list *list, const char *argument, enum file_list_naming naming)
{
    struct stat info;
    if (stat(argument, &info) != 0)
        return -errno;
    char *root = strdup(argument);
    if (root == NULL)
        return -ENOMEM;
    squeeze_slashes(root);
    size_t offset = name_offset(root, naming, S_ISDIR(info.st_mode));
    if (strcmp(root, "/") == 0)
        offset = 1;

    char *roots[] = {root, NULL};
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_name);
    int error = fts == NULL ? -errno : 0;
    while (error == 0) {
        errno = 0;
        FTSENT *entry = fts_read(fts);
        if (entry == NULL) {
            error = -errno;
            break;
        }
        error = add_entry(list, fts, entry, offset);
    }
    if (fts != NULL)
        fts_close(fts);
    free(root);
    return error;
}

void file_list_free(struct file_list *list)
{
    for (size_t i = 0; i < list->cnt; i++)
        free(list->items[i].path);
    free(list->items);
    *list = (struct file_list){0};
}
