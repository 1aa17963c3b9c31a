#include <stdio.h>

#include "engine/peers/dial.h"
#include "tests/unit/conn/peer.h"
#include "tests/unit/peers/kept.h"
#include "weir/node.h"

#define MS UINT64_C(1000000)

/* min(max, min * 2^n), so slowly that nothing can go wrong. */
static uint64_t plain_wait(uint64_t min_ns, uint64_t max_ns, uint32_t attempt_cnt)
{
    unsigned __int128 wait = min_ns;
    for (uint32_t i = 0; i < attempt_cnt && wait < max_ns; i++)
        wait *= 2;
    return wait < max_ns ? (uint64_t)wait : max_ns;
}

static const struct {
    uint64_t min_ns, max_ns;
} ranges[] = {
    {250 * MS, 30000 * MS},
    {MS, MS},
    {MS, 86400000 * MS},
    {250 * MS, 250 * MS + 1},
    {1, 3},
    {0, 0},
    {0, 1000 * MS},
    {1, UINT64_MAX},
    {3, UINT64_MAX},
    {MS, UINT64_MAX},
    {UINT64_MAX, UINT64_MAX},
    {1, UINT64_C(1) << 63},
    {7, UINT64_MAX - 1},
    {UINT64_MAX / 2, UINT64_MAX},
};
#define RANGE_CNT (sizeof(ranges) / sizeof(ranges[0]))

Test(dial, the_wait_is_between_half_and_all_of_min_times_two_to_the_n)
{
    uint64_t random = 1;
    for (size_t r = 0; r < RANGE_CNT; r++) {
        for (uint32_t attempt = 0; attempt < 200; attempt++) {
            uint64_t full = plain_wait(ranges[r].min_ns, ranges[r].max_ns, attempt);
            for (uint32_t i = 0; i < 20; i++) {
                uint64_t jitter = i == 0 ? 0 : i == 1 ? UINT64_MAX : box_random(&random);
                uint64_t wait =
                    weir_dial_backoff(ranges[r].min_ns, ranges[r].max_ns, attempt, jitter);
                cr_assert(wait <= full && wait >= full - full / 2,
                          "range %zu, attempt %u: %llu is not within %llu / 2 and all of it", r,
                          attempt, (unsigned long long)wait, (unsigned long long)full);
            }
        }
    }
}

Test(dial, the_wait_never_shrinks_with_the_attempts_and_doubles_below_the_maximum)
{
    for (size_t r = 0; r < RANGE_CNT; r++) {
        uint64_t before = 0;
        for (uint32_t attempt = 0; attempt < 200; attempt++) {
            /* The least of each range: random 0. */
            uint64_t wait = weir_dial_backoff(ranges[r].min_ns, ranges[r].max_ns, attempt, 0);
            cr_assert_geq(wait, before, "range %zu, attempt %u", r, attempt);
            before = wait;
        }
    }
    for (uint32_t attempt = 0; attempt < 6; attempt++)
        cr_assert_eq(weir_dial_backoff(250 * MS, 30000 * MS, attempt, 0), 125 * MS << attempt);
    cr_assert_eq(weir_dial_backoff(250 * MS, 30000 * MS, 7, 0), 15000 * MS);
}

Test(dial, an_attempt_count_without_end_is_fine)
{
    static const uint32_t attempts[] = {63, 64, 65, 1000, 1000000, UINT32_MAX};
    for (size_t r = 0; r < RANGE_CNT; r++) {
        if (ranges[r].min_ns == 0 && ranges[r].max_ns != 0)
            continue; /* twice nothing is nothing, four thousand million times */
        for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
            uint64_t max = ranges[r].max_ns;
            uint64_t wait = weir_dial_backoff(ranges[r].min_ns, max, attempts[i], 0);
            cr_assert_eq(wait, plain_wait(ranges[r].min_ns, max, attempts[i]) -
                                   plain_wait(ranges[r].min_ns, max, attempts[i]) / 2);
        }
    }
}

Test(dial, the_jitter_reaches_both_ends_and_is_even)
{
    enum { BINS = 8, ROUNDS = 80000 };
    uint64_t full = 8000 * MS, random = 3;
    uint32_t bins[BINS] = {0};
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t wait = weir_dial_backoff(250 * MS, 30000 * MS, 5, box_random(&random));
        uint64_t at = (wait - full / 2) * BINS / (full / 2 + 1);
        cr_assert_lt(at, BINS);
        bins[at]++;
    }
    for (uint32_t i = 0; i < BINS; i++)
        cr_assert(bins[i] > ROUNDS / BINS * 95 / 100 && bins[i] < ROUNDS / BINS * 105 / 100,
                  "bin %u has %u", i, bins[i]);
    cr_assert_eq(weir_dial_backoff(250 * MS, 30000 * MS, 5, full / 2), full);
    cr_assert_eq(weir_dial_backoff(250 * MS, 30000 * MS, 5, full / 2 + 1), full / 2);
}

