#define _GNU_SOURCE
#include "engine/peers/resolver.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "engine/mem/heap.h"
#include "weir/base.h"
#include "weir/error.h"

/* ---- the system's lookup ------------------------------------------------------------------- */

uint16_t weir_lookup_reason(int gai_error)
{
    switch (gai_error) {
    case EAI_NONAME:
        return WEIR_R_NAME_NOT_FOUND;
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        return WEIR_R_NAME_NO_ADDRESS;
    default: /* EAI_AGAIN, EAI_FAIL (a server that fails), EAI_MEMORY, EAI_SYSTEM: not for ever */
        return WEIR_R_NAME_TEMPORARY;
    }
}

static bool addr_of(struct weir_addr *ret_addr, const struct addrinfo *info, uint16_t port)
{
    *ret_addr = (struct weir_addr){.port = port};
    if (info->ai_family == AF_INET && info->ai_addrlen >= sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)info->ai_addr;
        ret_addr->family = WEIR_ADDR_IPV4;
        memcpy(ret_addr->ip, &in->sin_addr, 4);
        return true;
    }
    if (info->ai_family == AF_INET6 && info->ai_addrlen >= sizeof(struct sockaddr_in6)) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)info->ai_addr;
        ret_addr->family = WEIR_ADDR_IPV6;
        memcpy(ret_addr->ip, &in->sin6_addr, 16);
        ret_addr->scope_id = in->sin6_scope_id;
        return true;
    }
    return false;
}

uint16_t weir_lookup_system(void *ctx, const char *name, uint16_t port, struct weir_addr *ret_addrs,
                            uint32_t addr_max, uint32_t *ret_addr_cnt)
{
    (void)ctx;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *infos = NULL;
    int error = getaddrinfo(name, NULL, &hints, &infos);
    if (error)
        return weir_lookup_reason(error);
    uint32_t cnt = 0;
    for (const struct addrinfo *info = infos; info && cnt < addr_max; info = info->ai_next)
        cnt += addr_of(&ret_addrs[cnt], info, port);
    freeaddrinfo(infos);
    *ret_addr_cnt = cnt;
    return cnt ? 0 : WEIR_R_NAME_NO_ADDRESS;
}

uint32_t weir_addrs_interleave(struct weir_addr *addrs, uint32_t addr_cnt)
{
    struct weir_addr sorted[WEIR_RESOLVED_MAX];
    bool is_taken[WEIR_RESOLVED_MAX] = {false};
    uint32_t cnt = addr_cnt < WEIR_RESOLVED_MAX ? addr_cnt : WEIR_RESOLVED_MAX, sorted_cnt = 0;
    uint8_t family = cnt ? addrs[0].family : WEIR_ADDR_NONE;
    for (uint32_t round = 0; round < cnt; round++) {
        uint32_t pick = UINT32_MAX;
        for (uint32_t i = 0; i < cnt && (pick == UINT32_MAX || addrs[pick].family != family); i++) {
            if (!is_taken[i] && (pick == UINT32_MAX || addrs[i].family == family))
                pick = i;
        }
        is_taken[pick] = true;
        family = addrs[pick].family == WEIR_ADDR_IPV4 ? WEIR_ADDR_IPV6 : WEIR_ADDR_IPV4;
        bool is_known = false;
        for (uint32_t i = 0; i < sorted_cnt; i++)
            is_known |= weir_addr_is_equal(&sorted[i], &addrs[pick]);
        if (is_known) /* its family's turn is not used up */
            family = addrs[pick].family;
        else
            sorted[sorted_cnt++] = addrs[pick];
    }
    memcpy(addrs, sorted, sorted_cnt * sizeof(*addrs));
    return sorted_cnt;
}

/* ---- the thread ---------------------------------------------------------------------------- */

struct ask {
    struct ask *next;
    struct weir_question question;
    uint16_t port;
    char name[WEIR_NAME_LEN_MAX + 2];
};

/* Two references: the owner's and the thread's. */
struct weir_resolver {
    struct weir_resolver_config cfg;
    _Atomic uint32_t refs;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    pthread_t thread;
    bool has_thread;
    bool is_stopping, has_ended;
    uint64_t busy_until_ns; /* deadline of the question that is being looked up; 0: none */
    struct ask *head, **tail;
    uint32_t cnt;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * WEIR_NS_PER_S + (uint64_t)now.tv_nsec;
}

int weir_resolver_create(struct weir_resolver **ret_resolver,
                         const struct weir_resolver_config *cfg)
{
    struct weir_resolver *resolver = weir_heap_alloc(NULL, sizeof(*resolver));
    if (!resolver)
        return WEIR_E_NOMEM;
    resolver->cfg = *cfg;
    atomic_init(&resolver->refs, 1);
    pthread_mutex_init(&resolver->mutex, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&resolver->cond, &attr);
    pthread_condattr_destroy(&attr);
    resolver->tail = &resolver->head;
    *ret_resolver = resolver;
    return 0;
}

