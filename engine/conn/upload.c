#include "engine/conn/upload.h"

#include "engine/base/check.h"
#include "engine/conn/conn.h"
#include "weir/error.h"

#define CALLS_FIRST 16u
#define CALLS_MAX 65536u

struct place { /* in the queue, by slot */
    struct place *next, *prev;
    uint32_t slot;
    bool is_queued, is_called;
};

struct weir_upload_queue {
    struct place *places;
    struct place *head, *tail;
    struct weir_timer timer; /* set while anybody waits */
    uint32_t call_cnt;       /* how many are called at once */
    bool has_met_debt;       /* one that was called found nothing left */
    bool has_yielded;        /* to another shard, and not sent since */
};

static struct place *place_of(const struct weir_conn *conn)
{
    return &conn->hub->upload_queue->places[conn->slot];
}

static uint64_t own_bit(const struct weir_hub *hub)
{
    return UINT64_C(1) << hub->shard;
}

/* ---- memory -------------------------------------------------------------------------------- */

int weir_upload_init(struct weir_hub *hub)
{
    if (!hub->upload)
        return 0;
    struct weir_upload_queue *queue = weir_heap_alloc(hub->heap, sizeof(*queue));
    if (!queue)
        return WEIR_E_NOMEM;
    hub->upload_queue = queue;
    queue->timer.kind = WEIR_TIMER_RATE;
    queue->timer.arg = WEIR_RATE_UPLOAD;
    queue->call_cnt = CALLS_FIRST;
    queue->places = weir_heap_alloc_table(hub->heap, hub->cfg->peers_max * sizeof(*queue->places));
    if (!queue->places)
        return WEIR_E_NOMEM;
    for (uint32_t i = 0; i < hub->cfg->peers_max; i++)
        queue->places[i].slot = i;
    return 0;
}

void weir_upload_free(struct weir_hub *hub)
{
    if (!hub->upload_queue)
        return;
    WEIR_CHECK(!hub->upload_queue->head);
    weir_wheel_cancel(hub->wheel, &hub->upload_queue->timer);
    struct weir_upload_queue *queue = hub->upload_queue;
    weir_heap_release_table(queue->places, hub->cfg->peers_max * sizeof(*queue->places));
    weir_heap_release(hub->upload_queue);
    hub->upload_queue = NULL;
}

/* ---- the queue ----------------------------------------------------------------------------- */

static uint64_t ready_ns(const struct weir_upload *upload)
{
    uint64_t paid_ns = atomic_load_explicit(&upload->paid_ns, memory_order_relaxed);
    return paid_ns > upload->burst_ns ? paid_ns - upload->burst_ns : 0;
}

/* The first whole millisecond after now in which there may be something to give. */
static void set_timer(struct weir_hub *hub)
{
    uint64_t due_ns = weir_max_u64(ready_ns(hub->upload), hub->now_ns + 1);
    due_ns = (due_ns + WEIR_NS_PER_MS - 1) / WEIR_NS_PER_MS * WEIR_NS_PER_MS;
    weir_wheel_set(hub->wheel, &hub->upload_queue->timer, due_ns);
}

static void join(struct weir_conn *conn)
{
    struct weir_hub *hub = conn->hub;
    struct weir_upload_queue *queue = hub->upload_queue;
    struct place *place = place_of(conn);
    place->is_queued = true;
    place->is_called = false;
    place->next = NULL;
    place->prev = queue->tail;
    if (queue->tail)
        queue->tail->next = place;
    else
        queue->head = place;
    queue->tail = place;
    if (queue->head != place)
        return;
    atomic_fetch_or_explicit(&hub->upload->waiting, own_bit(hub), memory_order_relaxed);
    if (!weir_timer_is_set(&queue->timer))
        set_timer(hub);
}

void weir_upload_leave(struct weir_conn *conn)
{
    struct weir_hub *hub = conn->hub;
    struct weir_upload_queue *queue = hub->upload_queue;
    struct place *place = place_of(conn);
    if (!place->is_queued)
        return;
    place->is_queued = place->is_called = false;
    if (place->prev)
        place->prev->next = place->next;
    else
        queue->head = place->next;
    if (place->next)
        place->next->prev = place->prev;
    else
        queue->tail = place->prev;
    if (!queue->head) /* the timer goes on: who was called a moment ago may come again */
        atomic_fetch_and_explicit(&hub->upload->waiting, ~own_bit(hub), memory_order_relaxed);
}

void weir_upload_fire(struct weir_hub *hub)
{
    struct weir_upload_queue *queue = hub->upload_queue;
    struct weir_upload *upload = hub->upload;
    /* Who was called and was not heard of could not send for a reason of its own, such as a send under way. It comes
     * again when that ends. */
    while (queue->head && queue->head->is_called)
        weir_upload_leave(&hub->conns[queue->head->slot]);
    if (!queue->head)
        return;
    uint64_t others = atomic_load_explicit(&upload->waiting, memory_order_relaxed) & ~own_bit(hub);
    bool is_last = atomic_load_explicit(&upload->last_plus, memory_order_relaxed) == hub->shard + 1;
    bool is_ready = ready_ns(upload) <= hub->now_ns;
    if (is_ready && others && is_last && !queue->has_yielded) {
        queue->has_yielded = true;
    } else if (is_ready) {
        if (queue->has_met_debt)
            queue->call_cnt = (queue->call_cnt + 1) / 2;
        else
            queue->call_cnt = queue->call_cnt < CALLS_MAX ? queue->call_cnt * 2 : CALLS_MAX;
        queue->has_met_debt = false;
        struct place *place = queue->head;
        for (uint32_t i = 0; place && i < queue->call_cnt; i++, place = place->next) {
            place->is_called = true;
            weir_conn_mark_dirty(&hub->conns[place->slot]);
        }
    }
    set_timer(hub);
}

/* ---- sending ------------------------------------------------------------------------------- */

bool weir_upload_may_send(struct weir_conn *conn)
{
    struct weir_hub *hub = conn->hub;
    struct weir_upload_queue *queue = hub->upload_queue;
    struct place *place = place_of(conn);
    if (place->is_queued && !place->is_called)
        return false;
    bool is_ready = ready_ns(hub->upload) <= hub->now_ns;
    if (place->is_called && !is_ready) {
        place->is_called = false; /* it keeps its place */
        queue->has_met_debt = true;
        return false;
    }
    if (place->is_called) {
        weir_upload_leave(conn);
        return true;
    }
    if (is_ready && atomic_load_explicit(&hub->upload->waiting, memory_order_relaxed) == 0)
        return true;
    join(conn);
    return false;
}

void weir_upload_sent(struct weir_conn *conn, uint64_t bytes)
{
    struct weir_hub *hub = conn->hub;
    struct weir_upload *upload = hub->upload;
    uint64_t cost = (bytes * UINT64_C(1000000000) + upload->per_s - 1) / upload->per_s;
    uint64_t paid_ns = atomic_load_explicit(&upload->paid_ns, memory_order_relaxed);
    uint64_t want;
    do
        want = weir_max_u64(paid_ns, hub->now_ns) + cost;
    while (!atomic_compare_exchange_weak_explicit(&upload->paid_ns, &paid_ns, want,
                                                  memory_order_relaxed, memory_order_relaxed));
    hub->upload_queue->has_yielded = false;
    if (atomic_load_explicit(&upload->waiting, memory_order_relaxed))
        atomic_store_explicit(&upload->last_plus, hub->shard + 1, memory_order_relaxed);
}