/* ---- the dialer ----------------------------------------------------------------------------------- */

struct rig {
    struct box *box;
    struct script_io *script;
    struct weir_dialer dialer;
    uint32_t told_cnt; /* of the box's ends, passed on */
    uint32_t forget_cnt, failed_cnt;
    uint16_t failed_reason;
    bool is_useful;  /* what the node would say of a connection that ends */
    bool is_holding; /* ends wait, as they do until their place in the turn */
};

static void rig_forgot(void *ctx, struct weir_target_kept *target)
{
    kept_drop(target);
    ((struct rig *)ctx)->forget_cnt++;
}

static void rig_failed(void *ctx, const struct weir_target *addr, uint16_t reason)
{
    (void)addr;
    ((struct rig *)ctx)->failed_cnt++;
    ((struct rig *)ctx)->failed_reason = reason;
}

static void rig_timer(struct box *box, struct weir_timer *timer)
{
    struct rig *rig = box->ctx;
    cr_assert_eq(timer->kind, WEIR_TIMER_DIAL);
    weir_dialer_fire(&rig->dialer, timer->arg);
}

static void rig_turn(struct box *box)
{
    struct rig *rig = box->ctx;
    while (!rig->is_holding && rig->told_cnt < box->end_cnt) {
        uint32_t at = rig->told_cnt++ % BOX_ENDS;
        if (box->ends[at].dial_idx != UINT32_MAX)
            (void)weir_dialer_ended(&rig->dialer, box->ends[at].dial_idx, box->ends[at].conn->slot,
                                    box->ends[at].gen, box->ends[at].reason,
                                    box->ends[at].was_ready, rig->is_useful);
    }
}

static struct rig *rig_new(uint32_t entry_max)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    rig->box = solo_new(1);
    rig->box->cfg.redial_min_ns = 100 * MS;
    rig->box->cfg.redial_max_ns = 1000 * MS;
    rig->script = solo_open(rig->box);
    rig->box->ctx = rig;
    rig->box->on_timer = rig_timer;
    rig->box->on_turn = rig_turn;
    cr_assert_eq(weir_dialer_init(&rig->dialer, &rig->box->hub, entry_max), 0);
    rig->dialer.forget = rig_forgot;
    rig->dialer.failed = rig_failed;
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

static struct weir_target addr_of(uint32_t idx)
{
    char text[32];
    struct weir_target addr;
    snprintf(text, sizeof(text), "192.0.2.%u:7000", idx);
    cr_assert_eq(weir_target_parse(&addr, text), 0);
    return addr;
}

/* Lets 1 ms pass at a time until a socket is being connected; returns how many passed, `max` for none. */
static uint32_t until_dial(struct rig *rig, uint32_t max)
{
    int before = rig->script->sock_cnt;
    for (uint32_t i = 0; i < max; i++) {
        solo_advance(rig->box, MS);
        if (rig->script->sock_cnt != before)
            return i + 1;
    }
    return max;
}

static void refuse(struct rig *rig)
{
    script_connected(rig->script, rig->script->sock_cnt, -ECONNREFUSED);
    box_turn(rig->box);
}

Test(dial, a_plain_dial_is_made_once)
{
    struct rig *rig = rig_new(4);
    struct weir_target addr = addr_of(1);
    cr_assert_eq(kept_add(&rig->dialer, &addr, 0), 0);
    cr_assert_eq(rig->script->sock_cnt, 1);
    refuse(rig);
    cr_assert_eq(box_last_reason(rig->box), WEIR_R_REFUSED);
    cr_assert_eq(rig->forget_cnt, 1);
    cr_assert_eq(until_dial(rig, 3000), 3000);
    cr_assert(!weir_dialer_remove(&rig->dialer, &addr));
    rig_free(rig);
}

