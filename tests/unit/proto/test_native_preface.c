#include "native_fixture.h"

static const uint8_t from_dialer[9] = {0x89, 'W', 'E', 'I', 'R', '\r', '\n', 0x1A, '?'};
static const uint8_t from_listener[9] = {0x89, 'W', 'E', 'I', 'R', '\r', '\n', 0x1A, '!'};

Test(native_preface, sniff_waits_for_nine_right_bytes)
{
    uint16_t reason = 0;
    for (size_t len = 0; len < 9; len++)
        cr_assert_eq(CODEC->sniff(from_dialer, len, &reason), -9);
    cr_assert_eq(CODEC->sniff(from_dialer, 9, &reason), 1);
    uint8_t more[40] = {0};
    memcpy(more, from_dialer, 9);
    cr_assert_eq(CODEC->sniff(more, sizeof more, &reason), 1);
    cr_assert_eq(reason, 0, "untouched");
}

Test(native_preface, sniff_decides_at_the_first_wrong_byte)
{
    for (size_t at = 0; at < 9; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t bytes[9];
            uint16_t reason = 0;
            memcpy(bytes, from_dialer, 9);
            bytes[at] ^= (uint8_t)(1u << bit);
            cr_assert_eq(CODEC->sniff(bytes, at + 1, &reason), 0);
            cr_assert_eq(reason, WEIR_R_NOT_WEIR);
        }
    }
}

Test(native_preface, sniff_names_what_it_knows)
{
    static const struct {
        const char *bytes;
        size_t len;
        uint16_t reason;
    } cases[] = {
        {"GET / HTTP/1.1\r\n", 16, WEIR_R_HTTP},
        {"POST /x HTTP/1.1", 16, WEIR_R_HTTP},
        {"PUT /", 5, WEIR_R_HTTP},
        {"HEAD /", 6, WEIR_R_HTTP},
        {"OPTIONS *", 9, WEIR_R_HTTP},
        {"PRI * HTTP/2.0", 14, WEIR_R_HTTP},
        {"CONNECT a:1", 11, WEIR_R_HTTP},
        {"DELETE /", 8, WEIR_R_HTTP},
        {"HTTP/1.1 400", 12, WEIR_R_HTTP},
        {"G", 1, WEIR_R_HTTP},
        {"GEX ", 4, WEIR_R_NOT_WEIR},
        {"get ", 4, WEIR_R_NOT_WEIR},
        {"\x16\x03\x01", 3, WEIR_R_TLS},
        {"\x16", 1, WEIR_R_TLS},
        {"\x15\x03\x03", 3, WEIR_R_TLS},
        {"\x16\x02", 2, WEIR_R_NOT_WEIR},
        {"SSH-2.0-x", 9, WEIR_R_NOT_WEIR},
        {"\0", 1, WEIR_R_NOT_WEIR},
        {"\xF9\xBE\xB4\xD9", 4, WEIR_R_NOT_WEIR},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint16_t reason = 0;
        cr_expect_eq(CODEC->sniff((const uint8_t *)cases[i].bytes, cases[i].len, &reason), 0);
        cr_expect_eq(reason, cases[i].reason, "%s: %u", cases[i].bytes, reason);
    }
}

Test(native_preface, the_dialer_speaks_first)
{
    struct end dialer, listener;
    uint8_t bytes[64];
    end_begin(&dialer, &dialer_offer, true);
    end_begin(&listener, &listener_offer, false);
    cr_assert_eq(CODEC->pull(listener.state, bytes, sizeof bytes), 0);
    cr_assert_eq(CODEC->pull(dialer.state, bytes, sizeof bytes), 9);
    cr_assert_arr_eq(bytes, from_dialer, 9);
    cr_assert_eq(CODEC->pull(dialer.state, bytes, sizeof bytes), 0);

    memcpy(listener.in, from_dialer, 9);
    listener.in_len = 9;
    end_feed(&listener);
    cr_assert_eq(CODEC->pull(listener.state, bytes, sizeof bytes), 9, "no hello before a hello");
    cr_assert_arr_eq(bytes, from_listener, 9);
}

/* A server that echoes, two dialers, two listeners: none of them shakes hands. */
Test(native_preface, an_echo_is_not_an_answer)
{
    for (int is_dialer = 0; is_dialer < 2; is_dialer++) {
        struct end end;
        uint8_t bytes[64];
        end_begin(&end, &dialer_offer, is_dialer);
        memcpy(end.in, is_dialer ? from_dialer : from_listener, 9);
        end.in_len = 9;
        end_feed(&end);
        cr_assert_eq(end.fault, WEIR_R_NOT_WEIR);
        cr_assert_eq(CODEC->pull(end.state, bytes, sizeof bytes), 0, "a stranger is told nothing");
    }
}

Test(native_preface, a_dialer_names_the_server_it_met)
{
    static const struct {
        const char *bytes;
        uint16_t reason;
    } cases[] = {{"HTTP/1.1 400 Bad Request", WEIR_R_HTTP},
                 {"\x15\x03\x01", WEIR_R_TLS},
                 {"220 mail", WEIR_R_NOT_WEIR}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct end end;
        end_begin(&end, &dialer_offer, true);
        end.in_len = strlen(cases[i].bytes);
        memcpy(end.in, cases[i].bytes, end.in_len);
        end_feed(&end);
        cr_assert_eq(end.fault, cases[i].reason);
        cr_assert_eq(end.in_len, 0, "all consumed");
    }
}
