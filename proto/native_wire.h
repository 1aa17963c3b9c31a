/* proto/native_wire.h: the native wire, version 1, inside the codec: its numbers, its state and who does what.
 *
 * docs/wire.md is the specification; the names here are its names. Nobody outside proto/native_*.c and
 * their tests includes this file.
 *
 *   native.c          the state machine: begin, pull, feed until ready; the vtable
 *   native_preface.c  the first nine bytes, and what other protocols look like
 *   native_hello.c    the HELLO payload: writing, reading, judging
 *   native_frame.c    frame headers; feed after ready; verify
 *   native_control.c  ping, pong, credit, goodbye
 *
 *             begin
 *               v                  preface wrong: nothing is sent
 *          ┌ PREFACE ───────────────────────────┐
 *          │    v 9 right bytes                 v
 *          │  HELLO ────────────────────────> FAILED    feed consumes all, `fault` stays
 *          │    v hello accepted    refused: a goodbye waits in pull; or a goodbye came: nothing does
 *          │  READY
 *          │    v a bad frame: one frame of kind FAULT
 *          └  BROKEN                                    feed consumes all, yields nothing
 */
#ifndef WEIR_PROTO_NATIVE_WIRE_H
#define WEIR_PROTO_NATIVE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/codec.h"
#include "weir/error.h"

/* Preface. */
#define NATIVE_PREFACE_BYTES 9u        /* the eight fixed bytes and the liveness byte */
#define NATIVE_LIVENESS_DIALER 0x3Fu   /* '?' */
#define NATIVE_LIVENESS_LISTENER 0x21u /* '!': an echo of the dialer's own bytes is not an answer */

/* Frame header: offsets. */
#define NATIVE_AT_MAGIC 0u
#define NATIVE_AT_VERSION 4u
#define NATIVE_AT_KIND 5u
#define NATIVE_AT_CHANNEL 6u
#define NATIVE_AT_LENGTH 8u
#define NATIVE_AT_AUX 12u
#define NATIVE_AT_SUM 16u
#define NATIVE_AT_CHECK 24u

#define NATIVE_MAGIC UINT32_C(0x52494557)              /* bytes "WEIR" */
#define NATIVE_CHECK_SEED UINT64_C(0x3152444852494557) /* bytes "WEIRHDR1" */
#define NATIVE_VERSION 1u
#define NATIVE_CHANNEL_CONTROL 0xFFFFu

/* Kinds on the wire. Bit 7: optional, a receiver that does not know it skips the frame. */
enum native_kind {
    NATIVE_RUN = 1,
    NATIVE_FIRST = 2,
    NATIVE_MORE = 3,
    NATIVE_HELLO = 16,
    NATIVE_PING = 17,
    NATIVE_PONG = 18,
    NATIVE_CREDIT = 19,
    NATIVE_GOODBYE = 20,
    NATIVE_REKEY = 21, /* version 2 only */
};
#define NATIVE_KIND_OPTIONAL 0x80u

/* Limits. */
#define NATIVE_FRAME_BYTES_MIN 4096u /* the least frame_bytes_max a side may announce */
#define NATIVE_FRAME_BYTES_MAX 65536u
#define NATIVE_CONTROL_BYTES_MAX 1024u /* payload of a control frame */
#define NATIVE_HELLO_BYTES_MAX \
    2016u /* payload of a HELLO: with its header 2 KiB, all a stranger may hold */
#define NATIVE_CREDIT_BYTES 12u     /* one entry of a CREDIT */
#define NATIVE_GOODBYE_FIXED 4u     /* bytes of a GOODBYE before its text */
#define NATIVE_EXT_CRITICAL 0x8000u /* bit 15 of an extension's type */
#define NATIVE_HANDSHAKE_BYTES_MAX \
    (NATIVE_PREFACE_BYTES + WEIR_NATIVE_HEAD + NATIVE_HELLO_BYTES_MAX)

