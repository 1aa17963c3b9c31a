/* Series that reactors add to a node's own: what may be added, counting on all threads, where they are shown. */
#include "tests/integration/harness.h"

IT_SUITE(series);

static struct it_node a, b;

static char *text_of(struct it_node *node)
{
    static char text[1 << 20];
    int64_t len = weir_metrics_text(node->node, text, sizeof(text));
    cr_assert(len > 0 && len < (int64_t)sizeof(text));
    return text;
}

/* The value of the one line that begins with `start` and a space. */
static uint64_t value_of(struct it_node *node, const char *start)
{
    size_t len = strlen(start);
    uint64_t value = UINT64_MAX;
    for (const char *line = text_of(node); line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, start, len) != 0 || line[len] != ' ')
            continue;
        cr_assert(value == UINT64_MAX, "%s is there twice", start);
        value = strtoull(line + len + 1, NULL, 10);
    }
    cr_assert(value != UINT64_MAX, "there is no %s", start);
    return value;
}

static struct weir_series series_of(uint32_t type, const char *name)
{
    return (struct weir_series){
        .size = sizeof(struct weir_series), .type = type, .name = name, .help = "Blocks that came"};
}

/* ---- what may be added --------------------------------------------------------------------- */

static int try(struct weir_series series)
{
    weir_counter *counter;
    return weir_series_add(a.node, &series, &counter);
}

