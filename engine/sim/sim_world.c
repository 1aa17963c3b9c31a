/* engine/sim/sim_world.c: the clock, the agendas, who listens where, and what tests call. */
#include "engine/sim/sim_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base.h"
#include "weir/error.h"

#define WINDOW_BYTES 65536u
#define SOCK_MAX 65536u
#define FIRST_FD 3 /* no socket is 0: a forgotten initialisation shows */
#define FIRST_PORT 40000

/* Out of memory in a test program is not a case worth simulating. */
void *sim_list_add(struct sim_list *list, size_t item_bytes)
{
    if (list->cnt == list->cap) {
        list->cap = list->cap ? 2 * list->cap : 16;
        list->items = realloc(list->items, list->cap * item_bytes);
        WEIR_CHECK(list->items != NULL);
    }
    return (uint8_t *)list->items + item_bytes * list->cnt++;
}

/* SplitMix64 (Steele, Lea and Flood, 2014). */
uint64_t sim_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

uint64_t weir_sim_random(struct weir_sim *sim, uint64_t bound)
{
    return bound ? sim_random(&sim->rng) % bound : 0;
}

bool sim_is_chance(struct weir_sim *sim, uint32_t ppm)
{
    return ppm != 0 && weir_sim_random(sim, 1000000) < ppm;
}

uint32_t sim_chunk(struct weir_sim *sim, uint64_t len, uint32_t chunk_max)
{
    uint64_t max = INT32_MAX;
    if (chunk_max)
        max = 1 + weir_sim_random(sim, chunk_max);
    return (uint32_t)weir_min_u64(len, max);
}

/* ---- agenda: a binary heap ----------------------------------------------------------------- */

static bool is_before(const struct sim_entry *a, const struct sim_entry *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->seq < b->seq;
}

void sim_agenda_add(struct weir_sim *sim, struct sim_list *agenda, struct sim_entry entry)
{
    entry.seq = sim->seq++;
    (void)sim_list_add(agenda, sizeof(entry));
    struct sim_entry *entries = agenda->items;
    size_t at = agenda->cnt - 1; /* a hole, which rises */
    for (; at > 0 && is_before(&entry, &entries[(at - 1) / 2]); at = (at - 1) / 2)
        entries[at] = entries[(at - 1) / 2];
    entries[at] = entry;
}

bool sim_agenda_pop(struct sim_list *agenda, uint64_t now_ns, struct sim_entry *ret_entry)
{
    struct sim_entry *entries = agenda->items;
    if (agenda->cnt == 0 || entries[0].due_ns > now_ns)
        return false;
    *ret_entry = entries[0];
    size_t cnt = --agenda->cnt, at = 0; /* a hole, which sinks to where the last one fits */
    const struct sim_entry *last = &entries[cnt];
    for (size_t child = 1; child < cnt; child = 2 * at + 1) {
        child += child + 1 < cnt && is_before(&entries[child + 1], &entries[child]);
        if (!is_before(&entries[child], last))
            break;
        entries[at] = entries[child];
        at = child;
    }
    entries[at] = *last;
    return true;
}

/* ---- sockets by number --------------------------------------------------------------------- */

struct sim_sock *sim_sock_of(struct weir_sim *sim, int fd)
{
    if (fd < FIRST_FD || (size_t)fd >= sim->socks.cnt)
        return NULL;
    return ((struct sim_sock **)sim->socks.items)[fd];
}

struct sim_sock *sim_sock_make(struct weir_sim *sim, struct sim_io *io)
{
    struct sim_sock *sock;
    if (sim->spare.cnt > 0) {
        sock = ((struct sim_sock **)sim->spare.items)[--sim->spare.cnt];
    } else {
        sock = calloc(1, sizeof(*sock));
        WEIR_CHECK(sock != NULL);
        *(struct sim_sock **)sim_list_add(&sim->every, sizeof(sock)) = sock;
    }
    uint64_t gen = sock->gen + 1;
    *sock = (struct sim_sock){.sim = sim, .gen = gen, .fd = -1, .state = SIM_FRESH};
    sock->host = io ? io->host : 0;
    sim_sock_move(sock, io);
    return sock;
}

void sim_sock_move(struct sim_sock *sock, struct sim_io *io)
{
    if (sock->io) {
        *sock->io_link = sock->io_next;
        if (sock->io_next)
            sock->io_next->io_link = sock->io_link;
    }
    sock->io = io;
    if (!io)
        return;
    sock->io_next = io->socks;
    sock->io_link = &io->socks;
    if (io->socks)
        io->socks->io_link = &sock->io_next;
    io->socks = sock;
}

/* The lowest free number, as the system does it: a stale number soon means another socket. */
int sim_sock_open(struct sim_sock *sock)
{
    struct weir_sim *sim = sock->sim;
    if (sim->sock_cnt >= sim->cfg.sock_max)
        return -EMFILE;
    size_t fd = FIRST_FD;
    while (fd < sim->socks.cnt && ((struct sim_sock **)sim->socks.items)[fd])
        fd++;
    while (sim->socks.cnt <= fd)
        *(struct sim_sock **)sim_list_add(&sim->socks, sizeof(sock)) = NULL;
    ((struct sim_sock **)sim->socks.items)[fd] = sock;
    sock->fd = (int)fd;
    sim->sock_cnt++;
    return 0;
}

