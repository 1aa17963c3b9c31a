/* A scrape's request: the first byte says how it is cut into pieces. In one piece it must lead to the same verdict, and
 * what is accepted must be what an independent look at the text finds: a GET, a path, HTTP/1.x, an empty line. */
#include "engine/node/http.h"
#include "tests/fuzz/fuzz.h"

static size_t run(struct weir_http *http, const uint8_t *data, size_t size, uint64_t cut)
{
    size_t used = 0;
    *http = (struct weir_http){0};
    while (used < size && !http->status) {
        size_t len = fuzz_chunk(&cut, size - used);
        uint8_t *copy = fuzz_copy(data + used, len);
        size_t took = weir_http_feed(http, copy, len);
        free(copy);
        FUZZ_CHECK(took == len || http->status != 0);
        used += took;
    }
    return used;
}

static void check_accepted(const struct weir_http *http, const uint8_t *data, size_t used)
{
    FUZZ_CHECK(used <= WEIR_HTTP_BYTES_MAX && used >= 14 && data[used - 1] == '\n');
    FUZZ_CHECK(data[used - 2] == '\n' || (data[used - 2] == '\r' && data[used - 3] == '\n'));
    FUZZ_CHECK(memcmp(data, "GET ", 4) == 0);
    const uint8_t *end = memchr(data + 4, ' ', used - 4);
    FUZZ_CHECK(end != NULL && memcmp(end, " HTTP/1.", 8) == 0);
    const uint8_t *query = memchr(data + 4, '?', (size_t)(end - data - 4));
    size_t len = (size_t)((query ? query : end) - data - 4);
    FUZZ_CHECK(strlen(http->path) == len && memcmp(http->path, data + 4, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_http whole, cut;
    if (size == 0)
        return 0;
    size_t used = run(&whole, data + 1, size - 1, 0);
    FUZZ_CHECK(run(&cut, data + 1, size - 1, 1 + data[0]) == used);
    FUZZ_CHECK(memcmp(&whole, &cut, sizeof(whole)) == 0);
    FUZZ_CHECK(strlen(whole.path) <= WEIR_HTTP_PATH_MAX);
    if (whole.status == 200)
        check_accepted(&whole, data + 1, used);
    FUZZ_CHECK(whole.status == 0 || strcmp(weir_http_reason(whole.status), "Unknown") != 0);
    return 0;
}
