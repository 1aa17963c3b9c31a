#include "engine/node/request_wire.h"

#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/node/hex.h"

/* docs/requests.md, in its order. */
static const struct {
    const char *name;
    const char *hex;
    struct weir_request_msg msg;
    const char *data;
} vectors[] = {
    {"ask",
     "01 00 34 12 01 04 00 00 10 27 00 00 00 00 04 00 68 69",
     {.kind = WEIR_REQUEST_ASK,
      .method = 0x1234,
      .id = 0x401,
      .timeout_ms = 10000,
      .window = 262144},
     "hi"},
    {"part",
     "02 00 00 00 01 04 00 00 00 00 00 00 00 00 00 00 61 62 63",
     {.kind = WEIR_REQUEST_PART, .id = 0x401},
     "abc"},
    {"last part",
     "02 01 00 00 01 04 00 00 03 00 00 00 01 00 00 00 64",
     {.kind = WEIR_REQUEST_PART, .is_last = true, .id = 0x401, .offset = (UINT64_C(1) << 32) + 3},
     "d"},
    {"error",
     "03 00 00 00 01 04 00 00 10 00 00 00 6e 6f",
     {.kind = WEIR_REQUEST_ERROR, .id = 0x401, .code = 16},
     "no"},
    {"grant",
     "04 00 00 00 01 04 00 00 00 00 08 00 00 00 00 00",
     {.kind = WEIR_REQUEST_GRANT, .id = 0x401, .offset = 524288},
     ""},
    {"cancel", "05 00 00 00 01 04 00 00", {.kind = WEIR_REQUEST_CANCEL, .id = 0x401}, ""},
};

Test(request_wire, messages_are_written_and_read_as_the_page_says)
{
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        uint8_t want[64], head[WEIR_REQUEST_BYTES_MAX];
        uint32_t len = from_hex(want, vectors[i].hex);
        uint32_t data_len = (uint32_t)strlen(vectors[i].data);
        uint32_t head_len = weir_request_write(head, &vectors[i].msg);
        cr_assert_eq(head_len + data_len, len, "%s", vectors[i].name);
        cr_assert_arr_eq(head, want, head_len, "%s", vectors[i].name);
        struct weir_request_msg msg;
        cr_assert_eq(weir_request_parse(&msg, want, len), WEIR_REQUEST_IS_KNOWN);
        cr_assert_eq(msg.kind, vectors[i].msg.kind);
        cr_assert_eq(msg.is_last, vectors[i].msg.is_last);
        cr_assert_eq(msg.method, vectors[i].msg.method);
        cr_assert_eq(msg.id, vectors[i].msg.id);
        cr_assert_eq(msg.timeout_ms, vectors[i].msg.timeout_ms);
        cr_assert_eq(msg.window, vectors[i].msg.window);
        cr_assert_eq(msg.code, vectors[i].msg.code);
        cr_assert_eq(msg.offset, vectors[i].msg.offset);
        cr_assert_eq(msg.len, data_len);
        cr_assert_arr_eq(msg.data, vectors[i].data, data_len);
        for (uint32_t cut = 0; cut < head_len; cut++) /* valid becoming invalid */
            cr_assert_eq(weir_request_parse(&msg, want, cut), WEIR_REQUEST_IS_BAD, "%s cut to %u",
                         vectors[i].name, cut);
    }
}

static int parse_hex(const char *hex)
{
    uint8_t bytes[512] = {0};
    struct weir_request_msg msg;
    return weir_request_parse(&msg, bytes, from_hex(bytes, hex));
}

Test(request_wire, what_breaks_the_rules_is_told)
{
    static const char *const bad[] = {
        "",
        "00 00 00 00 01 00 00 00", /* no such kind */
        "06 00 00 00 01 00 00 00", /* nor this, and it is critical */
        "05 01 00 00 01 00 00 00", /* a flag that it has not */
        "02 02 00 00 01 00 00 00 00 00 00 00 00 00 00 00 61",
        "05 00 01 00 01 00 00 00",    /* a method where none is */
        "05 00 00 00 01 00 00 00 00", /* bytes behind its end */
        "04 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00",
        "02 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00",    /* a part of nothing, not the last */
        "02 01 00 00 01 00 00 00 ff ff ff ff ff ff ff ff 61", /* past the end of numbers */
        "03 00 00 00 01 00 00 00 00 00 00 00",                /* error 0 */
        "03 00 00 00 01 00 00 00 00 00 00 80",                /* above 2^31 - 1 */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(parse_hex(bad[i]), WEIR_REQUEST_IS_BAD, "%s", bad[i]);
    cr_assert_eq(parse_hex("80 07 01 02 03 04 05 06"), WEIR_REQUEST_IS_UNKNOWN);
    cr_assert_eq(parse_hex("02 01 00 00 01 00 00 00 00 00 00 00 00 00 00 00"),
                 WEIR_REQUEST_IS_KNOWN, "an empty answer");
    uint8_t text[12 + 256] = {3, [8] = 1};
    struct weir_request_msg msg;
    cr_assert_eq(weir_request_parse(&msg, text, 12 + 255), WEIR_REQUEST_IS_KNOWN);
    cr_assert_eq(weir_request_parse(&msg, text, 12 + 256), WEIR_REQUEST_IS_BAD);
}
