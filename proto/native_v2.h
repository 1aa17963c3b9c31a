/* proto/native_v2.h: inside of the native wire, version 2: the frames of version 1 in Noise records.
 *
 *   native_v2.c          begin to end: which step is whose, what is sent in which order
 *   native_v2_shake.c    what both sides do: Noise, proofs, hellos, the end of a handshake that fails
 *   native_v2_dialer.c   messages 1 and 3, the answer
 *   native_v2_listener.c prefaces, message 1 and its answer, message 3
 *   native_v2_cookie.c   the cookie that a listener under load asks for
 *   native_v2_record.c   records: masked lengths, sealing, opening, new keys
 *   native_v2_frame.c    the short frame header, and frames out of an opened record
 *
 *   dialer                                    listener
 *     preface, message 1: e              ->
 *                                        <-   under load: cookie
 *     cookie, preface, message 1: e      ->
 *                                        <-   answer, message 2: e, ee, s, es, proof of identity
 *     message 3: s, se, proof, hello     ->
 *                                        <-   record: HELLO
 *     records                           <->   records
 *
 *   or, where the dialer knows the listener's static key:
 *
 *     preface, message 1: e, es, s, ss, proof of identity  ->
 *                                        <-   answer, message 2: e, ee, se; record: HELLO
 *     record: HELLO                      ->
 *                                        <-   instead of the answer, where it is not its key: again, with XX
 *
 * Each message has its length in front, 2 bytes, little-endian. docs/wire-v2.md.
 */
#ifndef WEIR_PROTO_NATIVE_V2_H
#define WEIR_PROTO_NATIVE_V2_H

#include "proto/codec.h"
#include "proto/identity.h"
#include "proto/native_wire.h"
#include "proto/noise.h"

/* The dialer's preface. Its first 8 bytes are those of version 1. */
#define NATIVE_V2_PREFACE_BYTES 16u
#define NATIVE_V2_AT_MARK 8u
#define NATIVE_V2_AT_VERSION_MIN 9u
#define NATIVE_V2_AT_VERSION_MAX 10u
#define NATIVE_V2_AT_PATTERN 11u
#define NATIVE_V2_AT_CIPHER 12u /* enum weir_cipher_kind: the one that is used */
#define NATIVE_V2_AT_KNOWS 13u  /* a bit for each cipher that the dialer knows, and: */
#define NATIVE_V2_KNOWS_CIPHERS ((1u << WEIR_CIPHER_CNT) - 1)
#define NATIVE_V2_KNOWS_COOKIE 0x80u /* it sends a cookie back; who came before it sends 0 */
#define NATIVE_V2_VERSION 2u
/* its mark: NATIVE_V2_MARK_DIALER, what follows is sealed */
/* The listener's: the same 8 bytes and this, or NATIVE_V2_MARK_REFUSAL. */
#define NATIVE_V2_MARK_ANSWER 0x73u /* 's': message 2 follows */
#define NATIVE_V2_MARK_ASK 0x63u    /* 'c': a cookie follows; it is to come back, with message 1 */
#define NATIVE_V2_MARK_BACK 0x43u /* 'C', the dialer's: the cookie, preface and message 1 follow */
#define NATIVE_V2_MARK_AGAIN \
    0x78u /* 'x': not with this key; once more, with XX, on the same stream */
#define NATIVE_V2_COOKIE_BYTES 32u
#define NATIVE_V2_ASK_BYTES (NATIVE_V2_ANSWER_BYTES + NATIVE_V2_COOKIE_BYTES)

enum native_v2_pattern {
    NATIVE_V2_XX = 1,
    NATIVE_V2_XXPSK3 = 2,
    NATIVE_V2_IK = 3, /* the dialer knows the listener's static key */
    NATIVE_V2_IKPSK2 = 4,
};
#define NATIVE_V2_PATTERN_LAST NATIVE_V2_IKPSK2

