/* proto/codec.h: the seam behind which a wire lives.
 *
 * A codec is pure: no descriptor, clock, heap or thread; time does not pass in it. The connection owns
 * a block of `state_bytes` per connection for it (a codec may ask for more before the handshake is
 * done: state_bytes counts both) and drives it:
 *
 *   sniff   is this stream mine? asked by a listener with the first bytes, again with more
 *   begin   a connection starts; which side we are; what we offer
 *   pull    bytes that the handshake (or the codec itself) wants to send now
 *   feed    a window of received bytes -> frames and events; may change the window in place (decrypt)
 *   verify  checks a batch of frames, of any connections of this codec, at once
 *   frame   one picked frame -> its header (and trailer) bytes around a payload that stays where it is
 *   control the payload and kind of a control frame -> bytes
 *   seal    whole frames that are about to be sent -> a record (encrypted wires; feed opens them)
 *   end     the connection is over
 *
 * Fault policy belongs to the codec: it says per frame whether a fault closes (`fault`), or is skipped.
 */
#ifndef WEIR_PROTO_CODEC_H
#define WEIR_PROTO_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/config.h"

#define WEIR_FRAME_HEAD_MAX \
    64u /* what `frame` may write before a payload (fits a buffer's headroom) */
#define WEIR_FRAME_TAIL_MAX 32u      /* and behind it */
#define WEIR_HANDSHAKE_OUT_MAX 2304u /* what `pull` can ever have waiting */

/* What a frame is, for the connection: the same for every wire. */
enum weir_frame_kind {
    WEIR_FRAME_RUN = 1, /* whole small messages, each with a u16 length in front (native) */
    WEIR_FRAME_FIRST =
        2, /* the first fragment of a message of `aux` bytes; all of it when len == aux */
    WEIR_FRAME_MORE = 3,    /* a further fragment, at byte `aux` of its message */
    WEIR_FRAME_CONTROL = 4, /* decoded after verification by `control_read` */
    WEIR_FRAME_FAULT = 5,   /* no frame: the stream broke here for the reason `fault` */
    WEIR_FRAME_SKIP = 6,    /* verified, then thrown away (unknown, marked optional) */
};

/* A received frame. Its payload lies in one piece. */
struct weir_frame {
    uint8_t *payload;
    uint32_t len;
    uint32_t aux;
    uint64_t sum;     /* what the payload's checksum must be */
    uint16_t channel; /* as on the wire */
    uint8_t kind;     /* enum weir_frame_kind */
    uint8_t wire_kind;
    uint16_t fault; /* enum weir_reason, set by feed (kind FAULT) or by verify */
    uint16_t reserved;
    /* for the connection's use */
    uint32_t conn_idx;
    uint32_t channel_idx;
    struct weir_buf *hold; /* dropped after dispatch */
};

struct weir_feed {
    size_t consumed; /* bytes of the window that are done with */
    size_t need; /* bytes from `consumed` on that must be there before feeding again is of use */
    uint32_t frame_cnt; /* filled */
    bool is_ready;      /* the handshake was completed by this call or before */
    bool
        has_partial; /* `partial` is the header of the frame that begins at consumed: header valid, */
    uint8_t knock;   /* enum weir_knock: what became of a stranger's first message */
    struct weir_frame partial; /* payload not all there; payload points at what is */
    size_t partial_head;       /* bytes of its header */
    uint16_t fault;            /* enum weir_reason: the handshake failed */
    bool is_theirs; /* the other side said so, and why: `fault` is not what its bytes are */
};

/* A channel as one side describes it. */
struct weir_channel_desc {
    uint16_t id;
    uint16_t weight;
    uint32_t msg_bytes_max; /* largest message this side takes */
    uint32_t window_bytes; /* credit at start: payload bytes this side takes before granting more */
    uint32_t flags;
};

/* What a side offers; borrowed from begin() on for the connection's life. */
struct weir_offer {
    const char *network_id; /* 1 .. 32 bytes */
    const char *user_agent; /* 0 .. 64 bytes */
    const struct weir_channel_desc *channels;
    uint32_t channel_cnt;
    uint32_t frame_bytes_max; /* largest payload this side takes */
    uint64_t features;
    uint8_t nonce[16];   /* one per node: finding our own back means that we dialed ourselves */
    uint8_t node_id[32]; /* zero: none yet */
    uint16_t refuse;     /* enum weir_reason: tell every peer this, and agree on nothing */
    const struct weir_secret *secret; /* what an encrypted wire needs; NULL: there is none */
};

struct weir_crypto;
struct weir_identity;

