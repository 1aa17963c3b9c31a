/* engine/sim/sim_io.c: struct weir_io_ops over the simulated world. Checks the rules of io.h. */
#include "engine/sim/sim_io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/sim/sim_impl.h"
#include "weir/base.h"
#include "weir/error.h"

static struct sim_io *of(struct weir_io *io)
{
    return (struct sim_io *)(void *)io;
}

/* An open socket of this io. Anything else is a use after close. */
static struct sim_sock *sock_of(struct weir_io *io, int fd)
{
    struct sim_sock *sock = sim_sock_of(of(io)->sim, fd);
    WEIR_CHECK(sock != NULL && sock->io != NULL);
    if (sock->io != of(io)) { /* one shard hands what it accepted to another */
        WEIR_CHECK(sock->host == of(io)->host && sock->in_flight == 0);
        sim_sock_move(sock, of(io));
    }
    return sock;
}

/* The injected failure of the n-th operation, 0 for the others. */
static int fail(struct weir_sim *sim)
{
    if (sim->fail_in != 0 && --sim->fail_in == 0)
        return sim->fail_error;
    return sim_is_chance(sim, sim->cfg.full_ppm) ? WEIR_E_FULL : 0;
}

static void start(struct sim_io *io, struct sim_sock *sock, uint32_t kind, uint64_t token, int how)
{
    WEIR_CHECK(token >> WEIR_IO_TOKEN_BITS == 0);
    struct sim_start *started = sim_list_add(&io->starts, sizeof(*started));
    *started = (struct sim_start){.sock = sock, .kind = kind, .how = how, .token = token};
    if (sock == NULL)
        return;
    started->gen = sock->gen;
    sock->in_flight++;
    if (kind == WEIR_IO_SHUTDOWN)
        return;
    WEIR_CHECK(!sock->ops[kind].is_started); /* one of a kind is in flight at most */
    sock->ops[kind].is_started = true;
    sock->ops[kind].token = token;
}

/* ---- operations ---------------------------------------------------------------------------- */

static int sim_io_enable(struct weir_io *io)
{
    of(io)->is_enabled = true;
    of(io)->now_ns = of(io)->sim->now_ns;
    return 0;
}

static int sim_io_listen(struct weir_io *io, const struct weir_addr *addr, bool is_shared,
                         struct weir_addr *ret_addr)
{
    struct weir_sim *sim = of(io)->sim;
    int error =
        sim->fail_in ? fail(sim) : 0; /* never WEIR_E_FULL by chance: it is no ring operation */
    if (error)
        return error;
    if (addr->family == WEIR_ADDR_NONE)
        return WEIR_E_ADDRESS;
    bool is_unix = addr->family == WEIR_ADDR_UNIX;
    if ((is_unix || (addr->port != 0 && !is_shared)) && sim_is_taken(sim, addr, of(io)->host))
        return WEIR_E_IN_USE;
    struct sim_sock *sock = sim_sock_make(sim, of(io));
    if (sim_sock_open(sock) != 0) {
        sim_sock_free(sock);
        return WEIR_E_DESCRIPTORS;
    }
    sock->state = SIM_LISTENING;
    sock->addr = *addr;
    if (!is_unix && addr->port == 0)
        sock->addr.port = sim_port(sim);
    *ret_addr = sock->addr;
    return sock->fd;
}

static int sim_io_accept(struct weir_io *io, int fd, uint64_t token)
{
    int error = fail(of(io)->sim);
    if (error)
        return error;
    struct sim_sock *sock = sock_of(io, fd);
    WEIR_CHECK(sock->state == SIM_LISTENING);
    start(of(io), sock, WEIR_IO_ACCEPT, token, 0);
    return 0;
}

