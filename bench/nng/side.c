#include "bench/nng/side.h"

#include <nng/protocol/pair0/pair.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <stdio.h>
#include <string.h>

#include "bench/hook.h"

#define QUEUE_BYTES (8u << 20)
#define QUEUE_MSGS_MIN 8u
#define QUEUE_MSGS_MAX 8192u
#define WAIT_MS 20

static bool fail(struct nng_side *side, const char *what, int error)
{
    if (!side->is_failed)
        bench_fail(side->run, BENCH_E_RUN, "%s: %s", what, nng_strerror(error));
    side->is_failed = true;
    return false;
}

/* ---- sockets -------------------------------------------------------------------------------- */

static int queue_msgs(uint32_t size)
{
    uint32_t cnt = QUEUE_BYTES / size;

    return (int)(cnt < QUEUE_MSGS_MIN   ? QUEUE_MSGS_MIN
                 : cnt > QUEUE_MSGS_MAX ? QUEUE_MSGS_MAX
                                        : cnt);
}

static bool make_socket(struct nng_side *side, int (*open)(nng_socket *), nng_socket *ret_socket)
{
    const int queue = queue_msgs(side->run->job->size);
    int error = open(ret_socket);

    if (error != 0)
        return fail(side, "opening a socket", error);
    /* Which of the two queues a protocol has differs from version to version. */
    nng_socket_set_int(*ret_socket, NNG_OPT_SENDBUF, queue);
    nng_socket_set_int(*ret_socket, NNG_OPT_RECVBUF, queue);
    error = nng_socket_set_size(*ret_socket, NNG_OPT_RECVMAXSZ, 0);
    if (error == 0)
        error = nng_socket_set_ms(*ret_socket, NNG_OPT_SENDTIMEO, WAIT_MS);
    if (error == 0)
        error = nng_socket_set_ms(*ret_socket, NNG_OPT_RECVTIMEO, WAIT_MS);
    return error == 0 || fail(side, "setting a socket's options", error);
}

/* TCP_NODELAY is nng's default. */
static bool listen_at(struct nng_side *side, nng_socket socket, _Atomic uint32_t *ret_port)
{
    nng_listener listener;
    int port = 0;
    int error = nng_listen(socket, "tcp://127.0.0.1:0", &listener, 0);

    if (error == 0)
        error = nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port);
    if (error != 0)
        return fail(side, "nng_listen", error);
    atomic_store_explicit(ret_port, (uint32_t)port, memory_order_release);
    return true;
}

static bool dial(struct nng_side *side, nng_socket socket)
{
    char url[64];
    uint16_t port = bench_await_port(side->run);

    if (port == 0) {
        bench_fail(side->run, BENCH_E_RUN, "the other side did not begin to listen");
        return false;
    }
    snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", port);
    int error = nng_dial(socket, url, NULL, 0);
    return error == 0 || fail(side, "nng_dial", error);
}

static bool open_pair(struct nng_side *side)
{
    if (!make_socket(side, nng_pair0_open, &side->out))
        return false;
    side->in = side->out;
    side->has_out = side->has_in = true;
    return side->run->who == BENCH_SENDER ? dial(side, side->out)
                                          : listen_at(side, side->in, &side->run->shared->port);
}

/* A PUSH socket has one direction: answers need another pair, and the sender listens too. */
static bool open_push_pull(struct nng_side *side)
{
    struct bench_shared *shared = side->run->shared;
    bool is_sender = side->run->who == BENCH_SENDER,
         has_answers = side->run->job->which == BENCH_RTT;

    side->has_out = is_sender || has_answers;
    side->has_in = !is_sender || has_answers;
    if ((side->has_out && !make_socket(side, nng_push0_open, &side->out)) ||
        (side->has_in && !make_socket(side, nng_pull0_open, &side->in)))
        return false;
    if (side->has_in && !listen_at(side, side->in, is_sender ? &shared->back_port : &shared->port))
        return false;
    return !side->has_out || dial(side, side->out);
}

bool nng_side_open(struct nng_side *side, struct bench_run *run)
{
    *side = (struct nng_side){.run = run};
    if (bench_source_init(&side->source, run->job->size) != 0) {
        bench_fail(run, BENCH_E_RUN, "no memory for the messages");
        return false;
    }
    bench_hook_begin(run->job);
    return run->impl == &bench_nng ? open_pair(side) : open_push_pull(side);
}

/* ---- messages ------------------------------------------------------------------------------- */

static bool is_late(int error)
{
    return error == NNG_ETIMEDOUT || error == NNG_EAGAIN;
}

/* Sends side->msg, which nng owns if it takes it. */
static bool give(struct nng_side *side)
{
    int error = nng_sendmsg(side->out, side->msg, 0);

    side->is_ready = error != 0;
    if (error == 0)
        side->msg = NULL;
    else if (!is_late(error))
        fail(side, "nng_sendmsg", error);
    return error == 0;
}

static bool make(struct nng_side *side, const void *data, uint32_t len)
{
    int error = nng_msg_alloc(&side->msg, len);

    if (error != 0)
        return fail(side, "nng_msg_alloc", error);
    memcpy(nng_msg_body(side->msg), data, len);
    return true;
}

bool nng_side_send(struct nng_side *side)
{
    if (!side->is_ready) {
        if (!make(side, bench_source_peek(&side->source), side->source.size))
            return false;
        bench_source_take(&side->source);
    }
    return give(side);
}

bool nng_side_send_copy(struct nng_side *side, const void *data, uint32_t len)
{
    if (!make(side, data, len))
        return false;
    if (give(side))
        return true;
    nng_msg_free(side->msg);
    side->is_ready = false;
    return false;
}

const uint8_t *nng_side_recv(struct nng_side *side, uint32_t *ret_len)
{
    nng_msg_free(side->msg);
    side->msg = NULL;
    int error = nng_recvmsg(side->in, &side->msg, 0);
    if (error != 0) {
        side->msg = NULL;
        if (!is_late(error))
            fail(side, "nng_recvmsg", error);
        return NULL;
    }
    *ret_len = (uint32_t)nng_msg_len(side->msg);
    return nng_msg_body(side->msg);
}

enum bench_status nng_side_close(struct nng_side *side)
{
    if (side->has_out)
        nng_close(side->out);
    if (side->has_in)
        nng_close(side->in);
    return bench_hook_check(side->run) ? BENCH_OK : BENCH_E_ENVIRONMENT;
}
