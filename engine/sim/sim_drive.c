/* What a driver of many rings asks of each (engine/prove): when it is due, what is in flight, that its host dies. */
#include <errno.h>

#include "engine/base/check.h"
#include "engine/sim/sim_impl.h"

static struct sim_io *of(struct weir_io *io)
{
    return (struct sim_io *)(void *)io;
}

/* ---- when ---------------------------------------------------------------------------------- */

void weir_sim_io_set_tag(struct weir_io *io, uint32_t tag)
{
    of(io)->tag = tag;
}

bool weir_sim_touched(struct weir_sim *sim, uint32_t *ret_tag)
{
    if (sim->touched.cnt == 0)
        return false;
    struct sim_io *io = ((struct sim_io **)sim->touched.items)[--sim->touched.cnt];
    io->is_touched = false;
    *ret_tag = io->tag;
    return true;
}

uint64_t weir_sim_io_due(const struct weir_io *io)
{
    const struct sim_io *s = (const struct sim_io *)(const void *)io;
    if (s->event_head < s->events.cnt || s->starts.cnt > 0 || atomic_load(&s->is_woken) ||
        s->deadline_ns <= s->sim->now_ns)
        return s->sim->now_ns;
    uint64_t due_ns = s->deadline_ns;
    if (s->agenda.cnt > 0)
        due_ns = weir_min_u64(due_ns, ((const struct sim_entry *)s->agenda.items)[0].due_ns);
    return due_ns;
}

/* ---- what is there ------------------------------------------------------------------------- */

uint32_t weir_sim_lent_cnt(struct weir_io *io)
{
    const struct sim_io *s = of(io);
    const struct sim_event *events = s->events.items;
    uint32_t cnt = s->lent_cnt;
    for (size_t i = s->event_head; i < s->events.cnt; i++) /* nobody has heard of these yet */
        cnt -= (events[i].event.flags & WEIR_IO_BUF) != 0;
    return cnt;
}

static void kill_sock(struct sim_sock *sock, bool is_silent)
{
    struct sim_sock *peer = sock->peer;
    sock->peer = NULL;
    if (peer) {
        peer->peer = NULL;
        if (!is_silent && sock->pipe_len > 0)
            sim_rst(peer);
        else if (!is_silent && !sock->is_shut_wr)
            sim_fin(peer);
    }
    sock->is_reset = true;
    for (uint32_t kind = WEIR_IO_ACCEPT; kind < WEIR_IO_SHUTDOWN; kind++)
        if (sock->ops[kind].is_armed)
            sim_end_op(sock, kind, -ECANCELED);
}

void weir_sim_io_kill(struct weir_io *io, bool is_silent)
{
    struct sim_io *s = of(io);
    s->is_dead = true;
    if (is_silent)
        sim_host_power(s->sim, s->host, false);
    for (size_t i = 0; i < s->sim->socks.cnt; i++) {
        struct sim_sock *sock = ((struct sim_sock **)s->sim->socks.items)[i];
        if (sock == NULL || sock->io != s)
            continue;
        while (sock->backlog) { /* dialed and not accepted: the same happens to them */
            struct sim_sock *waiting = sim_backlog_pop(sock);
            kill_sock(waiting, is_silent);
            sim_sock_free(waiting);
        }
        kill_sock(sock, is_silent);
        if (sock->state == SIM_LISTENING)
            sock->state = SIM_FRESH; /* nobody can dial it any more */
    }
}

void weir_sim_io_slot(struct weir_io *io)
{
    of(io)->sim->is_driven = true;
    of(io)->turn_cnt = 0;
}

void weir_sim_visit_ops(struct weir_io *io, weir_sim_visit visit, void *ctx)
{
    for (const struct sim_sock *sock = of(io)->socks; sock; sock = sock->io_next) {
        uint32_t left = sock->in_flight;
        for (uint32_t kind = WEIR_IO_ACCEPT; left > 0 && kind < WEIR_IO_SHUTDOWN; kind++) {
            if (!sock->ops[kind].is_started)
                continue;
            visit(ctx, sock->fd, kind, sock->ops[kind].token);
            left--;
        }
        while (left-- > 0) /* shutdowns have no token of their own here */
            visit(ctx, sock->fd, WEIR_IO_SHUTDOWN, 0);
    }
}
