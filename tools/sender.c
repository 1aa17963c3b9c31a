#include "sender.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "transfer.h"

#define PATIENCE (10 * WEIR_NS_PER_S) /* then whoever waits is told for what */

struct sender {
    weir_node *node;
    uint16_t channel;
    int error; /* main thread: the WEIR_E_* that a send gave */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock. */
    weir_peer peer;
    bool is_up, is_over; /* over: down, or could not be dialed */
    bool is_writable, is_done, has_failed;
    int reason;
    uint32_t ok_cnt, done_files;
    uint64_t done_bytes;
    int failed_class;
    char failed_text[512];
};

/* ---- on the shard's thread ----------------------------------------------------------------- */

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct sender *sender = ctx;
    pthread_mutex_lock(&sender->lock);
    if (event == WEIR_PEER_UP) {
        sender->peer = peer;
        sender->is_up = true;
    } else {
        sender->reason = reason;
        sender->is_over = true;
    }
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->lock);
}

static void note(struct sender *sender, const struct transfer *msg)
{
    switch (msg->kind) {
    case TRANSFER_OK:
        sender->ok_cnt++;
        break;
    case TRANSFER_DONE:
        sender->is_done = true;
        sender->done_bytes = msg->bytes;
        sender->done_files = msg->files;
        break;
    case TRANSFER_FAILED:
        if (sender->has_failed)
            break;
        sender->has_failed = true;
        sender->failed_class = msg->failed_class == CLI_MISMATCH ? CLI_MISMATCH : CLI_FAILED;
        /* The text is the peer's: nothing in it may steer a terminal. */
        for (size_t i = 0; i < msg->len && i < sizeof(sender->failed_text) - 1; i++)
            sender->failed_text[i] =
                msg->data[i] < 0x20 || msg->data[i] == 0x7f ? '?' : (char)msg->data[i];
        break;
    default:
        sender->has_failed = true;
        sender->failed_class = CLI_FAILED;
        snprintf(sender->failed_text, sizeof(sender->failed_text),
                 "it does not answer as weir recv");
    }
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct sender *sender = ctx;
    pthread_mutex_lock(&sender->lock);
    for (uint32_t i = 0; i < msg_cnt; i++) {
        struct transfer msg = transfer_read(msgs[i].data, msgs[i].len);
        note(sender, &msg);
    }
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->lock);
}

static void on_writable(void *ctx, weir_peer peer, uint16_t channel)
{
    struct sender *sender = ctx;
    (void)peer, (void)channel;
    pthread_mutex_lock(&sender->lock);
    sender->is_writable = true;
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->lock);
}

/* ---- on the main thread -------------------------------------------------------------------- */

/* With the lock held: waits for a change, at most until `deadline`. */
static void wait_until(struct sender *sender, weir_ns deadline)
{
    struct timespec at = {.tv_sec = (time_t)(deadline / WEIR_NS_PER_S),
                          .tv_nsec = (long)(deadline % WEIR_NS_PER_S)};
    pthread_cond_timedwait(&sender->changed, &sender->lock, &at);
}

static bool is_broken(const struct sender *sender)
{
    return sender->is_over || sender->has_failed || sender->error != 0;
}

