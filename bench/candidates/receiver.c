/* bench/candidates/receiver.c: a multishot receive into provided buffers, and every frame checked. */
#include "bench/candidates/candidates.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "engine/base/copy.h"
#include "engine/base/hash.h"

#define GROUP 0
#define WARMUP_S 0.1
#define BUFFERS_MAX 64u
#define WAITS_MAX (1u << 16)

struct receiver {
    struct run *run;
    struct io_uring ring;
    struct io_uring_buf_ring *buf_ring;
    int sock;
    uint32_t buffer_cnt, buffer_bytes;
    uint8_t *pool;
    uint32_t used[BUFFERS_MAX]; /* RECV_INCREMENTAL: bytes of a buffer that are taken */
    uint64_t (*xxh3)(const void *data, size_t len, uint64_t seed);
    uint8_t *carry; /* a frame that began in an earlier buffer */
    size_t carry_len;
    uint32_t seq;
    uint64_t bytes;
    float *waits_us; /* of urgent frames that came within the window */
    uint32_t wait_cnt;
    uint64_t urgent_cnt;
    bool is_armed, is_ended, is_measured;
};

/* ---- frames -------------------------------------------------------------------------------- */

static void check(struct receiver *receiver, const uint8_t *frame, const struct frame_head *head)
{
    if (head->seq == URGENT_SEQ) {
        receiver->urgent_cnt++;
        if (receiver->is_measured && receiver->wait_cnt < WAITS_MAX)
            receiver->waits_us[receiver->wait_cnt++] =
                (float)((now_s() - (double)head->hash * 1e-9) * 1e6);
        return;
    }
    if (head->seq != receiver->seq++)
        die(receiver->run, "a frame is out of order", 0);
    if (receiver->run->variant->is_unhashed)
        return;
    if (receiver->xxh3(frame + sizeof(*head), head->len, 0) != head->hash)
        die(receiver->run, "a frame's checksum does not match", 0);
}

static struct frame_head head_of(struct receiver *receiver, const uint8_t *data)
{
    struct frame_head head;

    memcpy(&head, data, sizeof(head));
    if (head.len > FRAME_BYTES_MAX)
        die(receiver->run, "a frame's header is damaged", 0);
    return head;
}

/* Moves bytes into the carry until it has `want`; true when it does. */
static bool top_up(struct receiver *receiver, size_t want, const uint8_t **data, size_t *len)
{
    size_t n = want > receiver->carry_len ? want - receiver->carry_len : 0;

    n = n < *len ? n : *len;
    weir_copy(receiver->carry + receiver->carry_len, *data, n);
    receiver->carry_len += n;
    *data += n;
    *len -= n;
    return receiver->carry_len >= want;
}

static void take(struct receiver *receiver, const uint8_t *data, size_t len)
{
    struct frame_head head;

    receiver->bytes += len;
    if (receiver->carry_len != 0) {
        if (!top_up(receiver, sizeof(head), &data, &len))
            return;
        head = head_of(receiver, receiver->carry);
        if (!top_up(receiver, sizeof(head) + head.len, &data, &len))
            return;
        check(receiver, receiver->carry, &head);
        receiver->carry_len = 0;
    }
    while (len >= sizeof(head)) {
        head = head_of(receiver, data);
        if (len < sizeof(head) + head.len)
            break;
        check(receiver, data, &head);
        data += sizeof(head) + head.len;
        len -= sizeof(head) + head.len;
    }
    weir_copy(receiver->carry, data, len); /* it is empty */
    receiver->carry_len = len;
}

/* ---- buffers ------------------------------------------------------------------------------- */

static uint8_t *buffer(struct receiver *receiver, uint32_t idx)
{
    return receiver->pool + (size_t)idx * receiver->buffer_bytes;
}

static void provide(struct receiver *receiver, uint32_t idx)
{
    receiver->used[idx] = 0;
    io_uring_buf_ring_add(receiver->buf_ring, buffer(receiver, idx), receiver->buffer_bytes,
                          (unsigned short)idx, io_uring_buf_ring_mask(receiver->buffer_cnt), 0);
    io_uring_buf_ring_advance(receiver->buf_ring, 1);
}

