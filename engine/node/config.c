#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/node/internal.h"

#define MIB (1024u * 1024u)
#define KNOWN_CONFIG_FLAGS                                                \
    (WEIR_CONFIG_CALLER_TURNS | WEIR_CONFIG_PIN | WEIR_CONFIG_BUSY_POLL | \
     WEIR_CONFIG_PROXY_SHARED | WEIR_CONFIG_LIMIT_LOOPBACK | WEIR_CONFIG_TWINS)
#define RATE_BYTES_MAX UINT64_C(1000000000000)
#define RATE_MSGS_MAX 1000000000u
#define DAY_NS (UINT64_C(86400) * WEIR_NS_PER_S)

bool weir_log_is_wanted(const weir_node *node, int level)
{
    return node->cfg.log && (uint32_t)level <= node->cfg.log_level;
}

void weir_log(weir_node *node, int level, const char *format, ...)
{
    if (!weir_log_is_wanted(node, level))
        return;
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    node->cfg.log(node->cfg.log_ctx, level, line);
}

int weir_struct_take(void *to, size_t to_bytes, const void *from)
{
    uint32_t from_bytes;
    memcpy(&from_bytes, from, sizeof(from_bytes));
    if (from_bytes < sizeof(from_bytes) || from_bytes > 65536)
        return WEIR_E_CONFIG;
    const uint8_t *bytes = from;
    for (size_t i = to_bytes; i < from_bytes; i++) {
        if (bytes[i])
            return WEIR_E_VERSION; /* a field of a newer weir that is in use */
    }
    memset(to, 0, to_bytes);
    memcpy(to, from, from_bytes < to_bytes ? from_bytes : to_bytes);
    return 0;
}

static void set_defaults(struct weir_config *cfg)
{
#define DEFAULT(field, value)   \
    do {                        \
        if (!cfg->field)        \
            cfg->field = value; \
    } while (0)
    DEFAULT(shard_cnt, 1);
    DEFAULT(peers_max, 1024);
    DEFAULT(network_id, "weir");
    DEFAULT(user_agent, "weir/0.1.0");
    DEFAULT(log_level, WEIR_LOG_INFO);
    DEFAULT(frame_bytes_max, 65536);
    DEFAULT(send_bytes_max, 512 * 1024);
    DEFAULT(send_bytes_contended, 132 * 1024);
    DEFAULT(notsent_lowat_bytes, 128 * 1024);
    DEFAULT(socket_send_bytes, UINT32_MAX);
    DEFAULT(recv_buf_bytes, 64 * 1024);
    DEFAULT(recv_buf_cnt, 8);
    DEFAULT(pool_bytes_max, UINT64_C(1) << 30);
    DEFAULT(peer_bytes_max, UINT64_C(256) * MIB);
    DEFAULT(mailbox_bytes_max, 64 * MIB);
    DEFAULT(handshakes_max, 256);
    DEFAULT(cookie_pending, cfg->handshakes_max < 4 ? 1 : cfg->handshakes_max / 4);
    DEFAULT(cookie_rate, 200);
    DEFAULT(handshake_rate, 1000);
    DEFAULT(known_max, 1024);
    DEFAULT(accept_rate, 5000);
    DEFAULT(dials_max, 1024);
    DEFAULT(handshake_timeout_ns, 10 * WEIR_NS_PER_S);
    DEFAULT(dial_timeout_ns, 5 * WEIR_NS_PER_S);
    DEFAULT(ping_interval_ns, 15 * WEIR_NS_PER_S);
    DEFAULT(ping_timeout_ns, 20 * WEIR_NS_PER_S);
    DEFAULT(idle_timeout_ns, 60 * WEIR_NS_PER_S);
    DEFAULT(stall_timeout_ns, 60 * WEIR_NS_PER_S);
    DEFAULT(redial_min_ns, 250 * WEIR_NS_PER_MS);
    DEFAULT(redial_max_ns, 30 * WEIR_NS_PER_S);
    DEFAULT(goodbye_linger_ns, WEIR_NS_PER_S);
    DEFAULT(spin_ns, 50000);
    DEFAULT(name_timeout_ns, 10 * WEIR_NS_PER_S);
    DEFAULT(dial_head_start_ns, 250 * WEIR_NS_PER_MS);
    DEFAULT(names_max, 256);
    DEFAULT(inbound_max, UINT32_MAX);
    DEFAULT(outbound_max, UINT32_MAX);
    DEFAULT(outbound_address_max, UINT32_MAX);
    DEFAULT(outbound_subnet_max, UINT32_MAX);
    DEFAULT(dials_active_max, 128);
    DEFAULT(trials_max, 16);
    DEFAULT(address_max, 16);
    DEFAULT(subnet_max, 64);
    DEFAULT(subnet_bits_ipv4, 24);
    DEFAULT(subnet_bits_ipv6, 56);
    DEFAULT(address_burst, 16);
    DEFAULT(subnet_burst, 64);
    DEFAULT(address_interval_ns, 200 * WEIR_NS_PER_MS);
    DEFAULT(subnet_interval_ns, 50 * WEIR_NS_PER_MS);
    DEFAULT(score_ban, 100);
    DEFAULT(score_disconnect, 50);
    DEFAULT(score_half_life_ns, 600 * WEIR_NS_PER_S);
    DEFAULT(ban_ns, 3600 * WEIR_NS_PER_S);
    DEFAULT(bans_max, 4096);
    DEFAULT(rate_burst_ns, 100 * WEIR_NS_PER_MS);
    DEFAULT(rekey_interval_ns, 120 * WEIR_NS_PER_S);
    DEFAULT(stats_mode, 0600);
    DEFAULT(stats_interval_ns, 500 * WEIR_NS_PER_MS);
    DEFAULT(turn_warn_ns, 25 * WEIR_NS_PER_MS);
#undef DEFAULT
}

