/* Everything that can fail, failing once: each allocation, and each operation of the ring. */
#include "tests/unit/conn/peer.h"

#define CHANNEL 10 /* the first channel's id */

static struct box *faults_box(void)
{
    struct box *box = solo_new(2);
    box->cfg.frame_bytes_max = 4096;
    box->cfg.peers_max = 3;
    return box;
}

/* A send may find no memory, or its connection gone; nothing else. */
static void expect_sent(int error)
{
    cr_assert(error == 0 || error == WEIR_E_NOMEM || error == WEIR_E_GONE, "%s",
              weir_error_name(error));
}

static bool is_ready(const struct peer *peer)
{
    return peer->conn->state == WEIR_CONN_READY;
}

static void queue_all(struct peer *peer)
{
    static int (*const ways[])(struct weir_conn *, uint32_t, size_t,
                               uint64_t) = {box_send, box_send_buf, box_send_shared};
    static const size_t lens[] = {1, 100, 5000, 20000};
    for (size_t i = 0; i < 12; i++) {
        if (is_ready(peer))
            expect_sent(ways[i % 3](peer->conn, i % 2, lens[i / 3], i));
        if (i % 4 == 3)
            peer_listen_chunks(peer, 3000);
    }
    peer_listen(peer);
}

static void say_all(struct peer *peer)
{
    peer_run(peer, CHANNEL, 3, 100, 1);
    peer_fragment(peer, CHANNEL, 10000, 0, 4000, 2);
    peer_fragment(peer, CHANNEL, 10000, 4000, 4000, 2);
    peer_control(peer, &(struct weir_control){.kind = WEIR_CONTROL_PING, .value = 1});
    peer_fragment(peer, CHANNEL, 10000, 8000, 2000, 2);
    peer_run(peer, CHANNEL + 1, 30, 100, 3);
    peer_say(peer, 1111);
    peer_listen(peer);
}

static void keep_some(struct box *box, const struct box_pending *msg)
{
    struct weir_buf *buf =
        msg->len > 50 && msg->conn->state == WEIR_CONN_READY ? box_keep(box, msg) : NULL;
    weir_buf_unref(buf); /* at once: it comes back inside the batch */
}

/* Two connections from beginning to end, with something of everything. */
static void converse(struct box *box)
{
    struct script_io *script = script_of(box->io);
    struct peer *peers[2];
    uint32_t opened = 0;
    box->on_msg = keep_some;
    for (int i = 0; i < 2; i++) {
        struct peer *peer = peers[i] = peer_new(box, i == 0);
        struct weir_addr addr;
        cr_assert_eq(weir_addr_parse(&addr, "192.0.2.7:7000"), 0);
        weir_codec_native.begin(peer->state, &peer->offer, peer->is_dialer);
        peer->sock = i == 0 ? script_open(script) : 0;
        int error = i == 0 ? weir_conn_accept(&box->hub, peer->sock, &peer->conn)
                           : weir_conn_dial(&box->hub, &addr, UINT32_MAX, &peer->conn);
        if (error) {
            cr_assert_eq(error, WEIR_E_DESCRIPTORS);
            peer->conn = &box->hub.conns[2]; /* one that is free */
            continue;
        }
        opened++;
        if (i == 1) {
            peer->sock = peer->conn->sock;
            script_connected(script, peer->sock, 0);
        }
        peer_pump(peer, 50);
        if (!is_ready(peer))
            continue;
        queue_all(peer);
        say_all(peer);
        if (is_ready(peer))
            weir_conn_pause(peer->conn, 0, true);
        say_all(peer);
        if (is_ready(peer))
            weir_conn_pause(peer->conn, 0, false);
        queue_all(peer);
    }
    for (int i = 0; i < 2; i++) {
        if (is_ready(peers[i])) {
            expect_sent(box_send(peers[i]->conn, 0, 9000, 1));
            weir_conn_close(peers[i]->conn, WEIR_R_APPLICATION, i == 0);
        }
        peer_listen(peers[i]);
        peer_hang_up(peers[i]);
    }
    for (int i = 0; i < 10; i++)
        solo_advance(box, 20 * WEIR_NS_PER_S);
    cr_assert_eq(box->hub.metrics.conn_cnt, 0, "a connection is left");
    cr_assert_eq(box->end_cnt, opened);
    cr_assert_eq(box_pool_stats(box).used_cnt, 0);
    cr_assert_eq(script->lent_cnt, 0);
    for (int i = 0; i < 2; i++)
        peer_free(peers[i]);
}

