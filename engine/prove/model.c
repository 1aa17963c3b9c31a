#include "engine/prove/run.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"

/* ---- messages that say who they are -------------------------------------------------------- */

/* uid: a number that is never used twice, in its low 3 bits the source. The first 8 bytes of a message of
 * RUN_MARK_BYTES or more are its uid; the others follow from it. */
uint64_t model_uid(struct run *run, uint32_t source)
{
    return ++run->last_uid << 3 | source;
}

static uint64_t mix(uint64_t at)
{
    at ^= at >> 32;
    at *= UINT64_C(0x9E3779B97F4A7C15);
    return at ^ at >> 29;
}

void model_fill(uint8_t *bytes, uint32_t len, uint64_t uid)
{
    uint32_t from = 0;
    if (len >= RUN_MARK_BYTES) {
        memcpy(bytes, &uid, sizeof(uid));
        from = sizeof(uid);
    }
    uint64_t at = uid * 1000003;
    for (; from + 8 <= len; from += 8) {
        uint64_t word = mix(++at);
        memcpy(bytes + from, &word, sizeof(word));
    }
    uint64_t word = mix(++at);
    memcpy(bytes + from, &word, len - from);
}

bool model_is_filled(const uint8_t *bytes, uint32_t len, uint64_t uid)
{
    uint32_t from = 0;
    if (len >= RUN_MARK_BYTES) {
        if (memcmp(bytes, &uid, sizeof(uid)) != 0)
            return false;
        from = sizeof(uid);
    }
    uint64_t at = uid * 1000003;
    for (; from + 8 <= len; from += 8) {
        uint64_t word = mix(++at), is;
        memcpy(&is, bytes + from, sizeof(is));
        if (is != word)
            return false;
    }
    uint64_t word = mix(++at);
    return len == from || memcmp(bytes + from, &word, len - from) == 0;
}

/* The number that mix() makes this word of. */
static uint64_t unmix(uint64_t word)
{
    word ^= word >> 29 ^ word >> 58;
    word *= UINT64_C(0xF1DE83E19937733D); /* times the multiplier of mix() it is 1 */
    return word ^ word >> 32;
}

/* Two words of a message follow from numbers that follow each other, and their offset in what is sent can be
 * any: eight offsets that follow each other meet it. Each 256 bytes are as good as everywhere, because small
 * messages come in runs and large ones are long. */
bool model_is_bare(const uint8_t *bytes, size_t len)
{
    for (size_t from = 0; from + 24 <= len; from += 256) {
        for (size_t i = from; i < from + 8; i++) {
            uint64_t words[2];
            memcpy(words, bytes + i, sizeof(words));
            if (unmix(words[1]) == unmix(words[0]) + 1)
                return true;
        }
    }
    return false;
}

/* ---- connections --------------------------------------------------------------------------- */

static struct run_link over; /* stands for all that are: their last bytes are nobody's business */

struct run_link *model_link(struct run *run, uint64_t id)
{
    if (id >= run->link_cap) {
        uint64_t cap = id * 2 + 64;
        run->links = realloc(run->links, cap * sizeof(*run->links));
        WEIR_CHECK(run->links != NULL);
        memset(run->links + run->link_cap, 0, (cap - run->link_cap) * sizeof(*run->links));
        run->link_cap = cap;
    }
    if (!run->links[id]) {
        run->links[id] = calloc(1, sizeof(struct run_link));
        WEIR_CHECK(run->links[id] != NULL);
        run->links[id]->id = id;
        run->res->links++;
    }
    return run->links[id] == &over ? NULL : run->links[id];
}

struct run_peer *model_peer(struct run_node *node, weir_peer peer)
{
    for (uint32_t i = 0; i < node->peer_cnt; i++)
        if (node->peers[i].peer.v == peer.v)
            return &node->peers[i];
    return NULL;
}

static void link_free(struct run *run, struct run_link *link)
{
    for (uint32_t end = 0; end < 2; end++)
        for (uint32_t i = 0; i < RUN_CHANNELS_MAX; i++)
            for (uint32_t k = 0; k < RUN_SOURCES; k++)
                free(link->flows[end][i].queues[k].entries);
    run->links[link->id] = &over;
    free(link);
}

void model_free(struct run *run)
{
    for (uint64_t i = 0; i < run->link_cap; i++)
        if (run->links[i] && run->links[i] != &over)
            link_free(run, run->links[i]);
    free(run->links);
}

