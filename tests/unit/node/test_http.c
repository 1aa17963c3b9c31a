#include <criterion/criterion.h>
#include <string.h>

#include "engine/node/http.h"

struct request {
    const char *text;
    uint16_t status; /* 0: more is needed */
    const char *path;
};

#define LONG_60 "/23456789a123456789b123456789c123456789d123456789e123456789"

static const struct request requests[] = {
    {"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 200, "/metrics"},
    {"GET /metrics HTTP/1.0\r\n\r\n", 200, "/metrics"},
    {"GET /metrics HTTP/1.1\n\n", 200, "/metrics"},
    {"GET /metrics?name[]=x&y=%20 HTTP/1.1\r\nA:\tb c\r\nUser-Agent: \xFF\r\n\r\n", 200,
     "/metrics"},
    {"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /more HTTP/1.1\r\n\r\n", 200, "/"},
    {"GET * HTTP/1.1\r\n\r\n", 200, "*"},
    {"GET " LONG_60 "abcde HTTP/1.1\r\n\r\n", 200, LONG_60 "abcde"},
    {"GET " LONG_60 "abcdef HTTP/1.1\r\n\r\n", 414, LONG_60 "abcde"},
    {"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405, "/metrics"},
    {"HEAD /metrics HTTP/1.1\r\n\r\n", 405, "/metrics"},
    {"GETS /metrics HTTP/1.1\r\n\r\n", 405, "/metrics"},
    {"GE /metrics HTTP/1.1\r\n\r\n", 405, "/metrics"},
    {"get /metrics HTTP/1.1\r\n\r\n", 405, "/metrics"},
    {"SEVENTEENLETTERSX / HTTP/1.1\r\n\r\n", 400, ""},
    {" GET / HTTP/1.1\r\n\r\n", 400, ""},
    {"\r\n", 400, ""},
    {"GET  / HTTP/1.1\r\n\r\n", 400, ""},
    {"GET metrics HTTP/1.1\r\n\r\n", 400, ""},
    {"GET http://a/ HTTP/1.1\r\n\r\n", 400, ""},
    {"GET /a\tb HTTP/1.1\r\n\r\n", 400, "/a"},
    {"GET /\x80 HTTP/1.1\r\n\r\n", 400, "/"},
    {"GET /\r\n\r\n", 400, "/"},
    {"GET / HTTP/1.1 \r\n\r\n", 400, "/"},
    {"GET / HTTP/2.0\r\n\r\n", 505, "/"},
    {"GET / HTTP/11\r\n\r\n", 400, "/"},
    {"GET / http/1.1\r\n\r\n", 400, "/"},
    {"GET / HTTP/1.x\r\n\r\n", 400, "/"},
    {"GET / HTTP/1.1\rA: b\r\n\r\n", 400, "/"},
    {"GET / HTTP/1.1\r\n folded: b\r\n\r\n", 400, "/"},
    {"GET / HTTP/1.1\r\nName : b\r\n\r\n", 400, "/"},
    {"GET / HTTP/1.1\r\nNo colon\r\n\r\n", 400, "/"},
    {"GET / HTTP/1.1\r\nA: \x01\r\n\r\n", 400, "/"},
    {"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", 400, "/"},
    {"GET / HTTP/1.1\r\n\rx", 400, "/"},
    {"\x16\x03\x01\x02", 400, ""},
    {"GET / HTTP/1.1\r\nHost: a\r\n", 0, "/"},
    {"", 0, ""},
};

Test(http, requests_have_their_verdict_however_they_are_cut)
{
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        const struct request *request = &requests[i];
        size_t len = strlen(request->text), whole = 0;
        for (size_t piece = len ? len : 1; piece > 0; piece--) {
            struct weir_http http = {0};
            size_t used = 0;
            for (size_t at = 0; at < len && !http.status; at += piece) {
                size_t left = len - at < piece ? len - at : piece;
                used += weir_http_feed(&http, (const uint8_t *)request->text + at, left);
            }
            if (piece >= len)
                whole = used;
            cr_assert_eq(http.status, request->status, "request %zu in pieces of %zu: %u", i, piece,
                         http.status);
            cr_assert_str_eq(http.path, request->path, "request %zu", i);
            cr_assert_eq(used, whole, "request %zu in pieces of %zu", i, piece);
        }
    }
}

Test(http, what_follows_a_request_is_left_alone)
{
    static const char text[] = "GET / HTTP/1.1\r\n\r\nmore";
    struct weir_http http = {0};
    cr_assert_eq(weir_http_feed(&http, (const uint8_t *)text, sizeof(text) - 1), sizeof(text) - 5);
    cr_assert_eq(weir_http_feed(&http, (const uint8_t *)"more", 4), 0);
    cr_assert_eq(http.status, 200);
}

Test(http, a_request_has_a_bound)
{
    static const char head[] = "GET / HTTP/1.1\r\n";
    struct weir_http http = {0};
    size_t sum = weir_http_feed(&http, (const uint8_t *)head, sizeof(head) - 1);
    while (!http.status && sum < 2 * WEIR_HTTP_BYTES_MAX)
        sum += weir_http_feed(&http, (const uint8_t *)"A: b\r\n", 6);
    cr_assert_eq(http.status, 431);
    cr_assert_eq(sum, WEIR_HTTP_BYTES_MAX);
    /* One that ends with the last byte that there may be is a request. */
    http = (struct weir_http){0};
    sum = weir_http_feed(&http, (const uint8_t *)"GET / HTTP/1.1\r\nA: ", 19);
    while (sum < WEIR_HTTP_BYTES_MAX - 4)
        sum += weir_http_feed(&http, (const uint8_t *)"b", 1);
    sum += weir_http_feed(&http, (const uint8_t *)"\r\n\r\n", 4);
    cr_assert_eq(http.status, 200);
    cr_assert_eq(sum, WEIR_HTTP_BYTES_MAX);
}

Test(http, every_status_has_its_words)
{
    static const uint16_t known[] = {200, 400, 404, 405, 414, 431, 503, 505};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        cr_assert_str_neq(weir_http_reason(known[i]), "Unknown");
    cr_assert_str_eq(weir_http_reason(299), "Unknown");
}
