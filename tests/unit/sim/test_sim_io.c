#include <signal.h>
#include <stdlib.h>

#include "tests/unit/sim/pair.h"
#include "weir/error.h"

static uint8_t pattern(size_t at)
{
    return (uint8_t)((at * UINT64_C(0x9E3779B97F4A7C15)) >> 56);
}

struct seen {
    uint32_t short_sends, starved, ended_on_data, overflows;
    uint64_t digest;
};

/* Sends a stream of `len` bytes and receives it, obeying every rule; compares each byte. Buffers are
 * held for a while when `is_lazy`. */
static struct seen stream(const struct weir_sim_config *cfg, size_t len, bool is_lazy)
{
    struct pair pair;
    struct seen seen = {0};
    pair_make(&pair, cfg, "10.0.0.1:700");
    uint8_t *bytes = malloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = pattern(i);
    const struct weir_io_ops *ops = pair.client->ops;
    size_t sent = 0, received = 0, asked = 0;
    bool is_sending = false, is_shut = false, is_ended = false;
    struct iovec iov[2];
    uint32_t held[8], held_cnt = 0;
    CHECK(ops->recv(pair.server, pair.accepted, 3) == 0);
    while (!is_ended) {
        if (!is_sending && sent < len) {
            asked = len - sent < 30000 ? len - sent : 30000;
            uint32_t cnt = asked > 10 ? 2 : 1;
            iov[0] = (struct iovec){bytes + sent, cnt == 2 ? 10 : asked};
            iov[1] = (struct iovec){bytes + sent + 10, asked - (cnt == 2 ? 10 : asked)};
            CHECK(ops->send(pair.client, pair.dialed, iov, cnt, 4) == 0);
            is_sending = true;
        } else if (sent == len && !is_shut) {
            CHECK(ops->shutdown(pair.client, pair.dialed, SHUT_WR, 5) == 0);
            is_shut = true;
        }
        struct weir_io_event events[4];
        int64_t cnt = ops->turn(pair.client, events, 4, WEIR_NS_FOREVER);
        for (int64_t i = 0; i < cnt; i++) {
            if (events[i].kind != WEIR_IO_SEND)
                continue;
            CHECK(events[i].res > 0 && (size_t)events[i].res <= asked);
            seen.short_sends += (size_t)events[i].res < asked;
            sent += (size_t)events[i].res;
            is_sending = false;
        }
        cnt = ops->turn(pair.server, events, 4, WEIR_NS_FOREVER);
        for (int64_t i = 0; i < cnt; i++) {
            const struct weir_io_event *event = &events[i];
            if (event->kind == WEIR_IO_ACCEPT)
                continue;
            CHECK(event->kind == WEIR_IO_RECV && event->token == 3);
            if (event->flags & WEIR_IO_BUF) {
                for (int32_t at = 0; at < event->res; at++)
                    CHECK(event->data[at] == pattern(received + (size_t)at));
                received += (size_t)event->res;
                if (is_lazy)
                    held[held_cnt++] = event->buf_idx;
                else
                    ops->recv_done(pair.server, event->buf_idx);
            }
            if (event->flags & WEIR_IO_MORE)
                continue;
            CHECK(event->res >= 0 || event->res == -ENOBUFS);
            is_ended = event->res == 0;
            seen.starved += event->res == -ENOBUFS;
            seen.ended_on_data += event->res > 0;
            if (is_ended)
                break;
            while (held_cnt > 0)
                ops->recv_done(pair.server, held[--held_cnt]);
            CHECK(ops->recv(pair.server, pair.accepted, 3) == 0);
        }
        CHECK(weir_sim_step(pair.sim));
    }
    CHECK(received == len);
    struct weir_io_stats stats;
    ops->stats(pair.server, &stats);
    CHECK(stats.recv_starved == seen.starved);
    CHECK(weir_sim_lent_cnt(pair.server) == held_cnt);
    seen.overflows = (uint32_t)stats.overflows;
    seen.digest = weir_sim_digest(pair.sim);
    free(bytes);
    pair_free(&pair);
    return seen;
}

