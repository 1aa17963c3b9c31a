/* libcrypto refuses its n-th call, for every n: when a shard looks its algorithms up, in handshakes of every pattern, and
 * in records. Whatever it refuses, nothing is made up: both ends agree, or one of them says that it failed; a frame arrives
 * as it was, or the stream ends; no key is left behind, and no memory. In whole nodes: test_fault_loops.c. */
#include "tests/unit/proto/crypto_refuse.h"
#include "v2_fixture.h"

/* ---- what is looked up once ----------------------------------------------------------------------- */

Test(crypto_faults, a_shard_has_all_of_it_or_nothing)
{
    static const struct weir_crypto nothing;
    uint32_t nth = 1;
    for (bool was_refused = true; was_refused; nth++) {
        struct weir_crypto crypto;
        crypto_arm(nth);
        bool is_good = weir_crypto_init(&crypto);
        was_refused = crypto_disarm();
        cr_assert_eq(is_good, !was_refused, "call %u", nth);
        if (was_refused)
            cr_assert_arr_eq(&crypto, &nothing, sizeof crypto, "call %u", nth);
        else
            weir_crypto_fini(&crypto);
    }
    cr_assert_gt(nth, 15);
}

Test(crypto_faults, a_node_has_an_identity_or_none)
{
    static const struct weir_identity nobody;
    struct weir_crypto crypto;
    uint8_t key[WEIR_KEY_BYTES];
    uint32_t nth = 1;
    cr_assert(weir_crypto_init(&crypto));
    key_of(4, key);
    for (bool was_refused = true; was_refused; nth++) {
        struct weir_identity identity;
        crypto_arm(nth);
        bool is_good = weir_identity_init(&identity, &crypto, key);
        was_refused = crypto_disarm();
        cr_assert_eq(is_good, !was_refused, "call %u", nth);
        if (was_refused)
            cr_assert_arr_eq(&identity, &nobody, sizeof identity, "call %u", nth);
        weir_identity_fini(&identity);
    }
    weir_crypto_fini(&crypto);
    cr_assert_gt(nth, 15);
}

/* RFC 7748, 6.1: who gets all zeros was sent a key of low order. libcrypto sees to that as well. */
Test(crypto_faults, a_shared_key_of_zeros_or_of_another_length_is_none)
{
    struct weir_crypto crypto;
    struct weir_dh_key key;
    uint8_t private_key[WEIR_KEY_BYTES], peer[WEIR_KEY_BYTES] = {9}, shared[WEIR_KEY_BYTES];
    cr_assert(weir_crypto_init(&crypto));
    key_of(5, private_key);
    cr_assert(weir_dh_key_init(&crypto, &key, private_key));
    cr_assert(weir_dh(&crypto, &key, peer, shared));
    crypto_derive_what = DERIVE_ZEROS;
    cr_assert_not(weir_dh(&crypto, &key, peer, shared));
    crypto_derive_what = DERIVE_SHORT;
    cr_assert_not(weir_dh(&crypto, &key, peer, shared));
    crypto_derive_what = DERIVE_RIGHT;
    cr_assert(weir_dh(&crypto, &key, peer, shared));
    weir_dh_key_fini(&key);
    weir_crypto_fini(&crypto);
}

/* ---- handshakes ----------------------------------------------------------------------------------- */

enum way { WAY_XX, WAY_XXPSK3, WAY_IK, WAY_IKPSK2, WAY_AGAIN, WAY_CNT };

static void way_begin(struct v2_pair *pair, enum way way)
{
    static struct weir_gate gate = {.admission = WEIR_GATE_COOKIE};
    struct native_v2_state *dialer = state_of(&pair->dialer);
    pair_open(pair);
    pair->dialer.secret.cipher = way & 1 ? WEIR_CIPHER_CHACHAPOLY : WEIR_CIPHER_AESGCM;
    if (way == WAY_XXPSK3 || way == WAY_IKPSK2) {
        pair->dialer.secret.network_key = pair->listener.secret.network_key = pair->network_key[0];
        pair->listener.secret.gate = &gate;
    }
    pair_begin(pair, pair->listener.identity.proof);
    if (way < WAY_IK)
        return;
    /* It knows the listener's key; or an older one, and has to begin once more. */
    const struct v2_end *known = way == WAY_AGAIN ? &pair->dialer : &pair->listener;
    dialer->has_peer_key = true;
    memcpy(dialer->peer_key, known->identity.s.public_key, sizeof dialer->peer_key);
}

/* Each failure is one that a handshake may have, and who is ready is so with good reason. */
static void expect_end(struct v2_pair *pair, enum way way, uint32_t nth, bool was_refused)
{
    bool is_agreed = pair->dialer.is_ready && pair->listener.is_ready;
    for (uint8_t i = 0; i < 2; i++) {
        uint16_t fault = i ? pair->listener.fault : pair->dialer.fault;
        cr_assert(fault == 0 || fault == WEIR_R_INTERNAL || fault == WEIR_R_HANDSHAKE_CRYPTO ||
                      fault == WEIR_R_BAD_KEY || fault == WEIR_R_BAD_IDENTITY ||
                      fault == WEIR_R_BAD_RECORD || fault == WEIR_R_BAD_HELLO,
                  "way %d, call %u: %u", (int)way, nth, fault);
    }
    cr_assert(is_agreed || was_refused, "way %d: %u %u", (int)way, pair->dialer.fault,
              pair->listener.fault);
    /* Whoever does not wait for the other side knows that it is over, also where only pull has met it. */
    cr_assert(is_agreed || V2->fault(pair->dialer.state) || V2->fault(pair->listener.state),
              "way %d, call %u: both wait", (int)way, nth);
    if (is_agreed)
        cr_assert_arr_eq(V2->session(pair->dialer.state), V2->session(pair->listener.state),
                         WEIR_SESSION_BYTES);
}

