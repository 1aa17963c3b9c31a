/* Requests between two nodes, also on a bad network. */
#include "tests/sanitized.h"
#include "tests/unit/node/request_fixture.h"

Test(request, each_answer_comes_to_its_own_ask)
{
    begin();
    for (uint64_t i = 0; i < 60; i++)
        ask(i, LENGTH, i * 997 % 70000);
    run(2 * WEIR_NS_PER_S);
    for (uint64_t i = 0; i < 60; i++)
        expect_bytes(i, i * 997 % 70000);
    struct weir_request_stats asker = stats_of(0), answerer = stats_of(1);
    cr_assert_eq(asker.asked, 60);
    cr_assert_eq(asker.answered, 60);
    cr_assert_eq(asker.asking, 0);
    cr_assert_eq(answerer.questions, 60);
    cr_assert_eq(answerer.replied, 60);
    cr_assert_eq(answerer.answering, 0);
    cr_assert_eq(answerer.bytes_sent, asker.bytes_received);
    finish();
}

Test(request, an_error_reply_has_a_code_and_printable_text)
{
    begin();
    ask(1, FAIL, 0);
    run(WEIR_NS_PER_S);
    expect_end(1, WEIR_ANSWER_ERROR);
    cr_assert_eq(seen[1].code, 77);
    cr_assert_str_eq(seen[1].text, "no such?thing");
    cr_assert_eq(stats_of(1).reply_errors, 1);
    cr_assert_eq(weir_reply_error(sides[1].requests, sides[1].last.reply, 3, "weir's own"),
                 WEIR_E_MISUSE);
    finish();
}

Test(request, who_serves_nothing_says_so)
{
    begin();
    struct weir_ask back = {
        .size = sizeof(back), .peer = sides[1].peer, .tag = 5, .on_answer = on_answer};
    cr_assert_eq(weir_ask(sides[1].requests, &back, NULL), 0);
    run(WEIR_NS_PER_S);
    expect_end(5, WEIR_ANSWER_ERROR);
    cr_assert_eq(seen[5].code, WEIR_REQUEST_NO_SERVICE);
    finish();
}

Test(request, a_deadline_ends_both_sides_and_what_comes_after_is_late)
{
    begin();
    cr_assert_eq(ask_with(1, SILENT, NULL, 0, 300 * MS, NULL), 0);
    run(100 * MS);
    weir_reply reply = sides[1].last.reply;
    cr_assert_eq(seen[1].finals, 0);
    run(150 * MS);
    cr_assert_eq(seen[1].finals, 0, "not before its time");
    /* The answer leaves in time and arrives too late. */
    weir_world_slow(world, 2, 1, 200 * MS, 0);
    cr_assert_eq(weir_reply_send(sides[1].requests, reply, "", 0), 0);
    run(100 * MS);
    expect_end(1, WEIR_ANSWER_TIMEOUT);
    run(WEIR_NS_PER_S);
    expect_end(1, WEIR_ANSWER_TIMEOUT);
    cr_assert_eq(stats_of(0).late, 1);
    cr_assert_eq(stats_of(0).timeouts, 1);
    cr_assert_eq(stats_of(0).faults, 0);
    /* And one that nobody answers is over at the answerer too. */
    weir_world_slow(world, 2, 1, 0, 0);
    cr_assert_eq(ask_with(2, SILENT, NULL, 0, 300 * MS, NULL), 0);
    run(WEIR_NS_PER_S);
    expect_end(2, WEIR_ANSWER_TIMEOUT);
    cr_assert_eq(sides[1].overs, 1);
    cr_assert_eq(stats_of(1).answering, 0);
    finish();
}

Test(request, a_cancelled_ask_ends_once_and_stops_the_answerer)
{
    begin();
    weir_ticket ticket;
    uint64_t len = 10 << 20;
    cr_assert_eq(ask_with(1, STREAM, &len, 8, 0, &ticket), 0);
    run(5 * MS);
    cr_assert_eq(weir_ask_cancel(sides[0].requests, ticket), 0);
    run(WEIR_NS_PER_S);
    expect_end(1, WEIR_ANSWER_CANCELLED);
    cr_assert_eq(sides[1].overs, 1);
    cr_assert_lt(sides[1].stream_sent, len);
    cr_assert_eq(stats_of(0).cancelled, 1);
    cr_assert_eq(weir_reply_send(sides[1].requests, sides[1].stream, "", 0), 0);
    run(WEIR_NS_PER_S);
    expect_end(1, WEIR_ANSWER_CANCELLED);
    cr_assert_eq(stats_of(0).asking, 0);
    finish();
}

