/* bench/weir_churn.c: weir's connections come and go: the sender dials, says goodbye as soon as the peer
 * is up, and dials again, some at a time. A connection counts when it is over. */
#include "bench/weir_roles.h"
#include "bench/weir_side.h"

struct churn {
    struct weir_side side; /* first: see on_peer */
    uint32_t dial_cnt;     /* so far */
    uint32_t under_way;
};

static void on_up(void *role, weir_peer peer)
{
    struct churn *churn = role;
    int error = weir_disconnect(churn->side.node, peer, WEIR_R_NONE);

    if (error != 0)
        weir_side_fail(&churn->side, "weir_disconnect", error);
}

static void on_end(void *role, weir_peer peer, int event, int reason)
{
    struct churn *churn = role;

    (void)peer;
    if (event != WEIR_PEER_DOWN || reason != WEIR_R_APPLICATION) {
        bench_fail(churn->side.run, BENCH_E_RUN, "a connection %s: %s",
                   event == WEIR_PEER_DOWN ? "ended" : "failed", weir_reason_text(reason));
        churn->side.is_failed = true;
        return;
    }
    churn->side.run->counts.msgs[0]++;
    churn->under_way--;
}

enum bench_status bench_weir_churn_send(struct bench_run *run)
{
    static struct churn churn;
    const struct weir_reactor reactor = {0};
    const struct weir_side_hooks hooks = {.on_up = on_up, .on_end = on_end, .is_dialer = true};
    enum bench_phase phase;

    if (!weir_side_open(&churn.side, run, &reactor, &hooks, &churn))
        return BENCH_E_RUN;
    while ((phase = bench_step(run)) != BENCH_DONE) {
        for (; phase < BENCH_DRAIN && churn.under_way < run->job->conn_cnt; churn.under_way++)
            if (!weir_side_dial(&churn.side, churn.dial_cnt++))
                return BENCH_E_RUN;
        if (phase == BENCH_DRAIN && churn.under_way == 0)
            bench_publish_sent(run);
        if (!weir_side_turn(&churn.side, phase == BENCH_DRAIN ? WEIR_NS_PER_MS : WEIR_SIDE_WAIT_NS))
            return BENCH_E_RUN;
    }
    weir_side_close(&churn.side);
    return BENCH_OK;
}

enum bench_status bench_weir_churn_recv(struct bench_run *run)
{
    static struct churn churn;
    const struct weir_reactor reactor = {0};
    const struct weir_side_hooks hooks = {.on_end = on_end, .is_dialer = true};

    if (!weir_side_open(&churn.side, run, &reactor, &hooks, &churn))
        return BENCH_E_RUN;
    while (bench_step(run) != BENCH_DRAIN || !bench_is_drained(run))
        if (!weir_side_turn(&churn.side,
                            run->phase == BENCH_DRAIN ? WEIR_NS_PER_MS : WEIR_SIDE_WAIT_NS))
            return BENCH_E_RUN;
    bench_finish(run);
    weir_side_close(&churn.side);
    return BENCH_OK;
}