static int sim_io_connect(struct weir_io *io, const struct weir_addr *addr, uint64_t token,
                          int *ret_sock)
{
    struct weir_sim *sim = of(io)->sim;
    int error = fail(sim);
    if (error)
        return error;
    if (addr->family == WEIR_ADDR_NONE)
        return WEIR_E_ADDRESS;
    struct sim_sock *sock = sim_sock_make(sim, of(io));
    if (sim_sock_open(sock) != 0) {
        sim_sock_free(sock);
        return WEIR_E_DESCRIPTORS;
    }
    sock->addr = *addr;
    start(of(io), sock, WEIR_IO_CONNECT, token, 0);
    *ret_sock = sock->fd;
    return 0;
}

static void sim_io_tune(struct weir_io *io, int fd)
{
    (void)sock_of(io, fd);
}

static void sim_io_bound_unread(struct weir_io *io, int fd, uint32_t step)
{
    (void)sock_of(io, fd);
    (void)step;
}

static void sim_io_bound_unsent(struct weir_io *io, int fd, uint32_t bytes)
{
    (void)sock_of(io, fd);
    (void)bytes;
}

static int sim_io_recv(struct weir_io *io, int fd, uint64_t token)
{
    int error = fail(of(io)->sim);
    if (error)
        return error;
    start(of(io), sock_of(io, fd), WEIR_IO_RECV, token, 0);
    return 0;
}

static void sim_io_recv_done(struct weir_io *io, uint32_t buf_idx)
{
    struct sim_io *s = of(io);
    WEIR_CHECK(buf_idx < s->cfg.recv_buf_cnt && s->is_lent[buf_idx]);
    s->is_lent[buf_idx] = 0;
    s->lent_cnt--;
    memset(s->bufs + (size_t)buf_idx * s->cfg.recv_buf_bytes, 0xDD, s->lent_lens[buf_idx]);
    s->returned_bufs[s->returned_cnt++] = buf_idx;
}

static int sim_io_send(struct weir_io *io, int fd, const struct iovec *iov, uint32_t iov_cnt,
                       uint64_t token)
{
    int error = fail(of(io)->sim);
    if (error)
        return error;
    struct sim_sock *sock = sock_of(io, fd);
    WEIR_CHECK(iov_cnt >= 1 && iov_cnt <= 1024);
    start(of(io), sock, WEIR_IO_SEND, token, 0);
    struct sim_op *op = &sock->ops[WEIR_IO_SEND];
    op->iov = iov;
    op->iov_cnt = iov_cnt;
    op->iov_hash = sim_iov_hash(iov, iov_cnt);
    return 0;
}

static int sim_io_shutdown(struct weir_io *io, int fd, int how, uint64_t token)
{
    int error = fail(of(io)->sim);
    if (error)
        return error;
    struct sim_sock *sock = sock_of(io, fd);
    start(of(io), sock, WEIR_IO_SHUTDOWN, token, how);
    /* At once, as io_uring's: a send that is started and not submitted comes too late. A connect that is
     * not submitted yet can only be ended after it was. */
    if (sock->state == SIM_CONNECTED)
        (void)sim_shut(sock, how);
    return 0;
}

static int sim_io_cancel(struct weir_io *io, uint64_t token)
{
    int error = fail(of(io)->sim);
    if (error)
        return error;
    start(of(io), NULL, WEIR_IO_ACCEPT, token, 0);
    return 0;
}

static void sim_io_close(struct weir_io *io, int fd)
{
    struct sim_sock *sock = sock_of(io, fd);
    /* close() cancels nothing: wait for the last event of each. Not where the ring is about to end. */
    WEIR_CHECK(sock->in_flight == 0 || of(io)->is_dead);
    sim_sock_close(sock);
}

static bool sim_io_peer_addr(struct weir_io *io, int fd, struct weir_addr *ret_addr)
{
    const struct sim_sock *sock = sock_of(io, fd);
    if (sock->state != SIM_CONNECTED || sock->is_reset)
        return false;
    *ret_addr = sock->addr;
    return true;
}

/* ---- the turn ------------------------------------------------------------------------------ */

