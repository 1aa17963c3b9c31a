#include "bench/cases.h"

#include "bench/pace.h"

#define URGENT_INTERVAL_NS (10 * WEIR_NS_PER_MS)
#define SIEGE_INTERVAL_NS WEIR_NS_PER_MS
#define WAKE_BESIDE_NS WEIR_NS_PER_S /* how long the second channel sends, at most */
#define SHARD_CONNS 8u
/* From as many connections on, the kernel's buffers are bounded, in one direction all together: 10,000
 * full windows of the system's choice are more than the kernel gives TCP in all. */
#define CROWD 128u
#define KERNEL_BYTES (256u << 20)
#define KERNEL_BYTES_LEAST (32u << 10)
#define KERNEL_BYTES_MOST (256u << 10)

const char *const bench_case_names[BENCH_CASE_CNT] = {
    [BENCH_THROUGHPUT] = "throughput",
    [BENCH_RTT] = "rtt",
    [BENCH_URGENT] = "urgent",
    [BENCH_SHARE] = "share",
    [BENCH_RATE] = "rate",
    [BENCH_WAKE] = "wake",
    [BENCH_STALL] = "stall",
    [BENCH_CONNECTIONS] = "connections",
    [BENCH_BROADCAST] = "broadcast",
    [BENCH_CHURN] = "churn",
    [BENCH_SHARDS] = "shards",
    [BENCH_SEND] = "send",
    [BENCH_MICRO] = "micro",
    [BENCH_HANDSHAKE] = "handshake",
    [BENCH_FLOOD] = "flood",
};

const char *const bench_case_texts[BENCH_CASE_CNT] = {
    [BENCH_THROUGHPUT] = "messages one way as fast as they go, counted where they arrive",
    [BENCH_RTT] = "one message there and back at a time: the distribution of round trips",
    [BENCH_URGENT] =
        "a 64-byte message each 10 ms beside bulk that never ends: its latency, and what bulk loses",
    [BENCH_SHARE] =
        "channels that always have something to send: what share of the bytes each gets",
    [BENCH_RATE] = "messages at a fixed rate: their latency from when each was due",
    [BENCH_WAKE] =
        "one channel alone for 5 s, then an equal one starts: the longest silence of the first",
    [BENCH_STALL] = "a reactor stops reading one of four channels: what the others keep",
    [BENCH_CONNECTIONS] = "many connections at once, all with something to send; their idle memory",
    [BENCH_BROADCAST] = "the same message to every peer: what each copy costs the sender",
    [BENCH_CHURN] = "connect, handshake, close, again: connections per second",
    [BENCH_SHARDS] = "eight connections on nodes of one and of two shards",
    [BENCH_SEND] = "what one weir_try_send costs, on the shard's thread and on another",
    [BENCH_MICRO] = "the engine's inner loops by themselves: verify, frame, schedule, mailbox",
    [BENCH_HANDSHAKE] =
        "newcomers shake hands as fast as they can: how many, and the latency of who is connected",
    [BENCH_FLOOD] =
        "strangers flood the listener with first messages: the latency of who is connected",
};

