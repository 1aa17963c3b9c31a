/* tests/sanitized.h: whether this build looks for faults of memory, and takes several times as long. */
#ifndef WEIR_TESTS_SANITIZED_H
#define WEIR_TESTS_SANITIZED_H

#include <stdint.h>
#include <stdlib.h>

/* How many nodes, lives or seeds a test has: `all`, or with sanitizers `few`, where what the test asserts holds for them
 * too. The release runs all of them, though without the engine's own assertions. (The other way round in test_fault_loops.) */
static inline uint32_t all_or_few(uint32_t all, uint32_t few)
{
    const char *sanitizer = getenv("WEIR_SANITIZE"); /* ctest sets it */
    return sanitizer && *sanitizer ? few : all;
}

#endif
