/* A proxy's answers: the first byte says how they are cut into pieces and whether credentials are there. The
 * same bytes in one piece must lead to the same end. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/peers/socks5.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t run(struct weir_socks5 *socks, const uint8_t *data, size_t size, size_t piece,
                  bool has_auth)
{
    struct weir_target target;
    WEIR_CHECK(weir_target_parse(&target, "a.example:80") == 0);
    weir_socks5_begin(socks, &target, has_auth ? "user" : NULL, has_auth ? "password" : NULL);
    size_t used = 0;
    while (used < size && socks->state < WEIR_SOCKS5_DONE) {
        size_t len = size - used < piece ? size - used : piece;
        uint8_t *copy = malloc(len);
        WEIR_CHECK(copy != NULL);
        memcpy(copy, data + used, len);
        size_t took = weir_socks5_feed(socks, copy, len);
        free(copy);
        WEIR_CHECK(took == len || socks->state >= WEIR_SOCKS5_DONE);
        used += took;
    }
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct weir_socks5 whole, cut;
    if (size == 0)
        return 0;
    bool has_auth = data[0] & 1;
    size_t piece = 1 + (data[0] >> 1);
    size_t used = run(&whole, data + 1, size - 1, size, has_auth);
    WEIR_CHECK(run(&cut, data + 1, size - 1, piece, has_auth) == used);
    WEIR_CHECK(whole.state == cut.state && whole.reason == cut.reason);
    WEIR_CHECK(whole.out_len == cut.out_len && memcmp(whole.out, cut.out, whole.out_len) == 0);
    WEIR_CHECK((whole.state == WEIR_SOCKS5_FAILED) == (whole.reason != 0));
    return 0;
}
