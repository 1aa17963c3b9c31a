#include "native_fixture.h"

static struct end end;

static void make_end(void)
{
    end_make_ready(&end, false);
}

TestSuite(native_control, .init = make_end);

/* Feeds one frame; returns what it became. */
static struct weir_frame feed_one(uint8_t *bytes, size_t len)
{
    struct weir_feed feed;
    struct weir_frame frames[2];
    CODEC->feed(end.state, bytes, len, frames, 2, &feed);
    cr_assert_eq(feed.frame_cnt, 1);
    cr_assert_eq(feed.consumed, len);
    CODEC->verify(frames, 1);
    return frames[0];
}

/* Writes, feeds and reads a control frame. */
static struct weir_control there_and_back(const struct weir_control *control)
{
    static uint8_t bytes[WEIR_CONTROL_OUT_MAX];
    struct weir_control got;
    memset(&got, 0xA5, sizeof got);
    uint32_t len = CODEC->control_write(bytes, control);
    cr_assert_leq(len, WEIR_CONTROL_OUT_MAX);
    struct weir_frame frame = feed_one(bytes, len);
    cr_assert_eq(frame.kind, WEIR_FRAME_CONTROL);
    cr_assert_eq(frame.fault, 0);
    cr_assert_eq(CODEC->control_read(&frame, &got), 0);
    cr_assert_eq(got.kind, control->kind);
    return got;
}

Test(native_control, ping_and_pong_carry_their_value)
{
    struct weir_control ping = {.kind = WEIR_CONTROL_PING, .value = UINT64_C(0x1122334455667788)};
    struct weir_control pong = {.kind = WEIR_CONTROL_PONG, .value = UINT64_MAX};
    cr_assert_eq(there_and_back(&ping).value, ping.value);
    cr_assert_eq(there_and_back(&pong).value, pong.value);
}

Test(native_control, credits_arrive_in_any_number)
{
    for (uint32_t cnt = 1; cnt <= WEIR_CHANNELS_MAX; cnt++) {
        struct weir_control credit = {.kind = WEIR_CONTROL_CREDIT, .credit_cnt = cnt};
        for (uint32_t i = 0; i < cnt; i++)
            credit.credits[i] = (struct weir_credit){(uint16_t)(i * 1000), (uint64_t)i << 60 | i};
        struct weir_control got = there_and_back(&credit);
        cr_assert_eq(got.credit_cnt, cnt);
        for (uint32_t i = 0; i < cnt; i++) {
            cr_assert_eq(got.credits[i].channel, credit.credits[i].channel);
            cr_assert_eq(got.credits[i].limit, credit.credits[i].limit);
        }
    }
}

Test(native_control, a_goodbye_carries_reason_and_text)
{
    struct weir_control goodbye = {.kind = WEIR_CONTROL_GOODBYE, .reason = WEIR_R_SHUTDOWN};
    struct weir_control got = there_and_back(&goodbye);
    cr_assert_eq(got.reason, WEIR_R_SHUTDOWN);
    cr_assert_str_eq(got.text, "");

    goodbye.reason = WEIR_REASON_CNT - 1;
    strcpy(goodbye.text, "bye, \xC3\xA9t\xC3\xA9 \xF0\x9F\x8C\x8A");
    got = there_and_back(&goodbye);
    cr_assert_eq(got.reason, WEIR_REASON_CNT - 1);
    cr_assert_str_eq(got.text, goodbye.text);
}