static void cancel(struct sim_io *io, uint64_t token)
{
    struct sim_sock **socks = io->sim->socks.items;
    for (size_t i = 0; i < io->sim->socks.cnt; i++) {
        struct sim_sock *sock = socks[i];
        if (sock == NULL || sock->io != io)
            continue;
        struct sim_op *op = &sock->ops[WEIR_IO_ACCEPT];
        if (op->is_armed && op->token == token) {
            op->is_armed = false;
            sim_post(sock, &(struct weir_io_event){
                               .token = token, .res = -ECANCELED, .kind = WEIR_IO_ACCEPT});
        }
    }
}

static void buf_ready(struct sim_io *io, uint32_t buf_idx)
{
    io->ready_bufs[(io->ready_head + io->ready_cnt++) % io->cfg.recv_buf_cnt] = buf_idx;
}

static void submit_one(struct sim_io *io, const struct sim_start *started)
{
    struct weir_sim *sim = io->sim;
    if (started->sock == NULL) {
        cancel(io, started->token);
        return;
    }
    if (started->kind == WEIR_IO_SHUTDOWN) {
        int res = sim_shut(started->sock, started->how);
        sim_agenda_add(sim, &io->agenda,
                       (struct sim_entry){
                           .due_ns = sim->now_ns + weir_sim_random(sim, sim->cfg.delay_max_ns + 1),
                           .sock = started->sock,
                           .gen = started->gen,
                           .kind = WEIR_IO_SHUTDOWN,
                           .res = res,
                           .token = started->token,
                       });
        return;
    }
    started->sock->ops[started->kind].is_armed = true;
    if (io->is_dead)
        sim_end_op(started->sock, started->kind, -ECANCELED);
    else
        sim_list_op(started->sock, started->kind,
                    started->kind == WEIR_IO_CONNECT ? 2 * sim->cfg.latency_ns : 0);
}

/* The kernel takes what was started, in order, and sometimes not all of it in one enter. */
static void submit(struct sim_io *io)
{
    struct sim_start *starts = io->starts.items;
    size_t cnt = io->starts.cnt;
    if (cnt > 1 && !io->is_dead && sim_is_chance(io->sim, io->sim->cfg.submit_part_ppm))
        cnt = 1 + (size_t)weir_sim_random(io->sim, cnt - 1);
    for (size_t i = 0; i < cnt; i++)
        submit_one(io, &starts[i]);
    io->starts.cnt -= cnt;
    if (io->starts.cnt > 0)
        memmove(starts, starts + cnt, io->starts.cnt * sizeof(*starts));

    for (uint32_t i = 0; i < io->returned_cnt; i++)
        buf_ready(io, io->returned_bufs[i]);
    io->returned_cnt = 0;
}

/* Lets operations act whose time has come, as long as there is room for events. */
static void run(struct sim_io *io, uint32_t event_max)
{
    bool is_flood = sim_is_chance(io->sim, io->sim->cfg.flood_ppm);
    struct sim_entry entry;
    while ((is_flood || io->events.cnt - io->event_head < event_max) &&
           sim_agenda_pop(&io->agenda, io->is_dead ? WEIR_NS_FOREVER : io->sim->now_ns, &entry)) {
        if (entry.sock->gen != entry.gen)
            continue; /* of a socket that was closed since */
        if (entry.kind == WEIR_IO_SHUTDOWN)
            sim_post(entry.sock, &(struct weir_io_event){.token = entry.token,
                                                         .res = entry.res,
                                                         .kind = WEIR_IO_SHUTDOWN});
        else
            sim_act(entry.sock, entry.kind);
    }
}

