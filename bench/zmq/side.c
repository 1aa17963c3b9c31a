#include "bench/zmq/side.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/hook.h"

#define QUEUE_BYTES (4u << 20)
#define QUEUE_MSGS_MIN 4u
/* More than ZeroMQ ever holds: its queue, which refills before it is empty, and one being written. */
#define HANDED(queue_msgs) (2 * (queue_msgs) + 4)
_Static_assert(HANDED(QUEUE_BYTES / ZMQ_SIDE_HANDED_BYTES) <= ZMQ_SIDE_HANDED_MAX,
               "the ring takes all that can come back");
#define WAIT_MS 20

static bool fail(struct zmq_side *side, const char *what)
{
    if (!zmq_side_is_failed(side))
        bench_fail(side->run, BENCH_E_RUN, "%s: %s", what, zmq_strerror(zmq_errno()));
    return false;
}

/* ---- sockets -------------------------------------------------------------------------------- */

static uint32_t queue_msgs(uint32_t size)
{
    uint32_t cnt = QUEUE_BYTES / size;
    return cnt < QUEUE_MSGS_MIN ? QUEUE_MSGS_MIN : cnt;
}

static void *make_socket(struct zmq_side *side, int type)
{
    const int queue = (int)queue_msgs(side->run->job->size), wait = WAIT_MS, none = 0, on = 1;
    void *socket = zmq_socket(side->ctx, type);

    if (socket == NULL) {
        fail(side, "zmq_socket");
        return NULL;
    }
    zmq_setsockopt(socket, ZMQ_SNDHWM, &queue, sizeof(queue));
    zmq_setsockopt(socket, ZMQ_RCVHWM, &queue, sizeof(queue));
    zmq_setsockopt(socket, ZMQ_SNDTIMEO, &wait, sizeof(wait));
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &wait, sizeof(wait));
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof(none));
    zmq_setsockopt(socket, ZMQ_IMMEDIATE, &on, sizeof(on)); /* queue for real connections only */
    return socket;
}

static bool bind_socket(struct zmq_side *side, void *socket, _Atomic uint32_t *ret_port)
{
    char endpoint[64];
    size_t len = sizeof(endpoint);

    if (socket == NULL)
        return false;
    if (zmq_bind(socket, "tcp://127.0.0.1:*") != 0 ||
        zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &len) != 0)
        return fail(side, "zmq_bind");
    uint32_t port = (uint32_t)strtoul(strrchr(endpoint, ':') + 1, NULL, 10);
    atomic_store_explicit(ret_port, port, memory_order_release);
    return true;
}

static bool connect_socket(struct zmq_side *side, void *socket)
{
    char endpoint[64];
    uint16_t port = bench_await_port(side->run);

    if (socket == NULL)
        return false;
    snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", port);
    if (port == 0) {
        bench_fail(side->run, BENCH_E_RUN, "the other side did not begin to listen");
        return false;
    }
    return zmq_connect(socket, endpoint) == 0 || fail(side, "zmq_connect");
}

static bool open_pair(struct zmq_side *side)
{
    side->in = side->out = make_socket(side, ZMQ_PAIR);
    return side->run->who == BENCH_SENDER ? connect_socket(side, side->out)
                                          : bind_socket(side, side->in, &side->run->shared->port);
}

/* A PUSH socket has one direction: answers need another pair, and the sender listens too. */
static bool open_push_pull(struct zmq_side *side)
{
    struct bench_shared *shared = side->run->shared;
    bool is_sender = side->run->who == BENCH_SENDER,
         has_answers = side->run->job->which == BENCH_RTT;

    if (is_sender || has_answers)
        side->out = make_socket(side, ZMQ_PUSH);
    if (!is_sender || has_answers)
        side->in = make_socket(side, ZMQ_PULL);
    if (side->in != NULL &&
        !bind_socket(side, side->in, is_sender ? &shared->back_port : &shared->port))
        return false;
    return side->out == NULL || connect_socket(side, side->out);
}

/* ---- messages ------------------------------------------------------------------------------- */

