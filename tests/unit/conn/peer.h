/* tests/unit/conn/peer.h: the other end of a box's connection, played by the test byte by byte.
 *
 *   struct peer *peer = peer_new(box, true);       it dials the box; false: the box dials it
 *   peer_shake(peer);                              handshake; peer->conn is READY
 *   peer_frame(peer, WEIR_FRAME_RUN, 10, 1, ...);  puts a frame into its outbox, however wrong
 *   peer_say(peer, 0);                             sends the outbox to the box, in chunks of that many bytes
 *   peer_listen(peer);                             takes all that the box sends, decodes it
 *
 * Every step ends with a turn of the box.
 */
#ifndef WEIR_TESTS_UNIT_CONN_PEER_H
#define WEIR_TESTS_UNIT_CONN_PEER_H

#include "tests/unit/conn/messages.h"
#include "tests/unit/conn/script_io.h"

#ifndef PEER_FRAMES /* the fuzz targets, which begin anew thousands of times a second, have fewer */
#define PEER_FRAMES 4096u
#endif

struct peer_frame {
    uint8_t kind;
    uint16_t channel;
    uint32_t aux, len;
    uint8_t *payload;
    bool is_control;
    struct weir_control control;
};

struct peer {
    struct box *box;
    struct script_io *script;
    int sock;
    struct weir_conn *conn;
    bool is_dialer;
    struct weir_channel_desc descs[BOX_CHANNELS];
    struct weir_offer offer;
    void *state; /* of its codec */
    bool is_ready;
    uint16_t fault;
    uint8_t *outbox;
    size_t out_len, out_cap;
    size_t seen;                           /* of what the box sent */
    struct peer_frame frames[PEER_FRAMES]; /* from the box, after the handshake */
    uint32_t frame_cnt;
};

static inline struct box *solo_new(uint32_t channel_cnt)
{
    return box_new(channel_cnt);
}

/* Opens a box on a scripted io. */
static inline struct script_io *solo_open(struct box *box)
{
    struct script_io *script = script_new();
    cr_assert_eq(box_open(box, &script->io), 0);
    return script;
}

static inline void solo_free(struct box *box)
{
    script_of(box->io)->is_ending = true;
    box_free(box);
}

static inline void solo_advance(struct box *box, uint64_t ns)
{
    script_of(box->io)->now_ns += ns;
    box_turn(box);
}

static inline struct peer *peer_new(struct box *box, bool is_dialer)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    peer->box = box;
    peer->script = script_of(box->io);
    peer->is_dialer = is_dialer;
    peer->state = calloc(1, weir_codec_native.state_bytes);
    memcpy(peer->descs, box->descs, sizeof(peer->descs));
    peer->offer = box->offer;
    peer->offer.channels = peer->descs;
    memset(peer->offer.nonce, 0xEE, sizeof(peer->offer.nonce));
    return peer;
}

static inline void peer_free(struct peer *peer)
{
    for (uint32_t i = 0; i < peer->frame_cnt; i++)
        free(peer->frames[i].payload);
    free(peer->state);
    free(peer->outbox);
    free(peer);
}

/* ---- what the peer sends -------------------------------------------------------------------------- */

static inline uint8_t *peer_room(struct peer *peer, size_t len)
{
    if (peer->out_len + len > peer->out_cap) {
        peer->out_cap = 2 * (peer->out_len + len);
        peer->outbox = realloc(peer->outbox, peer->out_cap);
    }
    uint8_t *at = peer->outbox + peer->out_len;
    peer->out_len += len;
    return at;
}

static inline void peer_raw(struct peer *peer, const void *bytes, size_t len)
{
    if (len)
        memcpy(peer_room(peer, len), bytes, len);
}

/* A frame with a right checksum, whatever it says. */
static inline void peer_frame(struct peer *peer, uint8_t kind, uint16_t channel, uint32_t aux,
                              const void *payload, uint32_t len)
{
    uint8_t head[WEIR_FRAME_HEAD_MAX];
    weir_codec_native.frame_head(head, kind, channel, aux, payload, len);
    peer_raw(peer, head, WEIR_NATIVE_HEAD);
    if (len)
        peer_raw(peer, payload, len);
}

/* `len` bytes at `off` of the message made from `seed`. */
static inline void peer_fragment(struct peer *peer, uint16_t channel, size_t total, size_t off,
                                 uint32_t len, uint64_t seed)
{
    uint8_t *message = malloc(total + 1);
    box_fill(message, total, seed);
    peer_frame(peer, off ? WEIR_FRAME_MORE : WEIR_FRAME_FIRST, channel,
               (uint32_t)(off ? off : total), message + off, len);
    free(message);
}

/* A run of `cnt` messages of `len` bytes, made from seed, seed + 1, ... */
static inline void peer_run(struct peer *peer, uint16_t channel, uint32_t cnt, uint16_t len,
                            uint64_t seed)
{
    uint8_t *run = malloc((size_t)cnt * (len + WEIR_RUN_PREFIX));
    uint8_t *message = calloc(1, len + 1u);
    uint8_t *at = run;
    for (uint32_t i = 0; i < cnt; i++) {
        box_fill(message, len, seed + i);
        at = weir_run_put(at, message, len);
    }
    peer_frame(peer, WEIR_FRAME_RUN, channel, cnt, run, (uint32_t)(at - run));
    free(message);
    free(run);
}

