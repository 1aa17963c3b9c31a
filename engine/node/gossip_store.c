#include "engine/node/gossip_store.h"

#include <string.h>

#include "engine/base/hash.h"
#include "engine/mem/heap.h"
#include "weir/error.h"

#define NONE UINT32_MAX

struct weir_store {
    struct weir_stored *items; /* a ring of max, the oldest at head */
    uint32_t *buckets;         /* bucket_mask + 1 of them: the first item, NONE */
    uint32_t max, head, cnt, bucket_mask;
    uint64_t bytes, bytes_max, secret;
};

int weir_store_create(struct weir_store **ret_store, uint32_t max, uint64_t bytes_max,
                      uint64_t secret)
{
    uint32_t bucket_cnt = 16;
    while (bucket_cnt < max)
        bucket_cnt *= 2;
    struct weir_store *store = weir_heap_alloc(NULL, sizeof(*store));
    if (!store)
        return WEIR_E_NOMEM;
    *store = (struct weir_store){
        .max = max, .bucket_mask = bucket_cnt - 1, .bytes_max = bytes_max, .secret = secret};
    store->items = weir_heap_alloc(NULL, max * sizeof(*store->items));
    store->buckets = weir_heap_alloc_raw(NULL, bucket_cnt * sizeof(*store->buckets));
    if (!store->items || !store->buckets) {
        weir_store_free(store);
        return WEIR_E_NOMEM;
    }
    memset(store->buckets, 0xFF, bucket_cnt * sizeof(*store->buckets));
    *ret_store = store;
    return 0;
}

static uint32_t *bucket_of(const struct weir_store *store, const uint8_t id[16])
{
    return &store->buckets[weir_hash_ops()->xxh3(id, 16, store->secret) & store->bucket_mask];
}

static void drop_oldest(struct weir_store *store)
{
    struct weir_stored *item = &store->items[store->head];
    uint32_t *link = bucket_of(store, item->id);
    while (*link != store->head)
        link = &store->items[*link].next;
    *link = item->next;
    store->bytes -= weir_buf_len(item->buf);
    weir_buf_unref(item->buf);
    item->buf = NULL;
    store->head = (store->head + 1) % store->max;
    store->cnt--;
}

void weir_store_free(struct weir_store *store)
{
    if (!store)
        return;
    while (store->cnt)
        drop_oldest(store);
    weir_heap_release(store->items);
    weir_heap_release(store->buckets);
    weir_heap_release(store);
}

const struct weir_stored *weir_store_find(const struct weir_store *store, const uint8_t id[16])
{
    for (uint32_t at = *bucket_of(store, id); at != NONE; at = store->items[at].next)
        if (memcmp(store->items[at].id, id, 16) == 0)
            return &store->items[at];
    return NULL;
}

void weir_store_put(struct weir_store *store, const uint8_t id[16], struct weir_buf *take,
                    uint8_t hops, uint64_t age_us, uint64_t now_ns)
{
    uint64_t len = weir_buf_len(take);
    if (len > store->bytes_max || weir_store_find(store, id)) {
        weir_buf_unref(take);
        return;
    }
    while (store->cnt == store->max || store->bytes + len > store->bytes_max)
        drop_oldest(store);
    uint32_t at = (store->head + store->cnt++) % store->max;
    uint32_t *bucket = bucket_of(store, id);
    store->items[at] = (struct weir_stored){
        .buf = take, .since_ns = now_ns, .age_us = age_us, .next = *bucket, .hops = hops};
    memcpy(store->items[at].id, id, 16);
    *bucket = at;
    store->bytes += len;
}

const struct weir_stored *weir_store_recent(const struct weir_store *store, uint32_t back)
{
    if (back >= store->cnt)
        return NULL;
    return &store->items[(store->head + store->cnt - 1 - back) % store->max];
}

void weir_store_expire(struct weir_store *store, uint64_t since_ns)
{
    while (store->cnt && store->items[store->head].since_ns < since_ns)
        drop_oldest(store);
}

void weir_store_sizes(const struct weir_store *store, uint64_t *ret_cnt, uint64_t *ret_bytes)
{
    *ret_cnt = store->cnt;
    *ret_bytes = store->bytes;
}