Test(request, no_more_than_the_cap_are_outstanding)
{
    sides[0].cfg.out_max = 10;
    sides[1].cfg.in_max = 7;
    begin();
    for (uint64_t i = 0; i < 12; i++)
        ask(i, SILENT, 0); /* from another thread: refusals come as answers */
    run(500 * MS);
    uint32_t busy = 0, refused = 0, waiting = 0;
    for (uint64_t i = 0; i < 12; i++) {
        busy += seen[i].kind == WEIR_ANSWER_ERROR && seen[i].code == WEIR_REQUEST_BUSY;
        refused += seen[i].kind == WEIR_ANSWER_FAILED && seen[i].code == WEIR_E_LIMIT;
        waiting += seen[i].finals == 0;
    }
    cr_assert_eq(busy, 3);
    cr_assert_eq(refused, 2);
    cr_assert_eq(waiting, 7);
    cr_assert_eq(stats_of(1).busy, 3);
    run(20 * WEIR_NS_PER_S); /* they expire, and there is room again */
    ask(20, ECHO, 0);
    run(WEIR_NS_PER_S);
    cr_assert_eq(seen[20].finals, 1);
    finish();
}

Test(request, a_slow_asker_holds_up_its_own_answer_and_no_other)
{
    cr_assert_eq(weir_inbox_create(&inbox), 0);
    begin();
    uint64_t len = 4 << 20;
    ask(1, STREAM, len);
    run(WEIR_NS_PER_S);
    /* Nobody takes it: the window is full, and not more. */
    cr_assert_eq(stats_of(1).bytes_sent, 262144);
    cr_assert_geq(stats_of(1).stalls, 1);
    weir_inbox *slow = inbox;
    inbox = NULL;
    ask(2, LENGTH, 1 << 20);
    run(WEIR_NS_PER_S);
    expect_bytes(2, 1 << 20);
    cr_assert_eq(stats_of(1).bytes_sent, 262144 + (1 << 20));
    const struct weir_answer *answer;
    uint32_t takes = 0;
    while (seen[1].finals == 0 && takes < 10000) {
        while ((answer = weir_inbox_take(slow, 0)) != NULL) {
            note(answer);
            weir_inbox_release(slow, answer);
            takes++;
        }
        run(MS);
    }
    expect_bytes(1, len);
    cr_assert_geq(sides[1].rooms, 10);
    inbox = slow;
    finish();
}

Test(request, an_answer_above_the_askers_limit_is_given_up)
{
    begin();
    uint64_t len = 1 << 20;
    struct weir_ask big = {.size = sizeof(big),
                           .method = LENGTH,
                           .peer = sides[0].peer,
                           .data = &len,
                           .len = 8,
                           .answer_bytes_max = 100000,
                           .tag = 1,
                           .on_answer = on_answer};
    cr_assert_eq(weir_ask(sides[0].requests, &big, NULL), 0);
    run(WEIR_NS_PER_S);
    expect_end(1, WEIR_ANSWER_FAILED);
    cr_assert_eq(seen[1].code, WEIR_E_TOO_BIG);
    cr_assert_leq(seen[1].bytes, 100000);
    cr_assert_eq(stats_of(1).answering, 0);
    finish();
}

Test(request, a_peer_that_goes_ends_what_was_asked_of_it)
{
    begin();
    for (uint64_t i = 0; i < 5; i++)
        cr_assert_eq(ask_with(i, SILENT, NULL, 0, WEIR_NS_FOREVER, NULL), 0);
    run(100 * MS);
    cr_assert_eq(sides[1].last.deadline, WEIR_NS_FOREVER);
    weir_peer was = sides[0].peer;
    cr_assert_eq(weir_disconnect(sides[0].node, was, 0), 0);
    run(100 * MS);
    for (uint64_t i = 0; i < 5; i++)
        expect_end(i, WEIR_ANSWER_GONE);
    cr_assert_eq(sides[1].overs, 5);
    struct weir_ask late = {.size = sizeof(late), .peer = was, .tag = 9, .on_answer = on_answer};
    cr_assert_eq(weir_ask(sides[0].requests, &late, NULL), 0);
    run(100 * MS);
    expect_end(9, WEIR_ANSWER_GONE);
    finish();
}

