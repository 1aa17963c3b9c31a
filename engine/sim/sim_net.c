/* engine/sim/sim_net.c: what is between hosts: routes, bytes on their way, resets. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sim/sim_impl.h"
#include "weir/base.h"

/* ---- routes -------------------------------------------------------------------------------- */

static struct sim_route *find_route(const struct weir_sim *sim, uint32_t from, uint32_t to)
{
    struct sim_route *routes = sim->routes.items;
    for (size_t i = 0; i < sim->routes.cnt; i++)
        if (routes[i].from == from && routes[i].to == to)
            return &routes[i];
    return NULL;
}

struct weir_sim_route sim_route_of(const struct weir_sim *sim, uint32_t from, uint32_t to)
{
    const struct sim_route *route = find_route(sim, from, to);
    if (route)
        return route->route;
    return (struct weir_sim_route){.latency_ns = sim->cfg.latency_ns,
                                   .bytes_per_s = sim->cfg.bytes_per_s};
}

void weir_sim_set_route(struct weir_sim *sim, uint32_t from, uint32_t to,
                        const struct weir_sim_route *route)
{
    struct sim_route *found = find_route(sim, from, to);
    if (route == NULL) {
        if (found)
            *found = ((struct sim_route *)sim->routes.items)[--sim->routes.cnt];
        return;
    }
    if (found == NULL)
        found = sim_list_add(&sim->routes, sizeof(*found));
    *found = (struct sim_route){.from = from, .to = to, .route = *route};
}

/* Whether its power is on. */
static bool is_host_up(const struct weir_sim *sim, uint32_t host)
{
    const uint32_t *off = sim->off_hosts.items;
    for (size_t i = 0; i < sim->off_hosts.cnt; i++)
        if (off[i] == host)
            return false;
    return true;
}

void sim_host_power(struct weir_sim *sim, uint32_t host, bool is_on)
{
    uint32_t *off = sim->off_hosts.items;
    for (size_t i = 0; i < sim->off_hosts.cnt; i++) {
        if (off[i] != host)
            continue;
        if (is_on)
            off[i] = off[--sim->off_hosts.cnt];
        return;
    }
    if (!is_on)
        *(uint32_t *)sim_list_add(&sim->off_hosts, sizeof(host)) = host;
}

bool sim_is_reachable(const struct weir_sim *sim, uint32_t from, uint32_t to)
{
    if (from == to || to == 0)
        return true;
    return is_host_up(sim, to) && !sim_route_of(sim, from, to).is_down &&
           !sim_route_of(sim, to, from).is_down;
}

/* ---- agenda -------------------------------------------------------------------------------- */

static void net_add(struct sim_sock *sock, enum sim_net kind, uint64_t due_ns)
{
    sim_agenda_add(
        sock->sim, &sock->sim->net,
        (struct sim_entry){.due_ns = due_ns, .sock = sock, .gen = sock->gen, .kind = kind});
}

uint64_t weir_sim_net_due(const struct weir_sim *sim)
{
    return sim->net.cnt > 0 ? ((const struct sim_entry *)sim->net.items)[0].due_ns
                            : WEIR_NS_FOREVER;
}

void sim_net_free(struct weir_sim *sim)
{
    free(sim->routes.items);
    free(sim->off_hosts.items);
    free(sim->net.items);
}

static uint64_t rto(uint32_t try_cnt)
{
    return weir_min_u64(SIM_RTO_NS << weir_min_u64(try_cnt, 20), SIM_RTO_MAX_NS);
}

/* ---- resets -------------------------------------------------------------------------------- */

static void reset_one(struct sim_sock *sock, int error)
{
    if (sock->state != SIM_CONNECTED || sock->is_reset)
        return;
    sock->is_reset = true;
    /* Who has seen the other end's FIN is told EPIPE (tcp_reset in CLOSE_WAIT; conformance found it). */
    sock->reset_error = error ? error : sock->is_fin ? EPIPE : 0;
    sock->pipe_len = sock->arrived_len = sock->seg_cnt = 0;
    sim_wake_all(sock, 0);
}