/* The reasons for which a connection may have ended. */
static bool has_only_ended_for(const struct box *box, uint16_t reason)
{
    for (uint32_t i = 0; i < box->end_cnt; i++)
        if (box->ends[i].reason != reason && box->ends[i].reason != WEIR_R_APPLICATION &&
            box->ends[i].reason != WEIR_R_EOF && box->ends[i].reason != WEIR_R_HANDSHAKE_TIMEOUT)
            return false;
    return true;
}

Test(faults, every_allocation_may_fail)
{
    /* How many there are. */
    uint64_t process_cnt = weir_heap_alloc_cnt(NULL);
    struct box *box = faults_box();
    solo_open(box);
    converse(box);
    uint64_t cnt = weir_heap_alloc_cnt(NULL) - process_cnt + weir_heap_alloc_cnt(box->heap);
    cr_assert_eq(box->ready_cnt, 2);
    solo_free(box);
    cr_assert_gt(cnt, 30);
    uint32_t failed_opens = 0, ended = 0;
    for (uint64_t n = 1; n <= cnt; n++) {
        box = faults_box();
        struct script_io *script = script_new();
        weir_heap_fail_nth(n);
        int error = box_open(box, &script->io);
        cr_assert(error == 0 || error == WEIR_E_NOMEM);
        failed_opens += error != 0;
        if (!error)
            converse(box);
        weir_heap_fail_nth(0);
        cr_assert(error || has_only_ended_for(box, WEIR_R_LIMIT_MEMORY), "allocation %llu",
                  (unsigned long long)n);
        ended += box->hub.metrics.closes[WEIR_R_LIMIT_MEMORY] != 0;
        solo_free(box);
    }
    cr_assert_geq(failed_opens, 6, "heap, pool and the hub's own: %u", failed_opens);
    cr_assert_gt(ended, 5, "some end a connection: %u", ended);
}

/* The same, but everything from some point on fails. */
Test(faults, every_allocation_from_some_point_on_may_fail)
{
    for (uint64_t pool_bytes = 0; pool_bytes < 200000; pool_bytes += 1024) {
        struct box *box = faults_box();
        box->cfg.pool_bytes_max = pool_bytes;
        solo_open(box);
        converse(box);
        cr_assert(has_only_ended_for(box, WEIR_R_LIMIT_MEMORY), "%llu",
                  (unsigned long long)pool_bytes);
        solo_free(box);
    }
}

Test(faults, every_operation_of_the_ring_may_fail)
{
    static const size_t counters[] = {
        offsetof(struct script_io, fail_recv), offsetof(struct script_io, fail_send),
        offsetof(struct script_io, fail_shutdown), offsetof(struct script_io, fail_connect)};
    for (size_t c = 0; c < 4; c++) {
        uint32_t failed_cnt = 0;
        for (uint32_t n = 1; n < 200; n++) {
            struct box *box = faults_box();
            struct script_io *script = solo_open(box);
            uint32_t *countdown = (uint32_t *)((uint8_t *)script + counters[c]);
            *countdown = n;
            converse(box);
            bool has_failed = *countdown == 0;
            failed_cnt += has_failed;
            cr_assert(has_only_ended_for(box, WEIR_R_INTERNAL), "operation %zu, %u", c, n);
            solo_free(box);
            if (!has_failed)
                break;
        }
        cr_assert_geq(failed_cnt, 1, "operation %zu", c);
        cr_assert_lt(failed_cnt, 199, "operation %zu has an end", c);
    }
}

/* The kernel takes an operation only now and then: nothing is lost and nobody ends for it. */
Test(faults, operations_that_are_refused_are_started_later)
{
    struct box *box = faults_box();
    solo_open(box);
    converse(box);
    uint64_t tx = box->hub.metrics.frames_tx, rx = box->hub.metrics.frames_rx;
    uint64_t received = box->hub.metrics.channels[1].msgs_tx;
    solo_free(box);
    for (uint64_t seed = 1; seed <= 100; seed++) {
        box = faults_box();
        struct script_io *script = solo_open(box);
        script->refuse_random = seed;
        converse(box);
        cr_assert_eq(box->ready_cnt, 2, "seed %llu", (unsigned long long)seed);
        cr_assert(has_only_ended_for(box, WEIR_R_APPLICATION), "seed %llu: %u",
                  (unsigned long long)seed, box_last_reason(box));
        cr_assert_eq(box->hub.metrics.channels[1].msgs_tx, received);
        cr_assert_geq(box->hub.metrics.frames_rx, rx);
        cr_assert_leq(box->hub.metrics.frames_tx, tx + 10);
        solo_free(box);
    }
}
