#include "native_fixture.h"

Test(native_run, what_is_put_is_read)
{
    uint8_t run[256];
    uint8_t *end = run;
    const char *messages[] = {"a", "", "weir", "0123456789"};
    for (size_t i = 0; i < 4; i++)
        end = weir_run_put(end, messages[i], (uint16_t)strlen(messages[i]));
    uint32_t len = (uint32_t)(end - run);
    cr_assert_eq(len, 4 * WEIR_RUN_PREFIX + 15);
    cr_assert_eq(weir_run_check(run, len, 4, 10), 0);

    const uint8_t *at = run;
    for (size_t i = 0; i < 4; i++) {
        uint32_t msg_len;
        const uint8_t *data = weir_run_next(&at, &msg_len);
        cr_assert_eq(msg_len, strlen(messages[i]));
        cr_assert_eq(memcmp(data, messages[i], msg_len), 0);
    }
    cr_assert_eq(at, end);
}

Test(native_run, an_empty_message_may_come_without_bytes)
{
    uint8_t run[2] = {1, 1};
    cr_assert_eq(weir_run_put(run, NULL, 0), run + 2);
    cr_assert_eq(weir_run_check(run, 2, 1, 1), 0);
}

Test(native_run, a_message_above_the_maximum_is_too_big)
{
    uint8_t run[16];
    uint32_t len = (uint32_t)(weir_run_put(weir_run_put(run, "12345", 5), "1", 1) - run);
    cr_assert_eq(weir_run_check(run, len, 2, 5), 0);
    cr_assert_eq(weir_run_check(run, len, 2, 4), WEIR_R_MESSAGE_TOO_BIG);
    cr_assert_eq(weir_run_check(run, len, 1, 4), WEIR_R_BAD_RUN);
}

/* Every length prefix, count and cut but the right one is refused. The run ends where readable memory
 * does (for the address sanitizer). */
Test(native_run, nothing_else_adds_up)
{
    for (uint32_t cut = 0; cut <= 11; cut++) {
        uint8_t *run = malloc(cut != 0 ? cut : 1);
        const uint8_t whole[11] = {1, 0, 'a', 0, 0, 4, 0, 'w', 'e', 'i', 'r'};
        memcpy(run, whole, cut);
        for (uint32_t cnt = 0; cnt < 8; cnt++) {
            bool is_right =
                (cnt == 3 && cut == 11) || (cnt == 2 && cut == 5) || (cnt == 1 && cut == 3);
            cr_assert_eq(weir_run_check(run, cut, cnt, 100), is_right ? 0 : WEIR_R_BAD_RUN);
        }
        cr_assert_eq(weir_run_check(run, cut, UINT32_MAX, 100), WEIR_R_BAD_RUN);
        free(run);
    }
    for (unsigned at = 0; at < 11; at++) {
        for (unsigned value = 0; value < 256; value++) {
            uint8_t run[11] = {1, 0, 'a', 0, 0, 4, 0, 'w', 'e', 'i', 'r'};
            bool is_prefix = at < 2 || (at >= 3 && at < 7);
            bool is_same = run[at] == value;
            run[at] = (uint8_t)value;
            uint16_t fault = weir_run_check(run, 11, 3, 100);
            /* 1 + 4 + 0 is as good a split as 1 + 0 + 4, were the other prefix changed too. */
            cr_assert_eq(fault, is_prefix && !is_same ? WEIR_R_BAD_RUN : 0, "%u=%u", at, value);
        }
    }
}

Test(native_run, the_longest_messages_fit)
{
    static uint8_t run[65536 + 8];
    static uint8_t big[65534];
    uint32_t len = (uint32_t)(weir_run_put(run, big, 65534) - run);
    cr_assert_eq(len, 65536);
    cr_assert_eq(weir_run_check(run, len, 1, 65534), 0);
    memset(run, 0, sizeof run);
    cr_assert_eq(weir_run_check(run, 65536, 32768, 0), 0);
}
