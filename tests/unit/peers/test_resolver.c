#include "engine/peers/resolver.h"

#include <criterion/criterion.h>
#include <netdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "weir/base.h"
#include "weir/error.h"

#define S WEIR_NS_PER_S

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * S + (uint64_t)now.tv_nsec;
}

static struct weir_addr addr_of(const char *text)
{
    struct weir_addr addr;
    cr_assert_eq(weir_addr_parse(&addr, text), 0, "%s", text);
    return addr;
}

/* ---- the order of trying ------------------------------------------------------------------- */

static uint32_t interleave(const char *list, char *ret_list)
{
    struct weir_addr addrs[16];
    uint32_t cnt = 0;
    for (const char *at = list; *at; at++) {
        char text[32];
        snprintf(text, sizeof(text), *at >= 'a' ? "[2001:db8::%x]:1" : "192.0.2.%u:1",
                 (unsigned)*at);
        addrs[cnt++] = addr_of(text);
    }
    cnt = weir_addrs_interleave(addrs, cnt);
    for (uint32_t i = 0; i < cnt; i++)
        ret_list[i] = (char)(addrs[i].family == WEIR_ADDR_IPV4 ? addrs[i].ip[3] : addrs[i].ip[15]);
    ret_list[cnt] = '\0';
    return cnt;
}

Test(resolver, families_take_turns_and_each_keeps_its_order)
{
    /* Digits are IPv4 addresses, letters IPv6 ones. */
    static const char *const cases[][2] = {
        {"", ""},
        {"1", "1"},
        {"a", "a"},
        {"12", "12"},
        {"ab1", "a1b"},
        {"1ab", "1ab"},
        {"ab12", "a1b2"},
        {"12ab", "1a2b"},
        {"abcd1", "a1bcd"},
        {"1234a", "1a234"},
        {"aab1", "a1b"},
        {"1111", "1"},
        {"a1a1", "a1"},
        {"11aab", "1ab"},
        {"abcdefgh", "abcdefgh"},
        {"112a", "1a2"},
        {"aa1b2", "a1b2"},
        {"abcdefgh1", "abcdefgh"}, /* the ninth is not looked at */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char got[17];
        interleave(cases[i][0], got);
        cr_assert_str_eq(got, cases[i][1], "%s: %s", cases[i][0], got);
    }
}

/* ---- a lookup that waits for the test ------------------------------------------------------ */

struct bench {
    struct weir_resolver *resolver;
    sem_t entered, may_go; /* of the lookup */
    sem_t answered;
    pthread_mutex_t mutex;
    char asked[8][260];
    uint32_t asked_cnt;
    struct {
        uint32_t idx, gen, cnt;
        uint16_t reason;
        struct weir_addr addrs[WEIR_RESOLVED_MAX];
    } answers[8];
    uint32_t answer_cnt;
    uint16_t reason;
    const char *addr;
};

static uint16_t bench_lookup(void *ctx, const char *name, uint16_t port,
                             struct weir_addr *ret_addrs, uint32_t addr_max, uint32_t *ret_addr_cnt)
{
    struct bench *bench = ctx;
    cr_assert_geq(addr_max, 2);
    pthread_mutex_lock(&bench->mutex);
    snprintf(bench->asked[bench->asked_cnt++], 260, "%s", name);
    pthread_mutex_unlock(&bench->mutex);
    sem_post(&bench->entered);
    sem_wait(&bench->may_go);
    ret_addrs[0] = addr_of("192.0.2.1:1");
    ret_addrs[1] = addr_of("192.0.2.1:1");
    ret_addrs[0].port = ret_addrs[1].port = port;
    *ret_addr_cnt = 2;
    return bench->reason;
}

static void bench_done(void *ctx, const struct weir_question *question, uint16_t reason,
                       const struct weir_addr *addrs, uint32_t addr_cnt)
{
    struct bench *bench = ctx;
    uint32_t at = bench->answer_cnt++;
    bench->answers[at].idx = question->entry_idx;
    bench->answers[at].gen = question->entry_gen;
    bench->answers[at].reason = reason;
    bench->answers[at].cnt = addr_cnt;
    memcpy(bench->answers[at].addrs, addrs, addr_cnt * sizeof(*addrs));
    sem_post(&bench->answered);
}

