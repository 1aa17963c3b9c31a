/* Dialing names: what is asked, which addresses are tried and when, who wins, who is told. On a scripted io,
 * where each event is made by the test. */
#include <stdio.h>

#include "engine/peers/dial.h"
#include "tests/unit/conn/peer.h"
#include "tests/unit/peers/kept.h"
#include "weir/node.h"

#define MS UINT64_C(1000000)

struct rig {
    struct box *box;
    struct script_io *script;
    struct weir_dialer dialer;
    uint32_t told_cnt; /* of the box's ends, passed on */
    uint32_t forget_cnt;
    uint32_t fail_cnt; /* what the application hears */
    uint16_t fail_reason;
    uint32_t ask_cnt;
    struct weir_question question;
    char asked[260];
    uint16_t ask_answer; /* what ask returns */
};

static void rig_forgot(void *ctx, struct weir_target_kept *target)
{
    kept_drop(target);
    ((struct rig *)ctx)->forget_cnt++;
}

static void rig_failed(void *ctx, const struct weir_target *target, uint16_t reason)
{
    struct rig *rig = ctx;
    cr_assert(weir_target_is_name(target));
    rig->fail_cnt++;
    rig->fail_reason = reason;
}

static uint16_t rig_ask(void *ctx, const struct weir_question *question, const char *name,
                        uint16_t port)
{
    struct rig *rig = ctx;
    cr_assert_eq(port, 7000);
    rig->ask_cnt++;
    rig->question = *question;
    snprintf(rig->asked, sizeof(rig->asked), "%s", name);
    return rig->ask_answer;
}

static void rig_timer(struct box *box, struct weir_timer *timer)
{
    struct rig *rig = box->ctx;
    cr_assert_eq(timer->kind, WEIR_TIMER_DIAL);
    weir_dialer_fire(&rig->dialer, timer->arg);
}

static void rig_connected(struct weir_conn *conn)
{
    struct rig *rig = box_of(conn->hub)->ctx;
    weir_dialer_connected(&rig->dialer, conn);
}

static void rig_turn(struct box *box)
{
    struct rig *rig = box->ctx;
    while (rig->told_cnt < box->end_cnt) {
        uint32_t at = rig->told_cnt++ % BOX_ENDS;
        if (box->ends[at].dial_idx == UINT32_MAX ||
            weir_dialer_ended(&rig->dialer, box->ends[at].dial_idx, box->ends[at].conn->slot,
                              box->ends[at].gen, box->ends[at].reason, box->ends[at].was_ready,
                              box->ends[at].was_ready)) {
            rig->fail_cnt += !box->ends[at].was_ready;
            rig->fail_reason = box->ends[at].reason;
        }
    }
}

static struct weir_hub_ops rig_ops;

static struct rig *rig_new(uint32_t entry_max)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    rig->box = solo_new(1);
    rig->box->cfg.peers_max = 16;
    rig->box->cfg.redial_min_ns = 100 * MS;
    rig->box->cfg.redial_max_ns = 1000 * MS;
    rig->box->cfg.name_timeout_ns = 2000 * MS;
    rig->box->cfg.dial_head_start_ns = 250 * MS;
    rig->script = solo_open(rig->box);
    rig->box->ctx = rig;
    rig->box->on_timer = rig_timer;
    rig->box->on_turn = rig_turn;
    rig_ops = box_ops;
    rig_ops.connected = rig_connected;
    rig->box->hub.ops = &rig_ops;
    cr_assert_eq(weir_dialer_init(&rig->dialer, &rig->box->hub, entry_max), 0);
    rig->dialer.forget = rig_forgot;
    rig->dialer.failed = rig_failed;
    rig->dialer.ask = rig_ask;
    rig->dialer.ctx = rig;
    return rig;
}

static void rig_free(struct rig *rig)
{
    weir_dialer_stop(&rig->dialer);
    weir_dialer_fini(&rig->dialer);
    solo_free(rig->box);
    free(rig);
}

