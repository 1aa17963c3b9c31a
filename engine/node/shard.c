#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/probe.h"
#include "engine/node/internal.h"

#define END_ROUNDS 1000                   /* of at most a millisecond each, for what is in flight */
#define STOP_STEP_NS (2 * WEIR_NS_PER_MS) /* how often a stopping shard looks whether it is done */
/* SO_RCVBUF of near peers, with one channel and with several; docs/performance.md. */
#define NEAR_RECV_BYTES (256u * 1024u)
#define NEAR_RECV_CONTENDED (128u * 1024u)
#define PUBLISH_TURNS 16
#define POOL_CACHE_SHARE 4 /* a quarter of the pool may lie ready for reuse */

/* ---- pool callbacks ------------------------------------------------------------------------ */

static void pool_released(void *ctx, uint64_t owner, uint32_t channel_idx, uint32_t charge)
{
    struct weir_shard *shard = ctx;
    struct weir_conn *conn = weir_conn_of_peer(shard, (weir_peer){owner});
    if (!conn)
        return;
    conn->bytes_held -= charge;
    if (!WEIR_PLANTED(CREDIT))
        weir_credit_consume(conn, channel_idx, charge);
}

static void pool_wake(void *ctx)
{
    struct weir_shard *shard = ctx;
    shard->io->ops->wake(shard->io);
}

/* ---- life ---------------------------------------------------------------------------------- */

/* What the io calls 0 the configuration calls UINT32_MAX: there 0 is the default. */
static uint32_t own_size(uint32_t bytes)
{
    return bytes == UINT32_MAX ? 0 : bytes;
}

/* A completion for each connection's send and for what ends at once with it: an overflow loses nothing, but
 * it ends every multishot. */
static uint32_t cq_cnt(uint32_t peers_max)
{
    uint32_t cnt = 4096;
    while (cnt < 2 * peers_max && cnt < 65536)
        cnt *= 2;
    return cnt;
}

int weir_shard_create(struct weir_shard **ret_shard, weir_node *node, uint32_t idx)
{
    const struct weir_config *cfg = &node->cfg;
    struct weir_shard *shard = weir_heap_alloc(NULL, sizeof(*shard));
    if (!shard)
        return WEIR_E_NOMEM;
    shard->node = node;
    shard->hub.shard = idx;
    for (uint32_t i = 0; i < WEIR_LISTENERS_MAX; i++)
        shard->listen_socks[i] = -1;
    weir_mailbox_init(&shard->mailbox, cfg->mailbox_bytes_max);
    struct weir_io_config io_cfg = {
        .sq_cnt = 512,
        .cq_cnt = cq_cnt(cfg->peers_max),
        .recv_buf_bytes = cfg->recv_buf_bytes,
        .recv_buf_cnt = cfg->recv_buf_cnt,
        .socket_recv_bytes = own_size(cfg->socket_recv_bytes),
        .near_recv_bytes = cfg->socket_recv_bytes ? 0 : NEAR_RECV_BYTES,
        .near_recv_contended = NEAR_RECV_CONTENDED,
        .socket_send_bytes = own_size(cfg->socket_send_bytes),
        .tcp_congestion = cfg->tcp_congestion,
        .spin_ns = cfg->flags & WEIR_CONFIG_BUSY_POLL ? UINT64_MAX : cfg->spin_ns,
    };
    const struct weir_io_host *host = node->host;
    int error = host ? host->create(host->ctx, idx, &io_cfg, &shard->io)
                     : weir_io_uring_create(&shard->io, &io_cfg);
    if (error) {
        if (error == WEIR_E_CONFIG && cfg->tcp_congestion)
            weir_log(node, WEIR_LOG_ERROR,
                     "tcp_congestion: this system has no '%s', or does not allow it",
                     cfg->tcp_congestion);
        weir_heap_release(shard);
        return error;
    }
    shard->stop_note = weir_note_create(WEIR_LETTER_STOP, 0);
    if (!shard->stop_note) {
        shard->io->ops->free(shard->io);
        weir_heap_release(shard);
        return WEIR_E_NOMEM;
    }
    *ret_shard = shard;
    return 0;
}