Test(dial, a_persistent_dial_comes_again_with_backoff_until_it_is_cancelled)
{
    struct rig *rig = rig_new(4);
    struct weir_target addr = addr_of(1);
    cr_assert_eq(kept_add(&rig->dialer, &addr, WEIR_DIAL_PERSIST), 0);
    for (uint32_t attempt = 0; attempt < 8; attempt++) {
        refuse(rig);
        uint32_t full = attempt < 4 ? 100u << attempt : 1000;
        uint32_t waited = until_dial(rig, 3000);
        cr_assert(waited >= full / 2 && waited <= full + 3, "attempt %u: %u ms", attempt, waited);
    }
    cr_assert_eq(rig->forget_cnt, 0);
    refuse(rig);
    cr_assert(weir_dialer_remove(&rig->dialer, &addr));
    cr_assert_eq(rig->forget_cnt, 1);
    cr_assert_eq(until_dial(rig, 3000), 3000);
    rig_free(rig);
}

static void end_after_ready(bool is_useful, uint32_t least, uint32_t most)
{
    struct rig *rig = rig_new(4);
    rig->is_useful = is_useful;
    struct weir_target addr = addr_of(1);
    cr_assert_eq(kept_add(&rig->dialer, &addr, WEIR_DIAL_PERSIST), 0);
    for (uint32_t i = 0; i < 6; i++) {
        refuse(rig);
        cr_assert_lt(until_dial(rig, 3000), 3000);
    }
    struct peer *peer = peer_new(rig->box, false);
    weir_codec_native.begin(peer->state, &peer->offer, false);
    peer->conn = rig->dialer.entries[0].conns[0];
    peer->sock = peer->conn->sock;
    script_connected(rig->script, peer->sock, 0);
    box_turn(rig->box);
    peer_pump(peer, 0);
    cr_assert_eq(peer->conn->state, WEIR_CONN_READY);
    peer_hang_up(peer);
    cr_assert_eq(box_last_reason(rig->box), WEIR_R_EOF);
    uint32_t waited = until_dial(rig, 3000);
    cr_assert(waited >= least && waited <= most, "%u ms", waited);
    peer_free(peer);
    rig_free(rig);
}

Test(dial, a_connection_that_was_useful_starts_the_backoff_again)
{
    end_after_ready(true, 50, 103);
}

Test(dial, one_that_only_shook_hands_does_not)
{
    end_after_ready(false, 500, 1003);
}

Test(dial, ourselves_are_not_dialed_again)
{
    struct rig *rig = rig_new(4);
    struct weir_target addr = addr_of(1);
    cr_assert_eq(kept_add(&rig->dialer, &addr, WEIR_DIAL_PERSIST), 0);
    struct peer *peer = peer_new(rig->box, false);
    memcpy(peer->offer.nonce, rig->box->offer.nonce, sizeof(peer->offer.nonce));
    weir_codec_native.begin(peer->state, &peer->offer, false);
    peer->conn = rig->dialer.entries[0].conns[0];
    peer->sock = peer->conn->sock;
    script_connected(rig->script, peer->sock, 0);
    box_turn(rig->box);
    peer_pump(peer, 0);
    cr_assert_eq(box_last_reason(rig->box), WEIR_R_SELF);
    cr_assert_eq(rig->forget_cnt, 1);
    peer_hang_up(peer);
    cr_assert_eq(until_dial(rig, 3000), 3000);
    peer_free(peer);
    rig_free(rig);
}

Test(dial, a_dial_that_cannot_start_is_told_and_comes_again_if_it_is_to)
{
    struct rig *rig = rig_new(8);
    struct weir_target addr = addr_of(1);
    rig->script->fail_connect = 1;
    cr_assert_eq(kept_add(&rig->dialer, &addr, 0), 0);
    cr_assert_eq(rig->failed_cnt, 1);
    cr_assert_eq(rig->forget_cnt, 1);
    rig->script->fail_connect = 1;
    cr_assert_eq(kept_add(&rig->dialer, &addr, WEIR_DIAL_PERSIST), 0);
    cr_assert_eq(rig->failed_cnt, 2);
    cr_assert_lt(until_dial(rig, 3000), 150);
    /* No slot: the same. */
    for (uint32_t i = 2; i <= 5; i++) {
        addr = addr_of(i);
        cr_assert_eq(kept_add(&rig->dialer, &addr, 0), 0);
    }
    cr_assert_eq(rig->failed_cnt, 3);
    cr_assert_eq(rig->failed_reason, WEIR_R_LIMIT_PEERS);
    rig_free(rig);
}

