#include <string.h>
#include <time.h>

#include "engine/base/check.h"
#include "engine/base/copy.h"
#include "engine/node/internal.h"

uint32_t weir_peer_shard(weir_peer peer)
{
    return ((uint32_t)peer.v >> 24) & 0xFFu;
}

/* ---- one peer ------------------------------------------------------------------------------ */

int weir_disconnect_text(weir_node *node, weir_peer peer, int reason, const char *text)
{
    if (!node || reason < 0 || reason >= WEIR_REASON_CNT)
        return WEIR_E_MISUSE;
    if (reason == WEIR_R_NONE)
        reason = WEIR_R_APPLICATION;
    struct weir_shard *shard = weir_shard_of(node, peer);
    if (!shard)
        return WEIR_E_GONE;
    if (weir_shard_is_here(shard)) {
        struct weir_conn *conn = weir_conn_of_peer(shard, peer);
        if (!conn)
            return WEIR_E_GONE;
        if (text)
            weir_conn_set_text(conn, text);
        weir_conn_close(conn, (uint16_t)reason, true);
        return 0;
    }
    struct weir_conn *conn = &shard->hub.conns[weir_peer_slot(peer)];
    if (atomic_load_explicit(&conn->live_gen, memory_order_acquire) != weir_peer_gen(peer))
        return WEIR_E_GONE;
    size_t len = text ? strnlen(text, WEIR_GOODBYE_TEXT_MAX) : 0;
    struct weir_note *note = weir_note_create(WEIR_LETTER_DISCONNECT, len ? (uint32_t)len + 1 : 0);
    if (!note)
        return WEIR_E_NOMEM;
    if (len) {
        memcpy(note->data, text, len);
        note->data[len] = '\0';
    }
    note->peer = peer;
    note->flags = (uint32_t)reason;
    int error = weir_shard_post(shard, note, false);
    if (error)
        weir_note_free(note);
    return error;
}

int weir_disconnect(weir_node *node, weir_peer peer, int reason)
{
    return weir_disconnect_text(node, peer, reason, NULL);
}

int weir_peer_farewell(weir_node *node, weir_peer peer, struct weir_farewell *ret_farewell)
{
    if (!node || !ret_farewell || ret_farewell->size < sizeof(uint32_t))
        return WEIR_E_MISUSE;
    if (ret_farewell->size > sizeof(*ret_farewell))
        return WEIR_E_VERSION;
    struct weir_shard *shard = weir_shard_here(node);
    const struct weir_ended *ending = shard ? shard->ending : NULL;
    if (!ending || (peer.v && peer.v != ending->peer))
        return WEIR_E_GONE;
    struct weir_farewell farewell = {
        .size = ret_farewell->size, .reason = ending->reason, .is_theirs = ending->is_theirs};
    if (ending->text)
        memcpy(farewell.text, ending->text, strlen(ending->text) + 1);
    memcpy(ret_farewell, &farewell, farewell.size);
    return 0;
}

int weir_channel_pause(weir_node *node, weir_peer peer, uint16_t channel, int is_paused)
{
    if (!node)
        return WEIR_E_MISUSE;
    uint32_t idx = node->channel_idx_of[channel];
    if (idx >= node->channel_cnt)
        return WEIR_E_NO_CHANNEL;
    struct weir_shard *shard = weir_shard_of(node, peer);
    if (!shard)
        return WEIR_E_GONE;
    if (weir_shard_is_here(shard)) {
        struct weir_conn *conn = weir_conn_of_peer(shard, peer);
        if (!conn)
            return WEIR_E_GONE;
        if (!conn->channels[idx].is_agreed)
            return WEIR_E_NO_CHANNEL;
        weir_conn_pause(conn, idx, is_paused != 0);
        return 0;
    }
    struct weir_conn *conn = &shard->hub.conns[weir_peer_slot(peer)];
    if (atomic_load_explicit(&conn->live_gen, memory_order_acquire) != weir_peer_gen(peer))
        return WEIR_E_GONE;
    if (atomic_load_explicit(&conn->channels[idx].msg_bytes_max, memory_order_relaxed) == 0)
        return WEIR_E_NO_CHANNEL;
    struct weir_note *note = weir_note_create(WEIR_LETTER_PAUSE, 0);
    if (!note)
        return WEIR_E_NOMEM;
    note->peer = peer;
    note->channel_idx = idx;
    note->flags = is_paused != 0;
    int error = weir_shard_post(shard, note, false);
    if (error)
        weir_note_free(note);
    return error;
}

