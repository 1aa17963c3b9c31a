/* Who encrypts, with which keys; and whether each connection is as its two ends were told. */
#include "engine/prove/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"

static const char *const names[PROVE_SECURE_CNT] = {NULL, "no", "yes", "mixed"};

const char *prove_secure_name(uint32_t secure)
{
    return secure < PROVE_SECURE_CNT ? names[secure] : NULL;
}

/* ---- drawing ------------------------------------------------------------------------------- */

static void draw_key(struct run *run, struct weir_key *ret_key, uint32_t kind)
{
    ret_key->kind = kind;
    for (size_t i = 0; i < sizeof(ret_key->secret); i++)
        ret_key->secret[i] = (uint8_t)run_below(run, 256);
}

static void draw_node(struct run *run, struct run_node *node)
{
    struct weir_config *cfg = &node->cfg;
    cfg->secure = WEIR_SECURE_REQUIRE;
    if (run->secure == PROVE_SECURE_MIXED)
        cfg->secure = WEIR_SECURE_PLAIN + (uint32_t)run_below(run, 3);
    else if (run_chance(run, 30))
        cfg->secure = WEIR_SECURE_PREFER;
    if (cfg->secure == WEIR_SECURE_PLAIN)
        return;
    /* Of two who dial each other for ever one is told each time that there is a connection already; a handshake
     * costs as much as thousands of turns. */
    cfg->redial_max_ns += (1 + run_below(run, 4000)) * WEIR_NS_PER_MS;
    cfg->cipher = run_chance(run, 50) ? WEIR_CIPHER_CHACHA20_POLY1305 : WEIR_CIPHER_AES_256_GCM;
    cfg->rekey_interval_ns = WEIR_NS_PER_MS << run_below(run, 17);
    if (run_chance(run, 25))
        cfg->flags |= WEIR_CONFIG_TWINS;
    if (run->network_key.kind)
        cfg->network_key = &run->network_key;
    /* Without one it has another key, and so another id, in each life. */
    node->has_key = run_chance(run, 70);
    if (!node->has_key)
        return;
    draw_key(run, &node->key, WEIR_KEY_NODE);
    cfg->node_key = &node->key;
    int error = weir_key_id(&node->id, &node->key);
    WEIR_CHECK(error == 0);
}

/* With numbers of their own, so that a run is otherwise the same whether it is encrypted or not. */
void policy_draw(struct run *run)
{
    uint64_t rng = run->rng;
    run->rng = run->cfg.seed ^ UINT64_C(0x4B65797320616E64);
    static const uint32_t drawn[] = {PROVE_SECURE_NO, PROVE_SECURE_NO, PROVE_SECURE_YES,
                                     PROVE_SECURE_MIXED};
    run->secure = drawn[run_below(run, 4)];
    if (run->cfg.secure)
        run->secure = run->cfg.secure;
    run->res->secure = run->secure;
    if (run->secure == PROVE_SECURE_YES && run_chance(run, 25))
        draw_key(run, &run->network_key, WEIR_KEY_NETWORK);
    for (uint32_t i = 0; i < run->node_cnt; i++) {
        if (run->secure == PROVE_SECURE_NO)
            run->nodes[i].cfg.secure = WEIR_SECURE_PLAIN;
        else
            draw_node(run, &run->nodes[i]);
        run->nodes[i].by_id = (uint32_t)run_below(run, 1u << run->node_cnt);
    }
    run->rng = rng;
}

/* ---- dialing ------------------------------------------------------------------------------- */

static bool is_dialed_by_id(const struct run_node *from, const struct run_node *to)
{
    return from->cfg.secure != WEIR_SECURE_PLAIN && to->has_key && (from->by_id >> to->idx & 1);
}

void policy_address(const struct run_node *from, const struct run_node *to, char ret_address[128])
{
    char id[WEIR_ID_TEXT_BYTES];
    bool is_by_id = is_dialed_by_id(from, to);
    snprintf(ret_address, 128, "%s%s10.0.0.%u:7000", is_by_id ? weir_id_text(&to->id, id) : "",
             is_by_id ? "@" : "", to->host);
}

uint32_t policy_dial(struct run_node *from, uint32_t to, char ret_address[128])
{
    struct run *run = from->run;
    static const uint32_t policies[] = {WEIR_DIAL_PLAIN, WEIR_DIAL_PREFER, WEIR_DIAL_REQUIRE};
    bool is_name = run_chance(run, 30);
    snprintf(ret_address, 128, is_name ? "host%u:7000" : "10.0.0.%u:7000", to + 1);
    if (run->secure == PROVE_SECURE_NO)
        return 0;
    /* Flags go with names, so that policy_up() knows which connections may be otherwise. */
    if (is_name)
        return run->secure == PROVE_SECURE_MIXED ? policies[run_below(run, 3)] : 0;
    /* The id of somebody, who may be there or not. */
    const struct run_node *who = &run->nodes[run_below(run, run->node_cnt)];
    char id[WEIR_ID_TEXT_BYTES];
    if (who->has_key && from->cfg.secure != WEIR_SECURE_PLAIN && run_chance(run, 30))
        snprintf(ret_address, 128, "%s@10.0.0.%u:7000", weir_id_text(&who->id, id), to + 1);
    return 0;
}

bool policy_can_join(const struct run_node *from, const struct run_node *to)
{
    uint32_t dials = from->cfg.secure, listens = to->cfg.secure;
    return !(dials == WEIR_SECURE_PLAIN && listens == WEIR_SECURE_REQUIRE) &&
           !(dials == WEIR_SECURE_REQUIRE && listens == WEIR_SECURE_PLAIN);
}

/* ---- what must hold ------------------------------------------------------------------------ */

