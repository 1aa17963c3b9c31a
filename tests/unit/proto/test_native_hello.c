#include "native_fixture.h"
#include "proto/native_bytes.h"

/* Writes preface, hello header and payload as a dialer sends them. */
static size_t dialer_bytes(uint8_t *bytes, const uint8_t *payload, uint32_t len)
{
    weir_native_preface_write(bytes, true);
    return NATIVE_PREFACE_BYTES +
           control_put(bytes + NATIVE_PREFACE_BYTES, NATIVE_HELLO, payload, len);
}

/* Lets a listener read a hello payload. Returns 0 if it accepts. */
static uint16_t judge(const uint8_t *payload, uint32_t len, struct weir_agreed *ret_agreed)
{
    struct end listener;
    struct weir_feed feed;
    static uint8_t bytes[4096];
    end_begin(&listener, &listener_offer, false);
    size_t size = dialer_bytes(bytes, payload, len);
    CODEC->feed(listener.state, bytes, size, NULL, 0, &feed);
    cr_assert_eq(feed.consumed, size);
    cr_assert_eq(feed.is_ready, feed.fault == 0);
    if (ret_agreed != NULL && feed.is_ready)
        *ret_agreed = *CODEC->agreed(listener.state);
    return feed.fault;
}

Test(native_hello, both_sides_agree_on_the_same)
{
    struct end dialer, listener;
    end_begin(&dialer, &dialer_offer, true);
    end_begin(&listener, &listener_offer, false);
    ends_shake(&dialer, &listener, SIZE_MAX);
    cr_assert(dialer.is_ready && listener.is_ready);
    const struct weir_agreed *ours = CODEC->agreed(dialer.state);
    const struct weir_agreed *theirs = CODEC->agreed(listener.state);
    cr_assert_eq(ours->version, 1);
    cr_assert_eq(theirs->version, 1);
    cr_assert_eq(ours->frame_bytes_max, 4096);
    cr_assert_eq(theirs->frame_bytes_max, 4096);
    cr_assert_eq(ours->features, 0x4);
    cr_assert_eq(theirs->features, 0x4);
    cr_assert_str_eq(ours->user_agent, "listener/1");
    cr_assert_str_eq(theirs->user_agent, "dialer/1");
    cr_assert_arr_eq(ours->node_id, listener_offer.node_id, 32);
    cr_assert_arr_eq(theirs->node_id, dialer_offer.node_id, 32);
    cr_assert_eq(ours->channel_cnt, 3);
    cr_assert_eq(theirs->channel_cnt, 3);
    for (uint32_t i = 0; i < 3; i++) {
        const struct weir_channel_desc *mine = &dialer_channels[ours->channels[i].local_idx];
        const struct weir_channel_desc *its = &listener_channels[theirs->channels[i].local_idx];
        cr_assert_eq(mine->id, its->id, "the same position is the same channel");
        cr_assert_eq(ours->channels[i].msg_bytes_max, its->msg_bytes_max);
        cr_assert_eq(ours->channels[i].window_bytes, its->window_bytes);
        cr_assert_eq(theirs->channels[i].msg_bytes_max, mine->msg_bytes_max);
        cr_assert_eq(theirs->channels[i].window_bytes, mine->window_bytes);
    }
}

/* The intersection, against a model that asks for each pair, over random sets in random orders. */
Test(native_hello, the_channels_in_common_are_those_a_model_finds)
{
    srand(1);
    for (int round = 0; round < 300; round++) {
        struct weir_channel_desc sets[2][WEIR_CHANNELS_MAX];
        struct weir_offer offers[2] = {dialer_offer, listener_offer};
        struct end ends[2];
        uint32_t range = 65 + (uint32_t)rand() % 200;
        for (int side = 0; side < 2; side++) {
            uint32_t cnt = 1 + (uint32_t)rand() % WEIR_CHANNELS_MAX;
            for (uint32_t i = 0; i < cnt;) {
                uint16_t id = (uint16_t)((uint32_t)rand() % range);
                bool is_new = true;
                for (uint32_t j = 0; j < i; j++)
                    is_new = is_new && sets[side][j].id != id;
                if (is_new)
                    sets[side][i++] = (struct weir_channel_desc){id, 1, 1u + id, 2u + id, 0};
            }
            offers[side].channels = sets[side];
            offers[side].channel_cnt = cnt;
            end_begin(&ends[side], &offers[side], side == 0);
        }
        ends_shake(&ends[0], &ends[1], SIZE_MAX);
        uint32_t common = 0;
        for (uint32_t i = 0; i < offers[0].channel_cnt; i++) {
            for (uint32_t j = 0; j < offers[1].channel_cnt; j++)
                common += sets[0][i].id == sets[1][j].id;
        }
        cr_assert_eq(ends[0].is_ready, common != 0);
        cr_assert_eq(ends[0].fault, common != 0 ? 0 : WEIR_R_NO_CHANNELS);
        if (common == 0)
            continue;
        for (int side = 0; side < 2; side++) {
            const struct weir_agreed *agreed = CODEC->agreed(ends[side].state);
            cr_assert_eq(agreed->channel_cnt, common);
            for (uint32_t i = 0; i < common; i++) {
                uint16_t id = sets[side][agreed->channels[i].local_idx].id;
                cr_assert_eq(agreed->channels[i].msg_bytes_max, 1u + id);
                cr_assert(i == 0 || sets[side][agreed->channels[i - 1].local_idx].id < id);
            }
        }
    }
}

