/* engine/sim/sim_raw.c: sockets that tests hold in their hands: peers that are no io. */
#include "engine/sim/sim_impl.h"

#include <errno.h>

static struct sim_sock *raw_of(struct weir_sim *sim, int fd)
{
    struct sim_sock *sock = sim_sock_of(sim, fd);
    WEIR_CHECK(sock != NULL && sock->io == NULL);
    return sock;
}

int weir_sim_raw_dial(struct weir_sim *sim, const struct weir_addr *addr,
                      const struct weir_addr *from)
{
    struct sim_sock *listener = sim_find_listener(sim, addr, 0);
    if (listener == NULL || listener->backlog_cnt >= SIM_BACKLOG_MAX)
        return -ECONNREFUSED;
    struct weir_addr source = {.family = addr->family, .ip = {192, 0, 2, 1}};
    if (addr->family != WEIR_ADDR_UNIX)
        source.port = sim_port(sim);
    struct sim_sock *sock = sim_sock_make(sim, NULL);
    int rc = sim_sock_open(sock);
    if (rc != 0) {
        sim_sock_free(sock);
        return rc;
    }
    sock->addr = *addr;
    sim_join(listener, sock, from ? from : &source);
    return sock->fd;
}

int weir_sim_raw_listen(struct weir_sim *sim, const struct weir_addr *addr,
                        struct weir_addr *ret_addr)
{
    WEIR_CHECK(!sim_is_wildcard(addr)); /* a raw socket is on no host */
    if (addr->port && sim_is_taken(sim, addr, 0))
        return -EADDRINUSE;
    struct sim_sock *sock = sim_sock_make(sim, NULL);
    int rc = sim_sock_open(sock);
    if (rc != 0) {
        sim_sock_free(sock);
        return rc;
    }
    sock->state = SIM_LISTENING;
    sock->addr = *addr;
    if (addr->family != WEIR_ADDR_UNIX && addr->port == 0)
        sock->addr.port = sim_port(sim);
    if (ret_addr)
        *ret_addr = sock->addr;
    return sock->fd;
}

int weir_sim_raw_accept(struct weir_sim *sim, int listener)
{
    struct sim_sock *from = raw_of(sim, listener);
    if (from->backlog == NULL)
        return -EAGAIN;
    int rc = sim_sock_open(from->backlog);
    return rc == 0 ? sim_backlog_pop(from)->fd : rc;
}

int64_t weir_sim_raw_write(struct weir_sim *sim, int fd, const void *bytes, size_t len)
{
    struct sim_sock *sock = raw_of(sim, fd);
    if (sock->is_reset)
        return -ECONNRESET;
    if (sock->is_shut_wr || sock->peer == NULL)
        return -EPIPE;
    return (int64_t)sim_write(sock, bytes, len);
}

int64_t weir_sim_raw_read(struct weir_sim *sim, int fd, void *ret_bytes, size_t len)
{
    struct sim_sock *sock = raw_of(sim, fd);
    if (sock->is_reset)
        return -ECONNRESET;
    if (sock->arrived_len == 0)
        return sock->is_fin ? 0 : -EAGAIN;
    return (int64_t)sim_read(sock, ret_bytes, len);
}

void weir_sim_raw_shutdown(struct weir_sim *sim, int fd, int how)
{
    (void)sim_shut(raw_of(sim, fd), how);
}

void weir_sim_raw_close(struct weir_sim *sim, int fd)
{
    sim_sock_close(raw_of(sim, fd));
}