const struct bench_case_facts bench_cases[BENCH_CASE_CNT] = {
    [BENCH_THROUGHPUT] = {.sizes = "64,1K,16K,64K,1M",
                          .against = "raw,uring",
                          .seconds = 1,
                          .main = FIG_MSGS_PER_S},
    [BENCH_RTT] = {.sizes = "64", .against = "raw,uring", .seconds = 1, .main = FIG_P50_NS},
    [BENCH_URGENT] = {.sizes = "64K",
                      .channels = "urgent:1",
                      .against = "raw,uring",
                      .seconds = 3,
                      .main = FIG_P99_NS},
    [BENCH_SHARE] = {.sizes = "16K",
                     .channels = "1:5:10",
                     .against = "raw,uring",
                     .seconds = 1,
                     .main = FIG_BYTES_PER_S},
    [BENCH_RATE] = {.sizes = "64",
                    .size_min = BENCH_PACE_BYTES_MIN,
                    .size_max = BENCH_PACE_BYTES_MAX,
                    .against = "raw,uring",
                    .seconds = 1,
                    .main = FIG_P99_NS},
    [BENCH_WAKE] = {.sizes = "16K",
                    .channels = "1:1",
                    .against = "none",
                    .seconds = 5,
                    .main = FIG_SILENCE_NS},
    [BENCH_STALL] = {.sizes = "16K",
                     .channels = "1:1:1:1",
                     .against = "none",
                     .seconds = 1,
                     .main = FIG_OTHERS_KEPT},
    [BENCH_CONNECTIONS] = {.sizes = "64",
                           .axis = BENCH_AXIS_CONNECTIONS,
                           .counts = "1,64,1000,10000",
                           .count_max = BENCH_CONNS_MAX,
                           .size_min = sizeof(uint64_t),
                           .size_max = 65536,
                           .against = "raw,epoll",
                           .seconds = 1,
                           .main = FIG_MSGS_PER_S},
    [BENCH_BROADCAST] = {.sizes = "1K",
                         .axis = BENCH_AXIS_PEERS,
                         .counts = "1,8,64,512",
                         .count_max = 4096,
                         .size_min = sizeof(uint64_t),
                         .size_max = 65536,
                         .against = "raw",
                         .seconds = 1,
                         .main = FIG_SENDER_CPU_S_PER_MMSG},
    [BENCH_CHURN] = {.axis = BENCH_AXIS_CONNECTIONS,
                     .counts = "64",
                     .count_max = 128,
                     .against = "raw",
                     .seconds = 1,
                     .main = FIG_CONNS_PER_S},
    [BENCH_SHARDS] = {.sizes = "64,16K",
                      .axis = BENCH_AXIS_SHARDS,
                      .counts = "1,2",
                      .count_max = SHARD_CONNS,
                      .size_min = sizeof(uint64_t),
                      .size_max = 65536,
                      .against = "none",
                      .seconds = 1,
                      .main = FIG_MSGS_PER_S},
    [BENCH_SEND] = {.sizes = "64,1K,16K",
                    .against = "none",
                    .seconds = 1,
                    .main = FIG_SEND_SHARD_NS},
    [BENCH_MICRO] = {.sizes = "64,1K,16K,64K",
                     .size_max = 65536,
                     .against = "none",
                     .seconds = 0.5,
                     .main = FIG_VERIFY_NS},
    [BENCH_HANDSHAKE] = {.sizes = "64",
                         .axis = BENCH_AXIS_CONNECTIONS,
                         .counts = "16",
                         .count_max = 128,
                         .size_min = 16,
                         .size_max = 65536,
                         .against = "arithmetic,weir",
                         .is_secure = true,
                         .seconds = 2,
                         .main = FIG_HANDSHAKES_PER_CPU_S},
    [BENCH_FLOOD] = {.sizes = "64",
                     .axis = BENCH_AXIS_CONNECTIONS,
                     .counts = "64",
                     .count_max = 128,
                     .size_min = 16,
                     .size_max = 65536,
                     .against = "none",
                     .is_secure = true,
                     .seconds = 2,
                     .main = FIG_P99_NS},
};

const char *const bench_axis_names[4] = {NULL, "connections", "peers", "shards"};

void bench_case_prepare(struct bench_job *job, double seconds, uint32_t count)
{
    const enum bench_axis axis = bench_cases[job->which].axis;

    job->window_ns = (weir_ns)(seconds * 1e9);
    job->alone_ns = 0;
    job->interval_ns = URGENT_INTERVAL_NS;
    job->shard_cnt = axis == BENCH_AXIS_SHARDS ? count : 1;
    job->conn_cnt = axis == BENCH_AXIS_NONE ? 1 : axis == BENCH_AXIS_SHARDS ? SHARD_CONNS : count;
    switch (job->which) {
    case BENCH_HANDSHAKE:
    case BENCH_FLOOD:
        job->interval_ns = SIEGE_INTERVAL_NS;
        job->alone_ns = job->window_ns;
        break;
    case BENCH_URGENT:
    case BENCH_STALL:
    case BENCH_SEND: /* ALONE from the shard's thread, then from another one */
        job->alone_ns = job->window_ns;
        break;
    case BENCH_WAKE:
        job->alone_ns = job->window_ns;
        if (job->window_ns > WAKE_BESIDE_NS)
            job->window_ns = WAKE_BESIDE_NS;
        break;
    case BENCH_CONNECTIONS:
        job->channel_cnt = 4;
        for (uint32_t i = 0; i < job->channel_cnt; i++)
            job->channels[i] = (struct bench_channel){1, false};
        /* fallthrough */
    case BENCH_BROADCAST:
        if (count < CROWD)
            break;
        job->send_buffer = KERNEL_BYTES / count;
        if (job->send_buffer < KERNEL_BYTES_LEAST)
            job->send_buffer = KERNEL_BYTES_LEAST;
        if (job->send_buffer > KERNEL_BYTES_MOST)
            job->send_buffer = KERNEL_BYTES_MOST;
        if (job->recv_buffer == 0)
            job->recv_buffer = job->send_buffer;
        break;
    case BENCH_THROUGHPUT:
    case BENCH_RTT:
    case BENCH_SHARE:
    case BENCH_RATE:
    case BENCH_CHURN:
    case BENCH_SHARDS:
    case BENCH_MICRO:
        break;
    }
}