Test(sim_io, a_stream_arrives_whole_whatever_the_world_does)
{
    const struct weir_sim_config perfect = {.seed = 1};
    struct seen seen = stream(&perfect, 300000, false);
    CHECK(seen.starved == 0 && seen.ended_on_data == 0 && seen.overflows == 0);

    seen = stream(&perfect, 300000, true);
    CHECK(seen.starved > 0);

    const struct weir_sim_config one_byte = {.seed = 2, .send_chunk_max = 1, .recv_chunk_max = 1};
    seen = stream(&one_byte, 3000, false);
    CHECK(seen.short_sends > 0);

    struct seen total = {0};
    for (uint64_t seed = 0; seed < 200; seed++) {
        const struct weir_sim_config cfg = {
            .seed = seed,
            .send_chunk_max = seed % 3 ? 5000 : 0,
            .recv_chunk_max = seed % 5 ? 700 : 0,
            .window_bytes = seed % 7 ? 9001 : 0,
            .delay_max_ns = seed % 2 ? 3 * WEIR_NS_PER_MS : 0,
            .latency_ns = seed % 4 ? 20 * WEIR_NS_PER_MS : 0,
            .recv_end_ppm = 100000,
            .accept_fail_ppm = 200000,
            .flood_ppm = 200000,
        };
        seen = stream(&cfg, 100000, seed % 2);
        total.short_sends += seen.short_sends;
        total.starved += seen.starved;
        total.ended_on_data += seen.ended_on_data;
        total.overflows += seen.overflows;
        struct seen again = stream(&cfg, 100000, seed % 2);
        cr_assert_eq(seen.digest, again.digest, "seed %u runs differently", (unsigned)seed);
    }
    /* Each of the bad things did happen. */
    CHECK(total.short_sends > 0 && total.starved > 0 && total.ended_on_data > 0 &&
          total.overflows > 0);
}

Test(sim_io, different_seeds_differ)
{
    const struct weir_sim_config a = {.seed = 1, .send_chunk_max = 500, .delay_max_ns = 1000};
    const struct weir_sim_config b = {.seed = 2, .send_chunk_max = 500, .delay_max_ns = 1000};
    CHECK(stream(&a, 20000, false).digest != stream(&b, 20000, false).digest);
}

Test(sim_io, time_passes_only_between_turns)
{
    const struct weir_sim_config cfg = {.seed = 1, .latency_ns = 50 * WEIR_NS_PER_MS};
    struct pair pair;
    pair_make(&pair, &cfg, "10.0.0.1:700");
    CHECK(weir_sim_now(pair.sim) ==
          WEIR_NS_PER_S + 150 * WEIR_NS_PER_MS); /* 100 to dial, 50 to accept */
    struct weir_io_event event;
    uint64_t now_ns = weir_sim_now(pair.sim);
    CHECK(pair.server->ops->turn(pair.server, &event, 1, 7) == 0);
    CHECK(pair.client->ops->turn(pair.client, &event, 1, WEIR_NS_FOREVER) == 0);
    CHECK(weir_sim_now(pair.sim) == now_ns);
    CHECK(weir_sim_step(pair.sim) &&
          weir_sim_now(pair.sim) == now_ns + 7);         /* the end of that wait */
    CHECK(pair.server->ops->now(pair.server) == now_ns); /* its last turn's time */
    CHECK(pair.server->ops->turn(pair.server, &event, 1, WEIR_NS_FOREVER) == 0);
    CHECK(pair.server->ops->now(pair.server) == now_ns + 7);
    CHECK(!weir_sim_step(pair.sim)); /* everybody waits for ever, nothing is under way */
    pair.client->ops->wake(pair.client);
    CHECK(weir_sim_step(pair.sim) && weir_sim_now(pair.sim) == now_ns + 7);
    weir_sim_advance(pair.sim, 5);
    CHECK(weir_sim_now(pair.sim) == now_ns + 12);
    pair_free(&pair);
}

