#include "engine/node/book_store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/mem/heap.h"
#include "engine/node/internal.h"
#include "engine/node/whole_file.h"

#define RECORDS_AT_ONCE 64u /* under the mutex: some 10 us */

static void tell(weir_node *node, const char *path, const struct weir_book_read *got)
{
    char aside[1100], what[160] = "";
    int at = 0;
    if (got->is_foreign)
        snprintf(what, sizeof(what), "it is not an address book that this version reads");
    else {
        if (got->is_header_damaged)
            at += snprintf(what, sizeof(what), "its key is lost; ");
        if (got->damaged_cnt)
            at += snprintf(what + at, sizeof(what) - (size_t)at,
                           "%u records do not match their check, the first is number %u; ",
                           got->damaged_cnt, got->damaged_idx);
        if (got->missing_cnt)
            snprintf(what + at, sizeof(what) - (size_t)at, "its end is missing, with %u records; ",
                     got->missing_cnt);
    }
    snprintf(aside, sizeof(aside), "%s.damaged", path);
    bool is_aside = rename(path, aside) == 0;
    weir_log(node, WEIR_LOG_WARN, "book: %s is damaged (%s): %u addresses are good and taken%s%s",
             path, what, got->taken_cnt, is_aside ? "; the file is now " : "",
             is_aside ? aside : "");
}

int weir_book_store_load(weir_node *node, struct weir_book *book, const char *path, uint64_t now_s,
                         bool *ret_is_damaged)
{
    size_t len;
    char *bytes = weir_file_read(path, WEIR_BOOK_FILE_BYTES_MAX, &len);
    *ret_is_damaged = false;
    if (!bytes && errno == ENOENT)
        return 0;
    if (!bytes) {
        weir_log(node, WEIR_LOG_ERROR, "book: %s cannot be read: %s", path, strerror(errno));
        return WEIR_E_ACCESS;
    }
    struct weir_book_read got;
    weir_book_parse(book, (const uint8_t *)bytes, len, now_s, &got);
    weir_heap_release(bytes);
    *ret_is_damaged = got.is_foreign || got.is_header_damaged || got.damaged_cnt || got.missing_cnt;
    if (*ret_is_damaged)
        tell(node, path, &got);
    return 0;
}

int weir_book_store_save(struct weir_book *book, pthread_mutex_t *mutex, const char *path,
                         uint64_t *ret_change_cnt)
{
    struct weir_book_stats stats;
    pthread_mutex_lock(mutex);
    weir_book_stats(book, &stats);
    pthread_mutex_unlock(mutex);
    /* Those that come meanwhile are in the next file. */
    uint32_t room = stats.new_cnt + stats.tried_cnt, cnt = 0, cursor = 0;
    uint8_t *bytes =
        weir_heap_alloc_raw(NULL, WEIR_BOOK_HEADER_BYTES + (size_t)room * WEIR_BOOK_RECORD_BYTES);
    if (!bytes)
        return ENOMEM;
    bool has_more = true;
    while (has_more && cnt < room) {
        pthread_mutex_lock(mutex);
        for (uint32_t i = 0; i < RECORDS_AT_ONCE && has_more && cnt < room; i++) {
            has_more = weir_book_put_record(book, &cursor, cnt,
                                            bytes + WEIR_BOOK_HEADER_BYTES +
                                                (size_t)cnt * WEIR_BOOK_RECORD_BYTES);
            cnt += has_more;
        }
        pthread_mutex_unlock(mutex);
    }
    weir_book_put_header(book, cnt, bytes);
    int error = weir_file_replace(path, bytes,
                                  WEIR_BOOK_HEADER_BYTES + (size_t)cnt * WEIR_BOOK_RECORD_BYTES);
    weir_heap_release(bytes);
    if (!error)
        *ret_change_cnt = stats.change_cnt;
    return error;
}
