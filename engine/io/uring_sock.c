/* engine/io/uring_sock.c: what is done to sockets by ordinary system calls, outside of the data path. */
#include "engine/io/uring_ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir/error.h"

#define LISTEN_BACKLOG 4096 /* the kernel cuts it to net.core.somaxconn */

int weir_uring_socket_error(int err)
{
    switch (err) {
    case EADDRINUSE:
        return WEIR_E_IN_USE;
    case EACCES:
    case EPERM:
    case EROFS:
        return WEIR_E_ACCESS;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
    case EINVAL:
    case ENODEV:
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
        return WEIR_E_ADDRESS;
    case EMFILE:
    case ENFILE:
        return WEIR_E_DESCRIPTORS;
    case ENOMEM:
    case ENOBUFS:
        return WEIR_E_NOMEM;
    default:
        return WEIR_E_SYSTEM;
    }
}

/* ---- addresses ----------------------------------------------------------------------------- */

/* Returns the length, 0 for a family that is not one. */
static socklen_t any_of_addr(const struct weir_addr *addr, union weir_uring_address *ret_any)
{
    memset(ret_any, 0, sizeof(*ret_any));
    switch (addr->family) {
    case WEIR_ADDR_IPV4: {
        struct sockaddr_in *in = (struct sockaddr_in *)&ret_any->any;
        in->sin_family = AF_INET;
        in->sin_port = htons(addr->port);
        memcpy(&in->sin_addr, addr->ip, sizeof(in->sin_addr));
        return sizeof(*in);
    }
    case WEIR_ADDR_IPV6: {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ret_any->any;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(addr->port);
        in6->sin6_scope_id = addr->scope_id;
        memcpy(&in6->sin6_addr, addr->ip, sizeof(in6->sin6_addr));
        return sizeof(*in6);
    }
    case WEIR_ADDR_UNIX: {
        size_t len = strnlen(addr->path, WEIR_ADDR_PATH_BYTES);
        if (len == 0 || len == WEIR_ADDR_PATH_BYTES)
            return 0;
        ret_any->path.sun_family = AF_UNIX;
        memcpy(ret_any->path.sun_path, addr->path, len);
        if (addr->path[0] != '@')
            return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
        ret_any->path.sun_path[0] = 0; /* abstract: the length ends the name, not a NUL */
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    }
    default:
        return 0;
    }
}

/* A unix socket without a name (every dialing one) has an empty path. False for other families. */
static bool addr_of_any(const union weir_uring_address *any, socklen_t len,
                        struct weir_addr *ret_addr)
{
    struct weir_addr addr = {.family = WEIR_ADDR_NONE};
    if (any->any.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&any->any;
        addr.family = WEIR_ADDR_IPV4;
        addr.port = ntohs(in->sin_port);
        memcpy(addr.ip, &in->sin_addr, sizeof(in->sin_addr));
    } else if (any->any.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&any->any;
        addr.family = WEIR_ADDR_IPV6;
        addr.port = ntohs(in6->sin6_port);
        addr.scope_id = in6->sin6_scope_id;
        memcpy(addr.ip, &in6->sin6_addr, sizeof(in6->sin6_addr));
    } else if (any->any.ss_family == AF_UNIX) {
        size_t head = offsetof(struct sockaddr_un, sun_path);
        size_t path_len = len > head ? (size_t)len - head : 0;
        addr.family = WEIR_ADDR_UNIX;
        if (path_len > WEIR_ADDR_PATH_BYTES - 1)
            path_len = WEIR_ADDR_PATH_BYTES - 1;
        memcpy(addr.path, any->path.sun_path, path_len);
        if (path_len > 0 && addr.path[0] == 0)
            addr.path[0] = '@';
    } else {
        return false;
    }
    *ret_addr = addr;
    return true;
}

bool weir_uring_peer_addr(struct weir_io *io, int sock, struct weir_addr *ret_addr)
{
    struct weir_uring *u = weir_uring_of(io);
    for (uint32_t i = 0; i < u->came_cnt; i++) {
        if (u->came[i].sock == sock) {
            *ret_addr = u->came[i].addr;
            return true;
        }
    }
    union weir_uring_address any;
    socklen_t len = sizeof(any);
    u->stats.syscalls++;
    memset(&any, 0, sizeof(any));
    return getpeername(sock, (struct sockaddr *)&any, &len) == 0 &&
           addr_of_any(&any, len, ret_addr);
}

/* ---- options ------------------------------------------------------------------------------- */

#define NEAR_RTT_US 50u /* loopback: 4 to 15; the window is a bound of 2.6 GB/s at worst */

static void set_option(struct weir_uring *u, int sock, int level, int option, int value)
{
    /* Advice: TCP options on a unix socket fail, and nothing depends on the others. */
    (void)setsockopt(sock, level, option, &value, sizeof(value));
    u->stats.syscalls++;
}

