/* tests/unit/node/node_fixture.h: nodes whose turns the test itself takes. */
#ifndef WEIR_TESTS_NODE_FIXTURE_H
#define WEIR_TESTS_NODE_FIXTURE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "weir/weir.h"

#define IS(call, want)                                                                    \
    do {                                                                                  \
        int is_code = (int)(call);                                                        \
        cr_assert(is_code == (want), "%s is %s, not %s", #call, weir_error_name(is_code), \
                  weir_error_name(want));                                                 \
    } while (0)

static inline struct weir_config turning(void)
{
    struct weir_config cfg;
    weir_config_init(&cfg);
    cfg.secure = WEIR_SECURE_PLAIN;
    cfg.flags = WEIR_CONFIG_CALLER_TURNS;
    cfg.peers_max = 8;
    cfg.dials_max = 4;
    cfg.recv_buf_cnt = 4;
    return cfg;
}

static inline struct weir_channel channel_of(uint16_t id)
{
    struct weir_channel channel;
    weir_channel_init(&channel, id);
    return channel;
}

static inline weir_node *make(const struct weir_config *cfg)
{
    weir_node *node = NULL;
    IS(weir_node_create(&node, cfg), 0);
    return node;
}

static const struct weir_reactor deaf __attribute__((unused)) = {.size = sizeof(deaf)};

static inline void expect_gone(weir_node *node, weir_peer peer)
{
    struct weir_buf *buf;
    struct weir_peer_info info = {.size = sizeof(info)};
    IS(weir_try_send(node, peer, 1, "x", 1), WEIR_E_GONE);
    IS(weir_buf_create(&buf, 1), 0);
    IS(weir_send_buf(node, peer, 1, buf), WEIR_E_GONE);
    IS(weir_disconnect(node, peer, 0), WEIR_E_GONE);
    IS(weir_peer_info(node, peer, &info), WEIR_E_GONE);
    IS(weir_channel_pause(node, peer, 1, 1), WEIR_E_GONE);
}

/* Skips the test where there is no io_uring. */
static inline void need_ring(void)
{
    struct weir_config cfg = turning();
    weir_node *node = make(&cfg);
    struct weir_channel channel = channel_of(1);
    IS(weir_node_attach(node, &deaf, &channel, 1), 0);
    int error = weir_node_start(node);
    weir_node_free(node);
    if (error == WEIR_E_NO_URING || error == WEIR_E_KERNEL)
        cr_skip_test("no io_uring here");
}

#endif