static inline bool weir_v2_pattern_has_psk(uint8_t pattern)
{
    return pattern == NATIVE_V2_XXPSK3 || pattern == NATIVE_V2_IKPSK2;
}
static inline bool weir_v2_pattern_is_ik(uint8_t pattern)
{
    return pattern == NATIVE_V2_IK || pattern == NATIVE_V2_IKPSK2;
}

#define NATIVE_V2_LENGTH_BYTES 2u
/* A dialer that cannot go on after message 2 says so in clear: length 0, reason. */
#define NATIVE_V2_GIVE_UP_BYTES (NATIVE_V2_LENGTH_BYTES + 2u)
#define NATIVE_V2_MESSAGE1_BYTES WEIR_KEY_BYTES /* and a tag with a network key */
#define NATIVE_V2_MESSAGE1_IK_BYTES \
    (WEIR_KEY_BYTES + WEIR_KEY_BYTES + WEIR_TAG_BYTES + WEIR_PROOF_BYTES + WEIR_TAG_BYTES)
#define NATIVE_V2_MESSAGE1_MAX NATIVE_V2_MESSAGE1_IK_BYTES
#define NATIVE_V2_MESSAGE2_IK_BYTES (WEIR_KEY_BYTES + NATIVE_V2_OFFER_BYTES + WEIR_TAG_BYTES)
#define NATIVE_V2_OFFER_BYTES 4u /* in message 2: versions, ciphers, and what else it knows: */
#define NATIVE_V2_OFFERS_IK 0x01u
#define NATIVE_V2_MESSAGE2_BYTES                                                                   \
    (WEIR_KEY_BYTES + WEIR_KEY_BYTES + WEIR_TAG_BYTES + WEIR_PROOF_BYTES + NATIVE_V2_OFFER_BYTES + \
     WEIR_TAG_BYTES)
#define NATIVE_V2_MESSAGE3_MIN (WEIR_KEY_BYTES + WEIR_TAG_BYTES + WEIR_PROOF_BYTES + WEIR_TAG_BYTES)
#define NATIVE_V2_MESSAGE3_MAX \
    2046u /* with its length 2 KiB, all a stranger may hold: a HELLO of 1,886 */
_Static_assert(NATIVE_V2_MESSAGE3_MIN + NATIVE_HELLO_OUT_MAX <= NATIVE_V2_MESSAGE3_MAX,
               "what we say ourselves is far from it");
_Static_assert(NATIVE_V2_MESSAGE3_MAX <= NATIVE_V2_MESSAGE3_MIN + NATIVE_HELLO_BYTES_MAX,
               "a HELLO is one that version 1 would take");

/* A frame inside a record: kind, zero, channel, length, aux. */
#define NATIVE_V2_HEAD 12u
#define NATIVE_V2_AT_KIND 0u
#define NATIVE_V2_AT_ZERO 1u
#define NATIVE_V2_AT_CHANNEL 2u
#define NATIVE_V2_AT_LENGTH 4u
#define NATIVE_V2_AT_AUX 8u

/* A record: 2 bytes of masked length, then so many bytes of a Noise message. With its length it fills
 * 64 KiB at most: a power of two is what buffers come in. */
#define NATIVE_V2_RECORD_MAX 65534u
#define NATIVE_V2_PLAIN_MAX (NATIVE_V2_RECORD_MAX - WEIR_TAG_BYTES)
#define NATIVE_V2_FRAME_BYTES_MAX (NATIVE_V2_PLAIN_MAX - NATIVE_V2_HEAD)
/* The first record of each side, with the longest HELLO. */
#define NATIVE_V2_FIRST_MAX \
    (NATIVE_V2_LENGTH_BYTES + NATIVE_V2_HEAD + NATIVE_HELLO_BYTES_MAX + WEIR_TAG_BYTES)

/* A key is used for so many records and bytes at most; both sides count. */
#define NATIVE_V2_KEY_RECORDS_MAX (UINT64_C(1) << 20)
#define NATIVE_V2_KEY_BYTES_MAX (UINT64_C(1) << 32)