static inline void peer_control(struct peer *peer, const struct weir_control *control)
{
    uint8_t bytes[WEIR_CONTROL_OUT_MAX];
    peer_raw(peer, bytes, weir_codec_native.control_write(bytes, control));
}

static inline bool peer_is_open(const struct peer *peer)
{
    return peer->script->socks[peer->sock].is_open;
}

/* Sends the outbox, in receive events of at most `chunk` bytes (0: of 65,536), with a turn after each. */
static inline void peer_say(struct peer *peer, size_t chunk)
{
    size_t at = 0;
    chunk = chunk ? chunk : 65536;
    while (at < peer->out_len && peer_is_open(peer)) {
        /* The receive may have been refused, and be armed in a later turn. */
        for (int i = 0; i < 64 && peer->box->hub.starved; i++)
            box_turn(peer->box);
        if (!peer_is_open(peer) || !peer->script->socks[peer->sock].is_receiving)
            break;
        size_t len = peer->out_len - at < chunk ? peer->out_len - at : chunk;
        script_recv(peer->script, peer->sock, peer->outbox + at, len);
        at += len;
        box_turn(peer->box);
    }
    peer->out_len = 0;
}

/* ---- what the peer hears -------------------------------------------------------------------------- */

static inline void peer_note(struct peer *peer, const struct weir_frame *frame)
{
    cr_assert_lt(peer->frame_cnt, PEER_FRAMES);
    struct peer_frame *own = &peer->frames[peer->frame_cnt++];
    *own = (struct peer_frame){.kind = frame->kind,
                               .channel = frame->channel,
                               .aux = frame->aux,
                               .len = frame->len,
                               .payload = malloc(frame->len + 1)};
    memcpy(own->payload, frame->payload, frame->len);
    if (frame->kind == WEIR_FRAME_CONTROL) {
        own->is_control = true;
        cr_assert_eq(weir_codec_native.control_read(frame, &own->control), 0);
    }
}

/* Decodes what the box has sent so far. */
static inline void peer_hear(struct peer *peer)
{
    struct script_sock *at = &peer->script->socks[peer->sock];
    while (peer->seen < at->out_len && !peer->fault) {
        struct weir_frame frames[16];
        struct weir_feed feed;
        weir_codec_native.feed(peer->state, at->out + peer->seen, at->out_len - peer->seen, frames,
                               16, &feed);
        peer->seen += feed.consumed;
        peer->is_ready = feed.is_ready;
        peer->fault = feed.fault;
        weir_codec_native.verify(frames, feed.frame_cnt);
        for (uint32_t i = 0; i < feed.frame_cnt; i++) {
            cr_assert_eq(frames[i].fault, 0, "the box sent a broken frame: %u", frames[i].fault);
            peer_note(peer, &frames[i]);
        }
        if (!feed.consumed)
            break;
    }
}

/* Lets the box send all it wants to, `chunk` bytes at a time (0: as it asks), and decodes it. */
static inline void peer_listen_chunks(struct peer *peer, size_t chunk)
{
    box_turn(peer->box);
    while (peer_is_open(peer)) {
        /* Likewise a send. */
        for (int i = 0; i < 64 && peer->box->hub.dirty_head; i++)
            box_turn(peer->box);
        if (!peer_is_open(peer) || !script_unsent(peer->script, peer->sock))
            break;
        size_t len = script_unsent(peer->script, peer->sock);
        script_sent(peer->script, peer->sock, (int64_t)(chunk && chunk < len ? chunk : len));
        box_turn(peer->box);
    }
    peer_hear(peer);
}

static inline void peer_listen(struct peer *peer)
{
    peer_listen_chunks(peer, 0);
}

/* Does the handshake's bytes that are to be done, both ways, `chunk` at a time. */
static inline void peer_pump(struct peer *peer, size_t chunk)
{
    for (int round = 0; round < 8; round++) {
        uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
        size_t len = weir_codec_native.pull(peer->state, bytes, sizeof(bytes));
        peer_raw(peer, bytes, len);
        peer_say(peer, chunk);
        peer_listen_chunks(peer, chunk);
    }
}

/* Connects only. */
static inline void peer_connect(struct peer *peer)
{
    weir_codec_native.begin(peer->state, &peer->offer, peer->is_dialer);
    if (peer->is_dialer) {
        peer->sock = script_open(peer->script);
        cr_assert_eq(weir_conn_accept(&peer->box->hub, peer->sock, &peer->conn), 0);
    } else {
        struct weir_addr addr;
        cr_assert_eq(weir_addr_parse(&addr, "192.0.2.7:7000"), 0);
        cr_assert_eq(weir_conn_dial(&peer->box->hub, &addr, UINT32_MAX, &peer->conn), 0);
        peer->sock = peer->conn->sock;
        script_connected(peer->script, peer->sock, 0);
    }
    box_turn(peer->box);
}

