/* Everything that a peer may say first to a dialer: tests/fuzz/handshake.h. */
#include "tests/fuzz/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    handshake_one(data, size, true);
    return 0;
}
