/* bench/weir.c: weir as an implementation: which role it plays in which case. */
#include "bench/weir_roles.h"

/* What weir plays whatever its transport is. */
#define TRANSPORT_ROLES                                                         \
    [BENCH_THROUGHPUT] = {bench_weir_stream_send, bench_weir_stream_recv},      \
    [BENCH_RTT] = {bench_weir_rtt_send, bench_weir_rtt_recv},                   \
    [BENCH_URGENT] = {bench_weir_stream_send, bench_weir_stream_recv},          \
    [BENCH_SHARE] = {bench_weir_stream_send, bench_weir_stream_recv},           \
    [BENCH_RATE] = {bench_weir_rate_send, bench_weir_stream_recv},              \
    [BENCH_WAKE] = {bench_weir_stream_send, bench_weir_stream_recv},            \
    [BENCH_STALL] = {bench_weir_stream_send, bench_weir_stream_recv},           \
    [BENCH_CONNECTIONS] = {bench_weir_many_send, bench_weir_many_recv},         \
    [BENCH_BROADCAST] = {bench_weir_broadcast_send, bench_weir_broadcast_recv}, \
    [BENCH_CHURN] = {bench_weir_churn_send, bench_weir_churn_recv},             \
    [BENCH_SHARDS] = {bench_weir_many_send, bench_weir_many_recv},              \
    [BENCH_SEND] = {bench_weir_cost_send, bench_weir_stream_recv},              \
    [BENCH_HANDSHAKE] = {bench_weir_siege_send, bench_weir_siege_recv}

const struct bench_impl bench_weir = {
    .name = "weir",
    .what = "two nodes, plain, otherwise with default settings, through the public API",
    .notes =
        {
            [BENCH_THROUGHPUT] =
                "messages are copied in; from 16 KiB on handed over by weir_send_buf",
            [BENCH_STALL] = "channel 0 is paused with weir_channel_pause",
            [BENCH_CONNECTIONS] = "four channels each, of which one sends",
            [BENCH_BROADCAST] = "one weir_broadcast a turn",
            [BENCH_CHURN] = "the side that dialed says goodbye as soon as the peer is up",
            [BENCH_SHARDS] =
                "the library's threads, shard i of both nodes pinned to the i-th CPU; one shard: the "
                "sender on the first, the receiver on the second",
            [BENCH_MICRO] = "one process, no socket",
        },
    .roles =
        {
            TRANSPORT_ROLES,
            [BENCH_MICRO] = {bench_weir_micro, NULL},
        },
};

const struct bench_impl bench_weir_watched = {
    .name = "watched",
    .what = "weir, its metrics scraped each second and in a file (stats_path), on both sides",
    .roles = {[BENCH_THROUGHPUT] = {bench_weir_stream_send, bench_weir_stream_recv}},
};

const struct bench_impl bench_weir_secure = {
    .name = "secure",
    .what = "weir, encrypted: Noise with ChaCha20-Poly1305",
    .roles = {TRANSPORT_ROLES, [BENCH_FLOOD] = {bench_weir_siege_send, bench_weir_siege_recv}},
};

const struct bench_impl bench_weir_aes = {
    .name = "secure-aes",
    .what = "weir, encrypted: Noise with AES-256-GCM",
    .roles = {TRANSPORT_ROLES, [BENCH_FLOOD] = {bench_weir_siege_send, bench_weir_siege_recv}},
};
