/* Noise where it must refuse. The vectors are in test_noise_vectors.c. */
#include "noise_fixture.h"

#include <stdbool.h>

#define XX "Noise_XX_25519_ChaChaPoly_SHA256"

static const char *const protocols[] = {
    XX,
    "Noise_XX_25519_AESGCM_BLAKE2b",
    "Noise_XX_25519_ChaChaPoly_SHA512",
    "Noise_IK_25519_AESGCM_SHA256",
    "Noise_XK_25519_ChaChaPoly_BLAKE2s",
    "Noise_NK_25519_ChaChaPoly_SHA256",
    "Noise_XXpsk3_25519_ChaChaPoly_SHA256",
    "Noise_IKpsk2_25519_AESGCM_SHA256",
};
#define PROTOCOL_CNT (sizeof protocols / sizeof protocols[0])

static uint32_t messages_of(const char *name)
{
    struct weir_noise_protocol protocol;
    cr_assert(weir_noise_protocol_parse(name, &protocol));
    return protocol.pattern->message_cnt;
}

/* ---- names --------------------------------------------------------------------------------------- */

Test(noise, names_that_are_not_known_are_refused)
{
    static const char *const names[] = {
        "",
        "Noise",
        "Noise_XX_25519_ChaChaPoly",
        "Noise_XX_25519_ChaChaPoly_SHA256_",
        "Noise_XX_25519_ChaChaPoly_SHA256_more",
        "Noise_XX_25519_ChaChaPoly_SHA25",
        "Noise_XX_448_ChaChaPoly_SHA256",
        "Noise_XXpsk0_25519_ChaChaPoly_SHA256",
        "Noise_XX_25519_ChaCha_SHA256",
        "Noise_X_25519_ChaChaPoly_SHA256",
        "noise_XX_25519_ChaChaPoly_SHA256",
        "Noise__25519_ChaChaPoly_SHA256",
        "Noise_XX_25519_ChaChaPolyChaChaPolyChaChaPolyChaChaPoly_SHA256",
        "Noise_XX_25519_AESGCM_SHA256_________________________________________________________",
    };
    struct weir_noise_protocol protocol;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        cr_assert_not(weir_noise_protocol_parse(names[i], &protocol), "%s", names[i]);
    for (size_t i = 0; i < PROTOCOL_CNT; i++)
        cr_assert(weir_noise_protocol_parse(protocols[i], &protocol), "%s", protocols[i]);
}

/* ---- handshakes ---------------------------------------------------------------------------------- */

Test(noise, every_pattern_learns_the_keys_of_the_other_side)
{
    for (size_t i = 0; i < PROTOCOL_CNT; i++) {
        struct sides sides;
        sides_open(&sides, protocols[i], "same", "same", 5, 5);
        sides_finish(&sides);
        cr_assert(sides.init.handshake.has_rs);
        cr_assert_arr_eq(sides.init.handshake.rs, sides.resp.s.public_key, WEIR_KEY_BYTES);
        bool is_known = strstr(protocols[i], "_NK_") == NULL;
        cr_assert_eq(sides.resp.handshake.has_rs, is_known);
        if (is_known)
            cr_assert_arr_eq(sides.resp.handshake.rs, sides.init.s.public_key, WEIR_KEY_BYTES);
        sides_close(&sides);
    }
}

/* The step of the message to change, and how. */
static size_t change_at;
static unsigned change_bit;

static void change_cut(uint8_t *message, size_t *len)
{
    (void)message;
    *len = change_at;
}

static void change_flip(uint8_t *message, size_t *len)
{
    cr_assert_lt(change_at, *len);
    message[change_at] ^= (uint8_t)(1u << change_bit);
}

/* Runs a handshake and changes message `idx`. Returns the first error, which may come later: a changed
 * ephemeral key is noticed where it is first used. */