void weir_config_init(struct weir_config *ret_cfg)
{
    *ret_cfg = (struct weir_config){.size = sizeof(*ret_cfg)};
    set_defaults(ret_cfg);
}

static void channel_defaults(struct weir_channel *channel)
{
    if (!channel->weight)
        channel->weight = 1;
    if (!channel->msg_bytes_max)
        channel->msg_bytes_max = MIB;
    uint32_t twice = 2 * channel->msg_bytes_max;
    if (!channel->send_bytes_max)
        channel->send_bytes_max = twice > MIB ? twice : MIB;
    if (!channel->recv_bytes_max)
        channel->recv_bytes_max = twice > 4 * MIB ? twice : 4 * MIB;
}

void weir_channel_init(struct weir_channel *ret_channel, uint16_t id)
{
    *ret_channel = (struct weir_channel){.size = sizeof(*ret_channel), .id = id, .name = ""};
    channel_defaults(ret_channel);
}

static bool in_range(weir_node *node, const char *field, uint64_t value, uint64_t low,
                     uint64_t high)
{
    if (value >= low && value <= high)
        return true;
    weir_log(node, WEIR_LOG_ERROR, "config: %s is %llu, its range is %llu to %llu", field,
             (unsigned long long)value, (unsigned long long)low, (unsigned long long)high);
    return false;
}

static bool is_power_of_two(uint32_t value)
{
    return value && (value & (value - 1)) == 0;
}

