/* Three nodes of two shards, four threads and the shards themselves, all doing anything to anybody: no
 * message is ever damaged, no event is out of order, and in the end nothing is left. The threads' choices
 * follow from a seed; what the scheduler makes of them does not. WEIR_TEST_SEED chooses another. */
#include "tests/integration/harness.h"
#include "tests/sanitized.h"

IT_SUITE(chaos);

#define NODES 3u
#define THREADS 4u
#define OPS all_or_few(15000, 6000) /* of a thread, at the least */
#define MSGS_MIN OPS                /* delivered by all nodes: the threads go on until then */
#define ACT_NS (120 * WEIR_NS_PER_S)
#define KEPT 4096u
#define MSG_MAX 150000u

static struct it_node nodes[NODES];
static _Atomic(struct weir_buf *) kept[KEPT];
static _Atomic uint64_t shard_random;

static uint32_t pick(uint64_t *random, uint32_t cnt)
{
    return (uint32_t)(it_word(random) >> 33) % cnt;
}

static uint32_t some_len(uint64_t *random)
{
    return pick(random, 20) ? 4 + pick(random, 500) : 4 + pick(random, MSG_MAX - 4);
}

static void fill(uint8_t *msg, uint32_t len, uint32_t seed)
{
    memcpy(msg, &seed, 4);
    it_fill(msg + 4, len - 4, seed);
}

static bool is_good(const uint8_t *msg, size_t len)
{
    uint32_t seed;
    if (len < 4)
        return false;
    memcpy(&seed, msg, 4);
    return it_is_filled(msg + 4, len - 4, seed);
}

/* Puts a kept buffer in a place, and gives back what was there. */
static void keep_at(uint32_t place, struct weir_buf *buf)
{
    struct weir_buf *old = atomic_exchange(&kept[place], buf);
    if (old && !is_good(weir_buf_data(old), weir_buf_len(old)))
        it_fault(&nodes[0], "a kept message was changed");
    weir_buf_unref(old);
}

static void allow(struct it_node *node, int64_t error, const char *what)
{
    if (error < 0 && error != WEIR_E_FULL && error != WEIR_E_GONE && error != WEIR_E_TIMEOUT &&
        error != WEIR_E_NOMEM && error != WEIR_E_LIMIT && error != WEIR_E_STATE)
        it_fault(node, "%s: %s", what, weir_error_name((int)error));
}

/* ---- on the shards ------------------------------------------------------------------------- */

static void on_msg(struct it_node *node, const struct weir_msg *msg)
{
    uint64_t random = atomic_fetch_add(&shard_random, UINT64_C(0x9E3779B97F4A7C15));
    if (!is_good(msg->data, msg->len))
        it_fault(node, "a damaged message of %u bytes on channel %u", msg->len, msg->channel);
    struct weir_buf *buf;
    switch (pick(&random, 60)) {
    case 0:
        if (weir_msg_keep(node->node, msg, &buf) == 0)
            keep_at(pick(&random, KEPT), buf);
        break;
    case 1:
        if (weir_msg_keep(node->node, msg, &buf) == 0)
            allow(node, weir_send_buf(node->node, msg->peer, msg->channel, buf), "send_buf");
        break;
    case 2:
        allow(node, weir_try_send(node->node, msg->peer, msg->channel, msg->data, msg->len),
              "try_send");
        break;
    case 3:
        allow(node, weir_channel_pause(node->node, msg->peer, (uint16_t)(1 + pick(&random, 3)), 1),
              "pause");
        break;
    case 4:
        allow(node, weir_channel_pause(node->node, msg->peer, (uint16_t)(1 + pick(&random, 3)), 0),
              "pause");
        break;
    case 5:
        if (pick(&random, 30) == 0)
            allow(node, weir_disconnect(node->node, msg->peer, 0), "disconnect");
        break;
    case 6:
        if (pick(&random, 8) == 0)
            allow(node, weir_broadcast(node->node, msg->channel, msg->data, msg->len, NULL),
                  "broadcast");
        break;
    default:
        break;
    }
}

static weir_ns on_tick(struct it_node *node, uint32_t shard, weir_ns now)
{
    (void)shard;
    if (weir_now() < now - WEIR_NS_PER_S)
        it_fault(node, "a tick of the future");
    return now + IT_MS;
}

/* ---- on the threads ------------------------------------------------------------------------ */

static weir_peer some_peer(struct it_node *node, uint64_t *random)
{
    weir_peer peer = {it_word(random)};
    pthread_mutex_lock(&node->mutex);
    if (node->up_cnt && pick(random, 50))
        peer = node->up[pick(random, node->up_cnt)];
    pthread_mutex_unlock(&node->mutex);
    return peer;
}

static void send_somehow(struct it_node *node, weir_peer peer, uint64_t *random, uint8_t *msg)
{
    uint32_t len = some_len(random);
    uint16_t channel = (uint16_t)(1 + pick(random, 3));
    struct weir_buf *buf;
    fill(msg, len, (uint32_t)it_word(random));
    switch (pick(random, 4)) {
    case 0:
        allow(node, weir_try_send(node->node, peer, channel, msg, len), "try_send");
        break;
    case 1:
        allow(node, weir_send(node->node, peer, channel, msg, len, IT_MS), "send");
        break;
    case 2:
        if (weir_buf_create(&buf, len) == 0) {
            memcpy(weir_buf_data(buf), msg, len);
            allow(node, weir_send_buf(node->node, peer, channel, buf), "send_buf");
        }
        break;
    default:
        allow(node, weir_broadcast(node->node, channel, msg, len, NULL), "broadcast");
        break;
    }
}

