/* bench/bench.h: the words of the bench suite: a case, an implementation, one run, its two sides.
 *
 * A *run* is one implementation doing one case at one message size once. It has two *sides*, each a
 * process of its own on a core of its own, that share one page of memory (struct bench_shared) and
 * otherwise talk over loopback TCP only. One side *leads*: it looks at the clock and moves the run
 * from phase to phase; the other follows.
 *
 *     WARMUP ──► ALONE ──► MEASURE ──► DRAIN ──► DONE
 *       │          ▲           ▲          │         both sides have their last figures
 *       └──────────┴───────────┘          └ the sender stops, the receiver waits for the rest
 *        (ALONE only where job.alone_ns is not 0: what the case disturbs, before it is disturbed)
 *
 * At the first turn of each phase a side writes a *mark*: the time, its CPU time and all it counted
 * so far. Every figure is a difference of two marks, so that nothing is reset while traffic runs.
 */
#ifndef WEIR_BENCH_BENCH_H
#define WEIR_BENCH_BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/histogram.h"
#include "weir/base.h"

#define BENCH_CHANNELS_MAX 8u
#define BENCH_SIZE_MAX (UINT32_C(1) << 28)
#define BENCH_URGENT_BYTES 64u
#define BENCH_CONNS_MAX 16384u /* a process may open 20,000 descriptors, as often as not */

/* Exit codes, of a side and of the whole program. */
enum bench_status {
    BENCH_OK = 0,
    BENCH_E_RUN = 1,         /* a message was lost, or a side failed */
    BENCH_E_USAGE = 2,       /* the command line */
    BENCH_E_ENVIRONMENT = 3, /* the machine refuses something that a run needs */
};

enum bench_case {
    BENCH_THROUGHPUT,
    BENCH_RTT,
    BENCH_URGENT,
    BENCH_SHARE,
    BENCH_RATE,
    BENCH_WAKE,
    BENCH_STALL,
    BENCH_CONNECTIONS,
    BENCH_BROADCAST,
    BENCH_CHURN,
    BENCH_SHARDS,
    BENCH_SEND,
    BENCH_MICRO,
    BENCH_HANDSHAKE,
    BENCH_FLOOD,
};
#define BENCH_CASE_CNT 15u

enum bench_phase { BENCH_WARMUP, BENCH_ALONE, BENCH_MEASURE, BENCH_DRAIN, BENCH_DONE };
#define BENCH_PHASE_CNT 5u

enum bench_who { BENCH_SENDER, BENCH_RECEIVER };

struct bench_channel {
    uint16_t weight;
    bool is_urgent; /* of the strictly urgent class; `weight` is 1 then */
};

/* What a run is to do. In `urgent`, channel 0 has the small messages and channel 1 the bulk. */
struct bench_job {
    enum bench_case which;
    uint32_t size; /* bytes of one message; in `urgent`, of one bulk message */
    weir_ns warmup_ns, window_ns;
    weir_ns alone_ns;       /* how long ALONE lasts; 0: the case has no such phase */
    weir_ns interval_ns;    /* `urgent`, `handshake`, `flood`: between two small messages */
    uint32_t rate;          /* `rate`: messages a second */
    const char *congestion; /* TCP_CONGESTION of every socket; NULL: the system's */
    uint32_t recv_buffer;   /* SO_RCVBUF of every socket; 0: the system's autotuning */
    uint32_t send_buffer;   /* SO_SNDBUF, likewise */
    bool is_busy;           /* spin instead of sleeping */
    bool is_mixed;          /* `share`: messages of `size` and of fractions of it */
    uint32_t conn_cnt;      /* connections; in `broadcast` peers; in `churn` how many at a time, in
                             * `handshake` and `flood` how many newcomers */
    uint32_t shard_cnt;     /* of weir's nodes */
    uint32_t channel_cnt;
    struct bench_channel channels[BENCH_CHANNELS_MAX];
};

/* What a side counted since it began. A sender counts what was sent, a receiver what arrived
 * whole. */
struct bench_counts {
    uint64_t msgs[BENCH_CHANNELS_MAX];
    uint64_t bytes[BENCH_CHANNELS_MAX];
    uint64_t refused[BENCH_CHANNELS_MAX]; /* sends that were answered "full" */
    uint64_t seq_errors;                  /* messages that were not the next one of their channel */
    uint64_t syscalls, turns;
    uint64_t completions; /* of io_uring */
    uint64_t stalls;      /* times a channel had bytes and no credit */
    uint64_t handshakes;  /* of newcomers, as far as they were served */
    uint64_t cookies;     /* that newcomers were sent */
    uint64_t newcomers;   /* that connected, let in or not */
};

