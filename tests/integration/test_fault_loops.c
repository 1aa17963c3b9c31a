/* In whole nodes on a real ring, the n-th allocation fails, for every n, the n-th operation of the ring answers each of
 * its documented errors or a short result, for every n, and libcrypto refuses its n-th call. */
#include <errno.h>

#include "tests/integration/fault_scenarios.h"
#include "tests/sanitized.h"
#include "tests/unit/proto/crypto_refuse.h"

IT_SUITE(fault_loops);

static struct life life;

/* Runs a life and looks for lost descriptors. */
static void run(enum life_scenario scenario, int fds)
{
    life_run(&life, scenario);
    IT_WAIT(it_fds() <= fds);
}

/* What only a life without a fault must have been. */
static void check_undisturbed(enum life_scenario scenario)
{
    if (scenario == LIFE_KNOWN)
        cr_assert(strcmp(life.met, "kfk") == 0, "the handshakes were '%s'", life.met);
}

/* Every n goes where memory is looked at and the engine's assertions hold: with sanitizers. The release, which has
 * neither, tries each seventh. */
#define STEP all_or_few(7, 1)

/* ---- memory -------------------------------------------------------------------------------- */

static void fail_each_allocation(enum life_scenario scenario)
{
    int fds = it_fds();
    fault_arm(NULL, 0);
    run(scenario, fds);
    IT_EQ(life.error, 0);
    cr_assert(!life_is_dead(&life));
    check_undisturbed(scenario);
    uint64_t cnt = life.alloc_cnt;
    cr_assert(cnt > 20, "only %llu allocations", (unsigned long long)cnt);
    uint32_t not_begun = 0, noticed = 0, step = STEP;
    for (uint64_t nth = 1; nth <= cnt; nth += step) {
        if (getenv("WEIR_TEST_LOG"))
            fprintf(stderr, "%s: allocation %llu\n", life_names[scenario], (unsigned long long)nth);
        weir_heap_fail_nth(nth);
        run(scenario, fds);
        weir_heap_fail_nth(0);
        cr_assert(life.error == 0 || life.error == WEIR_E_NOMEM, "%s: allocation %llu: %s",
                  life_names[scenario], (unsigned long long)nth, weir_error_name(life.error));
        not_begun += life.error != 0;
        noticed += life.error != 0 || life.has_lost || life_is_dead(&life);
    }
    cr_assert(not_begun * step >= 8, "%s: making two nodes takes more than %u allocations",
              life_names[scenario], not_begun * step);
    cr_assert(noticed > not_begun, "%s: later ones were noticed too", life_names[scenario]);
}

IT_TEST(fault_loops, every_allocation_fails_in_traffic)
{
    fail_each_allocation(LIFE_TRAFFIC);
}

IT_TEST(fault_loops, every_allocation_fails_over_a_unix_socket)
{
    fail_each_allocation(LIFE_UNIX);
}

IT_TEST(fault_loops, every_allocation_fails_in_broadcasts)
{
    fail_each_allocation(LIFE_BROADCAST);
}

IT_TEST(fault_loops, every_allocation_fails_while_messages_are_held)
{
    fail_each_allocation(LIFE_HOLD);
}

IT_TEST(fault_loops, every_allocation_fails_in_calls_of_other_threads)
{
    fail_each_allocation(LIFE_LETTERS);
}

IT_TEST(fault_loops, every_allocation_fails_in_dialing_again)
{
    fail_each_allocation(LIFE_PERSIST);
}

IT_TEST(fault_loops, every_allocation_fails_on_two_shards)
{
    fail_each_allocation(LIFE_SHARDS);
}

IT_TEST(fault_loops, every_allocation_fails_in_encrypted_traffic)
{
    fail_each_allocation(LIFE_SECURE);
}

IT_TEST(fault_loops, every_allocation_fails_in_handshakes_with_who_is_known)
{
    fail_each_allocation(LIFE_KNOWN);
}

/* ---- operations ---------------------------------------------------------------------------- */

struct op_fault {
    struct fault fault;
    bool is_harmless; /* nobody ends for it */
    bool can_prevent; /* the node may not begin, or ends: with this very error */
};