/* A turn that would have nothing to say sleeps: the kernel has taken what was started, and the owner is not bothered. */
Test(sim_io, a_turn_sleeps_until_there_is_something_or_its_time_is_over)
{
    struct weir_sim_config cfg = {.seed = 1};
    struct weir_io_event events[4];
    struct iovec iov = {"hello", 5};
    struct pair pair;
    pair_make(&pair, &cfg, "10.0.0.1:700");
    const struct weir_io_ops *ops = pair.server->ops;
    cr_assert_eq(ops->recv(pair.server, pair.accepted, 3), 0);
    cr_assert_eq(weir_sim_io_due(pair.server), weir_sim_now(pair.sim), "a receive was started");
    cr_assert(weir_sim_io_sleeps(pair.server, 1000));
    uint64_t end_ns = weir_sim_now(pair.sim) + 1000;
    cr_assert_eq(weir_sim_io_due(pair.server), end_ns);

    /* Asked again it still sleeps, and not longer for that; a wake ends it. */
    weir_sim_advance(pair.sim, 400);
    cr_assert(weir_sim_io_sleeps(pair.server, 1000));
    cr_assert_eq(weir_sim_io_due(pair.server), end_ns);
    ops->wake(pair.server);
    cr_assert_eq(weir_sim_io_due(pair.server), weir_sim_now(pair.sim));
    cr_assert_not(weir_sim_io_sleeps(pair.server, 1000));
    cr_assert_eq(ops->turn(pair.server, events, 4, 0), 0);

    /* So does its time. */
    cr_assert(weir_sim_io_sleeps(pair.server, 1000));
    weir_sim_advance(pair.sim, 1000);
    cr_assert_not(weir_sim_io_sleeps(pair.server, 1000));
    cr_assert_eq(ops->turn(pair.server, events, 4, 0), 0);

    /* And what arrives, which the next turn tells. */
    cr_assert(weir_sim_io_sleeps(pair.server, WEIR_NS_FOREVER));
    cr_assert_eq(ops->send(pair.client, pair.dialed, &iov, 1, 4), 0);
    cr_assert_eq(ops->turn(pair.client, events, 4, 0), 1);
    for (uint32_t i = 0; i < 100 && weir_sim_io_sleeps(pair.server, WEIR_NS_FOREVER); i++)
        weir_sim_step(pair.sim);
    cr_assert_eq(weir_sim_lent_cnt(pair.server), 0, "nobody has heard of it yet");
    cr_assert_eq(ops->turn(pair.server, events, 4, 0), 1);
    cr_assert(events[0].token == 3 && events[0].res == 5 &&
              memcmp(events[0].data, "hello", 5) == 0);
    cr_assert_eq(weir_sim_lent_cnt(pair.server), 1);
    ops->recv_done(pair.server, events[0].buf_idx);
    pair_free(&pair);
}

