/* A listener whose places for handshakes are all taken by strangers who say nothing: who encrypts gets in all the same. */
#include "tests/integration/raw.h"

IT_SUITE(siege);

#define PLACES 8

static struct it_node a, b;
static int socks[PLACES];

static void start(void)
{
    it_init(&a, "a");
    it_init(&b, "b");
    a.cfg.secure = b.cfg.secure = WEIR_SECURE_REQUIRE;
    b.cfg.flags |= WEIR_CONFIG_LIMIT_LOOPBACK;
    b.cfg.address_max = b.cfg.subnet_max = UINT32_MAX;
    b.cfg.address_burst = b.cfg.subnet_burst = UINT32_MAX;
    b.cfg.handshakes_max = PLACES;
    b.cfg.handshake_timeout_ns = 600 * WEIR_NS_PER_S;
    b.cfg.cookie_pending = 1;
}

/* The strangers come, and then `a`. */
static void besiege_and_link(void)
{
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    for (int i = 0; i < PLACES; i++)
        socks[i] = raw_socket_to(b.address);
    IT_WAIT(it_metrics(&b)->handshakes == PLACES);
    it_link(&a, &b);
}

static void run(void)
{
    besiege_and_link();
    const struct weir_metrics *metrics = it_metrics(&b);
    IT_EQ(metrics->handshakes_evicted, 1);
    IT_EQ(metrics->closes[WEIR_R_LIMIT_HANDSHAKES], 1);
    IT_EQ(metrics->cookies_sent, 1);
    IT_EQ(metrics->cookies_returned, 1);
    IT_EQ(metrics->handshakes_served, 1);
    for (int i = 0; i < PLACES; i++)
        close(socks[i]);
    IT_WAIT(it_metrics(&b)->handshakes == 0);
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(siege, a_newcomer_gets_in_by_a_cookie_with_either_cipher)
{
    for (uint32_t cipher = WEIR_CIPHER_CHACHA20_POLY1305; cipher <= WEIR_CIPHER_AES_256_GCM;
         cipher++) {
        start();
        a.cfg.cipher = cipher;
        run();
    }
}

IT_TEST(siege, so_does_one_of_a_closed_network)
{
    struct weir_key key = {.kind = WEIR_KEY_NETWORK, .secret = {1, 2, 3}};
    start();
    a.cfg.network_key = b.cfg.network_key = &key;
    run();
}

/* Those of this machine are no strangers: nobody makes room for them, and nobody is asked. */
IT_TEST(siege, a_machine_is_not_besieged_by_itself)
{
    start();
    b.cfg.flags &= ~(uint32_t)WEIR_CONFIG_LIMIT_LOOPBACK;
    b.cfg.handshakes_max = PLACES + 1;
    besiege_and_link();
    const struct weir_metrics *metrics = it_metrics(&b);
    IT_EQ(metrics->handshakes_evicted, 0);
    IT_EQ(metrics->cookies_sent, 0);
    for (int i = 0; i < PLACES; i++)
        close(socks[i]);
    it_stop(&a);
    it_stop(&b);
}