void sim_sock_free(struct sim_sock *sock)
{
    struct weir_sim *sim = sock->sim;
    if (sock->fd >= 0) {
        ((struct sim_sock **)sim->socks.items)[sock->fd] = NULL;
        sim->sock_cnt--;
    }
    sim_sock_move(sock, NULL);
    free(sock->pipe);
    uint64_t gen = sock->gen + 1;
    *sock = (struct sim_sock){.sim = sim, .gen = gen, .fd = -1, .state = SIM_FREE};
    *(struct sim_sock **)sim_list_add(&sim->spare, sizeof(sock)) = sock;
}

/* ---- addresses ----------------------------------------------------------------------------- */

bool sim_is_wildcard(const struct weir_addr *addr)
{
    static const uint8_t none[16];
    return addr->family != WEIR_ADDR_UNIX && memcmp(addr->ip, none, 16) == 0;
}

static bool is_loopback(const struct weir_addr *addr)
{
    static const uint8_t one[16] = {[15] = 1};
    return addr->family == WEIR_ADDR_IPV4 ? addr->ip[0] == 127 : memcmp(addr->ip, one, 16) == 0;
}

void sim_host_addr(uint32_t host, uint8_t family, uint16_t port, struct weir_addr *ret_addr)
{
    *ret_addr = (struct weir_addr){.family = family, .port = port};
    if (family == WEIR_ADDR_IPV4) {
        ret_addr->ip[0] = 10;
        ret_addr->ip[2] = (uint8_t)(host >> 8);
        ret_addr->ip[3] = (uint8_t)host;
    } else if (family == WEIR_ADDR_IPV6) {
        ret_addr->ip[0] = 0xFD;
        ret_addr->ip[14] = (uint8_t)(host >> 8);
        ret_addr->ip[15] = (uint8_t)host;
    } else {
        ret_addr->port = 0;
    }
}

uint32_t sim_host_of(const struct weir_addr *addr)
{
    if (addr->family == WEIR_ADDR_IPV4 && addr->ip[0] == 10)
        return (uint32_t)addr->ip[2] << 8 | addr->ip[3];
    if (addr->family == WEIR_ADDR_IPV6 && addr->ip[0] == 0xFD)
        return (uint32_t)addr->ip[14] << 8 | addr->ip[15];
    return 0;
}

/* Whether a dial from `host` to `addr` reaches this listener. */
static bool is_reached(const struct sim_sock *listener, const struct weir_addr *addr, uint32_t host)
{
    if (weir_addr_is_equal(&listener->addr, addr))
        return !sim_is_wildcard(addr) || (listener->io && listener->io->host == host);
    if (!sim_is_wildcard(&listener->addr) || listener->addr.family != addr->family ||
        listener->addr.port != addr->port || listener->io == NULL)
        return false;
    if (is_loopback(addr))
        return listener->io->host == host;
    struct weir_addr own;
    sim_host_addr(listener->io->host, addr->family, addr->port, &own);
    return weir_addr_is_equal(&own, addr);
}

struct sim_sock *sim_find_listener(struct weir_sim *sim, const struct weir_addr *addr,
                                   uint32_t host)
{
    struct sim_sock *found = NULL, **socks = sim->socks.items;
    uint64_t cnt = 0;
    for (size_t i = 0; i < sim->socks.cnt; i++) {
        if (socks[i] && socks[i]->state == SIM_LISTENING && is_reached(socks[i], addr, host) &&
            weir_sim_random(sim, ++cnt) == 0)
            found = socks[i];
    }
    return found;
}

bool sim_is_taken(struct weir_sim *sim, const struct weir_addr *addr, uint32_t host)
{
    struct sim_sock **socks = sim->socks.items;
    for (size_t i = 0; i < sim->socks.cnt; i++) {
        if (socks[i] == NULL || socks[i]->state != SIM_LISTENING ||
            !weir_addr_is_equal(&socks[i]->addr, addr))
            continue;
        if (!sim_is_wildcard(addr) || (socks[i]->io && socks[i]->io->host == host))
            return true;
    }
    return false;
}

bool sim_is_hole(const struct weir_sim *sim, const struct weir_addr *addr)
{
    const struct weir_addr *holes = sim->holes.items;
    for (size_t i = 0; i < sim->holes.cnt; i++)
        if (weir_addr_is_equal(&holes[i], addr))
            return true;
    return false;
}

uint16_t sim_port(struct weir_sim *sim)
{
    if (sim->next_port < FIRST_PORT)
        sim->next_port = FIRST_PORT;
    return sim->next_port++;
}

/* ---- the world ----------------------------------------------------------------------------- */