/* Whether a stranger's first message is served, which costs curve operations. Decided outside of the codec. */
enum weir_gate_admission {
    WEIR_GATE_OPEN = 0,   /* it is served */
    WEIR_GATE_COOKIE = 1, /* under load: it is, when it brings a good cookie; else it is sent one */
    WEIR_GATE_SHUT = 2,   /* too many are served already: who brings a cookie is held too */
};

#define WEIR_COOKIE_SECRET_BYTES 32u
#define WEIR_COOKIE_FROM_MAX 20u

/* A listener's gate, one for all connections of a thread; its owner sets it before it feeds one. */
struct weir_gate {
    uint8_t secrets[2]
                   [WEIR_COOKIE_SECRET_BYTES]; /* that cookies are made with, and the one before */
    uint8_t admission;                         /* enum weir_gate_admission */
};

enum weir_knock {
    WEIR_KNOCK_SERVED = 1u << 0, /* curve operations were made for it */
    WEIR_KNOCK_ASKED = 1u << 1,  /* it was sent a cookie: none were made */
    WEIR_KNOCK_HELD = 1u << 2,   /* nothing was consumed: feed the same bytes again, later */
    WEIR_KNOCK_COOKIE = 1u << 3, /* it brought a good cookie */
    WEIR_KNOCK_FORGED = 1u << 4, /* it brought one that is not ours */
};

/* What a side brings to an encrypted wire; borrowed like the offer. */
struct weir_secret {
    const struct weir_crypto *crypto;     /* the thread's own */
    const struct weir_identity *identity; /* who we are */
    const uint8_t *network_key;           /* 32 bytes; NULL: an open network */
    uint8_t cipher;                       /* enum weir_cipher_kind: what we ask for when we dial */
    const struct weir_gate *gate;         /* NULL: every stranger is served */
};

/* What one connection of an encrypted wire begins with; all is copied. */
struct weir_arm {
    const uint8_t *seed;    /* 32 random bytes */
    const uint8_t *peer_id; /* the node id that the other side must prove; NULL: any */
    const uint8_t *
        peer_key; /* dialer: peer_id's static key from an earlier time (`peer_key` below), or NULL */
    const uint8_t *from; /* listener: who it is, as far as its address tells; bound to its cookie */
    uint32_t from_len;   /* up to WEIR_COOKIE_FROM_MAX */
};

/* One piece of a record: `len` bytes that are sealed from one place to another, or in place. */
struct weir_seal_piece {
    const uint8_t *from;
    uint8_t *to;
    uint32_t len;
};

#define WEIR_SESSION_BYTES 16u

#define WEIR_SEAL_HEAD 2u  /* what `seal` writes in front of a record's pieces */
#define WEIR_SEAL_TAIL 16u /* and behind them */

/* What the handshake agreed; valid once feed says is_ready. */
struct weir_agreed {
    uint8_t version;
    uint32_t frame_bytes_max; /* the smaller of both */
    uint64_t features;        /* in common */
    uint8_t node_id[32];
    char user_agent[WEIR_USER_AGENT_BYTES_MAX + 1];
    uint32_t channel_cnt; /* in common */
    struct {
        uint32_t local_idx;     /* position in our offer's channels */
        uint32_t msg_bytes_max; /* the largest message that we may send on it: the peer's figure */
        uint32_t window_bytes;  /* our credit for sending at start: the peer's figure */
    } channels[WEIR_CHANNELS_MAX]; /* in a codec's state as many as the offer has are there */
};

enum weir_control_kind {
    WEIR_CONTROL_PING = 1,    /* u64 value */
    WEIR_CONTROL_PONG = 2,    /* u64 value */
    WEIR_CONTROL_CREDIT = 3,  /* channel and limit pairs */
    WEIR_CONTROL_GOODBYE = 4, /* reason and text */
    WEIR_CONTROL_REKEY = 5,   /* encrypted wires: this was the last record under its key */
};

#define WEIR_GOODBYE_TEXT_MAX 120u

struct weir_credit {
    uint16_t channel; /* id */
    uint64_t limit;   /* payload bytes that may be sent on it in all since the start */
};

struct weir_control {
    uint8_t kind; /* enum weir_control_kind */
    uint16_t reason;
    uint32_t credit_cnt;
    uint64_t value;
    struct weir_credit credits[WEIR_CHANNELS_MAX];
    char text[WEIR_GOODBYE_TEXT_MAX + 1];
};

#define WEIR_CONTROL_OUT_MAX 1200u /* bytes of the largest control frame, header included */