/* Lengths are masked by the keystream of nonces that no record has. */
#define NATIVE_V2_MASK_NONCE (UINT64_C(1) << 63)
#define NATIVE_V2_MASK_BYTES 64u
#define NATIVE_V2_MASKS_PER_BLOCK (NATIVE_V2_MASK_BYTES / NATIVE_V2_LENGTH_BYTES)
_Static_assert(NATIVE_V2_KEY_RECORDS_MAX < NATIVE_V2_MASK_NONCE,
               "nonces of records and of masks never meet, and neither is the one for rekeying");
_Static_assert(NATIVE_V2_KEY_RECORDS_MAX % NATIVE_V2_MASKS_PER_BLOCK == 0, "whole blocks");
_Static_assert(NATIVE_V2_RECORD_MAX <= WEIR_NOISE_MESSAGE_MAX, "a record is a Noise message");
_Static_assert(WEIR_SEAL_HEAD == NATIVE_V2_LENGTH_BYTES && WEIR_SEAL_TAIL == WEIR_TAG_BYTES,
               "as the seam says");

/* One direction's key. cipher.n is the record's number under this key. */
struct native_v2_lane {
    struct weir_noise_cipher cipher;
    uint64_t bytes; /* sealed or opened under this key */
    uint64_t key_cnt;
    uint8_t mask[NATIVE_V2_MASK_BYTES]; /* of records n - n % 32 to that + 31 */
};

enum native_v2_phase {
    NATIVE_V2_WAIT_MESSAGE1 = 0, /* listener */
    NATIVE_V2_WAIT_MESSAGE2 = 1, /* dialer */
    NATIVE_V2_WAIT_MESSAGE3 = 2, /* listener */
    NATIVE_V2_WAIT_HELLO = 3,    /* records flow; a listener in IK only */
    NATIVE_V2_READY = 4,
    NATIVE_V2_BROKEN = 5,
    NATIVE_V2_FAILED = 6,
};

/* What pull has to send, in the order of the bits. */
enum native_v2_out {
    NATIVE_V2_OUT_COOKIE = 1u << 0, /* the listener's, or the dialer's that sends it back */
    NATIVE_V2_OUT_MESSAGE1 = 1u << 1,
    NATIVE_V2_OUT_REFUSAL = 1u << 2,
    NATIVE_V2_OUT_MESSAGE2 = 1u << 3,
    NATIVE_V2_OUT_GIVE_UP = 1u << 4,
    NATIVE_V2_OUT_MESSAGE3 = 1u << 5,
    NATIVE_V2_OUT_HELLO = 1u << 6,
    NATIVE_V2_OUT_GOODBYE = 1u << 7,
    NATIVE_V2_OUT_AGAIN = 1u << 8,
};

struct native_v2_state {
    const struct weir_offer *offer;
    uint32_t frame_bytes_max; /* ours */
    uint32_t plain_left;      /* bytes of an opened record that were not given out as frames */
    uint64_t plain_key;       /* recv.key_cnt when that record was opened */
    uint16_t fault;           /* in FAILED: why */
    bool is_fault_theirs;     /* the other side said so */
    uint16_t out;             /* enum native_v2_out */
    uint8_t phase;            /* enum native_v2_phase */
    bool is_dialer;
    bool has_records; /* the lanes have keys */
    bool has_expected;
    bool has_peer_key; /* dialer: it knows peer_key; when agreed: peer_key may be used again */
    bool was_ik;       /* a handshake with IK came to nothing on this stream: it is XX now */
    bool has_cookie;   /* the listener has asked for it, the dialer was asked */
    uint8_t preface[NATIVE_V2_PREFACE_BYTES]; /* the dialer's, as it is in the prologue */
    uint8_t peer_key[WEIR_KEY_BYTES];
    uint8_t peer_id[WEIR_KEY_BYTES]; /* expected, and from its proof on the one that it is */
    /* A handshake and what comes of it are never there at the same time: weir_v2_noise_end() makes the one of the other.
     * So a silent connection pays for the larger one only. */
    union {
        struct { /* until has_records; wiped by then */
            struct weir_noise_handshake noise;
            union {
                uint8_t message2[NATIVE_V2_MESSAGE2_BYTES]; /* the listener's in XX: made when 1
                                                               came, until it is pulled */
                struct {                                    /* before that; the dialer's */
                    uint8_t seed[WEIR_KEY_BYTES];
                    uint8_t cookie[NATIVE_V2_COOKIE_BYTES];
                    uint8_t from_len;
                    uint8_t from[WEIR_COOKIE_FROM_MAX];
                };
            };
        } handshake;
        struct { /* with has_records */
            struct native_v2_lane send, recv;
            uint8_t session[WEIR_SESSION_BYTES]; /* of Noise's transcript hash */
            struct weir_agreed agreed;           /* valid in READY and BROKEN; may be cut */
        } records;
    } u; /* last: see weir_codec.channel_bytes */
};
#define NATIVE_V2_CHANNEL_BYTES \
    (sizeof(((struct native_v2_state *)NULL)->u.records.agreed.channels[0]))