/* Whether the peer is on this machine, by the TCP handshake's round trip. */
static bool is_near(struct weir_uring *u, int sock)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    u->stats.syscalls++;
    return getsockopt(sock, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           info.tcpi_state == TCP_ESTABLISHED && info.tcpi_rtt > 0 && info.tcpi_rtt < NEAR_RTT_US;
}

static void set_sizes(struct weir_uring *u, int sock)
{
    if (u->cfg.socket_recv_bytes)
        set_option(u, sock, SOL_SOCKET, SO_RCVBUF, (int)u->cfg.socket_recv_bytes);
    if (u->cfg.socket_send_bytes)
        set_option(u, sock, SOL_SOCKET, SO_SNDBUF, (int)u->cfg.socket_send_bytes);
}

/* Before listen and connect: the window scale is agreed in the SYN, from the buffer's size then; and what a
 * TCP listener has, the sockets it accepts have. (A congestion control that the route names goes before both.) */
static void set_options(struct weir_uring *u, int sock, sa_family_t family)
{
    set_sizes(u, sock);
    if (family == AF_UNIX)
        return;
    set_option(u, sock, IPPROTO_TCP, TCP_NODELAY, 1);
    if (u->cfg.tcp_congestion) {
        (void)setsockopt(sock, IPPROTO_TCP, TCP_CONGESTION, u->cfg.tcp_congestion,
                         (socklen_t)strlen(u->cfg.tcp_congestion));
        u->stats.syscalls++;
    }
}

void weir_uring_came(struct weir_uring *u, int sock, const struct weir_uring_accept *accept)
{
    struct weir_uring_came *came = &u->came[u->came_cnt];
    came->sock = sock;
    u->came_cnt += addr_of_any(&accept->any, accept->len, &came->addr);
    if (accept->any.any.ss_family == AF_UNIX) /* the kernel makes it with the system's sizes */
        set_sizes(u, sock);
}

void weir_uring_tune(struct weir_io *io, int sock)
{
    struct weir_uring *u = weir_uring_of(io);
    if (!u->cfg.socket_recv_bytes && u->cfg.near_recv_bytes && is_near(u, sock))
        set_option(u, sock, SOL_SOCKET, SO_RCVBUF, (int)u->cfg.near_recv_bytes);
}

void weir_uring_bound_unsent(struct weir_io *io, int sock, uint32_t bytes)
{
    /* 0 on the socket would mean the sysctl tcp_notsent_lowat, which is "no bound" unless somebody
     * changed it: -1 says so in any case. */
    set_option(weir_uring_of(io), sock, IPPROTO_TCP, TCP_NOTSENT_LOWAT, bytes ? (int)bytes : -1);
}

void weir_uring_bound_unread(struct weir_io *io, int sock, uint32_t step)
{
    struct weir_uring *u = weir_uring_of(io);
    const uint32_t wide = u->cfg.near_recv_bytes, narrow = u->cfg.near_recv_contended;
    WEIR_DCHECK(step <= WEIR_IO_UNREAD_STEPS);
    if (u->cfg.socket_recv_bytes || wide <= narrow || !narrow)
        return;
    /* A near socket is one whose size was set. Not known by the size itself: net.core.rmem_max may have cut it. */
    int locks = 0;
    socklen_t len = sizeof(locks);
    u->stats.syscalls++;
    if (getsockopt(sock, SOL_SOCKET, SO_BUF_LOCK, &locks, &len) != 0 || !(locks & SOCK_RCVBUF_LOCK))
        return;
    uint64_t less = (uint64_t)(wide - narrow) * step / WEIR_IO_UNREAD_STEPS;
    set_option(u, sock, SOL_SOCKET, SO_RCVBUF, (int)(wide - less));
}

bool weir_uring_has_congestion(const char *name)
{
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return true; /* a shortage, or a machine without IPv4: not this name's fault */
    int rc = setsockopt(sock, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name));
    close(sock);
    return rc == 0;
}

