/* Dialing: what cannot be reached is said, what is persistent comes back, what is cancelled does not. */
#include "tests/integration/raw.h"

IT_SUITE(dial);

static struct it_node a, b;

/* An address where nobody listens, before one of the test's own nodes does: of the loopback network, and this process's
 * alone, so that the system gives its port to nobody else meanwhile. */
static void free_address(char ret_address[64])
{
    uint32_t pid = (uint32_t)getpid(); /* up to 22 bits */
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(0x7F400000u | (pid & 0x3FFFFFu))};
    socklen_t len = sizeof(in);
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(sock >= 0 && bind(sock, (struct sockaddr *)&in, len) == 0);
    cr_assert(getsockname(sock, (struct sockaddr *)&in, &len) == 0);
    close(sock);
    snprintf(ret_address, 64, "127.%u.%u.%u:%u", 64 + (pid >> 16 & 0x3F), pid >> 8 & 0xFF,
             pid & 0xFF, ntohs(in.sin_port));
}

/* ---- failures ------------------------------------------------------------------------------ */

static void fail_peer(struct it_node *node, weir_peer peer, int event, int reason)
{
    (void)reason;
    if (event == WEIR_PEER_FAILED && peer.v != 0)
        it_fault(node, "a failed dial has a peer");
}

IT_TEST(dial, refused)
{
    char address[64];
    free_address(address);
    it_init(&a, "a");
    a.on_peer = fail_peer;
    it_start(&a, NULL);
    IT_OK(weir_dial(a.node, address, 0));
    IT_WAIT(a.fails == 1);
    IT_EQ(a.fail_by[WEIR_R_REFUSED], 1);
    IT_OK(weir_dial(a.node, "unix:/tmp/weir-it-no-such.sock", 0));
    IT_WAIT(a.fails == 2);
    IT_EQ(a.fail_by[WEIR_R_REFUSED], 2);
    IT_OK(weir_dial(a.node, "unix:@weir-it-no-such", 0));
    IT_WAIT(a.fails == 3);
    IT_EQ(a.fail_by[WEIR_R_REFUSED], 3);
    IT_EQ(it_closes(&a, WEIR_R_REFUSED), 3);
    IT_EQ(it_metrics(&a)->dialed, 0);
    /* Once is once: nothing is left to cancel. */
    IT_WAIT(weir_dial_cancel(a.node, address) == WEIR_E_GONE);
    it_wait_empty(&a);
    it_stop(&a);
}

