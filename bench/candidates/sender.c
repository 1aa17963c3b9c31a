/* bench/candidates/sender.c: frames are copied and hashed into one batch while the other is with the kernel. */
#include "bench/candidates/candidates.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/base/copy.h"
#include "engine/base/hash.h"

#define GROUP 1
#define SOURCE_BYTES \
    (512 * KIB) /* what is copied in; beside two batches it stays in the L2 cache */

struct batch {
    uint8_t *frames[FRAMES_MAX];
    struct iovec vectors[1 + FRAMES_MAX]; /* the first is for an urgent frame */
    struct msghdr msg;
    struct urgent {
        struct frame_head head;
        uint8_t payload[48];
    } urgent;
    size_t left;   /* bytes that are not sent */
    int in_flight; /* completions, notifications included, until it may be filled again */
    bool is_full;
};

struct sender {
    struct run *run;
    struct io_uring ring;
    struct io_uring_buf_ring *buf_ring; /* SEND_BUNDLE: of this connection alone */
    int sock;
    uint32_t frame_bytes, frame_cnt, seq;
    uint64_t (*xxh3)(const void *data, size_t len, uint64_t seed);
    uint8_t *source;
    size_t source_at;
    double due_s; /* of the next urgent frame */
    uint32_t urgent_cnt;
    struct batch batches[2];
    bool is_sending;
};

static void *memory(struct run *run, size_t len)
{
    void *bytes = aligned_alloc(4096, (len + 4095) & ~(size_t)4095);

    if (bytes == NULL)
        die(run, "no memory", 0);
    memset(bytes, 0x5a, len);
    return bytes;
}

static void fill(struct sender *sender, struct batch *batch)
{
    const struct variant *variant = sender->run->variant;
    const uint32_t len = sender->frame_bytes;

    for (uint32_t i = 0; i < sender->frame_cnt; i++) {
        uint8_t *frame = batch->frames[i], *payload = frame + sizeof(struct frame_head);
        if (sender->source_at + len > SOURCE_BYTES)
            sender->source_at = 0;
        if (!variant->is_uncopied)
            weir_copy(payload, sender->source + sender->source_at, len);
        sender->source_at += len;
        struct frame_head head = {len, sender->seq++,
                                  variant->is_unhashed ? 0 : sender->xxh3(payload, len, 0)};
        memcpy(frame, &head, sizeof(head));
        batch->vectors[1 + i] = (struct iovec){frame, sizeof(head) + len};
    }
    batch->msg = (struct msghdr){.msg_iov = batch->vectors + 1, .msg_iovlen = sender->frame_cnt};
    batch->left = (size_t)sender->frame_cnt * (sizeof(struct frame_head) + len);
    batch->is_full = true;
}

/* An urgent frame that is due goes before all that is in the batch. */
static void put_in_front(struct sender *sender, struct batch *batch)
{
    const double every_s = sender->run->variant->urgent_us * 1e-6, now = now_s();

    if (every_s == 0 || now < sender->due_s)
        return;
    if (sender->due_s == 0)
        sender->due_s = now;
    batch->urgent.head = (struct frame_head){sizeof(batch->urgent.payload), URGENT_SEQ,
                                             (uint64_t)(sender->due_s * 1e9)};
    sender->due_s += every_s;
    sender->urgent_cnt++;
    batch->vectors[0] = (struct iovec){&batch->urgent, sizeof(batch->urgent)};
    batch->msg.msg_iov--;
    batch->msg.msg_iovlen++;
    batch->left += sizeof(batch->urgent);
}

static void submit(struct sender *sender, struct batch *batch)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&sender->ring);
    const int fd = ring_fd(sender->run, sender->sock);

    switch (sender->run->variant->send_mode) {
    case SEND_MSG:
        io_uring_prep_sendmsg(sqe, fd, &batch->msg, MSG_WAITALL | MSG_NOSIGNAL);
        break;
    case SEND_ZC:
        io_uring_prep_sendmsg_zc(sqe, fd, &batch->msg, MSG_WAITALL | MSG_NOSIGNAL);
        sqe->ioprio |= IORING_SEND_ZC_REPORT_USAGE;
        break;
    case SEND_BUNDLE:
        for (uint32_t i = 0; i < sender->frame_cnt; i++)
            io_uring_buf_ring_add(sender->buf_ring, batch->vectors[1 + i].iov_base,
                                  (unsigned)batch->vectors[1 + i].iov_len, (unsigned short)i,
                                  io_uring_buf_ring_mask(FRAMES_MAX), (int)i);
        io_uring_buf_ring_advance(sender->buf_ring, (int)sender->frame_cnt);
        io_uring_prep_send_bundle(sqe, fd, 0, MSG_WAITALL | MSG_NOSIGNAL);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = GROUP;
        break;
    }
    ring_prepared(sender->run, sqe);
    io_uring_sqe_set_data(sqe, batch);
    batch->in_flight++;
    sender->is_sending = true;
}