static uint32_t deliver(struct sim_io *io, struct weir_io_event *ret_events, uint32_t event_max)
{
    const struct sim_event *events = io->events.items;
    uint32_t cnt = 0;
    while (cnt < event_max && io->event_head < io->events.cnt) {
        const struct sim_event *posted = &events[io->event_head++];
        const struct weir_io_event *event = &posted->event;
        WEIR_CHECK(posted->sock->gen == posted->gen);
        if (!(event->flags & WEIR_IO_MORE)) {
            WEIR_CHECK(posted->sock->in_flight > 0);
            posted->sock->in_flight--;
            if (event->kind != WEIR_IO_SHUTDOWN)
                posted->sock->ops[event->kind].is_started = false;
        }
        uint64_t *digest = &io->sim->digest;
        *digest = (*digest ^ event->token) * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)event->res;
        *digest ^= io->sim->now_ns ^ (uint64_t)event->kind << 56 ^ (uint64_t)event->flags << 48;
        *digest = sim_random(digest);
        ret_events[cnt++] = *event;
    }
    io->events.cnt -= io->event_head;
    if (io->events.cnt > 0)
        memmove(io->events.items, (struct sim_event *)io->events.items + io->event_head,
                io->events.cnt * sizeof(struct sim_event));
    io->event_head = 0;
    io->stats.completions += cnt;
    return cnt;
}

/* A full completion queue, with a kernel that takes nothing more then. */
static bool is_overflown(const struct sim_io *io)
{
    return io->sim->cfg.is_busy_on_overflow && io->events.cnt >= io->cfg.cq_cnt;
}

/* When the driver must come back at the latest. */
static void set_deadline(struct sim_io *io, uint64_t wait_ns)
{
    io->deadline_ns =
        wait_ns > WEIR_NS_FOREVER - io->now_ns ? WEIR_NS_FOREVER : io->now_ns + wait_ns;
}

static int64_t sim_io_turn(struct weir_io *io, struct weir_io_event *ret_events, uint32_t event_max,
                           uint64_t wait_ns)
{
    struct sim_io *s = of(io);
    WEIR_CHECK(s->is_enabled);
    s->now_ns = s->sim->now_ns;
    s->stats.syscalls++;
    sim_net_run(s->sim);
    bool is_woken = atomic_exchange(&s->is_woken, false);
    uint32_t cnt = 0;
    if (s->is_dead || !sim_is_chance(s->sim, s->sim->cfg.turn_empty_ppm)) {
        if (!is_overflown(s))
            submit(s);
        run(s, event_max);
        cnt = deliver(s, ret_events, event_max);
    } else {
        is_woken = true; /* it has not slept, and comes again at once */
    }
    if (s->sim->is_driven && ++s->turn_cnt > 1 && cnt == 0 && wait_ns != WEIR_NS_FOREVER)
        weir_sim_advance(s->sim, wait_ns);
    set_deadline(s, cnt > 0 || is_woken ? 0 : wait_ns);
    s->is_asleep = false;
    return cnt;
}

bool weir_sim_io_sleeps(struct weir_io *io, uint64_t wait_ns)
{
    struct sim_io *s = of(io);
    s->now_ns = s->sim->now_ns;
    sim_net_run(s->sim);
    bool is_late = s->is_asleep && s->deadline_ns <= s->now_ns;
    if (is_late || s->is_dead || atomic_load(&s->is_woken) ||
        sim_is_chance(s->sim, s->sim->cfg.turn_empty_ppm))
        return false;
    if (!is_overflown(s))
        submit(s);
    run(s, 1);
    if (s->events.cnt > 0 || s->starts.cnt > 0)
        return false;
    if (!s->is_asleep)
        set_deadline(s, wait_ns);
    s->is_asleep = true;
    return true;
}

static void sim_io_wake(struct weir_io *io)
{
    atomic_store(&of(io)->is_woken, true);
    sim_touch(of(io));
}

static uint64_t sim_io_now(struct weir_io *io)
{
    return of(io)->now_ns;
}

static void sim_io_random(struct weir_io *io, void *ret_bytes, size_t len)
{
    uint8_t *bytes = ret_bytes;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(sim_random(&of(io)->rng) >> 32);
}

static void sim_io_stats(const struct weir_io *io, struct weir_io_stats *ret_stats)
{
    *ret_stats = ((const struct sim_io *)(const void *)io)->stats;
}

/* ---- making and freeing -------------------------------------------------------------------- */