static void unref(struct weir_resolver *resolver)
{
    if (atomic_fetch_sub_explicit(&resolver->refs, 1, memory_order_acq_rel) != 1)
        return;
    pthread_cond_destroy(&resolver->cond);
    pthread_mutex_destroy(&resolver->mutex);
    weir_heap_release(resolver);
}

/* The mutex is held. */
static struct ask *take(struct weir_resolver *resolver)
{
    struct ask *ask = resolver->head;
    resolver->head = ask->next;
    if (!resolver->head)
        resolver->tail = &resolver->head;
    resolver->cnt--;
    return ask;
}

/* The mutex is held, and released while the name is looked up. */
static void answer(struct weir_resolver *resolver, const struct ask *ask)
{
    const struct weir_resolver_config *cfg = &resolver->cfg;
    resolver->busy_until_ns = ask->question.deadline_ns;
    pthread_mutex_unlock(&resolver->mutex);
    struct weir_addr addrs[WEIR_RESOLVED_MAX];
    uint32_t cnt = 0;
    uint16_t reason =
        cfg->lookup(cfg->lookup_ctx, ask->name, ask->port, addrs, WEIR_RESOLVED_MAX, &cnt);
    if (reason == 0)
        cnt = weir_addrs_interleave(addrs, cnt);
    if (reason == 0 && cnt == 0)
        reason = WEIR_R_NAME_NO_ADDRESS;
    pthread_mutex_lock(&resolver->mutex);
    resolver->busy_until_ns = 0;
    /* Under the mutex: who stops the resolver then knows that nothing is said afterwards. */
    if (!resolver->is_stopping)
        cfg->done(cfg->ctx, &ask->question, reason, addrs, reason ? 0 : cnt);
}

static void *run(void *arg)
{
    struct weir_resolver *resolver = arg;
    pthread_setname_np(pthread_self(), "weir-names");
    pthread_mutex_lock(&resolver->mutex);
    for (;;) {
        while (!resolver->head && !resolver->is_stopping)
            pthread_cond_wait(&resolver->cond, &resolver->mutex);
        if (resolver->is_stopping)
            break;
        struct ask *ask = take(resolver);
        if (now_ns() < ask->question.deadline_ns)
            answer(resolver, ask);
        weir_heap_release(ask);
    }
    resolver->has_ended = true;
    pthread_cond_broadcast(&resolver->cond); /* pairs with await_end */
    pthread_mutex_unlock(&resolver->mutex);
    unref(resolver);
    return NULL;
}

/* Signals are the application's: they must not choose this thread. The mutex is held. */
static int begin(struct weir_resolver *resolver)
{
    sigset_t all, before;
    sigfillset(&all);
    atomic_fetch_add_explicit(&resolver->refs, 1, memory_order_relaxed);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&resolver->thread, NULL, run, resolver);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        atomic_fetch_sub_explicit(&resolver->refs, 1, memory_order_relaxed);
        return WEIR_E_NOMEM;
    }
    resolver->has_thread = true;
    return 0;
}

int weir_resolver_ask(struct weir_resolver *resolver, const struct weir_question *question,
                      const char *name, uint16_t port)
{
    size_t len = strnlen(name, WEIR_NAME_LEN_MAX + 1);
    struct ask *ask = weir_heap_alloc(NULL, sizeof(*ask));
    if (!ask)
        return WEIR_E_NOMEM;
    ask->question = *question;
    ask->port = port;
    memcpy(ask->name, name, len);
    pthread_mutex_lock(&resolver->mutex);
    int error = resolver->cnt >= resolver->cfg.queue_max ? WEIR_E_FULL : 0;
    if (!error && !resolver->has_thread)
        error = begin(resolver);
    if (!error) {
        *resolver->tail = ask;
        resolver->tail = &ask->next;
        resolver->cnt++;
        pthread_cond_broadcast(&resolver->cond);
    }
    pthread_mutex_unlock(&resolver->mutex);
    if (error)
        weir_heap_release(ask);
    return error;
}

/* Waits for the thread to be at its end until `until_ns`; the mutex is held. */
static bool await_end(struct weir_resolver *resolver, uint64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / WEIR_NS_PER_S),
                             .tv_nsec = (long)(until_ns % WEIR_NS_PER_S)};
    int error = 0;
    while (!resolver->has_ended && !error)
        error = pthread_cond_timedwait(&resolver->cond, &resolver->mutex, &until);
    return resolver->has_ended;
}

void weir_resolver_free(struct weir_resolver *resolver)
{
    if (!resolver)
        return;
    pthread_mutex_lock(&resolver->mutex);
    resolver->is_stopping = true;
    while (resolver->head)
        weir_heap_release(take(resolver));
    pthread_cond_broadcast(&resolver->cond);
    bool has_thread = resolver->has_thread;
    bool is_stuck =
        has_thread && resolver->busy_until_ns && !await_end(resolver, resolver->busy_until_ns);
    pthread_mutex_unlock(&resolver->mutex);
    if (is_stuck)
        pthread_detach(resolver->thread);
    else if (has_thread)
        pthread_join(resolver->thread, NULL);
    unref(resolver);
}