/* The errors that io.h documents for each operation, and the errnos of its events. */
static const struct op_fault op_faults[] = {
    {{FAULT_OP_ENABLE, FAULT_REFUSED, WEIR_E_SYSTEM}, false, true},
    {{FAULT_OP_LISTEN, FAULT_REFUSED, WEIR_E_IN_USE}, false, true},
    {{FAULT_OP_LISTEN, FAULT_REFUSED, WEIR_E_ACCESS}, false, true},
    {{FAULT_OP_LISTEN, FAULT_REFUSED, WEIR_E_DESCRIPTORS}, false, true},
    {{FAULT_OP_LISTEN, FAULT_REFUSED, WEIR_E_NOMEM}, false, true},
    {{FAULT_OP_LISTEN, FAULT_REFUSED, WEIR_E_LIMIT}, false, true},
    {{FAULT_OP_LISTEN, FAULT_REFUSED, WEIR_E_SYSTEM}, false, true},
    {{FAULT_OP_ACCEPT, FAULT_REFUSED, WEIR_E_FULL}, true, false},
    {{FAULT_OP_ACCEPT, FAULT_RESULT, -EMFILE}, false, false},
    {{FAULT_OP_ACCEPT, FAULT_RESULT, -ENFILE}, false, false},
    {{FAULT_OP_ACCEPT, FAULT_RESULT, -ENOBUFS}, false, false},
    {{FAULT_OP_ACCEPT, FAULT_RESULT, -ENOMEM}, false, false},
    {{FAULT_OP_ACCEPT, FAULT_RESULT, -ECONNABORTED}, false, false},
    {{FAULT_OP_ACCEPT, FAULT_RESULT, -EINTR}, false, false},
    {{FAULT_OP_CONNECT, FAULT_REFUSED, WEIR_E_FULL}, false, false},
    {{FAULT_OP_CONNECT, FAULT_REFUSED, WEIR_E_ADDRESS}, false, false},
    {{FAULT_OP_CONNECT, FAULT_REFUSED, WEIR_E_DESCRIPTORS}, false, false},
    {{FAULT_OP_CONNECT, FAULT_REFUSED, WEIR_E_NOMEM}, false, false},
    {{FAULT_OP_CONNECT, FAULT_REFUSED, WEIR_E_LIMIT}, false, false},
    {{FAULT_OP_CONNECT, FAULT_REFUSED, WEIR_E_SYSTEM}, false, false},
    {{FAULT_OP_CONNECT, FAULT_REWRITTEN, -ECONNREFUSED}, false, false},
    {{FAULT_OP_CONNECT, FAULT_REWRITTEN, -ETIMEDOUT}, false, false},
    {{FAULT_OP_CONNECT, FAULT_REWRITTEN, -ENETUNREACH}, false, false},
    {{FAULT_OP_CONNECT, FAULT_REWRITTEN, -EADDRNOTAVAIL}, false, false},
    {{FAULT_OP_CONNECT, FAULT_REWRITTEN, -ECANCELED}, false, false},
    {{FAULT_OP_RECV, FAULT_REFUSED, WEIR_E_FULL}, true, false},
    {{FAULT_OP_RECV, FAULT_RESULT, -ENOBUFS}, true, false},
    {{FAULT_OP_RECV, FAULT_RESULT, -EINTR}, true, false},
    {{FAULT_OP_RECV, FAULT_RESULT, -EAGAIN}, true, false},
    {{FAULT_OP_RECV, FAULT_RESULT, 0}, false, false},
    {{FAULT_OP_RECV, FAULT_RESULT, -ECONNRESET}, false, false},
    {{FAULT_OP_RECV, FAULT_RESULT, -ETIMEDOUT}, false, false},
    {{FAULT_OP_RECV, FAULT_RESULT, -ENOMEM}, false, false},
    {{FAULT_OP_SEND, FAULT_REFUSED, WEIR_E_FULL}, true, false},
    {{FAULT_OP_SEND, FAULT_SHORT, 1}, true, false},
    {{FAULT_OP_SEND, FAULT_SHORT, 17}, true, false},
    {{FAULT_OP_SEND, FAULT_SHORT, 1000}, true, false},
    {{FAULT_OP_SEND, FAULT_RESULT, -EPIPE}, false, false},
    {{FAULT_OP_SEND, FAULT_RESULT, -ECONNRESET}, false, false},
    {{FAULT_OP_SEND, FAULT_RESULT, -ENOMEM}, false, false},
    {{FAULT_OP_SEND, FAULT_RESULT, -EINTR}, true, false},
    {{FAULT_OP_SEND, FAULT_RESULT, -EAGAIN}, true, false},
    {{FAULT_OP_SHUTDOWN, FAULT_REFUSED, WEIR_E_FULL}, true, false},
    {{FAULT_OP_SHUTDOWN, FAULT_REWRITTEN, -ENOTCONN}, true, false},
    {{FAULT_OP_CANCEL, FAULT_REFUSED, WEIR_E_FULL}, true, false},
    {{FAULT_OP_PEER_ADDR, FAULT_REFUSED, 0}, true, false},
    {{FAULT_OP_TURN, FAULT_REFUSED, 0}, true, false},
    {{FAULT_OP_TURN, FAULT_REFUSED, WEIR_E_SYSTEM}, false, true},
};

