/* The steady state allocates nothing: neither for small messages nor for large ones, in both directions. And no
 * shard has anything to do with another: nothing is posted to any of them while messages flow. */
#include "tests/integration/traffic.h"

IT_SUITE(alloc);

static struct it_node a, b;
static struct traffic ta, tb;

static uint32_t fixed_len(uint16_t channel, uint64_t seq)
{
    (void)seq;
    return channel == 1 ? 64 : 65536;
}

static uint64_t allocs(void)
{
    uint64_t of_a = it_metrics(&a)->heap_allocs;
    return of_a + it_metrics(&b)->heap_allocs;
}

/* Letters that all shards of a node have read: the one way in which a thread reaches a shard. */
static uint64_t letters_of(const struct it_node *node)
{
    static const char series[] = "weir_letters_total{";
    static char text[1u << 20];
    uint64_t sum = 0;
    uint32_t found = 0;
    cr_assert(weir_metrics_text(node->node, text, sizeof(text)) < (int64_t)sizeof(text));
    for (const char *at = text; (at = strstr(at, series)) != NULL; at += sizeof(series)) {
        const char *value = strchr(at, '}');
        cr_assert(value);
        sum += strtoull(value + 1, NULL, 10);
        found++;
    }
    IT_EQ(found, node->cfg.shard_cnt);
    return sum;
}

/* Whatever the queues and pools need is taken while they grow to their greatest size, and how soon that
 * is depends on the scheduling. So: of several long stretches one must be without a single allocation;
 * one for each message, or each hundredth, would show in all of them. */
static void run(uint32_t shards, uint64_t small, uint64_t large)
{
    enum { STRETCHES = 8 };
    it_init(&a, "a");
    it_init(&b, "b");
    a.cfg.shard_cnt = b.cfg.shard_cnt = shards;
    for (int i = 0; i < 2; i++) {
        it_channel(i ? &a : &b, 1);
        it_channel(i ? &a : &b, 2);
    }
    traffic_init(&ta, &a, 1, 2, fixed_len, 65536);
    traffic_init(&tb, &b, 2, 1, fixed_len, 65536);
    ta.total[0] = tb.total[0] = small;
    ta.total[1] = tb.total[1] = large;
    uint64_t all = shards * (small + large);
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    for (uint32_t i = 0; i < shards; i++)
        it_link(&a, &b);
    uint64_t least = UINT64_MAX, before = 0, posts = 0;
    for (uint64_t i = 1; i <= STRETCHES; i++) {
        IT_WAIT((ta.received >= all * i / STRETCHES && tb.received >= all * i / STRETCHES) ||
                a.faults || b.faults);
        uint64_t now = allocs();
        if (i > 1 && now - before < least)
            least = now - before;
        before = now;
        if (i == 1)
            posts = letters_of(&a) + letters_of(&b);
    }
    IT_EQ(letters_of(&a) + letters_of(&b) - posts, 0);
    cr_assert(least == 0, "at least %llu allocations in each stretch", (unsigned long long)least);
    it_stop(&a);
    IT_WAIT(b.downs == shards);
    it_stop(&b);
    traffic_fini(&ta);
    traffic_fini(&tb);
}

IT_TEST(alloc, none_for_64_bytes)
{
    run(1, 800000, 0);
}

IT_TEST(alloc, none_for_64_kib)
{
    run(1, 0, 6000);
}

IT_TEST(alloc, none_for_both_on_two_shards)
{
    run(2, 200000, 2000);
}