Test(request, misuse_is_refused)
{
    begin();
    struct weir_ask none = {.size = sizeof(none), .peer = sides[0].peer};
    cr_assert_eq(weir_ask(sides[0].requests, &none, NULL), WEIR_E_MISUSE);
    none.on_answer = on_answer;
    none.len = 65537;
    none.data = seen;
    cr_assert_eq(weir_ask(sides[0].requests, &none, NULL), WEIR_E_TOO_BIG);
    none.len = 1;
    none.peer.v = 0;
    cr_assert_eq(weir_ask(sides[0].requests, &none, NULL), 0, "the shard finds out");
    run(MS);
    expect_end(0, WEIR_ANSWER_GONE);
    none.peer.v = UINT64_MAX;
    cr_assert_eq(weir_ask(sides[0].requests, &none, NULL), WEIR_E_GONE);
    struct weir_request_config cfg = {.size = sizeof(cfg), .out_max = WEIR_REQUEST_OUT_MAX + 1};
    weir_requests *requests;
    cr_assert_eq(weir_requests_create(&requests, sides[0].node, &cfg), WEIR_E_CONFIG);
    cfg.out_max = 0;
    cr_assert_eq(weir_requests_create(&requests, sides[0].node, &cfg), WEIR_E_STATE);
    finish();
}

/* ---- a bad network ------------------------------------------------------------------------- */

Test(request, every_ask_ends_once_whatever_happens, .timeout = 200)
{
    uint64_t answered_all = 0; /* in one world resets may leave no time for any */
    uint32_t seed_cnt = all_or_few(5, 2);
    for (uint64_t seed = 1; seed <= seed_cnt; seed++) {
        memset(sides, 0, sizeof(sides));
        memset(seen, 0, sizeof(seen));
        make_world(seed);
        make(1, NULL);
        make(0, "10.0.0.2:7000");
        weir_world_set_faults(world, WEIR_FAULT_SHORT | WEIR_FAULT_DELAY | WEIR_FAULT_RESET |
                                         WEIR_FAULT_LOSS | WEIR_FAULT_FULL | WEIR_FAULT_END);
        uint64_t cnt = 0, lens[4096];
        for (uint32_t round = 0; round < 120; round++) {
            for (uint32_t k = 0; k < 4 && sides[0].peer.v; k++) {
                weir_ticket ticket;
                lens[cnt] = weir_world_random(world, 4) ? weir_world_random(world, 5000)
                                                        : weir_world_random(world, 400000);
                uint16_t method = weir_world_random(world, 8) ? LENGTH : SILENT;
                int error = ask_with(cnt, method, &lens[cnt], 8,
                                     (100 + weir_world_random(world, 3000)) * MS, &ticket);
                cr_assert_eq(error, 0, "seed %lu: %d", seed, error);
                if (weir_world_random(world, 10) == 0)
                    cr_assert_eq(weir_ask_cancel(sides[0].requests, ticket), 0);
                cnt++;
            }
            run(weir_world_random(world, 40) * MS);
        }
        weir_world_set_faults(world, 0);
        run(10 * WEIR_NS_PER_S);
        struct weir_request_stats stats = stats_of(0);
        uint64_t answered = 0;
        for (uint64_t i = 0; i < cnt; i++) {
            cr_assert_eq(seen[i].finals, 1, "seed %lu: ask %lu ended %u times", seed, i,
                         seen[i].finals);
            cr_assert(!seen[i].is_damaged, "seed %lu: ask %lu", seed, i);
            if (seen[i].kind == WEIR_ANSWER_PART) {
                cr_assert_eq(seen[i].bytes, lens[i], "seed %lu: ask %lu", seed, i);
                answered++;
            }
        }
        answered_all += answered;
        cr_assert_eq(stats.answered, answered);
        cr_assert_eq(stats.asking, 0);
        cr_assert_eq(stats.answered + stats.errors + stats.timeouts + stats.cancelled + stats.gone +
                         stats.failed,
                     cnt);
        cr_assert_eq(stats.faults, 0, "seed %lu", seed);
        cr_assert_eq(stats_of(1).faults, 0, "seed %lu", seed);
        cr_assert_eq(stats_of(1).answering, 0, "seed %lu", seed);
        finish();
    }
    cr_assert_gt(answered_all, 0);
}
