#include "engine/peers/score.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "weir/error.h"

#define S UINT64_C(1000000000)

static struct weir_addr nth(uint32_t n)
{
    struct weir_addr addr = {.family = WEIR_ADDR_IPV4};
    for (int i = 0; i < 4; i++)
        addr.ip[i] = (uint8_t)(n >> (24 - 8 * i));
    return addr;
}

static struct weir_score *make(void)
{
    struct weir_score *score;
    cr_assert_eq(weir_score_create(&score, 3, 600 * S), 0);
    return score;
}

Test(score, points_add_up_per_address)
{
    struct weir_score *score = make();
    struct weir_addr one = nth(1), two = nth(2), unix_addr = {.family = WEIR_ADDR_UNIX};
    cr_assert_eq(weir_score_add(score, &one, 30, S), 30);
    cr_assert_eq(weir_score_add(score, &two, 5, S), 5);
    one.port = 99;
    cr_assert_eq(weir_score_add(score, &one, 30, S), 60, "the port does not matter");
    weir_score_clear(score, &one);
    cr_assert_eq(weir_score_add(score, &one, 1, S), 1);
    cr_assert_eq(weir_score_add(score, &two, 0, S), 5);
    cr_assert_eq(weir_score_add(score, &unix_addr, 50, S), 0);
    weir_score_clear(score, &unix_addr);
    for (int i = 0; i < 5; i++)
        cr_assert_leq(weir_score_add(score, &two, WEIR_POINTS_MAX, S), WEIR_POINTS_MAX);
    struct weir_addr a6, b6;
    cr_assert_eq(weir_addr_parse(&a6, "[2001:db8::1]:1"), 0);
    cr_assert_eq(weir_addr_parse(&b6, "[2001:db8::ffff:2]:1"), 0);
    weir_score_add(score, &a6, 40, S);
    cr_assert_eq(weir_score_add(score, &b6, 40, S), 80, "one /64 is one address");
    weir_score_free(score);
    weir_score_free(NULL);
}

Test(score, they_halve_with_time)
{
    for (uint64_t age = 0; age < 12000; age += 37) {
        struct weir_score *score = make();
        struct weir_addr one = nth(1);
        weir_score_add(score, &one, 100000, 5 * S);
        double want = 100000.0 * pow(0.5, (double)age / 600.0);
        double got = weir_score_add(score, &one, 0, (5 + age) * S);
        cr_assert(got >= want * 0.999 - 2 && got <= want * 1.07 + 1, "after %d s: %f, not %f",
                  (int)age, got, want);
        weir_score_free(score);
    }
    struct weir_score *score = make();
    struct weir_addr one = nth(1);
    weir_score_add(score, &one, WEIR_POINTS_MAX, S);
    cr_assert_eq(weir_score_add(score, &one, 0, UINT64_MAX), 0);
    weir_score_free(score);
}

Test(score, a_crowd_forgets_the_mildest)
{
    struct weir_score *score = make();
    struct weir_addr bad = nth(0xC0000207);
    weir_score_add(score, &bad, 90, S);
    for (uint32_t i = 0; i < 200000; i++) {
        struct weir_addr addr = nth(i);
        weir_score_add(score, &addr, 10, S);
    }
    cr_assert_eq(weir_score_add(score, &bad, 10, S), 100);
    weir_score_free(score);
}

Test(score, what_costs_points)
{
    for (uint16_t reason = 0; reason < WEIR_REASON_CNT; reason++) {
        uint32_t points = weir_score_points(reason);
        bool is_wire = reason >= WEIR_R_BAD_MAGIC && reason <= WEIR_R_FLOOD;
        bool is_stranger = reason == WEIR_R_NOT_WEIR || reason == WEIR_R_HTTP ||
                           reason == WEIR_R_TLS || reason == WEIR_R_HANDSHAKE_TIMEOUT ||
                           reason == WEIR_R_BAD_HELLO || reason == WEIR_R_HANDSHAKE_BYTES ||
                           reason == WEIR_R_BAD_KEY || reason == WEIR_R_BAD_IDENTITY;
        bool is_service = reason == WEIR_R_BAD_REQUEST || reason == WEIR_R_BAD_GOSSIP;
        cr_assert_eq(points != 0, is_wire || is_stranger || is_service, "%s",
                     weir_reason_name(reason));
        cr_assert_leq(points, 50, "nobody is banned for one thing");
    }
}
