#include "bench/libuv/link.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/net.h"

#define TICK_MS 20

static void fail(struct libuv_link *link, const char *what, int error)
{
    if (!link->is_failed)
        bench_fail(link->run, BENCH_E_RUN, "%s: %s", what, uv_strerror(error));
    link->is_failed = true;
}

/* ---- receiving ------------------------------------------------------------------------------ */

static uint32_t left(const struct libuv_link *link)
{
    return link->msg_len - link->msg_at;
}

/* A message of which more than a buffer is missing is read into its place. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct libuv_link *link = handle->data;

    (void)suggested;
    link->is_direct = link->head_len == LIBUV_HEAD && left(link) >= LIBUV_RECV_BYTES;
    *ret_buf = link->is_direct ? uv_buf_init((char *)link->msg + link->msg_at, left(link))
                               : uv_buf_init((char *)link->buffer, LIBUV_RECV_BYTES);
}

/* Moves bytes into `out` until it has `want`. */
static void move(uint8_t *out, uint32_t want, uint32_t *at, const uint8_t **data, size_t *len)
{
    uint32_t n = want - *at < *len ? want - *at : (uint32_t)*len;

    memcpy(out + *at, *data, n);
    *at += n;
    *data += n;
    *len -= n;
}

static bool set_length(struct libuv_link *link, const uint8_t *head)
{
    memcpy(&link->msg_len, head, LIBUV_HEAD);
    if (link->msg_len <= link->run->job->size)
        return true;
    fail(link, "a message's length is damaged", UV_EPROTO);
    return false;
}

static void end_message(struct libuv_link *link)
{
    link->head_len = 0;
    link->msg_at = 0;
    link->deliver(link, link->msg, link->msg_len);
}

/* Goes on with the message that the last buffer ended in. False when it is still not whole. */
static bool finish_begun(struct libuv_link *link, const uint8_t **data, size_t *len)
{
    if (link->head_len < LIBUV_HEAD) {
        move(link->head, LIBUV_HEAD, &link->head_len, data, len);
        if (link->head_len < LIBUV_HEAD || !set_length(link, link->head))
            return false;
    }
    move(link->msg, link->msg_len, &link->msg_at, data, len);
    if (left(link) != 0)
        return false;
    end_message(link);
    return true;
}

static void parse(struct libuv_link *link, const uint8_t *data, size_t len)
{
    if (link->head_len != 0 && !finish_begun(link, &data, &len))
        return;
    while (len >= LIBUV_HEAD) {
        if (!set_length(link, data))
            return;
        if (len - LIBUV_HEAD < link->msg_len)
            break;
        link->deliver(link, data + LIBUV_HEAD, link->msg_len);
        data += LIBUV_HEAD + link->msg_len;
        len -= LIBUV_HEAD + link->msg_len;
    }
    if (len != 0)
        finish_begun(link, &data, &len);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct libuv_link *link = stream->data;

    (void)buf;
    if (n == UV_EOF) {
        link->is_ended = true;
        uv_read_stop(stream);
        return;
    }
    if (n < 0)
        fail(link, "reading", (int)n);
    if (n <= 0)
        return;
    if (link->is_direct) {
        link->msg_at += (uint32_t)n;
        if (left(link) == 0)
            end_message(link);
    } else {
        parse(link, link->buffer, (size_t)n);
    }
    bench_step(link->run); /* libuv reads up to 32 times in one turn */
}

/* ---- sending -------------------------------------------------------------------------------- */

struct libuv_batch *libuv_link_batch(struct libuv_link *link)
{
    for (uint32_t i = 0; i < 2; i++)
        if (!link->batches[i].is_busy)
            return &link->batches[i];
    return NULL;
}

void libuv_batch_put(struct libuv_batch *batch, const void *data, uint32_t len)
{
    uint8_t *out = batch->data + batch->data_len;

    memcpy(out, &len, LIBUV_HEAD);
    memcpy(out + LIBUV_HEAD, data, len);
    batch->data_len += LIBUV_HEAD + len;
    batch->bufs[0] = uv_buf_init((char *)batch->data, (unsigned)batch->data_len);
    batch->buf_cnt = 1;
}

static uint64_t fill_copied(struct libuv_batch *batch, uint64_t msg_max)
{
    struct bench_source *source = &batch->link->source;
    const uint32_t size = source->size;
    uint8_t *out = batch->data + batch->data_len;
    const uint8_t *full = batch->data + LIBUV_BATCH_BYTES;
    uint64_t cnt = 0;

    for (; out < full && cnt < msg_max; cnt++) {
        memcpy(out, &size, LIBUV_HEAD);
        memcpy(out + LIBUV_HEAD, bench_source_peek(source), size);
        bench_source_take(source);
        out += LIBUV_HEAD + size;
    }
    batch->data_len = (size_t)(out - batch->data);
    batch->bufs[0] = uv_buf_init((char *)batch->data, (unsigned)batch->data_len);
    batch->buf_cnt = 1;
    return cnt;
}

