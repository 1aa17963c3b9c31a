#include "engine/base/bech32.h"

#include <stdbool.h>
#include <string.h>

#include "engine/base/check.h"

#define CHECK_SYMBOLS 6u
#define CHECK_FINAL 0x2BC830A3u /* BIP 350; bech32's own is 1 */
#define DATA_SYMBOLS 52u

static const char alphabet[33] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/* One step of the BCH code of BIP 173. */
static uint32_t check_step(uint32_t check, uint8_t symbol)
{
    static const uint32_t generators[5] = {0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD,
                                           0x2A1462B3};
    uint32_t top = check >> 25;
    check = (check & 0x1FFFFFF) << 5 ^ symbol;
    for (uint32_t i = 0; i < 5; i++)
        check ^= (top >> i & 1) ? generators[i] : 0;
    return check;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static uint32_t check_prefix(const char *prefix, size_t len)
{
    uint32_t check = 1;
    for (size_t i = 0; i < len; i++)
        check = check_step(check, (uint8_t)((uint8_t)lower(prefix[i]) >> 5));
    check = check_step(check, 0);
    for (size_t i = 0; i < len; i++)
        check = check_step(check, (uint8_t)lower(prefix[i]) & 31);
    return check;
}

void weir_bech32_write(char *ret_text, const char *prefix, uint8_t version,
                       const uint8_t bytes[WEIR_BECH32_BYTES])
{
    size_t prefix_len = strlen(prefix);
    uint8_t symbols[1 + DATA_SYMBOLS];
    WEIR_CHECK(prefix_len > 0 && prefix_len <= WEIR_BECH32_PREFIX_MAX && version < 32);
    symbols[0] = version;
    uint32_t bits = 0, bit_cnt = 0;
    size_t cnt = 1;
    for (size_t i = 0; i < WEIR_BECH32_BYTES; i++) {
        bits = bits << 8 | bytes[i];
        for (bit_cnt += 8; bit_cnt >= 5; bit_cnt -= 5)
            symbols[cnt++] = bits >> (bit_cnt - 5) & 31;
    }
    symbols[cnt++] = (uint8_t)(bits << (5 - bit_cnt) & 31);
    WEIR_CHECK(cnt == sizeof symbols);

    char *at = ret_text;
    memcpy(at, prefix, prefix_len);
    at += prefix_len;
    *at++ = '1';
    uint32_t check = check_prefix(prefix, prefix_len);
    for (size_t i = 0; i < cnt; i++) {
        check = check_step(check, symbols[i]);
        *at++ = alphabet[symbols[i]];
    }
    for (uint32_t i = 0; i < CHECK_SYMBOLS; i++)
        check = check_step(check, 0);
    check ^= CHECK_FINAL;
    for (uint32_t i = 0; i < CHECK_SYMBOLS; i++)
        *at++ = alphabet[check >> (5 * (CHECK_SYMBOLS - 1 - i)) & 31];
    *at = '\0';
}

int weir_bech32_symbols(const char *text, size_t len, size_t *ret_prefix_len, uint8_t *ret_symbols,
                        size_t *ret_symbol_cnt)
{
    bool has_lower = false, has_upper = false;
    size_t prefix_len = 0;
    if (len < 1 + 1 + CHECK_SYMBOLS || len > WEIR_BECH32_TEXT_MAX)
        return WEIR_BECH32_LENGTH;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < 33 || text[i] > 126)
            return WEIR_BECH32_CHARACTER;
        has_lower = has_lower || (text[i] >= 'a' && text[i] <= 'z');
        has_upper = has_upper || (text[i] >= 'A' && text[i] <= 'Z');
        if (text[i] == '1') /* the last one: a prefix may have some of its own */
            prefix_len = i;
    }
    if (has_lower && has_upper)
        return WEIR_BECH32_CHARACTER;
    if (prefix_len == 0 || len - prefix_len - 1 < CHECK_SYMBOLS)
        return WEIR_BECH32_LENGTH;
    uint32_t check = check_prefix(text, prefix_len);
    size_t cnt = len - prefix_len - 1;
    for (size_t i = 0; i < cnt; i++) {
        const char *found = memchr(alphabet, lower(text[prefix_len + 1 + i]), 32);
        if (!found)
            return WEIR_BECH32_CHARACTER;
        ret_symbols[i] = (uint8_t)(found - alphabet);
        check = check_step(check, ret_symbols[i]);
    }
    if (check != CHECK_FINAL)
        return WEIR_BECH32_CHECK;
    *ret_prefix_len = prefix_len;
    *ret_symbol_cnt = cnt - CHECK_SYMBOLS;
    return WEIR_BECH32_OK;
}

int weir_bech32_read(const char *text, size_t len, const char *prefix, uint8_t version,
                     uint8_t ret_bytes[WEIR_BECH32_BYTES])
{
    uint8_t symbols[WEIR_BECH32_TEXT_MAX];
    uint8_t bytes[WEIR_BECH32_BYTES];
    size_t prefix_len, symbol_cnt;
    int fault = weir_bech32_symbols(text, len, &prefix_len, symbols, &symbol_cnt);
    if (fault)
        return fault;
    bool is_prefix = prefix_len == strlen(prefix);
    for (size_t i = 0; is_prefix && i < prefix_len; i++)
        is_prefix = lower(text[i]) == prefix[i];
    if (!is_prefix)
        return WEIR_BECH32_PREFIX;
    if (symbol_cnt == 0 || symbols[0] != version)
        return WEIR_BECH32_VERSION;
    if (symbol_cnt != 1 + DATA_SYMBOLS)
        return WEIR_BECH32_LENGTH;
    uint32_t bits = 0, bit_cnt = 0;
    size_t byte_cnt = 0;
    for (size_t i = 1; i < symbol_cnt; i++) {
        bits = bits << 5 | symbols[i];
        bit_cnt += 5;
        if (bit_cnt >= 8) {
            bit_cnt -= 8;
            bytes[byte_cnt++] = (uint8_t)(bits >> bit_cnt);
        }
    }
    if ((bits & ((1u << bit_cnt) - 1)) != 0) /* one value has one text */
        return WEIR_BECH32_LENGTH;
    memcpy(ret_bytes, bytes, sizeof bytes);
    return WEIR_BECH32_OK;
}