/* HELLO: offsets of its fixed part. */
#define NATIVE_HELLO_AT_VERSION_MIN 0u
#define NATIVE_HELLO_AT_VERSION_MAX 1u
#define NATIVE_HELLO_AT_RESERVED 2u
#define NATIVE_HELLO_AT_FRAME_BYTES 4u
#define NATIVE_HELLO_AT_FEATURES 8u
#define NATIVE_HELLO_AT_CRITICAL 16u
#define NATIVE_HELLO_AT_NONCE 24u
#define NATIVE_HELLO_AT_NODE_ID 40u
#define NATIVE_HELLO_FIXED 72u
#define NATIVE_HELLO_CHANNEL_BYTES 16u

/* What we write is within what we accept, and pull's worst case within its bound. */
#define NATIVE_HELLO_OUT_MAX                                                                     \
    (NATIVE_HELLO_FIXED + 1u + WEIR_NETWORK_ID_BYTES_MAX + 1u + WEIR_USER_AGENT_BYTES_MAX + 2u + \
     WEIR_CHANNELS_MAX * NATIVE_HELLO_CHANNEL_BYTES)
_Static_assert(NATIVE_HELLO_OUT_MAX <= NATIVE_HELLO_BYTES_MAX, "our hello fits the limit");
_Static_assert(NATIVE_PREFACE_BYTES + WEIR_NATIVE_HEAD + NATIVE_HELLO_OUT_MAX + WEIR_NATIVE_HEAD +
                       NATIVE_GOODBYE_FIXED <=
                   WEIR_HANDSHAKE_OUT_MAX,
               "preface, hello and goodbye fit what pull may have waiting");
_Static_assert(WEIR_CHANNELS_MAX *NATIVE_CREDIT_BYTES <= NATIVE_CONTROL_BYTES_MAX,
               "a credit for every channel fits one control frame");
_Static_assert(WEIR_NATIVE_HEAD + NATIVE_CONTROL_BYTES_MAX <= WEIR_CONTROL_OUT_MAX,
               "the largest control frame fits the caller's space");
_Static_assert(WEIR_NATIVE_HEAD <= WEIR_FRAME_HEAD_MAX, "a header fits the headroom");
_Static_assert((int)NATIVE_RUN == (int)WEIR_FRAME_RUN &&
                   (int)NATIVE_FIRST == (int)WEIR_FRAME_FIRST &&
                   (int)NATIVE_MORE == (int)WEIR_FRAME_MORE,
               "data kinds have the same numbers on both sides of the seam");

enum native_phase {
    NATIVE_PHASE_PREFACE = 0,
    NATIVE_PHASE_HELLO = 1,
    NATIVE_PHASE_READY = 2,
    NATIVE_PHASE_BROKEN = 3,
    NATIVE_PHASE_FAILED = 4,
};

/* What pull has to send. The bytes are not kept: they follow from the offer, `out` and `fault`, and are
 * made again at each pull (almost always one), so an idle connection carries no buffer. */
enum native_out {
    NATIVE_OUT_PREFACE = 1u << 0,
    NATIVE_OUT_HELLO = 1u << 1,
    NATIVE_OUT_GOODBYE = 1u << 2,
    NATIVE_OUT_REFUSAL = 1u << 3, /* to a dialer of version 2: this node is plain */
};

/* What version 2 and its dialers look like, as far as a plain node must know. native_v2.h */
#define NATIVE_MARK_AT 8u
#define NATIVE_V2_MARK_DIALER 0x53u  /* 'S' */
#define NATIVE_V2_MARK_REFUSAL 0x6Eu /* 'n': a reason follows, 2 bytes, in clear */
#define NATIVE_V2_ANSWER_BYTES 9u