void model_up(struct run_node *node, weir_peer peer)
{
    struct run *run = node->run;
    struct weir_conn *conn = run_conn_of(node, peer);
    if (!conn || model_peer(node, peer) || node->peer_cnt == RUN_PEERS_MAX) {
        run_fail(run, "events", "node %u: peer %llx is up twice, or not at all", node->idx,
                 (unsigned long long)peer.v);
        return;
    }
    bool is_dialer = false;
    uint64_t id = weir_sim_link(run->world->sim, conn->sock, &is_dialer);
    struct run_link *link = model_link(run, id);
    struct run_end *end = link ? &link->ends[is_dialer ? 0 : 1] : NULL;
    if (id == 0 || !link || end->node) {
        run_fail(run, "events", "node %u: connection %llu is up for the second time", node->idx,
                 (unsigned long long)id);
        return;
    }
    *end = (struct run_end){.node = node, .life = node->life, .peer = peer, .is_up = true};
    for (uint32_t i = 0; i < node->channel_cnt; i++)
        link->flows[is_dialer ? 0 : 1][node->channels[i].id - 1].is_lossy =
            node->channels[i].overflow == WEIR_OVERFLOW_DROP_OLDEST;
    node->peers[node->peer_cnt++] =
        (struct run_peer){.peer = peer, .link = link, .end = is_dialer ? 0 : 1};
    node->ups++;
    policy_up(node, &node->peers[node->peer_cnt - 1]);
    TRACE(run, "node %u: peer %llx up, connection %llu as %s%s", node->idx,
          (unsigned long long)peer.v, (unsigned long long)id, is_dialer ? "dialer" : "listener",
          link->is_secure ? ", encrypted" : "");
}

static void end_gone(struct run *run, struct run_link *link, uint32_t end)
{
    link->ends[end].is_up = false;
    /* When no end can hear of it any more, what did not arrive is lost with its connection. */
    bool is_over = true;
    for (uint32_t i = 0; i < 2; i++)
        is_over &= link->ends[i].node != NULL && !link->ends[i].is_up;
    if (is_over)
        link_free(run, link);
}

/* Reasons that say that somebody did wrong, where nobody did: everybody is weir, and nothing was damaged. */
void model_blame(struct run_node *node, int reason)
{
    struct run *run = node->run;
    bool is_damage = (reason >= WEIR_R_NOT_WEIR && reason <= WEIR_R_FLOOD && reason != WEIR_R_SELF);
    is_damage |= reason >= WEIR_R_PLAIN_REFUSED && !policy_can_be(run, reason);
    bool is_shortage = reason == WEIR_R_LIMIT_MEMORY || reason == WEIR_R_INTERNAL;
    if ((is_damage && !(run->classes & WEIR_FAULT_CORRUPT)) ||
        (is_shortage && !(run->classes & (PROVE_MEMORY | PROVE_TIGHT))))
        run_fail(run, "blame", "node %u: a connection ended for %s, and nobody did that", node->idx,
                 weir_reason_name(reason));
}

void model_down(struct run_node *node, weir_peer peer, int reason)
{
    struct run *run = node->run;
    struct run_peer *found = model_peer(node, peer);
    if (!found || reason <= WEIR_R_NONE || reason >= WEIR_REASON_CNT) {
        run_fail(run, "events", "node %u: peer %llx down for reason %d, and it was %s", node->idx,
                 (unsigned long long)peer.v, reason, found ? "up" : "not up");
        return;
    }
    TRACE(run, "node %u: peer %llx down, connection %llu: %s", node->idx,
          (unsigned long long)peer.v, (unsigned long long)found->link->id,
          weir_reason_name(reason));
    model_blame(node, reason);
    /* A second one with the same node does: who dials for ever where the other does too comes again and again. */
    if (run->is_to_stay && reason != WEIR_R_DUPLICATE_PEER)
        run_fail(run, "still", "node %u: a connection ended for %s where nobody did anything",
                 node->idx, weir_reason_name(reason));
    end_gone(run, found->link, found->end);
    *found = node->peers[--node->peer_cnt];
    node->downs++;
}

void model_node_gone(struct run_node *node)
{
    for (uint32_t i = 0; i < node->peer_cnt; i++)
        end_gone(node->run, node->peers[i].link, node->peers[i].end);
    node->peer_cnt = 0;
}

/* ---- what was sent ------------------------------------------------------------------------- */

static struct run_entry *entry_at(struct run_queue *queue, uint32_t at)
{
    return &queue->entries[(queue->head + at) % queue->cap];
}

static void push(struct run_queue *queue, struct run_entry entry)
{
    if (queue->cnt == queue->cap) {
        uint32_t cap = queue->cap ? 2 * queue->cap : 16;
        struct run_entry *entries = malloc(cap * sizeof(*entries));
        WEIR_CHECK(entries != NULL);
        for (uint32_t i = 0; i < queue->cnt; i++)
            entries[i] = *entry_at(queue, i);
        free(queue->entries);
        *queue = (struct run_queue){.entries = entries, .cnt = queue->cnt, .cap = cap};
    }
    queue->cnt++;
    *entry_at(queue, queue->cnt - 1) = entry;
}

static void pop(struct run_queue *queue)
{
    queue->head = (queue->head + 1) % queue->cap;
    queue->cnt--;
}

