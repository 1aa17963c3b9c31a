/* engine/peers/bans.h: prefixes and node ids that are banned, until when and why; and the text they are kept in.
 *
 * Times are seconds of the wall clock, because a ban outlives the process and the machine's uptime. The table
 * is bounded: a ban of the engine's own making drives the engine's ban that ends first out, never an
 * operator's. Nothing here takes a lock, reads a clock or touches a file.
 *
 * The text, one line per ban, so that a damaged line costs one ban and no more:
 *     weir-bans 1
 *     WHOM SINCE UNTIL auto|manual REASON HASH       WHOM: a prefix or a node id; UNTIL "never"; HASH: XXH3-64 of
 *                                                    what stands before it
 *     end COUNT HASH                                 XXH3-64 of all lines before it
 */
#ifndef WEIR_ENGINE_PEERS_BANS_H
#define WEIR_ENGINE_PEERS_BANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/addr.h"
#include "weir/key.h"

#define WEIR_BAN_FOREVER UINT64_MAX
#define WEIR_BAN_LINE_BYTES 160u
#define WEIR_BAN_WHOM_BYTES 72u /* of a prefix or an id as text, with its NUL */

struct weir_ban_entry {
    struct weir_prefix
        prefix; /* family WEIR_ADDR_NONE, and all else of it zero: it is about `id` */
    uint8_t id[WEIR_ID_BYTES]; /* zero with a prefix */
    uint64_t since_s, until_s;
    uint16_t reason; /* enum weir_reason */
    bool is_manual;
};

struct weir_bans;

/* Errors: WEIR_E_NOMEM. */
int weir_bans_create(struct weir_bans **ret_bans, uint32_t ban_max);
void weir_bans_free(struct weir_bans *bans);

/* Reads whom a ban is about, "192.0.2.0/24" or a node id; the rest of the entry stays. Errors: WEIR_E_ADDRESS,
 * WEIR_E_KEY (it begins like an id and is none). */
int weir_ban_whom_parse(struct weir_ban_entry *ret_entry, const char *text);
void weir_ban_whom_format(const struct weir_ban_entry *entry, char ret_text[WEIR_BAN_WHOM_BYTES]);

/* Bans, or replaces the ban of the same prefix or id; an automatic one never shortens or replaces a manual one.
 * Errors: WEIR_E_LIMIT (the table is full of manual bans, or the new one is automatic and all end later). */
int weir_bans_add(struct weir_bans *bans, const struct weir_ban_entry *entry, uint64_t now_s);

/* Ends the ban of exactly what `whom` is about. False: there is none. */
bool weir_bans_remove(struct weir_bans *bans, const struct weir_ban_entry *whom);

/* The ban that holds for an address now, NULL for none. */
const struct weir_ban_entry *weir_bans_find(const struct weir_bans *bans,
                                            const struct weir_addr *addr, uint64_t now_s);

/* The same for a node id. */
const struct weir_ban_entry *weir_bans_find_id(const struct weir_bans *bans,
                                               const uint8_t id[WEIR_ID_BYTES], uint64_t now_s);

/* Drops what has ended; returns how many. */
uint32_t weir_bans_expire(struct weir_bans *bans, uint64_t now_s);

uint32_t weir_bans_cnt(const struct weir_bans *bans);
const struct weir_ban_entry *weir_bans_at(const struct weir_bans *bans, uint32_t idx);

/* Writes the text and returns its length; needs (count + 2) * WEIR_BAN_LINE_BYTES. */
size_t weir_bans_format(const struct weir_bans *bans, char *ret_text);

/* One line, its newline included: writes it and returns its length; reads one (`len` without the newline; the text
 * is changed). False: it is not what was written. */
size_t weir_ban_line_format(const struct weir_ban_entry *entry, char ret_line[WEIR_BAN_LINE_BYTES]);
bool weir_ban_line_parse(char *line, size_t len, struct weir_ban_entry *ret_entry);

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