/* Messages that the nodes have delivered. */
static uint64_t msgs_cnt(void)
{
    uint64_t msgs = 0;
    for (uint32_t i = 0; i < NODES; i++)
        msgs += atomic_load(&nodes[i].msgs);
    return msgs;
}

static void *act(void *arg)
{
    uint64_t random = *(uint64_t *)arg;
    uint8_t *msg = malloc(MSG_MAX);
    struct weir_peer_info info = {.size = sizeof(info)};
    weir_ns deadline = weir_now() + ACT_NS;
    for (uint32_t i = 0; msg && (i < OPS || (msgs_cnt() < MSGS_MIN && weir_now() < deadline));
         i++) {
        struct it_node *node = &nodes[pick(&random, NODES)];
        struct it_node *other = &nodes[pick(&random, NODES)];
        weir_peer peer = some_peer(node, &random);
        switch (pick(&random, 40)) {
        case 0:
        case 1:
            allow(node, weir_dial(node->node, other->address, pick(&random, 2)), "dial");
            break;
        case 2:
            allow(node, weir_dial_cancel(node->node, other->address), "dial_cancel");
            break;
        case 3:
            if (pick(&random, 4) == 0)
                allow(node, weir_disconnect(node->node, peer, (int)pick(&random, 3)), "disconnect");
            break;
        case 4:
        case 5:
            allow(node,
                  weir_channel_pause(node->node, peer, (uint16_t)(1 + pick(&random, 3)),
                                     (int)pick(&random, 2)),
                  "pause");
            break;
        case 6:
            allow(node, weir_peer_info(node->node, peer, &info), "peer_info");
            break;
        case 7:
        case 8:
            keep_at(pick(&random, KEPT), NULL);
            break;
        default:
            send_somehow(node, peer, &random, msg);
            break;
        }
    }
    free(msg);
    return NULL;
}

/* ---- the world ----------------------------------------------------------------------------- */

static void node_start(uint32_t idx)
{
    struct it_node *node = &nodes[idx];
    it_init(node, "node");
    for (uint16_t id = 1; id <= 3; id++) {
        struct weir_channel *channel = it_channel(node, id);
        channel->send_bytes_max = 300000;
        channel->msg_bytes_max = MSG_MAX;
        channel->recv_bytes_max = 200000;
        channel->weight = (uint16_t)(id * id);
        channel->overflow = id == 2 ? WEIR_OVERFLOW_DROP_OLDEST : WEIR_OVERFLOW_REFUSE;
    }
    node->channels[2].flags = WEIR_CHANNEL_URGENT;
    node->cfg.shard_cnt = 2;
    node->cfg.peers_max = 24;
    node->cfg.dials_max = 16;
    node->cfg.pool_bytes_max = 32 << 20;
    node->cfg.peer_bytes_max = 1 << 20;
    node->cfg.mailbox_bytes_max = 1 << 20;
    node->cfg.frame_bytes_max = idx == 0 ? 4096 : 65536;
    node->cfg.redial_min_ns = 2 * IT_MS;
    node->cfg.redial_max_ns = 20 * IT_MS;
    node->cfg.goodbye_linger_ns = 50 * IT_MS;
    node->cfg.ping_interval_ns = 5 * IT_MS;
    node->on_msg = on_msg;
    node->on_tick = on_tick;
    it_start(node, "127.0.0.1:0");
}

static void live(uint64_t seed)
{
    pthread_t threads[THREADS];
    uint64_t seeds[THREADS];
    atomic_store(&shard_random, seed);
    for (uint32_t i = 0; i < NODES; i++)
        node_start(i);
    for (uint32_t i = 0; i < NODES; i++)
        IT_OK(weir_dial(nodes[i].node, nodes[(i + 1) % NODES].address, WEIR_DIAL_PERSIST));
    for (uint32_t i = 0; i < THREADS; i++) {
        seeds[i] = seed * 1000 + i;
        pthread_create(&threads[i], NULL, act, &seeds[i]);
    }
    for (uint32_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    uint64_t msgs = msgs_cnt();
    for (uint32_t i = 0; i < NODES; i++) {
        it_check_faults(&nodes[i]);
        int error = weir_node_stop(nodes[i].node, i * 100 * IT_MS);
        cr_assert(error == 0 || error == WEIR_E_TIMEOUT, "stop: %s", weir_error_name(error));
        IT_EQ(nodes[i].ups, nodes[i].downs);
        it_check_faults(&nodes[i]);
    }
    cr_assert(msgs >= MSGS_MIN, "only %llu messages were delivered", (unsigned long long)msgs);
    /* Stopped nodes: what is still held is what is kept, and it comes back to nobody. */
    for (uint32_t i = 0; i < KEPT; i++)
        keep_at(i, NULL);
    for (uint32_t i = 0; i < NODES; i++) {
        const struct weir_metrics *metrics = it_metrics(&nodes[i]);
        IT_EQ(metrics->conns, 0);
        IT_EQ(metrics->handshakes, 0);
        it_free(&nodes[i]);
    }
}

IT_TEST(chaos, anything_to_anybody)
{
    const char *seed = getenv("WEIR_TEST_SEED");
    uint64_t first = seed ? strtoull(seed, NULL, 10) : 1;
    for (uint64_t i = first; i < first + 3; i++) {
        fprintf(stderr, "seed %llu\n", (unsigned long long)i);
        live(i);
    }
}