static bool check_sizes(weir_node *node)
{
    const struct weir_config *cfg = &node->cfg;
#define RANGE(field, low, high)                         \
    if (!in_range(node, #field, cfg->field, low, high)) \
    return false
    RANGE(flags, 0, KNOWN_CONFIG_FLAGS);
    RANGE(shard_cnt, 1, WEIR_SHARDS_MAX);
    RANGE(peers_max, 1, 1000000);
    RANGE(log_level, WEIR_LOG_ERROR, WEIR_LOG_DEBUG);
    RANGE(frame_bytes_max, 4096, 65536);
    RANGE(send_bytes_max, 4096, 64 * MIB);
    RANGE(send_bytes_contended, 4096, 64 * MIB);
    RANGE(notsent_lowat_bytes, 4096, 1u << 30);
    if (cfg->socket_recv_bytes && cfg->socket_recv_bytes != UINT32_MAX)
        RANGE(socket_recv_bytes, 4096, 1u << 30);
    if (cfg->socket_send_bytes != UINT32_MAX)
        RANGE(socket_send_bytes, 4096, 1u << 30);
    RANGE(recv_buf_bytes, 2048, 4 * MIB);
    RANGE(recv_buf_cnt, 2, 32768);
    RANGE(pool_bytes_max, MIB, UINT64_C(1) << 44);
    RANGE(peer_bytes_max, 64 * 1024, UINT64_C(1) << 44);
    RANGE(mailbox_bytes_max, 64 * 1024, UINT32_MAX);
    RANGE(handshakes_max, 1, 1000000);
    RANGE(dials_max, 1, 65536);
    RANGE(names_max, 1, 65536);
    RANGE(secure, WEIR_SECURE_DEFAULT, WEIR_SECURE_REQUIRE);
    RANGE(cipher, WEIR_CIPHER_DEFAULT, WEIR_CIPHER_AES_256_GCM);
    if (!is_power_of_two(cfg->recv_buf_cnt)) {
        weir_log(node, WEIR_LOG_ERROR, "config: recv_buf_cnt is %u, not a power of two",
                 cfg->recv_buf_cnt);
        return false;
    }
    return true;
}

static bool check_limits(weir_node *node)
{
    const struct weir_config *cfg = &node->cfg;
#define LIMIT(field)              \
    if (cfg->field != UINT32_MAX) \
    RANGE(field, 1, 1000000)
    LIMIT(cookie_pending);
    LIMIT(cookie_rate);
    LIMIT(handshake_rate);
    LIMIT(known_max);
    LIMIT(accept_rate);
    LIMIT(inbound_max);
    LIMIT(outbound_max);
    LIMIT(outbound_address_max);
    LIMIT(outbound_subnet_max);
    RANGE(dials_active_max, 1, 65536);
    RANGE(trials_max, 1, WEIR_TRIALS_MAX);
    LIMIT(address_max);
    LIMIT(subnet_max);
    LIMIT(address_burst);
    LIMIT(subnet_burst);
#undef LIMIT
    RANGE(subnet_bits_ipv4, 8, 32);
    RANGE(subnet_bits_ipv6, 16, 64);
    RANGE(address_interval_ns, WEIR_NS_PER_US, DAY_NS);
    RANGE(subnet_interval_ns, WEIR_NS_PER_US, DAY_NS);
    RANGE(score_ban, 1, WEIR_POINTS_MAX);
    RANGE(score_disconnect, 1, WEIR_POINTS_MAX);
    RANGE(score_half_life_ns, WEIR_NS_PER_S, DAY_NS);
    RANGE(ban_ns, WEIR_NS_PER_S, 3650 * DAY_NS);
    RANGE(bans_max, 1, 65536);
    RANGE(rate_send_bytes, 0, RATE_BYTES_MAX);
    RANGE(rate_recv_bytes, 0, RATE_BYTES_MAX);
    RANGE(rate_send_msgs, 0, RATE_MSGS_MAX);
    RANGE(rate_recv_msgs, 0, RATE_MSGS_MAX);
    RANGE(upload_bytes, 0, RATE_BYTES_MAX);
    RANGE(rate_burst_ns, 1, 3600 * WEIR_NS_PER_S);
    RANGE(metrics_peers, 0, 4096);
    RANGE(turn_warn_ns, WEIR_NS_PER_MS, DAY_NS);
    RANGE(stats_interval_ns, 10 * WEIR_NS_PER_MS, 3600 * WEIR_NS_PER_S);
    uint32_t mode = cfg->stats_mode;
    if (mode == 0600 || mode == 0640 || mode == 0644)
        return true;
    weir_log(node, WEIR_LOG_ERROR, "config: stats_mode is %04o, not 0600, 0640 or 0644", mode);
    return false;
}

static bool take_path(weir_node *node, const char *field, const char **path, char ret_copy[1008])
{
    size_t len = *path ? strnlen(*path, 1008) : 0;
    if (!*path)
        return true;
    if (len == 0 || len > 1000) {
        weir_log(node, WEIR_LOG_ERROR, "config: %s needs 1 to 1000 bytes", field);
        return false;
    }
    memcpy(ret_copy, *path, len + 1);
    *path = ret_copy;
    return true;
}

static bool check_times(weir_node *node)
{
    const struct weir_config *cfg = &node->cfg;
    RANGE(handshake_timeout_ns, WEIR_NS_PER_MS, DAY_NS);
    RANGE(dial_timeout_ns, WEIR_NS_PER_MS, DAY_NS);
    RANGE(ping_interval_ns, WEIR_NS_PER_MS, DAY_NS);
    RANGE(ping_timeout_ns, WEIR_NS_PER_MS, DAY_NS);
    RANGE(idle_timeout_ns, WEIR_NS_PER_MS, DAY_NS);
    RANGE(stall_timeout_ns, WEIR_NS_PER_MS, DAY_NS);
    RANGE(redial_min_ns, WEIR_NS_PER_MS, DAY_NS);
    RANGE(redial_max_ns, cfg->redial_min_ns, DAY_NS);
    RANGE(goodbye_linger_ns, WEIR_NS_PER_MS, DAY_NS);
    RANGE(spin_ns, 1, WEIR_NS_PER_S);
    RANGE(name_timeout_ns, WEIR_NS_PER_MS, DAY_NS);
    RANGE(dial_head_start_ns, 10 * WEIR_NS_PER_MS, DAY_NS);
    RANGE(rekey_interval_ns, WEIR_NS_PER_MS, DAY_NS);
#undef RANGE
    return true;
}

static bool is_printable(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7E)
            return false;
    }
    return true;
}

