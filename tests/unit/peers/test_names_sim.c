/* Dialing names in the simulator: names come from a table, time is virtual, and a run follows from its seed. */
#include <stdio.h>

#include "engine/peers/dial.h"
#include "engine/sim/sim_io.h"
#include "tests/unit/conn/box.h"
#include "tests/unit/peers/kept.h"
#include "weir/node.h"

#define MS UINT64_C(1000000)
#define ASKED_MAX 64u

/* What the table says of a name: when it answers, and what. */
struct name {
    const char *name;
    uint32_t delay_ms;
    uint16_t reason;
    const char *addrs[4];
};

static const struct name table[] = {
    {"one.example", 5, 0, {"10.0.0.2:7000"}},
    {"hole-first.example", 5, 0, {"[2001:db8::1]:7000", "10.0.0.2:7000"}},
    {"refused-first.example", 5, 0, {"10.0.0.9:7000", "10.0.0.2:7000"}},
    {"six-and-four.example", 20, 0, {"[fd00::2]:7000", "10.0.0.2:7000"}},
    {"nobody.example", 5, 0, {"10.0.0.9:7000", "[2001:db8::1]:7000"}},
    {"none.example", 5, WEIR_R_NAME_NOT_FOUND, {0}},
    {"slow.example", 5000, 0, {"10.0.0.2:7000"}},
};

struct world {
    struct weir_sim *sim;
    struct box *box;
    struct weir_dialer dialer;
    int listener;
    uint32_t told_cnt, fail_cnt, connected_cnt;
    uint16_t fail_reason;
    struct weir_addr winner;
    struct {
        struct weir_question question;
        const struct name *name;
        struct weir_timer timer; /* when the table answers */
    } asked[ASKED_MAX];
    uint32_t asked_cnt;
};

#define TIMER_TABLE 77u

static void on_forget(void *ctx, struct weir_target_kept *target)
{
    (void)ctx;
    kept_drop(target);
}

static void on_failed(void *ctx, const struct weir_target *target, uint16_t reason)
{
    struct world *world = ctx;
    (void)target;
    world->fail_cnt++;
    world->fail_reason = reason;
}

static uint16_t on_ask(void *ctx, const struct weir_question *question, const char *name,
                       uint16_t port)
{
    struct world *world = ctx;
    (void)port;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(table[i].name, name) != 0)
            continue;
        uint32_t at = world->asked_cnt++;
        cr_assert_lt(at, ASKED_MAX);
        world->asked[at].question = *question;
        world->asked[at].name = &table[i];
        world->asked[at].timer.kind = TIMER_TABLE;
        world->asked[at].timer.arg = at;
        weir_wheel_set(&world->box->wheel, &world->asked[at].timer,
                       world->box->hub.now_ns + table[i].delay_ms * MS);
        return 0;
    }
    cr_assert(false, "%s is not in the table", name);
    return 0;
}

static void on_timer(struct box *box, struct weir_timer *timer)
{
    struct world *world = box->ctx;
    if (timer->kind == WEIR_TIMER_DIAL) {
        weir_dialer_fire(&world->dialer, timer->arg);
        return;
    }
    const struct name *name = world->asked[timer->arg].name;
    const struct weir_question *question = &world->asked[timer->arg].question;
    struct weir_addr addrs[4];
    uint32_t cnt = 0;
    for (; cnt < 4 && name->addrs[cnt]; cnt++)
        cr_assert_eq(weir_addr_parse(&addrs[cnt], name->addrs[cnt]), 0);
    cnt = weir_addrs_interleave(addrs, cnt);
    weir_dialer_answer(&world->dialer, question->entry_idx, question->entry_gen, name->reason,
                       addrs, cnt);
}

static void on_connected(struct weir_conn *conn)
{
    struct world *world = box_of(conn->hub)->ctx;
    world->connected_cnt++;
    world->winner = conn->addr;
    weir_dialer_connected(&world->dialer, conn);
}