/* A completion's bytes: in one buffer, in a part of one, or in several that follow one another. */
static void take_buffers(struct receiver *receiver, const struct io_uring_cqe *cqe)
{
    uint32_t idx = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    size_t left = (size_t)cqe->res;

    switch (receiver->run->variant->recv_mode) {
    case RECV_PLAIN:
        take(receiver, buffer(receiver, idx), left);
        provide(receiver, idx);
        break;
    case RECV_INCREMENTAL:
        take(receiver, buffer(receiver, idx) + receiver->used[idx], left);
        receiver->used[idx] += (uint32_t)left;
        if ((cqe->flags & IORING_CQE_F_BUF_MORE) == 0)
            provide(receiver, idx);
        break;
    case RECV_BUNDLE:
        for (; left != 0; idx = (idx + 1) % receiver->buffer_cnt) {
            size_t n = left < receiver->buffer_bytes ? left : receiver->buffer_bytes;
            take(receiver, buffer(receiver, idx), n);
            provide(receiver, idx); /* always in this order, so that their numbers go round */
            left -= n;
        }
        break;
    }
}

static void arm(struct receiver *receiver)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&receiver->ring);

    io_uring_prep_recv_multishot(sqe, ring_fd(receiver->run, receiver->sock), NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = GROUP;
    if (receiver->run->variant->recv_mode == RECV_BUNDLE)
        sqe->ioprio |= IORING_RECVSEND_BUNDLE;
    ring_prepared(receiver->run, sqe);
    receiver->is_armed = true;
}

static void reap(struct receiver *receiver)
{
    struct io_uring_cqe *cqe;
    unsigned head, cnt = 0;

    io_uring_for_each_cqe(&receiver->ring, head, cqe)
    {
        if ((cqe->flags & IORING_CQE_F_MORE) == 0)
            receiver->is_armed = false;
        if (cqe->res == 0)
            receiver->is_ended = true;
        else if (cqe->res > 0)
            take_buffers(receiver, cqe);
        else if (cqe->res != -ENOBUFS)
            die(receiver->run, "recv", -cqe->res);
        cnt++;
    }
    io_uring_cq_advance(&receiver->ring, cnt);
}

static void open_receiver(struct receiver *receiver, struct run *run)
{
    const struct variant *variant = run->variant;
    int error;

    *receiver = (struct receiver){
        .run = run,
        .sock = net_accept(run),
        .buffer_cnt = variant->buffer_cnt != 0 ? variant->buffer_cnt : 8,
        .buffer_bytes = variant->buffer_bytes != 0 ? variant->buffer_bytes : 64 * KIB,
        .xxh3 = weir_hash_ops()->xxh3,
        .carry = malloc(sizeof(struct frame_head) + FRAME_BYTES_MAX + BUFFER_BYTES_MAX),
        .waits_us = malloc(WAITS_MAX * sizeof(float)),
    };
    size_t len = (size_t)receiver->buffer_cnt * receiver->buffer_bytes;
    receiver->pool = aligned_alloc(2048 * KIB, (len + 2048 * KIB - 1) & ~(size_t)(2048 * KIB - 1));
    if (receiver->pool == NULL || receiver->carry == NULL || receiver->waits_us == NULL)
        die(run, "no memory", 0);
    madvise(receiver->pool, len, variant->has_huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    memset(receiver->pool, 0, len);
    ring_open(run, &receiver->ring, receiver->sock);
    receiver->buf_ring = io_uring_setup_buf_ring(
        &receiver->ring, receiver->buffer_cnt, GROUP,
        variant->recv_mode == RECV_INCREMENTAL ? IOU_PBUF_RING_INC : 0, &error);
    if (receiver->buf_ring == NULL)
        die(run, "a buffer ring", -error);
    for (uint32_t i = 0; i < receiver->buffer_cnt; i++)
        provide(receiver, i);
}

void stream_recv(struct run *run)
{
    struct receiver receiver;
    double begin = 0, cpu = 0;
    uint64_t bytes = 0;
    bool is_over = false;

    open_receiver(&receiver, run);
    const double first = now_s();
    while (!receiver.is_ended) {
        if (!receiver.is_armed)
            arm(&receiver);
        ring_wait(run, &receiver.ring);
        reap(&receiver);
        double now = now_s();
        if (begin == 0 && now - first >= WARMUP_S) {
            begin = now;
            receiver.is_measured = true;
            bytes = receiver.bytes;
            cpu = cpu_s();
        } else if (begin != 0 && !is_over && now - begin >= run->seconds) {
            double moved = (double)(receiver.bytes - bytes);
            run->shared->bytes_per_s = moved / (now - begin);
            run->shared->cpu_s_per_gb = (cpu_s() - cpu) / (moved * 1e-9);
            is_over = true;
            receiver.is_measured = false;
            atomic_store_explicit(&run->shared->is_over, 1, memory_order_release);
        }
    }
    if (receiver.carry_len != 0)
        die(run, "the last frame is not whole", 0);
    run->shared->received = receiver.seq + receiver.urgent_cnt;
    if (receiver.wait_cnt != 0)
        percentiles(run->shared, receiver.waits_us, receiver.wait_cnt);
    shutdown(receiver.sock, SHUT_RDWR);
}