struct bench_mark {
    weir_ns now; /* 0: the phase was skipped */
    double cpu_s;
    uint64_t preempted; /* times another process was given the core instead */
    uint64_t waited_ns; /* of its threads, ready to run and without a core */
    struct bench_counts counts;
};

/* What a side measures by itself, once in a run; 0: it did not. */
enum bench_fact {
    BENCH_FACT_IDLE_BYTES, /* user-space memory for each idle connection */
    BENCH_FACT_SEND_SHARD_NS,
    BENCH_FACT_SEND_THREAD_NS,
    BENCH_FACT_SEND_LONE_NS,
    BENCH_FACT_VERIFY_NS,
    BENCH_FACT_ENCODE_NS,
    BENCH_FACT_DECODE_NS,
    BENCH_FACT_SCHEDULE_NS,
    BENCH_FACT_MAILBOX_NS,
    BENCH_FACT_CNT,
};

struct bench_side {
    enum bench_status status; /* of bench_fail(): the process's exit code */
    char text[512];           /* and what went wrong */
    struct bench_mark marks[BENCH_PHASE_CNT];
    double facts[BENCH_FACT_CNT];
};

struct bench_shared {
    _Atomic uint32_t phase;     /* written by the leader (DONE: by whoever counts last) */
    _Atomic uint32_t port;      /* the receiver listens; 0: not yet */
    _Atomic uint32_t back_port; /* the sender listens too, where a socket has one direction */
    _Atomic uint32_t has_sent;  /* release: `sent` is final */
    uint64_t sent[BENCH_CHANNELS_MAX];
    /* `rate`: when the first message was due that was not sent though it was due in the window; 0:
     * none. Written before has_sent. And how many there were, written by the receiver at its end. */
    weir_ns unsent_due;
    uint64_t unsent_cnt;
    _Atomic uint32_t
        idle_cnt; /* sides that have looked at their memory with all connections idle */
    _Atomic uint32_t begun_cnt; /* connections that something was sent over: bench_conn_begins() */
    _Atomic uint64_t
        progress; /* the receiver's: messages that every peer has; connections taken; records opened */
    _Atomic uint64_t sealed; /* bench/micro/ciphers.c: records, so far */
    struct bench_side sides[2];
    /* Written by the side that sees a message arrive. `urgent` and `rate`: from when a message was
     * due; `latency_call` of `urgent`: from when it was given to the implementation. `wake`: between two arrivals on channel 0,
     * beside the other channel and (the second) alone. `handshake`, `flood`: from when a message was due, beside newcomers
     * and (the second) alone. */
    struct bench_histogram latency, latency_call;
};

/* A side's own view of its run. */
struct bench_run {
    const struct bench_impl *impl;
    const struct bench_job *job;
    struct bench_shared *shared;
    enum bench_who who;
    bool is_leader;
    int other_cpu;          /* the other side's */
    enum bench_phase phase; /* as last seen; its mark is written */
    weir_ns phase_end;      /* leader: 0 until the first message */
    uint64_t drained_msgs;  /* when bench_is_drained() looked last */
    struct bench_counts counts;
    uint64_t *conn_seqs; /* many connections: the next number of each; NULL: one connection */
    /* Brings syscalls, turns and stalls up to date before a mark; may be NULL. */
    void (*refresh)(struct bench_run *run, void *ctx);
    void *refresh_ctx;
};

/* A side of a run: returns when the run is DONE, or when bench_fail() was called. An implementation
 * that does not do a case has none; where only the sender has one, the case has one side. */
typedef enum bench_status (*bench_role)(struct bench_run *run);

struct bench_impl {
    const char *name;
    const char *what;
    const char *notes[BENCH_CASE_CNT];   /* what it does in this case, where that is not obvious */
    bench_role roles[BENCH_CASE_CNT][2]; /* NULL: it does not do this case */
    uint32_t size_min, size_max;         /* of a message; 0: no bound. Other sizes are left out */
    const char *program;                 /* has to be in PATH; NULL: it is part of this one */
};

/* Does the run have newcomers beside what it measures? */
static inline bool bench_has_newcomers(enum bench_case which)
{
    return which == BENCH_HANDSHAKE || which == BENCH_FLOOD;
}

extern const struct bench_impl bench_weir, bench_weir_watched, bench_weir_secure, bench_weir_aes,
    bench_arithmetic, bench_aead, bench_aead_aes, bench_raw, bench_spin, bench_uring, bench_epoll,
    bench_iperf3;
/* Only in builds that found the library. */
extern const struct bench_impl bench_libuv, bench_zmq, bench_zmq_pair, bench_nng,
    bench_nng_pushpull;

