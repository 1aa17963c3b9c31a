/* The handshake as a whole: two ends and the bytes between them. */
#include "native_fixture.h"

Test(native, a_handshake_is_the_same_however_its_bytes_are_cut)
{
    for (size_t step = 1; step <= 200; step++) {
        struct end dialer, listener;
        end_begin(&dialer, &dialer_offer, true);
        end_begin(&listener, &listener_offer, false);
        ends_shake(&dialer, &listener, step);
        cr_assert(dialer.is_ready && listener.is_ready);
        cr_assert_eq(dialer.in_len + listener.in_len, 0);
        cr_assert_eq(CODEC->agreed(dialer.state)->channel_cnt, 3);
    }
}

/* All of one side's bytes at once, cut in two at every place; the second part only when it is needed. */
Test(native, every_single_cut_of_either_sides_bytes_is_fine)
{
    for (int is_dialer = 0; is_dialer < 2; is_dialer++) {
        const struct weir_offer *offer = is_dialer ? &dialer_offer : &listener_offer;
        const struct weir_offer *other = is_dialer ? &listener_offer : &dialer_offer;
        uint8_t bytes[512];
        weir_native_preface_write(bytes, !is_dialer);
        uint8_t payload[NATIVE_HELLO_OUT_MAX];
        size_t len = 9 + control_put(bytes + 9, NATIVE_HELLO, payload,
                                     weir_native_hello_write(payload, other));
        for (size_t cut = 0; cut <= len; cut++) {
            struct end end;
            struct weir_feed feed;
            end_begin(&end, offer, is_dialer);
            uint8_t *part = malloc(cut != 0 ? cut : 1);
            memcpy(part, bytes, cut);
            CODEC->feed(end.state, part, cut, NULL, 0, &feed);
            free(part);
            cr_assert_eq(feed.fault, 0);
            cr_assert_eq(feed.is_ready, cut == len);
            cr_assert_eq(feed.consumed, cut == len ? len : cut < 9 ? 0 : 9);
            cr_assert(cut == len || feed.need > cut - feed.consumed);
            cr_assert(cut == len || feed.consumed + feed.need <= len, "need is never too much");
            size_t at = feed.consumed;
            while (!feed.is_ready) {
                size_t upto = at + feed.need; /* exactly what it asked for */
                CODEC->feed(end.state, bytes + at, upto - at, NULL, 0, &feed);
                at += feed.consumed;
                cr_assert_eq(feed.fault, 0);
            }
            cr_assert_eq(at, len);
        }
    }
}

Test(native, frames_behind_the_hello_are_left_for_the_next_call)
{
    struct end listener;
    struct weir_feed feed;
    struct weir_frame frames[2];
    uint8_t bytes[1024], payload[NATIVE_HELLO_OUT_MAX];
    weir_native_preface_write(bytes, true);
    size_t hello_len = 9 + control_put(bytes + 9, NATIVE_HELLO, payload,
                                       weir_native_hello_write(payload, &dialer_offer));
    size_t len = hello_len + control_put(bytes + hello_len, NATIVE_PING, "12345678", 8);
    end_begin(&listener, &listener_offer, false);
    CODEC->feed(listener.state, bytes, len, frames, 2, &feed);
    cr_assert(feed.is_ready);
    cr_assert_eq(feed.frame_cnt, 0);
    cr_assert_eq(feed.consumed, hello_len);
    cr_assert_leq(feed.need, len - hello_len);
    CODEC->feed(listener.state, bytes + hello_len, len - hello_len, frames, 2, &feed);
    cr_assert(feed.is_ready);
    cr_assert_eq(feed.frame_cnt, 1);
    cr_assert_eq(frames[0].kind, WEIR_FRAME_CONTROL);
}

Test(native, pull_hands_out_each_byte_once_at_any_pace)
{
    uint8_t whole[WEIR_HANDSHAKE_OUT_MAX], bytes[WEIR_HANDSHAKE_OUT_MAX + 8];
    struct end dialer;
    size_t whole_len = 0;
    for (size_t cap = sizeof whole; cap != 0; cap = cap > 40 ? 40 : cap - 1) {
        end_begin(&dialer, &dialer_offer, true);
        weir_native_preface_write(dialer.in, false);
        dialer.in_len = 9;
        end_feed(&dialer);
        size_t len = 0, got;
        while ((got = CODEC->pull(dialer.state, bytes + len, cap)) != 0)
            len += got;
        if (whole_len == 0) {
            whole_len = len;
            memcpy(whole, bytes, len);
        }
        cr_assert_eq(len, whole_len);
        cr_assert_arr_eq(bytes, whole, len);
    }
    cr_assert_gt(whole_len, 100);
}

/* ---- refusals: both sides see the same reason ---------------------------------------------------- */