static void bench_init(struct bench *bench, uint32_t queue_max)
{
    memset(bench, 0, sizeof(*bench));
    sem_init(&bench->entered, 0, 0);
    sem_init(&bench->may_go, 0, 0);
    sem_init(&bench->answered, 0, 0);
    pthread_mutex_init(&bench->mutex, NULL);
    struct weir_resolver_config cfg = {.lookup = bench_lookup,
                                       .lookup_ctx = bench,
                                       .queue_max = queue_max,
                                       .done = bench_done,
                                       .ctx = bench};
    cr_assert_eq(weir_resolver_create(&bench->resolver, &cfg), 0);
}

static int ask(struct bench *bench, uint32_t idx, const char *name, uint64_t deadline_ns)
{
    struct weir_question question = {
        .entry_idx = idx, .entry_gen = 100 + idx, .deadline_ns = deadline_ns};
    return weir_resolver_ask(bench->resolver, &question, name, 7000);
}

Test(resolver, answers_come_in_order_to_who_asked)
{
    struct bench bench;
    bench_init(&bench, 4);
    uint64_t later = now_ns() + 3600 * S;
    for (uint32_t i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), '\0'};
        cr_assert_eq(ask(&bench, i, name, later), 0);
    }
    for (uint32_t i = 0; i < 3; i++) {
        bench.reason = 0;
        sem_wait(&bench.entered);
        sem_post(&bench.may_go);
        sem_wait(&bench.answered);
        cr_assert_eq(bench.answers[i].idx, i);
        cr_assert_eq(bench.answers[i].gen, 100 + i);
        cr_assert_eq(bench.answers[i].reason, 0);
        cr_assert_eq(bench.answers[i].cnt, 1, "what occurs twice is tried once");
        cr_assert_eq(bench.answers[i].addrs[0].port, 7000);
        cr_assert_eq(bench.asked[i][0], 'a' + (char)i);
    }
    bench.reason = WEIR_R_NAME_NOT_FOUND;
    cr_assert_eq(ask(&bench, 9, "d", later), 0);
    sem_post(&bench.may_go);
    sem_wait(&bench.answered);
    cr_assert_eq(bench.answers[3].reason, WEIR_R_NAME_NOT_FOUND);
    cr_assert_eq(bench.answers[3].cnt, 0);
    weir_resolver_free(bench.resolver);
}

Test(resolver, the_queue_has_its_bound)
{
    struct bench bench;
    bench_init(&bench, 3);
    uint64_t later = now_ns() + 3600 * S;
    cr_assert_eq(ask(&bench, 0, "busy", later), 0);
    sem_wait(&bench.entered); /* taken from the queue */
    for (uint32_t i = 1; i <= 3; i++)
        cr_assert_eq(ask(&bench, i, "waits", later), 0);
    cr_assert_eq(ask(&bench, 4, "too-many", later), WEIR_E_FULL);
    sem_post(&bench.may_go);
    sem_wait(&bench.entered); /* the next one */
    cr_assert_eq(ask(&bench, 5, "again", later), 0);
    for (uint32_t i = 0; i < 4; i++)
        sem_post(&bench.may_go);
    for (uint32_t i = 0; i < 5; i++)
        sem_wait(&bench.answered);
    weir_resolver_free(bench.resolver);
    cr_assert_eq(bench.answer_cnt, 5);
    cr_assert_eq(bench.answers[4].idx, 5);
}

Test(resolver, a_question_whose_time_is_over_is_not_looked_up)
{
    struct bench bench;
    bench_init(&bench, 8);
    cr_assert_eq(ask(&bench, 0, "busy", now_ns() + 3600 * S), 0);
    sem_wait(&bench.entered);
    cr_assert_eq(ask(&bench, 1, "late", now_ns()), 0);
    cr_assert_eq(ask(&bench, 2, "early", now_ns() + 3600 * S), 0);
    sem_post(&bench.may_go);
    sem_post(&bench.may_go);
    sem_wait(&bench.answered);
    sem_wait(&bench.answered);
    cr_assert_eq(bench.asked_cnt, 2);
    cr_assert_str_eq(bench.asked[1], "early");
    cr_assert_eq(bench.answers[1].idx, 2);
    weir_resolver_free(bench.resolver);
}

