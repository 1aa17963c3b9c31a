#include <string.h>

#include "engine/base/check.h"
#include "engine/base/probe.h"
#include "engine/node/internal.h"
#include "engine/node/receipt.h"

struct weir_note *weir_note_create(uint32_t kind, uint32_t len)
{
    struct weir_note *note = weir_heap_alloc_raw(NULL, sizeof(*note) + len);
    if (!note)
        return NULL;
    memset(note, 0, sizeof(*note));
    note->letter.kind = kind;
    note->letter.bytes = (uint32_t)sizeof(*note) + len;
    note->len = len;
    return note;
}

static void answer_unref(struct weir_info_answer *answer)
{
    if (answer && atomic_fetch_sub_explicit(&answer->refs, 1, memory_order_acq_rel) == 1)
        weir_heap_release(answer);
}

void weir_note_free(struct weir_note *note)
{
    if (note->post)
        note->post(note->post_ctx, note->post_shard, 0);
    weir_buf_unref(note->buf);
    if (note->shared && note->shared->receipt)
        weir_receipt_posted(note->shared->receipt);
    if (note->shared)
        weir_shared_unref(note->shared);
    answer_unref(note->answer);
    weir_heap_release(note);
}

int weir_shard_post(struct weir_shard *shard, struct weir_note *note, bool must_arrive)
{
    bool must_wake = false;
    if (must_arrive) {
        weir_mailbox_put_always(&shard->mailbox, &note->letter, &must_wake);
    } else {
        int error = weir_mailbox_put(&shard->mailbox, &note->letter, &must_wake);
        if (error)
            return error;
    }
    if (must_wake && !WEIR_PLANTED(WAKE))
        shard->io->ops->wake(shard->io);
    return 0;
}

/* Says writable to who was refused, when there is room. What was refused under the other policies was
 * refused by the mailbox, so the queue does not matter then. */
static void tell_writable(struct weir_conn *conn, uint32_t channel_idx, uint64_t remote)
{
    const struct weir_channel *cfg = &conn->hub->channels[channel_idx];
    struct weir_conn_channel *channel = &conn->channels[channel_idx];
    if (!atomic_load_explicit(&channel->want_writable, memory_order_seq_cst) ||
        conn->state != WEIR_CONN_READY)
        return;
    uint64_t queued = cfg->overflow == WEIR_OVERFLOW_REFUSE
                          ? atomic_load_explicit(&channel->queued_bytes, memory_order_relaxed)
                          : 0;
    if (queued + remote > cfg->send_bytes_max / 2)
        return;
    atomic_store_explicit(&channel->want_writable, false, memory_order_relaxed);
    conn->hub->ops->writable(conn, channel_idx);
}

/* Gives a reservation back and says writable when that makes room. */
static void unreserve(struct weir_shard *shard, const struct weir_note *note)
{
    if (!note->reserved_bytes)
        return;
    uint32_t slot = weir_peer_slot(note->peer);
    struct weir_conn *conn = &shard->hub.conns[slot];
    struct weir_conn_channel *channel = &conn->channels[note->channel_idx];
    uint64_t remote = atomic_fetch_sub_explicit(&channel->remote_bytes, note->reserved_bytes,
                                                memory_order_seq_cst) -
                      note->reserved_bytes;
    tell_writable(conn, note->channel_idx, remote);
}

/* The mailbox was full and now is not. Rare: a walk over all. */
static void tell_refused(struct weir_shard *shard)
{
    struct weir_hub *hub = &shard->hub;
    for (uint32_t i = 0; i < hub->cfg->peers_max; i++) {
        struct weir_conn *conn = &hub->conns[i];
        for (uint32_t k = 0; conn->state == WEIR_CONN_READY && k < hub->channel_cnt; k++)
            tell_writable(
                conn, k,
                atomic_load_explicit(&conn->channels[k].remote_bytes, memory_order_seq_cst));
    }
}

static void run_send(struct weir_shard *shard, struct weir_note *note)
{
    struct weir_conn *conn = weir_conn_of_peer(shard, note->peer);
    bool is_reserved = shard->hub.channels[note->channel_idx].overflow == WEIR_OVERFLOW_REFUSE;
    int error = WEIR_E_GONE;
    if (conn && note->letter.kind == WEIR_LETTER_SEND) {
        error = weir_sendq_copy(conn, note->channel_idx, note->data, note->len, is_reserved);
    } else if (conn) {
        error = weir_sendq_buf(conn, note->channel_idx, note->buf, is_reserved);
        note->buf = NULL; /* consumed */
    }
    /* The sender was told "queued". What cannot be queued now ends the connection: a message may be lost
     * with its connection, never out of the middle of a stream. */
    if (conn && error == WEIR_E_NOMEM)
        weir_conn_close(conn, WEIR_R_LIMIT_MEMORY, false);
    unreserve(shard, note);
}

static void run_info(struct weir_shard *shard, struct weir_note *note)
{
    struct weir_info_answer *answer = note->answer;
    struct weir_conn *conn = weir_conn_of_peer(shard, note->peer);
    pthread_mutex_lock(&shard->node->mutex);
    answer->error = conn ? 0 : WEIR_E_GONE;
    if (conn)
        weir_info_fill(conn, &answer->info);
    answer->is_done = true;
    pthread_cond_broadcast(&shard->node->cond);
    pthread_mutex_unlock(&shard->node->mutex);
}