Test(dial, there_are_only_so_many_entries)
{
    struct rig *rig = rig_new(2);
    for (uint32_t i = 1; i <= 3; i++) {
        struct weir_target addr = addr_of(i);
        cr_assert_eq(kept_add(&rig->dialer, &addr, 0), i <= 2 ? 0 : WEIR_E_LIMIT);
    }
    struct weir_target addr = addr_of(1);
    cr_assert(weir_dialer_remove(&rig->dialer, &addr), "its connection stays");
    cr_assert_eq(rig->box->hub.metrics.conn_cnt, 2);
    addr = addr_of(3);
    cr_assert_eq(kept_add(&rig->dialer, &addr, 0), 0);
    script_connected(rig->script, 1, -ECONNREFUSED); /* of the one that was removed */
    box_turn(rig->box);
    cr_assert_eq(rig->forget_cnt, 1);
    rig_free(rig);
}

/* In one turn a connection ends, its dial is cancelled and another address is dialed, which takes the
 * entry; only then the end is passed on. */
Test(dial, the_end_of_a_cancelled_dial_is_not_the_next_one_s)
{
    for (int is_persistent = 0; is_persistent < 2; is_persistent++) {
        struct rig *rig = rig_new(1);
        struct weir_target one = addr_of(1), two = addr_of(2);
        uint32_t flags = is_persistent ? WEIR_DIAL_PERSIST : 0;
        cr_assert_eq(kept_add(&rig->dialer, &one, flags), 0);
        rig->is_holding = true;
        script_connected(rig->script, 1, -ECONNREFUSED);
        box_turn(rig->box);
        cr_assert_eq(rig->box->end_cnt, 1);
        cr_assert(weir_dialer_remove(&rig->dialer, &one));
        cr_assert_eq(kept_add(&rig->dialer, &two, flags), 0);
        rig->is_holding = false;
        box_turn(rig->box);
        cr_assert(rig->dialer.entries[0].phase, "the new one is not forgotten");
        cr_assert_not_null(rig->dialer.entries[0].conns[0]);
        cr_assert_eq(until_dial(rig, 2000), 2000, "nor dialed twice");
        script_connected(rig->script, 2, -ECONNREFUSED);
        box_turn(rig->box);
        cr_assert_eq(until_dial(rig, 2000) < 2000, is_persistent, "its own end is its own");
        rig_free(rig);
    }
}

/* ---- how many at once ----------------------------------------------------------------------------- */

static struct rig *rig_capped(uint32_t entry_max, uint32_t active_max)
{
    struct rig *rig = rig_new(entry_max);
    weir_dial_queue_init(&rig->dialer.queue, active_max);
    return rig;
}

static void add_plain(struct rig *rig, uint32_t idx)
{
    struct weir_target addr = addr_of(idx);
    cr_assert_eq(kept_add(&rig->dialer, &addr, 0), 0);
}

static uint32_t phase_of(const struct rig *rig, uint32_t idx)
{
    struct weir_target addr = addr_of(idx);
    for (uint32_t i = 0; i < rig->dialer.entry_max; i++) {
        const struct weir_dial_entry *entry = &rig->dialer.entries[i];
        if (entry->phase != WEIR_DIAL_FREE && weir_target_means_kept(&addr, entry->target))
            return entry->phase;
    }
    return WEIR_DIAL_FREE;
}

Test(dial, more_than_may_be_under_way_wait_for_their_turn_in_order)
{
    struct rig *rig = rig_capped(8, 2);
    for (uint32_t i = 1; i <= 4; i++)
        add_plain(rig, i);
    cr_assert_eq(rig->script->sock_cnt, 2);
    cr_assert(phase_of(rig, 2) == WEIR_DIAL_RACING && phase_of(rig, 3) == WEIR_DIAL_QUEUED);
    cr_assert_eq(until_dial(rig, 2000), 2000, "time alone gives nobody a turn");
    /* One fails, the next is dialed; one that waits is cancelled, and the one behind it comes up. */
    script_connected(rig->script, 1, -ECONNREFUSED);
    box_turn(rig->box);
    cr_assert_eq(rig->script->sock_cnt, 3);
    cr_assert(phase_of(rig, 3) == WEIR_DIAL_RACING && phase_of(rig, 4) == WEIR_DIAL_QUEUED);
    add_plain(rig, 5);
    struct weir_target addr = addr_of(4);
    cr_assert(weir_dialer_remove(&rig->dialer, &addr));
    cr_assert_eq(rig->script->sock_cnt, 3);
    script_connected(rig->script, 2, -ECONNREFUSED);
    box_turn(rig->box);
    cr_assert(phase_of(rig, 4) == WEIR_DIAL_FREE && phase_of(rig, 5) == WEIR_DIAL_RACING);
    /* Connected is under way no more. */
    add_plain(rig, 6);
    cr_assert_eq(phase_of(rig, 6), WEIR_DIAL_QUEUED);
    struct weir_dial_entry *third = &rig->dialer.entries[2];
    cr_assert_eq(third->phase, WEIR_DIAL_RACING);
    weir_dialer_connected(&rig->dialer, third->conns[0]);
    cr_assert_eq(third->phase, WEIR_DIAL_UP);
    cr_assert_eq(phase_of(rig, 6), WEIR_DIAL_RACING);
    cr_assert_eq(rig->dialer.queue.active_cnt, 2);
    weir_dialer_stop(&rig->dialer);
    cr_assert(rig->dialer.queue.active_cnt == 0 && rig->dialer.queue.head == WEIR_DIAL_NOBODY);
    rig_free(rig);
}

