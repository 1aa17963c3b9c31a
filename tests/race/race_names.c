/* Threads ask while lookups run and the resolver is freed under load: no answer after the end, none lost or
 * doubled before it. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/peers/resolver.h"
#include "weir/base.h"
#include "weir/error.h"
#include "weir/node.h"

#define ROUNDS 60
#define THREADS 3
#define ASKS 200u

struct round {
    struct weir_resolver *resolver;
    _Atomic uint32_t taken, answered;
    _Atomic int is_freed;
    uint32_t answers[THREADS * ASKS]; /* the resolver's thread writes */
};

static void fail(const char *what)
{
    fprintf(stderr, "race_names: %s\n", what);
    exit(1);
}

static uint16_t lookup(void *ctx, const char *name, uint16_t port, struct weir_addr *ret_addrs,
                       uint32_t addr_max, uint32_t *ret_addr_cnt)
{
    (void)ctx;
    (void)name;
    (void)addr_max;
    ret_addrs[0] = (struct weir_addr){.family = WEIR_ADDR_IPV4, .port = port};
    *ret_addr_cnt = 1;
    return 0;
}

static void done(void *ctx, const struct weir_question *question, uint16_t reason,
                 const struct weir_addr *addrs, uint32_t addr_cnt)
{
    struct round *round = ctx;
    if (atomic_load(&round->is_freed))
        fail("an answer after the end");
    if (reason != 0 || addr_cnt != 1 || addrs[0].port != question->entry_gen)
        fail("another answer");
    if (round->answers[question->entry_idx]++)
        fail("an answer twice");
    atomic_fetch_add(&round->answered, 1);
}

struct asker {
    struct round *round;
    uint32_t first;
};

static void *ask(void *arg)
{
    struct asker *asker = arg;
    struct round *round = asker->round;
    for (uint32_t i = 0; i < ASKS; i++) {
        struct weir_question question = {.entry_idx = asker->first + i,
                                         .entry_gen = 1 + i,
                                         .deadline_ns = weir_now() + 60 * WEIR_NS_PER_S};
        int error = weir_resolver_ask(round->resolver, &question, "x", (uint16_t)(1 + i));
        if (error == 0)
            atomic_fetch_add(&round->taken, 1);
        else if (error != WEIR_E_FULL)
            fail(weir_error_name(error));
    }
    return NULL;
}

int main(void)
{
    for (int r = 0; r < ROUNDS; r++) {
        struct round *round = calloc(1, sizeof(*round));
        struct weir_resolver_config cfg = {
            .lookup = lookup, .queue_max = 64, .done = done, .ctx = round};
        if (!round || weir_resolver_create(&round->resolver, &cfg) != 0)
            fail("memory");
        pthread_t threads[THREADS];
        struct asker askers[THREADS];
        for (uint32_t i = 0; i < THREADS; i++) {
            askers[i] = (struct asker){round, i * ASKS};
            if (pthread_create(&threads[i], NULL, ask, &askers[i]) != 0)
                fail("a thread");
        }
        for (uint32_t i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        bool waits = r % 2 == 0; /* otherwise it is freed with questions in its queue */
        while (waits && atomic_load(&round->answered) != atomic_load(&round->taken))
            usleep(100);
        weir_resolver_free(round->resolver);
        atomic_store(&round->is_freed, 1);
        if (atomic_load(&round->answered) > atomic_load(&round->taken))
            fail("more answers than questions");
        free(round);
    }
    return 0;
}
