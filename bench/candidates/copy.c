/* bench/candidates/copy.c: whether a long copy is slow where its destination is a little beyond its source, counted within a
 * page: of the C library, of weir, and of the kernel as it sends and receives (engine/base/copy.h).
 */
#include "bench/candidates/json_out.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/copy.h"

/* What the kernel takes memory in, so that a send begins where the last one did. */
#define LEN (32u * (uint32_t)KIB)
/* No relation of 31 in a row is missed. */
#define STEP 16u
#define PLACES (WEIR_COPY_PAGE / STEP)

struct areas {
    uint8_t *from, *to;
};

static double copy_ns(const struct areas *areas, size_t beyond, bool is_weirs)
{
    const int cnt = 64;
    uint8_t *to = areas->to + beyond;
    double begin = now_s();

    for (int i = 0; i < cnt; i++) {
        if (is_weirs)
            weir_copy(to, areas->from, LEN);
        else
            memcpy(to, areas->from, LEN);
        __asm__ volatile("" : : "r"(to) : "memory");
    }
    return (now_s() - begin) * 1e9 / cnt;
}

/* Medians of `cnt` figures for each of PLACES, and of these the median and the greatest. */
static void show_kernel(const char *name, double *figures, int cnt, json_t *results)
{
    double medians[PLACES];

    for (uint32_t i = 0; i < PLACES; i++)
        medians[i] = median(figures + i * (uint32_t)cnt, cnt);
    double typical = median(medians, PLACES), slowest = 0;
    for (uint32_t i = 0; i < PLACES; i++)
        slowest = medians[i] > slowest ? medians[i] : slowest;
    printf("  %-8s %12.0f %12.0f %8.2f\n", name, typical, slowest, slowest / typical);
    json_array_append_new(results, json_pack("{s:s, s:f, s:f}", "kernel_copy", name, "median_ns",
                                             typical, "slowest_ns", slowest));
}

/* A connection over loopback with room for what is sent before it is received. */
static bool open_pair(int ret_socks[2])
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    const int room = (int)(32 * LEN);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ret_socks[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    setsockopt(ret_socks[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    if (bind(listener, (struct sockaddr *)&addr, len) == 0 && listen(listener, 1) == 0 &&
        getsockname(listener, (struct sockaddr *)&addr, &len) == 0 &&
        connect(ret_socks[0], (struct sockaddr *)&addr, len) == 0)
        ret_socks[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (ret_socks[1] < 0)
        perror("weir-candidates: a connection over loopback");
    close(listener);
    return ret_socks[1] >= 0;
}

static bool move(int sock, uint8_t *at, bool is_send)
{
    for (size_t left = LEN; left > 0;) {
        ssize_t moved = is_send ? send(sock, at, left, 0) : recv(sock, at, left, 0);
        if (moved <= 0)
            return false;
        at += moved;
        left -= (size_t)moved;
    }
    return true;
}

/* One send and one receive of 32 KiB for each place within a page, `repeat` times. */
static bool time_kernel(const struct areas *areas, const int socks[2], int repeat, double *send_ns,
                        double *recv_ns)
{
    for (int round = 0; round < repeat; round++)
        for (uint32_t i = 0; i < PLACES; i++) {
            double begin = now_s();
            if (!move(socks[0], areas->from + i * STEP, true))
                return false;
            double sent = now_s();
            if (!move(socks[1], areas->to + i * STEP, false))
                return false;
            send_ns[i * (uint32_t)repeat + (uint32_t)round] = (sent - begin) * 1e9;
            recv_ns[i * (uint32_t)repeat + (uint32_t)round] = (now_s() - sent) * 1e9;
        }
    return true;
}

static int compare_kernel(const struct areas *areas, int repeat, json_t *results)
{
    double *figures = calloc((size_t)repeat * PLACES * 2, sizeof(*figures));
    double *received = figures + (size_t)repeat * PLACES;
    int socks[2] = {-1, -1}, code = 1;

    if (figures != NULL && open_pair(socks) &&
        time_kernel(areas, socks, repeat, figures, received)) {
        printf("the kernel, 32 KiB through loopback, ns; each of %u places within a page\n",
               PLACES);
        printf("  %-8s %12s %12s %8s\n", "", "median", "slowest", "ratio");
        show_kernel("send", figures, repeat, results);
        show_kernel("receive", received, repeat, results);
        code = 0;
    }
    for (int i = 0; i < 2; i++)
        if (socks[i] >= 0)
            close(socks[i]);
    free(figures);
    return code;
}

int copy_compare(int repeat, json_t *results)
{
    static const size_t beyond[] = {0, 1, 16, 31, 32, 48, 64, 2048, WEIR_COPY_PAGE - 16};
    struct areas areas = {aligned_alloc(WEIR_COPY_PAGE, LEN + WEIR_COPY_PAGE),
                          aligned_alloc(WEIR_COPY_PAGE, LEN + WEIR_COPY_PAGE)};
    double *values = calloc((size_t)repeat * 2, sizeof(*values));
    int code = 1;

    if (areas.from == NULL || areas.to == NULL || values == NULL)
        goto out;
    memset(areas.from, 0x5a, LEN + WEIR_COPY_PAGE);
    memset(areas.to, 0x5a, LEN + WEIR_COPY_PAGE);
    printf("a copy of 32 KiB in the cache, ns, medians of %d\n", repeat);
    printf("%10s %12s %12s %8s\n", "beyond", "memcpy", "weir_copy", "ratio");
    for (size_t i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
        for (int j = 0; j < repeat; j++) {
            values[j] = copy_ns(&areas, beyond[i], false);
            values[repeat + j] = copy_ns(&areas, beyond[i], true);
        }
        printf("%10zu %12.0f %12.0f %8.2f\n", beyond[i], median(values, repeat),
               median(values + repeat, repeat),
               median(values, repeat) / median(values + repeat, repeat));
        json_t *result = json_pack("{s:I}", "beyond_bytes", (json_int_t)beyond[i]);
        json_add(result, "memcpy_ns", values, repeat, 1);
        json_add(result, "weir_copy_ns", values + repeat, repeat, 1);
        json_array_append_new(results, result);
    }
    code = compare_kernel(&areas, repeat, results);
out:
    free(values);
    free(areas.from);
    free(areas.to);
    return code;
}