static int take_memory(struct weir_shard *shard)
{
    const struct weir_config *cfg = &shard->node->cfg;
    struct weir_hub *hub = &shard->hub;
    hub->heap = weir_heap_create();
    if (!hub->heap)
        return WEIR_E_NOMEM;
    struct weir_pool_config pool_cfg = {
        .bytes_max = cfg->pool_bytes_max,
        .cache_bytes_max = cfg->pool_bytes_max / POOL_CACHE_SHARE,
        .on_release = pool_released,
        .wake = pool_wake,
        .ctx = shard,
    };
    hub->pool = weir_pool_create(hub->heap, &pool_cfg);
    shard->batch = weir_heap_alloc(hub->heap, WEIR_BATCH_MSGS * sizeof(*shard->batch));
    shard->events = weir_heap_alloc(hub->heap, WEIR_EVENTS_PER_TURN * sizeof(*shard->events));
    /* A slot ends once per opening and opens again only by an event: two a turn cannot be exceeded. */
    shard->ended_max = 2 * cfg->peers_max + WEIR_EVENTS_PER_TURN;
    shard->ended = weir_heap_alloc_table(hub->heap, shard->ended_max * sizeof(*shard->ended));
    if (!hub->pool || !shard->batch || !shard->events || !shard->ended)
        return WEIR_E_NOMEM;
    int error = weir_dialer_init(&shard->dialer, hub, cfg->dials_max);
    if (!error)
        error = weir_places_init(shard);
    if (!error)
        error = weir_directory_shard_init(shard);
    return error ? error : weir_hub_init(hub);
}

static void dial_forgotten(void *ctx, struct weir_target_kept *target)
{
    weir_dial_forget(((struct weir_shard *)ctx)->node, target);
}

static void dial_failed(void *ctx, const struct weir_target *target, uint16_t reason)
{
    char text[WEIR_TARGET_TEXT_BYTES];
    weir_target_format(target, text);
    weir_log(((struct weir_shard *)ctx)->node, WEIR_LOG_DEBUG, "dial %s failed: %s", text,
             weir_reason_name(reason));
    weir_dispatch_failed(ctx, target, reason);
}

static void pin(struct weir_shard *shard)
{
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        return;
    uint32_t nth = shard->hub.shard % (uint32_t)CPU_COUNT(&allowed);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || nth--)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof(one), &one); /* advice: a failure changes nothing but speed */
        return;
    }
}

int weir_shard_init(struct weir_shard *shard)
{
    weir_node *node = shard->node;
    struct weir_hub *hub = &shard->hub;
    hub->io = shard->io;
    hub->wheel = &shard->wheel;
    hub->cfg = &node->cfg;
    hub->channels = node->channels;
    hub->channel_cnt = node->channel_cnt;
    hub->channel_idx_of = node->channel_idx_of;
    hub->ops = &weir_dispatch_ops;
    hub->user = shard;
    hub->upload = node->cfg.upload_bytes ? &node->upload : NULL;
    shard->dialer.forget = dial_forgotten;
    shard->dialer.failed = dial_failed;
    shard->dialer.ask = weir_dial_ask;
    shard->dialer.admit = weir_guard_dial;
    shard->dialer.left = weir_guard_dial_left;
    shard->dialer.enter = weir_guard_dial_enter;
    shard->dialer.exit = weir_guard_dial_exit;
    shard->dialer.proxy = node->has_proxy ? &node->proxy : NULL;
    shard->dialer.ctx = shard;
    if (node->cfg.flags & WEIR_CONFIG_PIN)
        pin(shard);
    int error = weir_secure_init(shard);
    if (!error)
        error = shard->io->ops->enable(shard->io);
    if (!error)
        error = take_memory(shard);
    if (error)
        return error;
    hub->now_ns = weir_node_now(node);
    weir_wheel_init(&shard->wheel, hub->now_ns);
    shard->owner = weir_thread_id();
    atomic_store_explicit(&shard->is_owned, true, memory_order_release);
    for (uint32_t i = 0; i < WEIR_LISTENERS_MAX; i++) {
        shard->accept_timers[i].kind = WEIR_TIMER_ACCEPT;
        shard->accept_timers[i].arg = i;
        weir_accept_arm(shard, i);
    }
    weir_exporter_start(shard);
    if (shard == node->shards[0])
        weir_stats_file_fire(shard);
    weir_dispatch_ticks(shard);
    return 0;
}