#define TURNS_MAX all_or_few(60, 20) /* a turn is like another: the first ones suffice */

/* A stop does not wait for its drain when nobody is left, even though the kernel refused the cancel once. */
IT_TEST(fault_loops, a_refused_cancel_does_not_hold_the_stop_up)
{
    fault_arm(&(struct fault){FAULT_OP_CANCEL, FAULT_REFUSED, WEIR_E_FULL}, 1);
    memset(&life, 0, sizeof(life));
    IT_OK(life_make(&life, LIFE_SERVER, "127.0.0.1:0"));
    struct life_node *server = &life.nodes[LIFE_SERVER];
    for (int i = 0; i < 5; i++)
        life_turn(&life);
    IT_OK(weir_node_stop(server->node, 3600 * WEIR_NS_PER_S));
    LIFE_UNTIL(&life, server->is_over, "the end of the stop");
    cr_assert(fault_plan.countdown == 0, "the cancel was refused");
    weir_node_free(server->node);
}

/* How many connections of a side ended otherwise than on purpose. */
static uint32_t ends_of(const struct life_node *own)
{
    return own->downs + own->fails - own->ended_by[WEIR_R_SHUTDOWN] -
           own->ended_by[WEIR_R_APPLICATION];
}

/* A life with one fault. Goodbyes have little time, so that the many lives are short; on a busy machine it can be
 * too little, and then an end without one was not the fault's doing: that life is gone through again with more. */
static bool fail_once(const struct op_fault *what, uint64_t nth, enum life_scenario scenario,
                      int fds)
{
    bool was_hit = false;
    life_call_ns = what->fault.op == FAULT_OP_TURN && what->can_prevent ? 0 : 2 * WEIR_NS_PER_S;
    for (int try = 0; try < 2; try++) {
        life_linger_ns = try ? 5 * WEIR_NS_PER_S : 10 * IT_MS;
        fault_arm(&what->fault, nth);
        run(scenario, fds);
        was_hit = fault_plan.countdown == 0;
        if (!what->is_harmless || ends_of(&life.nodes[0]) + ends_of(&life.nodes[1]) == 0)
            break;
    }
    return was_hit;
}

/* One fault at every place of one scenario. Returns how many places there were. With another thread a life has not
 * always as many operations, nor at the same place: then all places are gone through that any life has had so far,
 * and what must hold must hold whatever it was that failed. */
static uint64_t fail_each(const struct op_fault *what, enum life_scenario scenario, int fds)
{
    uint64_t place_max = 0;
    for (uint64_t nth = 1, step = STEP;; nth += step) {
        if (getenv("WEIR_TEST_LOG"))
            fprintf(stderr, "%s: operation %d way %d value %d, the %llu.\n", life_names[scenario],
                    what->fault.op, what->fault.way, what->fault.value, (unsigned long long)nth);
        bool was_hit = fail_once(what, nth, scenario, fds);
        if (life.error || life_is_dead(&life))
            cr_assert(what->can_prevent, "operation %d, value %d, the %llu. ends a node",
                      what->fault.op, what->fault.value, (unsigned long long)nth);
        if (life.error)
            IT_IS(life.error, what->fault.value);
        for (int side = 0; what->is_harmless && side < 2; side++) {
            uint32_t ends = ends_of(&life.nodes[side]);
            cr_assert(ends == 0, "%s: operation %d, value %d, the %llu.: %u ended for it",
                      life_names[scenario], what->fault.op, what->fault.value,
                      (unsigned long long)nth, ends);
        }
        if (fault_plan.op_cnt[what->fault.op] > place_max)
            place_max = fault_plan.op_cnt[what->fault.op];
        bool is_last = scenario == LIFE_LETTERS ? nth > place_max : !was_hit;
        if (is_last || (what->fault.op == FAULT_OP_TURN && nth >= TURNS_MAX))
            return place_max;
    }
}

static void fail_each_operation(enum life_scenario scenario)
{
    int fds = it_fds();
    uint64_t places[FAULT_OPS] = {0};
    for (size_t i = 0; i < sizeof(op_faults) / sizeof(*op_faults); i++) {
        uint64_t cnt = fail_each(&op_faults[i], scenario, fds);
        if (cnt > places[op_faults[i].fault.op])
            places[op_faults[i].fault.op] = cnt;
    }
    for (int op = FAULT_OP_ENABLE; op < FAULT_OPS; op++)
        cr_assert(places[op] > 0, "%s has no operation %d", life_names[scenario], op);
    cr_assert(places[FAULT_OP_SEND] >= 6, "sends: %llu", (unsigned long long)places[FAULT_OP_SEND]);
}