Test(sim_io, hosts_have_their_own_wildcard_and_loopback)
{
    const struct weir_sim_config cfg = {.seed = 1};
    struct weir_sim *sim = sim_make(&cfg);
    struct weir_io *ios[2] = {io_make(sim, 1), io_make(sim, 2)}, *shard = io_make(sim, 1);
    struct weir_addr any = addr_of("0.0.0.0:80"), real;
    CHECK(ios[0]->ops->listen(ios[0], &any, false, &real) >= 0);
    CHECK(ios[1]->ops->listen(ios[1], &any, false, &real) >= 0); /* another host */
    CHECK(shard->ops->listen(shard, &any, false, &real) == WEIR_E_IN_USE);
    CHECK(shard->ops->listen(shard, &any, true, &real) >= 0);
    struct {
        const char *text;
        int res;
    } cases[] = {{"10.0.0.1:80", 0},
                 {"10.0.0.2:80", 0},
                 {"127.0.0.1:80", 0},
                 {"0.0.0.0:80", 0},
                 {"10.0.0.3:80", -ECONNREFUSED},
                 {"10.0.0.1:81", -ECONNREFUSED},
                 {"[fd00::1]:80", -ECONNREFUSED},
                 {"unix:/x", -ENOENT}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int sock;
        struct weir_addr addr = addr_of(cases[i].text);
        CHECK(ios[1]->ops->connect(ios[1], &addr, 9, &sock) == 0);
        struct weir_io_event event = next_event(sim, ios[1], NULL, NULL);
        cr_assert(event.kind == WEIR_IO_CONNECT && event.res == cases[i].res, "%s: %d",
                  cases[i].text, event.res);
        ios[1]->ops->close(ios[1], sock);
    }
    for (int i = 0; i < 2; i++)
        ios[i]->ops->free(ios[i]);
    shard->ops->free(shard);
    weir_sim_free(sim);
}

Test(sim_io, the_other_ends_address_is_its_hosts)
{
    const struct weir_sim_config cfg = {.seed = 1};
    struct pair pair;
    pair_make(&pair, &cfg, "[fd00::1]:700");
    struct weir_addr addr;
    CHECK(pair.client->ops->peer_addr(pair.client, pair.dialed, &addr));
    CHECK(weir_addr_is_equal(&addr, &pair.addr));
    CHECK(pair.server->ops->peer_addr(pair.server, pair.accepted, &addr));
    CHECK(addr.family == WEIR_ADDR_IPV6 && addr.ip[0] == 0xFD && addr.ip[15] == 2 &&
          addr.port != 0);
    pair_free(&pair);
}

Test(sim_io, a_connect_into_a_black_hole_ends_by_shutdown)
{
    const struct weir_sim_config cfg = {.seed = 1};
    struct weir_sim *sim = sim_make(&cfg);
    struct weir_io *io = io_make(sim, 1);
    struct weir_addr addr = addr_of("10.9.9.9:1");
    weir_sim_blackhole(sim, &addr, true);
    int sock;
    CHECK(io->ops->connect(io, &addr, 5, &sock) == 0);
    CHECK(is_quiet(sim, io));
    CHECK(io->ops->shutdown(io, sock, SHUT_RDWR, 6) == 0);
    struct weir_io_event event = next_event(sim, io, NULL, NULL);
    CHECK(event.kind == WEIR_IO_CONNECT && event.res == -ECANCELED && event.token == 5);
    event = next_event(sim, io, NULL, NULL);
    CHECK(event.kind == WEIR_IO_SHUTDOWN && event.res == -ENOTCONN && event.token == 6);
    io->ops->close(io, sock);
    weir_sim_blackhole(sim, &addr, false);
    CHECK(io->ops->connect(io, &addr, 5, &sock) == 0);
    event = next_event(sim, io, NULL, NULL);
    CHECK(event.kind == WEIR_IO_CONNECT && event.res == -ECONNREFUSED);
    io->ops->free(io);
    weir_sim_free(sim);
}

