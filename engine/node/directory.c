/* Who is up, in one table of the node: an entry is there from before WEIR_PEER_UP until after WEIR_PEER_DOWN. The
 * mutex is taken when a peer comes or goes and for each look-up, never for a message. */
#include <string.h>

#include "engine/base/check.h"
#include "engine/node/internal.h"

struct weir_listed {
    weir_peer peer;
    uint8_t ip[16];
    uint8_t id[32];
    uint16_t port;
    uint8_t family;
    bool has_id;
};

int weir_directory_init(weir_node *node)
{
    struct weir_directory *directory = &node->directory;
    directory->max = node->cfg.peers_max * node->cfg.shard_cnt;
    directory->items = weir_heap_alloc_table(NULL, directory->max * sizeof(*directory->items));
    if (!directory->items)
        return WEIR_E_NOMEM;
    pthread_mutex_init(&directory->mutex, NULL);
    return 0;
}

void weir_directory_fini(weir_node *node)
{
    struct weir_directory *directory = &node->directory;
    if (!directory->items)
        return;
    weir_heap_release_table(directory->items, directory->max * sizeof(*directory->items));
    pthread_mutex_destroy(&directory->mutex);
}

int weir_directory_shard_init(struct weir_shard *shard)
{
    shard->listed_at = weir_heap_alloc_table(shard->hub.heap, shard->node->cfg.peers_max *
                                                                  sizeof(*shard->listed_at));
    return shard->listed_at ? 0 : WEIR_E_NOMEM;
}

void weir_directory_shard_fini(struct weir_shard *shard)
{
    weir_heap_release_table(shard->listed_at,
                            shard->node->cfg.peers_max * sizeof(*shard->listed_at));
    shard->listed_at = NULL;
}

void weir_directory_add(struct weir_shard *shard, const struct weir_conn *conn)
{
    struct weir_directory *directory = &shard->node->directory;
    const struct weir_agreed *agreed = conn->codec->agreed(conn->codec_state);
    struct weir_listed item = {.peer = weir_peer_of(conn),
                               .port = conn->addr.port,
                               .family = conn->addr.family,
                               .has_id = conn->codec->seal != NULL};
    memcpy(item.ip, conn->addr.ip, sizeof(item.ip));
    if (item.has_id)
        memcpy(item.id, agreed->node_id, sizeof(item.id));
    pthread_mutex_lock(&directory->mutex);
    /* Who is told to be down still has his slot: a slot is listed once. */
    WEIR_CHECK(directory->cnt < directory->max);
    shard->listed_at[conn->slot] = directory->cnt;
    directory->items[directory->cnt++] = item;
    pthread_mutex_unlock(&directory->mutex);
}

void weir_directory_remove(struct weir_shard *shard, weir_peer peer)
{
    weir_node *node = shard->node;
    struct weir_directory *directory = &node->directory;
    pthread_mutex_lock(&directory->mutex);
    uint32_t at = shard->listed_at[weir_peer_slot(peer)];
    WEIR_CHECK(at < directory->cnt && directory->items[at].peer.v == peer.v);
    /* The last one moves into its place. Its shard may be another: `listed_at` is behind the mutex. */
    struct weir_listed last = directory->items[--directory->cnt];
    if (at < directory->cnt) {
        directory->items[at] = last;
        node->shards[weir_peer_shard(last.peer)]->listed_at[weir_peer_slot(last.peer)] = at;
    }
    pthread_mutex_unlock(&directory->mutex);
}

/* ---- public -------------------------------------------------------------------------------- */

int64_t weir_peer_list(weir_node *node, weir_peer *ret_peers, size_t peer_max)
{
    if (!node || (!ret_peers && peer_max))
        return WEIR_E_MISUSE;
    struct weir_directory *directory = &node->directory;
    pthread_mutex_lock(&directory->mutex);
    uint32_t cnt = directory->cnt;
    for (uint32_t i = 0; i < cnt && i < peer_max; i++)
        ret_peers[i] = directory->items[i].peer;
    pthread_mutex_unlock(&directory->mutex);
    return cnt;
}

struct wanted { /* one of the three */
    struct weir_id id;
    struct weir_addr addr;
    struct weir_prefix prefix;
    enum { BY_ID, BY_ADDRESS, BY_PREFIX } by;
};

static int wanted_parse(struct wanted *ret, const char *text)
{
    if (weir_id_parse(&ret->id, text, strlen(text), NULL) == 0)
        ret->by = BY_ID;
    else if (weir_addr_parse(&ret->addr, text) == 0 && ret->addr.family != WEIR_ADDR_UNIX)
        ret->by = BY_ADDRESS;
    else if (weir_prefix_parse(&ret->prefix, text) == 0)
        ret->by = BY_PREFIX;
    else
        return WEIR_E_ADDRESS;
    return 0;
}

static bool is_found(const struct wanted *wanted, const struct weir_listed *item)
{
    struct weir_addr addr = {.family = item->family, .port = item->port};
    struct weir_prefix own;
    memcpy(addr.ip, item->ip, sizeof(addr.ip));
    switch (wanted->by) {
    case BY_ID:
        return item->has_id && memcmp(wanted->id.bytes, item->id, sizeof(item->id)) == 0;
    case BY_ADDRESS:
        return item->port == wanted->addr.port && item->family == wanted->addr.family &&
               memcmp(item->ip, wanted->addr.ip, sizeof(item->ip)) == 0;
    case BY_PREFIX:
        return weir_addr_prefix(&own, &addr, 32, 128) && weir_prefix_covers(&wanted->prefix, &own);
    }
    return false;
}

int64_t weir_peer_find(weir_node *node, const char *who, weir_peer *ret_peers, size_t peer_max)
{
    struct wanted wanted;
    if (!node || !who || (!ret_peers && peer_max))
        return WEIR_E_MISUSE;
    int error = wanted_parse(&wanted, who);
    if (error)
        return error;
    int64_t found = 0;
    struct weir_directory *directory = &node->directory;
    pthread_mutex_lock(&directory->mutex);
    for (uint32_t i = 0; i < directory->cnt; i++) {
        if (!is_found(&wanted, &directory->items[i]))
            continue;
        if ((uint64_t)found < peer_max)
            ret_peers[found] = directory->items[i].peer;
        found++;
    }
    pthread_mutex_unlock(&directory->mutex);
    return found;
}
