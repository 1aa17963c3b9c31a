/* engine/node/http.h: reads an HTTP/1.x request, byte by byte, without keeping it.
 *
 * Knows just what a scrape needs: the method, the path, the end of the headers. The bytes may come in any pieces; the
 * verdict is the same. Whatever a client sends, the state stays these few bytes.
 */
#ifndef WEIR_ENGINE_NODE_HTTP_H
#define WEIR_ENGINE_NODE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEIR_HTTP_BYTES_MAX 8192u /* of a request */
#define WEIR_HTTP_PATH_MAX 64u    /* of a path; the query behind it is skipped */

struct weir_http {
    uint8_t state;   /* enum in http.c */
    uint16_t status; /* 0: not known yet */
    uint32_t byte_cnt;
    uint32_t at; /* bytes of the current part */
    uint32_t path_len;
    bool is_get, has_query, is_path_long;
    char path[WEIR_HTTP_PATH_MAX + 1];
};

/* A zeroed one has read nothing. Takes bytes until the request is read or is none: then `status` is 200 (a GET; `path`
 * says of what), 400 (not HTTP/1.x), 405 (another method), 414 (a path that is longer), 431 (more bytes than
 * WEIR_HTTP_BYTES_MAX) or 505 (another version). Returns how many bytes it used. */
size_t weir_http_feed(struct weir_http *http, const uint8_t *bytes, size_t len);

/* The words behind a status. */
const char *weir_http_reason(uint16_t status);

#endif
