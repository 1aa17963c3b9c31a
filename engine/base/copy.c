#include "engine/base/copy.h"

#define PIECE 64u

void weir_copy_pieces(void *to, const void *from, size_t len)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    for (; len >= PIECE; len -= PIECE) {
        memcpy(out, in, PIECE);
        out += PIECE;
        in += PIECE;
        __asm__ volatile("" ::: "memory"); /* or the compiler makes the loop one memcpy again */
    }
    memcpy(out, in, len);
}