static inline void peer_shake(struct peer *peer)
{
    peer_connect(peer);
    peer_pump(peer, 0);
    cr_assert(peer->is_ready, "fault %u", peer->fault);
    cr_assert_eq(peer->conn->state, WEIR_CONN_READY);
}

/* A peer that has shaken hands. */
static inline struct peer *peer_ready(struct box *box)
{
    struct peer *peer = peer_new(box, true);
    peer_shake(peer);
    return peer;
}

/* The same, dialed by the box. */
static inline struct peer *peer_dialed(struct box *box)
{
    struct peer *peer = peer_new(box, false);
    peer_shake(peer);
    return peer;
}

/* The n-th control frame of a kind that was heard, NULL when there are fewer. */
static inline const struct weir_control *peer_heard(const struct peer *peer, uint8_t kind,
                                                    uint32_t nth)
{
    for (uint32_t i = 0; i < peer->frame_cnt; i++) {
        if (peer->frames[i].is_control && peer->frames[i].control.kind == kind && nth-- == 0)
            return &peer->frames[i].control;
    }
    return NULL;
}

/* Payload bytes of data frames heard on a channel. */
static inline uint64_t peer_data_bytes(const struct peer *peer, uint16_t channel)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < peer->frame_cnt; i++)
        bytes += !peer->frames[i].is_control && peer->frames[i].channel == channel
                     ? peer->frames[i].len
                     : 0;
    return bytes;
}

/* ---- the messages in what was heard --------------------------------------------------------------- */

struct heard { /* a reader of one channel's frames */
    const struct peer *peer;
    uint16_t channel;
    uint32_t frame_idx;
    const uint8_t *run, *run_end;
    uint8_t *message; /* of the caller: the last one's bytes */
    uint32_t len;
};

static inline struct heard heard_begin(const struct peer *peer, uint16_t channel)
{
    return (struct heard){.peer = peer, .channel = channel};
}

static inline void heard_end(struct heard *heard)
{
    free(heard->message);
}

static inline const struct peer_frame *heard_frame(struct heard *heard)
{
    while (heard->frame_idx < heard->peer->frame_cnt) {
        const struct peer_frame *frame = &heard->peer->frames[heard->frame_idx++];
        if (!frame->is_control && frame->channel == heard->channel)
            return frame;
    }
    return NULL;
}

/* Assembles the next message; false when there is none (or only a part of one). */
static inline bool heard_next(struct heard *heard)
{
    free(heard->message);
    heard->message = NULL;
    if (heard->run == heard->run_end) {
        const struct peer_frame *frame = heard_frame(heard);
        if (!frame)
            return false;
        if (frame->kind == WEIR_FRAME_RUN) {
            cr_assert_eq(weir_run_check(frame->payload, frame->len, frame->aux, UINT32_MAX), 0);
            heard->run = frame->payload;
            heard->run_end = frame->payload + frame->len;
        } else {
            cr_assert_eq(frame->kind, WEIR_FRAME_FIRST, "a message begins with its first fragment");
            heard->len = frame->aux;
            heard->message = malloc(frame->aux + 1);
            uint32_t at = 0;
            while (frame && at + frame->len <= heard->len) {
                memcpy(heard->message + at, frame->payload, frame->len);
                at += frame->len;
                if (at == heard->len)
                    return true;
                frame = heard_frame(heard);
                cr_assert(!frame || (frame->kind == WEIR_FRAME_MORE && frame->aux == at),
                          "fragments follow each other");
            }
            cr_assert(!frame, "a fragment past the end");
            return false;
        }
    }
    const uint8_t *data = weir_run_next(&heard->run, &heard->len);
    heard->message = malloc(heard->len + 1);
    if (heard->len)
        memcpy(heard->message, data, heard->len);
    return true;
}

static inline void heard_expect(struct heard *heard, size_t len, uint64_t seed)
{
    cr_assert(heard_next(heard), "a message of %zu bytes did not come", len);
    cr_assert_eq(heard->len, len, "%u bytes, not %zu", heard->len, len);
    cr_assert(box_is_filled(heard->message, len, seed), "the message of %zu bytes", len);
}

/* Grants `bytes` of credit on a channel, in all since the start. */
static inline void peer_grant(struct peer *peer, uint16_t channel, uint64_t bytes)
{
    peer_control(peer, &(struct weir_control){.kind = WEIR_CONTROL_CREDIT,
                                              .credit_cnt = 1,
                                              .credits = {{channel, bytes}}});
    peer_say(peer, 0);
}

/* Ends the stream from the peer's side, and lets the connection be freed. */
static inline void peer_hang_up(struct peer *peer)
{
    if (peer_is_open(peer) && peer->script->socks[peer->sock].is_receiving)
        script_recv_end(peer->script, peer->sock, 0);
    for (int i = 0; i < 4; i++)
        box_turn(peer->box);
}

#endif
