/* What an application asks discovery for, on any thread. */
#include <string.h>

#include "engine/base/check.h"
#include "engine/node/discovery_impl.h"

int weir_discovery_add(weir_discovery *disco, const char *address)
{
    struct weir_addr addr;
    struct weir_place place;
    if (!disco || !address)
        return WEIR_E_MISUSE;
    if (weir_addr_parse(&addr, address) != 0 || !weir_place_from(&place, &addr))
        return WEIR_E_ADDRESS;
    pthread_mutex_lock(&disco->mutex);
    uint64_t now_s = disco_wall_s(disco);
    (void)weir_book_add(disco->book, &place, &place, "", now_s, now_s);
    bool is_there = weir_book_find(disco->book, &place) != NULL;
    pthread_mutex_unlock(&disco->mutex);
    return is_there ? 0 : WEIR_E_LIMIT;
}

static bool has_cap(void *ctx, const struct weir_book_entry *entry)
{
    const char *cap = ctx;
    return !cap[0] || weir_caps_has(entry->caps, cap);
}

int64_t weir_discovery_find(weir_discovery *disco, const char *capability,
                            struct weir_found *ret_found, size_t found_max)
{
    if (!disco || (!ret_found && found_max))
        return WEIR_E_MISUSE;
    char cap[WEIR_CAP_BYTES_MAX + 1] = "";
    if (capability && capability[0]) {
        if (!weir_cap_is_good(capability, strlen(capability)))
            return WEIR_E_MISUSE;
        strcpy(cap, capability);
    }
    if (found_max > 65536)
        found_max = 65536;
    struct weir_book_entry *entries = weir_heap_alloc_raw(NULL, (found_max + 1) * sizeof(*entries));
    if (!entries)
        return WEIR_E_NOMEM;
    pthread_mutex_lock(&disco->mutex);
    uint64_t now_s = disco_wall_s(disco);
    uint32_t cnt = weir_book_sample(disco->book, now_s, has_cap, cap, entries, (uint32_t)found_max);
    pthread_mutex_unlock(&disco->mutex);
    for (uint32_t i = 0; i < cnt; i++) {
        struct weir_addr addr;
        weir_place_addr(&entries[i].place, &addr);
        uint64_t age_s = now_s - weir_min_u64(entries[i].seen_s, now_s);
        ret_found[i] = (struct weir_found){.age_s = (uint32_t)weir_min_u64(age_s, UINT32_MAX),
                                           .is_tried = entries[i].is_tried};
        weir_addr_format(&addr, ret_found[i].address);
        strcpy(ret_found[i].capabilities, entries[i].caps);
    }
    weir_heap_release(entries);
    return cnt;
}

int weir_discovery_read(weir_discovery *disco, struct weir_discovery_info *ret_info)
{
    if (!disco || !ret_info || ret_info->size < sizeof(uint32_t))
        return WEIR_E_MISUSE;
    uint32_t size = ret_info->size;
    if (size > sizeof(*ret_info))
        return WEIR_E_VERSION;
    pthread_mutex_lock(&disco->mutex);
    struct weir_discovery_info info = disco->counts;
    struct weir_book_stats stats;
    weir_book_stats(disco->book, &stats);
    info.size = size;
    info.outbound_cnt = disco_dial_outbound(disco, &info.dialing_cnt);
    info.dialing_cnt = disco->dial_cnt;
    for (uint32_t i = 0; i < disco->peer_cnt; i++)
        info.inbound_cnt += disco->peers[i].kind == DISCO_INBOUND;
    pthread_mutex_unlock(&disco->mutex);
    info.new_cnt = stats.new_cnt;
    info.tried_cnt = stats.tried_cnt;
    memcpy(ret_info, &info, size);
    return 0;
}

/* ---- series -------------------------------------------------------------------------------- */

static uint64_t read_counter(void *ctx, uint32_t offset)
{
    struct weir_discovery *disco = ctx;
    uint64_t value;
    pthread_mutex_lock(&disco->mutex);
    memcpy(&value, (const uint8_t *)&disco->counts + offset, sizeof(value));
    pthread_mutex_unlock(&disco->mutex);
    return value;
}

static uint64_t read_now(void *ctx, uint32_t offset)
{
    struct weir_discovery_info info = {.size = sizeof(info)};
    uint32_t value;
    (void)weir_discovery_read(ctx, &info);
    memcpy(&value, (const uint8_t *)&info + offset, sizeof(value));
    return value;
}

#define AT(field) offsetof(struct weir_discovery_info, field)
#define ROW(field, name, help)                                                             \
    {                                                                                      \
        "weir_discovery_" name "_total", help, WEIR_STATS_COUNTER, AT(field), read_counter \
    }
#define NOW(field, name, help)                                              \
    {                                                                       \
        "weir_discovery_" name, help, WEIR_STATS_GAUGE, AT(field), read_now \
    }

static const struct weir_own_series series[] = {
    NOW(outbound_cnt, "outbound", "Peers that discovery has dialed and keeps"),
    NOW(inbound_cnt, "inbound", "Peers that dialed us"),
    NOW(dialing_cnt, "dialing", "Dials of discovery under way"),
    NOW(new_cnt, "places_new", "Places in the book that were only heard of"),
    NOW(tried_cnt, "places_tried", "Places in the book that this node was connected to"),
    ROW(asks_sent, "asks_sent", "Times a peer was asked for places"),
    ROW(asks_refused, "asks_refused", "Asks of peers that came too early"),
    ROW(answers_sent, "answers_sent", "Asks that were answered"),
    ROW(answers_taken, "answers_taken", "Answers that came"),
    ROW(places_taken, "places_taken", "Places of answers that were news to the book"),
    ROW(places_refused, "places_refused", "Places that were not for that peer to tell"),
    ROW(feelers, "feelers", "Test connections begun"),
    ROW(feelers_good, "feelers_good", "Test connections that found a node"),
    ROW(duplicates, "duplicates", "Connections closed because there was another to the same node"),
    ROW(saves, "saves", "Times the book was written"),
    ROW(replaced, "replaced", "Outbound peers that gave their place to another"),
    ROW(quiets, "quiets", "Times that nothing new had come for quiet_ns"),
};

void disco_series_add(struct weir_discovery *disco)
{
    weir_series_own(disco->node, series, sizeof(series) / sizeof(series[0]), disco, UINT32_MAX);
}
