/* A node's bans under ThreadSanitizer: threads ban, pardon, list and ask as another program does, strangers are banned for what they say, the
 * saver writes each change down, the exporter and the stats file read along, and the node stops in the middle.
 * Afterwards another node reads the file, and must know what the first one knew. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "weir/weir.h"

#define BANNERS 2u
#define ROUNDS 300u
#define PREFIXES 64u     /* of each */
#define STRANGERS 24u    /* 127.0.0.2 and on */
#define BEFORE_STOP 100u /* rounds of each before the node is stopped */
#define ASKED 60u        /* bans that are asked for; of them each third is asked to end */
#define BANS_MAX 1024u

static weir_node *node;
static char folder[] = "/tmp/weir-race-XXXXXX";
static char ban_path[64], stats_path[64], address[128], http_address[128];
static _Atomic uint32_t round_cnt;
static _Atomic int is_stopping, is_over;
static _Atomic uint32_t page_cnt, stats_cnt;

static void fail(const char *what)
{
    fprintf(stderr, "race_guard: %s\n", what);
    exit(1);
}

static weir_node *make(void)
{
    struct weir_config cfg;
    struct weir_reactor reactor = {.size = sizeof(reactor)};
    struct weir_channel channel;
    weir_node *made;
    weir_config_init(&cfg);
    weir_channel_init(&channel, 1);
    cfg.shard_cnt = 2;
    cfg.flags = WEIR_CONFIG_LIMIT_LOOPBACK;
    cfg.address_burst = cfg.subnet_burst = UINT32_MAX;
    cfg.bans_max = BANS_MAX;
    cfg.score_ban = 1; /* one wrong byte */
    cfg.ban_path = ban_path;
    cfg.stats_path = stats_path;
    cfg.stats_interval_ns = 10 * WEIR_NS_PER_MS;
    if (weir_node_create(&made, &cfg) || weir_node_attach(made, &reactor, &channel, 1))
        fail("a node could not be made");
    return made;
}

/* ---- threads ------------------------------------------------------------------------------- */

/* Bans and pardons networks of its own; the odd ones are banned at the end. */
static void *ban_main(void *arg)
{
    uint32_t own = (uint32_t)(uintptr_t)arg;
    unsigned seed = own + 1;
    char prefix[64];
    for (uint32_t i = 0; i < ROUNDS + PREFIXES; i++) {
        bool is_last = i >= ROUNDS;
        while (i == ROUNDS / 2 && !atomic_load(&is_stopping)) /* half is for the stop */
            usleep(100);
        uint32_t idx = is_last ? i - ROUNDS : (uint32_t)rand_r(&seed) % PREFIXES;
        snprintf(prefix, sizeof(prefix), "10.%u.%u.0/24", own, idx);
        bool is_ban = (is_last ? idx : (uint32_t)rand_r(&seed)) % 2 != 0;
        int error = is_ban ? weir_ban(node, prefix, 0, 0) : weir_unban(node, prefix);
        if (error && !(error == WEIR_E_GONE && !is_ban))
            fail(weir_error_name(error));
        atomic_fetch_add(&round_cnt, 1);
    }
    return NULL;
}

static void *ask_main(void *arg)
{
    char prefix[64];
    (void)arg;
    for (uint32_t i = 0; i < ASKED; i++) {
        while (i == ASKED / 2 && !atomic_load(&is_stopping))
            usleep(100);
        snprintf(prefix, sizeof(prefix), "10.200.%u.0/24", i);
        int error = weir_ban_ask(ban_path, prefix, WEIR_NS_FOREVER, 0);
        if (!error && i % 3 == 0)
            error = weir_unban_ask(ban_path, prefix);
        int64_t done = error ? error : weir_ban_take(node);
        if (done < 0)
            fail(weir_error_name((int)done));
    }
    return NULL;
}

static int socket_to(const char *text, uint32_t from)
{
    unsigned port = 0;
    if (sscanf(text, "127.0.0.1:%u", &port) != 1)
        fail("an address");
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7F000000u + from)};
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval patience = {.tv_sec = 30};
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (sock < 0 || bind(sock, (struct sockaddr *)&in, sizeof(in)) != 0)
        fail("a socket");
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in.sin_port = htons((uint16_t)port);
    if (connect(sock, (struct sockaddr *)&in, sizeof(in)) == 0)
        return sock;
    close(sock); /* the node has stopped */
    return -1;
}

/* Comes from one address after the other and says what no peer says. */
static void *stranger_main(void *arg)
{
    static const char rubbish[64] = "WEIR, or so it seems at first";
    char bytes[64];
    (void)arg;
    for (uint32_t i = 0; i < STRANGERS && !atomic_load(&is_over); i++) {
        int sock = socket_to(address, 2 + i);
        if (sock < 0)
            continue;
        (void)!send(sock, rubbish, sizeof(rubbish), MSG_NOSIGNAL);
        while (recv(sock, bytes, sizeof(bytes), 0) > 0)
            ;
        close(sock);
    }
    return NULL;
}