/* `is_all`: also what nobody decides by, and what a turn of one small message would notice. */
static void publish(struct weir_shard *shard, bool is_all)
{
    struct weir_hub_metrics *metrics = &shard->hub.metrics;
    struct weir_io_stats io_stats;
    struct weir_pool_stats pool_stats;
    shard->io->ops->stats(shard->io, &io_stats);
    weir_pool_stats(shard->hub.pool, &pool_stats);
#define PUBLISH(field, value) atomic_store_explicit(&metrics->field, value, memory_order_relaxed)
    PUBLISH(syscalls, io_stats.syscalls);
    PUBLISH(completions, io_stats.completions);
    PUBLISH(recv_starved, io_stats.recv_starved);
    PUBLISH(pool_bytes, pool_stats.used_bytes);
    PUBLISH(pool_bufs, pool_stats.used_cnt);
    if (!is_all)
        return;
    PUBLISH(cq_overflows, io_stats.overflows);
    PUBLISH(sleeps, io_stats.sleeps);
    PUBLISH(spins, io_stats.spins);
    PUBLISH(spin_ns, io_stats.spin_ns);
    PUBLISH(pool_cached, pool_stats.cached_bytes);
    PUBLISH(pool_taken, pool_stats.taken_cnt);
    PUBLISH(timers, shard->wheel.timer_cnt);
#undef PUBLISH
}

/* Ends what is in flight on connections, where a node is freed with some or gave up on them: closing a
 * socket cancels nothing, and the kernel must not send from memory that is somebody else's by then. */
static void end_operations(struct weir_shard *shard)
{
    struct weir_hub *hub = &shard->hub;
    for (uint32_t i = 0; i < hub->cfg->peers_max; i++)
        weir_conn_abort(&hub->conns[i], WEIR_R_SHUTDOWN);
    for (int round = 0; round < END_ROUNDS; round++) {
        bool has_clients = !weir_exporter_stop(shard);
        if (!has_clients && !atomic_load(&hub->metrics.conn_cnt))
            break;
        int64_t event_cnt = shard->io->ops->turn(shard->io, shard->events, WEIR_EVENTS_PER_TURN,
                                                 round ? WEIR_NS_PER_MS : 0);
        for (int64_t i = 0; i < event_cnt; i++) {
            const struct weir_io_event *event = &shard->events[i];
            if ((uint32_t)event->token < WEIR_TOKEN_LISTENER &&
                (uint32_t)event->token >= WEIR_TOKEN_HTTP)
                weir_exporter_event(shard, event);
            else if (event->kind != WEIR_IO_ACCEPT)
                weir_conn_event(hub, event);
            else if (event->res >= 0)
                shard->io->ops->close(shard->io, event->res);
        }
        weir_verify_flush(hub);
        weir_verify_resume(hub);
        weir_sendq_tell(hub);
        weir_tx_flush(hub);
        weir_rx_rearm(hub);
        weir_gate_step(hub, false); /* nobody shakes hands any more, and the line is let go */
    }
}

/* Ends what only the shard's own thread may touch. Slots, mailbox and ring stay until weir_shard_free:
 * other threads may be in the middle of a call.
 *
 * A shard that the caller turned may be ended by another thread, which has its word that nobody turns it any more
 * (weir_node_free). It takes the pool over, whose buffers come back in what follows. The ring it cannot take over: that
 * has one issuer for good. So operations in flight are left to the ring's end; with DEFER_TASKRUN the kernel gets on
 * with none of them meanwhile, and what it finds undone then it cancels. */
void weir_shard_fini(struct weir_shard *shard)
{
    struct weir_hub *hub = &shard->hub;
    bool is_here = weir_shard_is_here(shard);
    if (hub->pool && !is_here)
        weir_pool_adopt(hub->pool);
    bool was_owned = atomic_exchange_explicit(&shard->is_owned, false, memory_order_acq_rel);
    weir_letters_drop(shard);
    if (is_here)
        end_operations(shard);
    if (was_owned)
        weir_hub_fini(hub);
    weir_secure_fini(shard);
    for (uint32_t i = 0; i < WEIR_LISTENERS_MAX; i++) {
        if (shard->listen_socks[i] >= 0)
            shard->io->ops->close(shard->io, shard->listen_socks[i]);
        shard->listen_socks[i] = -1;
    }
    weir_exporter_free(shard);
    weir_dialer_fini(&shard->dialer);
    weir_heap_release(shard->batch);
    weir_heap_release(shard->events);
    for (uint32_t i = 0; i < shard->ended_cnt; i++) /* nobody will be told any more */
        weir_heap_release(shard->ended[(shard->ended_head + i) % shard->ended_max].text);
    shard->ended_cnt = 0;
    weir_heap_release_table(shard->ended, shard->ended_max * sizeof(*shard->ended));
    weir_places_fini(shard);
    shard->batch = NULL;
    shard->events = NULL;
    shard->ended = NULL;
    if (hub->pool) {
        weir_pool_reclaim(hub->pool);
        publish(shard, true); /* what the last turn saw may have come back since */
    }
    weir_pool_free(hub->pool);
    hub->pool = NULL;
    weir_waiters_wake(shard->node);
}

