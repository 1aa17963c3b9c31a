/* bench/table_columns.c: which figures the table of each case shows. */
#include "bench/table.h"

#define CPU_COLUMNS                               \
    {FIG_CPU_S_PER_GB, "cpu s/GB", 1, 3, false},  \
    {                                             \
        FIG_CPU_S_PER_MMSG, "s/Mmsg", 1, 3, false \
    }
#define CALL_COLUMNS                                             \
    {FIG_SENDER_SYSCALLS_PER_MSG, "calls/msg snd", 1, 5, false}, \
    {                                                            \
        FIG_RECEIVER_SYSCALLS_PER_MSG, "rcv", 1, 5, false        \
    }
#define LATENCY_COLUMNS                                                           \
    {FIG_P50_NS, "p50 us", 1e3, 1, true}, {FIG_P90_NS, "p90", 1e3, 1, false},     \
        {FIG_P99_NS, "p99", 1e3, 1, true}, {FIG_P999_NS, "p99.9", 1e3, 1, false}, \
        {FIG_P9999_NS, "p99.99", 1e3, 1, false},                                  \
    {                                                                             \
        FIG_MAX_NS, "max", 1e3, 0, false                                          \
    }
#define LOAD_COLUMNS                               \
    {FIG_SENDER_CPU, "cpu snd %", 0.01, 0, false}, \
    {                                              \
        FIG_RECEIVER_CPU, "rcv %", 0.01, 0, false  \
    }
#define END_COLUMNS                                        \
    {FIG_PREEMPTED_PER_S, "preempted/s", 1, 0, false},     \
        {FIG_WAITED_MS_PER_S, "waited ms/s", 1, 1, false}, \
    {                                                      \
        FIG_CNT, NULL, 0, 0, false                         \
    }

