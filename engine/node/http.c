#include "engine/node/http.h"

#include <string.h>

#define METHOD_MAX 16u

/* Source: RFC 9112, 2.2 (lines; a lone LF is taken for a line's end), 3 (request line), 5 (headers). */
enum state {
    IN_METHOD = 0,
    IN_PATH,
    IN_VERSION,
    AT_LINE_END, /* a CR was there */
    AT_LINE,     /* a header, or the empty line */
    AT_END,      /* a CR that should be the empty line's */
    IN_NAME,
    IN_VALUE
};

static const char version_text[] = "HTTP/1.";

/* RFC 9110, 5.6.2. */
static bool is_token(uint8_t byte)
{
    return byte > 0x20 && byte < 0x7F && !strchr("\"(),/:;<=>?@[\\]{}", byte);
}

static uint16_t end(const struct weir_http *http)
{
    if (!http->is_get)
        return 405;
    return http->is_path_long ? 414 : 200;
}

static uint16_t on_method(struct weir_http *http, uint8_t byte)
{
    if (byte == ' ' && http->at) {
        http->is_get &= http->at == 3;
        http->state = IN_PATH;
        http->at = 0;
        return 0;
    }
    if (!is_token(byte) || http->at == METHOD_MAX)
        return 400;
    if (http->at == 0)
        http->is_get = true;
    http->is_get &= http->at < 3 && byte == (uint8_t) "GET"[http->at];
    http->at++;
    return 0;
}

static uint16_t on_path(struct weir_http *http, uint8_t byte)
{
    if (byte == ' ' && http->at) {
        http->state = IN_VERSION;
        http->at = 0;
        return 0;
    }
    if (byte <= 0x20 || byte >= 0x7F || (http->at == 0 && byte != '/' && byte != '*'))
        return 400;
    http->at++;
    http->has_query |= byte == '?';
    if (http->has_query)
        return 0;
    if (http->path_len == WEIR_HTTP_PATH_MAX)
        http->is_path_long = true;
    else
        http->path[http->path_len++] = (char)byte;
    return 0;
}

static uint16_t on_version(struct weir_http *http, uint8_t byte)
{
    size_t len = sizeof(version_text) - 1;
    if (http->at < len) {
        /* "HTTP/2.0" is a version that is not ours; anything else is none. */
        if (byte != (uint8_t)version_text[http->at])
            return http->at == 5 && byte >= '0' && byte <= '9' ? 505 : 400;
    } else if (http->at == len) {
        if (byte < '0' || byte > '9')
            return 400;
    } else if (byte == '\r') {
        http->state = AT_LINE_END;
        return 0;
    } else if (byte == '\n') {
        http->state = AT_LINE;
        return 0;
    } else {
        return 400;
    }
    http->at++;
    return 0;
}

static uint16_t on_byte(struct weir_http *http, uint8_t byte)
{
    switch ((enum state)http->state) {
    case IN_METHOD:
        return on_method(http, byte);
    case IN_PATH:
        return on_path(http, byte);
    case IN_VERSION:
        return on_version(http, byte);
    case AT_LINE_END:
        http->state = AT_LINE;
        return byte == '\n' ? 0 : 400;
    case AT_LINE:
        if (byte == '\r')
            http->state = AT_END;
        else if (byte == '\n')
            return end(http);
        else if (is_token(byte))
            http->state = IN_NAME;
        else
            return 400;
        return 0;
    case AT_END:
        return byte == '\n' ? end(http) : 400;
    case IN_NAME:
        if (byte == ':')
            http->state = IN_VALUE;
        else if (!is_token(byte))
            return 400;
        return 0;
    case IN_VALUE:
        if (byte == '\r')
            http->state = AT_LINE_END;
        else if (byte == '\n')
            http->state = AT_LINE;
        else if ((byte < 0x20 && byte != '\t') || byte == 0x7F)
            return 400;
        return 0;
    }
    return 400;
}

size_t weir_http_feed(struct weir_http *http, const uint8_t *bytes, size_t len)
{
    size_t used = 0;
    while (used < len && !http->status) {
        if (http->byte_cnt++ == WEIR_HTTP_BYTES_MAX) {
            http->status = 431;
            break;
        }
        http->status = on_byte(http, bytes[used++]);
    }
    return used;
}

const char *weir_http_reason(uint16_t status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 414:
        return "URI Too Long";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Unknown";
    }
}