void sim_break(struct sim_sock *sock)
{
    if (sock->peer)
        reset_one(sock->peer, 0);
    reset_one(sock, 0);
}

void sim_rst(struct sim_sock *to)
{
    struct weir_sim_route route = sim_route_of(to->sim, to->far_host, to->host);
    if (route.is_down)
        return; /* lost for good: nobody sends an RST again */
    if (route.latency_ns == 0)
        reset_one(to, 0);
    else
        net_add(to, SIM_NET_RESET, to->sim->now_ns + route.latency_ns);
}

/* Nobody is there who could acknowledge. What comes back is an RST, if anything does. */
uint64_t sim_write_gone(struct sim_sock *sock, uint64_t len)
{
    struct weir_sim *sim = sock->sim;
    uint64_t taken = weir_min_u64(len, sim->cfg.window_bytes - sock->gone_len);
    sock->gone_len += (uint32_t)taken;
    if (!sock->is_probing) {
        sock->is_probing = true;
        sock->try_cnt = 0;
        uint64_t there_ns = sim_route_of(sim, sock->host, sock->far_host).latency_ns;
        net_add(sock, SIM_NET_PROBE, sim->now_ns + 2 * there_ns);
    }
    return taken;
}

static void probe(struct sim_sock *sock)
{
    struct weir_sim *sim = sock->sim;
    if (sim_is_reachable(sim, sock->host, sock->far_host))
        reset_one(sock, 0);
    else if (++sock->try_cnt > SIM_TRIES_MAX)
        reset_one(sock, ETIMEDOUT);
    else
        net_add(sock, SIM_NET_PROBE, sim->now_ns + rto(sock->try_cnt - 1));
}

/* ---- bytes --------------------------------------------------------------------------------- */

static void corrupt(struct sim_sock *sock, uint32_t len)
{
    struct weir_sim *sim = sock->sim;
    if (len == 0 || !sim_is_chance(sim, sim->cfg.corrupt_ppm))
        return;
    uint32_t at = sock->pipe_head + sock->arrived_len + (uint32_t)weir_sim_random(sim, len);
    sock->pipe[at % sim->cfg.window_bytes] ^= (uint8_t)(1u << weir_sim_random(sim, 8));
}

/* The first pieces on their way arrive, those that are due; sets the time for the next. */
static void arrive(struct sim_sock *sock)
{
    struct weir_sim *sim = sock->sim;
    bool has_new = false;
    while (sock->seg_cnt > 0) {
        struct sim_seg *seg = &sock->segs[sock->seg_head];
        uint64_t next_ns = seg->due_ns;
        bool is_due = next_ns <= sim->now_ns;
        if (is_due && (sim_route_of(sim, sock->far_host, sock->host).is_down ||
                       sim_is_chance(sim, sim->cfg.loss_ppm))) {
            if (++sock->try_cnt > SIM_TRIES_MAX && sock->peer) {
                reset_one(sock->peer, ETIMEDOUT);
                break;
            }
            next_ns = sim->now_ns + rto(sock->try_cnt - 1);
            seg->due_ns = next_ns;
            is_due = false;
        }
        if (!is_due) {
            if (!sock->is_arriving)
                net_add(sock, SIM_NET_ARRIVE, next_ns);
            sock->is_arriving = true;
            break;
        }
        sock->try_cnt = 0;
        corrupt(sock, seg->len);
        sock->arrived_len += seg->len;
        sock->is_fin |= seg->is_fin;
        sock->seg_head = (sock->seg_head + 1) % SIM_SEGS;
        sock->seg_cnt--;
        has_new = true;
    }
    if (has_new)
        sim_list_op(sock, WEIR_IO_RECV, 0);
}