IT_TEST(series, a_name_says_what_it_is)
{
    it_init(&a, "a");
    it_create(&a, NULL);
    static const char *const bad[] = {
        "",
        "x_",
        "weir_mine_total",
        "Mine_total",
        "mine",
        "9mine_total",
        "mine-total",
        "mine total",
        "mine_bucket",
        "this_name_has_more_than_the_sixty_three_bytes_that_there_are_for_one_total"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        IT_IS(try(series_of(WEIR_STATS_COUNTER, bad[i])), WEIR_E_CONFIG);
    IT_IS(try(series_of(WEIR_STATS_GAUGE, "mine_total")), WEIR_E_CONFIG);
    IT_IS(try(series_of(WEIR_STATS_GAUGE, "mine_sum")), WEIR_E_CONFIG);
    IT_IS(try(series_of(WEIR_STATS_HISTOGRAM, "mine")), WEIR_E_CONFIG);
    IT_IS(try(series_of(WEIR_STATS_COUNTER, NULL)), WEIR_E_CONFIG);
    struct weir_series series = series_of(WEIR_STATS_COUNTER, "mine_total");
    series.help = "two\nlines";
    IT_IS(try(series), WEIR_E_CONFIG);
    series.help = NULL;
    IT_IS(try(series), WEIR_E_CONFIG);
    series.help = "Blocks that came";
    series.value = "of no label";
    IT_IS(try(series), WEIR_E_CONFIG);
    series.label = "le";
    IT_IS(try(series), WEIR_E_CONFIG);
    series.label = "kind";
    IT_OK(try(series));
    IT_IS(try(series), WEIR_E_DUPLICATE);
    IT_IS(weir_series_add(a.node, &series, NULL), WEIR_E_MISUSE);
    series.value = "another \"kind\"";
    IT_OK(try(series));
    series.help = "Something else";
    IT_IS(try(series), WEIR_E_CONFIG);
    series = series_of(WEIR_STATS_COUNTER, "mine_total");
    IT_IS(try(series), WEIR_E_CONFIG); /* the others have a label */
    IT_EQ(value_of(&a, "mine_total{kind=\"another \\\"kind\\\"\"}"), 0);
    it_free(&a);
}

IT_TEST(series, there_is_a_bound_and_an_end_of_adding)
{
    it_init(&a, "a");
    it_create(&a, NULL);
    uint32_t cnt = 0;
    for (;; cnt++) {
        char name[32];
        snprintf(name, sizeof(name), "mine_%u_total", cnt);
        int error = try(series_of(WEIR_STATS_COUNTER, name));
        if (error)
            IT_IS(error, WEIR_E_LIMIT);
        if (error)
            break;
    }
    IT_EQ(cnt, WEIR_SERIES_MAX);
    IT_OK(weir_node_start(a.node));
    IT_IS(try(series_of(WEIR_STATS_COUNTER, "late_total")), WEIR_E_STATE);
    it_stop(&a);
}

/* ---- counting ------------------------------------------------------------------------------ */

#define THREADS 4u
#define ROUNDS 20000u

static weir_counter *blocks, *held;
static _Atomic uint32_t posted;

static void count_here(void *ctx, uint32_t shard, int is_run)
{
    (void)ctx;
    (void)shard;
    for (uint32_t i = 0; is_run && i < 1000; i++) {
        weir_counter_add(blocks, 3);
        weir_counter_add(held, 2);
    }
    atomic_fetch_add(&posted, 1);
}

static void *count_away(void *arg)
{
    for (uint32_t i = 0; i < ROUNDS; i++) {
        weir_counter_add(blocks, 1);
        weir_counter_sub(held, i % 2);
        weir_counter_add(held, i % 2);
    }
    return arg;
}

static uint64_t read_square(void *ctx, uint32_t arg)
{
    return *(uint64_t *)ctx * arg;
}

IT_TEST(series, shards_and_threads_count_and_nothing_is_lost)
{
    static uint64_t nine = 9;
    char path[] = "/dev/shm/weir-series-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    unlink(path);
    it_init(&a, "a");
    a.cfg.shard_cnt = 2;
    a.cfg.stats_path = path;
    a.cfg.stats_interval_ns = 20 * WEIR_NS_PER_MS;
    it_create(&a, NULL);
    struct weir_series series = series_of(WEIR_STATS_COUNTER, "mine_blocks_total");
    series.label = "kind";
    series.value = "full";
    IT_OK(weir_series_add(a.node, &series, &blocks));
    struct weir_series other = series_of(WEIR_STATS_GAUGE, "mine_held");
    IT_OK(weir_series_add(a.node, &other, &held));
    series.value = "asked";
    series.read = read_square;
    series.ctx = &nine;
    series.arg = 5;
    IT_OK(weir_series_add(a.node, &series, NULL));
    IT_OK(weir_node_start(a.node));
    pthread_t threads[THREADS];
    for (uint32_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, count_away, NULL);
    for (uint32_t i = 0; i < 10; i++)
        IT_OK(weir_post(a.node, i % 2, count_here, NULL));
    uint64_t before = 0;
    while (atomic_load(&posted) < 10) { /* a counter only rises, whoever looks */
        uint64_t now = value_of(&a, "mine_blocks_total{kind=\"full\"}");
        cr_assert_geq(now, before);
        before = now;
    }
    for (uint32_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    weir_counter_sub(blocks, 100); /* no gauge */
    weir_counter_add(NULL, 1);
    IT_EQ(value_of(&a, "mine_blocks_total{kind=\"full\"}"), THREADS * ROUNDS + 10 * 3000);
    IT_EQ(value_of(&a, "mine_blocks_total{kind=\"asked\"}"), 45);
    IT_EQ(value_of(&a, "mine_held"), 10 * 2000);
    weir_counter_sub(held, 30000);
    IT_EQ(value_of(&a, "mine_held"), 0);
    /* One family: its samples stand together, below one head. */
    char *text = text_of(&a), *head = strstr(text, "# TYPE mine_blocks_total counter\n");
    cr_assert(head != NULL && strstr(head + 1, "# TYPE mine_blocks_total") == NULL);
    cr_assert(strstr(head, "kind=\"asked\"") < strstr(head, "# HELP mine_held"));
    IT_OK(weir_node_stop(a.node, 0)); /* the file has the last values */
    FILE *file = fopen(path, "re");
    cr_assert(file != NULL);
    struct weir_stats_head file_head;
    cr_assert_eq(fread(&file_head, sizeof(file_head), 1, file), 1);
    bool is_found = false;
    for (uint32_t i = 0; i < file_head.record_cnt; i++) {
        struct weir_stats_record record;
        cr_assert_eq(fread(&record, sizeof(record), 1, file), 1);
        if (strcmp(record.name, "mine_blocks_total") != 0 ||
            strcmp(record.labels, "kind=\"full\"") != 0)
            continue;
        is_found = true;
        IT_EQ(record.value, THREADS * ROUNDS + 10 * 3000);
        IT_EQ(record.type, WEIR_STATS_COUNTER);
    }
    cr_assert(is_found);
    fclose(file);
    unlink(path);
    it_free(&a);
}

/* ---- of the reactors that come with weir --------------------------------------------------- */

static weir_gossip *topics[2], *far_topics[2];
static weir_requests *asking, *answering;
static weir_discovery *disco;

static void on_question(void *ctx, const struct weir_request *question)
{
    (void)ctx;
    (void)weir_reply_send(answering, question->reply, "yes", 3);
}

static void attach(struct it_node *node, weir_gossip **ret_topics, weir_requests **ret_requests)
{
    struct weir_gossip_config gossip = {.size = sizeof(gossip)};
    struct weir_request_config requests = {.size = sizeof(requests), .on_question = on_question};
    it_create(node, "127.0.0.1:0");
    for (uint32_t i = 0; i < 2; i++) {
        gossip.channel = (uint16_t)(40 + i);
        IT_OK(weir_gossip_create(&ret_topics[i], node->node, &gossip));
    }
    IT_OK(weir_requests_create(ret_requests, node->node, &requests));
}

IT_TEST(series, gossip_requests_and_discovery_have_theirs)
{
    struct weir_discovery_config discovery;
    weir_discovery_config_init(&discovery);
    it_init(&a, "a");
    it_init(&b, "b");
    attach(&a, topics, &asking);
    attach(&b, far_topics, &answering);
    IT_OK(weir_discovery_attach(&disco, a.node, &discovery));
    IT_OK(weir_node_start(a.node));
    IT_OK(weir_node_start(b.node));
    weir_peer to = it_link(&a, &b);
    IT_WAIT(value_of(&a, "weir_gossip_peers{channel=\"41\"}") == 1);
    for (int i = 0; i < 3; i++)
        cr_assert_geq(weir_gossip_publish(topics[1], &i, sizeof(i), NULL), 1);
    IT_WAIT(value_of(&b, "weir_gossip_delivered_total{channel=\"41\"}") == 3);
    IT_EQ(value_of(&b, "weir_gossip_delivered_total{channel=\"40\"}"), 0);
    IT_EQ(value_of(&a, "weir_gossip_published_total{channel=\"41\"}"), 3);
    IT_EQ(value_of(&a, "weir_gossip_stored{channel=\"41\"}"), 3);
    IT_EQ(value_of(&a, "weir_gossip_stored_bytes{channel=\"41\"}") > 0, 1);
    weir_inbox *inbox;
    IT_OK(weir_inbox_create(&inbox));
    struct weir_ask ask = {.size = sizeof(ask), .peer = to, .data = "?", .len = 1, .inbox = inbox};
    IT_OK(weir_ask(asking, &ask, NULL));
    const struct weir_answer *answer = weir_inbox_take(inbox, IT_PATIENCE);
    cr_assert(answer != NULL && answer->len == 3);
    weir_inbox_release(inbox, answer);
    char start[96];
    snprintf(start, sizeof(start), "weir_request_answered_total{channel=\"%u\"}",
             WEIR_REQUEST_CHANNEL);
    IT_WAIT(value_of(&a, start) == 1); /* counted behind the answer */
    snprintf(start, sizeof(start), "weir_request_replied_total{channel=\"%u\"}",
             WEIR_REQUEST_CHANNEL);
    IT_WAIT(value_of(&b, start) == 1);
    IT_OK(weir_discovery_add(disco, "20.1.2.3:7711"));
    IT_EQ(value_of(&a, "weir_discovery_places_new"), 1);
    IT_EQ(value_of(&a, "weir_discovery_asks_sent_total"), 0);
    weir_inbox_free(inbox);
    IT_OK(weir_node_stop(a.node, 0));
    IT_OK(weir_node_stop(b.node, 0));
    it_free(&a);
    it_free(&b);
    weir_discovery_free(disco);
    for (int i = 0; i < 2; i++) {
        weir_gossip_free(topics[i]);
        weir_gossip_free(far_topics[i]);
    }
    weir_requests_free(asking);
    weir_requests_free(answering);
}