static int start_node(struct sender *sender, const struct sender_options *options)
{
    struct weir_config config;
    transfer_config(&config);
    if (options->network_id != NULL)
        config.network_id = options->network_id;
    config.tcp_congestion = options->tcp_congestion;
    config.proxy = options->proxy;
    config.proxy_user = options->proxy_user;
    config.proxy_password = options->proxy_password;
    secure_options_apply(&options->secure, &config);
    secure_options_warn(&options->secure, "send");
    config.log = cli_log;
    config.log_ctx = (void *)(uintptr_t) "send";
    int error = weir_node_create(&sender->node, &config);
    if (error != 0)
        return cli_fail_weir("send", error, "cannot make a node");
    struct weir_channel channel;
    weir_channel_init(&channel, options->channel);
    channel.weight = options->weight;
    channel.msg_bytes_max = TRANSFER_MSG_BYTES_MAX;
    channel.send_bytes_max = 4 * TRANSFER_MSG_BYTES_MAX;
    channel.name = "transfer";
    struct weir_reactor reactor = {
        .size = sizeof(reactor),
        .ctx = sender,
        .on_batch = on_batch,
        .on_peer = on_peer,
        .on_writable = on_writable,
    };
    error = weir_node_attach(sender->node, &reactor, &channel, 1);
    if (error != 0)
        return cli_fail_weir("send", error, "cannot attach channel %u", options->channel);
    error = weir_node_start(sender->node);
    if (error != 0)
        return cli_fail_weir("send", error, "cannot start");
    return -1;
}

static int connect_peer(struct sender *sender, const struct sender_options *options)
{
    weir_ns deadline = weir_now() + options->wait_ns;
    uint32_t flags = options->wait_ns > 0 ? (uint32_t)WEIR_DIAL_PERSIST : 0;
    int error = weir_dial(sender->node, options->address, flags);
    if (error != 0)
        return cli_fail_weir("send", error, "cannot dial %s", options->address);
    pthread_mutex_lock(&sender->lock);
    while (!sender->is_up) {
        /* Whoever does not listen yet may begin to; a peer that answered and refused will not change. */
        bool may_change =
            (sender->reason < WEIR_R_NOT_WEIR || sender->reason >= WEIR_R_PROXY_DOWN) &&
            weir_now() < deadline;
        if (sender->is_over && !may_change)
            break;
        sender->is_over = false;
        wait_until(sender, flags != 0 ? deadline : weir_now() + WEIR_NS_PER_S);
        if (flags != 0 && !sender->is_up && weir_now() >= deadline) {
            sender->is_over = true;
            if (sender->reason == WEIR_R_NONE)
                sender->reason = WEIR_R_DIAL_TIMEOUT;
        }
    }
    bool is_up = sender->is_up;
    int reason = sender->reason;
    sender->is_over = sender->is_over && !is_up;
    pthread_mutex_unlock(&sender->lock);
    if (flags != 0)
        weir_dial_cancel(sender->node, options->address);
    if (is_up)
        return -1;
    char text[CLI_ERROR_BYTES];
    return cli_fail(CLI_CONNECTION, "send",
                    reason == WEIR_R_REFUSED ? "start `weir recv` there first, or use --wait"
                                             : NULL,
                    "cannot connect to %s: %s", options->address, cli_reason_text(text, reason));
}

