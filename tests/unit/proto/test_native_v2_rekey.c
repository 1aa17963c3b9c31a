/* Keys that change by count and by bytes: each limit by itself, in each direction by itself, with each cipher. (By time:
 * unit/conn/test_rekey.) */
#include "v2_fixture.h"

#define PLAIN (NATIVE_V2_HEAD + 4u) /* of the records here */

/* Both ends of one direction. */
struct direction {
    struct v2_end *from, *to;
    struct native_v2_lane *send, *recv, *back; /* back: the other direction's, at the same end */
};

static struct direction direction_of(struct v2_pair *pair, int which)
{
    struct v2_end *from = which ? &pair->listener : &pair->dialer;
    struct v2_end *to = which ? &pair->dialer : &pair->listener;
    return (struct direction){from, to, &state_of(from)->u.records.send,
                              &state_of(to)->u.records.recv, &state_of(from)->u.records.recv};
}

/* One record from one end to the other, whose key is number `key_cnt` after it. */
static void pass(const struct direction *way, uint64_t key_cnt)
{
    struct weir_frame last;
    wire_len = 0;
    record_put(way->from, NATIVE_RUN, 1, 4, 0, false);
    cr_assert_eq(way->send->key_cnt, key_cnt);
    cr_assert_eq(records_take(way->to, FRAMES, &last), 1);
    cr_assert_eq(last.kind, WEIR_FRAME_RUN, "reason %u", last.fault);
    cr_assert_eq(way->recv->key_cnt, key_cnt);
    cr_assert_eq(way->back->key_cnt, 1, "the other direction keeps its own");
}

/* Puts both ends where so many records have passed under the key; the masks there are those of that place. */
static void skip_to(const struct direction *way, uint64_t n)
{
    struct native_v2_lane *lanes[2] = {way->send, way->recv};
    for (int i = 0; i < 2; i++) {
        static const uint8_t zeros[NATIVE_V2_MASK_BYTES];
        struct weir_aead *aead = weir_noise_cipher_aead(&lanes[i]->cipher);
        lanes[i]->cipher.n = n;
        cr_assert(
            weir_aead_start(aead, NATIVE_V2_MASK_NONCE + n / NATIVE_V2_MASKS_PER_BLOCK, NULL, 0));
        cr_assert(weir_aead_piece(aead, zeros, sizeof zeros, lanes[i]->mask));
    }
}

#define EACH_CIPHER_AND_DIRECTION(cipher, which)                 \
    for (uint8_t cipher = 0; cipher < WEIR_CIPHER_CNT; cipher++) \
        for (int which = 0; which < 2; which++)

Test(native_v2_rekey, a_key_ends_with_its_last_record)
{
    EACH_CIPHER_AND_DIRECTION(cipher, which)
    {
        struct v2_pair pair;
        pair_ready(&pair, cipher);
        struct direction way = direction_of(&pair, which);
        uint8_t first[WEIR_KEY_BYTES];
        memcpy(first, way.send->cipher.k, sizeof first);
        pass(&way, 1);
        skip_to(&way, NATIVE_V2_KEY_RECORDS_MAX - 40);
        for (int i = 0; i < 39; i++)
            pass(&way, 1);
        cr_assert_eq(way.send->cipher.n, NATIVE_V2_KEY_RECORDS_MAX - 1);
        cr_assert_lt(way.send->bytes, NATIVE_V2_KEY_BYTES_MAX, "it is not the bytes");
        pass(&way, 2);
        cr_assert_eq(way.send->cipher.n, 0);
        cr_assert_arr_neq(way.send->cipher.k, first, sizeof first);
        cr_assert_arr_eq(way.send->cipher.k, way.recv->cipher.k, sizeof first);
        pass(&way, 2);
        pair_close(&pair);
    }
}

Test(native_v2_rekey, a_key_ends_with_its_last_byte)
{
    EACH_CIPHER_AND_DIRECTION(cipher, which)
    {
        struct v2_pair pair;
        pair_ready(&pair, cipher);
        struct direction way = direction_of(&pair, which);
        for (uint64_t key_cnt = 1; key_cnt < 4; key_cnt++) {
            way.send->bytes = way.recv->bytes = NATIVE_V2_KEY_BYTES_MAX - 2 * PLAIN;
            pass(&way, key_cnt);
            cr_assert_eq(way.send->bytes, NATIVE_V2_KEY_BYTES_MAX - PLAIN);
            pass(&way, key_cnt + 1);
            cr_assert_eq(way.send->bytes, 0);
            way.send->bytes = way.recv->bytes = NATIVE_V2_KEY_BYTES_MAX - PLAIN - 1;
            pass(&way, key_cnt + 1); /* one byte is left */
            cr_assert_eq(way.send->bytes, NATIVE_V2_KEY_BYTES_MAX - 1);
        }
        pair_close(&pair);
    }
}

/* The limits are where docs/wire-v2.md has them, so that two implementations change at the same record. */
Test(native_v2_rekey, the_limits_are_those_of_the_wire)
{
    cr_assert_eq(NATIVE_V2_KEY_RECORDS_MAX, 1048576);
    cr_assert_eq(NATIVE_V2_KEY_BYTES_MAX, UINT64_C(4294967296));
}

/* One end that counts wrong is found out at its first record under the key that nobody else has. */
Test(native_v2_rekey, who_changes_too_early_is_not_understood)
{
    EACH_CIPHER_AND_DIRECTION(cipher, which)
    {
        struct v2_pair pair;
        struct weir_frame last = {0};
        pair_ready(&pair, cipher);
        struct direction way = direction_of(&pair, which);
        cr_assert(weir_v2_rekey(&pair.crypto, way.send));
        wire_len = 0;
        for (int i = 0; i < 3000; i++) /* enough for any length that its mask may make of it */
            record_put(way.from, NATIVE_RUN, 1, 4, 0, false);
        cr_assert_eq(records_take(way.to, FRAMES, &last), 1);
        cr_assert_eq(last.kind, WEIR_FRAME_FAULT);
        cr_assert_eq(last.fault, WEIR_R_BAD_RECORD);
        pair_close(&pair);
    }
}
