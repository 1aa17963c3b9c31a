#include "bench/weir_watch.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_NS WEIR_NS_PER_S
#define NAP_NS (10 * WEIR_NS_PER_MS) /* how soon an end is noticed */
#define PATIENCE_US 200000           /* in one call; a bench side that has ended serves nobody */

struct weir_watch {
    char path[64], address[128];
    pthread_t thread;
    bool has_thread;
    _Atomic bool is_over;
    _Atomic uint32_t answer_cnt;
};

struct weir_watch *weir_watch_create(struct weir_config *cfg)
{
    struct weir_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return NULL;
    snprintf(watch->path, sizeof(watch->path), "/dev/shm/weir-bench-%d", (int)getpid());
    cfg->stats_path = watch->path;
    return watch;
}

int weir_watch_listen(struct weir_watch *watch, weir_node *node)
{
    int error = weir_metrics_listen(node, "127.0.0.1:0");
    return error != 0 ? error : weir_metrics_address(node, watch->address, sizeof(watch->address));
}

/* Whether all of the answer came. */
static bool ask(const struct weir_watch *watch)
{
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: weir\r\n\r\n";
    struct timeval patience = {.tv_usec = PATIENCE_US};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char bytes[16384];
    const char *colon = strrchr(watch->address, ':');
    ssize_t got = -1;
    size_t len = 0;

    to.sin_port = htons(colon == NULL ? 0 : (uint16_t)strtoul(colon + 1, NULL, 10));
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return false;
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(sock, (struct sockaddr *)&to, sizeof(to)) == 0 &&
        send(sock, request, sizeof(request) - 1, MSG_NOSIGNAL) == (ssize_t)sizeof(request) - 1) {
        while ((got = recv(sock, bytes, sizeof(bytes), 0)) > 0)
            len += (size_t)got;
    }
    close(sock);
    return got == 0 && len > 4096; /* it ends the stream behind the text */
}

static void *run(void *arg)
{
    struct weir_watch *watch = arg;
    weir_ns due = weir_now();

    while (!atomic_load(&watch->is_over)) {
        if (weir_now() < due) {
            nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
            continue;
        }
        due += INTERVAL_NS;
        if (ask(watch))
            atomic_fetch_add(&watch->answer_cnt, 1);
    }
    return NULL;
}

int weir_watch_begin(struct weir_watch *watch)
{
    watch->has_thread = pthread_create(&watch->thread, NULL, run, watch) == 0;
    return watch->has_thread ? 0 : WEIR_E_SYSTEM;
}

uint32_t weir_watch_end(struct weir_watch *watch)
{
    atomic_store(&watch->is_over, true);
    if (watch->has_thread)
        pthread_join(watch->thread, NULL);
    watch->has_thread = false;
    return atomic_load(&watch->answer_cnt);
}

void weir_watch_free(struct weir_watch *watch)
{
    if (watch == NULL)
        return;
    (void)weir_watch_end(watch);
    unlink(watch->path);
    free(watch);
}