static bool handed_init(struct zmq_handed *handed, uint32_t size)
{
    const uint32_t cnt = HANDED(queue_msgs(size));

    for (handed->cnt = 0; handed->cnt < cnt; handed->cnt++) {
        uint8_t *data = aligned_alloc(4096, ((size_t)size + 4095) & ~(size_t)4095);
        if (data == NULL)
            return false;
        memset(data, 0x5a, size);
        handed->free[handed->free_cnt++] = data;
    }
    return true;
}

bool zmq_side_open(struct zmq_side *side, struct bench_run *run)
{
    const uint32_t size = run->job->size;
    bool has_memory;

    *side = (struct zmq_side){.run = run};
    if (size >= ZMQ_SIDE_HANDED_BYTES && (run->who == BENCH_SENDER || run->job->which == BENCH_RTT))
        has_memory = handed_init(&side->handed, size);
    else
        has_memory = bench_source_init(&side->source, size) == 0;
    if (!has_memory) {
        bench_fail(run, BENCH_E_RUN, "no memory for the messages");
        return false;
    }
    bench_hook_begin(run->job);
    zmq_msg_init(&side->msg);
    side->ctx = zmq_ctx_new();
    if (side->ctx == NULL)
        return fail(side, "zmq_ctx_new");
    return run->impl == &bench_zmq_pair ? open_pair(side) : open_push_pull(side);
}

static void give_back(void *data, void *hint)
{
    struct zmq_handed *handed = hint;
    uint64_t cnt = atomic_load_explicit(&handed->back_cnt, memory_order_relaxed);

    handed->back[cnt % ZMQ_SIDE_HANDED_MAX] = data;
    atomic_store_explicit(&handed->back_cnt, cnt + 1, memory_order_release);
}

static uint8_t *take_free(struct zmq_handed *handed)
{
    for (;;) {
        uint64_t cnt = atomic_load_explicit(&handed->back_cnt, memory_order_acquire);
        for (; handed->seen_cnt < cnt; handed->seen_cnt++)
            handed->free[handed->free_cnt++] = handed->back[handed->seen_cnt % ZMQ_SIDE_HANDED_MAX];
        if (handed->free_cnt != 0)
            return handed->free[--handed->free_cnt];
        sched_yield(); /* to the I/O thread */
    }
}

/* Makes side->msg of the next message. */
static bool prepare(struct zmq_side *side)
{
    struct zmq_handed *handed = &side->handed;
    const uint32_t size = side->run->job->size;

    if (handed->cnt == 0) {
        if (zmq_msg_init_size(&side->msg, size) != 0)
            return fail(side, "zmq_msg_init_size");
        memcpy(zmq_msg_data(&side->msg), bench_source_peek(&side->source), size);
        bench_source_take(&side->source);
        return true;
    }
    uint8_t *data = take_free(handed);
    memcpy(data, &handed->seq, sizeof(handed->seq));
    handed->seq++;
    return zmq_msg_init_data(&side->msg, data, size, give_back, handed) == 0 ||
           fail(side, "zmq_msg_init_data");
}

bool zmq_side_send(struct zmq_side *side)
{
    if (!side->is_ready && !prepare(side))
        return false;
    side->is_ready = zmq_msg_send(&side->msg, side->out, 0) < 0;
    if (side->is_ready && zmq_errno() != EAGAIN && zmq_errno() != EINTR)
        fail(side, "zmq_msg_send");
    return !side->is_ready;
}

const uint8_t *zmq_side_recv(struct zmq_side *side, uint32_t *ret_len)
{
    int len = zmq_msg_recv(&side->msg, side->in, 0);

    if (len < 0) {
        if (zmq_errno() != EAGAIN && zmq_errno() != EINTR)
            fail(side, "zmq_msg_recv");
        return NULL;
    }
    *ret_len = (uint32_t)len;
    return zmq_msg_data(&side->msg);
}

enum bench_status zmq_side_close(struct zmq_side *side)
{
    bool has_settings = bench_hook_check(side->run);

    zmq_msg_close(&side->msg);
    if (side->out != NULL)
        zmq_close(side->out);
    if (side->in != NULL && side->in != side->out)
        zmq_close(side->in);
    zmq_ctx_term(side->ctx);
    return has_settings ? BENCH_OK : BENCH_E_ENVIRONMENT;
}