Test(native_control, a_goodbye_text_fills_its_space)
{
    struct weir_control goodbye = {.kind = WEIR_CONTROL_GOODBYE, .reason = 1};
    memset(goodbye.text, 'x', WEIR_GOODBYE_TEXT_MAX);
    cr_assert_str_eq(there_and_back(&goodbye).text, goodbye.text);
    memset(goodbye.text, 'x', sizeof goodbye.text); /* the caller forgot the end */
    cr_assert_eq(strlen(there_and_back(&goodbye).text), WEIR_GOODBYE_TEXT_MAX);
    /* A character that does not fit whole is left out. */
    memcpy(goodbye.text + WEIR_GOODBYE_TEXT_MAX - 1, "\xC3\xA9", 2);
    cr_assert_eq(strlen(there_and_back(&goodbye).text), WEIR_GOODBYE_TEXT_MAX - 1);
    /* One that is replaced fills what there is. */
    memcpy(goodbye.text + WEIR_GOODBYE_TEXT_MAX - 1, "\xC2\x80", 2);
    cr_assert_eq(strlen(there_and_back(&goodbye).text), WEIR_GOODBYE_TEXT_MAX);
    cr_assert_eq(there_and_back(&goodbye).text[WEIR_GOODBYE_TEXT_MAX - 1], '?');
}

static const struct {
    const char *text, *clean;
} texts[] = {
    {"a\nb\tc\x1B[31m", "a?b?c?[31m"},
    {"\x7F", "?"},
    {"\xC2\x85\xC2\xA0", "??\xC2\xA0"}, /* a C1 control; no-break space stays */
    {"\xE2\x80\xAE"
     "abc",
     "???abc"}, /* right-to-left override */
    {"\xE2\x80\xA7\xE2\x80\xA8\xE2\x80\xAF",
     "\xE2\x80\xA7???\xE2\x80\xAF"}, /* and its neighbours */
    {"\xE2\x81\xA5\xE2\x81\xA9\xE2\x81\xAA", "\xE2\x81\xA5???\xE2\x81\xAA"},
    {"5 \xE2\x82\xAC", "5 \xE2\x82\xAC"},
    {"\xC0\xAF", "??"}, /* overlong */
    {"\xE0\x80\xAF", "???"},
    {"\xF0\x80\x80\xAF", "????"},
    {"\xED\xA0\x80", "???"},      /* a surrogate */
    {"\xF4\x90\x80\x80", "????"}, /* above U+10FFFF */
    {"\xF4\x8F\xBF\xBF", "\xF4\x8F\xBF\xBF"},
    {"\xC3", "?"}, /* cut */
    {"\xE2\x82x", "??x"},
    {"\xFF\xFE", "??"},
};

Test(native_control, a_text_is_made_printable_by_both_sides)
{
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct weir_control goodbye = {.kind = WEIR_CONTROL_GOODBYE, .reason = 1};
        strcpy(goodbye.text, texts[i].text);
        cr_expect_str_eq(there_and_back(&goodbye).text, texts[i].clean);

        uint8_t bytes[200], payload[64] = {1, 0, (uint8_t)strlen(texts[i].text), 0};
        strcpy((char *)payload + 4, texts[i].text);
        struct weir_frame frame =
            feed_one(bytes, control_put(bytes, NATIVE_GOODBYE, payload, 4u + payload[2]));
        struct weir_control got;
        cr_assert_eq(CODEC->control_read(&frame, &got), 0);
        cr_expect_str_eq(got.text, texts[i].clean, "%zu: %s", i, got.text);
    }
}

Test(native_control, a_nul_in_a_text_does_not_end_it)
{
    uint8_t bytes[64];
    struct weir_control got;
    struct weir_frame frame =
        feed_one(bytes, control_put(bytes, NATIVE_GOODBYE, "\1\0\3\0a\0b", 7));
    cr_assert_eq(CODEC->control_read(&frame, &got), 0);
    cr_assert_str_eq(got.text, "a?b");
}

Test(native_control, reasons_of_a_later_version_stay_in_our_tables)
{
    for (uint32_t reason = 1; reason <= UINT16_MAX; reason += reason < 300 ? 1 : 997) {
        uint8_t payload[4] = {(uint8_t)reason, (uint8_t)(reason >> 8), 0, 0};
        struct weir_frame frame = {.wire_kind = NATIVE_GOODBYE, .payload = payload, .len = 4};
        struct weir_control got;
        cr_assert_eq(CODEC->control_read(&frame, &got), 0);
        cr_assert_eq(got.reason, reason < WEIR_REASON_CNT ? reason : WEIR_R_APPLICATION);
    }
}

