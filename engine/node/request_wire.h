/* engine/node/request_wire.h: the messages of the requests' channel, to and from bytes (docs/requests.md). */
#ifndef WEIR_ENGINE_NODE_REQUEST_WIRE_H
#define WEIR_ENGINE_NODE_REQUEST_WIRE_H

#include <stdbool.h>
#include <stdint.h>

enum weir_request_kind {
    WEIR_REQUEST_ASK = 1,
    WEIR_REQUEST_PART = 2,
    WEIR_REQUEST_ERROR = 3,
    WEIR_REQUEST_GRANT = 4,
    WEIR_REQUEST_CANCEL = 5,
};

#define WEIR_REQUEST_OPTIONAL 0x80u /* of a kind: who does not know it skips the message */
#define WEIR_REQUEST_LAST 0x01u     /* flag of PART */
#define WEIR_REQUEST_BYTES_MAX 16u  /* the longest head */

struct weir_request_msg {
    uint8_t kind;
    bool is_last;    /* PART */
    uint16_t method; /* ASK */
    uint32_t id;
    uint32_t timeout_ms; /* ASK; 0: none */
    uint32_t window;     /* ASK */
    uint32_t code;       /* ERROR */
    uint64_t offset;     /* PART: of its bytes; GRANT: the limit */
    const uint8_t *data; /* ASK, PART: bytes; ERROR: text */
    uint32_t len;
};

enum weir_request_parsed {
    WEIR_REQUEST_IS_BAD = -1,    /* breaks the protocol */
    WEIR_REQUEST_IS_UNKNOWN = 0, /* of an optional kind: skip it */
    WEIR_REQUEST_IS_KNOWN = 1,
};

/* Takes a message apart; `ret_msg->data` points into `bytes`. Returns enum weir_request_parsed. */
int weir_request_parse(struct weir_request_msg *ret_msg, const uint8_t *bytes, uint32_t len);

/* Writes the head of a message, everything in front of `data`. Returns its length. */
uint32_t weir_request_write(uint8_t ret_head[WEIR_REQUEST_BYTES_MAX],
                            const struct weir_request_msg *msg);

#endif