/* Every proper beginning of a hello's payload is malformed, once there is a version to judge. */
Test(native_hello, no_cut_hello_is_accepted)
{
    uint8_t payload[NATIVE_HELLO_OUT_MAX];
    uint32_t len = weir_native_hello_write(payload, &dialer_offer);
    cr_assert_eq(judge(payload, len, NULL), 0);
    for (uint32_t cut = 0; cut < len; cut++)
        cr_assert_eq(judge(payload, cut, NULL), WEIR_R_BAD_HELLO, "%u", cut);
}

/* Every byte of a hello takes every value: accepted or refused, the channels stay within the offer. */
Test(native_hello, no_changed_byte_does_harm)
{
    uint8_t payload[NATIVE_HELLO_OUT_MAX];
    uint32_t len = weir_native_hello_write(payload, &dialer_offer);
    for (uint32_t at = 0; at < len; at++) {
        for (unsigned change = 1; change < 256; change++) {
            struct weir_agreed agreed = {0};
            payload[at] ^= (uint8_t)change;
            uint16_t fault = judge(payload, len, &agreed);
            payload[at] ^= (uint8_t)change;
            cr_assert(fault == 0 ||
                      (fault >= WEIR_R_WRONG_NETWORK && fault <= WEIR_R_CRITICAL_FEATURE));
            cr_assert_leq(agreed.channel_cnt, 3);
            for (uint32_t i = 0; i < agreed.channel_cnt; i++)
                cr_assert_lt(agreed.channels[i].local_idx, 4);
        }
    }
}

Test(native_hello, the_largest_offer_fits_and_is_accepted)
{
    struct weir_channel_desc channels[WEIR_CHANNELS_MAX];
    for (uint32_t i = 0; i < WEIR_CHANNELS_MAX; i++)
        channels[i] = (struct weir_channel_desc){(uint16_t)(WEIR_CHANNEL_ID_MAX - i), 1000,
                                                 WEIR_MSG_BYTES_MAX, UINT32_MAX, UINT32_MAX};
    struct weir_offer offers[2] = {dialer_offer, listener_offer};
    struct end ends[2];
    for (int side = 0; side < 2; side++) {
        offers[side].channels = channels;
        offers[side].channel_cnt = WEIR_CHANNELS_MAX;
        offers[side].network_id = "0123456789abcdef0123456789abcdef";
        offers[side].user_agent =
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        end_begin(&ends[side], &offers[side], side == 0);
    }
    ends_shake(&ends[0], &ends[1], SIZE_MAX);
    for (int side = 0; side < 2; side++) {
        cr_assert(ends[side].is_ready);
        cr_assert_eq(CODEC->agreed(ends[side].state)->channel_cnt, WEIR_CHANNELS_MAX);
        cr_assert_eq(strlen(CODEC->agreed(ends[side].state)->user_agent), 64);
    }
}

Test(native_hello, extensions_are_skipped_up_to_the_limit)
{
    static uint8_t payload[NATIVE_HELLO_BYTES_MAX + 1];
    uint32_t len = weir_native_hello_write(payload, &dialer_offer);
    uint32_t rest = NATIVE_HELLO_BYTES_MAX - len;
    weir_le16_put(payload + len, 0x7FFF);
    weir_le16_put(payload + len + 2, (uint16_t)(rest - 4));
    cr_assert_eq(judge(payload, NATIVE_HELLO_BYTES_MAX, NULL), 0);
    cr_assert_eq(judge(payload, NATIVE_HELLO_BYTES_MAX + 1, NULL), WEIR_R_HANDSHAKE_BYTES);
    weir_le16_put(payload + len, 0x8000);
    cr_assert_eq(judge(payload, NATIVE_HELLO_BYTES_MAX, NULL), WEIR_R_CRITICAL_FEATURE);
}

/* One more than each limit, in a hello that is right otherwise: what is kept of it has that size. */
Test(native_hello, lengths_above_their_limits_are_refused)
{
    static const struct {
        uint32_t network_id_len, user_agent_len, channel_cnt;
        uint16_t fault;
    } cases[] = {
        {9, 64, 64, 0},
        {32, 64, 64, WEIR_R_WRONG_NETWORK},
        {33, 0, 1, WEIR_R_BAD_HELLO},
        {255, 0, 1, WEIR_R_BAD_HELLO},
        {9, 65, 1, WEIR_R_BAD_HELLO},
        {9, 255, 1, WEIR_R_BAD_HELLO},
        {9, 0, 65, WEIR_R_BAD_HELLO},
        {9, 0, 110, WEIR_R_BAD_HELLO},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static uint8_t payload[NATIVE_HELLO_BYTES_MAX];
        struct weir_agreed agreed;
        memset(payload, 'x', sizeof payload);
        weir_native_hello_write(payload, &dialer_offer);
        uint8_t *at = payload + NATIVE_HELLO_FIXED;
        *at++ = (uint8_t)cases[i].network_id_len;
        memset(at, 'x', cases[i].network_id_len);
        memcpy(at, "weir-test", 9);
        at += cases[i].network_id_len;
        *at++ = (uint8_t)cases[i].user_agent_len;
        memset(at, 'x', cases[i].user_agent_len);
        at += cases[i].user_agent_len;
        weir_le16_put(at, (uint16_t)cases[i].channel_cnt);
        at += 2;
        for (uint32_t id = 0; id < cases[i].channel_cnt; id++, at += NATIVE_HELLO_CHANNEL_BYTES) {
            memset(at, 0, NATIVE_HELLO_CHANNEL_BYTES);
            weir_le16_put(at, (uint16_t)id);
            weir_le16_put(at + 2, 1);
            weir_le32_put(at + 4, 1);
            weir_le32_put(at + 8, 1);
        }
        uint16_t fault = judge(payload, (uint32_t)(at - payload), &agreed);
        cr_expect_eq(fault, cases[i].fault, "%zu: %u", i, fault);
    }
}