Test(native_control, malformed_payloads_are_refused_and_nothing_written)
{
    static const struct {
        uint8_t kind;
        uint32_t len;
        uint8_t payload[16];
    } cases[] = {
        {NATIVE_PING, 0, {0}},
        {NATIVE_PING, 7, {0}},
        {NATIVE_PING, 9, {0}},
        {NATIVE_PONG, 7, {0}},
        {NATIVE_PONG, 16, {0}},
        {NATIVE_CREDIT, 0, {0}},
        {NATIVE_CREDIT, 11, {0}},
        {NATIVE_CREDIT, 13, {0}},
        {NATIVE_CREDIT, 12, {1, 0, 1, 0}},
        {NATIVE_CREDIT, 12, {1, 0, 0, 0x80}},
        {NATIVE_GOODBYE, 0, {0}},
        {NATIVE_GOODBYE, 3, {1, 0, 0}},
        {NATIVE_GOODBYE, 4, {0, 0, 0, 0}},
        {NATIVE_GOODBYE, 4, {1, 0, 1, 0}},
        {NATIVE_GOODBYE, 5, {1, 0, 0, 0, 'x'}},
        {NATIVE_HELLO, 4, {1, 1}},
        {NATIVE_RUN, 4, {1, 1}},
        {0x90, 8, {1, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t payload[16];
        struct weir_control got, untouched;
        memcpy(payload, cases[i].payload, sizeof payload);
        memset(&got, 0xA5, sizeof got);
        memset(&untouched, 0xA5, sizeof untouched);
        struct weir_frame frame = {
            .wire_kind = cases[i].kind, .payload = payload, .len = cases[i].len};
        cr_expect_eq(CODEC->control_read(&frame, &got), WEIR_R_BAD_CONTROL, "%zu", i);
        cr_expect_eq(memcmp(&got, &untouched, sizeof got), 0, "%zu", i);
    }
}

Test(native_control, too_many_credits_or_too_much_text_are_refused)
{
    static uint8_t payload[1024];
    struct weir_control got;
    struct weir_frame frame = {.wire_kind = NATIVE_CREDIT, .payload = payload, .len = 64 * 12};
    cr_assert_eq(CODEC->control_read(&frame, &got), 0);
    frame.len = 65 * 12;
    cr_assert_eq(CODEC->control_read(&frame, &got), WEIR_R_BAD_CONTROL);
    frame.wire_kind = NATIVE_GOODBYE;
    memcpy(payload, "\1\0\x78\0", 4);
    frame.len = 124;
    cr_assert_eq(CODEC->control_read(&frame, &got), 0);
    payload[2]++;
    frame.len++;
    cr_assert_eq(CODEC->control_read(&frame, &got), WEIR_R_BAD_CONTROL);
}

Test(native_control, the_header_of_a_control_frame_is_checked)
{
    static const struct {
        uint8_t kind;
        uint16_t channel;
        uint32_t aux, len;
        uint16_t fault;
    } cases[] = {
        {NATIVE_PING, 7, 0, 8, WEIR_R_BAD_CONTROL},
        {NATIVE_PING, 0xFFFF, 1, 8, WEIR_R_BAD_CONTROL},
        {NATIVE_CREDIT, 0, 0, 12, WEIR_R_BAD_CONTROL},
        {NATIVE_GOODBYE, 0xFFFF, 0, 1024, 0},
        {NATIVE_GOODBYE, 0xFFFF, 0, 1025, WEIR_R_BAD_LENGTH},
        {NATIVE_HELLO, 0xFFFF, 0, 100, WEIR_R_BAD_CONTROL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static uint8_t bytes[2048], payload[1100];
        make_end();
        struct weir_frame frame = feed_one(bytes, frame_put(bytes, cases[i].kind, cases[i].channel,
                                                            cases[i].aux, payload, cases[i].len));
        cr_expect_eq(frame.fault, cases[i].fault, "%zu: %u", i, frame.fault);
    }
}
