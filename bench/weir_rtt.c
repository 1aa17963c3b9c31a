/* bench/weir_rtt.c: weir there and back: the next question is asked where the answer arrives, in
 * on_batch; the other side answers with the message itself. */
#include "bench/weir_roles.h"
#include "bench/weir_side.h"

#include <stdlib.h>
#include <string.h>

struct asker {
    struct weir_side side; /* first: see on_peer */
    uint8_t *msg;
    uint64_t asked;
    weir_ns begin;
    bool is_stopped;
};

static void ask(struct asker *asker)
{
    const uint32_t size = asker->side.run->job->size;

    if (size >= sizeof(asker->asked))
        memcpy(asker->msg, &asker->asked, sizeof(asker->asked));
    asker->begin = bench_now();
    /* Not weir_side_send: what counts here is answers. */
    int error = weir_try_send(asker->side.node, asker->side.peer, 0, asker->msg, size);
    if (error != 0)
        weir_side_fail(&asker->side, "asking", error);
    asker->asked++;
}

static void on_up(void *role, weir_peer peer)
{
    (void)peer;
    ask(role);
}

static void on_answer(void *role, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct asker *asker = role;
    struct bench_run *run = asker->side.run;

    if (run->phase == BENCH_MEASURE)
        bench_histogram_add(&run->shared->latency, bench_now() - asker->begin);
    for (uint32_t i = 0; i < msg_cnt; i++)
        bench_count(run, 0, msgs[i].data, msgs[i].len);
    if (!asker->is_stopped)
        ask(asker);
}

enum bench_status bench_weir_rtt_send(struct bench_run *run)
{
    static struct asker asker;
    const struct weir_reactor reactor = {.on_batch = on_answer};
    const struct weir_side_hooks hooks = {.on_up = on_up};

    asker.msg = calloc(1, run->job->size);
    if (asker.msg == NULL)
        return bench_fail(run, BENCH_E_RUN, "no memory for a message");
    if (!weir_side_open(&asker.side, run, &reactor, &hooks, &asker))
        return BENCH_E_RUN;
    while (!asker.is_stopped || run->counts.msgs[0] < asker.asked) {
        if (!weir_side_turn(&asker.side, WEIR_SIDE_WAIT_NS))
            return BENCH_E_RUN;
        asker.is_stopped = bench_step(run) >= BENCH_DRAIN;
    }
    bench_publish_sent(run);
    bench_finish(run);
    weir_side_close(&asker.side);
    return BENCH_OK;
}

static void on_question(void *role, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct weir_side *side = role;

    for (uint32_t i = 0; i < msg_cnt; i++) {
        bench_count(side->run, 0, msgs[i].data, msgs[i].len);
        int error = weir_try_send(side->node, msgs[i].peer, 0, msgs[i].data, msgs[i].len);
        if (error != 0)
            weir_side_fail(side, "answering", error);
    }
}

enum bench_status bench_weir_rtt_recv(struct bench_run *run)
{
    static struct weir_side side;
    const struct weir_reactor reactor = {.on_batch = on_question};

    if (!weir_side_open(&side, run, &reactor, NULL, &side))
        return BENCH_E_RUN;
    while (bench_step(run) != BENCH_DONE)
        if (!weir_side_turn(&side, WEIR_SIDE_WAIT_NS))
            return BENCH_E_RUN;
    weir_side_close(&side);
    return BENCH_OK;
}