/* All implementations, weir first, NULL at the end. */
extern const struct bench_impl *const bench_impls[];

static inline bool bench_does_size(const struct bench_impl *impl, uint32_t size)
{
    return size >= impl->size_min && (impl->size_max == 0 || size <= impl->size_max);
}
extern const char *const bench_case_names[BENCH_CASE_CNT];
extern const char *const bench_case_texts[BENCH_CASE_CNT];

/* ---- side.c: for the sides ----------------------------------------------------------------- */

/* CLOCK_MONOTONIC, the same in both processes. */
weir_ns bench_now(void);

/* Moves the run on if it is time (leader) or the leader did (follower). Called once a turn.
 * Returns the phase. */
enum bench_phase bench_step(struct bench_run *run);

/* Ends the run: phase DONE, last mark. By the side that counts last. */
void bench_finish(struct bench_run *run);

/* Sender: says how much was sent; nothing is sent afterwards. */
void bench_publish_sent(struct bench_run *run);

/* Receiver: is everything that was sent here, or has nothing come for 20 s? */
bool bench_is_drained(struct bench_run *run);

/* Waits for the other side's port. Returns 0 after 20 s. */
uint16_t bench_await_port(struct bench_run *run);

/* Writes down what went wrong and returns `status`. */
enum bench_status bench_fail(struct bench_run *run, enum bench_status status, const char *format,
                             ...) __attribute__((format(printf, 3, 4)));

/* Sender of `connections` and `shards`: the first message went to one more connection. Once all have theirs the
 * warm-up begins: before, memory is used for the first time and TCP's windows are closed. Any thread. */
static inline void bench_conn_begins(struct bench_run *run)
{
    atomic_fetch_add_explicit(&run->shared->begun_cnt, 1, memory_order_relaxed);
}

/* The number in a message of `connections` and `shards`: whose it is, and the how manieth of that
 * connection. */
#define BENCH_NUMBER_SHIFT 40u
#define BENCH_NUMBER_MASK ((UINT64_C(1) << BENCH_NUMBER_SHIFT) - 1)

/* Is it the next one of its connection? */
static inline bool bench_is_next(struct bench_run *run, uint64_t number)
{
    const uint64_t idx = number >> BENCH_NUMBER_SHIFT;
    const uint64_t seq = number & BENCH_NUMBER_MASK;

    return idx < run->job->conn_cnt && seq == run->conn_seqs[idx]++;
}

/* Counts a message that arrived and checks its number, the next one of its channel or its connection.
 * Messages of fewer than 8 bytes have none. */
static inline void bench_count(struct bench_run *run, uint32_t channel, const uint8_t *data,
                               uint32_t len)
{
    uint64_t number;

    if (len >= sizeof(number)) {
        __builtin_memcpy(&number, data, sizeof(number));
        run->counts.seq_errors += run->conn_seqs == NULL ? number != run->counts.msgs[channel]
                                                         : !bench_is_next(run, number);
    }
    run->counts.msgs[channel]++;
    run->counts.bytes[channel] += len;
}

/* Counts a message that was given to the implementation. */
static inline void bench_sent(struct bench_run *run, uint32_t channel, uint32_t len)
{
    run->counts.msgs[channel]++;
    run->counts.bytes[channel] += len;
}
/* `wake`, receiver: messages of channel 0 are here now. */
void bench_silence_ends(struct bench_run *run, weir_ns *last);

/* Bytes of this process's anonymous memory: heap, stacks and written data, whoever shares them. */
uint64_t bench_memory(void);

/* Writes down what each of the run's idle connections takes in this process, which took `before` when
 * it began. */
void bench_note_idle(struct bench_run *run, uint64_t before);

/* Have both sides done so? Traffic may begin. */
bool bench_is_idle_noted(const struct bench_run *run);

/* The small message of `urgent`; the rest of its 64 bytes is zero. */
struct bench_urgent {
    uint64_t seq;
    weir_ns due;  /* when it ought to have been sent */
    weir_ns call; /* when it was given to the implementation */
    uint8_t rest[BENCH_URGENT_BYTES - 24];
};
_Static_assert(sizeof(struct bench_urgent) == BENCH_URGENT_BYTES, "the urgent message is 64 bytes");

/* Sender: is an urgent message due? If so fills it in; the next is due one interval later. */
bool bench_urgent_next(struct bench_run *run, weir_ns *due, uint64_t seq,
                       struct bench_urgent *ret_msg);

/* Receiver: counts an urgent message on channel 0 and notes its latencies. */
void bench_urgent_arrived(struct bench_run *run, const uint8_t *data, uint32_t len);

#endif