#define NATIVE_V2_STATE_MIN \
    (offsetof(struct native_v2_state, u) + sizeof(((struct native_v2_state *)NULL)->u.handshake))
_Static_assert(offsetof(struct native_v2_state, u.records.agreed.channels) +
                       WEIR_CHANNELS_MAX * NATIVE_V2_CHANNEL_BYTES ==
                   sizeof(struct native_v2_state),
               "the channels are the end of the state, so that it may be cut");
_Static_assert(sizeof(struct native_v2_state) <= 2048, "what a stranger costs");
_Static_assert(NATIVE_V2_STATE_MIN <= 768, "what a silent connection costs");
_Static_assert(offsetof(struct native_v2_state, u.records.agreed.channels) <= NATIVE_V2_STATE_MIN,
               "so that to zero the one is to zero the other, but for the channels");

/* ---- native_v2_shake.c --------------------------------------------------------------------- */

/* The handshake's half of the union is in use: until the third message was made or read. */
bool weir_v2_is_noise(const struct native_v2_state *state);
/* Wipes and zeroes that half, seed and all. */
void weir_v2_noise_wipe(struct native_v2_state *state);
/* Ends a handshake. A peer whose records we can write is told why in one; before that a reason in clear
 * is all there is, and it is sent only where it says nothing that a stranger should not know. */
void weir_v2_fail(struct native_v2_state *state, uint16_t fault, bool is_told);
uint16_t weir_v2_reason_of(int noise_error);
/* The first 8 bytes that both versions begin with, then a mark. */
void weir_v2_mark_write(uint8_t *ret_bytes, uint8_t mark);
/* Starts Noise with what the dialer's preface says; `seed` is used and stays. */
int weir_v2_noise_begin(struct native_v2_state *state);
/* All three messages have passed: keys for records, and nothing else of the handshake stays. */
int weir_v2_noise_end(struct native_v2_state *state);
/* Judge the proof that a message brought, or a hello. Return 0 or the reason to end. */
/* Fills in what a listener says of itself in message 2. */
void weir_v2_offer_write(uint8_t ret_offer[NATIVE_V2_OFFER_BYTES]);
uint16_t weir_v2_proof_judge(struct native_v2_state *state, const uint8_t *proof);
uint16_t weir_v2_hello_judge(struct native_v2_state *state, const uint8_t *hello, uint32_t len);
/* Write a record with one frame; return its size, 0 when it failed. */
size_t weir_v2_hello_write(struct native_v2_state *state, uint8_t *ret_bytes);
size_t weir_v2_goodbye_write(struct native_v2_state *state, uint8_t *ret_bytes);
/* The first record, which is the other side's hello, or a goodbye. */
void weir_v2_hello_feed(struct native_v2_state *state, uint8_t *data, size_t len,
                        struct weir_feed *ret_feed);