Test(sim_io, accept_fails_when_sockets_run_out)
{
    const struct weir_sim_config cfg = {.seed = 1, .sock_max = 2};
    struct weir_sim *sim = sim_make(&cfg);
    struct weir_io *io = io_make(sim, 1);
    struct weir_addr any = addr_of("10.0.0.1:0"), addr;
    int listener = io->ops->listen(io, &any, false, &addr);
    CHECK(listener >= 0 && addr.port != 0);
    CHECK(io->ops->accept(io, listener, 1) == 0);
    int raw = weir_sim_raw_dial(sim, &addr, NULL);
    CHECK(raw >= 0);
    CHECK(weir_sim_raw_dial(sim, &addr, NULL) == -EMFILE);
    int sock;
    CHECK(io->ops->connect(io, &addr, 2, &sock) == WEIR_E_DESCRIPTORS);
    struct weir_io_event event = next_event(sim, io, NULL, NULL);
    CHECK(event.kind == WEIR_IO_ACCEPT && event.res == -EMFILE && event.flags == 0);
    weir_sim_configure(sim, &(struct weir_sim_config){.sock_max = 3});
    CHECK(io->ops->accept(io, listener, 1) == 0);
    event = next_event(sim, io, NULL, NULL); /* the same connection: it had stayed in the queue */
    CHECK(event.kind == WEIR_IO_ACCEPT && event.res >= 0 && event.flags == 0);
    CHECK(io->ops->accept(io, listener, 1) == 0);
    CHECK(io->ops->cancel(io, 1) == 0);
    event = next_event(sim, io, NULL, NULL);
    CHECK(event.kind == WEIR_IO_ACCEPT && event.res == -ECANCELED && event.flags == 0);
    io->ops->close(io, listener);
    weir_sim_raw_close(sim, raw);
    io->ops->free(io);
    weir_sim_free(sim);
}

Test(sim_io, a_raw_peer_is_moved_by_hand)
{
    const struct weir_sim_config cfg = {.seed = 1, .window_bytes = 10};
    struct weir_sim *sim = sim_make(&cfg);
    struct weir_io *io = io_make(sim, 1);
    struct weir_addr any = addr_of("10.0.0.1:0"), addr, from = addr_of("203.0.113.9:77");
    int listener = io->ops->listen(io, &any, false, &addr);
    CHECK(io->ops->accept(io, listener, 1) == 0);
    int raw = weir_sim_raw_dial(sim, &addr, &from);
    CHECK(weir_sim_raw_write(sim, raw, "hello, weir", 11) == 10); /* the window */
    CHECK(weir_sim_raw_write(sim, raw, "r", 1) == 0);
    struct weir_io_event event = next_event(sim, io, NULL, NULL);
    int sock = event.res;
    struct weir_addr peer;
    CHECK(io->ops->peer_addr(io, sock, &peer) && weir_addr_is_equal(&peer, &from));
    CHECK(io->ops->recv(io, sock, 2) == 0);
    event = next_event(sim, io, NULL, NULL);
    CHECK(event.kind == WEIR_IO_RECV && event.res == 10 &&
          memcmp(event.data, "hello, wei", 10) == 0);
    io->ops->recv_done(io, event.buf_idx);
    CHECK(weir_sim_raw_write(sim, raw, "r", 1) == 1);
    event = next_event(sim, io, NULL, NULL);
    CHECK(event.res == 1 && event.data[0] == 'r');
    io->ops->recv_done(io, event.buf_idx);

    char bytes[64];
    CHECK(weir_sim_raw_read(sim, raw, bytes, sizeof(bytes)) == -EAGAIN);
    char answer[] = "an answer";
    struct iovec iov = {answer, 9};
    CHECK(io->ops->send(io, sock, &iov, 1, 3) == 0);
    event = next_event(sim, io, NULL, NULL);
    CHECK(event.kind == WEIR_IO_SEND && event.res == 9);
    CHECK(weir_sim_raw_read(sim, raw, bytes, 2) == 2);
    CHECK(weir_sim_raw_read(sim, raw, bytes, sizeof(bytes)) == 7 &&
          memcmp(bytes, " answer", 7) == 0);

    weir_sim_raw_shutdown(sim, raw, SHUT_WR);
    CHECK(weir_sim_raw_write(sim, raw, "x", 1) == -EPIPE);
    event = next_event(sim, io, NULL, NULL);
    CHECK(event.kind == WEIR_IO_RECV && event.res == 0 && event.flags == 0);
    io->ops->close(io, sock);
    CHECK(weir_sim_raw_read(sim, raw, bytes, sizeof(bytes)) == 0);
    weir_sim_raw_close(sim, raw);
    io->ops->free(io);
    weir_sim_free(sim);
}