/* Sends the rest after a short result; with bundles there must be none, as the buffers are gone. */
static void send_rest(struct sender *sender, struct batch *batch, size_t n)
{
    if (sender->run->variant->send_mode == SEND_BUNDLE)
        die(sender->run, "a bundle was sent in part", 0);
    while (n >= batch->msg.msg_iov->iov_len) {
        n -= batch->msg.msg_iov->iov_len;
        batch->msg.msg_iov++;
        batch->msg.msg_iovlen--;
    }
    batch->msg.msg_iov->iov_base = (uint8_t *)batch->msg.msg_iov->iov_base + n;
    batch->msg.msg_iov->iov_len -= n;
    submit(sender, batch);
}

static void complete(struct sender *sender, const struct io_uring_cqe *cqe)
{
    struct batch *batch = io_uring_cqe_get_data(cqe);

    if ((cqe->flags & IORING_CQE_F_NOTIF) != 0) {
        sender->run->shared->notices++;
        sender->run->shared->notices_copied +=
            ((uint32_t)cqe->res & IORING_NOTIF_USAGE_ZC_COPIED) != 0;
        batch->in_flight--;
        return;
    }
    if (cqe->res < 0)
        die(sender->run, "send", -cqe->res);
    if ((cqe->flags & IORING_CQE_F_MORE) == 0)
        batch->in_flight--;
    batch->left -= (size_t)cqe->res;
    sender->is_sending = false;
    if (batch->left != 0)
        send_rest(sender, batch, (size_t)cqe->res);
    else
        batch->is_full = false;
}

static void reap(struct sender *sender)
{
    struct io_uring_cqe *cqe;
    unsigned head, cnt = 0;

    io_uring_for_each_cqe(&sender->ring, head, cqe)
    {
        complete(sender, cqe);
        cnt++;
    }
    io_uring_cq_advance(&sender->ring, cnt);
}

static void open_sender(struct sender *sender, struct run *run)
{
    const struct variant *variant = run->variant;
    int error;

    *sender = (struct sender){
        .run = run,
        .sock = net_connect(run),
        .frame_bytes = variant->frame_bytes != 0 ? variant->frame_bytes : 64 * KIB,
        .frame_cnt = variant->frame_cnt != 0 ? variant->frame_cnt : 8,
        .xxh3 = weir_hash_ops()->xxh3,
        .source = memory(run, SOURCE_BYTES),
    };
    ring_open(run, &sender->ring, sender->sock);
    for (int i = 0; i < 2; i++)
        for (uint32_t j = 0; j < sender->frame_cnt; j++)
            sender->batches[i].frames[j] =
                memory(run, sizeof(struct frame_head) + sender->frame_bytes);
    if (variant->send_mode == SEND_BUNDLE) {
        sender->buf_ring = io_uring_setup_buf_ring(&sender->ring, FRAMES_MAX, GROUP, 0, &error);
        if (sender->buf_ring == NULL)
            die(run, "a buffer ring for sends", -error);
    }
}

void stream_send(struct run *run)
{
    struct sender sender;
    uint32_t fill_idx = 0, send_idx = 0;

    open_sender(&sender, run);
    while (!atomic_load_explicit(&run->shared->is_over, memory_order_acquire) ||
           sender.is_sending || sender.batches[send_idx].is_full) {
        struct batch *batch = &sender.batches[fill_idx];
        bool is_over = atomic_load_explicit(&run->shared->is_over, memory_order_acquire);
        bool can_fill = !is_over && !batch->is_full && batch->in_flight == 0;
        if (can_fill) {
            fill(&sender, batch);
            fill_idx ^= 1;
        }
        if (!sender.is_sending && sender.batches[send_idx].is_full) {
            put_in_front(&sender, &sender.batches[send_idx]);
            submit(&sender, &sender.batches[send_idx]);
            send_idx ^= 1;
        }
        /* Asleep only when both batches are with the kernel or wait for it. */
        if (sender.batches[0].is_full + sender.batches[1].is_full == 2 || is_over || !can_fill)
            ring_wait(run, &sender.ring);
        else
            io_uring_submit_and_get_events(&sender.ring);
        reap(&sender);
    }
    atomic_store(&run->shared->sent, (uint64_t)sender.seq + sender.urgent_cnt);
    shutdown(sender.sock, SHUT_WR);
    uint8_t end;
    if (read(sender.sock, &end, 1) != 0)
        die(run, "the receiver did not read to the end", 0);
}