static void add(struct rig *rig, const char *text, uint32_t flags)
{
    struct weir_target target;
    cr_assert_eq(weir_target_parse(&target, text), 0);
    cr_assert_eq(kept_add(&rig->dialer, &target, flags), 0);
}

/* Answers the latest question with 192.0.2.1 .. `cnt`. */
static void answer(struct rig *rig, uint32_t cnt)
{
    struct weir_addr addrs[16] = {0};
    for (uint32_t i = 0; i < cnt; i++) {
        char text[32];
        snprintf(text, sizeof(text), "192.0.2.%u:7000", i + 1);
        cr_assert_eq(weir_addr_parse(&addrs[i], text), 0);
    }
    weir_dialer_answer(&rig->dialer, rig->question.entry_idx, rig->question.entry_gen, 0, addrs,
                       cnt);
    box_turn(rig->box);
}

static void answer_reason(struct rig *rig, uint16_t reason)
{
    weir_dialer_answer(&rig->dialer, rig->question.entry_idx, rig->question.entry_gen, reason, NULL,
                       0);
    box_turn(rig->box);
}

static void connected(struct rig *rig, int sock, int32_t res)
{
    script_connected(rig->script, sock, res);
    box_turn(rig->box);
}

static void pass(struct rig *rig, uint32_t ms)
{
    for (uint32_t i = 0; i < ms; i++)
        solo_advance(rig->box, MS);
}

static uint32_t entry_phase(const struct rig *rig)
{
    return rig->dialer.entries[0].phase;
}

Test(names, an_address_is_not_asked_for)
{
    struct rig *rig = rig_new(4);
    add(rig, "192.0.2.9:7000", 0);
    cr_assert_eq(rig->ask_cnt, 0);
    cr_assert_eq(rig->script->sock_cnt, 1);
    rig_free(rig);
}

Test(names, every_reason_of_a_lookup_is_told_once)
{
    static const uint16_t reasons[] = {WEIR_R_NAME_NOT_FOUND, WEIR_R_NAME_TEMPORARY,
                                       WEIR_R_NAME_NO_ADDRESS};
    for (size_t i = 0; i < 3; i++) {
        struct rig *rig = rig_new(4);
        add(rig, "Example.org:7000", 0);
        cr_assert_str_eq(rig->asked, "example.org");
        cr_assert_eq(rig->script->sock_cnt, 0);
        answer_reason(rig, reasons[i]);
        cr_assert_eq(rig->fail_cnt, 1);
        cr_assert_eq(rig->fail_reason, reasons[i]);
        cr_assert_eq(rig->forget_cnt, 1);
        answer(rig, 2); /* once more, to nobody */
        cr_assert_eq(rig->script->sock_cnt, 0);
        rig_free(rig);
    }
}

Test(names, an_answer_without_addresses_is_told)
{
    struct rig *rig = rig_new(4);
    add(rig, "example.org:7000", 0);
    answer(rig, 0);
    cr_assert_eq(rig->fail_reason, WEIR_R_NAME_NO_ADDRESS);
    rig_free(rig);
}

Test(names, an_answer_has_its_deadline_and_is_nobody_s_afterwards)
{
    struct rig *rig = rig_new(4);
    add(rig, "example.org:7000", WEIR_DIAL_PERSIST);
    cr_assert_eq(rig->question.deadline_ns, rig->box->hub.now_ns + 2000 * MS);
    pass(rig, 1999);
    cr_assert_eq(rig->fail_cnt, 0);
    pass(rig, 2);
    cr_assert_eq(rig->fail_cnt, 1);
    cr_assert_eq(rig->fail_reason, WEIR_R_NAME_TIMEOUT);
    answer(rig, 1);
    cr_assert_eq(rig->script->sock_cnt, 0, "the answer is of the round that failed");
    pass(rig, 110);
    cr_assert_eq(rig->ask_cnt, 2, "and it is asked anew");
    answer(rig, 1);
    cr_assert_eq(rig->script->sock_cnt, 1);
    rig_free(rig);
}

