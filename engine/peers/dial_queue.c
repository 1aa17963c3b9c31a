#include "engine/peers/dial_queue.h"

#include "engine/base/check.h"

static struct weir_dial_link *link_of(struct weir_dial_links links, uint32_t idx)
{
    return (struct weir_dial_link *)(void *)((char *)links.base + (size_t)idx * links.stride);
}

void weir_dial_queue_init(struct weir_dial_queue *ret_queue, uint32_t active_max)
{
    *ret_queue = (struct weir_dial_queue){
        .active_max = active_max, .head = WEIR_DIAL_NOBODY, .tail = WEIR_DIAL_NOBODY};
}

static bool has_room(const struct weir_dial_queue *queue)
{
    return queue->active_max == 0 || queue->active_cnt < queue->active_max;
}

bool weir_dial_queue_enter(struct weir_dial_queue *queue, struct weir_dial_links links,
                           uint32_t idx)
{
    struct weir_dial_link *link = link_of(links, idx);
    WEIR_CHECK(!link->is_waiting && !link->is_active);
    if (has_room(queue) && queue->head == WEIR_DIAL_NOBODY) {
        link->is_active = true;
        queue->active_cnt++;
        return true;
    }
    *link =
        (struct weir_dial_link){.prev = queue->tail, .next = WEIR_DIAL_NOBODY, .is_waiting = true};
    if (queue->tail == WEIR_DIAL_NOBODY)
        queue->head = idx;
    else
        link_of(links, queue->tail)->next = idx;
    queue->tail = idx;
    return false;
}

static void take_out(struct weir_dial_queue *queue, struct weir_dial_links links,
                     struct weir_dial_link *link)
{
    if (link->prev == WEIR_DIAL_NOBODY)
        queue->head = link->next;
    else
        link_of(links, link->prev)->next = link->next;
    if (link->next == WEIR_DIAL_NOBODY)
        queue->tail = link->prev;
    else
        link_of(links, link->next)->prev = link->prev;
    link->is_waiting = false;
}

void weir_dial_queue_leave(struct weir_dial_queue *queue, struct weir_dial_links links,
                           uint32_t idx)
{
    struct weir_dial_link *link = link_of(links, idx);
    if (link->is_waiting)
        take_out(queue, links, link);
    if (link->is_active) {
        WEIR_CHECK(queue->active_cnt > 0);
        queue->active_cnt--;
        link->is_active = false;
    }
}

uint32_t weir_dial_queue_next(struct weir_dial_queue *queue, struct weir_dial_links links)
{
    uint32_t idx = queue->head;
    if (idx == WEIR_DIAL_NOBODY || !has_room(queue))
        return WEIR_DIAL_NOBODY;
    struct weir_dial_link *link = link_of(links, idx);
    take_out(queue, links, link);
    link->is_active = true;
    queue->active_cnt++;
    return idx;
}
