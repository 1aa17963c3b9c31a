/* The address book's file: whatever its bytes are, what is taken is a sound book, and that book comes back from its own
 * bytes.
 *
 * input: a byte, odd: checks are mended first, so that what stands behind them is reached; then the file. */
#include "engine/base/hash.h"
#include "engine/peers/book.h"
#include "tests/fuzz/fuzz.h"

#define NOW UINT64_C(1763000000)

static struct weir_book *make(uint8_t key)
{
    struct weir_book_config cfg = {.seed = 1, .new_bucket_cnt = 8, .tried_bucket_cnt = 4};
    memset(cfg.key, key, sizeof(cfg.key));
    struct weir_book *book;
    FUZZ_CHECK(weir_book_create(&book, &cfg) == 0);
    return book;
}

static void mend(uint8_t *bytes, size_t len, size_t check_at, uint64_t seed)
{
    uint64_t sum = weir_hash_ops()->xxh3(bytes, check_at, seed);
    for (size_t i = 0; i < 8 && check_at + i < len; i++)
        bytes[check_at + i] = (uint8_t)(sum >> 8 * i);
}

static size_t format(const struct weir_book *book, uint8_t *ret_bytes)
{
    uint32_t cursor = 0, cnt = 0;
    while (weir_book_put_record(book, &cursor, cnt,
                                ret_bytes + WEIR_BOOK_HEADER_BYTES +
                                    (size_t)cnt * WEIR_BOOK_RECORD_BYTES))
        cnt++;
    weir_book_put_header(book, cnt, ret_bytes);
    return WEIR_BOOK_HEADER_BYTES + (size_t)cnt * WEIR_BOOK_RECORD_BYTES;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_begin(data, size);
    bool is_mended = fuzz_flag(&fuzz);
    size_t len;
    const uint8_t *in = fuzz_take(&fuzz, fuzz.left, &len);
    uint8_t *bytes = malloc(len + 1);
    FUZZ_CHECK(bytes != NULL);
    if (len)
        memcpy(bytes, in, len);
    if (is_mended && len >= WEIR_BOOK_HEADER_BYTES) {
        mend(bytes, len, 56, 0);
        for (size_t at = WEIR_BOOK_HEADER_BYTES, idx = 0; at + WEIR_BOOK_RECORD_BYTES <= len;
             at += WEIR_BOOK_RECORD_BYTES, idx++)
            mend(bytes + at, len - at, 120, 1 + idx);
    }
    struct weir_book *book = make(1), *copy = make(2);
    struct weir_book_read got, again;
    weir_book_parse(book, bytes, len, NOW, &got);
    weir_book_verify(book);
    struct weir_book_stats stats;
    weir_book_stats(book, &stats);
    FUZZ_CHECK(stats.new_cnt + stats.tried_cnt <= got.taken_cnt);
    size_t records =
        len > WEIR_BOOK_HEADER_BYTES ? (len - WEIR_BOOK_HEADER_BYTES) / WEIR_BOOK_RECORD_BYTES : 0;
    FUZZ_CHECK(got.taken_cnt + got.damaged_cnt <= records);
    FUZZ_CHECK(!got.is_foreign || got.taken_cnt == 0);
    /* What is used in its fields, used. */
    struct weir_book_entry entries[8];
    (void)weir_book_sample(book, NOW, NULL, NULL, entries, 8);
    if (weir_book_select(book, false, NOW, NULL, NULL, &entries[0])) {
        weir_book_attempt(book, &entries[0].place, true, NOW);
        weir_book_good(book, &entries[0].place, NOW);
        weir_book_settle(book, NOW);
    }
    weir_book_verify(book);
    /* And back. Tried entries that moved while it was read may meet again in new. */
    uint8_t *own = malloc(WEIR_BOOK_HEADER_BYTES + (records + 1) * WEIR_BOOK_RECORD_BYTES);
    FUZZ_CHECK(own != NULL);
    size_t own_len = format(book, own);
    weir_book_parse(copy, own, own_len, NOW, &again);
    weir_book_verify(copy);
    FUZZ_CHECK(!again.is_foreign && !again.is_header_damaged && again.damaged_cnt == 0 &&
               again.missing_cnt == 0);
    FUZZ_CHECK(again.taken_cnt <= stats.new_cnt + stats.tried_cnt);
    free(own);
    free(bytes);
    weir_book_free(book);
    weir_book_free(copy);
    return 0;
}