IT_TEST(dial, nobody_answers)
{
    char address[64];
    int listener = raw_listen(address, 0);
    struct sockaddr_storage any;
    socklen_t len = raw_address(address, &any);
    int socks[4];
    for (int i = 0; i < 4; i++) { /* fills the backlog: further SYNs are dropped */
        socks[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(socks[i], (struct sockaddr *)&any, len);
    }
    it_init(&a, "a");
    a.cfg.dial_timeout_ns = 300 * IT_MS;
    it_start(&a, NULL);
    weir_ns begin = weir_now();
    IT_OK(weir_dial(a.node, address, 0));
    IT_WAIT(a.fails == 1);
    IT_EQ(a.fail_by[WEIR_R_DIAL_TIMEOUT], 1);
    cr_assert(weir_now() - begin >= 300 * IT_MS);
    it_wait_empty(&a);
    /* A node that stops does not wait for what it dials. */
    IT_OK(weir_dial(a.node, address, WEIR_DIAL_PERSIST));
    IT_WAIT(it_metrics(&a)->conns == 1);
    it_stop(&a);
    for (int i = 0; i < 4; i++)
        close(socks[i]);
    close(listener);
}

IT_TEST(dial, no_more_than_dials_max)
{
    char address[64];
    free_address(address);
    it_init(&a, "a");
    a.cfg.dials_max = 3;
    a.cfg.redial_min_ns = a.cfg.redial_max_ns = 3600 * WEIR_NS_PER_S;
    it_start(&a, NULL);
    for (int i = 0; i < 3; i++)
        IT_OK(weir_dial(a.node, address, WEIR_DIAL_PERSIST));
    IT_IS(weir_dial(a.node, address, WEIR_DIAL_PERSIST), WEIR_E_LIMIT);
    IT_OK(weir_dial_cancel(a.node, address));
    IT_WAIT(weir_dial(a.node, address, 0) == 0);
    IT_WAIT(a.fails == 4);
    it_stop(&a);
}

/* ---- persistence --------------------------------------------------------------------------- */

static weir_ns failed_at[64];

static void note_failure(struct it_node *node, weir_peer peer, int event, int reason)
{
    (void)peer;
    (void)reason;
    if (event == WEIR_PEER_FAILED && node->fails < 64)
        failed_at[node->fails] = weir_now();
}

IT_TEST(dial, a_listener_that_comes_later_and_comes_back)
{
    char address[64];
    free_address(address);
    it_init(&a, "a");
    a.cfg.redial_min_ns = 20 * IT_MS;
    a.cfg.redial_max_ns = 100 * IT_MS;
    a.on_peer = note_failure;
    it_start(&a, NULL);
    IT_OK(weir_dial(a.node, address, WEIR_DIAL_PERSIST));
    IT_WAIT(a.fails >= 6);
    IT_EQ(a.fail_by[WEIR_R_REFUSED], a.fails);
    /* At least half of the wait, which doubles up to its maximum. A timer never fires early. */
    static const weir_ns least[] = {10, 20, 40, 50, 50};
    for (int i = 0; i < 5; i++)
        cr_assert(failed_at[i + 1] - failed_at[i] >= least[i] * IT_MS, "wait %d: %llu ns", i,
                  (unsigned long long)(failed_at[i + 1] - failed_at[i]));
    for (uint32_t i = 1; i <= 3; i++) {
        it_init(&b, "b");
        it_start(&b, address);
        IT_WAIT(a.ups == i && b.ups == 1);
        it_stop(&b);
        IT_WAIT(a.downs == i);
        IT_EQ(a.down_by[WEIR_R_SHUTDOWN], i);
    }
    it_stop(&a);
}

IT_TEST(dial, a_peer_that_is_disconnected_is_dialed_again)
{
    it_init(&a, "a");
    it_init(&b, "b");
    a.cfg.redial_min_ns = 10 * IT_MS;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    IT_OK(weir_dial(a.node, b.address, WEIR_DIAL_PERSIST));
    for (uint32_t i = 1; i <= 5; i++) {
        IT_WAIT(a.ups == i && b.ups == i);
        IT_OK(i % 2 ? weir_disconnect(a.node, it_peer(&a, 0), 0)
                    : weir_disconnect(b.node, it_peer(&b, 0), 0));
        IT_WAIT(a.downs == i && b.downs == i);
    }
    IT_WAIT(a.ups == 6);
    it_stop(&a);
    IT_WAIT(b.downs == 6);
    it_stop(&b);
}

/* ---- cancelling ---------------------------------------------------------------------------- */

/* How many connections wait at a raw listener. */
static int pending(int listener)
{
    int cnt = 0, sock;
    while ((sock = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        close(sock);
        cnt++;
        struct pollfd fd = {.fd = listener, .events = POLLIN};
        if (poll(&fd, 1, 0) == 0)
            break;
    }
    return cnt;
}

IT_TEST(dial, a_cancelled_dial_is_over)
{
    char address[64];
    free_address(address);
    it_init(&a, "a");
    a.cfg.redial_min_ns = a.cfg.redial_max_ns = 50 * IT_MS;
    it_start(&a, NULL);
    IT_OK(weir_dial(a.node, address, WEIR_DIAL_PERSIST));
    IT_WAIT(a.fails >= 2);
    IT_OK(weir_dial_cancel(a.node, address));
    IT_WAIT(weir_dial_cancel(a.node, address) == WEIR_E_GONE);
    uint32_t fails = a.fails;
    usleep(200 * 1000); /* four times the wait */
    cr_assert(a.fails <= fails + 1, "one may have been under way, not %u", a.fails - fails);
    it_stop(&a);
}

IT_TEST(dial, cancelling_leaves_the_connection)
{
    it_init(&a, "a");
    it_init(&b, "b");
    a.cfg.redial_min_ns = a.cfg.redial_max_ns = 10 * IT_MS;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    IT_OK(weir_dial(a.node, b.address, WEIR_DIAL_PERSIST));
    IT_WAIT(a.ups == 1 && b.ups == 1);
    IT_OK(weir_dial_cancel(a.node, b.address));
    IT_WAIT(weir_dial_cancel(a.node, b.address) == WEIR_E_GONE);
    IT_OK(weir_try_send(a.node, it_peer(&a, 0), 1, "still here", 10));
    IT_WAIT(b.msgs == 1);
    IT_OK(weir_disconnect(b.node, it_peer(&b, 0), 0));
    IT_WAIT(a.downs == 1);
    usleep(100 * 1000); /* ten times the wait */
    IT_EQ(a.ups, 1);
    it_stop(&a);
    it_stop(&b);
}

/* In one and the same turn a connection ends, its dial is cancelled and another takes its place: the end
 * is the old one's, and the new one is dialed once. */
static char one[64], two[64];

static void replace_dial(struct it_node *node, const struct weir_msg *msg)
{
    if (weir_disconnect(node->node, msg->peer, 0) != 0 || weir_dial_cancel(node->node, one) != 0 ||
        weir_dial(node->node, two, WEIR_DIAL_PERSIST) != 0)
        it_fault(node, "replace");
}

IT_TEST(dial, an_end_is_not_taken_for_that_of_the_dial_that_came_after)
{
    int listeners[2] = {raw_listen(one, 8), raw_listen(two, 8)};
    struct raw raw;
    it_init(&a, "a");
    a.cfg.redial_min_ns = a.cfg.redial_max_ns = IT_MS;
    a.on_msg = replace_dial;
    it_start(&a, NULL);
    IT_OK(weir_dial(a.node, one, WEIR_DIAL_PERSIST));
    raw_init(&raw, 1, 65536);
    raw.sock = raw_accept(listeners[0]);
    cr_assert(raw_handshake(&raw, false));
    raw_message(&raw, 1, "go", 2);
    IT_EQ(raw_end(&raw), WEIR_R_APPLICATION);
    raw_close(&raw);
    IT_WAIT(a.downs == 1);
    usleep(100 * 1000); /* a hundred times the wait */
    IT_EQ(pending(listeners[1]), 1);
    IT_OK(weir_dial_cancel(a.node, two));
    it_stop(&a);
    close(listeners[0]);
    close(listeners[1]);
}

/* ---- when ---------------------------------------------------------------------------------- */

IT_TEST(dial, before_start)
{
    it_init(&a, "a");
    it_init(&b, "b");
    it_start(&b, "127.0.0.1:0");
    it_create(&a, NULL);
    IT_OK(weir_dial(a.node, b.address, 0));
    IT_OK(weir_node_start(a.node));
    IT_WAIT(a.ups == 1 && b.ups == 1);
    it_stop(&a);
    IT_WAIT(b.downs == 1);
    it_stop(&b);
}

static _Atomic int dialed_from_callback;

static void dial_again(struct it_node *node, weir_peer peer, int event, int reason)
{
    (void)peer;
    (void)reason;
    if (event == WEIR_PEER_DOWN && atomic_fetch_add(&dialed_from_callback, 1) < 3 &&
        weir_dial(node->node, node->user, 0) != 0)
        it_fault(node, "dial");
    if (event == WEIR_PEER_UP && weir_disconnect(node->node, peer, 0) != 0)
        it_fault(node, "disconnect");
}

IT_TEST(dial, from_a_callback)
{
    it_init(&a, "a");
    it_init(&b, "b");
    a.on_peer = dial_again;
    a.user = b.address;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    IT_OK(weir_dial(a.node, b.address, 0));
    IT_WAIT(a.downs == 4 && b.downs == 4);
    IT_EQ(a.down_by[WEIR_R_APPLICATION], 4);
    it_stop(&a);
    it_stop(&b);
}

static char failed_addresses[4][300];
static _Atomic uint32_t failed_cnt;

static void hear_dial(void *ctx, const char *address, int reason)
{
    uint32_t at = atomic_load(&failed_cnt);
    if (at < 4)
        snprintf(failed_addresses[at], sizeof(failed_addresses[at]), "%s %s", address,
                 weir_reason_name(reason));
    /* It follows the event that says that some dial failed. */
    if (((struct it_node *)ctx)->fails != at + 1)
        it_fault(ctx, "told before the event");
    atomic_fetch_add(&failed_cnt, 1);
}

IT_TEST(dial, who_failed_is_told_by_address)
{
    char address[64], want[300];
    free_address(address);
    it_init(&a, "a");
    it_init(&b, "b");
    it_start(&b, "127.0.0.1:0");
    it_create(&a, NULL);
    struct weir_reactor ears = {.size = sizeof(ears), .ctx = &a, .on_dial = hear_dial};
    IT_OK(weir_node_attach(a.node, &ears, NULL, 0));
    IT_OK(weir_node_start(a.node));
    IT_OK(weir_dial(a.node, address, 0));
    IT_WAIT(failed_cnt == 1);
    snprintf(want, sizeof(want), "%s refused", address);
    cr_assert_str_eq(failed_addresses[0], want);
    IT_OK(weir_dial(a.node, "no.such.invalid:7", 0)); /* ends without a connection */
    IT_WAIT(failed_cnt == 2);
    cr_assert(strncmp(failed_addresses[1], "no.such.invalid:7 name-", 23) == 0, "%s",
              failed_addresses[1]);
    IT_OK(weir_dial(a.node, b.address, 0)); /* one that came up is not told */
    IT_WAIT(a.ups == 1);
    it_stop(&a);
    it_stop(&b);
    IT_EQ(failed_cnt, 2);
}