static void way_try(enum way way)
{
    uint32_t nth = 1;
    for (bool was_refused = true; was_refused; nth++) {
        struct v2_pair pair;
        way_begin(&pair, way);
        crypto_arm(nth);
        pair_run(&pair, 4000);
        was_refused = crypto_disarm();
        expect_end(&pair, way, nth, was_refused);
        pair_close(&pair);
    }
    cr_assert_gt(nth, 200, "way %d: %u calls", (int)way, nth);
}

Test(crypto_faults, a_handshake_ends_well_or_with_a_reason)
{
    way_try(WAY_XX);
}
Test(crypto_faults, one_with_a_network_key_and_a_cookie_does_too)
{
    way_try(WAY_XXPSK3);
}
Test(crypto_faults, one_with_a_known_key_does_too)
{
    way_try(WAY_IK);
}
Test(crypto_faults, one_with_a_known_key_and_a_cookie_does_too)
{
    way_try(WAY_IKPSK2);
}
Test(crypto_faults, one_that_begins_once_more_does_too)
{
    way_try(WAY_AGAIN);
}

/* ---- records -------------------------------------------------------------------------------------- */

#define RECORDS 38u /* the masks of lengths are made again on the way */
#define REKEYED 34u /* that record ends its key */
#define OTHERS WEIR_LEASED_MIN

/* As many other connections as there are contexts: after them none of the contexts has the key of ours. */
static void others_begin(const struct weir_crypto *crypto, struct weir_aead_lease *ret_leases)
{
    for (uint32_t i = 0; i < OTHERS; i++)
        cr_assert(weir_lease_init(crypto, &ret_leases[i], WEIR_CIPHER_CHACHAPOLY));
}

static void others_work(struct weir_aead_lease *leases)
{
    uint8_t key[WEIR_KEY_BYTES];
    bool was_armed = crypto_refuse.is_armed;
    crypto_refuse.is_armed = false;
    key_of(40, key);
    for (uint32_t i = 0; i < 2 * OTHERS; i++)
        cr_assert(weir_lease_aead(&leases[i % OTHERS], key, true));
    crypto_refuse.is_armed = was_armed;
}

/* Says one thing after the other until something is refused. Returns how many were heard. */
static uint32_t talk(struct v2_pair *pair, struct weir_aead_lease *others)
{
    for (uint32_t i = 0; i < RECORDS; i++) {
        uint8_t plain[2 * NATIVE_V2_HEAD + 2] = {0}, record[sizeof plain + 18];
        uint32_t len = NATIVE_V2_HEAD + 2;
        struct weir_frame frames[FRAMES];
        struct weir_feed feed;
        V2->frame_head(plain, NATIVE_FIRST, 12, 1000 + i, NULL, 2);
        plain[NATIVE_V2_HEAD] = (uint8_t)i;
        if (i == REKEYED)
            len +=
                V2->control_write(plain + len, &(struct weir_control){.kind = WEIR_CONTROL_REKEY});
        if (i % 10 ==
            5) /* the lanes' contexts go to others, the sealing one's and the opening one's */
            others_work(others);
        struct weir_seal_piece piece = {plain, record + WEIR_SEAL_HEAD, len};
        if (!V2->seal(pair->dialer.state, &piece, 1, i == REKEYED, record,
                      record + WEIR_SEAL_HEAD + len))
            return i;
        if (i % 10 == 7)
            others_work(others);
        V2->feed(pair->listener.state, record, WEIR_SEAL_HEAD + len + WEIR_SEAL_TAIL, frames,
                 FRAMES, &feed);
        cr_assert_geq(feed.frame_cnt, 1);
        bool is_fault = frames[feed.frame_cnt - 1].kind == WEIR_FRAME_FAULT;
        uint16_t fault = frames[feed.frame_cnt - 1].fault;
        cr_assert_eq(feed.frame_cnt, is_fault && i == REKEYED && feed.frame_cnt == 2 ? 2 : 1);
        if (!is_fault || feed.frame_cnt == 2) {
            cr_assert_eq(frames[0].aux, 1000 + i);
            cr_assert_eq(frames[0].payload[0], i);
        }
        if (is_fault) {
            cr_assert(fault == WEIR_R_BAD_RECORD || fault == WEIR_R_INTERNAL, "%u", fault);
            return i;
        }
    }
    return RECORDS;
}

Test(crypto_faults, a_record_arrives_as_it_was_or_ends_the_stream)
{
    static struct weir_aead_lease others[OTHERS];
    struct v2_pair pair;
    uint32_t nth = 1;
    for (bool was_refused = true; was_refused; nth++) {
        pair_ready(&pair, WEIR_CIPHER_CHACHAPOLY);
        others_begin(&pair.crypto, others);
        crypto_arm(nth);
        uint32_t heard = talk(&pair, others);
        was_refused = crypto_disarm();
        cr_assert(was_refused || heard == RECORDS, "call %u: %u", nth, heard);
        for (uint32_t i = 0; i < OTHERS; i++)
            weir_lease_fini(&others[i]);
        pair_close(&pair);
    }
    cr_assert_gt(nth, 200);
}