int weir_msg_keep(weir_node *node, const struct weir_msg *msg, struct weir_buf **ret_buf)
{
    if (!node || !msg || !ret_buf)
        return WEIR_E_MISUSE;
    struct weir_shard *shard = weir_shard_of(node, msg->peer);
    uint32_t idx = node->channel_idx_of[msg->channel];
    if (!shard || !weir_shard_is_here(shard) || idx >= node->channel_cnt)
        return WEIR_E_MISUSE;
    struct weir_hub *hub = &shard->hub;
    struct weir_conn *conn = weir_conn_of_peer(shard, msg->peer);
    if (msg->buf && msg->buf->owner) { /* kept before: one more reference to the same */
        *ret_buf = weir_buf_hold(msg->buf);
        return 0;
    }
    if (conn && conn->bytes_held + conn->bytes_queued + msg->len > hub->cfg->peer_bytes_max)
        return WEIR_E_NOMEM;
    struct weir_buf *buf = msg->buf;
    if (buf) {
        weir_buf_hold(buf);
    } else {
        buf = weir_pool_take(hub->pool, msg->len ? msg->len : 1);
        if (!buf)
            return WEIR_E_NOMEM;
        weir_copy(buf->data, msg->data, WEIR_PLANTED(KEEP) ? msg->len / 2 : msg->len);
        buf->len = msg->len;
    }
    if (conn) { /* the credit that delivery gave back is taken again until the buffer is released */
        buf->owner = msg->peer.v;
        buf->owner_arg = idx;
        buf->owner_charge = msg->len;
        conn->bytes_held += msg->len;
        conn->channels[idx].rx_consumed -= msg->len;
    }
    *ret_buf = buf;
    return 0;
}

/* ---- usefulness ---------------------------------------------------------------------------- */

int weir_peer_useful(weir_node *node, weir_peer peer, uint32_t first_cnt, uint32_t again_cnt)
{
    if (!node)
        return WEIR_E_MISUSE;
    struct weir_shard *shard = weir_shard_of(node, peer);
    if (!shard)
        return WEIR_E_GONE;
    if (weir_shard_is_here(shard))
        return weir_peer_note_useful(shard, peer, first_cnt, again_cnt) ? 0 : WEIR_E_GONE;
    struct weir_note *note = weir_note_create(WEIR_LETTER_USEFUL, 0);
    if (!note)
        return WEIR_E_NOMEM;
    note->peer = peer;
    note->flags = first_cnt;
    note->channel_idx = again_cnt;
    int error = weir_shard_post(shard, note, false);
    if (error)
        weir_note_free(note);
    return error;
}

bool weir_peer_note_useful(struct weir_shard *shard, weir_peer peer, uint32_t first_cnt,
                           uint32_t again_cnt)
{
    struct weir_conn *conn = weir_conn_of_peer(shard, peer);
    if (!conn)
        return false;
    conn->first_cnt += first_cnt;
    conn->again_cnt += again_cnt;
    if (first_cnt) {
        conn->useful_ns = shard->hub.now_ns;
        atomic_store_explicit(&shard->useful_ns, shard->hub.now_ns, memory_order_relaxed);
    }
    return true;
}

/* ---- looking ------------------------------------------------------------------------------- */

