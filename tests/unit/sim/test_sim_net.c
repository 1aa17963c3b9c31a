/* What is between hosts: cuts, losses, resets that are lost, hosts that die, time that bytes take. */
#include "tests/unit/sim/pair.h"

#define MS WEIR_NS_PER_MS
#define S WEIR_NS_PER_S
#define SERVER 1u
#define CLIENT 2u
#define RECV 12u
#define SEND 10u

static const struct weir_sim_route down = {.is_down = true};

static void cut(struct weir_sim *sim, bool to_server, bool to_client)
{
    weir_sim_set_route(sim, CLIENT, SERVER, to_server ? &down : NULL);
    weir_sim_set_route(sim, SERVER, CLIENT, to_client ? &down : NULL);
}

/* The next event of `io`. The other end has its turns too, and what happens there is of no interest. */
static struct weir_io_event await(struct weir_sim *sim, struct weir_io *io, struct weir_io *other)
{
    struct weir_io_event event;
    struct weir_io *which = NULL;
    while (which != io)
        event = next_event(sim, io, other, &which);
    return event;
}

/* Lets time pass in which nothing happens on an io. */
static void quiet_for(struct weir_sim *sim, struct weir_io *io, struct weir_io *other, uint64_t ns)
{
    struct weir_io_event event;
    for (uint64_t end_ns = weir_sim_now(sim) + ns; weir_sim_now(sim) < end_ns;) {
        weir_sim_advance(sim, 5 * MS);
        CHECK(io->ops->turn(io, &event, 1, 0) == 0);
        (void)other->ops->turn(other, &event, 1, 0);
    }
}

static void send_all(struct pair *pair, uint8_t *bytes, size_t len)
{
    struct iovec iov = {bytes, len};
    CHECK(pair->client->ops->send(pair->client, pair->dialed, &iov, 1, SEND) == 0);
    struct weir_io_event event = await(pair->sim, pair->client, pair->server);
    CHECK(event.kind == WEIR_IO_SEND && event.res == (int32_t)len);
}

/* Receives `len` bytes that count up. */
static void expect_bytes(struct pair *pair, size_t len)
{
    uint8_t next = 0;
    while (len > 0) {
        struct weir_io_event event = await(pair->sim, pair->server, pair->client);
        CHECK(event.kind == WEIR_IO_RECV && event.res > 0 && (size_t)event.res <= len);
        for (int32_t i = 0; i < event.res; i++)
            CHECK(event.data[i] == next++);
        len -= (size_t)event.res;
        pair->server->ops->recv_done(pair->server, event.buf_idx);
    }
}

static void count_up(uint8_t *ret_bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ret_bytes[i] = (uint8_t)i;
}

static void make(struct pair *pair)
{
    static const struct weir_sim_config cfg = {.seed = 3, .latency_ns = 1000000};
    pair_make(pair, &cfg, "10.0.0.1:700");
}

Test(sim_net, a_dial_into_a_cut_is_made_when_the_way_is_back)
{
    for (int way = 0; way < 2; way++) { /* the SYN is lost, or its answer */
        const struct weir_sim_config cfg = {.seed = 1, .latency_ns = MS};
        struct weir_sim *sim = sim_make(&cfg);
        struct weir_io *server = io_make(sim, SERVER), *client = io_make(sim, CLIENT);
        struct weir_addr any = addr_of("10.0.0.1:700"), addr;
        CHECK(server->ops->listen(server, &any, false, &addr) >= 0);
        cut(sim, way == 0, way == 1);
        int sock;
        uint64_t from_ns = weir_sim_now(sim);
        CHECK(client->ops->connect(client, &addr, 2, &sock) == 0);
        quiet_for(sim, client, server, 4 * S);
        cut(sim, false, false);
        struct weir_io_event event = await(sim, client, server);
        CHECK(event.kind == WEIR_IO_CONNECT && event.res == 0);
        /* A SYN goes at once, and 1, 3, 7 s later. */
        CHECK(weir_sim_now(sim) >= from_ns + 7 * S && weir_sim_now(sim) < from_ns + 7 * S + S / 2);
        server->ops->free(server);
        client->ops->free(client);
        weir_sim_free(sim);
    }
}

Test(sim_net, bytes_that_a_cut_took_come_again_in_their_order)
{
    struct pair pair;
    make(&pair);
    uint8_t bytes[200];
    count_up(bytes, sizeof(bytes));
    CHECK(pair.server->ops->recv(pair.server, pair.accepted, RECV) == 0);
    cut(pair.sim, true, false);
    send_all(&pair, bytes, 100);
    quiet_for(pair.sim, pair.server, pair.client, S);
    send_all(&pair, bytes + 100, 100); /* the window has room, so they are taken */
    quiet_for(pair.sim, pair.server, pair.client, S);
    uint64_t back_ns = weir_sim_now(pair.sim);
    cut(pair.sim, false, false);
    expect_bytes(&pair, 200);
    /* The wait doubles from 200 ms: it is 1.6 s by now. */
    CHECK(weir_sim_now(pair.sim) > back_ns && weir_sim_now(pair.sim) < back_ns + 2 * S);
    pair_free(&pair);
}