Test(names, a_resolver_that_takes_no_question_is_told)
{
    struct rig *rig = rig_new(4);
    rig->ask_answer = WEIR_R_NAME_TEMPORARY;
    add(rig, "example.org:7000", WEIR_DIAL_PERSIST);
    cr_assert_eq(rig->fail_cnt, 1);
    cr_assert_eq(rig->fail_reason, WEIR_R_NAME_TEMPORARY);
    rig->ask_answer = 0;
    pass(rig, 110);
    cr_assert_eq(rig->ask_cnt, 2);
    answer(rig, 1);
    cr_assert_eq(rig->script->sock_cnt, 1);
    rig_free(rig);
}

Test(names, each_address_has_its_head_start)
{
    struct rig *rig = rig_new(4);
    add(rig, "example.org:7000", 0);
    answer(rig, 4);
    for (int i = 1; i <= 4; i++) {
        cr_assert_eq(rig->script->sock_cnt, i);
        cr_assert_eq(rig->script->socks[i].addr.ip[3], i);
        pass(rig, 249);
        cr_assert_eq(rig->script->sock_cnt, i, "not before its time");
        pass(rig, 2);
    }
    cr_assert_eq(rig->script->sock_cnt, 4);
    rig_free(rig);
}

Test(names, an_address_that_fails_gives_the_rest_of_its_head_start_away)
{
    struct rig *rig = rig_new(4);
    add(rig, "example.org:7000", 0);
    answer(rig, 3);
    connected(rig, 1, -ECONNREFUSED);
    cr_assert_eq(rig->script->sock_cnt, 2, "at once");
    pass(rig, 249);
    cr_assert_eq(rig->script->sock_cnt, 2, "a head start of its own");
    pass(rig, 2);
    cr_assert_eq(rig->script->sock_cnt, 3);
    connected(rig, 2, -ENETUNREACH);
    cr_assert_eq(rig->fail_cnt, 0, "the third is still on its way");
    connected(rig, 3, -ECONNREFUSED);
    cr_assert_eq(rig->fail_cnt, 1, "all failed: told once");
    cr_assert_eq(rig->fail_reason, WEIR_R_REFUSED);
    cr_assert_eq(rig->forget_cnt, 1);
    rig_free(rig);
}

Test(names, the_first_that_connects_wins_and_the_others_end_cleanly)
{
    for (int winner = 1; winner <= 3; winner++) {
        struct rig *rig = rig_new(4);
        add(rig, "example.org:7000", 0);
        answer(rig, 5);
        pass(rig, 2 * 251);
        cr_assert_eq(rig->script->sock_cnt, 3);
        connected(rig, winner, 0);
        box_turn(rig->box); /* for the ends of what was aborted */
        cr_assert_eq(entry_phase(rig), WEIR_DIAL_UP);
        for (int i = 1; i <= 3; i++)
            cr_assert_eq(rig->script->socks[i].is_open, i == winner, "socket %d", i);
        cr_assert_eq(rig->box->hub.metrics.conn_cnt, 1);
        cr_assert_eq(rig->box->hub.metrics.closes[WEIR_R_RACE], 2);
        cr_assert_eq(rig->fail_cnt, 0, "a loser is not told");
        pass(rig, 300);
        cr_assert_eq(rig->script->sock_cnt, 3, "nor is anybody else tried");
        /* The winner's end is the dial's. */
        script_recv_end(rig->script, winner, -ECONNRESET);
        box_turn(rig->box);
        cr_assert_eq(rig->fail_cnt, 1);
        cr_assert_eq(rig->forget_cnt, 1);
        rig_free(rig);
    }
}

