/* engine/base/copy.h: memcpy for what may be long, without its trap.
 *
 * A long memcpy is one `rep movsb` where the processor says that this is fast (ERMS; the C library of Debian 12 does so from
 * 4 KiB on). On AMD's Zen 3 and 4 that one has a hole: where the destination is 1 to 31 bytes beyond the source, counted
 * within a page of 4 KiB, it moves 2 bytes in a nanosecond instead of 45, and where it is 33 to 63 beyond, a third of
 * that for 16 KiB (docs/performance.md, "A hole in rep movsb"; sourceware bug 30994). What stands behind a header or a
 * length is just there when its source begins a page. In that relation the bytes go in pieces of 64 instead.
 */
#ifndef WEIR_ENGINE_BASE_COPY_H
#define WEIR_ENGINE_BASE_COPY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WEIR_COPY_PAGE 4096u
#define WEIR_COPY_HOLE 64u       /* the relation, in bytes: 1 to 63 */
#define WEIR_COPY_LONG_MIN 2048u /* below nobody takes rep movsb */

/* As memcpy, in pieces of 64 bytes. */
void weir_copy_pieces(void *to, const void *from, size_t len);

/* As memcpy: `len` bytes, which do not overlap. */
static inline void weir_copy(void *to, const void *from, size_t len)
{
    uintptr_t beyond = ((uintptr_t)to - (uintptr_t)from) % WEIR_COPY_PAGE;
    if (len >= WEIR_COPY_LONG_MIN && beyond - 1 < WEIR_COPY_HOLE - 1)
        weir_copy_pieces(to, from, len);
    else
        memcpy(to, from, len);
}

#endif
