/* The metrics of running nodes: over HTTP, as text, per peer; and turns that take too long. */
#include "tests/integration/scrape.h"

IT_SUITE(metrics);

/* ---- what is told -------------------------------------------------------------------------- */

IT_TEST(metrics, a_scrape_tells_what_happened)
{
    init();
    it_channel(&a, 7);
    it_channel(&b, 7)->name = "vo\"tes";
    it_channel(&b, 9);
    start("127.0.0.1:0");
    weir_peer peer = it_link(&a, &b);
    for (int i = 0; i < 100; i++)
        IT_OK(weir_send(a.node, peer, 7, "12345", 5, IT_PATIENCE));
    IT_WAIT(atomic_load(&b.msgs) == 100);
    char *text = scrape();
    expect(text, "weir_channel_messages_received_total{channel=\"7\",name=\"vo\\\"tes\"} ", 100);
    expect(text, "weir_channel_received_bytes_total{channel=\"7\",name=\"vo\\\"tes\"} ", 500);
    expect(text, "weir_channel_messages_received_total{channel=\"9\",name=\"\"} ", 0);
    expect(text, "weir_peers{shard=\"0\"} ", 1);
    expect(text, "weir_accepted_total{shard=\"0\"} ", 1);
    expect(text, "weir_handshakes_done_total{shard=\"0\"} ", 1);
    expect(text, "weir_handshakes_failed_total{shard=\"0\"} ", 0);
    expect(text, "weir_closes_total{reason=\"eof\"} ", 0);
    double rtt_cnt = -1;
    cr_assert_eq(lines(text, "weir_rtt_seconds_count ", &rtt_cnt), 1);
    expect(text, "weir_rtt_seconds_bucket{le=\"+Inf\"} ", rtt_cnt);
    cr_assert_eq(lines(text, "weir_peer_", NULL), 0, "nobody asked for peers one by one");
    cr_assert_geq(lines(text, "# TYPE weir_", NULL), 40);
    cr_assert_eq(lines(text, "# TYPE ", NULL), lines(text, "# HELP ", NULL));
    free(text);
    /* An end, a stranger and a refused peer show up under their reasons. */
    int stranger = raw_socket_to(b.address);
    say(stranger, "GET / HTTP/1.1\r\n\r\n");
    free(hear(stranger));
    close(stranger);
    IT_OK(weir_disconnect(a.node, peer, WEIR_R_MISBEHAVED));
    IT_WAIT(atomic_load(&b.downs) == 1 && it_closes(&b, WEIR_R_HTTP) == 1);
    text = scrape();
    expect(text, "weir_closes_total{reason=\"misbehaved\"} ", 1);
    expect(text, "weir_closes_total{reason=\"http\"} ", 1);
    expect(text, "weir_handshakes_failed_total{shard=\"0\"} ", 1);
    expect(text, "weir_goodbyes_received_total{shard=\"0\"} ", 1);
    expect(text, "weir_scrapes_total{shard=\"0\"} ", 1);
    free(text);
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(metrics, peers_of_all_shards_are_told_one_by_one)
{
    init();
    a.cfg.ping_interval_ns = b.cfg.ping_interval_ns = 10 * IT_MS;
    b.cfg.shard_cnt = 2;
    b.cfg.metrics_peers = 3;
    start("127.0.0.1:0");
    for (int i = 0; i < 4; i++)
        it_link(&a, &b);
    /* Accepting balances the shards, so each has two of the four. */
    char *text = scrape();
    cr_assert_eq(lines(text, "weir_peer_rtt_seconds{", NULL), 4);
    cr_assert_eq(lines(text, "# TYPE weir_peer_rtt_seconds gauge", NULL), 1,
                 "a family is together");
    cr_assert_eq(lines(text, "weir_peers{", NULL), 2);
    free(text);
    for (int i = 0; i < 8; i++)
        it_link(&a, &b);
    text = scrape();
    uint32_t cnt = lines(text, "weir_peer_rtt_seconds{", NULL);
    cr_assert(cnt == 6, "%u: three of each shard are told, not %u", cnt, 6);
    free(text);
    it_stop(&a);
    it_stop(&b);
}

static void on_msg(struct it_node *node, const struct weir_msg *msg)
{
    if (msg->len == 1 && weir_peer_useful(node->node, msg->peer, 3, 1) != 0)
        it_fault(node, "weir_peer_useful");
}

IT_TEST(metrics, usefulness_is_counted_from_any_thread)
{
    init();
    b.on_msg = on_msg;
    b.cfg.metrics_peers = 1;
    start("127.0.0.1:0");
    weir_peer peer = it_link(&a, &b);
    IT_OK(weir_send(a.node, peer, 1, "x", 1, IT_PATIENCE));
    IT_WAIT(atomic_load(&b.msgs) == 1);
    weir_peer at_b = it_peer(&b, 0);
    IT_OK(weir_peer_useful(b.node, at_b, 10, 20));
    IT_IS(weir_peer_useful(NULL, at_b, 1, 1), WEIR_E_MISUSE);
    IT_IS(weir_peer_useful(b.node, (weir_peer){0}, 1, 1), WEIR_E_GONE);
    struct weir_peer_info info = {.size = sizeof(info)};
    do
        IT_OK(it_info(&b, at_b, &info));
    while (info.delivered_again != 21);
    IT_EQ(info.delivered_first, 13);
    cr_assert(info.up_ns > 0 && info.credit_stalls == 0);
    char *text = scrape();
    double value = 0;
    cr_assert_eq(lines(text, "weir_peer_delivered_first_total{", &value), 1);
    cr_assert(value >= 13 && value <= 13);
    free(text);
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(metrics, an_application_may_have_the_text)
{
    init();
    it_create(&b, NULL);
    IT_IS(weir_metrics_text(NULL, NULL, 0), WEIR_E_MISUSE);
    IT_IS(weir_metrics_text(b.node, NULL, 1), WEIR_E_MISUSE);
    /* Before start there is no shard, but a node. */
    int64_t len = weir_metrics_text(b.node, NULL, 0);
    cr_assert_gt(len, 1000);
    IT_OK(weir_node_start(b.node));
    len = weir_metrics_text(b.node, NULL, 0) + 4096;
    char *text = malloc((size_t)len), *small = malloc(16);
    memset(small, 'x', 16);
    int64_t got = weir_metrics_text(b.node, text, (size_t)len);
    cr_assert(got > 0 && got < len && text[got] == '\0' && strlen(text) == (size_t)got);
    expect(text, "weir_peers{shard=\"0\"} ", 0);
    cr_assert_gt(weir_metrics_text(b.node, small, 16), 16);
    for (int i = 0; i < 16; i++)
        cr_assert_eq(small[i], 'x', "what is too small is not touched");
    free(text);
    free(small);
    it_stop(&b);
}

/* ---- turns that take too long -------------------------------------------------------------- */

static char stall_lines[4][400];
static _Atomic uint32_t stall_line_cnt;

static void on_log(void *ctx, int level, const char *line)
{
    (void)ctx;
    if (!strstr(line, "a turn took"))
        return;
    uint32_t idx = atomic_load(&stall_line_cnt);
    if (idx < 4 && level == WEIR_LOG_WARN)
        snprintf(stall_lines[idx], sizeof(stall_lines[idx]), "%s", line);
    atomic_store(&stall_line_cnt, idx + 1);
}

static void on_slow_msg(struct it_node *node, const struct weir_msg *msg)
{
    (void)node;
    (void)msg;
    usleep(60 * 1000);
}

IT_TEST(metrics, a_turn_that_takes_too_long_is_counted_and_told_once)
{
    init();
    b.on_msg = on_slow_msg;
    b.cfg.turn_warn_ns = 50 * IT_MS;
    b.cfg.log = on_log;
    start("127.0.0.1:0");
    weir_peer peer = it_link(&a, &b);
    for (uint64_t i = 1; i <= 3; i++) {
        IT_OK(weir_send(a.node, peer, 1, "x", 1, IT_PATIENCE));
        IT_WAIT(atomic_load(&b.msgs) == i);
    }
    char *text = scrape();
    double cnt = 0, seconds = 0, longest = 0;
    cr_assert_eq(lines(text, "weir_stalled_turns_total{shard=\"0\"} ", &cnt), 1);
    cr_assert_eq(lines(text, "weir_stalled_seconds_total{shard=\"0\"} ", &seconds), 1);
    cr_assert_eq(lines(text, "weir_turn_max_seconds{shard=\"0\"} ", &longest), 1);
    cr_assert(cnt >= 3 && seconds >= 0.18 && longest >= 0.06 && longest <= seconds, "%g %g %g", cnt,
              seconds, longest);
    free(text);
    /* Once a minute: on a machine that holds this test up for longer, twice. */
    uint32_t line_cnt = atomic_load(&stall_line_cnt);
    cr_assert(line_cnt >= 1 && line_cnt < 3, "%u lines", line_cnt);
    cr_assert(strstr(stall_lines[0], "shard 0: a turn took ") != NULL, "%s", stall_lines[0]);
    cr_assert(strstr(stall_lines[0], " frames in, ") != NULL, "%s", stall_lines[0]);
    it_stop(&a);
    it_stop(&b);
}