int weir_sim_create(struct weir_sim **ret_sim, const struct weir_sim_config *cfg)
{
    struct weir_sim *sim = calloc(1, sizeof(*sim));
    if (sim == NULL)
        return WEIR_E_NOMEM;
    sim->cfg = *cfg;
    if (sim->cfg.window_bytes == 0)
        sim->cfg.window_bytes = WINDOW_BYTES;
    if (sim->cfg.sock_max == 0)
        sim->cfg.sock_max = SOCK_MAX;
    sim->now_ns = cfg->start_ns ? cfg->start_ns : WEIR_NS_PER_S;
    sim->rng = cfg->seed;
    *ret_sim = sim;
    return 0;
}

void weir_sim_configure(struct weir_sim *sim, const struct weir_sim_config *cfg)
{
    struct weir_sim_config old = sim->cfg;
    sim->cfg = *cfg;
    sim->cfg.seed = old.seed;
    sim->cfg.start_ns = old.start_ns;
    sim->cfg.window_bytes = old.window_bytes;
    if (sim->cfg.sock_max == 0)
        sim->cfg.sock_max = SOCK_MAX;
}

void weir_sim_free(struct weir_sim *sim)
{
    if (sim == NULL)
        return;
    WEIR_CHECK(sim->ios == NULL);
    struct sim_sock **every = sim->every.items;
    for (size_t i = 0; i < sim->every.cnt; i++) {
        free(every[i]->pipe);
        free(every[i]);
    }
    free(sim->every.items);
    free(sim->spare.items);
    free(sim->socks.items);
    free(sim->holes.items);
    free(sim->touched.items);
    sim_net_free(sim);
    free(sim);
}

uint64_t weir_sim_now(const struct weir_sim *sim)
{
    return sim->now_ns;
}

void weir_sim_advance_to(struct weir_sim *sim, uint64_t now_ns)
{
    while (weir_sim_net_due(sim) < now_ns) {
        sim->now_ns = weir_max_u64(sim->now_ns, weir_sim_net_due(sim));
        sim_net_run(sim);
    }
    sim->now_ns = weir_max_u64(sim->now_ns, now_ns);
    sim_net_run(sim);
}

void weir_sim_advance(struct weir_sim *sim, uint64_t ns)
{
    weir_sim_advance_to(sim, sim->now_ns + ns);
}

void sim_touch(struct sim_io *io)
{
    if (io->is_touched || !io->sim->is_driven)
        return;
    io->is_touched = true;
    *(struct sim_io **)sim_list_add(&io->sim->touched, sizeof(struct sim_io *)) = io;
}

bool weir_sim_step(struct weir_sim *sim)
{
    sim_net_run(sim);
    uint64_t next_ns = weir_sim_net_due(sim);
    for (const struct sim_io *io = sim->ios; io; io = io->next) {
        if (!io->is_enabled)
            continue;
        uint64_t due_ns = weir_sim_io_due(&io->io);
        if (due_ns <= sim->now_ns)
            return true;
        next_ns = weir_min_u64(next_ns, due_ns);
    }
    if (next_ns == WEIR_NS_FOREVER)
        return false;
    weir_sim_advance_to(sim, next_ns);
    return true;
}

uint64_t weir_sim_digest(const struct weir_sim *sim)
{
    return sim->digest;
}

uint32_t weir_sim_sock_cnt(const struct weir_sim *sim)
{
    return sim->sock_cnt;
}

void weir_sim_reset(struct weir_sim *sim, int fd)
{
    struct sim_sock *sock = sim_sock_of(sim, fd);
    WEIR_CHECK(sock != NULL);
    sim_break(sock);
}

int weir_sim_blackhole(struct weir_sim *sim, const struct weir_addr *addr, bool is_on)
{
    struct weir_addr *holes = sim->holes.items;
    for (size_t i = 0; i < sim->holes.cnt; i++) {
        if (weir_addr_is_equal(&holes[i], addr)) {
            if (!is_on)
                holes[i] = holes[--sim->holes.cnt];
            return 0;
        }
    }
    if (is_on)
        *(struct weir_addr *)sim_list_add(&sim->holes, sizeof(*addr)) = *addr;
    return 0;
}

uint64_t weir_sim_link(const struct weir_sim *sim, int fd, bool *ret_is_dialer)
{
    if (fd < FIRST_FD || (size_t)fd >= sim->socks.cnt)
        return 0;
    const struct sim_sock *sock = ((struct sim_sock *const *)sim->socks.items)[fd];
    if (sock == NULL)
        return 0;
    *ret_is_dialer = sock->is_dialer;
    return sock->link_id;
}

void weir_sim_set_watch(struct weir_sim *sim, weir_sim_watch watch, void *ctx)
{
    sim->watch = watch;
    sim->watch_ctx = ctx;
}

void weir_sim_set_tap(struct weir_sim *sim, weir_sim_tap tap, void *ctx)
{
    sim->tap = tap;
    sim->tap_ctx = ctx;
}

void weir_sim_fail_nth(struct weir_sim *sim, uint64_t n, int error)
{
    sim->fail_in = n;
    sim->fail_error = error;
}