Test(sim_io, a_raw_listener_can_be_dialed)
{
    const struct weir_sim_config cfg = {.seed = 1};
    struct weir_sim *sim = sim_make(&cfg);
    struct weir_io *io = io_make(sim, 1);
    struct weir_addr any = addr_of("192.0.2.5:0"), addr;
    int listener = weir_sim_raw_listen(sim, &any, &addr), sock;
    CHECK(listener >= 0 && weir_sim_raw_listen(sim, &addr, NULL) == -EADDRINUSE);
    CHECK(weir_sim_raw_accept(sim, listener) == -EAGAIN);
    CHECK(io->ops->connect(io, &addr, 2, &sock) == 0);
    struct weir_io_event event = next_event(sim, io, NULL, NULL);
    CHECK(event.kind == WEIR_IO_CONNECT && event.res == 0);
    int raw = weir_sim_raw_accept(sim, listener);
    CHECK(raw >= 0);
    CHECK(io->ops->recv(io, sock, 3) == 0);
    CHECK(weir_sim_raw_write(sim, raw, "x", 1) == 1);
    event = next_event(sim, io, NULL, NULL);
    CHECK(event.kind == WEIR_IO_RECV && event.res == 1);
    io->ops->recv_done(io, event.buf_idx);
    weir_sim_raw_close(sim, raw);
    event = next_event(sim, io, NULL, NULL);
    CHECK(event.kind == WEIR_IO_RECV && event.res == 0);
    weir_sim_raw_close(sim, listener);
    io->ops->free(io);
    weir_sim_free(sim);
}

Test(sim_io, a_reset_ends_everything_on_both_ends)
{
    const struct weir_sim_config cfg = {.seed = 1, .window_bytes = 4};
    struct pair pair;
    pair_make(&pair, &cfg, "10.0.0.1:700");
    char bytes[] = "0123456789";
    struct iovec iov = {bytes, 4};
    CHECK(pair.client->ops->send(pair.client, pair.dialed, &iov, 1, 10) == 0);
    struct weir_io_event event = next_event(pair.sim, pair.client, NULL, NULL);
    CHECK(event.res == 4);
    CHECK(pair.client->ops->send(pair.client, pair.dialed, &iov, 1, 11) == 0); /* no room: waits */
    CHECK(pair.client->ops->recv(pair.client, pair.dialed, 12) == 0);
    CHECK(is_quiet(pair.sim, pair.client));
    weir_sim_reset(pair.sim, pair.accepted);
    for (int i = 0; i < 2; i++) {
        event = next_event(pair.sim, pair.client, NULL, NULL);
        CHECK(event.res == -ECONNRESET && event.flags == 0);
    }
    CHECK(pair.server->ops->recv(pair.server, pair.accepted, 13) == 0);
    event = next_event(pair.sim, pair.server, NULL, NULL);
    CHECK(event.res == -ECONNRESET);
    pair_free(&pair);
}

Test(sim_io, closing_with_unread_bytes_resets_the_other_end)
{
    const struct weir_sim_config cfg = {.seed = 1};
    struct pair pair;
    pair_make(&pair, &cfg, "10.0.0.1:700");
    char bytes[] = "unread";
    struct iovec iov = {bytes, 6};
    CHECK(pair.client->ops->send(pair.client, pair.dialed, &iov, 1, 10) == 0);
    CHECK(next_event(pair.sim, pair.client, NULL, NULL).res == 6);
    pair.server->ops->close(pair.server, pair.accepted);
    CHECK(pair.client->ops->recv(pair.client, pair.dialed, 12) == 0);
    CHECK(next_event(pair.sim, pair.client, NULL, NULL).res == -ECONNRESET);
    pair_free(&pair);
}

static void flip(void *ctx, int sock, uint8_t *bytes, size_t len)
{
    if (sock == *(int *)ctx && len > 2)
        bytes[2] ^= 0x01;
}

