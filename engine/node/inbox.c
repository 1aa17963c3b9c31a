#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/node/request_impl.h"

struct weir_inbox {
    _Atomic uint32_t refs; /* the user's and each ask's */
    pthread_mutex_t mutex; /* all below */
    pthread_cond_t cond;
    struct weir_inbox_item *head, *tail;
    int fd;         /* -1: nobody asked for it */
    bool is_closed; /* the user is gone: what comes is dropped */
};

int weir_inbox_create(weir_inbox **ret_inbox)
{
    if (!ret_inbox)
        return WEIR_E_MISUSE;
    weir_inbox *inbox = weir_heap_alloc(NULL, sizeof(*inbox));
    if (!inbox)
        return WEIR_E_NOMEM;
    atomic_init(&inbox->refs, 1);
    inbox->fd = -1;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&inbox->mutex, NULL);
    pthread_cond_init(&inbox->cond, &attr);
    pthread_condattr_destroy(&attr);
    *ret_inbox = inbox;
    return 0;
}

weir_inbox *weir_inbox_ref(weir_inbox *inbox)
{
    atomic_fetch_add_explicit(&inbox->refs, 1, memory_order_relaxed);
    return inbox;
}

void weir_inbox_unref(weir_inbox *inbox)
{
    if (!inbox || atomic_fetch_sub_explicit(&inbox->refs, 1, memory_order_acq_rel) != 1)
        return;
    WEIR_CHECK(inbox->head == NULL);
    pthread_cond_destroy(&inbox->cond);
    pthread_mutex_destroy(&inbox->mutex);
    weir_heap_release(inbox);
}

static void item_free(struct weir_inbox_item *item)
{
    if (item->ask)
        request_ask_unref(item->ask);
    weir_heap_release(item);
}

void weir_inbox_free(weir_inbox *inbox)
{
    if (!inbox)
        return;
    pthread_mutex_lock(&inbox->mutex);
    struct weir_inbox_item *item = inbox->head;
    inbox->head = inbox->tail = NULL;
    inbox->is_closed = true;
    if (inbox->fd >= 0)
        close(inbox->fd);
    inbox->fd = -1;
    pthread_mutex_unlock(&inbox->mutex);
    while (item) { /* outside of the lock: an ask's last reference is one of the inbox */
        struct weir_inbox_item *next = item->next;
        item_free(item);
        item = next;
    }
    weir_inbox_unref(inbox);
}

struct weir_inbox_item *weir_inbox_item_create(uint32_t len)
{
    struct weir_inbox_item *item = weir_heap_alloc_raw(NULL, sizeof(*item) + len);
    if (item)
        memset(item, 0, sizeof(*item));
    return item;
}

void weir_inbox_put(weir_inbox *inbox, struct weir_inbox_item *take)
{
    take->next = NULL;
    pthread_mutex_lock(&inbox->mutex);
    bool is_closed = inbox->is_closed;
    if (!is_closed) {
        bool was_empty = inbox->head == NULL;
        if (was_empty)
            inbox->head = take;
        else
            inbox->tail->next = take;
        inbox->tail = take;
        if (was_empty && inbox->fd >= 0)
            (void)!write(inbox->fd, &(uint64_t){1}, sizeof(uint64_t)); /* the counter is at 0 */
        pthread_cond_signal(&inbox->cond);
    }
    pthread_mutex_unlock(&inbox->mutex);
    if (is_closed)
        item_free(take);
}

const struct weir_answer *weir_inbox_take(weir_inbox *inbox, weir_ns timeout)
{
    if (!inbox)
        return NULL;
    weir_ns until = 0;
    struct timespec deadline = {0};
    int waited = 0;
    pthread_mutex_lock(&inbox->mutex);
    while (!inbox->head && timeout && !waited) {
        if (!until) {
            until = weir_now() + (timeout > UINT64_MAX / 4 ? UINT64_MAX / 4 : timeout);
            deadline = (struct timespec){.tv_sec = (time_t)(until / WEIR_NS_PER_S),
                                         .tv_nsec = (long)(until % WEIR_NS_PER_S)};
        }
        waited = pthread_cond_timedwait(&inbox->cond, &inbox->mutex, &deadline);
    }
    struct weir_inbox_item *item = inbox->head;
    if (item) {
        inbox->head = item->next;
        if (!inbox->head) {
            inbox->tail = NULL;
            if (inbox->fd >= 0)
                (void)!read(inbox->fd, &(uint64_t){0}, sizeof(uint64_t));
        }
    }
    pthread_mutex_unlock(&inbox->mutex);
    return item ? &item->answer : NULL;
}

void weir_inbox_release(weir_inbox *inbox, const struct weir_answer *answer)
{
    if (!inbox || !answer)
        return;
    struct weir_inbox_item *item = (struct weir_inbox_item *)(uintptr_t)answer;
    if (item->ask && answer->kind == WEIR_ANSWER_PART && !answer->is_final)
        request_ask_consumed(item->ask, answer->len);
    item_free(item);
}

int weir_inbox_fd(weir_inbox *inbox)
{
    if (!inbox)
        return WEIR_E_MISUSE;
    pthread_mutex_lock(&inbox->mutex);
    if (inbox->fd < 0)
        inbox->fd = eventfd(inbox->head ? 1 : 0, EFD_CLOEXEC | EFD_NONBLOCK);
    int fd = inbox->fd;
    pthread_mutex_unlock(&inbox->mutex);
    return fd >= 0 ? fd : WEIR_E_DESCRIPTORS;
}
