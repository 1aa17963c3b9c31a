#include "engine/node/stats_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/node/gather.h"

#define LOG_NS (60 * WEIR_NS_PER_S)

_Static_assert(sizeof(struct weir_stats_head) == 256, "the layout is a promise");
_Static_assert(sizeof(struct weir_stats_record) == 256, "the layout is a promise");
_Static_assert((int)WEIR_SERIES_COUNTER == (int)WEIR_STATS_COUNTER &&
                   (int)WEIR_SERIES_GAUGE == (int)WEIR_STATS_GAUGE &&
                   (int)WEIR_SERIES_HISTOGRAM == (int)WEIR_STATS_HISTOGRAM &&
                   (int)WEIR_SERIES_NS == (int)WEIR_STATS_NS,
               "types and units are written as they are");

/* ---- the image ----------------------------------------------------------------------------- */

struct filling {
    struct weir_stats_record *records; /* NULL: only count */
    uint32_t cnt, max;
    const char *name;
    enum weir_series_type type;
};

static void on_family(void *ctx, const char *name, enum weir_series_type type, const char *help)
{
    (void)help;
    struct filling *filling = ctx;
    filling->name = name;
    filling->type = type;
}

static void on_sample(void *ctx, const char *suffix, const char *labels, uint64_t value,
                      enum weir_series_unit unit)
{
    struct filling *filling = ctx;
    uint32_t idx = filling->cnt++;
    if (idx >= filling->max)
        return;
    struct weir_stats_record *record = &filling->records[idx];
    if (!record->name[0]) { /* texts stay as they are from the first time on */
        snprintf(record->name, sizeof(record->name), "%s%s", filling->name, suffix);
        snprintf(record->labels, sizeof(record->labels), "%s", labels);
    }
    record->type = (uint8_t)filling->type;
    record->unit = (uint8_t)unit;
    record->value = value;
}

static uint32_t fill(weir_node *node, struct weir_stats_record *records, uint32_t max)
{
    struct filling filling = {.records = records, .max = max};
    struct weir_gather_sink sink = {.ctx = &filling, .family = on_family, .sample = on_sample};
    weir_gather(node, &sink);
    return filling.cnt;
}

/* ---- writing ------------------------------------------------------------------------------- */

