/* A receive buffer that narrows when a second channel is heard of drops nothing: the kernel's count of segments that it
 * could not keep (TcpExtTCPRcvQDrop) stands still. In a network namespace of its own, so that no other test counts there.
 * A round in which the machine is too busy for the peer to be near narrows nothing, so it looks at nothing. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "tests/integration/harness.h"

IT_SUITE(narrowing);

#define MSG_BYTES (16u * 1024u)
#define ROUNDS 100

static struct it_node a, b;

/* False where the machine grants nobody a namespace. */
static bool enter_own_network(void)
{
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return false;
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int sock = socket(AF_INET, SOCK_DGRAM, 0);
    bool is_up = ioctl(sock, SIOCSIFFLAGS, &request) == 0;
    close(sock);
    return is_up;
}

/* A figure of the second of two lines "TcpExt: ...", under the name that the first has in its place. */
static long long kernel_count(const char *name)
{
    char *names = NULL, *figures = NULL, *rest[2], *line = NULL;
    size_t room = 0;
    long long found = -1;
    FILE *file = fopen("/proc/thread-self/net/netstat", "r");
    cr_assert(file != NULL);
    while (getline(&line, &room, file) > 0) {
        if (strncmp(line, "TcpExt:", 7) != 0)
            continue;
        char **place = names ? &figures : &names;
        *place = strdup(line);
    }
    fclose(file);
    free(line);
    cr_assert(names && figures);
    char *at = strtok_r(names, " \n", &rest[0]), *figure = strtok_r(figures, " \n", &rest[1]);
    for (; at && figure && found < 0;
         at = strtok_r(NULL, " \n", &rest[0]), figure = strtok_r(NULL, " \n", &rest[1])) {
        if (strcmp(at, name) == 0)
            found = atoll(figure);
    }
    free(names);
    free(figures);
    return found;
}

/* ---- two channels of one sender, the second from some moment on --------------------------------- */

static void send_what_fits(struct it_node *node, weir_peer peer, uint16_t channel)
{
    static const uint8_t bytes[MSG_BYTES];
    int error;
    while ((error = weir_try_send(node->node, peer, channel, bytes, sizeof(bytes))) == WEIR_OK)
        ;
    if (error != WEIR_E_FULL && error != WEIR_E_GONE)
        it_fault(node, "try_send: %s", weir_error_name(error));
}

static void begin(struct it_node *node, weir_peer peer, int event, int reason)
{
    (void)reason;
    if (event == WEIR_PEER_UP)
        send_what_fits(node, peer, 1);
}

static void go_on(struct it_node *node, weir_peer peer, uint16_t channel)
{
    send_what_fits(node, peer, channel);
}

static uint64_t received(int idx)
{
    return atomic_load(&b.msgs_of[idx]) * MSG_BYTES;
}

IT_TEST(narrowing, nothing_is_dropped)
{
    if (!enter_own_network())
        cr_skip_test("no network namespace may be made here");
    it_init(&a, "a");
    it_init(&b, "b");
    for (uint16_t id = 1; id <= 2; id++) {
        it_channel(&a, id);
        it_channel(&b, id);
    }
    a.on_peer = begin;
    a.on_writable = go_on;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    long long before = kernel_count("TCPRcvQDrop");
    cr_assert(before >= 0, "this kernel does not count what it drops");
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t first = received(0), second = received(1);
        weir_peer peer = it_link(&a, &b);
        IT_WAIT(received(0) - first > 4u << 20 || a.faults || b.faults);
        send_what_fits(&a, peer, 2);
        IT_WAIT(received(1) - second > 4u << 20 || a.faults || b.faults);
        IT_OK(weir_disconnect(a.node, peer, 0));
        IT_WAIT(a.downs == a.ups && b.downs == b.ups);
        it_wait_empty(&b);
    }
    IT_EQ(kernel_count("TCPRcvQDrop"), before);
    it_stop(&a);
    it_stop(&b);
}
