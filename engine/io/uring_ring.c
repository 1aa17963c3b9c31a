/* engine/io/uring_ring.c: makes the ring, runs its turns, frees it. */
#include "engine/io/uring_ring.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "engine/mem/heap.h"
#include "weir/base.h"
#include "weir/error.h"

#define RING_ENTRIES_MAX 32768u /* the kernel's bound for the submission queue and a buffer ring */
#define SQ_CNT_MIN 8u
#define DRAIN_ROUNDS 1000
#define MEMLOCK_TRIES 5
#define MEMLOCK_PAUSE_NS 20000000

/* Everything of Linux 6.1. SUBMIT_ALL: one bad entry must not hold up those behind it. DEFER_TASKRUN:
 * completions are made when this thread asks for them, never by an interrupt in the middle of its
 * work; it needs SINGLE_ISSUER, and R_DISABLED lets another thread than the owner make the ring. */
#define RING_FLAGS                                                                       \
    (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_R_DISABLED | \
     IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE)
#define RING_FEATURES                                                         \
    (IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_FAST_POLL | \
     IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP)

uint64_t weir_uring_clock(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * WEIR_NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* ---- submission entries ---------------------------------------------------------------------- */

/* Hands the returned buffers to the kernel: one store of the ring's tail, whatever their number. */
static void publish(struct weir_uring *u)
{
    if (u->return_cnt) {
        io_uring_buf_ring_advance(u->buf_ring, (int)u->return_cnt);
        u->return_cnt = 0;
    }
}

struct io_uring_sqe *weir_uring_sqe(struct weir_uring *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    if (WEIR_LIKELY(sqe != NULL) || u->owner == 0)
        return sqe;
    publish(u); /* first, because a receive that is armed by this submit may need them */
    io_uring_submit(&u->ring);
    u->stats.syscalls++;
    return io_uring_get_sqe(&u->ring);
}

/* A multishot poll of the eventfd, which is edge-triggered: each write makes one completion and nobody
 * ever reads the counter. It is armed once (and again should an overflow of the CQ end it). */
static void arm_wake(struct weir_uring *u)
{
    struct io_uring_sqe *sqe = weir_uring_sqe(u);
    if (sqe == NULL)
        return; /* the next turn tries again */
    io_uring_prep_poll_multishot(sqe, u->wake_fd, POLLIN);
    weir_uring_mark(sqe, WEIR_URING_WAKE, 0);
    u->is_wake_armed = true;
}

/* ---- reaping ------------------------------------------------------------------------------- */

/* Fills in the event of a completion; false for one that nobody is told of. */
static bool translate(struct weir_uring *u, const struct io_uring_cqe *cqe,
                      struct weir_io_event *ret_event)
{
    uint32_t kind = (uint32_t)(cqe->user_data >> WEIR_URING_KIND_SHIFT);
    struct weir_io_event event = {
        .token = cqe->user_data & WEIR_URING_TOKEN_MASK,
        .res = cqe->res,
        .kind = (uint16_t)kind,
        /* Whatever res says: an overflow ends a multishot with a good completion. */
        .flags = cqe->flags & IORING_CQE_F_MORE ? WEIR_IO_MORE : 0,
    };
    switch (kind) {
    case WEIR_IO_RECV:
        if (cqe->flags & IORING_CQE_F_BUFFER) {
            uint32_t buf_idx = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
            WEIR_CHECK(buf_idx < u->cfg.recv_buf_cnt && !u->lent[buf_idx].is_lent);
            if (cqe->res > 0) {
                u->lent[buf_idx].is_lent = true;
                event.flags |= WEIR_IO_BUF;
                event.buf_idx = buf_idx;
                event.data = weir_uring_buf(u, buf_idx);
            } else {
                /* Some kernels spend a buffer on the end of the stream: the caller need not know. */
                weir_uring_buf_return(u, buf_idx);
            }
        } else if (cqe->res == -ENOBUFS) {
            u->stats.recv_starved++;
        }
        break;
    case WEIR_IO_ACCEPT:
        weir_uring_accept_ended(u, event.token, event.res);
        break;
    case WEIR_IO_CONNECT:
        weir_uring_connect_ended(u, event.token);
        break;
    case WEIR_URING_UNCONNECTED:
        event.kind = WEIR_IO_SHUTDOWN;
        event.res = -ENOTCONN;
        break;
    case WEIR_URING_WAKE:
        u->is_wake_armed = (cqe->flags & IORING_CQE_F_MORE) != 0;
        return false;
    case WEIR_URING_DROPPED:
        return false;
    default:
        break;
    }
    *ret_event = event;
    return true;
}

static int64_t reap(struct weir_uring *u, struct weir_io_event *ret_events, uint32_t event_max)
{
    struct io_uring_cqe *cqe;
    unsigned head, seen = 0;
    uint32_t event_cnt = 0;
    io_uring_for_each_cqe(&u->ring, head, cqe)
    {
        if (event_cnt == event_max)
            break; /* the rest stays where it is, for the next turn */
        seen++;
        event_cnt += translate(u, cqe, &ret_events[event_cnt]);
    }
    io_uring_cq_advance(&u->ring, seen);
    u->stats.completions += seen;
    return event_cnt;
}

static int64_t uring_turn(struct weir_io *io, struct weir_io_event *ret_events, uint32_t event_max,
                          uint64_t wait_ns)
{
    struct weir_uring *u = weir_uring_of(io);
    publish(u);
    if (WEIR_UNLIKELY(!u->is_wake_armed))
        arm_wake(u);
    int error = weir_uring_enter(u, event_max, wait_ns);
    u->now_ns = weir_uring_clock();
    u->came_cnt = 0;
    return error ? error : reap(u, ret_events, event_max);
}

/* ---- the smaller operations ---------------------------------------------------------------- */

static uint64_t uring_now(struct weir_io *io)
{
    return weir_uring_of(io)->now_ns;
}

static void uring_random(struct weir_io *io, void *ret_bytes, size_t len)
{
    uint8_t *bytes = ret_bytes;
    while (len > 0) {
        ssize_t got = getrandom(bytes, len, 0);
        weir_uring_of(io)->stats.syscalls++;
        if (got < 0) {
            /* Only EINTR can happen here. Weak randomness must not pass for strong. */
            WEIR_CHECK(errno == EINTR);
            continue;
        }
        bytes += got;
        len -= (size_t)got;
    }
}

static void uring_stats(const struct weir_io *io, struct weir_io_stats *ret_stats)
{
    *ret_stats = ((const struct weir_uring *)(const void *)io)->stats;
}

static int uring_enable(struct weir_io *io)
{
    struct weir_uring *u = weir_uring_of(io);
    WEIR_CHECK(u->owner == 0);
    if (io_uring_enable_rings(&u->ring) != 0)
        return WEIR_E_SYSTEM;
    /* Not io_uring_register_ring_fd: the enter was not measurably cheaper with it (225 to 356 ns either
     * way), and a registered index belongs to a thread, which complicates freeing on another. */
    u->owner = gettid();
    u->stats.syscalls++;
    u->now_ns = weir_uring_clock();
    return 0;
}

/* ---- making and freeing -------------------------------------------------------------------- */

/* Empties the completion queue and closes the accepted sockets in it, which nobody will see. */
static unsigned discard_all(struct weir_uring *u)
{
    struct io_uring_cqe *cqe;
    unsigned head, seen = 0;
    io_uring_for_each_cqe(&u->ring, head, cqe)
    {
        seen++;
        if (cqe->user_data >> WEIR_URING_KIND_SHIFT == WEIR_IO_ACCEPT && cqe->res >= 0)
            close(cqe->res);
    }
    io_uring_cq_advance(&u->ring, seen);
    return seen;
}

/* Ends what is still in flight, so that nothing refers to sockets and buffers any more when this returns
 * (closing a ring does the same, but some time later). The owner's thread only. */
static void drain(struct weir_uring *u)
{
    struct io_uring_sync_cancel_reg all = {
        .flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL, .timeout = {.tv_sec = 1}};
    (void)io_uring_submit(&u->ring);
    (void)io_uring_register_sync_cancel(&u->ring, &all);
    for (int round = 0; round < DRAIN_ROUNDS; round++) {
        (void)io_uring_get_events(&u->ring);
        if (discard_all(u) == 0 && !io_uring_cq_has_overflow(&u->ring))
            break;
    }
}

static void uring_free(struct weir_io *io)
{
    if (io == NULL)
        return;
    struct weir_uring *u = weir_uring_of(io);
    while (u->listener_cnt > 0)
        weir_uring_close(io, u->listeners[0].sock);
    if (u->ring.ring_fd >= 0) {
        /* On another thread: a ring of one issuer takes no orders from us. The owner is over, and the kernel has
         * cancelled its requests at its end; or it comes here no more, and the kernel cancels them as the ring goes. */
        if (u->owner == gettid())
            drain(u);
        else
            (void)discard_all(u);
        io_uring_queue_exit(&u->ring);
    }
    if (u->buf_ring)
        munmap(u->buf_ring, u->map_bytes);
    if (u->wake_fd >= 0)
        close(u->wake_fd);
    weir_heap_release(u->lent);
    weir_heap_release(u->msgs);
    weir_heap_release(u->addrs);
    weir_heap_release(u->connects);
    weir_heap_release(u);
}

static const struct weir_io_ops uring_ops = {
    .enable = uring_enable,
    .free = uring_free,
    .listen = weir_uring_listen,
    .accept = weir_uring_accept,
    .connect = weir_uring_connect,
    .tune = weir_uring_tune,
    .bound_unsent = weir_uring_bound_unsent,
    .bound_unread = weir_uring_bound_unread,
    .recv = weir_uring_recv,
    .recv_done = weir_uring_recv_done,
    .send = weir_uring_send,
    .shutdown = weir_uring_shutdown,
    .cancel = weir_uring_cancel,
    .close = weir_uring_close,
    .peer_addr = weir_uring_peer_addr,
    .turn = uring_turn,
    .wake = weir_uring_wake,
    .now = uring_now,
    .random = uring_random,
    .stats = uring_stats,
};

/* What a refused io_uring_setup means. Sandboxes answer EPERM, ENOSYS, EACCES or EOPNOTSUPP, and whoever
 * writes the next one may choose another: all that is not a shortage, or a flag that the kernel does
 * not know, is "not available". */
static int error_of_setup(int rc)
{
    switch (-rc) {
    case ENOMEM:
        return WEIR_E_MEMLOCK; /* or no memory at all: create() tells them apart */
    case EMFILE:
    case ENFILE:
        return WEIR_E_DESCRIPTORS;
    case EINVAL:
        return WEIR_E_KERNEL;
    default:
        return WEIR_E_NO_URING;
    }
}

static int make_ring(struct weir_uring *u)
{
    struct io_uring_params params = {
        .flags = RING_FLAGS | (u->cfg.spin_ns ? IORING_SETUP_TASKRUN_FLAG : 0),
        .cq_entries = u->cfg.cq_cnt,
    };
    /* liburing adds NO_SQARRAY (6.6) where the kernel takes it, and tries again without. */
    int rc = io_uring_queue_init_params(u->cfg.sq_cnt, &u->ring, &params);
    if (rc != 0) {
        u->ring.ring_fd = -1;
        return error_of_setup(rc);
    }
    return (u->ring.features & RING_FEATURES) == RING_FEATURES ? 0 : WEIR_E_KERNEL;
}

static int make_bufs(struct weir_uring *u)
{
    u->lent = weir_heap_alloc(NULL, u->cfg.recv_buf_cnt * sizeof(*u->lent));
    if (u->lent == NULL)
        return WEIR_E_NOMEM;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t head = u->cfg.recv_buf_cnt * sizeof(struct io_uring_buf);
    head = (head + page - 1) / page * page;
    u->buf_stride = u->cfg.recv_buf_bytes;
    if (u->buf_stride >= WEIR_URING_BUF_MOVED_MIN)
        u->buf_stride += WEIR_URING_BUF_WALK;
    size_t bytes = head + u->cfg.recv_buf_cnt * u->buf_stride;
    /* Populated, so that running out of memory shows now. Ordinary memory that the kernel is told of:
     * rings that the kernel maps (IOU_PBUF_RING_MMAP) have a record of holes. */
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (map == MAP_FAILED)
        return WEIR_E_NOMEM;
    u->buf_ring = map;
    u->bufs = (uint8_t *)map + head;
    u->map_bytes = bytes;

    struct io_uring_buf_reg reg = {.ring_addr = (uintptr_t)map,
                                   .ring_entries = u->cfg.recv_buf_cnt,
                                   .bgid = WEIR_URING_BUF_GROUP};
    int rc = io_uring_register_buf_ring(&u->ring, &reg, 0);
    if (rc != 0)
        return error_of_setup(rc);
    io_uring_buf_ring_init(u->buf_ring);
    for (uint32_t i = 0; i < u->cfg.recv_buf_cnt; i++)
        weir_uring_buf_return(u, i);
    publish(u);
    return 0;
}

static int make(struct weir_io **ret_io, const struct weir_io_config *cfg)
{
    struct weir_uring *u = weir_heap_alloc(NULL, sizeof(*u));
    if (u == NULL)
        return WEIR_E_NOMEM;
    u->io.ops = &uring_ops;
    u->cfg = *cfg;
    u->ring.ring_fd = -1;
    u->wake_fd = -1;
    u->now_ns = weir_uring_clock();
    atomic_init(&u->wake_state, WEIR_URING_AWAKE);

    int error = make_ring(u);
    if (error)
        goto out;
    error = make_bufs(u);
    if (error)
        goto out;
    error = WEIR_E_NOMEM;
    u->msgs = weir_heap_alloc(NULL, u->ring.sq.ring_entries * sizeof(*u->msgs));
    u->addrs = weir_heap_alloc(NULL, u->ring.sq.ring_entries * sizeof(*u->addrs));
    u->connects = weir_heap_alloc(NULL, WEIR_URING_CONNECTS_MAX * sizeof(*u->connects));
    if (u->msgs == NULL || u->addrs == NULL || u->connects == NULL)
        goto out;
    u->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (u->wake_fd < 0) {
        error = weir_uring_socket_error(errno);
        goto out;
    }
    *ret_io = &u->io;
    return 0;
out:
    uring_free(&u->io);
    return error;
}

static bool is_in_range(const struct weir_io_config *cfg)
{
    return cfg->sq_cnt >= SQ_CNT_MIN && cfg->sq_cnt <= RING_ENTRIES_MAX &&
           cfg->cq_cnt >= cfg->sq_cnt && cfg->cq_cnt <= 2 * RING_ENTRIES_MAX &&
           cfg->recv_buf_bytes >= 1 && cfg->recv_buf_bytes <= (1u << 30) &&
           cfg->recv_buf_cnt >= 1 && cfg->recv_buf_cnt <= RING_ENTRIES_MAX &&
           (cfg->recv_buf_cnt & (cfg->recv_buf_cnt - 1)) == 0 &&
           cfg->socket_recv_bytes <= INT32_MAX && cfg->socket_send_bytes <= INT32_MAX;
}

int weir_io_uring_create(struct weir_io **ret_io, const struct weir_io_config *cfg)
{
    if (!is_in_range(cfg))
        return WEIR_E_CONFIG;
    if (cfg->tcp_congestion && !weir_uring_has_congestion(cfg->tcp_congestion))
        return WEIR_E_CONFIG;
    int error = make(ret_io, cfg);
    /* Rings and buffer rings are charged against RLIMIT_MEMLOCK (8 MiB for most users, all their
     * processes together), and a closed ring's charge comes back only 25 to 36 ms later (measured on
     * 6.18): a node that is started again at once must not be made smaller for that. */
    for (int i = 0; i < MEMLOCK_TRIES && error == WEIR_E_MEMLOCK; i++) {
        const struct timespec pause = {.tv_nsec = MEMLOCK_PAUSE_NS};
        nanosleep(&pause, NULL);
        error = make(ret_io, cfg);
    }
    if (error != WEIR_E_MEMLOCK)
        return error;

    /* Once, with half of everything; then it is the operator's turn. */
    struct weir_io_config half = *cfg;
    half.sq_cnt = cfg->sq_cnt / 2 >= SQ_CNT_MIN ? cfg->sq_cnt / 2 : SQ_CNT_MIN;
    half.cq_cnt = cfg->cq_cnt / 2 >= half.sq_cnt ? cfg->cq_cnt / 2 : half.sq_cnt;
    half.recv_buf_cnt = cfg->recv_buf_cnt > 1 ? cfg->recv_buf_cnt / 2 : 1;
    error = make(ret_io, &half);
    if (error != WEIR_E_MEMLOCK)
        return error;
    struct rlimit limit;
    bool is_bounded = getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    return is_bounded ? WEIR_E_MEMLOCK : WEIR_E_NOMEM;
}
