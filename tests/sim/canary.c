/* Each oracle of the proving ground finds the fault that was planted for it, and without one the same seeds
 * pass. This program's engine is compiled with WEIR_CANARY; see engine/base/check.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "tools/sim/sim_run.h"

#define SEEDS 150u
#define CLEAN_SEEDS 20u /* looked at without a fault */

static const struct {
    const char *name;
    const char *oracles; /* that may be the first to find it */
    uint64_t seed;       /* the first to look at, if not 1, where those that show it are rare */
} canaries[WEIR_CANARY_CNT] = {
    [WEIR_CANARY_NONE] = {"none", ""},
    [WEIR_CANARY_ORDER] = {"order", "fifo once"},
    [WEIR_CANARY_TWICE] = {"twice", "once fifo content"},
    [WEIR_CANARY_LOSE] = {"lose", "fifo loss content"},
    [WEIR_CANARY_UNCHECKED] = {"unchecked", "content fifo once"},
    [WEIR_CANARY_KEEP] = {"keep", "kept"},
    [WEIR_CANARY_EARLY] = {"early", "blame"},
    [WEIR_CANARY_ACCOUNT] = {"account", "check"},
    [WEIR_CANARY_BOUND] = {"bound", "bound"},
    [WEIR_CANARY_FAIR] = {"fair", "fair", 30},
    [WEIR_CANARY_URGENT] = {"urgent", "urgent"},
    [WEIR_CANARY_EVENT] = {"event", "events check"}, /* or where the peer is taken off the list */
    [WEIR_CANARY_SENDS] = {"sends", "check"},
    [WEIR_CANARY_CLOSE] = {"close", "check owner"},
    [WEIR_CANARY_OWNER] = {"owner", "owner"},
    [WEIR_CANARY_REDIAL] = {"redial", "converge"},
    [WEIR_CANARY_STOP] = {"stop", "stop"},
    [WEIR_CANARY_WRITABLE] = {"writable", "rest", 31},
    [WEIR_CANARY_CREDIT] = {"credit", "rest loss"},
    [WEIR_CANARY_RELEASE] = {"release", "release rest"},
    [WEIR_CANARY_WAKE] = {"wake", "wake"},
    [WEIR_CANARY_STREAM] = {"stream",
                            "stream check"}, /* or in a send of the same bytes to another */
    [WEIR_CANARY_SAME] = {"same", "same"},
    [WEIR_CANARY_SECRET] = {"secret", "secret"},
    [WEIR_CANARY_UNOPENED] = {"unopened", "content fifo once loss rest blame"},
    [WEIR_CANARY_POLICY] = {"policy", "policy", 17},
    [WEIR_CANARY_ID] = {"id", "policy"},
    [WEIR_CANARY_TWINS] = {"twins", "twins"},
    [WEIR_CANARY_FRAME] = {"frame", "bound", 40},
    [WEIR_CANARY_STRANGERS] = {"strangers", "bound", 345},
    [WEIR_CANARY_DIALS] = {"dials", "bound", 8},
    [WEIR_CANARY_CANCEL] = {"cancel", "rest"},
    [WEIR_CANARY_IDLE] = {"idle", "urgent"},
    [WEIR_CANARY_PONG] = {"pong", "still"},
    [WEIR_CANARY_DOZE] = {"doze", "still rest urgent", 203},
};

static bool is_word_of(const char *word, const char *words)
{
    size_t len = strlen(word);
    for (const char *at = words; (at = strstr(at, word)); at += len)
        if ((at == words || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
            return true;
    return false;
}

/* Returns whether all is as it should be. One seed after the other: of two side by side either may fail first, and what
 * the second one fails of may be another oracle's. */
static bool try(int canary)
{
    struct prove_config cfg = {.seed = canaries[canary].seed ? canaries[canary].seed : 1};
    struct sim_totals totals;
    struct sim_outcome failed = {0};
    weir_canary = canary;
    uint32_t seed_cnt = canary == WEIR_CANARY_NONE ? CLEAN_SEEDS : SEEDS;
    int res = sim_run_many(&cfg, NULL, seed_cnt, 0, 1, NULL, NULL, &totals, &failed);
    bool is_found = res == 0;
    bool is_right = canary == WEIR_CANARY_NONE
                        ? res == 1
                        : is_found && is_word_of(failed.res.oracle, canaries[canary].oracles);
    if (is_found && failed.seed > CLEAN_SEEDS) { /* it is the fault's, and not the seed's */
        struct sim_outcome clean;
        cfg.seed = failed.seed;
        weir_canary = WEIR_CANARY_NONE;
        is_right &= sim_run_one(&cfg, 0, &clean) == 0 && !clean.res.is_failed;
    }
    printf("%-10s %s %s", canaries[canary].name, is_right ? "ok  " : "BAD ",
           is_found ? failed.res.oracle : "nothing found");
    if (is_found)
        printf(", seed %llu: %.120s", (unsigned long long)failed.seed, failed.res.text);
    putchar('\n');
    fflush(stdout);
    return is_right;
}

/* ---- minimising ---------------------------------------------------------------------------- */

static void count(void *ctx, const char *what, bool is_same)
{
    uint32_t *cnts = ctx;
    (void)what;
    cnts[is_same]++;
}

/* A fault that shows with one class only is found among whatever was on, and that class is what is left. */
static bool try_minimise(int canary, uint32_t wanted)
{
    struct prove_config cfg = {.seed = 1};
    struct sim_totals totals;
    struct sim_outcome failed = {0}, again;
    uint32_t cnts[2] = {0};
    weir_canary = canary;
    bool is_right = sim_run_many(&cfg, NULL, SEEDS, 0, 1, NULL, NULL, &totals, &failed) == 0;
    uint32_t before = failed.res.classes;
    struct prove_config best = sim_minimise(&cfg, &failed, count, cnts);
    uint32_t left = before & ~best.off;
    /* It had something to do; what is left fails in the same way; and less does not. */
    is_right &= (before & (before - 1)) != 0 && cnts[1] > 0 && left == wanted;
    is_right &= best.secure == PROVE_SECURE_NO;
    is_right &= sim_run_one(&best, 0, &again) == 0 && again.res.is_failed &&
                strcmp(again.res.oracle, failed.res.oracle) == 0;
    best.off |= wanted;
    is_right &= sim_run_one(&best, 0, &again) == 0 && !again.res.is_failed;
    printf("minimise   %s %s: of classes %x are left %x, of %u less %u failed too\n",
           is_right ? "ok  " : "BAD ", canaries[canary].name, before, left, cnts[0] + cnts[1],
           cnts[1]);
    fflush(stdout);
    return is_right;
}

int main(int argc, char **argv)
{
    bool is_right = true;
    for (int i = 0; i < WEIR_CANARY_CNT; i++)
        if (argc < 2 || strcmp(argv[1], canaries[i].name) == 0)
            is_right &= try(i);
    if (argc < 2 || strcmp(argv[1], "minimise") == 0) {
        is_right &= try_minimise(WEIR_CANARY_KEEP, PROVE_KEEP);
        is_right &= try_minimise(WEIR_CANARY_UNCHECKED, WEIR_FAULT_CORRUPT);
    }
    return is_right ? 0 : 1;
}