Test(resolver, freeing_waits_for_a_lookup_and_then_nothing_is_said)
{
    struct bench bench;
    bench_init(&bench, 8);
    cr_assert_eq(ask(&bench, 0, "busy", now_ns() + 3600 * S), 0);
    cr_assert_eq(ask(&bench, 1, "waits", now_ns() + 3600 * S), 0);
    sem_wait(&bench.entered);
    sem_post(
        &bench.may_go); /* it ends while free waits, or before, and then the other may have begun */
    sem_post(&bench.may_go);
    weir_resolver_free(bench.resolver);
    uint32_t cnt = bench.answer_cnt, asked_cnt = bench.asked_cnt;
    cr_assert(cnt <= asked_cnt && asked_cnt <= 2);
    struct timespec nap = {.tv_nsec = 20 * 1000 * 1000};
    nanosleep(&nap, NULL);
    cr_assert_eq(bench.answer_cnt, cnt);
    cr_assert_eq(bench.asked_cnt, asked_cnt);
}

Test(resolver, a_lookup_that_does_not_come_back_is_left_behind_at_its_deadline)
{
    static struct bench bench; /* outlives the test's frame: the thread still uses it */
    bench_init(&bench, 8);
    uint64_t deadline;
    uint32_t late_cnt =
        0; /* where the machine stood still, the deadline passed before the lookup began */
    for (bool has_entered = false; !has_entered;) {
        deadline = now_ns() + ((S / 5) << late_cnt);
        cr_assert_eq(ask(&bench, 0, "stuck", deadline), 0);
        while (!(has_entered = sem_trywait(&bench.entered) == 0) &&
               sem_trywait(&bench.answered) != 0)
            sched_yield();
        late_cnt += !has_entered;
    }
    weir_resolver_free(bench.resolver);
    cr_assert_geq(now_ns(), deadline);
    sem_post(&bench.may_go); /* now it comes back, to nobody */
    struct timespec nap = {.tv_nsec = 50 * 1000 * 1000};
    nanosleep(&nap, NULL);
    cr_assert_eq(bench.answer_cnt, late_cnt);
}

Test(resolver, one_that_was_never_asked_is_freed)
{
    struct bench bench;
    bench_init(&bench, 1);
    weir_resolver_free(bench.resolver);
    weir_resolver_free(NULL);
}

/* ---- the system's -------------------------------------------------------------------------- */

Test(resolver, localhost_is_found_by_the_system)
{
    struct weir_addr addrs[WEIR_RESOLVED_MAX];
    uint32_t cnt = 0;
    cr_assert_eq(weir_lookup_system(NULL, "localhost", 7711, addrs, WEIR_RESOLVED_MAX, &cnt), 0);
    cr_assert_geq(cnt, 1);
    for (uint32_t i = 0; i < cnt; i++) {
        char text[WEIR_ADDR_TEXT_BYTES];
        weir_addr_format(&addrs[i], text);
        cr_assert(strcmp(text, "127.0.0.1:7711") == 0 || strcmp(text, "[::1]:7711") == 0, "%s",
                  text);
    }
    cr_assert_eq(weir_lookup_system(NULL, "localhost", 7711, addrs, 1, &cnt), 0);
    cr_assert_eq(cnt, 1);
}

Test(resolver, a_name_that_cannot_be_is_told)
{
    struct weir_addr addrs[WEIR_RESOLVED_MAX];
    uint32_t cnt = 0;
    /* RFC 6761, 6.4: .invalid never exists; without a DNS at all the answer is "for now". */
    uint16_t reason = weir_lookup_system(NULL, "weir.invalid", 1, addrs, WEIR_RESOLVED_MAX, &cnt);
    cr_assert(reason == WEIR_R_NAME_NOT_FOUND || reason == WEIR_R_NAME_TEMPORARY, "%s",
              weir_reason_name(reason));
}

Test(resolver, each_error_of_getaddrinfo_has_its_reason)
{
    cr_assert_eq(weir_lookup_reason(EAI_NONAME), WEIR_R_NAME_NOT_FOUND);
    cr_assert_eq(weir_lookup_reason(-5 /* EAI_NODATA */), WEIR_R_NAME_NO_ADDRESS);
    cr_assert_eq(weir_lookup_reason(-9 /* EAI_ADDRFAMILY */), WEIR_R_NAME_NO_ADDRESS);
    cr_assert_eq(weir_lookup_reason(EAI_AGAIN), WEIR_R_NAME_TEMPORARY);
    cr_assert_eq(weir_lookup_reason(EAI_FAIL), WEIR_R_NAME_TEMPORARY);
    cr_assert_eq(weir_lookup_reason(EAI_SYSTEM), WEIR_R_NAME_TEMPORARY);
    cr_assert_eq(weir_lookup_reason(EAI_MEMORY), WEIR_R_NAME_TEMPORARY);
}