void weir_info_fill(const struct weir_conn *conn, struct weir_peer_info *ret_info)
{
    const struct weir_hub *hub = conn->hub;
    *ret_info = (struct weir_peer_info){
        .size = sizeof(*ret_info),
        .shard = hub->shard,
        .is_dialer = (conn->flags & WEIR_CONN_IS_DIALER) != 0,
        .is_ready = conn->state == WEIR_CONN_READY,
        .wire_bytes_sent = conn->wire_tx,
        .wire_bytes_received = conn->wire_rx,
        .frames_sent = conn->frames_tx,
        .frames_received = conn->frames_rx,
        .bytes_queued = conn->bytes_queued,
        .bytes_held = conn->bytes_held,
        .rtt_ns = conn->rtt_ns,
        .rtt_min_ns = conn->rtt_min_ns,
        .credit_stalls = conn->stall_cnt,
        .delivered_first = conn->first_cnt,
        .delivered_again = conn->again_cnt,
        .up_ns = hub->now_ns - conn->opened_ns,
    };
    for (uint32_t i = 0; i < hub->channel_cnt; i++)
        ret_info->channel_cnt += conn->channels[i].is_agreed;
    if (conn->addr.family != WEIR_ADDR_NONE)
        weir_addr_format(&conn->addr, ret_info->address);
    const struct weir_shard *shard = hub->user;
    struct weir_target target;
    if (weir_dialer_target(&shard->dialer, conn, &target)) {
        weir_target_format(&target, ret_info->dialed);
        weir_dial_text(&target, ret_info->dialed_as);
    }
    const struct weir_agreed *agreed = conn->codec ? conn->codec->agreed(conn->codec_state) : NULL;
    if (agreed)
        memcpy(ret_info->user_agent, agreed->user_agent, sizeof(agreed->user_agent));
    const uint8_t *id = weir_conn_id(conn);
    ret_info->is_secure = id != NULL;
    if (id)
        memcpy(ret_info->id.bytes, id, sizeof(ret_info->id.bytes));
}

static int ask_info(weir_node *node, struct weir_shard *shard, weir_peer peer,
                    struct weir_peer_info *ret_info)
{
    struct weir_info_answer *answer = weir_heap_alloc(NULL, sizeof(*answer));
    struct weir_note *note = weir_note_create(WEIR_LETTER_INFO, 0);
    if (!answer || !note) {
        weir_heap_release(answer);
        weir_heap_release(note);
        return WEIR_E_NOMEM;
    }
    atomic_init(&answer->refs, 2); /* ours and the note's */
    note->answer = answer;
    note->peer = peer;
    weir_ns until = weir_now() + WEIR_NS_PER_S;
    struct timespec deadline = {.tv_sec = (time_t)(until / WEIR_NS_PER_S),
                                .tv_nsec = (long)(until % WEIR_NS_PER_S)};
    (void)weir_shard_post(shard, note, true);
    pthread_mutex_lock(&node->mutex);
    int waited = 0;
    while (!answer->is_done && !waited)
        waited = pthread_cond_timedwait(&node->cond, &node->mutex, &deadline);
    int error = answer->is_done ? answer->error : WEIR_E_TIMEOUT;
    if (!error)
        *ret_info = answer->info;
    pthread_mutex_unlock(&node->mutex);
    if (atomic_fetch_sub_explicit(&answer->refs, 1, memory_order_acq_rel) == 1)
        weir_heap_release(answer);
    return error;
}

int weir_peer_info(weir_node *node, weir_peer peer, struct weir_peer_info *ret_info)
{
    if (!node || !ret_info || ret_info->size < sizeof(uint32_t))
        return WEIR_E_MISUSE;
    uint32_t size = ret_info->size;
    if (size > sizeof(*ret_info))
        return WEIR_E_VERSION;
    struct weir_shard *shard = weir_shard_of(node, peer);
    if (!shard)
        return WEIR_E_GONE;
    struct weir_peer_info info;
    if (weir_shard_is_here(shard)) {
        struct weir_conn *conn = weir_conn_of_peer(shard, peer);
        if (!conn)
            return WEIR_E_GONE;
        weir_info_fill(conn, &info);
    } else {
        int error = ask_info(node, shard, peer, &info);
        if (error)
            return error;
    }
    info.size = size;
    memcpy(ret_info, &info, size);
    return 0;
}
