/* proto/pex.h: the messages of peer exchange: what a node says of itself, asks and answers (docs/discovery.md).
 *
 *   about    once, first, by each side
 *   ask      for up to 250 addresses, perhaps only such that have a capability
 *   answer   to one ask, by its number
 *
 * Integers are little-endian. A reader takes a message whole or not at all: a length that does not add up, more
 * records than announced, bytes behind the end are all "malformed".
 */
#ifndef WEIR_PROTO_PEX_H
#define WEIR_PROTO_PEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/caps.h"
#include "engine/base/place.h"

#define WEIR_PEX_PLACES_MAX 250u
#define WEIR_PEX_RECORD_BYTES_MAX (8u + 16u + WEIR_CAPS_BYTES - 1u)
#define WEIR_PEX_BYTES_MAX (8u + WEIR_PEX_PLACES_MAX * WEIR_PEX_RECORD_BYTES_MAX)

enum weir_pex_kind {
    WEIR_PEX_MALFORMED = 0,
    WEIR_PEX_ABOUT = 1,
    WEIR_PEX_ASK = 2,
    WEIR_PEX_ANSWER = 3,
    WEIR_PEX_OTHER = 255, /* a kind that is not known: from a later version, to be ignored */
};

enum weir_pex_flags {
    WEIR_PEX_PRIVATE = 1u << 0, /* tell nobody about me */
    WEIR_PEX_CRAWLER = 1u << 1, /* I answer once and disconnect */
};

struct weir_pex_about {
    uint32_t flags;          /* 16 bits on the wire; unknown ones mean nothing */
    uint64_t nonce;          /* of this process: decides which of two connections stays */
    uint16_t port;           /* where it listens; 0: nowhere */
    struct weir_place place; /* where it can be reached, if it knows; family 0: it does not */
    char caps[WEIR_CAPS_BYTES];
};

struct weir_pex_ask {
    uint32_t id;
    uint16_t place_max;               /* 1 to 250 */
    char cap[WEIR_CAP_BYTES_MAX + 1]; /* "": any */
};

struct weir_pex_record {
    struct weir_place place;
    uint32_t age_s; /* since somebody was connected to it */
    char caps[WEIR_CAPS_BYTES];
};

struct weir_pex_answer {
    uint32_t id;
    uint16_t record_cnt;
    struct weir_pex_record records[WEIR_PEX_PLACES_MAX];
};

/* Each writes a message and returns its length; `ret_bytes` has WEIR_PEX_BYTES_MAX. */
size_t weir_pex_put_about(const struct weir_pex_about *about, uint8_t *ret_bytes);
size_t weir_pex_put_ask(const struct weir_pex_ask *ask, uint8_t *ret_bytes);
size_t weir_pex_put_answer(const struct weir_pex_answer *answer, uint8_t *ret_bytes);

/* Says what a message is, by its first byte. */
enum weir_pex_kind weir_pex_kind(const uint8_t *bytes, size_t len);

/* Each reads a message of its kind; false: malformed. Places that are no use to anybody are left out. */
bool weir_pex_get_about(const uint8_t *bytes, size_t len, struct weir_pex_about *ret_about);
bool weir_pex_get_ask(const uint8_t *bytes, size_t len, struct weir_pex_ask *ret_ask);
bool weir_pex_get_answer(const uint8_t *bytes, size_t len, struct weir_pex_answer *ret_answer);

#endif