/* One per connection. `offer` is borrowed for the connection's life, read only until ready. */
struct native_state {
    const struct weir_offer *offer;
    uint32_t frame_bytes_max; /* ours: the longest payload that we take */
    uint16_t out_pos;     /* bytes of the sequence preface, hello, goodbye that pull handed out */
    uint16_t fault;       /* in FAILED: why */
    bool is_fault_theirs; /* the other side said so */
    uint8_t phase;        /* enum native_phase */
    uint8_t out;          /* enum native_out: in the order of the bits, never taken back */
    bool is_dialer;
    bool has_out;              /* pull has not handed out all of `out` */
    struct weir_agreed agreed; /* valid in READY and BROKEN; last: see weir_codec.channel_bytes */
};
#define NATIVE_CHANNEL_BYTES (sizeof(((struct native_state *)NULL)->agreed.channels[0]))
_Static_assert(offsetof(struct native_state, agreed.channels) +
                       WEIR_CHANNELS_MAX * NATIVE_CHANNEL_BYTES ==
                   sizeof(struct native_state),
               "the channels are the end of the state, so that it may be cut");
_Static_assert(sizeof(struct native_state) <= 1024, "an idle connection stays small");

/* native_preface.c */

/* Writes NATIVE_PREFACE_BYTES. */
void weir_native_preface_write(uint8_t *ret_bytes, bool is_dialer);
/* Judges the first bytes from a peer that is the dialer (or not). Returns 1, 0 (with `*ret_reason`) or
 * -NATIVE_PREFACE_BYTES, as weir_codec.sniff. */
int weir_native_preface_judge(const uint8_t *data, size_t len, bool is_from_dialer,
                              uint16_t *ret_reason);
int weir_native_sniff(const uint8_t *data, size_t len, uint16_t *ret_reason);

/* native_hello.c */

/* Writes the offer as a HELLO payload, at most NATIVE_HELLO_OUT_MAX bytes; returns how many. */
uint32_t weir_native_hello_write(uint8_t *ret_bytes, const struct weir_offer *offer);
/* Reads the peer's HELLO payload and judges it. Returns 0 with `*ret_agreed` filled, or the reason to
 * refuse; `*ret_agreed` is then without meaning. */
uint16_t weir_native_hello_read(const uint8_t *payload, uint32_t len,
                                const struct weir_offer *offer, struct weir_agreed *ret_agreed);

/* native_frame.c */

/* Reads the header at `data`, of which `len` bytes are there. Returns false while it is not whole and
 * not wrong, with `*ret_need` bytes to wait for; otherwise `*ret_frame` is filled: a frame whose payload
 * begins behind the header, or one of kind FAULT. No check but those of the header itself has been made:
 * magic, check, version. */
bool weir_native_head_read(uint8_t *data, size_t len, struct weir_frame *ret_frame,
                           size_t *ret_need);
/* Settles a decoded frame's kind for the connection and checks all that its header alone can tell, in the
 * order of docs/wire.md "Checks": kind, length, channel, aux. Returns 0 or what is wrong. */
uint16_t weir_native_shape(struct weir_frame *frame, uint32_t frame_bytes_max);
/* Feeds a connection that is READY. `*ret_feed` is zeroed. Returns false if the stream broke. */
bool weir_native_frames_feed(uint32_t frame_bytes_max, uint8_t *data, size_t len,
                             struct weir_frame *ret_frames, uint32_t frame_max,
                             struct weir_feed *ret_feed);
uint32_t weir_native_frame_head(uint8_t *ret_head, uint8_t kind, uint16_t channel, uint32_t aux,
                                const uint8_t *payload, uint32_t len);
void weir_native_verify(struct weir_frame *frames, uint32_t frame_cnt);

/* native_control.c */

uint32_t weir_native_control_write(uint8_t *ret_bytes, const struct weir_control *control);
/* The payload alone, at most NATIVE_CONTROL_BYTES_MAX; returns its size. */
uint32_t weir_native_control_payload(uint8_t *ret_payload, uint8_t *ret_kind,
                                     const struct weir_control *control);
int weir_native_control_read(const struct weir_frame *frame, struct weir_control *ret_control);

#endif
