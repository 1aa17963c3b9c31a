/* Addresses as text: what is accepted is what the grammar says, and comes back from its own text.
 *
 * input: the text, up to its first NUL or its end; then a second one, which is compared with it.
 */
#include <arpa/inet.h>

#include "engine/base/addr.h"
#include "tests/fuzz/fuzz.h"
#include "weir/error.h"

/* Decimal digits without leading zeros, all of the text. */
static bool is_number(const char *text, uint64_t max)
{
    size_t len = strlen(text);
    if (len < 1 || len > 10 || strspn(text, "0123456789") != len || (text[0] == '0' && len > 1))
        return false;
    return strtoull(text, NULL, 10) <= max;
}

/* Four numbers with dots between. */
static bool is_ipv4(const char *text)
{
    char copy[16];
    if (strlen(text) > 15)
        return false;
    strcpy(copy, text);
    char *rest = copy, *part;
    int cnt = 0;
    for (; (part = strsep(&rest, ".")) != NULL; cnt++) {
        if (!is_number(part, 255))
            return false;
    }
    return cnt == 4;
}

/* The C library knows what an IPv6 address is; scope and port are ours. */
static bool is_bracketed(const char *text)
{
    char copy[128];
    uint8_t ip[16];
    const char *end = strchr(text, ']');
    if (!end || end[1] != ':' || !is_number(end + 2, 65535) || end - text >= (long)sizeof copy)
        return false;
    memcpy(copy, text, (size_t)(end - text));
    copy[end - text] = '\0';
    char *scope = strchr(copy, '%');
    if (scope) {
        *scope++ = '\0';
        if (!is_number(scope, UINT32_MAX))
            return false;
    }
    return inet_pton(AF_INET6, copy, ip) == 1;
}

static bool is_address(const char *text)
{
    if (strncmp(text, "unix:", 5) == 0) {
        size_t len = strlen(text + 5);
        return len > 0 && len < 108 && strcmp(text + 5, "@") != 0;
    }
    if (text[0] == '[')
        return is_bracketed(text + 1);
    char ip[128];
    const char *colon = strchr(text, ':');
    if (!colon || colon - text >= (long)sizeof ip)
        return false;
    memcpy(ip, text, (size_t)(colon - text));
    ip[colon - text] = '\0';
    return is_ipv4(ip) && is_number(colon + 1, 65535);
}

static bool parse(const char *text, struct weir_addr *ret_addr)
{
    struct weir_addr untouched;
    memset(ret_addr, 0x5A, sizeof *ret_addr);
    untouched = *ret_addr;
    int error = weir_addr_parse(ret_addr, text);
    FUZZ_CHECK((error == 0) == is_address(text));
    if (error) {
        FUZZ_CHECK(error == WEIR_E_ADDRESS);
        FUZZ_CHECK(memcmp(&untouched, ret_addr, sizeof untouched) == 0);
        return false;
    }
    char out[WEIR_ADDR_TEXT_BYTES], again[WEIR_ADDR_TEXT_BYTES];
    struct weir_addr copy;
    memset(out, 0x7F, sizeof out);
    weir_addr_format(ret_addr, out);
    FUZZ_CHECK(memchr(out, 0, sizeof out) != NULL);
    FUZZ_CHECK(weir_addr_parse(&copy, out) == 0);
    FUZZ_CHECK(weir_addr_is_equal(ret_addr, &copy) && weir_addr_is_equal(&copy, ret_addr));
    weir_addr_format(&copy, again);
    FUZZ_CHECK(strcmp(out, again) == 0);
    /* These have one text only. */
    if (text[0] != '[')
        FUZZ_CHECK(strcmp(out, text) == 0);
    return true;
}

static char *next_text(struct fuzz *fuzz)
{
    size_t len;
    const void *nul = fuzz->left ? memchr(fuzz->at, 0, fuzz->left) : NULL;
    const uint8_t *bytes =
        fuzz_take(fuzz, nul ? (size_t)((const uint8_t *)nul - fuzz->at) : fuzz->left, &len);
    char *text = malloc(len + 1);
    FUZZ_CHECK(text != NULL);
    if (len)
        memcpy(text, bytes, len);
    text[len] = '\0';
    (void)fuzz_u8(fuzz);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_begin(data, size);
    char *texts[2] = {next_text(&fuzz), next_text(&fuzz)};
    struct weir_addr addrs[2];
    bool is_good[2] = {parse(texts[0], &addrs[0]), parse(texts[1], &addrs[1])};
    if (is_good[0] && is_good[1]) { /* equal if and only if they print the same */
        char out[2][WEIR_ADDR_TEXT_BYTES];
        weir_addr_format(&addrs[0], out[0]);
        weir_addr_format(&addrs[1], out[1]);
        FUZZ_CHECK(weir_addr_is_equal(&addrs[0], &addrs[1]) == (strcmp(out[0], out[1]) == 0));
    }
    free(texts[0]);
    free(texts[1]);
    return 0;
}
