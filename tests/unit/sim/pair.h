/* tests/unit/sim/pair.h: two hosts of a simulated network, and a connection between them. */
#ifndef WEIR_TESTS_UNIT_SIM_PAIR_H
#define WEIR_TESTS_UNIT_SIM_PAIR_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/sim/sim_io.h"
#include "weir/base.h"

#define CHECK(cond) cr_assert(cond, "%s:%d: %s", __FILE__, __LINE__, #cond)

static const struct weir_io_config small = {
    .sq_cnt = 16, .cq_cnt = 4, .recv_buf_bytes = 4096, .recv_buf_cnt = 8};

/* Two hosts, one listening, connected. */
struct pair {
    struct weir_sim *sim;
    struct weir_io *server, *client;
    struct weir_addr addr;
    int listener, accepted, dialed;
};

static inline struct weir_addr addr_of(const char *text)
{
    struct weir_addr addr;
    cr_assert_eq(weir_addr_parse(&addr, text), 0, "%s", text);
    return addr;
}

static inline struct weir_sim *sim_make(const struct weir_sim_config *cfg)
{
    struct weir_sim *sim = NULL;
    CHECK(weir_sim_create(&sim, cfg) == 0);
    return sim;
}

static inline struct weir_io *io_make(struct weir_sim *sim, uint32_t host)
{
    struct weir_io *io = NULL;
    CHECK(weir_sim_io_create(sim, host, &small, &io) == 0);
    CHECK(io->ops->enable(io) == 0);
    return io;
}

/* Steps the world until one of the two has an event. */
static inline struct weir_io_event next_event(struct weir_sim *sim, struct weir_io *a,
                                              struct weir_io *b, struct weir_io **ret_io)
{
    struct weir_io *ios[] = {a, b};
    struct weir_io_event event = {0};
    for (int round = 0; round < 100000; round++) {
        for (int i = 0; i < 2; i++) {
            if (ios[i] && ios[i]->ops->turn(ios[i], &event, 1, WEIR_NS_FOREVER) == 1) {
                if (ret_io)
                    *ret_io = ios[i];
                return event;
            }
        }
        if (!weir_sim_step(sim))
            break;
    }
    cr_assert_fail("nothing happens any more");
    return event;
}

static inline bool is_quiet(struct weir_sim *sim, struct weir_io *io)
{
    struct weir_io_event event;
    for (int i = 0; i < 1000; i++) {
        if (io->ops->turn(io, &event, 1, WEIR_NS_FOREVER) != 0)
            return false;
        if (!weir_sim_step(sim))
            return true;
    }
    return true;
}

static inline void pair_make(struct pair *pair, const struct weir_sim_config *cfg, const char *text)
{
    *pair = (struct pair){.sim = sim_make(cfg), .accepted = -1};
    pair->server = io_make(pair->sim, 1);
    pair->client = io_make(pair->sim, 2);
    struct weir_addr addr = addr_of(text);
    pair->listener = pair->server->ops->listen(pair->server, &addr, false, &pair->addr);
    CHECK(pair->listener >= 0);
    CHECK(pair->server->ops->accept(pair->server, pair->listener, 1) == 0);
    CHECK(pair->client->ops->connect(pair->client, &pair->addr, 2, &pair->dialed) == 0);
    for (bool is_connected = false; !is_connected || pair->accepted < 0;) {
        struct weir_io_event event = next_event(pair->sim, pair->server, pair->client, NULL);
        if (event.kind == WEIR_IO_CONNECT) {
            CHECK(event.token == 2 && event.res == 0);
            is_connected = true;
        } else if (event.res == -EMFILE) {
            CHECK(event.kind == WEIR_IO_ACCEPT && !(event.flags & WEIR_IO_MORE));
            CHECK(pair->server->ops->accept(pair->server, pair->listener, 1) == 0);
        } else {
            CHECK(event.kind == WEIR_IO_ACCEPT && event.token == 1);
            pair->accepted = event.res;
        }
    }
}

static inline void pair_free(struct pair *pair)
{
    pair->server->ops->free(pair->server);
    pair->client->ops->free(pair->client);
    CHECK(weir_sim_sock_cnt(pair->sim) == 0);
    weir_sim_free(pair->sim);
}

#endif