static bool take_text(weir_node *node, const char *field, const char **text, char *ret_copy,
                      size_t min, size_t max)
{
    size_t len = strnlen(*text, max + 1);
    if (len < min || len > max || !is_printable(*text)) {
        weir_log(node, WEIR_LOG_ERROR, "config: %s needs %zu to %zu printable ASCII characters",
                 field, min, max);
        return false;
    }
    memcpy(ret_copy, *text, len + 1);
    *text = ret_copy;
    return true;
}

static bool take_credential(weir_node *node, const char *field, const char **text,
                            char ret_copy[WEIR_SOCKS5_TEXT_MAX + 1])
{
    size_t len = strnlen(*text, WEIR_SOCKS5_TEXT_MAX + 1);
    if (len == 0 || len > WEIR_SOCKS5_TEXT_MAX) {
        weir_log(node, WEIR_LOG_ERROR, "config: %s needs 1 to %u bytes", field,
                 WEIR_SOCKS5_TEXT_MAX);
        return false;
    }
    memcpy(ret_copy, *text, len + 1);
    *text = ret_copy;
    return true;
}

static bool take_proxy(weir_node *node)
{
    struct weir_config *cfg = &node->cfg;
    struct weir_proxy *proxy = &node->proxy;
    bool has_user = cfg->proxy_user || cfg->proxy_password;
    if (!cfg->proxy) {
        if (has_user)
            weir_log(node, WEIR_LOG_ERROR, "config: proxy_user or proxy_password without a proxy");
        return !has_user;
    }
    if (weir_target_parse(&proxy->at, cfg->proxy) != 0 ||
        (proxy->at.addr.family != WEIR_ADDR_UNIX && proxy->at.addr.port == 0) ||
        weir_target_is_onion(&proxy->at)) {
        weir_log(node, WEIR_LOG_ERROR, "config: proxy is neither HOST:PORT nor unix:PATH");
        return false;
    }
    cfg->proxy = NULL; /* the caller's string; ours is node->proxy */
    node->has_proxy = true;
    proxy->auth =
        cfg->flags & WEIR_CONFIG_PROXY_SHARED ? WEIR_PROXY_AUTH_NONE : WEIR_PROXY_AUTH_FRESH;
    if (!has_user)
        return true;
    if (!cfg->proxy_user || !cfg->proxy_password || proxy->auth == WEIR_PROXY_AUTH_NONE) {
        weir_log(node, WEIR_LOG_ERROR,
                 "config: proxy_user and proxy_password go together, and not with "
                 "WEIR_CONFIG_PROXY_SHARED");
        return false;
    }
    proxy->auth = WEIR_PROXY_AUTH_GIVEN;
    return take_credential(node, "proxy_user", &cfg->proxy_user, proxy->user) &&
           take_credential(node, "proxy_password", &cfg->proxy_password, proxy->password);
}

