/* tests/unit/proto/noise_fixture.h: two sides of a Noise handshake, with keys from a seed. */
#ifndef WEIR_TESTS_UNIT_PROTO_NOISE_FIXTURE_H
#define WEIR_TESTS_UNIT_PROTO_NOISE_FIXTURE_H

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/noise.h"

struct side {
    struct weir_dh_key s;
    uint8_t e_private[WEIR_KEY_BYTES];
    struct weir_noise_handshake handshake;
    struct weir_noise_cipher send, recv;
};

struct sides {
    struct weir_crypto crypto;
    struct side init, resp;
};

static inline void key_of(uint8_t seed, uint8_t ret_key[WEIR_KEY_BYTES])
{
    for (uint32_t i = 0; i < WEIR_KEY_BYTES; i++)
        ret_key[i] = (uint8_t)(seed * 37u + i * 11u + 1u);
}

/* Starts both. The psk of a side is 32 times its byte. */
static inline void sides_open(struct sides *ret_sides, const char *name, const char *init_prologue,
                              const char *resp_prologue, uint8_t init_psk, uint8_t resp_psk)
{
    struct sides *sides = ret_sides;
    struct weir_noise_protocol protocol;
    memset(sides, 0, sizeof *sides);
    cr_assert(weir_crypto_init(&sides->crypto));
    cr_assert(weir_noise_protocol_parse(name, &protocol));
    for (uint8_t i = 0; i < 2; i++) {
        struct side *side = i ? &sides->resp : &sides->init;
        uint8_t s_private[WEIR_KEY_BYTES];
        key_of((uint8_t)(i + 1), s_private);
        key_of((uint8_t)(i + 11), side->e_private);
        cr_assert(weir_dh_key_init(&sides->crypto, &side->s, s_private));
    }
    for (int i = 0; i < 2; i++) {
        struct side *side = i ? &sides->resp : &sides->init;
        const char *prologue = i ? resp_prologue : init_prologue;
        uint8_t psk[WEIR_KEY_BYTES];
        memset(psk, i ? resp_psk : init_psk, sizeof psk);
        struct weir_noise_keys keys = {.s = &side->s,
                                       .e_private = side->e_private,
                                       .rs = sides->resp.s.public_key,
                                       .psk = psk};
        cr_assert_eq(weir_noise_handshake_init(&side->handshake, &sides->crypto, &protocol, i == 0,
                                               (const uint8_t *)prologue, strlen(prologue), &keys),
                     WEIR_NOISE_OK);
    }
}

static inline void sides_close(struct sides *sides)
{
    for (int i = 0; i < 2; i++) {
        struct side *side = i ? &sides->resp : &sides->init;
        weir_noise_handshake_wipe(&side->handshake);
        weir_noise_cipher_wipe(&side->send);
        weir_noise_cipher_wipe(&side->recv);
        weir_dh_key_fini(&side->s);
    }
    weir_crypto_fini(&sides->crypto);
}

/* Whose turn it is. */
static inline struct side *sides_writer(struct sides *sides)
{
    return weir_noise_is_our_turn(&sides->init.handshake) ? &sides->init : &sides->resp;
}

/* Carries the next message across, its bytes changed by `change` first. Returns the reader's error. */
static inline int sides_step(struct sides *sides, void (*change)(uint8_t *message, size_t *len))
{
    struct side *writer = sides_writer(sides);
    struct side *reader = writer == &sides->init ? &sides->resp : &sides->init;
    uint8_t message[512], payload[512];
    size_t len = 0, payload_len = 0;
    cr_assert_eq(weir_noise_write(&writer->handshake, (const uint8_t *)"hello", 5, message,
                                  sizeof message, &len),
                 WEIR_NOISE_OK);
    if (change)
        change(message, &len);
    int error =
        weir_noise_read(&reader->handshake, message, len, payload, sizeof payload, &payload_len);
    if (!error && !change) {
        cr_assert_eq(payload_len, 5);
        cr_assert_arr_eq(payload, "hello", 5);
    }
    return error;
}

/* Takes a handshake to its end and gives each side a lease for each of its two directions. */
static inline void sides_finish(struct sides *sides)
{
    while (!weir_noise_is_done(&sides->init.handshake) ||
           !weir_noise_is_done(&sides->resp.handshake))
        cr_assert_eq(sides_step(sides, NULL), WEIR_NOISE_OK);
    for (int i = 0; i < 2; i++) {
        struct side *side = i ? &sides->resp : &sides->init;
        cr_assert_eq(weir_noise_finish(&side->handshake, &side->send, &side->recv), 0);
        cr_assert_eq(weir_noise_cipher_lease(&sides->crypto, &side->send, true), 0);
        cr_assert_eq(weir_noise_cipher_lease(&sides->crypto, &side->recv, false), 0);
    }
}

/* Reads hex; returns how many bytes. */
static inline size_t hex_read(const char *hex, uint8_t *ret_bytes, size_t cap)
{
    size_t len = strlen(hex) / 2;
    cr_assert(strlen(hex) % 2 == 0 && len <= cap);
    for (size_t i = 0; i < len; i++) {
        unsigned value;
        cr_assert_eq(sscanf(hex + 2 * i, "%2x", &value), 1);
        ret_bytes[i] = (uint8_t)value;
    }
    return len;
}

#endif