static void on_turn(struct box *box)
{
    struct world *world = box->ctx;
    while (world->told_cnt < box->end_cnt) {
        uint32_t at = world->told_cnt++ % BOX_ENDS;
        if (weir_dialer_ended(&world->dialer, box->ends[at].dial_idx, box->ends[at].conn->slot,
                              box->ends[at].gen, box->ends[at].reason, box->ends[at].was_ready,
                              box->ends[at].was_ready)) {
            world->fail_cnt++;
            world->fail_reason = box->ends[at].reason;
        }
    }
}

static struct weir_hub_ops world_ops;

static struct world *world_new(uint64_t seed, uint64_t delay_max_ns)
{
    struct world *world = calloc(1, sizeof(*world));
    struct weir_sim_config cfg = {
        .seed = seed, .latency_ns = 10 * MS, .delay_max_ns = delay_max_ns};
    cr_assert_eq(weir_sim_create(&world->sim, &cfg), 0);
    struct weir_io *io;
    struct weir_io_config io_cfg = {
        .sq_cnt = 64, .cq_cnt = 256, .recv_buf_bytes = 4096, .recv_buf_cnt = 8};
    cr_assert_eq(weir_sim_io_create(world->sim, 1, &io_cfg, &io), 0);
    world->box = box_new(1);
    world->box->cfg.name_timeout_ns = 2000 * MS;
    world->box->cfg.dial_timeout_ns = 3000 * MS;
    world->box->ctx = world;
    world->box->on_timer = on_timer;
    world->box->on_turn = on_turn;
    cr_assert_eq(box_open(world->box, io), 0);
    world_ops = box_ops;
    world_ops.connected = on_connected;
    world->box->hub.ops = &world_ops;
    cr_assert_eq(weir_dialer_init(&world->dialer, &world->box->hub, 4), 0);
    world->dialer.forget = on_forget;
    world->dialer.failed = on_failed;
    world->dialer.ask = on_ask;
    world->dialer.ctx = world;
    static const char *const listeners[] = {"10.0.0.2:7000", "[fd00::2]:7000"};
    for (int i = 0; i < 2; i++) {
        struct weir_addr addr, real;
        cr_assert_eq(weir_addr_parse(&addr, listeners[i]), 0);
        world->listener = weir_sim_raw_listen(world->sim, &addr, &real);
        cr_assert_geq(world->listener, 0);
    }
    struct weir_addr hole;
    cr_assert_eq(weir_addr_parse(&hole, "[2001:db8::1]:7000"), 0);
    weir_sim_blackhole(world->sim, &hole, true);
    return world;
}

static uint64_t world_free(struct world *world)
{
    for (uint32_t i = 0; i < world->asked_cnt; i++)
        weir_wheel_cancel(&world->box->wheel, &world->asked[i].timer);
    weir_dialer_stop(&world->dialer);
    for (int i = 0; i < 200; i++) { /* no socket is closed while an operation is in flight */
        for (uint32_t k = 0; k < world->box->cfg.peers_max; k++)
            weir_conn_abort(&world->box->hub.conns[k], WEIR_R_SHUTDOWN);
        box_turn(world->box);
        weir_sim_advance(world->sim, 10 * MS);
    }
    uint64_t digest = weir_sim_digest(world->sim);
    weir_dialer_fini(&world->dialer);
    box_free(world->box);
    weir_sim_free(world->sim);
    free(world);
    return digest;
}

/* Dials, and lets `ms` pass; returns when the connection was made, in ms, UINT64_MAX for never. */
static uint64_t dial(struct world *world, const char *text, uint32_t flags, uint64_t ms)
{
    struct weir_target target;
    cr_assert_eq(weir_target_parse(&target, text), 0);
    uint64_t begin = weir_sim_now(world->sim);
    uint32_t before = world->connected_cnt;
    box_turn(world->box);
    cr_assert_eq(kept_add(&world->dialer, &target, flags), 0);
    uint64_t at = UINT64_MAX;
    for (uint64_t i = 0; i < ms; i++) {
        box_turn(world->box);
        if (at == UINT64_MAX && world->connected_cnt != before)
            at = (weir_sim_now(world->sim) - begin) / MS;
        weir_sim_advance(world->sim, MS);
    }
    return at;
}