static int changed_handshake(const char *name, uint32_t idx, void (*change)(uint8_t *, size_t *))
{
    struct sides sides;
    int error = WEIR_NOISE_OK;
    sides_open(&sides, name, "p", "p", 1, 1);
    for (uint32_t i = 0; !error && i < messages_of(name); i++)
        error = sides_step(&sides, i == idx ? change : NULL);
    if (error) { /* whoever refused is done with it */
        struct weir_noise_handshake *failed =
            sides.init.handshake.is_over ? &sides.init.handshake : &sides.resp.handshake;
        uint8_t bytes[512];
        size_t len;
        cr_assert(failed->is_over);
        cr_assert_eq(weir_noise_read(failed, bytes, 400, bytes, sizeof bytes, &len),
                     WEIR_NOISE_TURN);
        cr_assert_eq(weir_noise_write(failed, bytes, 0, bytes, sizeof bytes, &len),
                     WEIR_NOISE_TURN);
        struct weir_noise_cipher a, b;
        cr_assert_eq(weir_noise_finish(failed, &a, &b), WEIR_NOISE_TURN);
        static const uint8_t zeros[WEIR_KEY_BYTES];
        cr_assert_arr_eq(failed->symmetric.ck, zeros, WEIR_KEY_BYTES, "wiped");
        cr_assert_arr_eq(failed->symmetric.cipher.k, zeros, WEIR_KEY_BYTES, "wiped");
    } else { /* only a first message, whose payload is in clear, can be changed unseen so far */
        cr_assert_eq(idx, 0);
    }
    sides_close(&sides);
    return error;
}

/* How long message `idx` is. */
static size_t message_bytes(const char *name, uint32_t idx)
{
    struct sides sides;
    sides_open(&sides, name, "p", "p", 1, 1);
    for (uint32_t i = 0; i < idx; i++)
        cr_assert_eq(sides_step(&sides, NULL), WEIR_NOISE_OK);
    size_t len = weir_noise_overhead(&sides_writer(&sides)->handshake) + 5;
    sides_close(&sides);
    return len;
}

Test(noise, a_truncated_message_is_refused_at_every_length)
{
    for (size_t i = 0; i < PROTOCOL_CNT; i++) {
        for (uint32_t idx = 0; idx < messages_of(protocols[i]); idx++) {
            size_t len = message_bytes(protocols[i], idx);
            for (change_at = 0; change_at < len; change_at += change_at % 16 == 0 ? 1 : 5) {
                /* A first message whose payload is in clear loses what is cut: the transcript tells. */
                cr_assert_neq(changed_handshake(protocols[i], idx, change_cut), WEIR_NOISE_OK,
                              "%s message %u cut to %zu", protocols[i], idx, change_at);
            }
        }
    }
}

Test(noise, a_changed_bit_is_refused_wherever_it_is)
{
    for (uint32_t idx = 0; idx < 3; idx++) {
        size_t len = message_bytes(XX, idx);
        for (change_at = 0; change_at < len; change_at++) {
            change_bit = (unsigned)(change_at % 8);
            /* X25519 ignores the top bit of a public key; the transcript does not. */
            int error = changed_handshake(XX, idx, change_flip);
            cr_assert(error == WEIR_NOISE_FORGED, "message %u byte %zu: %d", idx, change_at, error);
        }
    }
    change_at = 31;
    change_bit = 7;
    cr_assert_eq(changed_handshake(XX, 0, change_flip), WEIR_NOISE_FORGED);
}

Test(noise, another_prologue_or_psk_is_refused)
{
    for (size_t i = 0; i < PROTOCOL_CNT; i++) {
        struct sides sides;
        int error = WEIR_NOISE_OK;
        sides_open(&sides, protocols[i], "weir net-a", "weir net-b", 1, 1);
        for (uint32_t step = 0; !error && step < messages_of(protocols[i]); step++)
            error = sides_step(&sides, NULL);
        cr_assert_eq(error, WEIR_NOISE_FORGED, "%s", protocols[i]);
        sides_close(&sides);
        if (!strstr(protocols[i], "psk"))
            continue;
        error = WEIR_NOISE_OK;
        sides_open(&sides, protocols[i], "p", "p", 1, 2);
        for (uint32_t step = 0; !error && step < messages_of(protocols[i]); step++)
            error = sides_step(&sides, NULL);
        cr_assert_eq(error, WEIR_NOISE_FORGED, "%s", protocols[i]);
        sides_close(&sides);
    }
}

static uint8_t low_order[WEIR_KEY_BYTES];

static void change_e(uint8_t *message, size_t *len)
{
    (void)len;
    memcpy(message, low_order, sizeof low_order);
}

