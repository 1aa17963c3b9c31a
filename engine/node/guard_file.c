/* The file of bans: read when the node is made, written by a thread of its own whenever they change, because a
 * shard must not wait for a disk. The text is peers/bans.h's; a new file replaces the old one in one step. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/node/internal.h"
#include "engine/node/whole_file.h"

/* ---- reading ------------------------------------------------------------------------------- */

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
    char *text = weir_file_read(path, WEIR_BAN_FILE_BYTES_MAX, &len);
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

/* Writes once; the mutex is held, and released meanwhile. False: it failed. */
static bool save(weir_node *node)
{
    struct weir_guard *guard = &node->guard;
    while (guard->is_saving) /* both would write to the same temporary name */
        pthread_cond_wait(&guard->cond, &guard->mutex);
    size_t room = ((size_t)weir_bans_cnt(guard->bans) + 2) * WEIR_BAN_LINE_BYTES;
    char *text = weir_heap_alloc_raw(NULL, room);
    if (!text)
        return false;
    size_t len = weir_bans_format(guard->bans, text);
    uint64_t version = guard->version;
    guard->is_saving = true;
    pthread_mutex_unlock(&guard->mutex);
    int error = weir_file_replace(guard->path, text, len);
    weir_heap_release(text);
    if (error)
        weir_log(node, WEIR_LOG_WARN, "bans: %s cannot be written: %s; trying again with the next",
                 guard->path, strerror(error));
    pthread_mutex_lock(&guard->mutex);
    guard->is_saving = false;
    pthread_cond_broadcast(&guard->cond);
    if (!error)
        guard->saved_version = version;
    return !error;
}

bool weir_guard_save(weir_node *node)
{
    struct weir_guard *guard = &node->guard;
    pthread_mutex_lock(&guard->mutex);
    bool is_saved = guard->version == guard->saved_version || save(node);
    pthread_mutex_unlock(&guard->mutex);
    return is_saved;
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
    pthread_cond_broadcast(&guard->cond);
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
    pthread_cond_broadcast(&guard->cond);
    pthread_mutex_unlock(&guard->mutex);
    if (has_saver)
        pthread_join(guard->saver, NULL);
}
