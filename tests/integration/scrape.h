/* tests/integration/scrape.h: two nodes, `a` and `b`; the metrics of `b` are served at `metrics_at`, and read here as a
 * client would. */
#ifndef WEIR_TESTS_INTEGRATION_SCRAPE_H
#define WEIR_TESTS_INTEGRATION_SCRAPE_H

#include "tests/integration/raw.h"

static struct it_node a, b;
static char metrics_at[128];

static inline void say(int sock, const char *text)
{
    size_t len = strlen(text);
    cr_assert(send(sock, text, len, MSG_NOSIGNAL) == (ssize_t)len, "%s", strerror(errno));
}

/* Reads to the end of the stream; the caller frees it. */
static inline char *hear(int sock)
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

static inline char *ask(const char *request)
{
    int sock = raw_socket_to(metrics_at);
    say(sock, request);
    char *text = hear(sock);
    close(sock);
    return text;
}

static inline char *scrape(void)
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
static inline uint32_t lines(const char *text, const char *start, double *ret_value)
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

static inline void expect(const char *text, const char *series, double want)
{
    double value = -1;
    cr_assert_eq(lines(text, series, &value), 1, "not one line %s", series);
    cr_assert(value >= want && value <= want, "%s is %g, not %g", series, value, want);
}

/* Starts `b` with metrics and `a` beside it. */
static inline void start(const char *where)
{
    it_create(&b, "127.0.0.1:0");
    IT_OK(weir_metrics_listen(b.node, where));
    IT_OK(weir_metrics_address(b.node, metrics_at, sizeof(metrics_at)));
    IT_OK(weir_node_start(b.node));
    it_start(&a, NULL);
}

static inline void init(void)
{
    it_init(&a, "a");
    it_init(&b, "b");
}

#endif
