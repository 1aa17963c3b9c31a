/* weir/error.h: one table of error codes and one of close reasons.
 *
 * A function returns 0 (or a count) or one of the negative codes below. A connection ends with a
 * *reason*: the same numbers are used in callbacks, in counters, in logs and in the goodbye frame on
 * the wire (docs/wire.md), so that both sides and an operator talk about the same thing.
 */
#ifndef WEIR_ERROR_H
#define WEIR_ERROR_H

#include "weir/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum weir_error {
    WEIR_OK = 0,
    WEIR_E_MISUSE = -1,        /* the call breaks the function's contract */
    WEIR_E_NOMEM = -2,         /* the heap, a pool or the lockable memory is exhausted */
    WEIR_E_FULL = -3,          /* the send queue (or mailbox) has no room now; try later */
    WEIR_E_GONE = -4,          /* the peer is no longer connected */
    WEIR_E_TOO_BIG = -5,       /* the message is above the channel's negotiated maximum */
    WEIR_E_NO_CHANNEL = -6,    /* the channel is not attached here, or the peer does not have it */
    WEIR_E_TIMEOUT = -7,       /* the deadline passed first */
    WEIR_E_ADDRESS = -8,       /* an address or name does not parse, or cannot be used here */
    WEIR_E_IN_USE = -9,        /* the address, port or socket file is in use */
    WEIR_E_ACCESS = -10,       /* the system denies it (privileged port, socket file's folder) */
    WEIR_E_NO_URING = -11,     /* io_uring is refused by the system or the sandbox */
    WEIR_E_MEMLOCK = -12,      /* RLIMIT_MEMLOCK is too small for the rings, even shrunk */
    WEIR_E_DESCRIPTORS = -13,  /* no file descriptors are left */
    WEIR_E_CONFIG = -14,       /* a field of a configuration struct is out of its range */
    WEIR_E_VERSION = -15,      /* a struct from a newer weir uses fields this one does not know */
    WEIR_E_DUPLICATE = -16,    /* two reactors claim one channel */
    WEIR_E_STATE = -17,        /* not in this state: after start, before start, while stopping */
    WEIR_E_SHARD_THREAD = -18, /* this call blocks and so is refused on a shard's thread */
    WEIR_E_KERNEL = -19,       /* the kernel lacks a feature that weir needs (6.1 is the floor) */
    WEIR_E_SYSTEM = -20,       /* another system error; the log callback has the errno */
    WEIR_E_LIMIT = -21,        /* a configured limit (peers, dials, listeners) is reached */
    WEIR_E_FAULT = -22,        /* the peer's bytes break the wire format; see the reason */
    WEIR_E_KEY = -23,          /* a key, a key file or a node id is damaged or of another kind */
    WEIR_E_KEY_EXPOSED = -24,  /* a key file that others than its owner can read */
};
#define WEIR_ERROR_CNT 25

