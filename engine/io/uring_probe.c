/* engine/io/uring_probe.c: tries each feature of io_uring once. */
#include "engine/io/uring_probe.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <liburing.h>

#define PROBE_ENTRIES 8
#define PROBE_BUF_CNT 2u
#define PROBE_BUF_BYTES 64u

static int ring_make(struct io_uring *ret_ring, unsigned flags)
{
    struct io_uring_params params = {.flags = flags};
    return io_uring_queue_init_params(PROBE_ENTRIES, ret_ring, &params);
}

static bool can_make(unsigned flags)
{
    struct io_uring ring;
    if (ring_make(&ring, flags) != 0)
        return false;
    bool has_flags = (ring.flags & flags) == flags;
    io_uring_queue_exit(&ring);
    return has_flags;
}

/* Submits what is queued and waits a moment for one completion: true when it is a good one of a
 * multishot that goes on. */
static bool is_multishot(struct io_uring *ring, int *ret_res)
{
    struct io_uring_cqe *cqe = NULL;
    struct __kernel_timespec wait = {.tv_nsec = 200000000};
    *ret_res = -1;
    if (io_uring_submit_and_wait_timeout(ring, &cqe, 1, &wait, NULL) < 0 || cqe == NULL)
        return false;
    *ret_res = cqe->res;
    bool is_on = cqe->res >= 0 && (cqe->flags & IORING_CQE_F_MORE);
    io_uring_cqe_seen(ring, cqe);
    return is_on;
}

/* A ring of buffer descriptions in the first page, the buffers in the second. */
static struct io_uring_buf_ring *bufs_register(struct io_uring *ring, void *pages, unsigned flags)
{
    struct io_uring_buf_reg reg = {
        .ring_addr = (uintptr_t)pages, .ring_entries = PROBE_BUF_CNT, .flags = (uint16_t)flags};
    return io_uring_register_buf_ring(ring, &reg, 0) == 0 ? pages : NULL;
}

static bool try_recv(struct io_uring *ring, void *pages, size_t page_bytes)
{
    struct io_uring_buf_ring *bufs = bufs_register(ring, pages, 0);
    if (bufs == NULL)
        return false;
    io_uring_buf_ring_init(bufs);
    for (unsigned i = 0; i < PROBE_BUF_CNT; i++)
        io_uring_buf_ring_add(bufs, (uint8_t *)pages + page_bytes + i * PROBE_BUF_BYTES,
                              PROBE_BUF_BYTES, (unsigned short)i, (int)PROBE_BUF_CNT - 1, (int)i);
    io_uring_buf_ring_advance(bufs, (int)PROBE_BUF_CNT);

    int pair[2], res;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return false;
    bool is_good = false;
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    if (sqe && write(pair[1], "x", 1) == 1) {
        io_uring_prep_recv_multishot(sqe, pair[0], NULL, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        is_good = is_multishot(ring, &res) && res == 1;
    }
    close(pair[0]);
    close(pair[1]);
    return is_good;
}

static bool try_accept(struct io_uring *ring)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(sa_family_t); /* Linux chooses an abstract name: no file, no port */
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int dialer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool is_good = false;
    if (listener < 0 || dialer < 0 || bind(listener, (struct sockaddr *)&un, len) != 0 ||
        listen(listener, 1) != 0)
        goto out;
    len = sizeof(un);
    if (getsockname(listener, (struct sockaddr *)&un, &len) != 0 ||
        connect(dialer, (struct sockaddr *)&un, len) != 0)
        goto out;
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    if (sqe) {
        int res;
        io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
        is_good = is_multishot(ring, &res);
        if (res >= 0)
            close(res);
    }
out:
    if (listener >= 0)
        close(listener);
    if (dialer >= 0)
        close(dialer);
    return is_good;
}

static bool can_op(const struct io_uring_probe *probe, int op)
{
    return probe != NULL && io_uring_opcode_supported(probe, op);
}

static void try_opcodes(struct io_uring *ring, bool *ret_has)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    ret_has[WEIR_URING_MSG_RING] = can_op(probe, IORING_OP_MSG_RING);
    ret_has[WEIR_URING_SEND_ZC] = can_op(probe, IORING_OP_SEND_ZC);
    ret_has[WEIR_URING_SENDMSG_ZC] = can_op(probe, IORING_OP_SENDMSG_ZC);
    io_uring_free_probe(probe);
}

static void try_buf_rings(bool *ret_has)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    struct io_uring ring;
    void *pages =
        mmap(NULL, 2 * page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return;
    if (ring_make(&ring, 0) == 0) {
        ret_has[WEIR_URING_BUF_RINGS] = bufs_register(&ring, pages, 0) != NULL;
        if (ret_has[WEIR_URING_BUF_RINGS])
            io_uring_unregister_buf_ring(&ring, 0);
        ret_has[WEIR_URING_BUFS_INCREMENTAL] =
            bufs_register(&ring, pages, IOU_PBUF_RING_INC) != NULL;
        if (ret_has[WEIR_URING_BUFS_INCREMENTAL])
            io_uring_unregister_buf_ring(&ring, 0);
        ret_has[WEIR_URING_RECV_MULTISHOT] = try_recv(&ring, pages, page_bytes);
        io_uring_queue_exit(&ring);
    }
    munmap(pages, 2 * page_bytes);
}

/* Of rings like weir's own. */
static void try_owned(bool *ret_has)
{
    struct io_uring ring;
    if (ring_make(&ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) != 0)
        return;
    struct io_uring_napi napi = {.busy_poll_to = 1};
    ret_has[WEIR_URING_NAPI] = io_uring_register_napi(&ring, &napi) == 0;
    if (ret_has[WEIR_URING_NAPI])
        io_uring_unregister_napi(&ring, &napi);
    struct io_uring_params bigger = {.flags = IORING_SETUP_CQSIZE,
                                     .sq_entries = 2 * PROBE_ENTRIES,
                                     .cq_entries = 4 * PROBE_ENTRIES};
    ret_has[WEIR_URING_RESIZE] = io_uring_resize_rings(&ring, &bigger) == 0;
    io_uring_queue_exit(&ring);
}

void weir_uring_probe(struct weir_uring_probe *ret_probe)
{
    struct io_uring ring;
    memset(ret_probe, 0, sizeof(*ret_probe));
    int rc = ring_make(&ring, 0);
    if (rc != 0) {
        ret_probe->setup_errno = -rc;
        return;
    }
    bool *has = ret_probe->has;
    has[WEIR_URING_NODROP] = ring.features & IORING_FEAT_NODROP;
    has[WEIR_URING_BUNDLES] = ring.features & IORING_FEAT_RECVSEND_BUNDLE;
    has[WEIR_URING_MIN_TIMEOUT] = ring.features & IORING_FEAT_MIN_TIMEOUT;
    try_opcodes(&ring, has);
    has[WEIR_URING_ACCEPT_MULTISHOT] = try_accept(&ring);
    io_uring_queue_exit(&ring);

    has[WEIR_URING_SUBMIT_ALL] = can_make(IORING_SETUP_SUBMIT_ALL);
    has[WEIR_URING_SINGLE_ISSUER] = can_make(IORING_SETUP_SINGLE_ISSUER);
    has[WEIR_URING_DEFER_TASKRUN] =
        can_make(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
    has[WEIR_URING_NO_SQARRAY] = can_make(IORING_SETUP_NO_SQARRAY);
    try_buf_rings(has);
    try_owned(has);
}