static const struct bench_column throughput_columns[] = {
    {FIG_MSGS_PER_S, "Mmsg/s", 1e6, 3, true},
    {FIG_BYTES_PER_S, "GB/s", 1e9, 2, false},
    CPU_COLUMNS,
    LOAD_COLUMNS,
    CALL_COLUMNS,
    END_COLUMNS,
};
static const struct bench_column rtt_columns[] = {
    LATENCY_COLUMNS,
    {FIG_MSGS_PER_S, "k/s", 1e3, 1, false},
    CPU_COLUMNS,
    {FIG_SENDER_SYSCALLS_PER_MSG, "calls/msg snd", 1, 2, false},
    {FIG_RECEIVER_SYSCALLS_PER_MSG, "rcv", 1, 2, false},
    END_COLUMNS,
};
static const struct bench_column urgent_columns[] = {
    {FIG_P50_NS, "p50 us", 1e3, 1, true},
    {FIG_P99_NS, "p99", 1e3, 1, true},
    {FIG_MAX_NS, "max", 1e3, 0, false},
    {FIG_CALL_P50_NS, "call p50", 1e3, 1, false},
    {FIG_CALL_P99_NS, "call p99", 1e3, 1, false},
    {FIG_BULK_BYTES_PER_S, "bulk GB/s", 1e9, 2, false},
    {FIG_BULK_ALONE_BYTES_PER_S, "alone", 1e9, 2, false},
    {FIG_BULK_RATIO, "ratio", 1, 2, true},
    CPU_COLUMNS,
    END_COLUMNS,
};
static const struct bench_column share_columns[] = {
    {FIG_BYTES_PER_S, "GB/s", 1e9, 2, true},
    {FIG_SHARE_ERROR, "off by points", 1, 2, true},
    CPU_COLUMNS,
    {FIG_SENDER_SYSCALLS_PER_MSG, "calls/msg snd", 1, 4, false},
    {FIG_RECEIVER_SYSCALLS_PER_MSG, "rcv", 1, 4, false},
    {FIG_CREDIT_STALLS_PER_S, "stalls/s", 1, 0, false},
    END_COLUMNS,
};
static const struct bench_column rate_columns[] = {
    LATENCY_COLUMNS,
    {FIG_MSGS_PER_S, "k/s", 1e3, 1, false},
    {FIG_UNSENT, "unsent", 1, 0, false},
    CPU_COLUMNS,
    LOAD_COLUMNS,
    END_COLUMNS,
};
static const struct bench_column wake_columns[] = {
    {FIG_SILENCE_NS, "silence ms", 1e6, 3, true},
    {FIG_SILENCE_ALONE_NS, "alone ms", 1e6, 3, true},
    {FIG_BYTES_PER_S, "GB/s", 1e9, 2, false},
    CPU_COLUMNS,
    END_COLUMNS,
};
static const struct bench_column stall_columns[] = {
    {FIG_OTHERS_KEPT, "others keep", 1, 3, true},       {FIG_ALL_KEPT, "all keep", 1, 3, true},
    {FIG_BYTES_PER_S, "GB/s", 1e9, 2, false},           CPU_COLUMNS,
    {FIG_CREDIT_STALLS_PER_S, "stalls/s", 1, 0, false}, END_COLUMNS,
};
static const struct bench_column connections_columns[] = {
    {FIG_MSGS_PER_S, "Mmsg/s", 1e6, 3, true},
    {FIG_CPU_S_PER_GB, "cpu s/GB", 1, 3, false},
    {FIG_CPU_S_PER_MMSG, "s/Mmsg", 1, 4, true},
    LOAD_COLUMNS,
    {FIG_SENDER_IDLE_BYTES, "idle B snd", 1, 0, false},
    {FIG_RECEIVER_IDLE_BYTES, "rcv", 1, 0, false},
    CALL_COLUMNS,
    {FIG_RECEIVER_SYSCALLS_PER_TURN, "/turn", 1, 2, false},
    END_COLUMNS,
};
static const struct bench_column broadcast_columns[] = {
    {FIG_SENDER_CPU_S_PER_MMSG, "snd us/copy", 1, 3, true},
    {FIG_MSGS_PER_S, "Mcopies/s", 1e6, 3, false},
    CPU_COLUMNS,
    LOAD_COLUMNS,
    CALL_COLUMNS,
    END_COLUMNS,
};
static const struct bench_column churn_columns[] = {
    {FIG_CONNS_PER_S, "k conns/s", 1e3, 2, true},
    {FIG_CPU_S_PER_MMSG, "cpu us/conn", 1, 1, false},
    LOAD_COLUMNS,
    {FIG_SENDER_SYSCALLS_PER_MSG, "calls/conn snd", 1, 1, false},
    {FIG_RECEIVER_SYSCALLS_PER_MSG, "rcv", 1, 1, false},
    END_COLUMNS,
};
static const struct bench_column siege_columns[] = {
    {FIG_HANDSHAKES_PER_S, "handshakes/s", 1, 0, true},
    {FIG_HANDSHAKES_PER_CPU_S, "of a core rcv", 1, 0, true},
    {FIG_HANDSHAKES_ALONE_PER_CPU_S, "other idle", 1, 0, false},
    {FIG_NEWCOMERS_PER_S, "newcomers/s", 1, 0, false},
    {FIG_COOKIES_PER_S, "cookies/s", 1, 0, false},
    {FIG_P50_NS, "p50 us", 1e3, 1, false},
    {FIG_P50_ALONE_NS, "alone", 1e3, 1, false},
    {FIG_P99_NS, "p99 us", 1e3, 1, true},
    {FIG_P99_ALONE_NS, "alone", 1e3, 1, false},
    {FIG_P99_RATIO, "p99 ratio", 1, 2, true},
    {FIG_MAX_NS, "max", 1e3, 0, false},
    {FIG_RECEIVER_CPU, "cpu rcv %", 0.01, 0, false},
    END_COLUMNS,
};
static const struct bench_column send_columns[] = {
    {FIG_SEND_SHARD_NS, "shard ns", 1, 1, true},
    {FIG_SEND_THREAD_NS, "thread ns", 1, 1, true},
    {FIG_SEND_LONE_NS, "lone ns", 1, 0, true},
    CPU_COLUMNS,
    END_COLUMNS,
};
static const struct bench_column micro_columns[] = {
    {FIG_VERIFY_NS, "verify ns", 1, 1, true},   {FIG_ENCODE_NS, "encode ns", 1, 1, true},
    {FIG_DECODE_NS, "decode ns", 1, 1, true},   {FIG_SCHEDULE_NS, "schedule ns", 1, 2, true},
    {FIG_MAILBOX_NS, "mailbox ns", 1, 2, true}, {FIG_CNT, NULL, 0, 0, false},
};
const struct bench_column *const bench_columns[BENCH_CASE_CNT] = {
    [BENCH_THROUGHPUT] = throughput_columns,
    [BENCH_RTT] = rtt_columns,
    [BENCH_URGENT] = urgent_columns,
    [BENCH_SHARE] = share_columns,
    [BENCH_RATE] = rate_columns,
    [BENCH_WAKE] = wake_columns,
    [BENCH_STALL] = stall_columns,
    [BENCH_CONNECTIONS] = connections_columns,
    [BENCH_BROADCAST] = broadcast_columns,
    [BENCH_CHURN] = churn_columns,
    [BENCH_SHARDS] = throughput_columns,
    [BENCH_SEND] = send_columns,
    [BENCH_MICRO] = micro_columns,
    [BENCH_HANDSHAKE] = siege_columns,
    [BENCH_FLOOD] = siege_columns,
};