Test(noise, public_keys_of_low_order_are_refused)
{
    /* All u-coordinates whose multiple by a clamped scalar is zero, as far as 32 bytes can write them. */
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "cdeb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
    };
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        struct sides sides;
        uint8_t shared[WEIR_KEY_BYTES];
        hex_read(points[i], low_order, sizeof low_order);
        sides_open(&sides, XX, "", "", 0, 0);
        bool is_low_order = !weir_dh(&sides.crypto, &sides.init.s, low_order, shared);
        cr_assert(i == 8 || is_low_order, "%s", points[i]);
        cr_assert_eq(weir_dh_is_low_order(low_order), is_low_order, "%s", points[i]);
        sides_close(&sides);
        if (!is_low_order)
            continue;
        /* As the initiator's ephemeral key: the responder finds it when it answers. */
        sides_open(&sides, XX, "", "", 0, 0);
        cr_assert_eq(sides_step(&sides, change_e), WEIR_NOISE_OK);
        uint8_t message[200];
        size_t len = 0;
        cr_assert_eq(
            weir_noise_write(&sides.resp.handshake, NULL, 0, message, sizeof message, &len),
            WEIR_NOISE_BAD_KEY);
        cr_assert(sides.resp.handshake.is_over);
        sides_close(&sides);
        /* As the responder's: the initiator finds it when it reads. */
        sides_open(&sides, XX, "", "", 0, 0);
        cr_assert_eq(sides_step(&sides, NULL), WEIR_NOISE_OK);
        cr_assert_eq(sides_step(&sides, change_e), WEIR_NOISE_BAD_KEY);
        sides_close(&sides);
    }
}

/* As libcrypto finds out by trying: each of them, with the bit that is not read, and what differs in one bit. */
Test(noise, a_key_of_low_order_is_known_by_its_bytes)
{
    static const char *const points[] = {
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    struct sides sides;
    uint32_t low_cnt = 0;
    sides_open(&sides, XX, "", "", 0, 0);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        for (uint32_t bit = 0; bit <= 256; bit++) {
            uint8_t key[WEIR_KEY_BYTES + 1], shared[WEIR_KEY_BYTES]; /* the last bit is none */
            hex_read(points[i], key, WEIR_KEY_BYTES);
            key[bit / 8] ^= (uint8_t)(1u << bit % 8);
            bool is_low_order = !weir_dh(&sides.crypto, &sides.init.s, key, shared);
            cr_assert_eq(weir_dh_is_low_order(key), is_low_order, "%s, bit %u", points[i], bit);
            low_cnt += is_low_order;
        }
    }
    cr_assert_eq(low_cnt,
                 10); /* each with the highest bit and without, 0 next to 1, and p - 1 next to p */
    sides_close(&sides);
}

Test(noise, a_reflected_message_is_refused)
{
    struct sides sides;
    uint8_t message[200], payload[200];
    size_t len = 0, payload_len = 0;
    sides_open(&sides, XX, "", "", 0, 0);
    cr_assert_eq(weir_noise_write(&sides.init.handshake, NULL, 0, message, sizeof message, &len),
                 0);
    /* The initiator gets its own first message back, padded to what it waits for. */
    memset(message + len, 0, sizeof message - len);
    cr_assert_eq(
        weir_noise_read(&sides.init.handshake, message, 96, payload, sizeof payload, &payload_len),
        WEIR_NOISE_FORGED);
    sides_close(&sides);
}

Test(noise, a_message_out_of_turn_is_not_looked_at)
{
    struct sides sides;
    uint8_t message[200] = {0}, payload[200];
    size_t len = 0;
    sides_open(&sides, XX, "", "", 0, 0);
    cr_assert_eq(weir_noise_write(&sides.resp.handshake, NULL, 0, message, sizeof message, &len),
                 WEIR_NOISE_TURN);
    cr_assert_eq(weir_noise_read(&sides.init.handshake, message, 96, payload, sizeof payload, &len),
                 WEIR_NOISE_TURN);
    struct weir_noise_cipher first, second;
    cr_assert_eq(weir_noise_finish(&sides.init.handshake, &first, &second), WEIR_NOISE_TURN);
    sides_finish(&sides); /* nothing was harmed */
    cr_assert_eq(weir_noise_write(&sides.init.handshake, NULL, 0, message, sizeof message, &len),
                 WEIR_NOISE_TURN);
    cr_assert_eq(weir_noise_read(&sides.init.handshake, message, 96, payload, sizeof payload, &len),
                 WEIR_NOISE_TURN);
    cr_assert_eq(weir_noise_overhead(&sides.init.handshake), 0);
    weir_noise_handshake_wipe(&sides.init.handshake);
    cr_assert_eq(weir_noise_overhead(&sides.init.handshake), 0);
    sides_close(&sides);
}