Test(sim_io, bytes_can_be_damaged_on_their_way)
{
    const struct weir_sim_config cfg = {.seed = 1};
    struct pair pair;
    pair_make(&pair, &cfg, "10.0.0.1:700");
    weir_sim_set_tap(pair.sim, flip, &pair.dialed);
    char bytes[] = "abcdef";
    struct iovec iov = {bytes, 6};
    CHECK(pair.server->ops->recv(pair.server, pair.accepted, 9) == 0);
    CHECK(pair.client->ops->send(pair.client, pair.dialed, &iov, 1, 10) == 0);
    CHECK(next_event(pair.sim, pair.client, NULL, NULL).res == 6);
    struct weir_io_event event = next_event(pair.sim, pair.server, NULL, NULL);
    CHECK(event.res == 6 && memcmp(event.data, "abbdef", 6) == 0);
    CHECK(memcmp(bytes, "abcdef", 6) == 0); /* the sender's own are untouched */
    pair.server->ops->recv_done(pair.server, event.buf_idx);
    CHECK(event.data[0] == 0xDD); /* whoever reads on after giving it back sees that at once */
    pair_free(&pair);
}

Test(sim_io, the_nth_operation_can_be_made_to_fail)
{
    const struct weir_sim_config cfg = {.seed = 1};
    struct pair pair;
    pair_make(&pair, &cfg, "10.0.0.1:700");
    weir_sim_fail_nth(pair.sim, 2, WEIR_E_FULL);
    CHECK(pair.server->ops->recv(pair.server, pair.accepted, 9) == 0);
    CHECK(pair.client->ops->recv(pair.client, pair.dialed, 9) == WEIR_E_FULL);
    CHECK(pair.client->ops->recv(pair.client, pair.dialed, 9) == 0);
    pair_free(&pair);
}

/* ---- broken rules abort ----------------------------------------------------------------------- */

static struct pair broken; /* a fresh process each */
static char data[] = "0123456789";
static struct iovec data_iov = {data, 10};

static void start_send(void)
{
    pair_make(&broken, &(struct weir_sim_config){.seed = 1, .window_bytes = 4}, "10.0.0.1:700");
    CHECK(broken.client->ops->send(broken.client, broken.dialed, &data_iov, 1, 10) == 0);
}

Test(sim_io, two_sends_in_flight_abort, .signal = SIGABRT)
{
    start_send();
    (void)broken.client->ops->send(broken.client, broken.dialed, &data_iov, 1, 11);
}

Test(sim_io, touching_the_bytes_of_a_send_aborts, .signal = SIGABRT)
{
    start_send();
    data[9] = 'x';
    (void)next_event(broken.sim, broken.client, NULL, NULL);
}

Test(sim_io, closing_with_an_operation_in_flight_aborts, .signal = SIGABRT)
{
    start_send();
    broken.client->ops->close(broken.client, broken.dialed);
}

Test(sim_io, an_operation_on_a_closed_socket_aborts, .signal = SIGABRT)
{
    start_send();
    (void)next_event(broken.sim, broken.client, NULL, NULL);
    broken.client->ops->close(broken.client, broken.dialed);
    (void)broken.client->ops->send(broken.client, broken.dialed, &data_iov, 1, 11);
}

Test(sim_io, an_operation_on_anothers_socket_aborts, .signal = SIGABRT)
{
    start_send();
    (void)broken.client->ops->recv(broken.client, broken.accepted, 1);
}

Test(sim_io, giving_a_buffer_back_twice_aborts, .signal = SIGABRT)
{
    start_send();
    CHECK(broken.server->ops->recv(broken.server, broken.accepted, 1) == 0);
    struct weir_io *io = NULL;
    struct weir_io_event event;
    do
        event = next_event(broken.sim, broken.server, broken.client, &io);
    while (event.kind != WEIR_IO_RECV);
    io->ops->recv_done(io, event.buf_idx);
    io->ops->recv_done(io, event.buf_idx);
}