static void expect_refusal(const struct weir_offer *dials, const struct weir_offer *listens,
                           uint16_t reason)
{
    for (size_t step = 1; step <= 4096; step *= 4) {
        struct end dialer, listener;
        end_begin(&dialer, dials, true);
        end_begin(&listener, listens, false);
        ends_shake(&dialer, &listener, step);
        cr_assert(!dialer.is_ready && !listener.is_ready);
        cr_assert_eq(listener.fault, reason, "listener: %u", listener.fault);
        cr_assert_eq(dialer.fault, reason, "dialer: %u", dialer.fault);
    }
}

Test(native, another_network_is_refused)
{
    struct weir_offer other = dialer_offer;
    other.network_id = "weir-tesT";
    expect_refusal(&other, &listener_offer, WEIR_R_WRONG_NETWORK);
    other.network_id = "weir-tes";
    expect_refusal(&other, &listener_offer, WEIR_R_WRONG_NETWORK);
    other.network_id = "weir-test ";
    expect_refusal(&other, &listener_offer, WEIR_R_WRONG_NETWORK);
}

Test(native, dialing_oneself_is_refused)
{
    expect_refusal(&dialer_offer, &dialer_offer, WEIR_R_SELF);
}

Test(native, no_common_channel_is_refused)
{
    struct weir_channel_desc only = {.id = 4, .weight = 1, .msg_bytes_max = 1, .window_bytes = 1};
    struct weir_offer other = dialer_offer;
    other.channels = &only;
    other.channel_cnt = 1;
    expect_refusal(&other, &listener_offer, WEIR_R_NO_CHANNELS);
    other.channel_cnt = 0;
    expect_refusal(&other, &listener_offer, WEIR_R_NO_CHANNELS);
    expect_refusal(&listener_offer, &other, WEIR_R_NO_CHANNELS);
}

Test(native, the_reason_is_the_first_that_holds)
{
    struct weir_offer other = dialer_offer;
    other.channel_cnt = 0;
    memcpy(other.nonce, listener_offer.nonce, sizeof other.nonce);
    expect_refusal(&other, &listener_offer, WEIR_R_SELF);
    other.network_id = "x";
    expect_refusal(&other, &listener_offer, WEIR_R_WRONG_NETWORK);
}

/* A dialer meets bytes behind a right preface; then the listener meets what the dialer says to that. */
static void expect_dialer_refuses(const uint8_t *frame, size_t len, uint16_t reason)
{
    struct end dialer, listener;
    end_begin(&dialer, &dialer_offer, true);
    end_begin(&listener, &listener_offer, false);
    end_move(&dialer, &listener, SIZE_MAX);
    end_move(&listener, &dialer, SIZE_MAX);
    end_move(&dialer, &listener, SIZE_MAX); /* the hello; the listener is ready */
    cr_assert(listener.is_ready);
    memcpy(dialer.in, frame, len);
    dialer.in_len = len;
    end_feed(&dialer);
    cr_assert_eq(dialer.fault, reason, "dialer: %u", dialer.fault);
    end_move(&dialer, &listener, SIZE_MAX);
    cr_assert_eq(listener.fault, 0);
    cr_assert_eq(listener.goodbye.kind, WEIR_CONTROL_GOODBYE);
    cr_assert_eq(listener.goodbye.reason, reason, "listener: %u", listener.goodbye.reason);
}

Test(native, a_ready_listener_hears_why_the_dialer_refuses)
{
    uint8_t bytes[512], payload[NATIVE_HELLO_OUT_MAX];
    uint32_t payload_len = weir_native_hello_write(payload, &listener_offer);
    size_t len = control_put(bytes, NATIVE_HELLO, payload, payload_len);

    bytes[len - 1] ^= 1;
    expect_dialer_refuses(bytes, len, WEIR_R_BAD_CHECKSUM);

    payload[NATIVE_HELLO_AT_FEATURES] = 0x1C;
    payload[NATIVE_HELLO_AT_CRITICAL] = 0x10;
    control_put(bytes, NATIVE_HELLO, payload, payload_len);
    expect_dialer_refuses(bytes, len, WEIR_R_CRITICAL_FEATURE);

    payload[NATIVE_HELLO_AT_VERSION_MIN] = 2;
    payload[NATIVE_HELLO_AT_VERSION_MAX] = 3;
    control_put(bytes, NATIVE_HELLO, payload, payload_len);
    expect_dialer_refuses(bytes, len, WEIR_R_WRONG_VERSION);

    payload[NATIVE_HELLO_AT_VERSION_MAX] = 1;
    control_put(bytes, NATIVE_HELLO, payload, payload_len);
    expect_dialer_refuses(bytes, len, WEIR_R_BAD_HELLO);

    len = control_put(bytes, NATIVE_PING, "12345678", 8);
    expect_dialer_refuses(bytes, len, WEIR_R_BAD_HELLO);
    len = control_put(bytes, 0x90, "", 0);
    expect_dialer_refuses(bytes, len, WEIR_R_BAD_HELLO);
    len = frame_put(bytes, NATIVE_RUN, 7, 1, "\0", 2);
    expect_dialer_refuses(bytes, len, WEIR_R_BAD_HELLO);
    len = frame_put(bytes, NATIVE_HELLO, 7, 0, payload, payload_len);
    expect_dialer_refuses(bytes, len, WEIR_R_BAD_HELLO);
    len = control_put(bytes, NATIVE_GOODBYE, "\0\0\0\0", 4);
    expect_dialer_refuses(bytes, len, WEIR_R_BAD_CONTROL);
    memcpy(bytes, "GET ", 4);
    expect_dialer_refuses(bytes, 4, WEIR_R_BAD_MAGIC);
}