Test(sim_net, who_sends_into_a_cut_is_told_in_the_end)
{
    struct pair pair;
    make(&pair);
    uint8_t bytes[100] = {0};
    uint64_t from_ns = weir_sim_now(pair.sim);
    cut(pair.sim, true, false);
    send_all(&pair, bytes, sizeof(bytes));
    CHECK(pair.client->ops->recv(pair.client, pair.dialed, RECV) == 0);
    struct weir_io_event event = await(pair.sim, pair.client, pair.server);
    CHECK(event.kind == WEIR_IO_RECV && event.res == -ETIMEDOUT);
    /* 15 waits, doubling from 0.2 s to 60 s at most. */
    uint64_t took_ns = weir_sim_now(pair.sim) - from_ns;
    CHECK(took_ns > 400 * S && took_ns < 1000 * S);
    pair_free(&pair);
}

Test(sim_net, a_reset_that_is_lost_is_found_by_the_next_bytes)
{
    struct pair pair;
    make(&pair);
    uint8_t bytes[10] = {0};
    send_all(&pair, bytes, sizeof(bytes));
    weir_sim_advance(pair.sim, 10 * MS);
    CHECK(pair.client->ops->recv(pair.client, pair.dialed, RECV) == 0);
    cut(pair.sim, false, true);
    pair.server->ops->close(pair.server, pair.accepted); /* bytes were not read: a reset */
    quiet_for(pair.sim, pair.client, pair.server, 5 * S);
    cut(pair.sim, false, false);
    quiet_for(pair.sim, pair.client, pair.server, 5 * S); /* nobody sends a reset again */
    send_all(&pair, bytes, sizeof(bytes));
    struct weir_io_event event = await(pair.sim, pair.client, pair.server);
    CHECK(event.kind == WEIR_IO_RECV && event.res == -ECONNRESET);
    pair_free(&pair);
}

Test(sim_net, a_program_that_dies_is_heard_of_and_a_host_without_power_is_not)
{
    for (int is_silent = 0; is_silent < 2; is_silent++) {
        struct pair pair;
        make(&pair);
        uint8_t bytes[10] = {0};
        CHECK(pair.client->ops->recv(pair.client, pair.dialed, RECV) == 0);
        weir_sim_io_kill(pair.server, is_silent);
        struct weir_io_event event;
        if (is_silent) {
            quiet_for(pair.sim, pair.client, pair.server, 100 * S);
            pair.server->ops->free(pair.server);
            pair.server = io_make(pair.sim, SERVER); /* it is up again, and knows of nothing */
            quiet_for(pair.sim, pair.client, pair.server, 100 * S);
            send_all(&pair, bytes, sizeof(bytes));
            event = await(pair.sim, pair.client, pair.server);
            CHECK(event.kind == WEIR_IO_RECV && event.res == -ECONNRESET);
        } else {
            uint64_t from_ns = weir_sim_now(pair.sim);
            event = await(pair.sim, pair.client, pair.server);
            CHECK(event.kind == WEIR_IO_RECV && (event.res == 0 || event.res == -ECONNRESET));
            CHECK(weir_sim_now(pair.sim) < from_ns + 10 * MS);
        }
        pair_free(&pair);
    }
}

Test(sim_net, bytes_take_the_time_that_their_way_takes)
{
    struct pair pair;
    make(&pair);
    static uint8_t bytes[50000];
    count_up(bytes, sizeof(bytes));
    const struct weir_sim_route slow = {.latency_ns = 30 * MS, .bytes_per_s = 1000000};
    weir_sim_set_route(pair.sim, CLIENT, SERVER, &slow);
    CHECK(pair.server->ops->recv(pair.server, pair.accepted, RECV) == 0);
    uint64_t from_ns = weir_sim_now(pair.sim);
    send_all(&pair, bytes, sizeof(bytes));
    CHECK(weir_sim_now(pair.sim) == from_ns); /* the kernel has them */
    expect_bytes(&pair, sizeof(bytes));
    CHECK(weir_sim_now(pair.sim) == from_ns + 30 * MS + 50 * MS);
    pair_free(&pair);
}

Test(sim_net, what_is_lost_comes_a_timeout_later)
{
    struct pair pair;
    make(&pair);
    uint8_t bytes[100];
    count_up(bytes, sizeof(bytes));
    struct weir_sim_config lossy = {.seed = 3, .latency_ns = MS, .loss_ppm = 1000000};
    CHECK(pair.server->ops->recv(pair.server, pair.accepted, RECV) == 0);
    weir_sim_configure(pair.sim, &lossy);
    uint64_t from_ns = weir_sim_now(pair.sim);
    send_all(&pair, bytes, sizeof(bytes));
    quiet_for(pair.sim, pair.server, pair.client, 100 * MS);
    lossy.loss_ppm = 0;
    weir_sim_configure(pair.sim, &lossy);
    expect_bytes(&pair, sizeof(bytes));
    CHECK(weir_sim_now(pair.sim) >= from_ns + 200 * MS &&
          weir_sim_now(pair.sim) <= from_ns + 210 * MS);
    pair_free(&pair);
}
