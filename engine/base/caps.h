/* engine/base/caps.h: what a node can do for others, as a small set of names: "archive,relay".
 *
 * A set is one text: names of 1 to 15 of a-z, 0-9 and '-', in order, each once, with commas between, at most 45
 * bytes in all. So a set is compared by its bytes, and what a stranger can make us keep is bounded. What the
 * names mean is the application's affair.
 */
#ifndef WEIR_ENGINE_BASE_CAPS_H
#define WEIR_ENGINE_BASE_CAPS_H

#include <stdbool.h>
#include <stddef.h>

#define WEIR_CAP_BYTES_MAX 15u
#define WEIR_CAPS_BYTES 46u /* of a set, with its zero */

/* Whether `len` bytes are a set as it is written, or a name. */
bool weir_caps_is_good(const char *text, size_t len);
bool weir_cap_is_good(const char *name, size_t len);

/* Makes a set of names in any order, perhaps twice, with commas between; "" is the empty one.
 * Errors: WEIR_E_CONFIG (a name that is none, too many bytes). */
int weir_caps_parse(char ret_caps[WEIR_CAPS_BYTES], const char *text);

/* Whether the name is in the set. */
bool weir_caps_has(const char *caps, const char *name);

#endif