Test(native, a_goodbye_in_place_of_a_hello_is_believed_and_not_answered)
{
    for (int is_dialer = 0; is_dialer < 2; is_dialer++) {
        struct end end;
        uint8_t rest[64];
        struct weir_control goodbye = {.kind = WEIR_CONTROL_GOODBYE, .reason = WEIR_R_LIMIT_PEERS};
        end_begin(&end, &dialer_offer, is_dialer);
        weir_native_preface_write(end.in, !is_dialer);
        end.in_len = 9 + CODEC->control_write(end.in + 9, &goodbye);
        end_feed(&end);
        cr_assert_eq(end.fault, WEIR_R_LIMIT_PEERS);
        cr_assert_eq(CODEC->pull(end.state, rest, sizeof rest), 0);
    }
}

Test(native, a_failed_handshake_stays_failed)
{
    struct end listener;
    struct weir_feed feed;
    struct weir_frame frames[2];
    end_begin(&listener, &listener_offer, false);
    memcpy(listener.in, "GET ", 4);
    listener.in_len = 4;
    end_feed(&listener);
    cr_assert_eq(listener.fault, WEIR_R_HTTP);
    uint8_t bytes[9];
    weir_native_preface_write(bytes, true);
    CODEC->feed(listener.state, bytes, 9, frames, 2, &feed);
    cr_assert_eq(feed.fault, WEIR_R_HTTP);
    cr_assert_eq(feed.consumed, 9);
    cr_assert_eq(feed.frame_cnt, 0);
    cr_assert_eq(CODEC->pull(listener.state, bytes, 9), 0);
}

/* No header can make us wait for more than a handshake may have. */
Test(native, a_handshake_never_asks_for_more_than_its_limit)
{
    for (uint32_t len = 0; len < 5000; len += 7) {
        for (uint8_t kind = 0; kind < 0x40; kind++) {
            struct end listener;
            struct weir_feed feed;
            uint8_t bytes[9 + 32];
            static uint8_t payload[5000];
            end_begin(&listener, &listener_offer, false);
            weir_native_preface_write(bytes, true);
            CODEC->frame_head(bytes + 9, kind, 0xFFFF, 0, payload, len);
            CODEC->feed(listener.state, bytes, sizeof bytes, NULL, 0, &feed);
            cr_assert(feed.fault != 0 || feed.consumed + feed.need <= CODEC->handshake_bytes_max);
        }
    }
}

Test(native, an_idle_connection_is_small)
{
    cr_assert_leq(CODEC->state_bytes, 1024);
    cr_assert_leq(weir_codec_state_bytes(CODEC, 4), 192);
    cr_assert_eq(weir_codec_state_bytes(CODEC, WEIR_CHANNELS_MAX), CODEC->state_bytes);
    cr_assert_eq(CODEC->head_bytes, WEIR_NATIVE_HEAD);
    cr_assert_str_eq(CODEC->name, "native");
}

/* A connection's state is cut to what its offer needs: what lies behind is another connection's. */
Test(native, a_state_ends_with_the_channels_of_its_offer)
{
    struct end dialer, listener;
    const struct end *ends[2] = {&dialer, &listener};
    const uint32_t channel_cnts[2] = {dialer_offer.channel_cnt, listener_offer.channel_cnt};
    end_begin(&dialer, &dialer_offer, true);
    end_begin(&listener, &listener_offer, false);
    ends_shake(&dialer, &listener, SIZE_MAX);
    cr_assert(dialer.is_ready && listener.is_ready);
    for (uint32_t side = 0; side < 2; side++) {
        size_t end = weir_codec_state_bytes(CODEC, channel_cnts[side]);
        cr_assert_lt(end, CODEC->state_bytes);
        for (size_t i = end; i < CODEC->state_bytes; i++)
            cr_assert_eq(ends[side]->state[i], 0xA5, "side %u, byte %zu", side, i);
    }
}