int weir_uring_socket(struct weir_uring *u, const struct weir_addr *addr,
                      union weir_uring_address *ret_any, socklen_t *ret_len)
{
    *ret_len = any_of_addr(addr, ret_any);
    if (*ret_len == 0)
        return WEIR_E_ADDRESS;
    int sock = socket(ret_any->any.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    u->stats.syscalls++;
    if (sock < 0)
        return weir_uring_socket_error(errno);
    set_options(u, sock, ret_any->any.ss_family);
    return sock;
}

/* ---- listeners ----------------------------------------------------------------------------- */

/* Makes room for a unix listener where a file is in the way: 0 when it was a socket that nobody
 * listens on (it is removed), otherwise WEIR_E_IN_USE. Never removes anything but such a socket. */
static int remove_stale(const union weir_uring_address *any, socklen_t any_len)
{
    struct stat st;
    if (any->path.sun_path[0] == 0)
        return WEIR_E_IN_USE; /* abstract names vanish with their socket: never stale */
    if (lstat(any->path.sun_path, &st) != 0)
        return errno == ENOENT ? 0 : WEIR_E_IN_USE;
    if (!S_ISSOCK(st.st_mode))
        return WEIR_E_IN_USE;
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock < 0)
        return weir_uring_socket_error(errno);
    int rc = connect(sock, (const struct sockaddr *)any, any_len);
    int err = errno;
    close(sock);
    if (rc == 0 || err != ECONNREFUSED)
        return WEIR_E_IN_USE;
    return unlink(any->path.sun_path) == 0 || errno == ENOENT ? 0 : weir_uring_socket_error(errno);
}

static int bind_unix(int sock, const union weir_uring_address *any, socklen_t any_len)
{
    if (bind(sock, (const struct sockaddr *)any, any_len) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return weir_uring_socket_error(errno);
    int error = remove_stale(any, any_len);
    if (error)
        return error;
    return bind(sock, (const struct sockaddr *)any, any_len) == 0 ? 0
                                                                  : weir_uring_socket_error(errno);
}

/* With `is_shared` the socket may join others at the address. Without it the bind is exclusive, but
 * joining is allowed from then on: so the first shard's listener finds out whether another program has
 * the port (two nodes of one user would otherwise share it unnoticed), and the other shards join. */
static int bind_tcp(int sock, const union weir_uring_address *any, socklen_t any_len,
                    bool is_shared)
{
    const int one = 1;
    if (setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0)
        return weir_uring_socket_error(errno);
    if (any->any.ss_family == AF_INET6 &&
        setsockopt(sock, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) != 0)
        return weir_uring_socket_error(errno);
    if (is_shared && setsockopt(sock, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0)
        return weir_uring_socket_error(errno);
    if (bind(sock, (const struct sockaddr *)any, any_len) != 0)
        return weir_uring_socket_error(errno);
    if (!is_shared && setsockopt(sock, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0)
        return weir_uring_socket_error(errno);
    return 0;
}

int weir_uring_listen(struct weir_io *io, const struct weir_addr *addr, bool is_shared,
                      struct weir_addr *ret_addr)
{
    struct weir_uring *u = weir_uring_of(io);
    if (u->listener_cnt == WEIR_URING_LISTENERS_MAX)
        return WEIR_E_LIMIT;

    union weir_uring_address any;
    socklen_t any_len = 0;
    int sock = weir_uring_socket(u, addr, &any, &any_len);
    if (sock < 0)
        return sock;

    struct weir_uring_listener listener = {.sock = sock};
    bool is_unix = any.any.ss_family == AF_UNIX;
    int error = is_unix ? bind_unix(sock, &any, any_len) : bind_tcp(sock, &any, any_len, is_shared);
    if (error)
        goto out;
    if (is_unix && any.path.sun_path[0]) {
        struct stat st;
        memcpy(listener.path, any.path.sun_path, sizeof(listener.path));
        if (lstat(listener.path, &st) == 0) {
            listener.dev = st.st_dev;
            listener.ino = st.st_ino;
        }
    }
    if (listen(sock, LISTEN_BACKLOG) != 0) {
        error = weir_uring_socket_error(errno);
        if (listener.path[0])
            unlink(listener.path); /* made three lines ago */
        goto out;
    }
    any_len = sizeof(any);
    if (getsockname(sock, (struct sockaddr *)&any, &any_len) != 0 ||
        !addr_of_any(&any, any_len, ret_addr))
        *ret_addr = *addr;
    u->listeners[u->listener_cnt++] = listener;
    return sock;
out:
    close(sock);
    return error;
}

void weir_uring_close(struct weir_io *io, int sock)
{
    struct weir_uring *u = weir_uring_of(io);
    for (uint32_t i = 0; i < u->came_cnt; i++) {
        if (u->came[i].sock == sock)
            u->came[i].sock = -1; /* another's from now on */
    }
    for (uint32_t i = 0; i < u->listener_cnt; i++) {
        struct weir_uring_listener *listener = &u->listeners[i];
        if (listener->sock != sock)
            continue;
        struct stat st;
        if (listener->path[0] && lstat(listener->path, &st) == 0 && st.st_dev == listener->dev &&
            st.st_ino == listener->ino)
            unlink(listener->path);
        *listener = u->listeners[--u->listener_cnt];
        break;
    }
    /* Every operation on it has ended (the caller's rule): this is the last reference, and the number
     * may be given to the next socket at once. IORING_OP_CLOSE would save this call, at the price of
     * numbers that come back a turn later, while accept may be out of them. */
    close(sock);
    u->stats.syscalls++;
}
