/* Keys and policy: from the configuration to what each shard's handshakes bring. */
#include <string.h>

#include "engine/node/internal.h"

static int key_take(weir_node *node, const char *field, const struct weir_key *key, uint32_t kind,
                    struct weir_key *ret_key)
{
    if (!key)
        return 0;
    if (key->kind != kind) {
        weir_log(node, WEIR_LOG_ERROR, "config: %s is not a key of its kind", field);
        return WEIR_E_CONFIG;
    }
    *ret_key = *key;
    return 0;
}

int weir_secure_take(weir_node *node)
{
    struct weir_config *cfg = &node->cfg;
    int error = key_take(node, "node_key", cfg->node_key, WEIR_KEY_NODE, &node->node_key);
    if (!error)
        error =
            key_take(node, "network_key", cfg->network_key, WEIR_KEY_NETWORK, &node->network_key);
    if (error)
        return error;
    cfg->node_key = cfg->network_key = NULL; /* the caller's; ours are in the node */
    if (cfg->secure == WEIR_SECURE_DEFAULT)
        cfg->secure = WEIR_SECURE_REQUIRE;
    if (cfg->secure == WEIR_SECURE_PLAIN) {
        if (node->network_key.kind) {
            weir_log(node, WEIR_LOG_ERROR, "config: a network_key needs encryption");
            return WEIR_E_CONFIG;
        }
        return 0;
    }
    if (!node->node_key.kind) {
        /* By the host's random numbers: in a simulated world the key follows from the seed. */
        if (weir_node_random(node, node->node_key.secret, sizeof(node->node_key.secret)))
            return WEIR_E_SYSTEM;
        node->node_key.kind = WEIR_KEY_NODE;
    }
    return error ? error : weir_key_id(&node->id, &node->node_key);
}

int weir_secure_init(struct weir_shard *shard)
{
    weir_node *node = shard->node;
    struct weir_hub *hub = &shard->hub;
    const struct weir_config *cfg = &node->cfg;
    shard->offer = node->offer;
    hub->codec = &weir_codec_native;
    hub->offer = &shard->offer;
    if (cfg->secure == WEIR_SECURE_PLAIN)
        return 0;
    if (!weir_crypto_init(&shard->crypto))
        return WEIR_E_NOMEM;
    if (!weir_identity_init(&shard->identity, &shard->crypto, node->node_key.secret))
        return WEIR_E_NOMEM;
    shard->secret = (struct weir_secret){
        .crypto = &shard->crypto,
        .identity = &shard->identity,
        .network_key = node->network_key.kind ? node->network_key.secret : NULL,
        .cipher =
            cfg->cipher == WEIR_CIPHER_AES_256_GCM ? WEIR_CIPHER_AESGCM : WEIR_CIPHER_CHACHAPOLY,
        .gate = &hub->keeper.gate,
    };
    shard->offer.secret = &shard->secret;
    memcpy(shard->offer.node_id, node->id.bytes, sizeof(shard->offer.node_id));
    shard->offer_refusing = shard->offer;
    shard->offer_refusing.refuse = WEIR_R_PLAIN_REFUSED;
    hub->offer_refusing = &shard->offer_refusing;
    hub->secure_codec = &weir_codec_native_v2;
    return 0;
}

void weir_secure_fini(struct weir_shard *shard)
{
    shard->hub.secure_codec = NULL;
    weir_identity_fini(&shard->identity);
    if (shard->crypto.digest_ctx)
        weir_crypto_fini(&shard->crypto);
}

/* ---- keys of nodes that were met ------------------------------------------------------------------ */

bool weir_secure_known(struct weir_conn *conn, uint8_t ret_key[32])
{
    struct weir_guard *guard = &((struct weir_shard *)conn->hub->user)->node->guard;
    pthread_mutex_lock(&guard->mutex);
    bool is_found = guard->known && weir_known_find(guard->known, conn->dial_id, ret_key);
    pthread_mutex_unlock(&guard->mutex);
    return is_found;
}

void weir_secure_met(struct weir_shard *shard, const struct weir_conn *conn)
{
    weir_node *node = shard->node;
    struct weir_guard *guard = &node->guard;
    const uint8_t *key = conn->codec->peer_key ? conn->codec->peer_key(conn->codec_state) : NULL;
    if (!key || node->cfg.known_max == UINT32_MAX)
        return;
    pthread_mutex_lock(&guard->mutex);
    /* Without memory for the table the next handshake is one round trip longer. */
    if (!guard->known)
        (void)weir_known_create(&guard->known, node->cfg.known_max, guard->known_seed);
    if (guard->known)
        weir_known_put(guard->known, conn->codec->agreed(conn->codec_state)->node_id, key);
    pthread_mutex_unlock(&guard->mutex);
}

void weir_secure_forget(struct weir_shard *shard, const struct weir_conn *conn)
{
    struct weir_guard *guard = &shard->node->guard;
    pthread_mutex_lock(&guard->mutex);
    if (guard->known)
        weir_known_forget(guard->known, conn->dial_id);
    pthread_mutex_unlock(&guard->mutex);
}

int weir_node_id(weir_node *node, struct weir_id *ret_id)
{
    if (!node || !ret_id)
        return WEIR_E_MISUSE;
    if (node->cfg.secure == WEIR_SECURE_PLAIN)
        return WEIR_E_STATE;
    *ret_id = node->id;
    return 0;
}
