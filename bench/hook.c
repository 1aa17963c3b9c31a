#include "bench/hook.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of the process, as socket() has no place for anything else. */
static struct {
    _Atomic(const struct bench_job *) job; /* NULL: not begun. Release, pairs with socket() */
    _Atomic uint32_t cnt;                  /* sockets that have the settings */
    _Atomic int error;                     /* errno of the first that does not; 0: none */
} hook;

void bench_hook_begin(const struct bench_job *job)
{
    atomic_store_explicit(&hook.job, job, memory_order_release);
}

/* Returns 0 or errno. */
static int apply(const struct bench_job *job, int sock)
{
    const int recv_buffer = (int)job->recv_buffer;

    if (recv_buffer != 0 &&
        setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &recv_buffer, sizeof(recv_buffer)) != 0)
        return errno;
    if (job->congestion != NULL && setsockopt(sock, IPPROTO_TCP, TCP_CONGESTION, job->congestion,
                                              (socklen_t)strlen(job->congestion)) != 0)
        return errno;
    return 0;
}

/* Exported, although everything else here is hidden: the libraries are to find it. */
__attribute__((visibility("default"))) int socket(int domain, int type, int protocol)
{
    const int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
    int sock = (int)syscall(SYS_socket, domain, type, protocol);
    const struct bench_job *job = atomic_load_explicit(&hook.job, memory_order_acquire);

    if (sock < 0 || job == NULL || kind != SOCK_STREAM || (domain != AF_INET && domain != AF_INET6))
        return sock;
    int before = errno;
    int error = apply(job, sock);
    if (error == 0)
        atomic_fetch_add(&hook.cnt, 1);
    else if (atomic_load(&hook.error) == 0)
        atomic_store(&hook.error, error);
    errno = before;
    return sock;
}

bool bench_hook_check(struct bench_run *run)
{
    int error = atomic_load(&hook.error);

    if (error == 0 && atomic_load(&hook.cnt) != 0)
        return true;
    bench_fail(run, BENCH_E_ENVIRONMENT, "the library's sockets did not get their settings: %s",
               error != 0 ? strerror(error) : "they are not made by socket()");
    return false;
}