void model_sent(struct run_node *node, struct run_peer *peer, uint32_t channel, uint64_t uid,
                uint32_t len, bool is_maybe)
{
    struct run_flow *flow = &peer->link->flows[peer->end][channel];
    push(&flow->queues[uid & 7],
         (struct run_entry){.uid = uid, .len = len, .is_maybe = is_maybe || flow->is_lossy});
    node->run->res->sent++;
}

void model_unsent(struct run_peer *peer, uint32_t channel, uint64_t uid)
{
    struct run_queue *queue = &peer->link->flows[peer->end][channel].queues[uid & 7];
    if (queue->cnt > 0 && entry_at(queue, queue->cnt - 1)->uid == uid)
        queue->cnt--;
}

/* ---- what arrives -------------------------------------------------------------------------- */

uint64_t model_arrived(struct run_node *node, const struct weir_msg *msg)
{
    struct run *run = node->run;
    struct run_peer *peer = model_peer(node, msg->peer);
    uint32_t channel = msg->channel - 1u;
    if (!peer || channel >= run->channel_cnt) {
        run_fail(run, "events", "node %u: a message of %u bytes of peer %llx, which is not up",
                 node->idx, msg->len, (unsigned long long)msg->peer.v);
        return 0;
    }
    uint64_t uid = RUN_OWN;
    if (msg->len >= RUN_MARK_BYTES)
        memcpy(&uid, msg->data, sizeof(uid));
    struct run_flow *flow = &peer->link->flows[1 - peer->end][channel];
    struct run_queue *queue = &flow->queues[(uid & 7) < RUN_SOURCES ? uid & 7 : RUN_OWN];
    bool is_marked = msg->len >= RUN_MARK_BYTES;
    while (queue->cnt > 0) {
        struct run_entry entry = *entry_at(queue, 0);
        if (is_marked ? entry.uid == uid : !entry.is_maybe)
            break;
        if (!entry.is_maybe) {
            run_fail(run, "fifo",
                     "node %u, connection %llu, channel %u: message %llu of source %u is "
                     "next, and %llu came",
                     node->idx, (unsigned long long)peer->link->id, msg->channel,
                     (unsigned long long)(entry.uid >> 3), (unsigned)(entry.uid & 7),
                     (unsigned long long)(uid >> 3));
            return 0;
        }
        pop(queue);
    }
    if (queue->cnt == 0) {
        run_fail(run, "once",
                 "node %u, connection %llu, channel %u: %u bytes came (number %llu) that "
                 "were not sent, or came before",
                 node->idx, (unsigned long long)peer->link->id, msg->channel, msg->len,
                 (unsigned long long)(uid >> 3));
        return 0;
    }
    struct run_entry entry = *entry_at(queue, 0);
    pop(queue);
    if (entry.len != msg->len || !model_is_filled(msg->data, msg->len, entry.uid)) {
        run_fail(run, "content",
                 "node %u, connection %llu, channel %u: message %llu of %u bytes came "
                 "as %u bytes, or damaged",
                 node->idx, (unsigned long long)peer->link->id, msg->channel,
                 (unsigned long long)(entry.uid >> 3), entry.len, msg->len);
        return 0;
    }
    run->res->delivered++;
    run->hash = mix(run->hash ^ entry.uid);
    return entry.uid;
}

static uint32_t owed(struct run_queue *queue, struct run_entry *ret_first)
{
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < queue->cnt; i++) {
        if (entry_at(queue, i)->is_maybe)
            continue;
        if (cnt++ == 0)
            *ret_first = *entry_at(queue, i);
    }
    return cnt;
}

/* Every message of a connection that is still there has arrived. */
static bool check_empty(const struct run *run, bool is_said)
{
    for (uint64_t id = 1; id < run->link_cap; id++) {
        struct run_link *link = run->links[id];
        if (!link || link == &over || !link->ends[0].is_up || !link->ends[1].is_up)
            continue;
        for (uint32_t i = 0; i < 2 * RUN_CHANNELS_MAX * RUN_SOURCES; i++) {
            uint32_t end = i & 1, channel = i / 2 % RUN_CHANNELS_MAX,
                     source = i / 2 / RUN_CHANNELS_MAX;
            struct run_entry first = {0};
            uint32_t cnt = owed(&link->flows[end][channel].queues[source], &first);
            if (cnt == 0)
                continue;
            if (is_said)
                run_fail((struct run *)(uintptr_t)run, "loss",
                         "connection %llu, node %u to %u, channel %u, source %u: %u messages never "
                         "arrived, number %llu of %u bytes first",
                         (unsigned long long)id, link->ends[end].node->idx,
                         link->ends[1 - end].node->idx, channel + 1, source, cnt,
                         (unsigned long long)(first.uid >> 3), first.len);
            return false;
        }
    }
    return true;
}

bool model_is_empty(const struct run *run)
{
    return check_empty(run, false);
}

void model_check_empty(struct run *run)
{
    (void)check_empty(run, true);
}