void weir_shard_free(struct weir_shard *shard)
{
    if (!shard)
        return;
    weir_shard_fini(shard);
    weir_letters_drop(shard);
    weir_hub_free(&shard->hub);
    weir_directory_shard_fini(shard); /* other shards may have written to it until they ended */
    shard->io->ops->free(shard->io);
    if (shard->stop_note)
        weir_note_free(shard->stop_note);
    weir_heap_free(shard->hub.heap);
    weir_heap_release(shard);
}

/* ---- stopping ------------------------------------------------------------------------------ */

void weir_shard_stop(struct weir_shard *shard, uint64_t drain_until_ns)
{
    if (shard->is_stopping)
        return;
    shard->is_stopping = true;
    shard->drain_until_ns = shard->hub.drain_until_ns = drain_until_ns;
    for (uint32_t i = 0; i < WEIR_LISTENERS_MAX; i++)
        weir_wheel_cancel(&shard->wheel, &shard->accept_timers[i]);
    weir_dialer_stop(&shard->dialer);
}

/* Says goodbye to whom nothing is owed any more; true when nobody is left. */
static bool step_stop(struct weir_shard *shard)
{
    struct weir_hub *hub = &shard->hub;
    bool is_late = hub->now_ns >= shard->drain_until_ns;
    for (uint32_t i = 0; i < hub->cfg->peers_max; i++) {
        struct weir_conn *conn = &hub->conns[i];
        bool is_owed = conn->state == WEIR_CONN_READY && (conn->bytes_queued || conn->tx);
        if (is_owed && !is_late)
            continue;
        shard->has_lost |= (is_owed && conn->bytes_queued) || hub->has_unheard;
        if (conn->state != WEIR_CONN_FREE)
            weir_conn_close(conn, WEIR_R_SHUTDOWN, false);
    }
    bool has_ended = weir_accept_end(shard);
    has_ended &= weir_exporter_stop(shard);
    if (is_late && !shard->give_up_ns)
        shard->give_up_ns = hub->now_ns + 3 * hub->cfg->goodbye_linger_ns + WEIR_NS_PER_S;
    uint64_t left = atomic_load_explicit(&hub->metrics.conn_cnt, memory_order_relaxed);
    if (WEIR_PLANTED(STOP))
        return false;
    return (left == 0 && has_ended) || (shard->give_up_ns && hub->now_ns >= shard->give_up_ns);
}

/* ---- the turn ------------------------------------------------------------------------------ */

/* What is no connection's. */
static void on_event_apart(struct weir_shard *shard, const struct weir_io_event *event)
{
    if ((uint32_t)event->token < WEIR_TOKEN_LISTENER)
        weir_exporter_event(shard, event);
    else
        weir_accept_event(shard, event);
}

static void run_timers(struct weir_shard *shard)
{
    struct weir_timer *timer;
    while ((timer = weir_wheel_pop(&shard->wheel, shard->hub.now_ns)) != NULL) {
        weir_count(&shard->hub.metrics.timers_fired, 1);
        WEIR_PROBE3(timer, shard->hub.shard, timer->kind, timer->arg);
        switch (timer->kind) {
        case WEIR_TIMER_CONN: {
            struct weir_conn *conn = &shard->hub.conns[timer->arg];
            weir_keepalive_fire(conn);
            weir_conn_settle(conn);
            break;
        }
        case WEIR_TIMER_DIAL:
            weir_dialer_fire(&shard->dialer, timer->arg);
            break;
        case WEIR_TIMER_TICK:
            weir_dispatch_tick(shard, timer->arg);
            break;
        case WEIR_TIMER_ACCEPT:
            weir_accept_arm(shard, timer->arg);
            break;
        case WEIR_TIMER_RATE:
            weir_rates_fire(&shard->hub, timer->arg);
            break;
        case WEIR_TIMER_GATE:
            weir_gate_fire(&shard->hub);
            break;
        case WEIR_TIMER_STATS:
            weir_stats_file_fire(shard);
            break;
        case WEIR_TIMER_HTTP:
            weir_exporter_fire(shard, timer->arg);
            break;
        default:
            WEIR_CHECK(false); /* a timer of no kind */
        }
    }
}

