/* bench/weir_siege.c: one established connection whose messages go there and back at a fixed pace, for one window alone
 * and for one beside newcomers (bench/strangers.h). Latency is from when a message was due. */
#include "bench/strangers.h"
#include "bench/weir_roles.h"
#include "bench/weir_side.h"

#include <stdlib.h>
#include <string.h>

struct ping { /* the beginning of each message */
    uint64_t seq;
    weir_ns due;
};

struct pinger {
    struct weir_side side; /* first: see on_peer */
    struct bench_strangers strangers;
    uint8_t *msg;
    uint64_t asked;
    weir_ns due;                   /* of the next; 0: the peer is not up */
    weir_ns from[BENCH_PHASE_CNT]; /* when each phase was seen to begin; 0: not yet */
};

static void on_up(void *role, weir_peer peer)
{
    struct pinger *pinger = role;

    (void)peer;
    pinger->due = bench_now();
}

/* Says what is due. Returns how long it is until the next. */
static weir_ns ask(struct pinger *pinger)
{
    const struct bench_job *job = pinger->side.run->job;
    weir_ns now = bench_now();

    if (pinger->due == 0)
        return WEIR_SIDE_WAIT_NS;
    for (; now >= pinger->due; pinger->due += job->interval_ns) {
        const struct ping ping = {pinger->asked, pinger->due};
        memcpy(pinger->msg, &ping, sizeof(ping));
        int error = weir_try_send(pinger->side.node, pinger->side.peer, 0, pinger->msg, job->size);
        if (error != 0) {
            weir_side_fail(&pinger->side, "asking", error);
            break;
        }
        pinger->asked++;
    }
    return pinger->due > now ? pinger->due - now : 1;
}

/* Whether something was due in a phase, whenever it came about. */
static bool is_within(const struct pinger *pinger, enum bench_phase phase, enum bench_phase next,
                      weir_ns due)
{
    return pinger->from[phase] != 0 && due >= pinger->from[phase] &&
           (pinger->from[next] == 0 || due < pinger->from[next]);
}

static void on_answer(void *role, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct pinger *pinger = role;
    struct bench_run *run = pinger->side.run;
    weir_ns now = bench_now();

    for (uint32_t i = 0; i < msg_cnt; i++) {
        struct ping ping;
        bench_count(run, 0, msgs[i].data, msgs[i].len);
        if (msgs[i].len < sizeof(ping))
            continue;
        memcpy(&ping, msgs[i].data, sizeof(ping));
        if (is_within(pinger, BENCH_MEASURE, BENCH_DRAIN, ping.due))
            bench_histogram_add(&run->shared->latency, now - ping.due);
        else if (is_within(pinger, BENCH_ALONE, BENCH_MEASURE, ping.due))
            bench_histogram_add(&run->shared->latency_call, now - ping.due);
    }
}

enum bench_status bench_weir_siege_send(struct bench_run *run)
{
    static struct pinger pinger;
    const struct weir_reactor reactor = {.on_batch = on_answer};
    const struct weir_side_hooks hooks = {.on_up = on_up};
    const enum bench_strangers_kind kind =
        run->job->which == BENCH_FLOOD ? BENCH_STRANGERS_FLOOD : BENCH_STRANGERS_DIAL;
    bool is_stopped = false;

    pinger.msg = calloc(1, run->job->size);
    if (pinger.msg == NULL)
        return bench_fail(run, BENCH_E_RUN, "no memory for a message");
    if (!weir_side_open(&pinger.side, run, &reactor, &hooks, &pinger))
        return BENCH_E_RUN;
    while (!is_stopped || run->counts.msgs[0] < pinger.asked) {
        weir_ns wait = is_stopped ? WEIR_NS_PER_MS : ask(&pinger);
        if (!weir_side_turn(&pinger.side, wait))
            return BENCH_E_RUN;
        enum bench_phase phase = bench_step(run);
        if (pinger.from[phase] == 0)
            pinger.from[phase] = bench_now();
        if (phase == BENCH_MEASURE && !pinger.strangers.is_running &&
            !bench_strangers_start(&pinger.strangers, run, kind, pinger.side.port))
            return BENCH_E_RUN;
        if (phase < BENCH_DRAIN || is_stopped)
            continue;
        (void)ask(&pinger); /* what was due in the window, however late */
        is_stopped = true;
        if (!bench_strangers_stop(&pinger.strangers))
            return BENCH_E_RUN;
    }
    bench_publish_sent(run);
    bench_finish(run);
    weir_side_close(&pinger.side);
    return BENCH_OK;
}

/* ---- the other side ------------------------------------------------------------------------------ */

struct besieged {
    struct weir_side side; /* first: see on_peer */
};

static void on_question(void *role, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct besieged *besieged = role;

    for (uint32_t i = 0; i < msg_cnt; i++) {
        bench_count(besieged->side.run, 0, msgs[i].data, msgs[i].len);
        int error = weir_try_send(besieged->side.node, msgs[i].peer, 0, msgs[i].data, msgs[i].len);
        if (error != 0)
            weir_side_fail(&besieged->side, "answering", error);
    }
}

/* Strangers come and go; that the one who asks is still there shows in its answers. */
static void on_end(void *role, weir_peer peer, int event, int reason)
{
    (void)role;
    (void)peer;
    (void)event;
    (void)reason;
}

enum bench_status bench_weir_siege_recv(struct bench_run *run)
{
    static struct besieged besieged;
    const struct weir_reactor reactor = {.on_batch = on_question};
    const struct weir_side_hooks hooks = {.on_end = on_end};

    if (!weir_side_open(&besieged.side, run, &reactor, &hooks, &besieged))
        return BENCH_E_RUN;
    while (bench_step(run) != BENCH_DONE)
        if (!weir_side_turn(&besieged.side, WEIR_SIDE_WAIT_NS))
            return BENCH_E_RUN;
    weir_side_close(&besieged.side);
    return BENCH_OK;
}
