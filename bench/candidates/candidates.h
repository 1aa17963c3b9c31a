/* bench/candidates/candidates.h: what the kernel offers an engine, tried side by side.
 *
 * A *variant* is one way to move frames between two processes over one TCP connection; a *group* is a
 * question, and its variants are the answers. The first of a group is what weir does (or comes nearest
 * to it), and the others are compared with it where they do not name another. Each run is two processes, pinned like those of weir-bench:
 *
 *     sender:   copies and hashes frames into a batch, sends it, fills the other batch meanwhile
 *     receiver: multishot receive into provided buffers; every frame's XXH3-64 and number is checked
 *
 * Nothing here is the engine's: no channels, no scheduler, no messages within frames. So a difference
 * of a tenth here is less than a tenth in the engine.
 */
#ifndef WEIR_BENCH_CANDIDATES_H
#define WEIR_BENCH_CANDIDATES_H

#include <liburing.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum recv_mode { RECV_PLAIN, RECV_INCREMENTAL, RECV_BUNDLE };
enum send_mode { SEND_MSG, SEND_BUNDLE, SEND_ZC };

#define KIB 1024u
#define FRAMES_MAX 64u /* in a batch */
#define BUFFER_BYTES_MAX (1024 * KIB)
#define AUTOTUNING UINT32_MAX
#define FRAME_BYTES_MAX (256 * KIB)

struct variant {
    const char *name;
    enum recv_mode recv_mode;
    uint32_t buffer_cnt, buffer_bytes; /* a power of two; 0: 8 of 64 KiB */
    enum send_mode send_mode;
    uint32_t frame_bytes;  /* payload; 0: 64 KiB */
    uint32_t frame_cnt;    /* in a send; 0: 8 */
    uint32_t recv_buffer;  /* SO_RCVBUF; 0: 256 KiB, as weir on one host; AUTOTUNING: not set */
    uint32_t unsent_bytes; /* TCP_NOTSENT_LOWAT; 0: not set */
    uint32_t
        urgent_us;    /* how often 64 bytes go to the front of the next send; 0: never. SEND_MSG */
    bool is_uncopied; /* frames are sent from where they lie, always the same */
    bool is_unhashed; /* the sender writes 0 for a hash and the receiver looks at headers alone */
    bool is_direct;   /* registered descriptor */
    bool has_huge_pages;  /* receive buffers with MADV_HUGEPAGE */
    uint32_t min_wait_us; /* io_uring_submit_and_wait_min_timeout for 4 completions */
    uint32_t napi_us;     /* io_uring_register_napi */
    uint32_t base_idx;    /* which variant of the group it is compared with */
    bool is_sleeping; /* wait in the kernel at once; otherwise spin 50 µs first, as weir does */
};

#define VARIANTS_MAX 8

struct group {
    const char *name, *question;
    bool is_ping;
    bool is_urgent; /* its table has how long the urgent ones took */
    struct variant variants[VARIANTS_MAX];
};

extern const struct group candidate_groups[];
extern const size_t candidate_group_cnt;

struct frame_head {
    uint32_t len, seq;
    uint64_t hash;
};
_Static_assert(sizeof(struct frame_head) == 16,
               "as long as weir's frame header within a byte or so");

#define URGENT_SEQ \
    UINT32_MAX /* of an urgent frame; its hash is the time at which it was due, in ns */

/* Of both processes. */
struct shared {
    _Atomic uint32_t port;    /* where the receiver listens */
    _Atomic uint32_t is_over; /* the receiver's window has ended: the sender stops */
    _Atomic uint64_t sent;    /* frames, urgent ones too; final once the sender has shut down */
    uint64_t received;
    double bytes_per_s, cpu_s_per_gb;
    double p50_us, p99_us;          /* ping, urgent */
    double notices, notices_copied; /* zero copy: notifications, and those that say "copied" */
    _Atomic uint32_t failed;
    char text[256];
};

struct run {
    const struct variant *variant;
    struct shared *shared;
    double seconds;
    const char *addr; /* the receiver's */
};

/* The four sides: return when the run is over; what goes wrong is said in shared->text. */
void stream_send(struct run *run);
void stream_recv(struct run *run);
void ping_send(struct run *run);
void ping_recv(struct run *run);

/* Says what went wrong and ends the process. */
_Noreturn void die(struct run *run, const char *what, int error);

/* A connected socket with TCP_NODELAY and cubic. */
int net_connect(struct run *run);
int net_accept(struct run *run);

/* A ring as weir's: SINGLE_ISSUER, DEFER_TASKRUN, `sock` registered where the variant wants it. */
void ring_open(struct run *run, struct io_uring *ring, int sock);
/* What to put into an SQE for the socket. */
static inline int ring_fd(const struct run *run, int sock)
{
    return run->variant->is_direct ? 0 : sock;
}
static inline void ring_prepared(const struct run *run, struct io_uring_sqe *sqe)
{
    if (run->variant->is_direct)
        sqe->flags |= IOSQE_FIXED_FILE;
}
/* Submits and waits for a completion the way the variant does. */
void ring_wait(struct run *run, struct io_uring *ring);

double now_s(void);
/* Puts them in order. */
double median(double *values, int cnt);
double cpu_s(void);
/* Of one or more times: p50_us and p99_us. Puts them in order. */
void percentiles(struct shared *shared, float *times_us, uint32_t cnt);

/* Without a socket. `results`, a JSON array, gets an entry for each line that is printed. */
struct json_t;
int hash_compare(int repeat, struct json_t *results);
int gaps_show(double seconds, struct json_t *results);
int copy_compare(int repeat, struct json_t *results);

#endif
