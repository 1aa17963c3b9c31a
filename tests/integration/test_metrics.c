/* The metrics of running nodes: over HTTP, as text, per peer; and turns that take too long. */
#include <fcntl.h>
#include <sys/stat.h>

#include "engine/mem/heap.h"
#include "tests/integration/raw.h"

IT_SUITE(metrics);

static struct it_node a, b;
static char metrics_at[128];

/* ---- a client ------------------------------------------------------------------------------ */

static void say(int sock, const char *text)
{
    size_t len = strlen(text);
    cr_assert(send(sock, text, len, MSG_NOSIGNAL) == (ssize_t)len, "%s", strerror(errno));
}

/* Reads to the end of the stream; the caller frees it. */
static char *hear(int sock)
{
    size_t len = 0, cap = 1 << 16;
    char *text = malloc(cap + 1);
    for (;;) {
        cr_assert(text != NULL);
        ssize_t got = recv(sock, text + len, cap - len, 0);
        cr_assert(got >= 0, "%s", strerror(errno));
        if (got == 0)
            break;
        len += (size_t)got;
        if (len == cap)
            text = realloc(text, (cap *= 2) + 1);
    }
    text[len] = '\0';
    return text;
}

static char *ask(const char *request)
{
    int sock = raw_socket_to(metrics_at);
    say(sock, request);
    char *text = hear(sock);
    close(sock);
    return text;
}

static char *scrape(void)
{
    char *text = ask("GET /metrics HTTP/1.1\r\nHost: weir\r\n\r\n");
    cr_assert(strncmp(text, "HTTP/1.1 200 OK\r\n", 17) == 0, "%.100s", text);
    char *body = strstr(text, "\r\n\r\n");
    const char *length = strstr(text, "Content-Length: ");
    cr_assert(body != NULL && length != NULL);
    cr_assert_eq(strlen(body + 4), strtoul(length + 16, NULL, 10));
    return text;
}

/* How many lines begin with `start`; the value of the last in `*ret_value`. */
static uint32_t lines(const char *text, const char *start, double *ret_value)
{
    uint32_t cnt = 0;
    size_t len = strlen(start);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, start, len) != 0)
            continue;
        cnt++;
        const char *end = strchr(line, '\n');
        const char *space = end;
        while (space && *space != ' ')
            space--;
        if (ret_value)
            *ret_value = strtod(space, NULL);
    }
    return cnt;
}

static void expect(const char *text, const char *series, double want)
{
    double value = -1;
    cr_assert_eq(lines(text, series, &value), 1, "not one line %s", series);
    cr_assert(value >= want && value <= want, "%s is %g, not %g", series, value, want);
}

/* Starts `b` with metrics and `a` beside it. */
static void start(const char *where)
{
    it_create(&b, "127.0.0.1:0");
    IT_OK(weir_metrics_listen(b.node, where));
    IT_OK(weir_metrics_address(b.node, metrics_at, sizeof(metrics_at)));
    IT_OK(weir_node_start(b.node));
    it_start(&a, NULL);
}

static void init(void)
{
    it_init(&a, "a");
    it_init(&b, "b");
}

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
        IT_OK(weir_peer_info(b.node, at_b, &info));
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

/* ---- clients that are slow, wrong or many -------------------------------------------------- */

static void expect_status(const char *request, const char *status)
{
    char *text = ask(request);
    cr_assert(strncmp(text, status, strlen(status)) == 0, "%.60s :: %.60s", request, text);
    free(text);
}