/* Why a connection ended, or (before it began) could not be made. Numbers are part of the wire. */
enum weir_reason {
    WEIR_R_NONE = 0,
    /* nobody's fault */
    WEIR_R_SHUTDOWN = 1,         /* a node is stopping */
    WEIR_R_APPLICATION = 2,      /* an application asked for it (weir_disconnect) */
    WEIR_R_EOF = 3,              /* the peer closed without a goodbye */
    WEIR_R_RESET = 4,            /* the connection was reset, or the network failed */
    WEIR_R_REFUSED = 5,          /* nobody listens there */
    WEIR_R_UNREACHABLE = 6,      /* no route to it */
    WEIR_R_DIAL_TIMEOUT = 7,     /* the connection was not made in time */
    WEIR_R_NAME_NOT_FOUND = 8,   /* no host has this name */
    WEIR_R_NAME_TEMPORARY = 9,   /* the name could not be looked up for now */
    WEIR_R_NAME_NO_ADDRESS = 10, /* the name has no IPv4 or IPv6 address */
    WEIR_R_NAME_TIMEOUT = 11,    /* the name was not looked up in time */
    WEIR_R_RACE = 12, /* another address of the same name was faster, or the dial was cancelled */
    /* time */
    WEIR_R_HANDSHAKE_TIMEOUT = 16, /* the handshake was not done in time */
    WEIR_R_IDLE = 17,              /* nothing, not even a pong, arrived in time */
    WEIR_R_PING_TIMEOUT = 18,      /* a ping was not answered in time */
    WEIR_R_STALLED = 19,           /* the peer did not take our bytes in time */
    /* handshake */
    WEIR_R_NOT_WEIR = 32,         /* the first bytes are not weir's */
    WEIR_R_HTTP = 33,             /* the first bytes look like HTTP */
    WEIR_R_TLS = 34,              /* the first bytes look like TLS */
    WEIR_R_WRONG_NETWORK = 35,    /* the peer is of another network */
    WEIR_R_WRONG_VERSION = 36,    /* no wire version in common */
    WEIR_R_SELF = 37,             /* we dialed ourselves */
    WEIR_R_NO_CHANNELS = 38,      /* no channel in common */
    WEIR_R_BAD_HELLO = 39,        /* the hello is malformed or contradicts itself */
    WEIR_R_CRITICAL_FEATURE = 40, /* the peer insists on a feature that is not known here */
    WEIR_R_HANDSHAKE_BYTES = 41,  /* more bytes than a handshake may have */
    /* frames */
    WEIR_R_BAD_MAGIC = 48,       /* a frame does not begin with the magic */
    WEIR_R_BAD_HEADER = 49,      /* a frame header's own check does not match */
    WEIR_R_BAD_LENGTH = 50,      /* a frame's length is above the negotiated maximum */
    WEIR_R_BAD_CHECKSUM = 51,    /* a frame's payload does not match its XXH3-64 */
    WEIR_R_BAD_CHANNEL = 52,     /* a frame names a channel that was not agreed */
    WEIR_R_BAD_KIND = 53,        /* an unknown kind that is marked critical */
    WEIR_R_BAD_RUN = 54,         /* a run's length prefixes do not add up to its payload */
    WEIR_R_BAD_FRAGMENT = 55,    /* a fragment without its beginning, or past its message's end */
    WEIR_R_BAD_CONTROL = 56,     /* a control frame's payload is malformed */
    WEIR_R_MESSAGE_TOO_BIG = 57, /* a message above the channel's maximum */
    WEIR_R_CREDIT = 58,          /* more bytes than were granted */
    WEIR_R_FLOOD = 59,           /* more control frames than a peer has reason to send */
    /* limits */
    WEIR_R_LIMIT_PEERS = 64,      /* no room for another peer */
    WEIR_R_LIMIT_MEMORY = 65,     /* the peer's or the shard's memory budget is exhausted */
    WEIR_R_OVERFLOW = 66,         /* a send queue was full and its policy is to close */
    WEIR_R_INTERNAL = 67,         /* the engine could not go on (ring or system error) */
    WEIR_R_LIMIT_INBOUND = 68,    /* as many peers as there may be have dialed us */
    WEIR_R_LIMIT_OUTBOUND = 69,   /* as many peers as there may be were dialed */
    WEIR_R_LIMIT_ADDRESS = 70,    /* too many connections with one address */
    WEIR_R_LIMIT_SUBNET = 71,     /* too many connections with one subnet */
    WEIR_R_LIMIT_RATE = 72,       /* an address or its subnet connects too often */
    WEIR_R_LIMIT_HANDSHAKES = 73, /* too many strangers are waiting for their handshake */
    WEIR_R_BANNED = 74,           /* the address is banned */
    WEIR_R_MISBEHAVED = 75,       /* the application found the peer misbehaving */
    WEIR_R_EVICTED = 76,          /* all inbound places are taken, and this one was given away */
    WEIR_R_NOT_NEEDED = 77,  /* the connection has served: it was a test, or there is another */
    WEIR_R_BAD_REQUEST = 78, /* the peer broke the protocol of requests (weir/request.h) */
    WEIR_R_BAD_GOSSIP = 79,  /* the peer broke the protocol of gossip (weir/gossip.h) */
    /* the SOCKS5 proxy that was dialed through */
    WEIR_R_PROXY_DOWN = 80,     /* the proxy itself cannot be reached */
    WEIR_R_PROXY_CLOSED = 81,   /* the proxy closed the connection before it answered */
    WEIR_R_PROXY_PROTOCOL = 82, /* the proxy's bytes are not SOCKS5 */
    WEIR_R_PROXY_METHOD = 83,   /* the proxy accepts none of the ways to authenticate */
    WEIR_R_PROXY_AUTH = 84,     /* the proxy refused user and password */
    WEIR_R_PROXY_GENERAL = 85,  /* the proxy failed, it says (reply 1) */
    WEIR_R_PROXY_RULES = 86,    /* the rules of the proxy forbid the connection (reply 2) */
    WEIR_R_PROXY_NETWORK = 87,  /* the proxy has no route to the network (reply 3) */
    WEIR_R_PROXY_HOST = 88,     /* the proxy cannot reach the host, or find its name (reply 4) */
    WEIR_R_PROXY_REFUSED = 89,  /* the target refused the proxy (reply 5) */
    WEIR_R_PROXY_TTL = 90,      /* the connection took the proxy too long (reply 6) */
    WEIR_R_PROXY_COMMAND = 91,  /* the proxy does not make connections (reply 7) */
    WEIR_R_PROXY_TYPE = 92,     /* the proxy does not know this type of address (reply 8) */
    WEIR_R_PROXY_ONION_NOT_FOUND = 93, /* the onion service has no descriptor (reply F0) */
    WEIR_R_PROXY_ONION_INVALID = 94, /* the descriptor of the onion service is invalid (reply F1) */
    WEIR_R_PROXY_ONION_INTRO =
        95, /* no introduction to the onion service was possible (reply F2) */
    WEIR_R_PROXY_ONION_RENDEZVOUS =
        96, /* the onion service did not come to the rendezvous (reply F3) */
    WEIR_R_PROXY_ONION_NO_AUTH = 97, /* the onion service wants client authorization (reply F4) */
    WEIR_R_PROXY_ONION_BAD_AUTH =
        98, /* the client authorization for the onion service is wrong (reply F5) */
    WEIR_R_PROXY_ONION_ADDRESS = 99, /* the onion address is malformed (reply F6) */
    WEIR_R_PROXY_ONION_TIMEOUT =
        100,                    /* the introduction to the onion service took too long (reply F7) */
    WEIR_R_PROXY_UNKNOWN = 101, /* the proxy failed with a code that is not known */
    /* encryption and identity */
    WEIR_R_PLAIN_REFUSED = 112,    /* the peer is plain, and this node takes encrypted peers only */
    WEIR_R_SECURE_REFUSED = 113,   /* the peer is encrypted, and this node takes plain peers only */
    WEIR_R_NETWORK_KEY = 114,      /* one side has a network key and the other has none */
    WEIR_R_HANDSHAKE_CRYPTO = 115, /* a handshake message does not open: other keys, or changed */
    WEIR_R_BAD_KEY = 116,          /* a public key of low order */
    WEIR_R_BAD_IDENTITY = 117,     /* the proof of the peer's node id does not hold */
    WEIR_R_WRONG_ID = 118,         /* another node answers than the one that was dialed */
    WEIR_R_BAD_RECORD = 119,       /* a record does not open: changed, replayed or out of order */
    WEIR_R_DUPLICATE_PEER = 120,   /* there is another connection with this node, which stays */
};
#define WEIR_REASON_CNT 121

/* Returns the code's name, as "WEIR_E_FULL"; "WEIR_E_?" for a number that is not a code.
 * Thread: any thread. */
WEIR_API const char *weir_error_name(int error);

/* Returns one sentence that says what happened.  Thread: any thread. */
WEIR_API const char *weir_error_text(int error);

/* Returns one sentence that says what to do about it, "" where nothing general can be said.
 * Thread: any thread. */
WEIR_API const char *weir_error_remedy(int error);

/* Returns the reason's name in lower case, as "bad-checksum"; "unknown" for other numbers.
 * Thread: any thread. */
WEIR_API const char *weir_reason_name(int reason);

/* Returns one sentence that says what the reason means.  Thread: any thread. */
WEIR_API const char *weir_reason_text(int reason);

#ifdef __cplusplus
}
#endif

#endif