static uint16_t say_no(void *ctx, const struct weir_target *target, const struct weir_addr *addr,
                       uint32_t flags)
{
    (void)ctx, (void)target, (void)addr, (void)flags;
    return WEIR_R_BANNED;
}

/* Rounds that fail at once, as many as there are: each gives its turn to the next, without depth. */
Test(dial, turns_are_passed_on_by_dials_that_cannot_start)
{
    enum { MANY = 3000 };
    struct rig *rig = rig_capped(MANY, 1);
    struct weir_target addr;
    char text[32];
    add_plain(rig, 1);
    for (uint32_t i = 1; i < MANY; i++) {
        snprintf(text, sizeof(text), "198.18.%u.%u:7000", i / 250, i % 250);
        cr_assert_eq(weir_target_parse(&addr, text), 0);
        cr_assert_eq(kept_add(&rig->dialer, &addr, i % 2 ? WEIR_DIAL_PERSIST : 0), 0);
    }
    cr_assert_eq(rig->failed_cnt, 0);
    rig->dialer.enter = say_no;
    script_connected(rig->script, 1, -ECONNREFUSED);
    box_turn(rig->box);
    cr_assert_eq(rig->failed_cnt, MANY - 1);
    cr_assert_eq(rig->failed_reason, WEIR_R_BANNED);
    cr_assert(rig->dialer.queue.active_cnt == 0 && rig->dialer.queue.head == WEIR_DIAL_NOBODY);
    rig_free(rig);
}

/* Entries come, go, fail and connect at random, and a list says whose turn it is. */
Test(dial, the_queue_is_a_plain_list)
{
    enum { CNT = 40, MAX = 5 };
    struct weir_dial_link links[CNT] = {0};
    struct weir_dial_links base = {links, sizeof(links[0])};
    struct weir_dial_queue queue;
    uint32_t list[CNT], list_cnt = 0, active_cnt = 0;
    bool is_active[CNT] = {false}, is_waiting[CNT] = {false};
    uint64_t random = 9;
    weir_dial_queue_init(&queue, MAX);
    for (uint32_t step = 0; step < 100000; step++) {
        uint32_t idx = (uint32_t)(box_random(&random) % CNT);
        uint32_t what = (uint32_t)(box_random(&random) % 3);
        if (what == 0 && !is_active[idx] && !is_waiting[idx]) {
            bool is_now = active_cnt < MAX && list_cnt == 0;
            cr_assert_eq(weir_dial_queue_enter(&queue, base, idx), is_now);
            is_active[idx] = is_now;
            is_waiting[idx] = !is_now;
            active_cnt += is_now;
            if (!is_now)
                list[list_cnt++] = idx;
        } else if (what == 1) {
            weir_dial_queue_leave(&queue, base, idx);
            active_cnt -= is_active[idx];
            for (uint32_t i = 0; i < list_cnt; i++) {
                if (list[i] == idx) {
                    memmove(&list[i], &list[i + 1], (list_cnt - i - 1) * sizeof(list[0]));
                    list_cnt--;
                    break;
                }
            }
            is_active[idx] = is_waiting[idx] = false;
        } else if (what == 2) {
            uint32_t want = active_cnt < MAX && list_cnt ? list[0] : WEIR_DIAL_NOBODY;
            cr_assert_eq(weir_dial_queue_next(&queue, base), want);
            if (want != WEIR_DIAL_NOBODY) {
                memmove(list, list + 1, --list_cnt * sizeof(list[0]));
                is_waiting[want] = false;
                is_active[want] = true;
                active_cnt++;
            }
        }
        cr_assert_eq(queue.active_cnt, active_cnt);
    }
}