IT_TEST(fault_loops, every_operation_fails_in_traffic)
{
    fail_each_operation(LIFE_TRAFFIC);
}

IT_TEST(fault_loops, every_operation_fails_over_a_unix_socket)
{
    fail_each_operation(LIFE_UNIX);
}

IT_TEST(fault_loops, every_operation_fails_in_broadcasts)
{
    fail_each_operation(LIFE_BROADCAST);
}

IT_TEST(fault_loops, every_operation_fails_while_messages_are_held)
{
    fail_each_operation(LIFE_HOLD);
}

IT_TEST(fault_loops, every_operation_fails_in_calls_of_other_threads)
{
    fail_each_operation(LIFE_LETTERS);
}

IT_TEST(fault_loops, every_operation_fails_in_dialing_again)
{
    fail_each_operation(LIFE_PERSIST);
}

IT_TEST(fault_loops, every_operation_fails_on_two_shards)
{
    fail_each_operation(LIFE_SHARDS);
}

IT_TEST(fault_loops, every_operation_fails_in_encrypted_traffic)
{
    fail_each_operation(LIFE_SECURE);
}

IT_TEST(fault_loops, every_operation_fails_in_handshakes_with_who_is_known)
{
    fail_each_operation(LIFE_KNOWN);
}

/* ---- libcrypto ----------------------------------------------------------------------------- */

static void note_refused(void)
{
    life_refused = life_busy;
}

/* A life in which libcrypto refuses its n-th call; 0: none. Returns whether there was that call. */
static bool refuse_once(uint32_t nth, enum life_scenario scenario, int fds)
{
    crypto_refuse.on_refused = note_refused;
    crypto_arm(nth);
    run(scenario, fds);
    return crypto_disarm();
}

/* How many lives felt it, and that nobody waited for what does not come: handshakes have a minute, and none takes it. */
static bool was_felt(void)
{
    for (int side = 0; side < 2; side++)
        IT_EQ(life.nodes[side].ended_by[WEIR_R_HANDSHAKE_TIMEOUT], 0);
    return life.error || life_is_dead(&life) || ends_of(&life.nodes[0]) || ends_of(&life.nodes[1]);
}

static void refuse_each_call(enum life_scenario scenario)
{
    int fds = it_fds();
    uint32_t not_begun = 0, felt = 0, tried = 0, step = all_or_few(3, 4);
    life_handshake_ns = 60 * WEIR_NS_PER_S;
    refuse_once(0, scenario, fds);
    IT_EQ(life.error, 0);
    check_undisturbed(scenario);
    cr_assert(!was_felt());
    uint32_t cnt = crypto_refuse.call_cnt;
    for (uint32_t nth = 1; nth <= cnt; nth += step) {
        bool was_refused = refuse_once(nth, scenario, fds);
        if (getenv("WEIR_TEST_LOG"))
            fprintf(stderr, "%s: call %u of %u, %s: %s, ends %u %u\n", life_names[scenario], nth,
                    cnt, was_refused ? crypto_refuse.refused_name : "-",
                    weir_error_name(life.error), ends_of(&life.nodes[0]), ends_of(&life.nodes[1]));
        cr_assert(life.error == 0 || life.error == WEIR_E_NOMEM, "%s: call %u: %s",
                  life_names[scenario], nth, weir_error_name(life.error));
        cr_assert(was_felt() <= was_refused, "%s: call %u was not refused", life_names[scenario],
                  nth);
        not_begun += life.error != 0;
        felt += was_felt();
        tried++;
    }
    cr_assert(cnt >= 1000, "%s: only %u calls", life_names[scenario], cnt);
    cr_assert(not_begun * step >= 4, "%s: %u refusals keep two nodes from their identities",
              life_names[scenario], not_begun);
    /* What is refused when a key is taken out of a context hurts nobody. Nearly all else does. */
    cr_assert(felt >= tried * 9 / 10, "%s: %u of %u refusals were felt", life_names[scenario], felt,
              tried);
}

IT_TEST(fault_loops, libcrypto_refuses_in_encrypted_traffic)
{
    refuse_each_call(LIFE_SECURE);
}

IT_TEST(fault_loops, libcrypto_refuses_in_handshakes_with_who_is_known)
{
    refuse_each_call(LIFE_KNOWN);
}
