/* What a key file may hold, and texts of ids.
 *
 * input: kind (bit 0), what is read (bits 1 and 2: a key file, an id, a key file written from the input and then
 * changed); then its bytes.
 *
 * Whatever is taken is written back and read again as the same; a refusal has a sentence and touches nothing. */
#include "tests/fuzz/fuzz.h"

#include "engine/node/key_text.h"
#include "weir/error.h"
#include "weir/key.h"

static void check_why(const char why[WEIR_KEY_WHY_BYTES])
{
    size_t len = strnlen(why, WEIR_KEY_WHY_BYTES);
    FUZZ_CHECK(len > 0 && len < WEIR_KEY_WHY_BYTES);
    for (size_t i = 0; i < len; i++)
        FUZZ_CHECK(why[i] >= 0x20 && why[i] <= 0x7E); /* it is shown on a terminal */
}

/* Returns whether it was taken. */
static bool read_file(const uint8_t *bytes, size_t len, uint32_t kind, uint8_t ret_secret[32])
{
    char *text = (char *)fuzz_copy(bytes, len), why[WEIR_KEY_WHY_BYTES] = "";
    struct weir_key key = {.kind = kind};
    memset(key.secret, 0xA5, sizeof key.secret);
    int error = weir_key_file_read(text, len, kind, key.secret, why);
    free(text);
    if (error) {
        FUZZ_CHECK(error == WEIR_E_KEY);
        for (int i = 0; i < 32; i++)
            FUZZ_CHECK(key.secret[i] == 0xA5);
        check_why(why);
        return false;
    }
    char line[WEIR_KEY_TEXT_BYTES];
    uint8_t again[32];
    weir_key_text_write(&key, line);
    FUZZ_CHECK(weir_key_text_read(line, strlen(line), kind, again, why) == 0);
    FUZZ_CHECK(memcmp(again, key.secret, 32) == 0);
    memcpy(ret_secret, key.secret, 32);
    return true;
}

static void read_id(const uint8_t *bytes, size_t len)
{
    char *text = (char *)fuzz_copy(bytes, len), why[WEIR_KEY_WHY_BYTES] = "";
    struct weir_id id, again;
    int error = weir_id_parse(&id, text, len, why);
    free(text);
    if (error) {
        FUZZ_CHECK(error == WEIR_E_KEY);
        check_why(why);
        return;
    }
    char line[WEIR_ID_TEXT_BYTES];
    FUZZ_CHECK(weir_id_text(&id, line) == line);
    FUZZ_CHECK(weir_id_parse(&again, line, SIZE_MAX, why) == 0);
    FUZZ_CHECK(memcmp(&again, &id, sizeof id) == 0);
}

/* A good file with up to four wrong bytes in its key: always found. */
static void read_changed(struct fuzz *fuzz, uint32_t kind)
{
    struct weir_key key = {.kind = kind};
    size_t len;
    const uint8_t *bytes = fuzz_take(fuzz, sizeof key.secret, &len);
    memcpy(key.secret, bytes, len);
    char line[WEIR_KEY_TEXT_BYTES], changed[WEIR_KEY_TEXT_BYTES];
    weir_key_text_write(&key, line);
    memcpy(changed, line, sizeof line);
    size_t line_len = strlen(line);
    for (int i = 0; i < 4 && fuzz_has_more(fuzz); i++) {
        size_t at = fuzz_u8(fuzz) % line_len;
        changed[at] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"[fuzz_u8(fuzz) & 31];
    }
    bool is_same = memcmp(changed, line, line_len) == 0;
    uint8_t secret[32];
    changed[line_len] = '\n'; /* in the NUL's place: without it the file is cut short */
    bool is_taken = read_file((const uint8_t *)changed, line_len + 1, kind, secret);
    FUZZ_CHECK(is_taken == is_same);
    if (is_taken)
        FUZZ_CHECK(memcmp(secret, key.secret, sizeof secret) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_begin(data, size);
    uint8_t options = fuzz_u8(&fuzz), secret[32];
    uint32_t kind = options & 1 ? WEIR_KEY_NETWORK : WEIR_KEY_NODE;
    switch (options >> 1 & 3) {
    case 0:
    case 3:
        (void)read_file(fuzz.at, fuzz.left, kind, secret);
        break;
    case 1:
        read_id(fuzz.at, fuzz.left);
        break;
    default:
        read_changed(&fuzz, kind);
        break;
    }
    return 0;
}