/* Whether `len` bytes are there; if not, they are what feed waits for. */
static inline bool weir_v2_is_there(size_t len, size_t have, struct weir_feed *ret_feed)
{
    if (have >= len)
        return true;
    ret_feed->need = len;
    return false;
}

/* ---- native_v2_dialer.c -------------------------------------------------------------------- */

/* Write the preface and message 1, or message 3, with lengths; return the size, 0 when it failed. */
size_t weir_v2_message1_write(struct native_v2_state *state, uint8_t *ret_bytes);
size_t weir_v2_message3_write(struct native_v2_state *state, uint8_t *ret_bytes);
void weir_v2_message2_feed(struct native_v2_state *state, const uint8_t *data, size_t len,
                           struct weir_feed *ret_feed);

/* ---- native_v2_listener.c ------------------------------------------------------------------ */

void weir_v2_message1_feed(struct native_v2_state *state, const uint8_t *data, size_t len,
                           struct weir_feed *ret_feed);
void weir_v2_message3_feed(struct native_v2_state *state, const uint8_t *data, size_t len,
                           struct weir_feed *ret_feed);
/* Writes message 2 of IK and its length, and ends Noise; 0 when it failed. That of XX was made when message 1 came. */
size_t weir_v2_message2_write(struct native_v2_state *state, uint8_t *ret_bytes);

/* ---- native_v2_cookie.c -------------------------------------------------------------------- */

/* Judges message 1 by the listener's gate: `cookie` is what came in front of it, or NULL. Returns whether it is to be served now; if not, `ret_feed->knock` says what else (a cookie waits
 * in pull, or it is held), or the handshake has failed. No curve operation. */
bool weir_v2_knock(struct native_v2_state *state, const struct weir_piece *message1,
                   const uint8_t *cookie, struct weir_feed *ret_feed);

/* ---- native_v2_record.c -------------------------------------------------------------------- */

/* Gives a lane its first key; `cipher` comes from Noise and is moved. Returns false without memory. */
bool weir_v2_lane_init(const struct weir_crypto *crypto, struct native_v2_lane *ret_lane,
                       struct weir_noise_cipher *cipher, bool is_seal);
void weir_v2_lane_wipe(struct native_v2_lane *lane);

/* Seals the next record; as weir_codec.seal. */
bool weir_v2_seal(const struct weir_crypto *crypto, struct native_v2_lane *lane,
                  const struct weir_seal_piece *pieces, uint32_t piece_cnt, bool is_last_of_key,
                  uint8_t *ret_head, uint8_t *ret_tail);

/* Opens the record at `data` in place. Returns its plaintext's length, which lies behind the 2 bytes of
 * length and has the tag behind it; 0 with `*ret_need` while it is not all there; a negative reason
 * (enum weir_reason) when it is none. */
int32_t weir_v2_open(const struct weir_crypto *crypto, struct native_v2_lane *lane, uint8_t *data,
                     size_t len, size_t *ret_need);

/* The other side says that this was the last record under its key. */
bool weir_v2_rekey(const struct weir_crypto *crypto, struct native_v2_lane *lane);

/* ---- native_v2_frame.c --------------------------------------------------------------------- */

uint32_t weir_v2_frame_head(uint8_t *ret_head, uint8_t kind, uint16_t channel, uint32_t aux,
                            const uint8_t *payload, uint32_t len);
uint32_t weir_v2_control_write(uint8_t *ret_bytes, const struct weir_control *control);

/* Decodes the frame at the front of an opened record's `len` bytes. Returns its size with its header; on
 * a fault `ret_frame` is of kind FAULT and 0 is returned. Its kind is not settled. */
uint32_t weir_v2_frame_read(uint8_t *data, uint32_t len, struct weir_frame *ret_frame);

/* Feeds a connection that is READY. Returns false if the stream broke. */
bool weir_v2_frames_feed(struct native_v2_state *state, uint8_t *data, size_t len,
                         struct weir_frame *ret_frames, uint32_t frame_max,
                         struct weir_feed *ret_feed);

#endif