static uint64_t fill_referred(struct libuv_batch *batch, uint64_t msg_max)
{
    const uint32_t size = batch->link->run->job->size;
    uint64_t cnt = 0;

    for (; cnt * size < LIBUV_BATCH_BYTES && cnt < msg_max; cnt++) {
        uint8_t *msg = batch->msgs + cnt * size;
        memcpy(msg, &batch->link->seq, sizeof(batch->link->seq));
        batch->link->seq++;
        memcpy(batch->data + cnt * LIBUV_HEAD, &size, LIBUV_HEAD);
        batch->bufs[2 * cnt] = uv_buf_init((char *)batch->data + cnt * LIBUV_HEAD, LIBUV_HEAD);
        batch->bufs[2 * cnt + 1] = uv_buf_init((char *)msg, size);
    }
    batch->buf_cnt = (unsigned)(2 * cnt);
    return cnt;
}

uint64_t libuv_batch_fill(struct libuv_batch *batch, uint64_t msg_max)
{
    return batch->link->run->job->size <= LIBUV_COPY_MAX ? fill_copied(batch, msg_max)
                                                         : fill_referred(batch, msg_max);
}

static void on_written(uv_write_t *req, int error)
{
    struct libuv_batch *batch = req->data;

    if (error != 0)
        fail(batch->link, "writing", error);
    batch->is_busy = false;
    batch->data_len = 0;
    batch->buf_cnt = 0;
}

void libuv_batch_send(struct libuv_batch *batch)
{
    struct libuv_link *link = batch->link;

    batch->is_busy = true;
    batch->req.data = batch;
    int error =
        uv_write(&batch->req, (uv_stream_t *)&link->tcp, batch->bufs, batch->buf_cnt, on_written);
    if (error != 0)
        fail(link, "uv_write", error);
}

/* ---- the link ------------------------------------------------------------------------------- */

static bool batch_init(struct libuv_batch *batch, struct libuv_link *link)
{
    const uint32_t size = link->run->job->size;
    /* Full at LIBUV_BATCH_BYTES or with the message that goes past it. */
    const size_t room = LIBUV_BATCH_BYTES + LIBUV_HEAD + BENCH_PACE_BYTES_MAX;

    *batch = (struct libuv_batch){.link = link, .data = malloc(room)};
    if (batch->data == NULL)
        return false;
    memset(batch->data, 0, room);
    if (size <= LIBUV_COPY_MAX)
        return true;
    size_t len = (LIBUV_BATCH_BYTES / size + 1) * size;
    batch->msgs = malloc(len);
    if (batch->msgs != NULL)
        memset(batch->msgs, 0x5a, len);
    return batch->msgs != NULL;
}

static bool take_memory(struct libuv_link *link)
{
    const uint32_t size = link->run->job->size;

    link->buffer = aligned_alloc(4096, LIBUV_RECV_BYTES);
    link->msg = malloc(size);
    return link->buffer != NULL && link->msg != NULL && batch_init(&link->batches[0], link) &&
           batch_init(&link->batches[1], link) &&
           (size > LIBUV_COPY_MAX || bench_source_init(&link->source, size) == 0);
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

bool libuv_link_open(struct libuv_link *link, struct bench_run *run,
                     void (*deliver)(struct libuv_link *link, const uint8_t *data, uint32_t len))
{
    *link = (struct libuv_link){.run = run, .deliver = deliver};
    if (!take_memory(link)) {
        bench_fail(run, BENCH_E_RUN, "no memory for the buffers");
        return false;
    }
    int sock = run->who == BENCH_SENDER ? bench_net_connect(run) : bench_net_accept_one(run);
    if (sock < 0)
        return false;
    int error = uv_loop_init(&link->loop);
    if (error == 0)
        error = uv_tcp_init(&link->loop, &link->tcp);
    if (error == 0)
        error = uv_tcp_open(&link->tcp, sock);
    link->tcp.data = link;
    if (error == 0)
        error = uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read);
    if (error == 0)
        error = uv_timer_init(&link->loop, &link->tick);
    if (error == 0)
        error = uv_timer_start(&link->tick, on_tick, TICK_MS, TICK_MS);
    if (error != 0)
        fail(link, "opening the loop", error);
    return error == 0;
}

static void send_owed(struct libuv_link *link)
{
    struct libuv_batch *batch;

    for (; link->owed != 0 && (batch = libuv_link_batch(link)) != NULL; link->owed--) {
        libuv_batch_fill(batch, 1);
        libuv_batch_send(batch);
    }
}

void libuv_link_send_one(struct libuv_link *link)
{
    link->owed++;
    send_owed(link);
}

bool libuv_link_turn(struct libuv_link *link, bool is_idle)
{
    uv_run(&link->loop, is_idle && !link->run->job->is_busy ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    link->run->counts.turns++;
    send_owed(link);
    return !link->is_failed;
}

enum bench_status libuv_link_end(struct libuv_link *link)
{
    uv_os_fd_t sock;

    while (link->batches[0].is_busy || link->batches[1].is_busy)
        if (!libuv_link_turn(link, true))
            return BENCH_E_RUN;
    bench_publish_sent(link->run);
    if (uv_fileno((uv_handle_t *)&link->tcp, &sock) == 0)
        shutdown(sock, SHUT_WR);
    while (!link->is_ended)
        if (!libuv_link_turn(link, true))
            return BENCH_E_RUN;
    bench_step(link->run);
    return BENCH_OK;
}