Test(names, two_that_connect_in_one_turn_are_one)
{
    struct rig *rig = rig_new(4);
    add(rig, "example.org:7000", 0);
    answer(rig, 2);
    pass(rig, 251);
    script_connected(rig->script, 1, 0);
    script_connected(rig->script, 2, 0);
    box_turn(rig->box);
    box_turn(rig->box);
    cr_assert_eq(rig->box->hub.metrics.conn_cnt, 1);
    cr_assert(rig->script->socks[1].is_open);
    cr_assert(!rig->script->socks[2].is_open);
    cr_assert_eq(rig->fail_cnt, 0);
    rig_free(rig);
}

Test(names, one_that_fails_in_the_turn_in_which_another_wins_is_not_told)
{
    struct rig *rig = rig_new(4);
    add(rig, "example.org:7000", 0);
    answer(rig, 2);
    pass(rig, 251);
    script_connected(rig->script, 1, -ECONNREFUSED);
    script_connected(rig->script, 2, 0);
    box_turn(rig->box);
    cr_assert_eq(rig->fail_cnt, 0);
    cr_assert_eq(entry_phase(rig), WEIR_DIAL_UP);
    cr_assert_eq(rig->forget_cnt, 0);
    rig_free(rig);
}

Test(names, an_address_that_never_answers_has_the_dial_deadline)
{
    struct rig *rig = rig_new(4);
    rig->box->cfg.dial_timeout_ns = 1000 * MS;
    add(rig, "example.org:7000", 0);
    answer(rig, 2);
    pass(rig, 1002); /* the first began at 0, the second at 250 ms */
    cr_assert_eq(rig->box->hub.metrics.closes[WEIR_R_DIAL_TIMEOUT], 1);
    cr_assert_eq(rig->fail_cnt, 0);
    pass(rig, 252);
    cr_assert_eq(rig->fail_cnt, 1);
    cr_assert_eq(rig->fail_reason, WEIR_R_DIAL_TIMEOUT);
    rig_free(rig);
}

Test(names, addresses_that_cannot_even_be_tried_are_passed_over)
{
    struct rig *rig = rig_new(4);
    add(rig, "example.org:7000", 0);
    rig->script->fail_connect = 1;
    answer(rig, 2);
    cr_assert_eq(rig->script->sock_cnt, 1);
    cr_assert_eq(rig->script->socks[1].addr.ip[3], 2);
    connected(rig, 1, -ECONNREFUSED);
    cr_assert_eq(rig->fail_reason, WEIR_R_REFUSED);
    add(rig, "example.org:7000", 0);
    rig->script->fail_connect = 1;
    answer(rig, 1);
    cr_assert_eq(rig->fail_cnt, 2, "none can: told");
    cr_assert_eq(rig->fail_reason, WEIR_R_UNREACHABLE);
    rig_free(rig);
}

Test(names, without_memory_for_the_addresses_the_round_fails)
{
    struct rig *rig = rig_new(4);
    add(rig, "example.org:7000", WEIR_DIAL_PERSIST);
    weir_heap_fail_nth(1);
    answer(rig, 3);
    weir_heap_fail_nth(0);
    cr_assert_eq(rig->fail_reason, WEIR_R_LIMIT_MEMORY);
    pass(rig, 110);
    answer(rig, 3);
    cr_assert_eq(rig->script->sock_cnt, 1);
    rig_free(rig);
}

Test(names, cancelling_ends_whatever_is_under_way_and_tells_nobody)
{
    struct weir_target target;
    cr_assert_eq(weir_target_parse(&target, "EXAMPLE.org:7000"), 0);
    for (int stage = 0; stage < 4; stage++) {
        struct rig *rig = rig_new(4);
        add(rig, "example.org:7000", WEIR_DIAL_PERSIST);
        if (stage >= 1)
            answer(rig, 3);
        if (stage >= 2)
            pass(rig, 2 * 251);
        if (stage == 3)
            connected(rig, 2, 0);
        cr_assert(weir_dialer_remove(&rig->dialer, &target));
        box_turn(rig->box);
        box_turn(rig->box);
        cr_assert_eq(rig->forget_cnt, 1);
        cr_assert_eq(rig->box->hub.metrics.conn_cnt, stage == 3, "a connection stays");
        if (stage == 0)
            answer(rig, 3);
        pass(rig, 1500);
        cr_assert_eq(rig->fail_cnt, 0);
        cr_assert_eq(rig->script->sock_cnt, stage == 0 ? 0 : stage == 1 ? 1 : 3);
        cr_assert_eq(rig->ask_cnt, 1);
        rig_free(rig);
    }
}

