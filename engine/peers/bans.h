/* engine/peers/bans.h: prefixes that are banned, until when and why; and the text they are kept in.
 *
 * Times are seconds of the wall clock, because a ban outlives the process and the machine's uptime. The table
 * is bounded: a ban of the engine's own making drives the engine's ban that ends first out, never an
 * operator's. Nothing here takes a lock, reads a clock or touches a file.
 *
 * The text, one line per ban, so that a damaged line costs one ban and no more:
 *     weir-bans 1
 *     PREFIX SINCE UNTIL auto|manual REASON HASH     UNTIL "never"; HASH: XXH3-64 of what stands before it
 *     end COUNT HASH                                 XXH3-64 of all lines before it
 */
#ifndef WEIR_ENGINE_PEERS_BANS_H
#define WEIR_ENGINE_PEERS_BANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/addr.h"

#define WEIR_BAN_FOREVER UINT64_MAX
#define WEIR_BAN_LINE_BYTES 160u

struct weir_ban_entry {
    struct weir_prefix prefix;
    uint64_t since_s, until_s;
    uint16_t reason; /* enum weir_reason */
    bool is_manual;
};

struct weir_bans;

/* Errors: WEIR_E_NOMEM. */
int weir_bans_create(struct weir_bans **ret_bans, uint32_t ban_max);
void weir_bans_free(struct weir_bans *bans);

/* Bans, or replaces the ban of the same prefix; an automatic one never shortens or replaces a manual one.
 * Errors: WEIR_E_LIMIT (the table is full of manual bans, or the new one is automatic and all end later). */
int weir_bans_add(struct weir_bans *bans, const struct weir_ban_entry *entry, uint64_t now_s);

/* False: that prefix is not banned. */
bool weir_bans_remove(struct weir_bans *bans, const struct weir_prefix *prefix);

/* The ban that holds for an address now, NULL for none. */
const struct weir_ban_entry *weir_bans_find(const struct weir_bans *bans,
                                            const struct weir_addr *addr, uint64_t now_s);

/* Drops what has ended; returns how many. */
uint32_t weir_bans_expire(struct weir_bans *bans, uint64_t now_s);

uint32_t weir_bans_cnt(const struct weir_bans *bans);
const struct weir_ban_entry *weir_bans_at(const struct weir_bans *bans, uint32_t idx);

/* Writes the text and returns its length; needs (count + 2) * WEIR_BAN_LINE_BYTES. */
size_t weir_bans_format(const struct weir_bans *bans, char *ret_text);

struct weir_bans_read {
    uint32_t ban_cnt;      /* taken */
    uint32_t expired_cnt;  /* good, and over */
    uint32_t damaged_cnt;  /* lines that are not what was written */
    uint32_t damaged_line; /* the first of them */
    uint32_t dropped_cnt;  /* good, but there was no room */
    bool is_cut;           /* the last line is missing or does not match */
};

/* Takes all good lines of a text. */
void weir_bans_parse(struct weir_bans *bans, const char *text, size_t len, uint64_t now_s,
                     struct weir_bans_read *ret_read);

#endif
