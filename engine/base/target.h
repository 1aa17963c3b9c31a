/* engine/base/target.h: what can be dialed, as a value: a socket address, or a host name with a port.
 *
 * A name is as RFC 1123, 2.1 has it, with underscores, which are in use: labels of 1 to 63 letters, digits,
 * '-' and '_' that neither begin nor end with '-', up to 253 bytes in all, perhaps with the dot of an
 * absolute name behind it. Its last label is not a number, so that no damaged IPv4 address is looked up as a
 * name. It is kept in lower case: names that differ in case only are one.
 */
#ifndef WEIR_ENGINE_BASE_TARGET_H
#define WEIR_ENGINE_BASE_TARGET_H

#include <stdbool.h>

#include "engine/base/addr.h"

#define WEIR_NAME_LEN_MAX 253u
#define WEIR_TARGET_TEXT_BYTES 264 /* enough for every text form with its NUL */

struct weir_target {
    struct weir_addr addr;            /* family WEIR_ADDR_NONE for a name, whose port is here too */
    char name[WEIR_NAME_LEN_MAX + 2]; /* "" for an address; perhaps with the final dot */
    bool has_id;                      /* set by whoever takes "ID@" off the front */
    uint8_t id[32];                   /* the only node that is accepted there */
};

/* Parses what weir_addr_parse takes, or "NAME:PORT" with a port that is not 0.
 * Errors: WEIR_E_ADDRESS; `*ret_target` is untouched then. */
int weir_target_parse(struct weir_target *ret_target, const char *text);

/* Writes the text form that weir_target_parse reads; `ret_text` has WEIR_TARGET_TEXT_BYTES. */
void weir_target_format(const struct weir_target *target, char *ret_text);

/* Whether they are one place; ids are not compared. */
bool weir_target_is_equal(const struct weir_target *a, const struct weir_target *b);

/* Whether `asked` means `dialed`: a place alone means every dial there, one with an id the dial for this node. */
bool weir_target_means(const struct weir_target *asked, const struct weir_target *dialed);

/* A target in as little memory as it takes: 57 bytes for an address. Who keeps thousands keeps these. */
struct weir_target_kept {
    uint32_t scope_id;
    uint16_t port;
    uint8_t family;
    bool has_id;
    uint8_t ip[16];
    uint8_t id[32];
    char text[]; /* the path or the name, with its NUL */
};

/* What the kept form of a target takes. */
size_t weir_target_kept_bytes(const struct weir_target *target);

/* Writes the kept form, of weir_target_kept_bytes bytes. */
void weir_target_keep(struct weir_target_kept *ret_kept, const struct weir_target *target);

/* The target again. */
void weir_target_restore(struct weir_target *ret_target, const struct weir_target_kept *kept);

/* As weir_target_means, of one that is kept. */
bool weir_target_means_kept(const struct weir_target *asked, const struct weir_target_kept *dialed);

static inline bool weir_target_is_name(const struct weir_target *target)
{
    return target->addr.family == WEIR_ADDR_NONE;
}

/* Whether a name is under .onion: to be given to a proxy, and never to the DNS (RFC 7686, 2). */
bool weir_target_is_onion(const struct weir_target *target);

/* Whether `len` bytes are a name, the final dot included. */
bool weir_name_is_valid(const char *name, size_t len);

#endif
