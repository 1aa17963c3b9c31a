/* engine/base/bech32.h: 32 bytes as text in which typing errors are found: BIP 350, "bech32m".
 *
 *   weir1 p qqqsyqc...  6 symbols of check
 *   |     | 52 symbols of 5 bits: 32 bytes, most significant bit first, and 4 zero bits
 *   |     version
 *   what it is, and the separator
 *
 * Up to four wrong characters are always found, more with a chance of one in a billion to be missed.
 */
#ifndef WEIR_ENGINE_BASE_BECH32_H
#define WEIR_ENGINE_BASE_BECH32_H

#include <stddef.h>
#include <stdint.h>

#define WEIR_BECH32_BYTES 32u
#define WEIR_BECH32_PREFIX_MAX 16u
#define WEIR_BECH32_TEXT_MAX \
    90u                      /* characters; BIP 173's limit, within which the check is so good */
#define WEIR_BECH32_TAIL 60u /* characters behind the prefix: separator, version, 52, check */

enum weir_bech32_fault {
    WEIR_BECH32_OK = 0,
    WEIR_BECH32_LENGTH = 1,    /* too short, too long: something is missing, or too much */
    WEIR_BECH32_CHARACTER = 2, /* a character that cannot be in one, or both cases mixed */
    WEIR_BECH32_CHECK = 3,     /* the check does not match: a typing error */
    WEIR_BECH32_PREFIX = 4,    /* whole, but something else */
    WEIR_BECH32_VERSION = 5,   /* whole, but of a version that is not known */
};

/* Writes the text, strlen(prefix) + WEIR_BECH32_TAIL characters and a zero. */
void weir_bech32_write(char *ret_text, const char *prefix, uint8_t version,
                       const uint8_t bytes[WEIR_BECH32_BYTES]);

/* Reads `len` characters. Returns 0, or the first fault in the order of the list above. */
int weir_bech32_read(const char *text, size_t len, const char *prefix, uint8_t version,
                     uint8_t ret_bytes[WEIR_BECH32_BYTES]);

/* Reads any bech32m text into its 5-bit symbols, without those of the check. `ret_symbols` has room for
 * WEIR_BECH32_TEXT_MAX. Returns 0, _LENGTH, _CHARACTER or _CHECK. */
int weir_bech32_symbols(const char *text, size_t len, size_t *ret_prefix_len, uint8_t *ret_symbols,
                        size_t *ret_symbol_cnt);

#endif
