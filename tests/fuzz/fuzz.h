/* tests/fuzz/fuzz.h: what every fuzz target shares: taking decisions from an input, and failing.
 *
 *   struct fuzz fuzz = fuzz_begin(data, size);
 *   while (fuzz_has_more(&fuzz))
 *       switch (fuzz_below(&fuzz, 3)) { ... }
 *
 * Behind its end an input reads as zeros, so that every input is a valid program and a shorter one is a
 * prefix of a longer one: that is what lets a fuzzer grow and minimise them.
 *
 * FUZZ_CHECK is always on, whatever the build, and names the file and line on descriptor 2, because a
 * target may have put something else in the place of stderr.
 */
#ifndef WEIR_TESTS_FUZZ_FUZZ_H
#define WEIR_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Freed memory is kept from reuse for the length of some runs and not for 256 MiB, whose page faults were
 * most of a run. */
__attribute__((used, visibility("default"))) const char *__asan_default_options(void);
__attribute__((used, visibility("default"))) const char *__asan_default_options(void)
{
    return "quarantine_size_mb=8";
}

_Noreturn static inline void fuzz_fail(const char *file, int line, const char *what)
{
    dprintf(2, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

#define FUZZ_IS_SANITIZED 0
#ifdef __has_feature /* clang's way to say so; the other one is gcc's */
#if __has_feature(address_sanitizer)
#undef FUZZ_IS_SANITIZED
#define FUZZ_IS_SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#undef FUZZ_IS_SANITIZED
#define FUZZ_IS_SANITIZED 1
#endif

#define FUZZ_CHECK(claim) ((claim) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #claim))

struct fuzz {
    const uint8_t *at;
    size_t left;
};

static inline struct fuzz fuzz_begin(const uint8_t *data, size_t size)
{
    return (struct fuzz){.at = data, .left = size};
}

static inline bool fuzz_has_more(const struct fuzz *fuzz)
{
    return fuzz->left != 0;
}

static inline uint8_t fuzz_u8(struct fuzz *fuzz)
{
    if (fuzz->left == 0)
        return 0;
    fuzz->left--;
    return *fuzz->at++;
}

static inline uint64_t fuzz_uint(struct fuzz *fuzz, uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes; i++)
        value |= (uint64_t)fuzz_u8(fuzz) << 8 * i;
    return value;
}

static inline uint16_t fuzz_u16(struct fuzz *fuzz)
{
    return (uint16_t)fuzz_uint(fuzz, 2);
}

/* A number below `bound`, from as few bytes as can tell all of them. */
static inline uint32_t fuzz_below(struct fuzz *fuzz, uint32_t bound)
{
    uint32_t bytes = bound <= 0x100 ? 1 : bound <= 0x10000 ? 2 : 4;
    return bound <= 1 ? 0 : (uint32_t)(fuzz_uint(fuzz, bytes) % bound);
}

static inline bool fuzz_flag(struct fuzz *fuzz)
{
    return fuzz_u8(fuzz) & 1;
}

/* A number of any size: most are small, some sit at the edges of a width. */
static inline uint64_t fuzz_number(struct fuzz *fuzz)
{
    uint8_t shape = fuzz_u8(fuzz);
    switch (shape & 7) {
    case 0:
    case 1:
        return fuzz_u8(fuzz);
    case 2:
        return fuzz_u16(fuzz);
    case 3:
        return fuzz_uint(fuzz, 4);
    case 4:
        return fuzz_uint(fuzz, 8);
    case 5: /* about a power of two */
        return (UINT64_C(1) << (shape >> 3) << (fuzz_flag(fuzz) ? 32 : 0)) + fuzz_below(fuzz, 3) -
               1;
    case 6:
        return UINT32_MAX - fuzz_u8(fuzz);
    default:
        return UINT64_MAX - fuzz_u8(fuzz);
    }
}

/* Takes up to `len` bytes as they are; borrowed from the input. */
static inline const uint8_t *fuzz_take(struct fuzz *fuzz, size_t len, size_t *ret_len)
{
    const uint8_t *at = fuzz->at;
    *ret_len = len < fuzz->left ? len : fuzz->left;
    fuzz->at += *ret_len;
    fuzz->left -= *ret_len;
    return at;
}

/* A block of exactly `len` bytes, so that the first one read too far is seen. Freed by the caller. */
static inline uint8_t *fuzz_copy(const void *bytes, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    FUZZ_CHECK(copy != NULL);
    if (len)
        memcpy(copy, bytes, len);
    return copy;
}

/* Part of a larger block as a reader is given it: where a sanitizer would see a read beyond it, a block of its own;
 * elsewhere nothing would see that, and copies were most of a run. Ended by fuzz_window_end. */
static inline uint8_t *fuzz_window(uint8_t *bytes, size_t len)
{
    return FUZZ_IS_SANITIZED ? fuzz_copy(bytes, len) : bytes;
}

static inline void fuzz_window_end(uint8_t *window)
{
    if (FUZZ_IS_SANITIZED)
        free(window);
}

/* Up to `len_max` bytes with a NUL behind them, in a block of that size. Freed by the caller. */
static inline char *fuzz_text(struct fuzz *fuzz, size_t len_max)
{
    size_t len;
    const uint8_t *bytes = fuzz_take(fuzz, fuzz_below(fuzz, (uint32_t)len_max + 1), &len);
    char *text = malloc(len + 1);
    FUZZ_CHECK(text != NULL);
    memcpy(text, bytes, len);
    text[len] = '\0';
    return text;
}

static inline uint64_t fuzz_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* How many of `left` bytes (not 0) come next: mostly few, at times all. `*state` 0: all at once. */
static inline size_t fuzz_chunk(uint64_t *state, size_t left)
{
    if (*state == 0)
        return left;
    uint64_t value = fuzz_random(state);
    size_t len = 1 + (size_t)((value >> 8) % (UINT64_C(1) << (value % 14)));
    return len < left ? len : left;
}

#endif