Test(names, a_redial_asks_anew_and_uses_what_it_hears_then)
{
    struct rig *rig = rig_new(4);
    add(rig, "example.org:7000", WEIR_DIAL_PERSIST);
    answer(rig, 1);
    connected(rig, 1, -ECONNREFUSED);
    for (uint32_t i = 2; i < 8; i++) {
        pass(rig, 1002);
        cr_assert_eq(rig->ask_cnt, i);
        struct weir_addr other;
        cr_assert_eq(weir_addr_parse(&other, "[2001:db8::1]:7000"), 0);
        other.ip[15] = (uint8_t)i;
        weir_dialer_answer(&rig->dialer, rig->question.entry_idx, rig->question.entry_gen, 0,
                           &other, 1);
        cr_assert_eq(rig->script->sock_cnt, (int)i);
        cr_assert_eq(rig->script->socks[i].addr.ip[15], i);
        connected(rig, (int)i, -ECONNREFUSED);
        cr_assert_eq(rig->fail_cnt, i);
    }
    rig_free(rig);
}

Test(names, an_entry_that_is_used_again_does_not_take_the_old_one_s_answer)
{
    struct rig *rig = rig_new(1);
    add(rig, "one.example:7000", 0);
    struct weir_question old = rig->question;
    struct weir_target target;
    cr_assert_eq(weir_target_parse(&target, "one.example:7000"), 0);
    cr_assert(weir_dialer_remove(&rig->dialer, &target));
    add(rig, "two.example:7000", 0);
    struct weir_addr addr;
    cr_assert_eq(weir_addr_parse(&addr, "192.0.2.77:7000"), 0);
    cr_assert_eq(old.entry_idx, rig->question.entry_idx);
    weir_dialer_answer(&rig->dialer, old.entry_idx, old.entry_gen, 0, &addr, 1);
    cr_assert_eq(rig->script->sock_cnt, 0);
    answer(rig, 1);
    cr_assert_eq(rig->script->sock_cnt, 1);
    weir_dialer_answer(&rig->dialer, 99, 0, 0, &addr, 1); /* an entry that is none */
    rig_free(rig);
}

static uint16_t enter_reason;
static uint32_t enter_cnt;

static uint16_t enter_group(void *ctx, const struct weir_target *target,
                            const struct weir_addr *addr, uint32_t flags)
{
    (void)ctx, (void)target, (void)addr, (void)flags;
    uint16_t reason = enter_reason;
    enter_cnt++;
    enter_reason = WEIR_R_LIMIT_SUBNET; /* the first fills it */
    return reason;
}

Test(names, an_address_whose_group_is_full_of_the_same_name_waits_for_its_turn)
{
    struct rig *rig = rig_new(4);
    rig->dialer.enter = enter_group;
    enter_reason = 0;
    enter_cnt = 0;
    add(rig, "example.org:7000", 0);
    answer(rig, 3);
    pass(rig, 1000);
    cr_assert(rig->script->sock_cnt == 1 && enter_cnt == 2, "asked once more, and then it waits");
    enter_reason = 0;
    connected(rig, 1, -ECONNREFUSED);
    cr_assert_eq(rig->script->sock_cnt, 2, "its turn");
    /* The group is somebody else's by now: there is nothing to wait for. */
    connected(rig, 2, -ECONNREFUSED);
    cr_assert(rig->fail_cnt == 1 && rig->script->sock_cnt == 2);
    cr_assert_eq(rig->fail_reason, WEIR_R_LIMIT_SUBNET);
    cr_assert_eq(rig->forget_cnt, 1);
    rig_free(rig);
}