struct weir_codec {
    const char *name;
    size_t state_bytes; /* with an offer of WEIR_CHANNELS_MAX channels */
    /* Of them, at the end of a state, for each channel of the offer: a state that will be begun with fewer
     * may be so much shorter (weir_codec_state_bytes), as ten thousand idle connections want it. */
    size_t channel_bytes;
    size_t state_bytes_min;     /* but never shorter than this: a handshake needs it */
    uint32_t head_bytes;        /* of a frame header */
    size_t handshake_bytes_max; /* received bytes a handshake may take */
    /* 1: mine. 0: not mine. A negative: not known yet, need at least -n bytes in all. When it is not mine
     * `*ret_reason` says what it looks like (WEIR_R_NOT_WEIR, _HTTP, _TLS). */
    int (*sniff)(const uint8_t *data, size_t len, uint16_t *ret_reason);
    void (*begin)(void *state, const struct weir_offer *offer, bool is_dialer);
    /* An encrypted wire only (else NULL): called right after begin. */
    void (*arm)(void *state, const struct weir_arm *arm);
    /* An encrypted wire only (else NULL): whether feed, given these bytes in a handshake, would get to a message that takes
     * curve operations: a tenth of a millisecond. The caller spreads those. */
    bool (*is_step)(const void *state, const uint8_t *data, size_t len);
    /* Wipes and frees what the state holds; NULL: nothing. After it the state may be begun again. */
    void (*end)(void *state);
    /* Writes up to `cap` bytes that should be sent now; returns how many. */
    size_t (*pull)(void *state, uint8_t *ret_bytes, size_t cap);
    /* An encrypted wire only (else NULL): why the handshake failed, 0 if it has not. A message that could not be made is
     * a failure that only pull meets, which then has nothing. */
    uint16_t (*fault)(const void *state);
    /* Decodes up to `frame_max` frames. Returns nothing: `*ret_feed` says all. A broken stream is a frame of
     * kind FAULT (once; later calls consume everything and yield nothing), a failed handshake
     * `ret_feed->fault` (a goodbye that says why is then waiting in pull). The call that completes the
     * handshake returns at once, without frames: call again with what is left. */
    void (*feed)(void *state, uint8_t *data, size_t len, struct weir_frame *ret_frames,
                 uint32_t frame_max, struct weir_feed *ret_feed);
    const struct weir_agreed *(*agreed)(const void *state);
    /* An encrypted wire only (else NULL): once agreed, WEIR_SESSION_BYTES that both sides have, that no other
     * connection has, and that neither could choose. */
    const uint8_t *(*session)(const void *state);
    /* An encrypted wire only (else NULL): once agreed, the other side's static key, 32 bytes, if a later handshake with
     * the same id may begin with it; or NULL. */
    const uint8_t *(*peer_key)(const void *state);
    /* Sets `fault` on each frame that does not match its checksum. */
    void (*verify)(struct weir_frame *frames, uint32_t frame_cnt);
    /* Hashes the payload and writes the frame's header, exactly `head_bytes`, to `ret_head` (usually
     * payload - head_bytes, in the buffer's headroom; elsewhere when the payload is shared). Pure: the
     * same bytes for every connection. Returns head_bytes. */
    uint32_t (*frame_head)(uint8_t *ret_head, uint8_t kind, uint16_t channel, uint32_t aux,
                           const uint8_t *payload, uint32_t len);
    /* Writes a whole control frame; returns its size, at most WEIR_CONTROL_OUT_MAX. */
    uint32_t (*control_write)(uint8_t *ret_bytes, const struct weir_control *control);
    /* Reads a verified control frame. 0, or the reason it is malformed. */
    int (*control_read)(const struct weir_frame *frame, struct weir_control *ret_control);
    /* Records below frames; NULL: frames go as they are. Seals whole frames, at most `record_bytes_max` of
     * them together, as the next record; the pieces lie between `ret_head` and `ret_tail` on the wire.
     * `is_last_of_key`: the record ends with a WEIR_CONTROL_REKEY frame, and the next one has a new key.
     * Returns false when that cannot be done: the connection is of no use any more. */
    bool (*seal)(void *state, const struct weir_seal_piece *pieces, uint32_t piece_cnt,
                 bool is_last_of_key, uint8_t *ret_head, uint8_t *ret_tail);
    uint32_t record_bytes_max;
};

/* What a state takes that is begun with an offer of `channel_cnt` channels or fewer. */
static inline size_t weir_codec_state_bytes(const struct weir_codec *codec, uint32_t channel_cnt)
{
    size_t bytes = codec->state_bytes - (WEIR_CHANNELS_MAX - channel_cnt) * codec->channel_bytes;
    return bytes < codec->state_bytes_min ? codec->state_bytes_min : bytes;
}

/* The native wire, version 1, plain. docs/wire.md */
extern const struct weir_codec weir_codec_native;

/* The same frames in Noise records: version 2. docs/wire.md */
extern const struct weir_codec weir_codec_native_v2;

#define WEIR_NATIVE_HEAD 32u /* bytes of a native frame header */

#endif