Test(noise, a_message_that_does_not_fit_is_refused_and_harms_nothing)
{
    struct sides sides;
    static uint8_t payload[WEIR_NOISE_MESSAGE_MAX + 1];
    static uint8_t message[WEIR_NOISE_MESSAGE_MAX + 100];
    size_t len = 0;
    sides_open(&sides, XX, "", "", 0, 0);
    cr_assert_eq(weir_noise_write(&sides.init.handshake, payload, 10, message, 41, &len),
                 WEIR_NOISE_LONG);
    cr_assert_eq(weir_noise_write(&sides.init.handshake, payload, WEIR_NOISE_MESSAGE_MAX - 31,
                                  message, sizeof message, &len),
                 WEIR_NOISE_LONG);
    cr_assert_eq(weir_noise_write(&sides.init.handshake, payload, WEIR_NOISE_MESSAGE_MAX - 32,
                                  message, sizeof message, &len),
                 WEIR_NOISE_OK);
    cr_assert_eq(len, WEIR_NOISE_MESSAGE_MAX);
    cr_assert_eq(weir_noise_read(&sides.resp.handshake, message, len, payload, 10, &len),
                 WEIR_NOISE_LONG);
    cr_assert(sides.resp.handshake.is_over, "a peer that sends too much is done with");
    sides_close(&sides);
    sides_open(&sides, XX, "", "", 0, 0);
    cr_assert_eq(weir_noise_read(&sides.resp.handshake, message, WEIR_NOISE_MESSAGE_MAX + 1,
                                 payload, sizeof payload, &len),
                 WEIR_NOISE_LONG, "no such message, whatever there is room for");
    sides_close(&sides);
}

Test(noise, keys_that_the_pattern_needs_must_be_there)
{
    for (size_t i = 0; i < PROTOCOL_CNT; i++) {
        struct sides sides;
        struct weir_noise_protocol protocol;
        struct weir_noise_handshake handshake;
        uint8_t psk[WEIR_KEY_BYTES] = {0};
        cr_assert(weir_noise_protocol_parse(protocols[i], &protocol));
        sides_open(&sides, protocols[i], "", "", 0, 0);
        struct weir_noise_keys all = {.s = &sides.init.s,
                                      .e_private = sides.init.e_private,
                                      .rs = sides.resp.s.public_key,
                                      .psk = psk};
        struct weir_noise_keys no_s = all, no_e = all, no_rs = all, no_psk = all;
        no_s.s = NULL;
        no_e.e_private = NULL;
        no_rs.rs = NULL;
        no_psk.psk = NULL;
        const struct weir_noise_keys *keys[] = {&all, &no_e, &no_s, &no_rs, &no_psk};
        bool is_needed[] = {false, true, strstr(protocols[i], "_NK_") == NULL,
                            strstr(protocols[i], "_XX") == NULL,
                            strstr(protocols[i], "psk") != NULL};
        for (size_t j = 0; j < 5; j++) {
            int error = weir_noise_handshake_init(&handshake, &sides.crypto, &protocol, true, NULL,
                                                  0, keys[j]);
            cr_assert_eq(error, is_needed[j] ? WEIR_NOISE_BAD_KEY : WEIR_NOISE_OK, "%s %zu",
                         protocols[i], j);
            weir_noise_handshake_wipe(&handshake);
        }
        sides_close(&sides);
    }
}

/* ---- transport ----------------------------------------------------------------------------------- */

#define DATA_BYTES 100u

static int seal(struct sides *sides, struct weir_noise_cipher *cipher, uint8_t fill, uint8_t *ret)
{
    memset(ret, fill, DATA_BYTES);
    return weir_noise_cipher_encrypt(&sides->crypto, cipher, NULL, 0, ret, DATA_BYTES, ret);
}

static int unseal(struct sides *sides, struct weir_noise_cipher *cipher, const uint8_t *data,
                  size_t len, uint8_t *ret)
{
    return weir_noise_cipher_decrypt(&sides->crypto, cipher, NULL, 0, data, len, ret);
}