static inline uint64_t wait_of(const struct weir_shard *shard, uint64_t wait_max)
{
    const struct weir_hub *hub = &shard->hub;
    if (!WEIR_PLANTED(DOZE) &&
        (wait_max == 0 || hub->dirty_head || weir_gate_has_steps(&hub->keeper) || hub->roomy_head ||
         hub->resumed || hub->starved || shard->ended_cnt))
        return 0;
    /* The library's own threads come here as a turn ends, and have just looked at the clock. */
    bool is_fresh = !(hub->cfg->flags & WEIR_CONFIG_CALLER_TURNS) && shard->stall.end_ns;
    uint64_t now = is_fresh ? shard->stall.end_ns : weir_node_now(shard->node);
    uint64_t wait = weir_wheel_wait(&shard->wheel, now);
    if (shard->is_stopping && wait > STOP_STEP_NS)
        wait = STOP_STEP_NS;
    return wait < wait_max ? wait : wait_max;
}

uint64_t weir_shard_wait(const struct weir_shard *shard, uint64_t wait_max)
{
    return wait_of(shard, wait_max);
}

static inline void stage_end(struct weir_shard *shard, enum weir_stage stage)
{
    if (WEIR_UNLIKELY(shard->stall.is_watching))
        weir_stall_mark(shard, stage);
}

/* A turn with fewer events has seen all there was: kernels from 6.13 on hand out 20 completions that are due at an enter
 * and leave others for the next. */
#define CALM_EVENTS 16

int64_t weir_shard_turn(struct weir_shard *shard, uint64_t wait_max)
{
    struct weir_hub *hub = &shard->hub;
    uint64_t wait = wait_of(shard, wait_max);
    if (wait && !weir_mailbox_sleep(&shard->mailbox))
        wait = 0;
    int64_t event_cnt = shard->io->ops->turn(shard->io, shard->events, WEIR_EVENTS_PER_TURN, wait);
    weir_mailbox_awake(&shard->mailbox);
    if (event_cnt < 0)
        return event_cnt;
    hub->now_ns = shard->stall.last_ns = shard->io->ops->now(shard->io);
    shard->is_in_turn = true;

    for (int64_t i = 0; i < event_cnt; i++) {
        const struct weir_io_event *event = &shard->events[i];
        if (WEIR_UNLIKELY((uint32_t)event->token >= WEIR_TOKEN_APART))
            on_event_apart(shard, event);
        else
            weir_conn_event(hub, event); /* rx and decode */
    }
    if (event_cnt < CALM_EVENTS && !hub->starved && !hub->is_starved_io)
        hub->heard_all_ns = hub->now_ns;
    stage_end(shard, WEIR_STAGE_RX);
    weir_verify_flush(hub); /* verify and dispatch */
    weir_verify_resume(hub);
    weir_pool_reclaim(hub->pool);
    stage_end(shard, WEIR_STAGE_DISPATCH);
    run_timers(shard);
    stage_end(shard, WEIR_STAGE_TIMERS);
    weir_letters_run(shard);
    weir_sendq_tell(hub);
    stage_end(shard, WEIR_STAGE_LETTERS);
    if (shard->is_stopping)
        shard->is_done = step_stop(shard);
    weir_dispatch_ended(shard);
    stage_end(shard, WEIR_STAGE_ENDS);
    bool has_steps = weir_gate_has_steps(&hub->keeper);
    bool is_pressed = has_steps && weir_gate_is_pressed(hub);
    weir_tx_flush(hub);
    weir_rx_rearm(hub);
    if (WEIR_UNLIKELY(has_steps))
        weir_gate_step(hub, is_pressed);
    stage_end(shard, WEIR_STAGE_TX);
    shard->is_in_turn = false;
    weir_burst_end();
    uint64_t turns = atomic_load_explicit(&hub->metrics.turns, memory_order_relaxed);
    publish(shard, event_cnt == 0 || turns % PUBLISH_TURNS == 0);
    weir_count(&hub->metrics.turns, 1);
    weir_stall_end(shard, event_cnt);
    return event_cnt;
}

void *weir_shard_main(void *arg)
{
    struct weir_shard *shard = arg;
    weir_node *node = shard->node;
    char name[16];
    snprintf(name, sizeof(name), "weir-shard-%u", shard->hub.shard);
    pthread_setname_np(pthread_self(), name);
    int error = weir_shard_init(shard);
    pthread_mutex_lock(&node->mutex);
    shard->init_error = error;
    node->shards_up++;
    pthread_cond_broadcast(&node->cond);
    pthread_mutex_unlock(&node->mutex);
    while (!error && !shard->is_done) {
        int64_t res = weir_shard_turn(shard, WEIR_NS_FOREVER);
        if (res < 0) {
            weir_log(node, WEIR_LOG_ERROR, "shard %u ends: %s", shard->hub.shard,
                     weir_error_text((int)res));
            shard->has_lost = true;
            break;
        }
    }
    weir_shard_fini(shard);
    return NULL;
}
