/* weir/base.h: the words every other public header uses: the export mark, versions, time, ids.
 *
 * ABI rules (they hold for every public header):
 *  - handles are opaque pointers or small structs of fixed-width integers;
 *  - a struct that the caller fills begins with `uint32_t size`, its size when the caller was
 *    compiled; new fields are only ever added at its end, and a field that a caller does not know
 *    keeps its default. A struct that is larger than this library knows is taken when everything
 *    beyond the known part is zero, otherwise WEIR_E_VERSION; a size below 4 or above 65,536 is
 *    WEIR_E_CONFIG;
 *  - a struct that the library fills in says its size as well: so many bytes of it are written, and
 *    a size above what this library knows is WEIR_E_VERSION;
 *  - NULL where something is needed is WEIR_E_MISUSE, whether a function names it or not;
 *  - no macro is needed to call anything.
 */
#ifndef WEIR_BASE_H
#define WEIR_BASE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define WEIR_API __attribute__((visibility("default")))
#define WEIR_MUST_CHECK __attribute__((warn_unused_result))
#else
#define WEIR_API
#define WEIR_MUST_CHECK
#endif

#define WEIR_VERSION_MAJOR 0
#define WEIR_VERSION_MINOR 1
#define WEIR_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

/* Nanoseconds: a point on CLOCK_MONOTONIC, or a length of time. */
typedef uint64_t weir_ns;

#define WEIR_NS_PER_US UINT64_C(1000)
#define WEIR_NS_PER_MS UINT64_C(1000000)
#define WEIR_NS_PER_S UINT64_C(1000000000)
#define WEIR_NS_FOREVER UINT64_MAX

/* One peer: shard, slot and generation packed. {0} is nobody. An id is never used again for another
 * peer within 2^32 connections of the same slot; a stale one answers WEIR_E_GONE. */
typedef struct weir_peer {
    uint64_t v;
} weir_peer;

/* Returns the library's version as "MAJOR.MINOR.PATCH", a constant string.
 * Thread: any thread. */
WEIR_API const char *weir_version(void);

#ifdef __cplusplus
}
#endif

#endif