int weir_config_take(weir_node *node, const struct weir_config *cfg)
{
    struct weir_config *own = &node->cfg;
    int error = weir_struct_take(own, sizeof(*own), cfg);
    if (error) {
        memset(own, 0, sizeof(*own));
        return error;
    }
    own->size = sizeof(*own);
    set_defaults(own);
    if (!check_sizes(node) || !check_limits(node) || !check_times(node) ||
        !take_path(node, "ban_path", &own->ban_path, node->guard.path) ||
        !take_path(node, "stats_path", &own->stats_path, node->stats.path) ||
        !take_text(node, "network_id", &own->network_id, node->network_id, 1,
                   WEIR_NETWORK_ID_BYTES_MAX) ||
        !take_text(node, "user_agent", &own->user_agent, node->user_agent, 0,
                   WEIR_USER_AGENT_BYTES_MAX))
        return WEIR_E_CONFIG;
    if (own->tcp_congestion &&
        !take_text(node, "tcp_congestion", &own->tcp_congestion, node->tcp_congestion, 1,
                   sizeof(node->tcp_congestion) - 1))
        return WEIR_E_CONFIG;
    return take_proxy(node) ? weir_secure_take(node) : WEIR_E_CONFIG;
}

/* It stands in metrics and log lines, and is kept in 32 bytes. */
static bool is_channel_name(weir_node *node, const char *name)
{
    size_t len = name ? strnlen(name, WEIR_CHANNEL_NAME_BYTES) : 0;
    bool is_good = len < WEIR_CHANNEL_NAME_BYTES;
    for (size_t i = 0; is_good && i < len; i++)
        is_good = (unsigned char)name[i] >= 0x20 && name[i] != 0x7F;
    if (!is_good)
        weir_log(node, WEIR_LOG_ERROR,
                 "config: channel name is not a text of up to %u bytes without control characters",
                 WEIR_CHANNEL_NAME_BYTES - 1);
    return is_good;
}

int weir_channel_take(weir_node *node, const struct weir_channel *channel,
                      struct weir_channel *ret_channel)
{
    int error = weir_struct_take(ret_channel, sizeof(*ret_channel), channel);
    if (error)
        return error;
    uint32_t msg_max = ret_channel->msg_bytes_max;
    if (msg_max > WEIR_MSG_BYTES_MAX) {
        in_range(node, "channel msg_bytes_max", msg_max, 1, WEIR_MSG_BYTES_MAX);
        return WEIR_E_CONFIG;
    }
    channel_defaults(ret_channel);
    const struct weir_channel *own = ret_channel;
    if (!is_channel_name(node, own->name) ||
        !in_range(node, "channel id", own->id, 0, WEIR_CHANNEL_ID_MAX) ||
        !in_range(node, "channel weight", own->weight, 1, 1000) ||
        !in_range(node, "channel flags", own->flags, 0, WEIR_CHANNEL_URGENT) ||
        !in_range(node, "channel send_bytes_max", own->send_bytes_max, own->msg_bytes_max,
                  UINT32_C(1) << 30) ||
        !in_range(node, "channel recv_bytes_max", own->recv_bytes_max,
                  own->msg_bytes_max > 16384 ? own->msg_bytes_max : 16384, UINT32_C(1) << 30) ||
        !in_range(node, "channel overflow", own->overflow, 0, WEIR_OVERFLOW_CLOSE) ||
        !in_range(node, "channel rate_send_bytes", own->rate_send_bytes, 0, RATE_BYTES_MAX) ||
        !in_range(node, "channel rate_recv_bytes", own->rate_recv_bytes, 0, RATE_BYTES_MAX) ||
        !in_range(node, "channel rate_send_msgs", own->rate_send_msgs, 0, RATE_MSGS_MAX) ||
        !in_range(node, "channel rate_recv_msgs", own->rate_recv_msgs, 0, RATE_MSGS_MAX))
        return WEIR_E_CONFIG;
    return 0;
}
