#include "bench/uring_link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUF_GROUP 0
enum { TAG_SEND = 1, TAG_RECV = 2 };

static bool refuse(struct bench_run *run, const char *what, int error)
{
    const char *remedy = "";

    if (error == EPERM || error == ENOSYS || error == EACCES)
        remedy = "; io_uring is refused here: allow it (sysctl kernel.io_uring_disabled=0, or a "
                 "container profile that permits io_uring_setup)";
    else if (error == EINVAL)
        remedy = "; Linux 6.1 or later is needed";
    else if (error == ENOMEM)
        remedy = "; raise the limit on locked memory (ulimit -l)";
    bench_fail(run, BENCH_E_ENVIRONMENT, "%s: %s%s", what, strerror(error), remedy);
    return false;
}

bool uring_link_open(struct uring_link *link, struct bench_run *run, int sock)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
        .cq_entries = 256,
    };
    int error;

    memset(link, 0, sizeof(*link));
    link->sock = sock;
    error = io_uring_queue_init_params(16, &link->ring, &params);
    if (error != 0)
        return refuse(run, "io_uring_setup", -error);
    io_uring_register_ring_fd(&link->ring); /* advice: saves a descriptor look-up an enter */

    link->buf_ring = io_uring_setup_buf_ring(&link->ring, URING_RECV_CNT, BUF_GROUP, 0, &error);
    if (link->buf_ring == NULL)
        return refuse(run, "io_uring_setup_buf_ring", -error);
    link->pool = aligned_alloc(4096, URING_RECV_CNT * URING_RECV_BYTES);
    if (link->pool == NULL || frame_batch_init(&link->batches[0]) != 0 ||
        frame_batch_init(&link->batches[1]) != 0 || frame_reader_init(&link->reader) != 0 ||
        frame_writer_init(&link->writer, run->job->size) != 0) {
        bench_fail(run, BENCH_E_RUN, "no memory for the buffers");
        return false;
    }
    for (uint32_t i = 0; i < URING_RECV_CNT; i++)
        io_uring_buf_ring_add(link->buf_ring, link->pool + (size_t)i * URING_RECV_BYTES,
                              URING_RECV_BYTES, (unsigned short)i,
                              io_uring_buf_ring_mask(URING_RECV_CNT), (int)i);
    io_uring_buf_ring_advance(link->buf_ring, URING_RECV_CNT);
    return true;
}

static void submit_send(struct uring_link *link, struct frame_batch *batch)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&link->ring); /* 16 entries, at most two in use */

    link->send_msg.msg_iov = &batch->vectors[batch->vector_idx];
    link->send_msg.msg_iovlen = batch->vector_cnt - batch->vector_idx;
    /* WAITALL: the kernel goes on by itself when the socket's buffer was full in between. */
    io_uring_prep_sendmsg(sqe, link->sock, &link->send_msg, MSG_WAITALL | MSG_NOSIGNAL);
    if (link->is_send_silent)
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(sqe, TAG_SEND);
}

void uring_link_send(struct uring_link *link)
{
    submit_send(link, uring_link_batch(link));
    link->fill_idx ^= 1;
    link->is_sending = !link->is_send_silent;
}

void uring_link_recv(struct uring_link *link)
{
    if (link->is_receiving || link->is_ended)
        return;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&link->ring);

    io_uring_prep_recv_multishot(sqe, link->sock, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUF_GROUP;
    io_uring_sqe_set_data64(sqe, TAG_RECV);
    link->is_receiving = true;
}

static bool sent(struct uring_link *link, struct bench_run *run, int res)
{
    struct frame_batch *batch = &link->batches[link->fill_idx ^ 1];

    if (res < 0) {
        bench_fail(run, BENCH_E_RUN, "sendmsg: %s", strerror(-res));
        return false;
    }
    link->is_sending = false;
    if (!frame_batch_sent(batch, (size_t)res)) { /* short in spite of WAITALL: send the rest */
        submit_send(link, batch);
        link->is_sending = true;
    }
    return true;
}

static bool received(struct uring_link *link, struct bench_run *run, const struct io_uring_cqe *cqe)
{
    bool is_good = true;

    if ((cqe->flags & IORING_CQE_F_MORE) == 0)
        link->is_receiving = false;
    if (cqe->res == 0)
        link->is_ended = true;
    if (cqe->res < 0 &&
        cqe->res != -ENOBUFS) { /* ENOBUFS: all buffers are in this batch of completions */
        bench_fail(run, BENCH_E_RUN, "recv: %s", strerror(-cqe->res));
        return false;
    }
    if ((cqe->flags & IORING_CQE_F_BUFFER) != 0) {
        unsigned idx = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
        uint8_t *data = link->pool + (size_t)idx * URING_RECV_BYTES;

        if (cqe->res > 0)
            is_good = frame_read(&link->reader, run, data, (size_t)cqe->res);
        io_uring_buf_ring_add(link->buf_ring, data, URING_RECV_BYTES, (unsigned short)idx,
                              io_uring_buf_ring_mask(URING_RECV_CNT), 0);
        io_uring_buf_ring_advance(link->buf_ring, 1);
    }
    return is_good;
}

static int enter(struct uring_link *link, weir_ns wait)
{
    struct __kernel_timespec timeout = {.tv_sec = (long long)(wait / WEIR_NS_PER_S),
                                        .tv_nsec = (long long)(wait % WEIR_NS_PER_S)};
    struct io_uring_cqe *cqe;

    if (wait == 0)
        return io_uring_submit_and_get_events(&link->ring);
    if (wait == WEIR_NS_FOREVER)
        return io_uring_submit_and_wait(&link->ring, 1);
    return io_uring_submit_and_wait_timeout(&link->ring, &cqe, 1, &timeout, NULL);
}

bool uring_link_turn(struct uring_link *link, struct bench_run *run, weir_ns wait)
{
    struct io_uring_cqe *cqe;
    unsigned head, cnt = 0;
    bool is_good = true;
    int error = enter(link, run->job->is_busy ? 0 : wait);

    run->counts.syscalls++;
    run->counts.turns++;
    if (error < 0 && error != -EINTR && error != -EBUSY && error != -EAGAIN && error != -ETIME) {
        bench_fail(run, BENCH_E_RUN, "io_uring_enter: %s", strerror(-error));
        return false;
    }
    io_uring_for_each_cqe(&link->ring, head, cqe)
    {
        if (is_good)
            is_good =
                cqe->user_data == TAG_SEND ? sent(link, run, cqe->res) : received(link, run, cqe);
        cnt++;
    }
    io_uring_cq_advance(&link->ring, cnt);
    return is_good;
}