static bool has_twins_kept(const struct run_link *link)
{
    return (link->ends[0].node->cfg.flags & link->ends[1].node->cfg.flags & WEIR_CONFIG_TWINS) != 0;
}

/* Of two encrypted connections one goes: the other stands for what was dialed from either side. */
bool policy_is_for_both(const struct run_link *link)
{
    return link->is_secure && link->ends[0].is_up && link->ends[1].is_up && !has_twins_kept(link);
}

bool policy_has_twins(const struct run_node *node)
{
    for (uint32_t i = 0; i < node->peer_cnt; i++)
        for (uint32_t k = 0; k < i; k++) {
            const struct run_link *a = node->peers[i].link, *b = node->peers[k].link;
            if (policy_is_for_both(a) && policy_is_for_both(b) &&
                a->ends[1 - node->peers[i].end].node == b->ends[1 - node->peers[k].end].node)
                return true;
        }
    return false;
}

bool policy_can_be(const struct run *run, int reason)
{
    bool is_mixed = run->secure == PROVE_SECURE_MIXED, is_secure = run->secure != PROVE_SECURE_NO;
    switch (reason) {
    case WEIR_R_PLAIN_REFUSED:
    case WEIR_R_SECURE_REFUSED:
        return is_mixed;
    case WEIR_R_WRONG_ID: /* somebody else was dialed there */
        return is_secure && (run->classes & PROVE_DIAL);
    case WEIR_R_DUPLICATE_PEER:
        return is_secure;
    default: /* bytes that were changed */
        return false;
    }
}

static void fail(struct run_node *node, const struct run_peer *peer, const char *what)
{
    run_fail(node->run, "policy", "node %u (policy %u), connection %llu as %s: %s", node->idx,
             node->cfg.secure, (unsigned long long)peer->link->id,
             peer->end == 0 ? "dialer" : "listener", what);
}

/* The one who must be at the other end of what was dialed; NULL: an address that could be anybody's. */
static const struct run_node *dialed_node(const struct run *run, const struct weir_peer_info *info)
{
    unsigned host;
    if (sscanf(info->address, "10.0.0.%u:7000", &host) != 1 || host == 0 || host > run->node_cnt)
        return NULL;
    return &run->nodes[host - 1];
}

/* What was dialed; NULL when this end did not dial, or the dial was cancelled since. */
static const struct weir_target *target_of(struct run_node *node, const struct run_peer *peer,
                                           struct weir_target *place)
{
    const struct weir_shard *shard = node->node->shards[weir_peer_shard(peer->peer)];
    const struct weir_conn *conn = run_conn_of(node, peer->peer);
    bool is_dialed = conn && peer->end == 0 && weir_dialer_target(&shard->dialer, conn, place);
    return is_dialed ? place : NULL;
}

/* What the policies of both ends make of a connection, seen from one. */
static void check_wire(struct run_node *node, const struct run_peer *peer,
                       const struct weir_target *target, const struct weir_peer_info *info)
{
    uint32_t policy = node->cfg.secure;
    const struct run_node *other = NULL;
    if (peer->end == 0) {
        if (!target || weir_target_is_name(target))
            return; /* dialed with a policy of its own */
        other = dialed_node(node->run, info);
        if (target->has_id)
            policy = WEIR_SECURE_REQUIRE;
    }
    if (policy == WEIR_SECURE_PREFER && other)
        policy = other->cfg.secure == WEIR_SECURE_PLAIN ? WEIR_SECURE_PLAIN : WEIR_SECURE_REQUIRE;
    if (policy == WEIR_SECURE_REQUIRE && !info->is_secure)
        fail(node, peer, "it is plain");
    if (policy == WEIR_SECURE_PLAIN && info->is_secure)
        fail(node, peer, "it is encrypted");
}

/* Both ends are up, and must agree on who they are and that this is one connection. */
static void check_ends(struct run_node *node, const struct run_peer *peer)
{
    const struct run_end *end = &peer->link->ends[1 - peer->end];
    struct weir_conn *own = run_conn_of(node, peer->peer);
    struct weir_conn *other = run_conn_of(end->node, end->peer);
    if (!own || !other)
        return;
    if (own->codec != other->codec) {
        fail(node, peer, "the other end speaks another wire");
        return;
    }
    if (!own->codec->session)
        return;
    const struct weir_agreed *here = own->codec->agreed(own->codec_state);
    const struct weir_agreed *there = other->codec->agreed(other->codec_state);
    if (memcmp(here->node_id, end->node->node->id.bytes, sizeof(here->node_id)) != 0 ||
        memcmp(there->node_id, node->node->id.bytes, sizeof(there->node_id)) != 0)
        fail(node, peer, "an end takes the other for somebody else");
    if (memcmp(own->codec->session(own->codec_state), other->codec->session(other->codec_state),
               WEIR_SESSION_BYTES) != 0)
        fail(node, peer, "its ends have two session ids");
}

void policy_up(struct run_node *node, const struct run_peer *peer)
{
    struct weir_peer_info info = {.size = sizeof(info)};
    if (weir_peer_info(node->node, peer->peer, &info) != 0) {
        fail(node, peer, "there is nothing to be known of it");
        return;
    }
    peer->link->is_secure = info.is_secure;
    node->run->res->secure_links += info.is_secure && peer->end == 0;
    struct weir_target place;
    const struct weir_target *target = target_of(node, peer, &place);
    check_wire(node, peer, target, &info);
    if (target && target->has_id && memcmp(target->id, info.id.bytes, sizeof(target->id)) != 0)
        fail(node, peer, "another id than the one that was dialed");
    if (peer->link->ends[1 - peer->end].is_up)
        check_ends(node, peer);
}