static int write_at(int fd, const void *data, size_t len, off_t at)
{
    const uint8_t *bytes = data;
    while (len) {
        ssize_t done = pwrite(fd, bytes, len, at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? errno : ENOSPC;
        bytes += done;
        at += done;
        len -= (size_t)done;
    }
    return 0;
}

/* Returns 0 or an errno. */
static int write_image(weir_node *node, uint32_t flags)
{
    struct weir_stats_file *file = &node->stats;
    struct weir_stats_head *head = (struct weir_stats_head *)(void *)file->image;
    struct weir_stats_record *records =
        (struct weir_stats_record *)(void *)(file->image + sizeof(*head));
    (void)fill(node, records, head->record_cnt);
    head->flags = flags;
    head->updated_wall_ns = weir_node_wall_ns(node);
    head->updated_ns = weir_node_now(node);
    /* The odd number is in the file before the records change, and the even one after: the kernel copies upward, and
     * between two calls. All of it each time, so that a file that was damaged meanwhile heals. */
    head->seq = file->seq + 1;
    int error = write_at(file->fd, file->image, file->image_bytes, 0);
    file->seq += 2;
    head->seq = file->seq;
    if (!error)
        error = write_at(file->fd, &head->seq, sizeof(head->seq),
                         (off_t)offsetof(struct weir_stats_head, seq));
    return error;
}

void weir_stats_file_fire(struct weir_shard *shard)
{
    weir_node *node = shard->node;
    struct weir_stats_file *file = &node->stats;
    uint64_t now = shard->hub.now_ns;
    if (!file->image)
        return;
    int error = write_image(node, 0);
    if (error && now >= file->log_ns) {
        weir_log(node, WEIR_LOG_WARN, "stats: %s: %s", file->path, strerror(error));
        file->log_ns = now + LOG_NS;
    }
    file->timer.kind = WEIR_TIMER_STATS;
    weir_wheel_set(&shard->wheel, &file->timer, now + node->cfg.stats_interval_ns);
}

/* ---- making -------------------------------------------------------------------------------- */

/* Field 22 of /proc/PID/stat, 0 when there is no such process. */
static uint64_t start_of(uint32_t pid)
{
    char path[32], text[512];
    snprintf(path, sizeof(path), "/proc/%u/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (len <= 0)
        return 0;
    text[len] = '\0';
    char *at = strrchr(text, ')'); /* a name may hold anything, brackets too */
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

/* Whether the file is of a node that lives, here or in another process. */
static bool is_in_use(const char *path)
{
    struct weir_stats_head head;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t len = fd < 0 ? -1 : read(fd, &head, sizeof(head));
    if (fd >= 0)
        close(fd);
    return len == (ssize_t)sizeof(head) && memcmp(head.magic, WEIR_STATS_MAGIC, 8) == 0 &&
           !(head.flags & WEIR_STATS_OVER) && head.pid_start &&
           start_of(head.pid) == head.pid_start;
}

static int code_of(int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
        return WEIR_E_ACCESS;
    case EMFILE:
    case ENFILE:
        return WEIR_E_DESCRIPTORS;
    default:
        return WEIR_E_SYSTEM;
    }
}

/* A file of its own, that takes the path's place when it is whole: who has the old one open keeps it. */
static int make(weir_node *node)
{
    struct weir_stats_file *file = &node->stats;
    char own[sizeof(file->path) + 16];
    snprintf(own, sizeof(own), "%s.%u", file->path, (unsigned)getpid());
    (void)unlink(own);
    mode_t mode = (mode_t)node->cfg.stats_mode;
    file->fd = open(own, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (file->fd < 0)
        return errno;
    int error = fchmod(file->fd, mode) ? errno : write_image(node, 0); /* whatever the umask is */
    if (!error && rename(own, file->path) != 0)
        error = errno;
    if (error) {
        (void)unlink(own);
        close(file->fd);
    }
    return error;
}

int weir_stats_file_open(weir_node *node)
{
    struct weir_stats_file *file = &node->stats;
    if (!file->path[0])
        return 0;
    if (is_in_use(file->path)) {
        weir_log(node, WEIR_LOG_ERROR, "stats: %s is of a node that runs", file->path);
        return WEIR_E_IN_USE;
    }
    uint32_t cnt = fill(node, NULL, 0);
    file->image_bytes = sizeof(struct weir_stats_head) + cnt * sizeof(struct weir_stats_record);
    file->image = weir_heap_alloc(NULL, file->image_bytes);
    if (!file->image)
        return WEIR_E_NOMEM;
    struct weir_stats_head *head = (struct weir_stats_head *)(void *)file->image;
    *head = (struct weir_stats_head){.version = WEIR_STATS_VERSION,
                                     .head_bytes = sizeof(*head),
                                     .record_bytes = sizeof(struct weir_stats_record),
                                     .record_cnt = cnt,
                                     .made_wall_ns = node->made_wall_ns,
                                     .interval_ns = node->cfg.stats_interval_ns,
                                     .pid = (uint32_t)getpid()};
    memcpy(head->magic, WEIR_STATS_MAGIC, sizeof(head->magic));
    head->pid_start = start_of(head->pid);
    snprintf(head->weir_version, sizeof(head->weir_version), "%s", weir_version());
    snprintf(head->network_id, sizeof(head->network_id), "%s", node->network_id);
    int error = make(node);
    if (!error)
        return 0;
    weir_log(node, WEIR_LOG_ERROR, "stats: %s: %s", file->path, strerror(error));
    weir_heap_release(file->image);
    file->image = NULL;
    return code_of(error);
}

void weir_stats_file_close(weir_node *node)
{
    struct weir_stats_file *file = &node->stats;
    if (!file->image)
        return;
    int error = write_image(node, WEIR_STATS_OVER);
    if (error)
        weir_log(node, WEIR_LOG_WARN, "stats: %s: %s", file->path, strerror(error));
    close(file->fd);
    weir_heap_release(file->image);
    file->image = NULL;
}