int sender_open(struct sender **ret_sender, const struct sender_options *options)
{
    struct sender *sender = calloc(1, sizeof(*sender));
    *ret_sender = sender;
    if (sender == NULL)
        return cli_fail_weir("send", WEIR_E_NOMEM, "cannot begin");
    sender->channel = options->channel;
    pthread_mutex_init(&sender->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&sender->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int code = start_node(sender, options);
    if (code >= 0)
        return code;
    code = connect_peer(sender, options);
    if (code >= 0)
        return code;
    uint8_t hello[TRANSFER_FIXED_BYTES];
    return sender_send(sender, hello, transfer_hello(hello)) ? -1 : sender_fault(sender);
}

void sender_close(struct sender *sender)
{
    if (sender == NULL)
        return;
    if (sender->node != NULL)
        weir_node_stop(sender->node, WEIR_NS_PER_S);
    weir_node_free(sender->node);
    pthread_cond_destroy(&sender->changed);
    pthread_mutex_destroy(&sender->lock);
    free(sender);
}

bool sender_send_buf(struct sender *sender, struct weir_buf *take)
{
    weir_ns deadline = 0; /* for memory; a full queue is waited for as long as the peer is there */
    bool is_good = false;
    for (;;) {
        pthread_mutex_lock(&sender->lock);
        sender->is_writable = false;
        bool was_broken = is_broken(sender);
        pthread_mutex_unlock(&sender->lock);
        if (was_broken)
            break;
        int error = weir_send_buf(sender->node, sender->peer, sender->channel, weir_buf_ref(take));
        if (error == 0) {
            is_good = true;
            break;
        }
        weir_ns now = weir_now();
        if (error == WEIR_E_NOMEM && deadline == 0)
            deadline = now + 10 * WEIR_NS_PER_S;
        if (error != WEIR_E_FULL && (error != WEIR_E_NOMEM || now > deadline)) {
            sender->error = error;
            break;
        }
        pthread_mutex_lock(&sender->lock);
        if (!sender->is_writable && !is_broken(sender))
            wait_until(sender, now + 50 * WEIR_NS_PER_MS);
        pthread_mutex_unlock(&sender->lock);
    }
    weir_buf_unref(take);
    return is_good;
}

bool sender_send(struct sender *sender, const void *data, size_t len)
{
    for (;;) {
        pthread_mutex_lock(&sender->lock);
        bool was_broken = is_broken(sender);
        pthread_mutex_unlock(&sender->lock);
        if (was_broken)
            return false;
        int error =
            weir_send(sender->node, sender->peer, sender->channel, data, len, WEIR_NS_PER_S);
        if (error == 0)
            return true;
        if (error != WEIR_E_TIMEOUT && error != WEIR_E_FULL) {
            sender->error = error;
            return false;
        }
    }
}

bool sender_finish(struct sender *sender, uint64_t bytes, uint32_t files)
{
    uint8_t finish[TRANSFER_FIXED_BYTES];
    if (!sender_send(sender, finish, transfer_finish(finish, bytes, files)))
        return false;
    pthread_mutex_lock(&sender->lock);
    weir_ns told_at = weir_now() + PATIENCE;
    while (!sender->is_done && !is_broken(sender)) {
        wait_until(sender, weir_now() + WEIR_NS_PER_S);
        if (sender->ok_cnt == 0 && !sender->is_done && !is_broken(sender) && weir_now() > told_at) {
            fprintf(stderr,
                    "weir: send: warning: nothing was acknowledged within 10 s; waiting on: "
                    "is a weir recv there?\n");
            told_at = WEIR_NS_FOREVER;
        }
    }
    /* A goodbye right behind DONE takes nothing back. */
    bool is_good = sender->is_done && !sender->has_failed;
    if (is_good &&
        (sender->done_bytes != bytes || sender->done_files != files || sender->ok_cnt != files)) {
        sender->has_failed = true;
        sender->failed_class = CLI_MISMATCH;
        snprintf(sender->failed_text, sizeof(sender->failed_text),
                 "it counts other files or bytes than were sent");
        is_good = false;
    }
    pthread_mutex_unlock(&sender->lock);
    return is_good;
}

int sender_fault(struct sender *sender)
{
    /* The peer's own words, if any, are on their way when a send answers that it is gone. */
    pthread_mutex_lock(&sender->lock);
    weir_ns deadline = weir_now() + WEIR_NS_PER_S;
    while (sender->error == WEIR_E_GONE && !sender->has_failed && !sender->is_over &&
           weir_now() < deadline)
        wait_until(sender, deadline);
    int code;
    char text[CLI_ERROR_BYTES];
    if (sender->has_failed)
        code = cli_fail(sender->failed_class, "send", NULL, "the receiver failed: %s",
                        sender->failed_text);
    else if (sender->is_over)
        code =
            cli_fail(CLI_CONNECTION, "send", "nothing that was not acknowledged can be relied upon",
                     "the connection ended before everything was acknowledged: %s",
                     cli_reason_text(text, sender->reason));
    else
        code = cli_fail_weir("send", sender->error, "cannot send");
    pthread_mutex_unlock(&sender->lock);
    return code;
}
