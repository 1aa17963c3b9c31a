/* Clients of the metrics that are slow, wrong or many. */
#include "engine/mem/heap.h"
#include "tests/integration/scrape.h"

IT_SUITE(exporter);

static void expect_status(const char *request, const char *status)
{
    char *text = ask(request);
    cr_assert(strncmp(text, status, strlen(status)) == 0, "%.60s :: %.60s", request, text);
    free(text);
}

IT_TEST(exporter, other_requests_are_refused)
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

IT_TEST(exporter, silent_clients_are_bounded_and_have_a_deadline)
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

IT_TEST(exporter, a_node_stops_whatever_its_clients_do)
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
IT_TEST(exporter, a_scrape_without_memory_is_refused_or_smaller)
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

IT_TEST(exporter, listening_has_its_errors)
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