/* Puts a piece on its way to `to`. Pieces keep their order. */
static void depart(struct sim_sock *to, uint32_t len, bool is_fin)
{
    struct weir_sim *sim = to->sim;
    struct weir_sim_route route = sim_route_of(sim, to->far_host, to->host);
    uint64_t leaves_ns = weir_max_u64(sim->now_ns, to->line_free_ns);
    if (route.bytes_per_s)
        leaves_ns += (uint64_t)len * WEIR_NS_PER_S / route.bytes_per_s;
    to->line_free_ns = leaves_ns;
    uint64_t due_ns = leaves_ns + route.latency_ns + weir_sim_random(sim, sim->cfg.jitter_ns);
    struct sim_seg *last =
        to->seg_cnt > 0 ? &to->segs[(to->seg_head + to->seg_cnt - 1) % SIM_SEGS] : NULL;
    if (last)
        due_ns = weir_max_u64(due_ns, last->due_ns);
    if (last && (to->seg_cnt == SIM_SEGS || due_ns == last->due_ns) && !last->is_fin) {
        last->len += len;
        last->is_fin = is_fin;
        /* Joining must not hold back for ever what a busy sender keeps joining to. */
    } else {
        to->segs[(to->seg_head + to->seg_cnt++) % SIM_SEGS] =
            (struct sim_seg){.due_ns = due_ns, .len = len, .is_fin = is_fin};
    }
    arrive(to);
}

uint64_t sim_write(struct sim_sock *sock, const uint8_t *bytes, uint64_t len)
{
    struct weir_sim *sim = sock->sim;
    struct sim_sock *to = sock->peer;
    uint32_t window = sim->cfg.window_bytes;
    uint64_t done = 0;
    while (done < len && to->pipe_len < window) {
        uint32_t at = (to->pipe_head + to->pipe_len) % window;
        uint64_t run = weir_min_u64(window - to->pipe_len, window - at);
        run = weir_min_u64(run, len - done);
        memcpy(to->pipe + at, bytes + done, run);
        if (sim->tap)
            sim->tap(sim->tap_ctx, sock->fd, to->pipe + at, run);
        to->pipe_len += (uint32_t)run;
        done += run;
    }
    if (done > 0)
        depart(to, (uint32_t)done, false);
    return done;
}

uint64_t sim_read(struct sim_sock *sock, uint8_t *ret_bytes, uint64_t len)
{
    uint32_t window = sock->sim->cfg.window_bytes;
    uint64_t done = 0;
    while (done < len && sock->arrived_len > 0) {
        uint64_t run = weir_min_u64(sock->arrived_len, window - sock->pipe_head);
        run = weir_min_u64(run, len - done);
        memcpy(ret_bytes + done, sock->pipe + sock->pipe_head, run);
        sock->pipe_head = (sock->pipe_head + (uint32_t)run) % window;
        sock->pipe_len -= (uint32_t)run;
        sock->arrived_len -= (uint32_t)run;
        done += run;
    }
    if (sock->peer)
        sim_list_op(sock->peer, WEIR_IO_SEND,
                    sim_route_of(sock->sim, sock->host, sock->far_host).latency_ns);
    return done;
}

void sim_fin(struct sim_sock *to)
{
    depart(to, 0, true);
}

/* ---- what is due --------------------------------------------------------------------------- */

void sim_net_run(struct weir_sim *sim)
{
    struct sim_entry entry;
    while (sim_agenda_pop(&sim->net, sim->now_ns, &entry)) {
        struct sim_sock *sock = entry.sock;
        if (sock->gen != entry.gen)
            continue; /* of a socket that was closed since */
        switch ((enum sim_net)entry.kind) {
        case SIM_NET_ARRIVE:
            sock->is_arriving = false;
            if (!sock->is_reset)
                arrive(sock);
            break;
        case SIM_NET_RESET:
            if (!sim_route_of(sim, sock->far_host, sock->host).is_down)
                reset_one(sock, 0);
            break;
        case SIM_NET_PROBE:
            if (!sock->is_reset)
                probe(sock);
            break;
        }
    }
}
