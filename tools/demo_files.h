/* demo_files.h: the files of one round as they arrive at a sink, and their comparison.
 *
 * Pieces come in the manifest's order without gaps, so a cursor (file, offset) is all the state there
 * is, and whatever does not fit at the cursor is a fault.
 */
#ifndef DEMO_FILES_H
#define DEMO_FILES_H

#include "demo.h"

struct demo_files;

/* Returns NULL when memory or SHA-256 is missing, or after reporting that `node->out` cannot be used. */
struct demo_files *demo_files_create(struct demo_node *node, uint64_t memory_max);
void demo_files_free(struct demo_files *files);

/* Takes one message of the bulk channel that is not FIN. Returns false after demo_fail(). */
bool demo_files_take(struct demo_files *files, const uint8_t *data, uint32_t len);

/* Whether the first round is complete, with every file verified. */
bool demo_files_are_copied(const struct demo_files *files);

#endif
