#include <string.h>

#include "engine/base/check.h"
#include "engine/node/internal.h"

static struct weir_note *target_note(uint32_t kind, const struct weir_target *target)
{
    struct weir_note *note = weir_note_create(kind, sizeof(*target));
    if (note)
        memcpy(note->data, target, sizeof(*target));
    return note;
}

void weir_dial_forget(weir_node *node, struct weir_target_kept *target)
{
    pthread_mutex_lock(&node->mutex);
    for (uint32_t i = 0; i < node->dial_cnt; i++) {
        if (node->dials[i].target != target)
            continue;
        node->dials[i] = node->dials[--node->dial_cnt];
        break;
    }
    pthread_mutex_unlock(&node->mutex);
    weir_heap_release(target);
}

static int check_target(weir_node *node, const struct weir_target *target, uint32_t flags)
{
    if (target->addr.family != WEIR_ADDR_UNIX && target->addr.port == 0)
        return WEIR_E_ADDRESS;
    if (weir_target_is_onion(target) && (!node->has_proxy || (flags & WEIR_DIAL_DIRECT))) {
        weir_log(node, WEIR_LOG_ERROR, "dial %s: a name under .onion needs a proxy", target->name);
        return WEIR_E_ADDRESS;
    }
    return 0;
}

/* Parses a target, perhaps with "ID@" in front. */
static int target_take(struct weir_target *ret_target, const char *address)
{
    /* An address may have an @ of its own, as unix:@NAME has; what is in front of one is an id only where
     * it begins like one. */
    const char *at = strncmp(address, "weir1", 5) == 0 ? strchr(address, '@') : NULL;
    struct weir_id id;
    int error = at ? weir_id_parse(&id, address, (size_t)(at - address), NULL) : 0;
    if (!error)
        error = weir_target_parse(ret_target, at ? at + 1 : address);
    if (error)
        return error;
    ret_target->has_id = at != NULL;
    if (at)
        memcpy(ret_target->id, id.bytes, sizeof(ret_target->id));
    return 0;
}

_Static_assert(WEIR_ID_TEXT_BYTES + WEIR_TARGET_TEXT_BYTES <= WEIR_DIALED_BYTES, "both fit");

void weir_dial_text(const struct weir_target *target, char ret_text[WEIR_DIALED_BYTES])
{
    struct weir_id id;
    size_t len = 0;
    if (target->has_id) {
        memcpy(id.bytes, target->id, sizeof(id.bytes));
        len = strlen(weir_id_text(&id, ret_text));
        ret_text[len++] = '@';
    }
    weir_target_format(target, ret_text + len);
}

/* Whether flags and target go together with the node's own policy. */
static int check_policy(const weir_node *node, const struct weir_target *target, uint32_t flags)
{
    if (target->has_id && (flags & (WEIR_DIAL_PLAIN | WEIR_DIAL_PREFER)))
        return WEIR_E_MISUSE;
    bool is_secure = target->has_id || (flags & WEIR_DIAL_REQUIRE);
    return is_secure && node->cfg.secure == WEIR_SECURE_PLAIN ? WEIR_E_CONFIG : 0;
}

int weir_dial(weir_node *node, const char *address, uint32_t flags)
{
    const uint32_t policies = WEIR_DIAL_PLAIN | WEIR_DIAL_PREFER | WEIR_DIAL_REQUIRE;
    if (!node || !address ||
        (flags & ~(uint32_t)(WEIR_DIAL_PERSIST | WEIR_DIAL_DIRECT | policies)) ||
        (flags & policies & ((flags & policies) - 1)))
        return WEIR_E_MISUSE;
    struct weir_target target;
    int error = target_take(&target, address);
    if (!error)
        error = check_target(node, &target, flags);
    if (!error)
        error = check_policy(node, &target, flags);
    if (error)
        return error;
    int state = atomic_load(&node->state);
    if (state == WEIR_NODE_STOPPING || state == WEIR_NODE_STOPPED)
        return WEIR_E_STATE;
    struct weir_target_kept *kept = weir_heap_alloc_raw(NULL, weir_target_kept_bytes(&target));
    struct weir_note *note = kept ? weir_note_create(WEIR_LETTER_DIAL, sizeof(kept)) : NULL;
    if (!note) {
        weir_heap_release(kept);
        return WEIR_E_NOMEM;
    }
    weir_target_keep(kept, &target);
    memcpy(note->data, &kept,
           sizeof(kept)); /* the node's: a letter that is dropped loses nothing */
    note->flags = flags;
    uint32_t shard = atomic_fetch_add(&node->next_dial_shard, 1) % node->cfg.shard_cnt;
    pthread_mutex_lock(&node->mutex);
    error = weir_node_prepare(node);
    if (WEIR_PLANTED(DIALS) && node->dial_cnt == node->cfg.dials_max)
        node->dial_cnt = 0;
    if (!error && node->dial_cnt == node->cfg.dials_max)
        error = WEIR_E_LIMIT;
    if (!error)
        error = weir_shard_post(node->shards[shard], note, false);
    if (!error)
        node->dials[node->dial_cnt++] =
            (struct weir_dial){.target = kept, .shard = shard, .flags = flags};
    pthread_mutex_unlock(&node->mutex);
    if (error) {
        weir_heap_release(kept);
        weir_note_free(note);
    }
    return error;
}