static void *list_main(void *arg)
{
    static struct weir_ban_info bans[BANS_MAX];
    static char text[1 << 18];
    (void)arg;
    while (!atomic_load(&is_over)) {
        int64_t cnt = weir_ban_list(node, bans, BANS_MAX);
        if (cnt < 0 || cnt > (int64_t)(BANNERS * PREFIXES + STRANGERS + ASKED))
            fail("more bans than there can be");
        if (weir_metrics_text(node, text, sizeof(text)) < 0)
            fail("no metrics");
    }
    return NULL;
}

static void *scrape_main(void *arg)
{
    static const char question[] =
        "GET /metrics HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n";
    static char page[1 << 16];
    (void)arg;
    while (!atomic_load(&is_over)) {
        int sock = socket_to(http_address, 1);
        if (sock < 0)
            return NULL;
        (void)!send(sock, question, sizeof(question) - 1, MSG_NOSIGNAL);
        ssize_t got = recv(sock, page, sizeof(page), MSG_WAITALL);
        if (got > 15 && memcmp(page, "HTTP/1.1 200 OK", 15) == 0)
            atomic_fetch_add(&page_cnt, 1);
        close(sock);
        struct weir_stats_head head;
        FILE *file = fopen(stats_path, "rb");
        if (file && fread(&head, sizeof(head), 1, file) == 1 &&
            memcmp(head.magic, WEIR_STATS_MAGIC, sizeof(head.magic)) == 0)
            atomic_fetch_add(&stats_cnt, 1);
        if (file)
            fclose(file);
    }
    return NULL;
}

/* ---- the end ------------------------------------------------------------------------------- */

static bool has(const struct weir_ban_info *bans, int64_t cnt, const char *prefix)
{
    for (int64_t i = 0; i < cnt; i++) {
        if (strcmp(bans[i].prefix, prefix) == 0)
            return true;
    }
    return false;
}

/* What the node knows, and what another reads from its file. */
static void compare(void)
{
    static struct weir_ban_info known[BANS_MAX], read[BANS_MAX];
    char prefix[64];
    int64_t cnt = weir_ban_list(node, known, BANS_MAX);
    for (uint32_t i = 0; i < BANNERS * PREFIXES; i++) {
        snprintf(prefix, sizeof(prefix), "10.%u.%u.0/24", i / PREFIXES, i % PREFIXES);
        if (has(known, cnt, prefix) != (i % 2 != 0))
            fail("a ban is not there, or one that was ended is");
    }
    for (uint32_t i = 0; i < ASKED; i++) {
        snprintf(prefix, sizeof(prefix), "10.200.%u.0/24", i);
        if (has(known, cnt, prefix) != (i % 3 != 0))
            fail("what was asked for is not as it was asked for");
    }
    weir_node_free(node);
    node = make();
    if (weir_ban_list(node, read, BANS_MAX) != cnt)
        fail("the file has another number of bans");
    for (int64_t i = 0; i < cnt; i++) {
        if (!has(read, cnt, known[i].prefix))
            fail("the file has another ban");
    }
    weir_node_free(node);
    printf("race_guard: %lld bans, %u pages, %u looks at the stats file\n", (long long)cnt,
           atomic_load(&page_cnt), atomic_load(&stats_cnt));
}

int main(void)
{
    if (!mkdtemp(folder))
        fail("a folder");
    snprintf(ban_path, sizeof(ban_path), "%s/bans", folder);
    snprintf(stats_path, sizeof(stats_path), "%s/stats", folder);
    node = make();
    int error = weir_node_listen(node, "127.0.0.1:0");
    if (!error)
        error = weir_metrics_listen(node, "127.0.0.1:0");
    if (error || weir_node_address(node, 0, address, sizeof(address)) ||
        weir_metrics_address(node, http_address, sizeof(http_address)) || weir_node_start(node))
        fail(weir_error_name(error));
    pthread_t banners[BANNERS], asker, stranger, lister, scraper;
    pthread_create(&asker, NULL, ask_main, NULL);
    pthread_create(&stranger, NULL, stranger_main, NULL);
    pthread_create(&lister, NULL, list_main, NULL);
    pthread_create(&scraper, NULL, scrape_main, NULL);
    for (uintptr_t i = 0; i < BANNERS; i++)
        pthread_create(&banners[i], NULL, ban_main, (void *)i);
    while (atomic_load(&round_cnt) < BEFORE_STOP || !atomic_load(&page_cnt) ||
           !atomic_load(&stats_cnt))
        usleep(1000);
    atomic_store(&is_stopping, 1);
    (void)weir_node_stop(node, 0); /* while the others go on */
    for (uint32_t i = 0; i < BANNERS; i++)
        pthread_join(banners[i], NULL);
    pthread_join(asker, NULL);
    atomic_store(&is_over, 1);
    pthread_join(stranger, NULL);
    pthread_join(lister, NULL);
    pthread_join(scraper, NULL);
    compare();
    unlink(ban_path);
    unlink(stats_path);
    rmdir(folder);
    return 0;
}