Test(noise, transport_refuses_what_is_changed_and_goes_on_with_what_is_right)
{
    static const char *const names[] = {XX, "Noise_IK_25519_AESGCM_SHA256"};
    for (size_t i = 0; i < 2; i++) {
        struct sides sides;
        uint8_t first[DATA_BYTES + 16], second[DATA_BYTES + 16], out[DATA_BYTES + 16];
        sides_open(&sides, names[i], "", "", 0, 0);
        sides_finish(&sides);
        struct weir_noise_cipher *send = &sides.init.send, *recv = &sides.resp.recv;
        cr_assert_eq(seal(&sides, send, 1, first), 0);
        cr_assert_eq(seal(&sides, send, 2, second), 0);

        cr_assert_eq(unseal(&sides, recv, second, sizeof second, out), WEIR_NOISE_FORGED,
                     "reordered");
        for (size_t at = 0; at < DATA_BYTES; at++)
            cr_assert_eq(out[at], 0, "nothing of it is left to be looked at");
        cr_assert_eq(unseal(&sides, &sides.init.recv, first, sizeof first, out), WEIR_NOISE_FORGED,
                     "reflected");
        for (size_t len = 0; len < sizeof first; len++)
            cr_assert_eq(unseal(&sides, recv, first, len, out),
                         len < WEIR_TAG_BYTES ? WEIR_NOISE_SHORT : WEIR_NOISE_FORGED, "cut to %zu",
                         len);
        for (size_t bit = 0; bit < 8 * sizeof first; bit++) {
            first[bit / 8] ^= (uint8_t)(1u << bit % 8);
            cr_assert_eq(unseal(&sides, recv, first, sizeof first, out), WEIR_NOISE_FORGED);
            first[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        cr_assert_eq(unseal(&sides, recv, first, sizeof first, out), 0);
        cr_assert_eq(out[0], 1);
        cr_assert_eq(unseal(&sides, recv, first, sizeof first, out), WEIR_NOISE_FORGED, "replayed");
        cr_assert_eq(unseal(&sides, recv, second, sizeof second, out), 0);
        cr_assert_eq(out[0], 2);
        sides_close(&sides);
    }
}

Test(noise, rekey_changes_the_key_on_both_sides_and_not_the_counter)
{
    struct sides sides;
    uint8_t data[DATA_BYTES + 16], out[DATA_BYTES + 16];
    sides_open(&sides, XX, "", "", 0, 0);
    sides_finish(&sides);
    cr_assert_eq(seal(&sides, &sides.resp.send, 1, data), 0);
    cr_assert_eq(unseal(&sides, &sides.init.recv, data, sizeof data, out), 0);
    cr_assert_eq(weir_noise_cipher_rekey(&sides.crypto, &sides.resp.send), 0);
    cr_assert_eq(sides.resp.send.n, 1);
    cr_assert_eq(seal(&sides, &sides.resp.send, 2, data), 0);
    cr_assert_eq(unseal(&sides, &sides.init.recv, data, sizeof data, out), WEIR_NOISE_FORGED);
    cr_assert_eq(weir_noise_cipher_rekey(&sides.crypto, &sides.init.recv), 0);
    cr_assert_eq(unseal(&sides, &sides.init.recv, data, sizeof data, out), 0);
    cr_assert_eq(out[0], 2);
    sides_close(&sides);
}

Test(noise, a_spent_counter_seals_and_opens_nothing)
{
    struct sides sides;
    uint8_t data[DATA_BYTES + 16], out[DATA_BYTES + 16];
    sides_open(&sides, XX, "", "", 0, 0);
    sides_finish(&sides);
    sides.init.send.n = sides.resp.recv.n = UINT64_MAX - 1;
    cr_assert_eq(seal(&sides, &sides.init.send, 1, data), 0, "the last one");
    cr_assert_eq(unseal(&sides, &sides.resp.recv, data, sizeof data, out), 0);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(seal(&sides, &sides.init.send, 2, data), WEIR_NOISE_SPENT);
        cr_assert_eq(unseal(&sides, &sides.resp.recv, data, sizeof data, out), WEIR_NOISE_SPENT);
    }
    sides_close(&sides);
}

Test(noise, wiping_leaves_no_key_behind)
{
    struct sides sides;
    static const uint8_t zeros[WEIR_DIGEST_BYTES_MAX];
    sides_open(&sides, "Noise_XXpsk3_25519_ChaChaPoly_SHA256", "", "", 9, 9);
    cr_assert_neq(memcmp(sides.init.handshake.psk, zeros, WEIR_KEY_BYTES), 0);
    sides_finish(&sides);
    cr_assert_arr_eq(sides.init.handshake.e_private, zeros, WEIR_KEY_BYTES, "once it is a pair");
    weir_noise_handshake_wipe(&sides.init.handshake);
    cr_assert_arr_eq(sides.init.handshake.psk, zeros, WEIR_KEY_BYTES);
    cr_assert_arr_eq(sides.init.handshake.symmetric.ck, zeros, WEIR_DIGEST_BYTES_MAX);
    cr_assert_null(sides.init.handshake.e.pair);
    weir_noise_cipher_wipe(&sides.init.send);
    cr_assert_arr_eq(sides.init.send.k, zeros, WEIR_KEY_BYTES);
    cr_assert_null(sides.init.send.lease.slot);
    sides_close(&sides);
}
