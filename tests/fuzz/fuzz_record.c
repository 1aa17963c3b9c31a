/* Records of the encrypted wire, opened after bits of them were flipped, bytes cut off, or records exchanged.
 *
 * input: options: cipher (bit 0); records 1 .. 8, each its length u16 and whether it ends its key; then changes:
 *   kind u8 % 3: 0 flips a bit at u24, 1 ends the stream at u24, 2 exchanges two records
 *
 * What lies before the first byte that changed opens to what was sealed; from there on nothing opens. */
#include "tests/fuzz/fuzz.h"

#include "proto/native_v2.h"

#define RECORDS_MAX 8u
#define PLAIN_MAX 20000u
#define STREAM_MAX (RECORDS_MAX * (PLAIN_MAX + WEIR_SEAL_HEAD + WEIR_SEAL_TAIL))

struct sealed {
    size_t at, len; /* on the wire */
    uint32_t plain_len;
    bool is_last_of_key;
};

static struct weir_crypto crypto;
static uint8_t stream[STREAM_MAX], heard[STREAM_MAX], swapped[STREAM_MAX];
static struct sealed records[RECORDS_MAX];

static void lane_make(struct native_v2_lane *ret_lane, uint8_t cipher, bool is_seal)
{
    uint8_t key[WEIR_KEY_BYTES];
    struct weir_noise_cipher noise = {.cipher = cipher};
    memset(key, 0x5C, sizeof key);
    FUZZ_CHECK(weir_noise_cipher_key(&noise, key) == WEIR_NOISE_OK);
    FUZZ_CHECK(weir_v2_lane_init(&crypto, ret_lane, &noise, is_seal));
}

/* What a record holds, made once. */
static const uint8_t *plain_of(uint32_t record)
{
    static uint8_t plains[RECORDS_MAX][PLAIN_MAX];
    static bool is_made;
    for (uint32_t i = 0; i < RECORDS_MAX && !is_made; i++)
        for (size_t k = 0; k < PLAIN_MAX; k++)
            plains[i][k] = (uint8_t)(i * 29 + k * 7 + (k >> 8));
    is_made = true;
    return plains[record];
}

/* Seals all of them one behind the other. Returns how long that is. */
static size_t seal_all(struct fuzz *fuzz, struct native_v2_lane *lane, uint32_t cnt)
{
    size_t at = 0;
    for (uint32_t i = 0; i < cnt; i++) {
        struct sealed *record = &records[i];
        record->at = at;
        uint32_t value = fuzz_u16(fuzz); /* a third of them long: these are most of the time */
        record->plain_len = 1 + (value % PLAIN_MAX >> value % 3 * 4);
        record->is_last_of_key = fuzz_flag(fuzz);
        uint8_t *plain = stream + at + WEIR_SEAL_HEAD;
        memcpy(plain, plain_of(i), record->plain_len);
        uint32_t half = record->plain_len / 2; /* in place, and in two pieces */
        struct weir_seal_piece pieces[2] = {{plain, plain, half},
                                            {plain + half, plain + half, record->plain_len - half}};
        FUZZ_CHECK(weir_v2_seal(&crypto, lane, pieces, 2, record->is_last_of_key, stream + at,
                                plain + record->plain_len));
        record->len = WEIR_SEAL_HEAD + record->plain_len + WEIR_SEAL_TAIL;
        at += record->len;
    }
    return at;
}

/* Exchanges two whole records; what lies between moves by the difference of their lengths, the rest not at all. */
static void exchange(uint32_t a, uint32_t b)
{
    uint32_t first = a < b ? a : b, last = a < b ? b : a;
    size_t begin = records[first].at, at = 0;
    if (first == last)
        return;
    for (uint32_t i = first; i <= last; i++) {
        const struct sealed *record = &records[i == a ? b : i == b ? a : i];
        memcpy(swapped + at, heard + record->at, record->len);
        at += record->len;
    }
    memcpy(heard + begin, swapped, at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_begin(data, size);
    struct native_v2_lane send, recv;
    if (!crypto.digest_ctx)
        FUZZ_CHECK(weir_crypto_init(&crypto));
    uint8_t cipher = fuzz_u8(&fuzz) & 1;
    uint32_t cnt = 1 + fuzz_below(&fuzz, RECORDS_MAX);
    lane_make(&send, cipher, true);
    lane_make(&recv, cipher, false);
    size_t len = seal_all(&fuzz, &send, cnt), heard_len = len;
    memcpy(heard, stream, len);
    while (fuzz_has_more(&fuzz)) {
        uint8_t kind = fuzz_u8(&fuzz) % 3;
        size_t where = fuzz_uint(&fuzz, 3);
        if (kind == 0)
            heard[where % len] ^= (uint8_t)(1u << (where >> 20 & 7));
        else if (kind == 1 && heard_len == len)
            heard_len = where % len;
        else if (kind == 2 && heard_len == len)
            exchange((uint32_t)where % cnt, (uint32_t)(where >> 8) % cnt);
    }
    size_t same = 0;
    while (same + 64 <= heard_len && memcmp(heard + same, stream + same, 64) == 0)
        same += 64;
    while (same < heard_len && heard[same] == stream[same])
        same++;

    size_t at = 0;
    uint32_t opened_cnt = 0;
    for (; opened_cnt < cnt; opened_cnt++) {
        const struct sealed *record = &records[opened_cnt];
        size_t need = 0;
        uint8_t *window = fuzz_window(heard + at, heard_len - at);
        int32_t opened = weir_v2_open(&crypto, &recv, window, heard_len - at, &need);
        if (opened <= 0) {
            FUZZ_CHECK(opened == -WEIR_R_BAD_RECORD || (opened == 0 && need > heard_len - at));
            fuzz_window_end(window);
            break;
        }
        FUZZ_CHECK((uint32_t)opened == record->plain_len);
        FUZZ_CHECK(memcmp(window + WEIR_SEAL_HEAD, plain_of(opened_cnt), record->plain_len) == 0);
        fuzz_window_end(window);
        at += record->len;
        FUZZ_CHECK(at <= same); /* or something opened that was changed */
        if (record->is_last_of_key)
            FUZZ_CHECK(weir_v2_rekey(&crypto, &recv));
        FUZZ_CHECK(recv.cipher.n < NATIVE_V2_KEY_RECORDS_MAX);
    }
    if (opened_cnt < cnt)
        FUZZ_CHECK(records[opened_cnt].at + records[opened_cnt].len > same);
    weir_v2_lane_wipe(&send);
    weir_v2_lane_wipe(&recv);
    return 0;
}
