/* demo_plan.h: the source's files, cut once into the messages that a round consists of.
 *
 * The plan is a list of ready-made messages: first the manifest, which is sent once, then the files in
 * its order: small ones packed together, large ones in parts. When everything fits in memory each
 * message is built once and then sent by reference to every node in every round; otherwise it is read
 * anew from the page cache.
 */
#ifndef DEMO_PLAN_H
#define DEMO_PLAN_H

#include "demo.h"
#include "file_list.h"
#include "sha256.h"

struct demo_msg {
    struct weir_buf *buf; /* NULL: made when it is needed */
    uint32_t first, cnt;  /* files of a pack; a part has cnt 0 */
    uint64_t offset;      /* of a part */
    uint32_t len;         /* of the message */
    uint32_t file_bytes;  /* in it */
};

struct demo_plan {
    struct file_list files;
    uint8_t (*digests)[SHA256_BYTES];
    struct demo_msg *msgs;
    size_t cnt, cap;
    size_t manifest_cnt; /* messages at the beginning that only the first round has */
    bool is_cached;
    char fault[640]; /* why the last call failed */
};

/* Finds and hashes the files below a directory, and plans. Progress goes to the slot.
 * Returns false with a text in `fault`. */
bool demo_plan_make(struct demo_plan *plan, const char *directory, uint64_t memory_max,
                    struct demo_slot *slot);
void demo_plan_free(struct demo_plan *plan);

/* Returns one reference to message `idx`, or NULL with a text in `fault`. */
struct weir_buf *demo_plan_msg(struct demo_plan *plan, size_t idx);

#endif