IT_TEST(metrics, other_requests_are_refused)
{
    init();
    start("127.0.0.1:0");
    expect_status("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 ");
    expect_status("GET /metrics/ HTTP/1.1\r\n\r\n", "HTTP/1.1 404 ");
    expect_status("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n");
    expect_status("GET /metrics HTTP/3.1\r\n\r\n", "HTTP/1.1 505 ");
    expect_status("weir\x01\x02\r\n", "HTTP/1.1 400 ");
    char *text = ask("DELETE / HTTP/1.1\r\n\r\n");
    cr_assert(strstr(text, "\r\nAllow: GET\r\n") != NULL);
    free(text);
    char *long_one = malloc(20000);
    strcpy(long_one, "GET / HTTP/1.1\r\nA: ");
    memset(long_one + strlen(long_one), 'a', 12000);
    strcpy(long_one + 12000, "\r\n\r\n");
    expect_status(long_one, "HTTP/1.1 431 ");
    free(long_one);
    text = scrape();
    expect(text, "weir_scrapes_refused_total{shard=\"0\"} ", 7);
    free(text);
    /* One that ends its own side first is answered; so is one that comes byte by byte. */
    int sock = raw_socket_to(metrics_at);
    say(sock, "GET /metrics HTTP/1.1\r\n\r\n");
    shutdown(sock, SHUT_WR);
    text = hear(sock);
    cr_assert(strncmp(text, "HTTP/1.1 200", 12) == 0);
    free(text);
    close(sock);
    sock = raw_socket_to(metrics_at);
    for (const char *at = "GET /metrics?x HTTP/1.1\nA: b\n\n"; *at; at++)
        say(sock, (char[]){*at, 0});
    text = hear(sock);
    cr_assert(strncmp(text, "HTTP/1.1 200", 12) == 0);
    free(text);
    close(sock);
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(metrics, silent_clients_are_bounded_and_have_a_deadline)
{
    init();
    start("127.0.0.1:0");
    int socks[8];
    for (int i = 0; i < 8; i++)
        socks[i] = raw_socket_to(metrics_at);
    say(socks[0], "GET /metr");
    int ninth = raw_socket_to(metrics_at);
    char byte;
    IT_EQ(recv(ninth, &byte, 1, 0), 0);
    close(ninth);
    close(socks[7]); /* makes room, as soon as the node has seen it */
    for (;;) {
        int sock = raw_socket_to(metrics_at);
        (void)!send(sock, "GET /metrics HTTP/1.0\r\n\r\n", 25, MSG_NOSIGNAL);
        ssize_t got = recv(sock, &byte, 1, 0);
        close(sock);
        if (got == 1)
            break;
    }
    for (int i = 0; i < 7; i++) { /* ten seconds after they came */
        IT_EQ(recv(socks[i], &byte, 1, 0), 0);
        close(socks[i]);
    }
    char *text = scrape();
    expect(text, "weir_connections{shard=\"0\"} ", 0);
    free(text);
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(metrics, a_node_stops_whatever_its_clients_do)
{
    init();
    b.cfg.shard_cnt = 2;
    b.cfg.metrics_peers = 4;
    start("127.0.0.1:0");
    it_link(&a, &b);
    int silent = raw_socket_to(metrics_at), deaf = raw_socket_to(metrics_at);
    int gone = raw_socket_to(metrics_at);
    int tiny = 2048;
    setsockopt(deaf, SOL_SOCKET, SO_RCVBUF, &tiny, sizeof(tiny));
    say(deaf, "GET /metrics HTTP/1.1\r\n\r\n");
    say(gone, "GET /metrics HTTP/1.1\r\n\r\n");
    struct linger reset = {.l_onoff = 1};
    setsockopt(gone, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(gone);
    free(scrape());
    it_stop(&a);
    it_stop(&b);
    close(silent);
    close(deaf);
}

/* Each allocation that a scrape makes, here or on the other shard, fails once. */
IT_TEST(metrics, a_scrape_without_memory_is_refused_or_smaller)
{
    init();
    b.cfg.shard_cnt = 2;
    b.cfg.metrics_peers = 4;
    start("127.0.0.1:0");
    it_link(&a, &b);
    it_link(&a, &b);
    bool was_refused = false, was_smaller = false;
    for (uint64_t nth = 1; nth < 12; nth++) {
        weir_heap_fail_nth(nth);
        char *text = ask("GET /metrics HTTP/1.1\r\n\r\n");
        weir_heap_fail_nth(0);
        bool is_served = strncmp(text, "HTTP/1.1 200", 12) == 0;
        cr_assert(is_served || strncmp(text, "HTTP/1.1 503", 12) == 0, "%.100s", text);
        was_refused |= !is_served;
        was_smaller |= is_served && lines(text, "weir_peer_rtt_seconds{", NULL) < 2;
        free(text);
    }
    cr_assert(was_refused && was_smaller);
    char *text = scrape();
    cr_assert_eq(lines(text, "weir_peer_rtt_seconds{", NULL), 2);
    free(text);
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(metrics, listening_has_its_errors)
{
    init();
    it_create(&a, "127.0.0.1:0");
    it_create(&b, NULL);
    char at[128];
    IT_IS(weir_metrics_listen(NULL, "127.0.0.1:0"), WEIR_E_MISUSE);
    IT_IS(weir_metrics_listen(b.node, "nonsense"), WEIR_E_ADDRESS);
    IT_IS(weir_metrics_listen(b.node, a.address), WEIR_E_IN_USE);
    IT_IS(weir_metrics_address(b.node, at, sizeof(at)), WEIR_E_MISUSE);
    snprintf(metrics_at, sizeof(metrics_at), "unix:/tmp/weir-metrics-%d", getpid());
    IT_OK(weir_metrics_listen(b.node, metrics_at));
    IT_IS(weir_metrics_listen(b.node, "127.0.0.1:0"), WEIR_E_LIMIT);
    IT_IS(weir_metrics_address(b.node, at, 5), WEIR_E_TOO_BIG);
    IT_OK(weir_metrics_address(b.node, at, sizeof(at)));
    cr_assert_str_eq(at, metrics_at);
    IT_OK(weir_node_start(b.node));
    IT_IS(weir_metrics_listen(b.node, "127.0.0.1:0"), WEIR_E_STATE);
    free(scrape());
    it_free(&a); /* never started */
    it_stop(&b);
    unlink(metrics_at + 5);
}

/* ---- the file ------------------------------------------------------------------------------ */

static char stats_path[64];

/* Reads the file as weir/stats.h says; the number of its records. */
static uint32_t read_stats(struct weir_stats_head *ret_head, struct weir_stats_record *ret_records,
                           uint32_t max)
{
    int fd = open(stats_path, O_RDONLY);
    cr_assert(fd >= 0);
    uint64_t seq = 1;
    uint32_t cnt = 0;
    weir_ns until = weir_now() + IT_PATIENCE;
    for (bool is_whole = false; !is_whole;) {
        cr_assert(weir_now() < until);
        cr_assert(pread(fd, ret_head, sizeof(*ret_head), 0) == sizeof(*ret_head));
        cr_assert(memcmp(ret_head->magic, WEIR_STATS_MAGIC, 8) == 0 && ret_head->version == 1);
        cr_assert_eq(ret_head->record_bytes, sizeof(*ret_records));
        cnt = ret_head->record_cnt < max ? ret_head->record_cnt : max;
        ssize_t bytes = (ssize_t)(cnt * sizeof(*ret_records));
        cr_assert(pread(fd, ret_records, (size_t)bytes, ret_head->head_bytes) == bytes);
        cr_assert(pread(fd, &seq, 8, offsetof(struct weir_stats_head, seq)) == 8);
        is_whole = seq == ret_head->seq && seq % 2 == 0;
    }
    close(fd);
    return cnt;
}

static uint64_t stat_of(const char *name, const char *labels)
{
    static struct weir_stats_record records[1024];
    struct weir_stats_head head;
    uint32_t cnt = read_stats(&head, records, 1024);
    for (uint32_t i = 0; i < cnt; i++) {
        if (strcmp(records[i].name, name) == 0 && strcmp(records[i].labels, labels) == 0)
            return records[i].value;
    }
    cr_assert(false, "no %s{%s}", name, labels);
    return 0;
}

IT_TEST(metrics, the_file_has_what_the_text_has)
{
    init();
    snprintf(stats_path, sizeof(stats_path), "/tmp/weir-stats-%d", getpid());
    a.cfg.stats_path = stats_path;
    a.cfg.stats_interval_ns = 10 * IT_MS;
    a.cfg.shard_cnt = 2;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    weir_peer peer = it_link(&a, &b);
    IT_OK(weir_send(a.node, peer, 1, "12345", 5, IT_PATIENCE));
    IT_WAIT(stat_of("weir_channel_sent_bytes_total", "channel=\"1\",name=\"\"") == 5);
    IT_WAIT(stat_of("weir_peers", "shard=\"0\"") + stat_of("weir_peers", "shard=\"1\"") == 1);
    /* As many records as the text has samples, under the same names. */
    static struct weir_stats_record records[1024];
    struct weir_stats_head head;
    uint32_t cnt = read_stats(&head, records, 1024), line_cnt = 0;
    IT_EQ(head.pid, getpid());
    int64_t len = weir_metrics_text(a.node, NULL, 0) + 4096;
    char *text = malloc((size_t)len);
    cr_assert_gt(weir_metrics_text(a.node, text, (size_t)len), 0);
    line_cnt = lines(text, "weir_", NULL);
    IT_EQ(cnt, line_cnt);
    for (uint32_t i = 0; i < cnt; i++) {
        char start[300];
        snprintf(start, sizeof(start), records[i].labels[0] ? "%s{%s} " : "%s%s ", records[i].name,
                 records[i].labels);
        cr_assert_eq(lines(text, start, NULL), 1, "%s", start);
    }
    free(text);
    /* A file that was cut heals. */
    cr_assert(truncate(stats_path, 100) == 0);
    struct stat stat_after = {0};
    IT_WAIT(stat(stats_path, &stat_after) == 0 &&
            stat_after.st_size == (off_t)(sizeof(head) + cnt * sizeof(records[0])));
    cr_assert_eq(stat_after.st_mode & 0777, 0600);
    it_stop(&a);
    it_stop(&b);
    read_stats(&head, records, 1024);
    cr_assert(head.flags & WEIR_STATS_OVER);
    unlink(stats_path);
}

IT_TEST(metrics, the_file_has_its_errors)
{
    init();
    it_create(&a, NULL);
    snprintf(stats_path, sizeof(stats_path), "/tmp/weir-stats-%d", getpid());
    b.cfg.stats_path = "/nowhere/at/all";
    it_create(&b, NULL);
    IT_IS(weir_node_start(b.node), WEIR_E_ACCESS);
    it_free(&b);
    it_init(&b, "b");
    b.cfg.stats_path = "";
    IT_IS(weir_node_create(&b.node, &b.cfg), WEIR_E_CONFIG);
    b.cfg.stats_path = stats_path;
    b.cfg.stats_mode = 0666;
    IT_IS(weir_node_create(&b.node, &b.cfg), WEIR_E_CONFIG);
    b.cfg.stats_mode = 0640;
    it_start(&b, NULL);
    struct stat about;
    cr_assert(stat(stats_path, &about) == 0 && (about.st_mode & 0777) == 0640);
    it_free(&a);
    it_init(&a, "a"); /* two nodes want the same file: the second is told */
    a.cfg.stats_path = stats_path;
    it_create(&a, NULL);
    IT_IS(weir_node_start(a.node), WEIR_E_IN_USE);
    it_stop(&b);
    IT_OK(weir_node_start(a.node)); /* the first has stopped: its file is taken over */
    it_stop(&a);
    unlink(stats_path);
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