static void run_dial(struct weir_shard *shard, const struct weir_note *note)
{
    struct weir_target_kept *kept;
    memcpy(&kept, note->data, sizeof(kept));
    if (!shard->is_stopping && weir_dialer_add(&shard->dialer, kept, note->flags) == 0)
        return;
    struct weir_target target;
    weir_target_restore(&target, kept);
    weir_dial_forget(shard->node, kept);
    weir_dispatch_failed(shard, &target, shard->is_stopping ? WEIR_R_SHUTDOWN : WEIR_R_LIMIT_PEERS);
}

static void run_dial_cancel(struct weir_shard *shard, const struct weir_note *note)
{
    struct weir_target target;
    memcpy(&target, note->data, sizeof(target));
    if (!WEIR_PLANTED(CANCEL))
        weir_dialer_remove(&shard->dialer, &target);
}

static void run_named(struct weir_shard *shard, const struct weir_note *note)
{
    struct weir_named named;
    memcpy(&named, note->data, sizeof(named));
    weir_dialer_answer(&shard->dialer, named.entry_idx, named.entry_gen, named.reason, named.addrs,
                       named.addr_cnt);
}

static void run_one(struct weir_shard *shard, struct weir_note *note)
{
    struct weir_conn *conn;
    switch ((enum weir_letter_kind)note->letter.kind) {
    case WEIR_LETTER_SEND:
    case WEIR_LETTER_SEND_BUF:
        run_send(shard, note);
        break;
    case WEIR_LETTER_BROADCAST:
        weir_broadcast_here(shard, note->channel_idx, note->shared,
                            note->has_fanout ? &note->fanout : NULL);
        break;
    case WEIR_LETTER_DIAL:
        run_dial(shard, note);
        break;
    case WEIR_LETTER_DIAL_CANCEL:
        run_dial_cancel(shard, note);
        break;
    case WEIR_LETTER_BANS:
        weir_guard_sweep(shard);
        break;
    case WEIR_LETTER_BLAME:
        weir_guard_blame(shard, note->peer, note->flags);
        break;
    case WEIR_LETTER_USEFUL:
        (void)weir_peer_note_useful(shard, note->peer, note->flags, note->channel_idx);
        break;
    case WEIR_LETTER_PEER_ROWS:
        weir_exporter_ask(shard, note);
        break;
    case WEIR_LETTER_PEER_TOLD:
        weir_exporter_told(shard, note);
        break;
    case WEIR_LETTER_NAMED:
        run_named(shard, note);
        break;
    case WEIR_LETTER_DISCONNECT:
        conn = weir_conn_of_peer(shard, note->peer);
        if (conn && note->len)
            weir_conn_set_text(conn, (const char *)note->data);
        if (conn)
            weir_conn_close(conn, (uint16_t)note->flags, true);
        break;
    case WEIR_LETTER_PAUSE:
        conn = weir_conn_of_peer(shard, note->peer);
        if (conn)
            weir_conn_pause(conn, note->channel_idx, note->flags != 0);
        break;
    case WEIR_LETTER_ADOPT:
        weir_shard_adopt(shard, (int)note->flags);
        break;
    case WEIR_LETTER_INFO:
        run_info(shard, note);
        break;
    case WEIR_LETTER_REFUSED:
        (void)atomic_exchange_explicit(&shard->has_refused, false, memory_order_seq_cst);
        tell_refused(shard);
        break;
    case WEIR_LETTER_MULTICAST:
        weir_multicast_here(shard, note->channel_idx, note->shared,
                            (const weir_peer *)(const void *)note->data,
                            note->len / sizeof(weir_peer));
        break;
    case WEIR_LETTER_POST: {
        weir_post_fn post = note->post;
        note->post = NULL;
        post(note->post_ctx, note->post_shard, 1);
        break;
    }
    case WEIR_LETTER_STOP:
        weir_shard_stop(shard, note->deadline_ns);
        break;
    }
}

void weir_letters_run(struct weir_shard *shard)
{
    struct weir_letter *letter = weir_mailbox_take(&shard->mailbox);
    bool had_mail = letter != NULL;
    while (letter) {
        struct weir_letter *next = letter->next;
        struct weir_note *note = (struct weir_note *)letter;
        uint32_t bytes = letter->bytes;
        weir_count(&shard->hub.metrics.letters, 1);
        WEIR_PROBE3(letter, shard->hub.shard, letter->kind, bytes);
        run_one(shard, note);
        weir_note_free(note);
        weir_mailbox_credit(&shard->mailbox, bytes);
        letter = next;
    }
    if (had_mail)
        weir_waiters_wake(shard->node);
}

void weir_letters_drop(struct weir_shard *shard)
{
    struct weir_letter *letter = weir_mailbox_take(&shard->mailbox);
    while (letter) {
        struct weir_letter *next = letter->next;
        struct weir_note *note = (struct weir_note *)letter;
        if (letter->kind == WEIR_LETTER_ADOPT)
            shard->io->ops->close(shard->io, (int)note->flags);
        weir_mailbox_credit(&shard->mailbox, letter->bytes);
        weir_note_free(note);
        letter = next;
    }
}