/* The end of a process: sockets that are left are closed, whatever is in flight on them. */
static void sim_io_free(struct weir_io *io)
{
    if (io == NULL)
        return;
    struct sim_io *s = of(io);
    for (size_t i = 0; i < s->sim->socks.cnt; i++) {
        struct sim_sock *sock = ((struct sim_sock **)s->sim->socks.items)[i];
        if (sock && sock->io == s)
            sim_sock_close(sock);
    }
    while (s->socks) /* who would be left here is nobody's */
        sim_sock_move(s->socks, NULL);
    for (size_t i = 0; i < s->sim->touched.cnt && s->is_touched; i++) {
        struct sim_io **touched = s->sim->touched.items;
        if (touched[i] != s)
            continue;
        touched[i] = touched[--s->sim->touched.cnt];
        break;
    }
    for (struct sim_io **link = &s->sim->ios; *link; link = &(*link)->next) {
        if (*link == s) {
            *link = s->next;
            break;
        }
    }
    free(s->agenda.items);
    free(s->starts.items);
    free(s->events.items);
    free(s->ready_bufs);
    free(s->returned_bufs);
    free(s->bufs);
    free(s->is_lent);
    free(s->lent_lens);
    free(s);
}

static const struct weir_io_ops sim_ops = {
    .enable = sim_io_enable,
    .free = sim_io_free,
    .listen = sim_io_listen,
    .accept = sim_io_accept,
    .connect = sim_io_connect,
    .tune = sim_io_tune,
    .bound_unsent = sim_io_bound_unsent,
    .bound_unread = sim_io_bound_unread,
    .recv = sim_io_recv,
    .recv_done = sim_io_recv_done,
    .send = sim_io_send,
    .shutdown = sim_io_shutdown,
    .cancel = sim_io_cancel,
    .close = sim_io_close,
    .peer_addr = sim_io_peer_addr,
    .turn = sim_io_turn,
    .wake = sim_io_wake,
    .now = sim_io_now,
    .random = sim_io_random,
    .stats = sim_io_stats,
};

int weir_sim_io_create(struct weir_sim *sim, uint32_t host, const struct weir_io_config *cfg,
                       struct weir_io **ret_io)
{
    if (host == 0 || host > UINT16_MAX || cfg->cq_cnt == 0 || cfg->recv_buf_bytes == 0 ||
        cfg->recv_buf_cnt == 0 || (cfg->recv_buf_cnt & (cfg->recv_buf_cnt - 1)) != 0)
        return WEIR_E_CONFIG;
    struct sim_io *io = calloc(1, sizeof(*io));
    if (io == NULL)
        return WEIR_E_NOMEM;
    io->bufs = malloc((size_t)cfg->recv_buf_cnt * cfg->recv_buf_bytes);
    io->is_lent = calloc(cfg->recv_buf_cnt, 1);
    io->lent_lens = calloc(cfg->recv_buf_cnt, sizeof(*io->lent_lens));
    io->ready_bufs = calloc(cfg->recv_buf_cnt, sizeof(*io->ready_bufs));
    io->returned_bufs = calloc(cfg->recv_buf_cnt, sizeof(*io->returned_bufs));
    if (io->bufs == NULL || io->is_lent == NULL || io->lent_lens == NULL ||
        io->ready_bufs == NULL || io->returned_bufs == NULL) {
        free(io->bufs);
        free(io->is_lent);
        free(io->lent_lens);
        free(io->ready_bufs);
        free(io->returned_bufs);
        free(io);
        return WEIR_E_NOMEM;
    }
    sim_host_power(sim, host, true);
    io->io.ops = &sim_ops;
    io->sim = sim;
    io->cfg = *cfg;
    io->host = host;
    io->rng = sim_random(&sim->rng);
    io->now_ns = io->deadline_ns = sim->now_ns;
    for (uint32_t i = 0; i < cfg->recv_buf_cnt; i++)
        buf_ready(io, i);
    struct sim_io **link = &sim->ios; /* at the end: in the order they were made */
    while (*link)
        link = &(*link)->next;
    *link = io;
    *ret_io = &io->io;
    return 0;
}