int weir_dial_cancel(weir_node *node, const char *address)
{
    if (!node || !address)
        return WEIR_E_MISUSE;
    struct weir_target target;
    int error = target_take(&target, address);
    if (error)
        return error;
    uint32_t shard = UINT32_MAX;
    pthread_mutex_lock(&node->mutex);
    for (uint32_t i = 0; i < node->dial_cnt; i++) {
        const struct weir_dial *dial = &node->dials[i];
        bool is_persistent = (dial->flags & WEIR_DIAL_PERSIST) != 0;
        if ((shard == UINT32_MAX || is_persistent) && weir_target_means_kept(&target, dial->target))
            shard = dial->shard;
    }
    pthread_mutex_unlock(&node->mutex);
    if (shard == UINT32_MAX)
        return WEIR_E_GONE;
    struct weir_note *note = target_note(WEIR_LETTER_DIAL_CANCEL, &target);
    if (!note)
        return WEIR_E_NOMEM;
    return weir_shard_post(node->shards[shard], note, true);
}

/* ---- names --------------------------------------------------------------------------------- */

/* On the resolver's thread. An answer that memory is too short for is one that never came: the dialer has
 * its deadline. */
static void named(void *ctx, const struct weir_question *question, uint16_t reason,
                  const struct weir_addr *addrs, uint32_t addr_cnt)
{
    weir_node *node = ctx;
    struct weir_named answer = {.entry_idx = question->entry_idx,
                                .entry_gen = question->entry_gen,
                                .reason = reason,
                                .addr_cnt = addr_cnt};
    struct weir_note *note = weir_note_create(WEIR_LETTER_NAMED, sizeof(answer));
    if (!note)
        return;
    if (addr_cnt)
        memcpy(answer.addrs, addrs, addr_cnt * sizeof(*addrs));
    memcpy(note->data, &answer, sizeof(answer));
    (void)weir_shard_post(node->shards[question->shard], note, true);
}

uint16_t weir_dial_ask(void *ctx, const struct weir_question *question, const char *name,
                       uint16_t port)
{
    weir_node *node = ((struct weir_shard *)ctx)->node;
    weir_count(&((struct weir_shard *)ctx)->hub.metrics.name_lookups, 1);
    if (node->host && !node->lookup)
        return WEIR_R_NAME_NOT_FOUND; /* a simulated world has no DNS but what a test gives it */
    if (node->is_lookup_instant) {
        struct weir_addr addrs[WEIR_RESOLVED_MAX];
        uint32_t cnt = 0;
        uint16_t reason =
            node->lookup(node->lookup_ctx, name, port, addrs, WEIR_RESOLVED_MAX, &cnt);
        named(node, question, reason, addrs, reason ? 0 : weir_addrs_interleave(addrs, cnt));
        return 0;
    }
    struct weir_resolver_config cfg = {.lookup = node->lookup ? node->lookup : weir_lookup_system,
                                       .lookup_ctx = node->lookup_ctx,
                                       .queue_max = node->cfg.names_max,
                                       .done = named,
                                       .ctx = node};
    pthread_mutex_lock(&node->mutex);
    int error = node->resolver ? 0 : weir_resolver_create(&node->resolver, &cfg);
    struct weir_resolver *resolver = node->resolver;
    pthread_mutex_unlock(&node->mutex);
    if (!error)
        error = weir_resolver_ask(resolver, question, name, port);
    if (error)
        weir_log(node, WEIR_LOG_WARN, "%s cannot be asked for now: %s", name,
                 weir_error_text(error));
    return error ? WEIR_R_NAME_TEMPORARY : 0;
}

void weir_dial_end_names(weir_node *node)
{
    weir_resolver_free(node->resolver);
    node->resolver = NULL;
}