static void expect_winner(const struct world *world, const char *text)
{
    char got[WEIR_ADDR_TEXT_BYTES];
    weir_addr_format(&world->winner, got);
    cr_assert_str_eq(got, text);
}

Test(names_sim, a_name_becomes_a_connection)
{
    struct world *world = world_new(1, 0);
    uint64_t at = dial(world, "one.example:7000", 0, 200);
    cr_assert(at >= 25 && at <= 30, "5 ms for the name, 20 for the connect, not %llu",
              (unsigned long long)at);
    expect_winner(world, "10.0.0.2:7000");
    world_free(world);
}

Test(names_sim, a_dead_address_costs_one_head_start_and_not_its_deadline)
{
    struct world *world = world_new(2, 0);
    uint64_t at = dial(world, "hole-first.example:7000", 0, 1000);
    cr_assert(at >= 5 + 250 + 20 && at <= 5 + 250 + 25, "%llu", (unsigned long long)at);
    expect_winner(world, "10.0.0.2:7000");
    cr_assert_eq(world->box->hub.metrics.conn_cnt, 1, "the dead one was cancelled");
    cr_assert_eq(world->fail_cnt, 0);
    world_free(world);
}

Test(names_sim, a_refusing_address_costs_its_round_trip)
{
    struct world *world = world_new(3, 0);
    uint64_t at = dial(world, "refused-first.example:7000", 0, 1000);
    cr_assert(at < 100, "%llu", (unsigned long long)at);
    expect_winner(world, "10.0.0.2:7000");
    world_free(world);
}

Test(names_sim, the_first_family_is_used_when_it_works)
{
    struct world *world = world_new(4, 0);
    cr_assert_lt(dial(world, "six-and-four.example:7000", 0, 600), 100);
    expect_winner(world, "[fd00::2]:7000");
    cr_assert_eq(world->connected_cnt, 1);
    world_free(world);
}

Test(names_sim, what_fails_is_told_once_with_its_reason)
{
    static const struct {
        const char *name;
        uint16_t reason;
    } cases[] = {{"none.example:7000", WEIR_R_NAME_NOT_FOUND},
                 {"slow.example:7000", WEIR_R_NAME_TIMEOUT},
                 {"nobody.example:7000", WEIR_R_DIAL_TIMEOUT}};
    for (size_t i = 0; i < 3; i++) {
        struct world *world = world_new(5 + i, 0);
        cr_assert_eq(dial(world, cases[i].name, 0, 6000), UINT64_MAX);
        cr_assert_eq(world->fail_cnt, 1);
        cr_assert_eq(world->fail_reason, cases[i].reason, "%s: %s", cases[i].name,
                     weir_reason_name(world->fail_reason));
        world_free(world);
    }
}

Test(names_sim, a_run_follows_from_its_seed)
{
    uint64_t digests[2][8];
    for (int round = 0; round < 2; round++) {
        for (uint64_t seed = 0; seed < 8; seed++) {
            struct world *world = world_new(100 + seed, 400 * MS);
            (void)dial(world, "hole-first.example:7000", WEIR_DIAL_PERSIST, 3000);
            (void)dial(world, "nobody.example:7000", WEIR_DIAL_PERSIST, 3000);
            (void)dial(world, "six-and-four.example:7000", 0, 3000);
            digests[round][seed] = world_free(world);
        }
    }
    for (uint64_t seed = 0; seed < 8; seed++)
        cr_assert_eq(digests[0][seed], digests[1][seed], "seed %llu",
                     (unsigned long long)(100 + seed));
    cr_assert_neq(digests[0][0], digests[0][1]);
}
