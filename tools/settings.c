#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "credentials.h"
#include "settings_impl.h"
#include "suggest.h"

enum kind {
    KIND_COUNT,
    KIND_SIZE,
    KIND_SIZE64,
    KIND_TIME,
    KIND_TEXT,
    KIND_LEVEL,
    KIND_SWITCH,
    KIND_LIMIT,      /* a count, or "none" */
    KIND_MODE,       /* permissions of a file */
    KIND_SECRET,     /* a text that no message shows */
    KIND_CREDENTIALS /* a file with user and password, which it sets */
};

struct field {
    const char *name;
    enum kind kind;
    size_t offset;
    uint64_t min, max; /* of a text: its length; of a switch: max is the flag */
    const char *help;
};

#define AT(member) offsetof(struct weir_config, member)
#define DAY (24 * 3600 * WEIR_NS_PER_S)

static const struct field fields[] = {
    {"network-id", KIND_TEXT, AT(network_id), 1, WEIR_NETWORK_ID_BYTES_MAX,
     "nodes of different ids do not talk (weir)"},
    {"user-agent", KIND_TEXT, AT(user_agent), 1, WEIR_USER_AGENT_BYTES_MAX,
     "what the node calls itself (weir/VERSION)"},
    {"shards", KIND_COUNT, AT(shard_cnt), 1, WEIR_SHARDS_MAX,
     "threads with a loop of their own (1)"},
    {"log-level", KIND_LEVEL, AT(log_level), 1, 4, "error, warn, info or debug (info)"},
    {"pin", KIND_SWITCH, AT(flags), 0, WEIR_CONFIG_PIN, "pin each shard to a CPU"},
    {"busy-poll", KIND_SWITCH, AT(flags), 0, WEIR_CONFIG_BUSY_POLL,
     "spin: less latency, full cores"},
    {"peers-max", KIND_COUNT, AT(peers_max), 1, 1000000, "connections per shard (1024)"},
    {"handshakes-max", KIND_COUNT, AT(handshakes_max), 1, 1000000, "of them not ready yet (256)"},
    {"dials-max", KIND_COUNT, AT(dials_max), 1, 65536, "addresses kept dialing (1024)"},
    {"frame-bytes-max", KIND_SIZE, AT(frame_bytes_max), 4096, 65536, "payload of a frame (64K)"},
    {"send-bytes-max", KIND_SIZE, AT(send_bytes_max), 4096, 1u << 26,
     "one send when one channel is busy (512K)"},
    {"send-bytes-contended", KIND_SIZE, AT(send_bytes_contended), 4096, 1u << 26,
     "one send when several compete (132K)"},
    {"notsent-lowat-bytes", KIND_SIZE, AT(notsent_lowat_bytes), 4096, 1u << 30,
     "TCP_NOTSENT_LOWAT then (128K)"},
    {"socket-recv-bytes", KIND_SIZE, AT(socket_recv_bytes), 4096, 1u << 30,
     "SO_RCVBUF (256K for near peers, 128K while channels compete; autotuned for others)"},
    {"socket-send-bytes", KIND_SIZE, AT(socket_send_bytes), 4096, 1u << 30,
     "SO_SNDBUF (autotuned)"},
    {"recv-buf-bytes", KIND_SIZE, AT(recv_buf_bytes), 2048, 1u << 22, "one receive buffer (64K)"},
    {"recv-buf-cnt", KIND_COUNT, AT(recv_buf_cnt), 2, 32768, "of them, a power of two (8)"},
    {"pool-bytes-max", KIND_SIZE64, AT(pool_bytes_max), 1u << 20, 1ull << 44,
     "message memory of a shard (1G)"},
    {"peer-bytes-max", KIND_SIZE64, AT(peer_bytes_max), 1u << 16, 1ull << 44,
     "queued, partial and kept bytes of a peer (256M)"},
    {"mailbox-bytes-max", KIND_SIZE, AT(mailbox_bytes_max), 1u << 16, UINT32_MAX,
     "calls waiting for a shard (64M)"},
    {"handshake-timeout", KIND_TIME, AT(handshake_timeout_ns), WEIR_NS_PER_MS, DAY,
     "connected to ready (10s)"},
    {"dial-timeout", KIND_TIME, AT(dial_timeout_ns), WEIR_NS_PER_MS, DAY, "until connected (5s)"},
    {"ping-interval", KIND_TIME, AT(ping_interval_ns), WEIR_NS_PER_MS, DAY, "between pings (15s)"},
    {"ping-timeout", KIND_TIME, AT(ping_timeout_ns), WEIR_NS_PER_MS, DAY,
     "a later answer closes (20s)"},
    {"idle-timeout", KIND_TIME, AT(idle_timeout_ns), WEIR_NS_PER_MS, DAY,
     "no byte for so long closes (60s)"},
    {"stall-timeout", KIND_TIME, AT(stall_timeout_ns), WEIR_NS_PER_MS, DAY,
     "no byte taken for so long closes (60s)"},
    {"redial-min", KIND_TIME, AT(redial_min_ns), WEIR_NS_PER_MS, DAY,
     "first wait before dialing again (250ms)"},
    {"redial-max", KIND_TIME, AT(redial_max_ns), WEIR_NS_PER_MS, DAY, "longest wait (30s)"},
    {"goodbye-linger", KIND_TIME, AT(goodbye_linger_ns), WEIR_NS_PER_MS, DAY,
     "time for a goodbye to be seen (1s)"},
    {"spin", KIND_TIME, AT(spin_ns), 1, WEIR_NS_PER_S,
     "looking so long before sleeping, where waits are short (50us)"},
    {"name-timeout", KIND_TIME, AT(name_timeout_ns), WEIR_NS_PER_MS, DAY,
     "until a host name is looked up (10s)"},
    {"dial-head-start", KIND_TIME, AT(dial_head_start_ns), 10 * WEIR_NS_PER_MS, DAY,
     "of each address of a name over the next (250ms)"},
    {"names-max", KIND_COUNT, AT(names_max), 1, 65536, "names that wait to be looked up (256)"},
    {"proxy", KIND_TEXT, AT(proxy), 3, 263,
     "dial through this SOCKS5 proxy: HOST:PORT or unix:PATH (none)"},
    {"proxy-auth-file", KIND_CREDENTIALS, 0, 0, 0,
     "USER:PASSWORD for it, in a file of mode 0600 (fresh random ones)"},
    {"proxy-user", KIND_TEXT, AT(proxy_user), 1, 255, "the same here, with"},
    {"proxy-password", KIND_SECRET, AT(proxy_password), 1, 255,
     "which other users of this machine can see"},
    {"proxy-shared", KIND_SWITCH, AT(flags), 0, WEIR_CONFIG_PROXY_SHARED,
     "offer the proxy no credentials: Tor's circuits are shared"},
    {"inbound-max", KIND_LIMIT, AT(inbound_max), 1, 1000000,
     "connections from peers, of the whole node (none)"},
    {"outbound-max", KIND_LIMIT, AT(outbound_max), 1, 1000000, "dialed connections (none)"},
    {"outbound-address-max", KIND_LIMIT, AT(outbound_address_max), 1, 1000000,
     "dialed to one address (none)"},
    {"outbound-subnet-max", KIND_LIMIT, AT(outbound_subnet_max), 1, 1000000,
     "dialed to one subnet (none)"},
    {"dials-active-max", KIND_COUNT, AT(dials_active_max), 1, 65536,
     "dials of a shard that connect at once; others wait (128)"},
    {"trials-max", KIND_COUNT, AT(trials_max), 1, 64,
     "strangers of a shard who show their id first, where ids are welcome (16)"},
    {"address-max", KIND_LIMIT, AT(address_max), 1, 1000000, "inbound from one address (16)"},
    {"subnet-max", KIND_LIMIT, AT(subnet_max), 1, 1000000, "inbound from one subnet (64)"},
    {"subnet-bits-ipv4", KIND_COUNT, AT(subnet_bits_ipv4), 8, 32, "what a subnet is (24)"},
    {"subnet-bits-ipv6", KIND_COUNT, AT(subnet_bits_ipv6), 16, 64, "likewise (56)"},
    {"address-burst", KIND_LIMIT, AT(address_burst), 1, 1000000,
     "new connections of an address at once (16)"},
    {"address-interval", KIND_TIME, AT(address_interval_ns), WEIR_NS_PER_US, DAY,
     "and one more each (200ms)"},
    {"subnet-burst", KIND_LIMIT, AT(subnet_burst), 1, 1000000, "the same of a subnet (64)"},
    {"subnet-interval", KIND_TIME, AT(subnet_interval_ns), WEIR_NS_PER_US, DAY, "(50ms)"},
    {"cookie-pending", KIND_LIMIT, AT(cookie_pending), 1, 1000000,
     "handshakes under way from which on strangers need a cookie (handshakes-max / 4)"},
    {"cookie-rate", KIND_LIMIT, AT(cookie_rate), 1, 1000000,
     "handshakes a second from which on they do (200)"},
    {"handshake-rate", KIND_LIMIT, AT(handshake_rate), 1, 1000000,
     "handshakes a second that are served, per shard (1000)"},
    {"accept-rate", KIND_LIMIT, AT(accept_rate), 1, 1000000,
     "strangers a second, per shard, that are accepted and do not become peers (5000)"},
    {"known-max", KIND_LIMIT, AT(known_max), 1, 1000000,
     "nodes whose key is remembered for a shorter handshake; none: no such handshakes (1024)"},
    {"limit-loopback", KIND_SWITCH, AT(flags), 0, WEIR_CONFIG_LIMIT_LOOPBACK,
     "limits per address and scores count this machine too"},
    {"score-ban", KIND_COUNT, AT(score_ban), 1, 1000000,
     "points of misbehaviour at which an address is banned (100)"},
    {"score-disconnect", KIND_COUNT, AT(score_disconnect), 1, 1000000,
     "at which it is disconnected (50)"},
    {"score-half-life", KIND_TIME, AT(score_half_life_ns), WEIR_NS_PER_S, DAY,
     "in which points halve (10m)"},
    {"ban-time", KIND_TIME, AT(ban_ns), WEIR_NS_PER_S, 3650 * DAY, "how long (1h)"},
    {"bans-max", KIND_COUNT, AT(bans_max), 1, 65536, "bans at once (4096)"},
    {"ban-path", KIND_TEXT, AT(ban_path), 1, 1000, "file in which bans outlive the process (none)"},
    {"rate-send", KIND_SIZE64, AT(rate_send_bytes), 0, 1000000000000,
     "bytes a second to each peer (0: no bound)"},
    {"rate-recv", KIND_SIZE64, AT(rate_recv_bytes), 0, 1000000000000,
     "bytes a second from each peer (0: no bound)"},
    {"rate-send-msgs", KIND_COUNT, AT(rate_send_msgs), 0, 1000000000,
     "messages a second to each peer (0: no bound)"},
    {"rate-recv-msgs", KIND_COUNT, AT(rate_recv_msgs), 0, 1000000000,
     "messages a second from each peer (0: no bound)"},
    {"upload", KIND_SIZE64, AT(upload_bytes), 0, 1000000000000,
     "bytes a second to all peers together (0: no bound)"},
    {"rate-burst", KIND_TIME, AT(rate_burst_ns), 1, 3600 * WEIR_NS_PER_S,
     "worth of each rate that may go at once (100ms)"},
    {"metrics-peers", KIND_COUNT, AT(metrics_peers), 0, 4096,
     "peers of each shard that the metrics tell one by one (0)"},
    {"stats-path", KIND_TEXT, AT(stats_path), 1, 1000,
     "file for `weir stat` and `weir top`, as /dev/shm/weir (none)"},
    {"stats-mode", KIND_MODE, AT(stats_mode), 0, 0, "its permissions: 0600, 0640 or 0644 (0600)"},
    {"stats-interval", KIND_TIME, AT(stats_interval_ns), 10 * WEIR_NS_PER_MS, 3600 * WEIR_NS_PER_S,
     "how often it is written (500ms)"},
    {"turn-warn", KIND_TIME, AT(turn_warn_ns), WEIR_NS_PER_MS, DAY,
     "a longer turn of a shard is counted and logged (25ms)"},
    {"rekey-interval", KIND_TIME, AT(rekey_interval_ns), WEIR_NS_PER_MS, DAY,
     "a connection's key is used for so long at most (2m)"},
    {"tcp-congestion", KIND_TEXT, AT(tcp_congestion), 1, 15, "congestion control (the system's)"},
};

#define FIELD_CNT (sizeof(fields) / sizeof(fields[0]))

void settings_init(struct settings *ret_settings)
{
    memset(ret_settings, 0, sizeof(*ret_settings));
    weir_config_init(&ret_settings->config);
    discovery_settings_init(&ret_settings->discovery);
    weir_gossip_config_init(&ret_settings->gossip);
}

void settings_free(struct settings *settings)
{
    if (settings == NULL)
        return;
    for (size_t i = 0; i < settings->text_cnt; i++)
        free(settings->texts[i]);
    free(settings->texts);
    secure_options_wipe(&settings->secure);
    free(settings->entries);
    memset(settings, 0, sizeof(*settings));
}

void settings_apply(struct settings *settings)
{
    secure_options_apply(&settings->secure, &settings->config);
}

/* A list of `cnt` things with room for one more: its block has room for the power of two from `cnt` on. NULL: memory is
 * short, and the list is as it was. */
static void *with_room(void *list, size_t cnt, size_t size)
{
    if ((cnt & (cnt - 1)) != 0) /* neither 0 nor a power of two: there is room */
        return list;
    return realloc(list, (cnt == 0 ? 1 : 2 * cnt) * size);
}

char *settings_keep(struct settings *settings, const char *text)
{
    char **texts = with_room(settings->texts, settings->text_cnt, sizeof(*texts));
    if (texts == NULL)
        return NULL;
    settings->texts = texts;
    char *copy = strdup(text);
    if (copy != NULL)
        texts[settings->text_cnt++] = copy;
    return copy;
}

bool settings_note(struct settings *settings, uint32_t channel, const char *name, const char *value,
                   char why[SETTINGS_WHY_BYTES])
{
    if (settings->origin == NULL)
        return true;
    size_t cnt = settings->entry_cnt;
    struct setting_entry *entries = with_room(settings->entries, cnt, sizeof(*entries));
    if (entries != NULL) {
        settings->entries = entries;
        struct setting_entry entry = {settings_keep(settings, name), settings_keep(settings, value),
                                      settings_keep(settings, settings->origin), channel};
        if (entry.name != NULL && entry.value != NULL && entry.origin != NULL) {
            entries[settings->entry_cnt++] = entry;
            return true;
        }
    }
    snprintf(why, SETTINGS_WHY_BYTES, "out of memory");
    return false;
}

bool settings_is_secret(const char *name)
{
    for (size_t i = 0; i < FIELD_CNT; i++)
        if (settings_is_name(fields[i].name, name))
            return fields[i].kind == KIND_SECRET;
    return false;
}

bool settings_is_list(const char *name)
{
    static const char *const lists[] = {"listen", "peer",     "ban",       "welcome",
                                        "seed",   "unlisted", "capability"};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        if (settings_is_name(lists[i], name))
            return true;
    return false;
}

bool settings_name(size_t idx, struct setting_name *ret_name)
{
    static const char *const arguments[] = {"N",  "SIZE", "SIZE", "TIME", "TEXT", "LEVEL",
                                            NULL, "N",    "MODE", "TEXT", "FILE"};
    struct secure_name secure;
    if (secure_options_name(idx, &secure)) {
        *ret_name = (struct setting_name){secure.name, secure.argument, secure.help};
        return true;
    }
    idx -= SECURE_NAME_CNT;
    if (idx >= FIELD_CNT)
        return false;
    *ret_name =
        (struct setting_name){fields[idx].name, arguments[fields[idx].kind], fields[idx].help};
    return true;
}

/* A time in the largest unit that it is a whole number of. */
static const char *exact_time(char text[32], unsigned long long ns)
{
    static const struct {
        unsigned long long ns;
        const char *name;
    } units[] = {{3600 * WEIR_NS_PER_S, "h"},
                 {WEIR_NS_PER_S, "s"},
                 {WEIR_NS_PER_MS, "ms"},
                 {WEIR_NS_PER_US, "us"}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (ns % units[i].ns == 0) {
            snprintf(text, 32, "%llu%s", ns / units[i].ns, units[i].name);
            return text;
        }
    }
    snprintf(text, 32, "%lluns", ns);
    return text;
}

static void say_range(const struct field *field, const char *value, char why[SETTINGS_WHY_BYTES])
{
    unsigned long long min = field->min, max = field->max;
    char from[32], to[32];
    switch (field->kind) {
    case KIND_COUNT:
        snprintf(why, SETTINGS_WHY_BYTES, "'%.40s' is not a number from %llu to %llu", value, min,
                 max);
        break;
    case KIND_LIMIT:
        snprintf(why, SETTINGS_WHY_BYTES, "'%.40s' is neither a number from %llu to %llu nor none",
                 value, min, max);
        break;
    case KIND_SIZE:
    case KIND_SIZE64:
        snprintf(why, SETTINGS_WHY_BYTES,
                 "'%.40s' is not a size from %llu to %llu bytes (as 65536, 64K or 1M)", value, min,
                 max);
        break;
    case KIND_TIME:
        snprintf(why, SETTINGS_WHY_BYTES,
                 "'%.40s' is not a time from %s to %s with its unit (as 500ms, 10s or 2m)", value,
                 exact_time(from, min), exact_time(to, max));
        break;
    case KIND_TEXT:
        snprintf(why, SETTINGS_WHY_BYTES, "'%.70s' is not a text of %llu to %llu bytes", value, min,
                 max);
        break;
    case KIND_LEVEL:
        snprintf(why, SETTINGS_WHY_BYTES, "'%.40s' is none of error, warn, info, debug", value);
        break;
    case KIND_MODE:
        snprintf(why, SETTINGS_WHY_BYTES, "'%.40s' is none of 0600, 0640, 0644", value);
        break;
    case KIND_SECRET:
        snprintf(why, SETTINGS_WHY_BYTES, "it is not a text of %llu to %llu bytes", min, max);
        break;
    case KIND_CREDENTIALS: /* has been said */
        break;
    case KIND_SWITCH:
        snprintf(why, SETTINGS_WHY_BYTES, "'%.40s' is neither yes nor no", value);
        break;
    }
}

static bool level_of(const char *text, uint64_t *ret_level)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    for (uint64_t i = 0; i < 4; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret_level = i + 1;
            return true;
        }
    }
    return false;
}

static bool mode_of(const char *text, uint64_t *ret_mode)
{
    static const char *const names[] = {"0600", "0640", "0644"};
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret_mode = strtoull(text, NULL, 8);
            return true;
        }
    }
    return false;
}

static bool set_credentials(struct settings *settings, const char *path,
                            char why[SETTINGS_WHY_BYTES])
{
    struct credentials read;
    char what[160];
    if (!credentials_read(&read, path, what, sizeof(what))) {
        snprintf(why, SETTINGS_WHY_BYTES, "%.80s: %s", path, what);
        return false;
    }
    settings->config.proxy_user = settings_keep(settings, read.user);
    settings->config.proxy_password = settings_keep(settings, read.password);
    explicit_bzero(&read, sizeof(read));
    return settings->config.proxy_user != NULL && settings->config.proxy_password != NULL;
}

static bool set_field(struct settings *settings, const struct field *field, const char *value)
{
    char *at = (char *)&settings->config + field->offset;
    uint64_t number = 0;
    bool is_on = false;
    bool is_good = false;
    switch (field->kind) {
    case KIND_COUNT:
        is_good = cli_number(value, field->min, field->max, &number);
        break;
    case KIND_LIMIT:
        is_good = strcmp(value, "none") == 0;
        number = UINT32_MAX;
        if (!is_good)
            is_good = cli_number(value, field->min, field->max, &number);
        break;
    case KIND_LEVEL:
        is_good = level_of(value, &number);
        break;
    case KIND_MODE:
        is_good = mode_of(value, &number);
        break;
    case KIND_SIZE:
    case KIND_SIZE64:
        is_good = cli_size(value, field->min, field->max, &number);
        break;
    case KIND_TIME:
        is_good = cli_duration(value, field->min, field->max, &number);
        break;
    case KIND_SWITCH:
        is_good = cli_bool(value, &is_on);
        number = is_on ? settings->config.flags | field->max : settings->config.flags & ~field->max;
        break;
    case KIND_CREDENTIALS:
        return false; /* not a field: see set_credentials */
    case KIND_TEXT:
    case KIND_SECRET: {
        size_t len = strlen(value);
        const char *copy =
            len >= field->min && len <= field->max ? settings_keep(settings, value) : NULL;
        if (copy != NULL)
            memcpy(at, &copy, sizeof(copy));
        return copy != NULL;
    }
    }
    if (!is_good)
        return false;
    if (field->kind == KIND_SIZE64 || field->kind == KIND_TIME) {
        memcpy(at, &number, sizeof(number));
    } else {
        uint32_t narrow = (uint32_t)number;
        memcpy(at, &narrow, sizeof(narrow));
    }
    return true;
}

static bool add_address(struct settings *settings, char **list, uint32_t *cnt, uint32_t max,
                        const char *value, char why[SETTINGS_WHY_BYTES])
{
    if (*cnt == max) {
        snprintf(why, SETTINGS_WHY_BYTES, "more than %u addresses", max);
        return false;
    }
    char *copy = settings_keep(settings, value);
    if (copy == NULL) {
        snprintf(why, SETTINGS_WHY_BYTES, "out of memory");
        return false;
    }
    list[(*cnt)++] = copy;
    return true;
}

/* Every name that set_one() knows. */
static const char *any_name(void *ctx, size_t idx)
{
    static const char *const apart[] = {"listen", "peer", "ban", "welcome", "gossip", "metrics"};
    const size_t apart_cnt = sizeof(apart) / sizeof(apart[0]);
    struct setting_name setting;
    const char *name, *argument, *help;
    (void)ctx;
    if (idx < apart_cnt)
        return apart[idx];
    idx -= apart_cnt;
    if (settings_name(idx, &setting))
        return setting.name;
    idx -= SECURE_NAME_CNT + FIELD_CNT;
    if (gossip_settings_name(idx, &name, &argument, &help))
        return name;
    idx -= GOSSIP_SETTINGS_CNT;
    return discovery_settings_name(idx, &name, &argument, &help) ? name : NULL;
}

static bool set_one(struct settings *settings, const char *name, const char *value,
                    char why[SETTINGS_WHY_BYTES])
{
    for (size_t i = 0; i < FIELD_CNT; i++) {
        if (!settings_is_name(fields[i].name, name))
            continue;
        if (fields[i].kind == KIND_CREDENTIALS)
            return set_credentials(settings, value, why);
        if (set_field(settings, &fields[i], value))
            return true;
        say_range(&fields[i], value, why);
        return false;
    }
    if (strcmp(name, "listen") == 0)
        return add_address(settings, settings->listens, &settings->listen_cnt, SETTINGS_LISTENS_MAX,
                           value, why);
    if (strcmp(name, "peer") == 0)
        return add_address(settings, settings->peers, &settings->peer_cnt, SETTINGS_PEERS_MAX,
                           value, why);
    if (strcmp(name, "ban") == 0)
        return add_address(settings, settings->bans, &settings->ban_cnt, SETTINGS_PEERS_MAX, value,
                           why);
    if (strcmp(name, "welcome") == 0)
        return add_address(settings, settings->welcomes, &settings->welcome_cnt, SETTINGS_PEERS_MAX,
                           value, why);
    if (strcmp(name, "gossip") == 0) {
        snprintf(why, SETTINGS_WHY_BYTES, "'%.40s' is neither yes nor no", value);
        return cli_bool(value, &settings->has_gossip);
    }
    if (strcmp(name, "metrics") == 0) {
        settings->metrics = settings_keep(settings, value);
        snprintf(why, SETTINGS_WHY_BYTES, "out of memory");
        return settings->metrics != NULL;
    }
    int is_set = discovery_settings_set(&settings->discovery, name, value, why);
    if (is_set < 0)
        is_set = gossip_settings_set(&settings->gossip, name, value, why);
    if (is_set >= 0)
        return is_set == 1;
    bool is_known;
    if (secure_options_set(&settings->secure, name, value, &is_known, why, SETTINGS_WHY_BYTES))
        return true;
    if (is_known)
        return false;
    char hint[SUGGEST_BYTES];
    snprintf(why, SETTINGS_WHY_BYTES, "there is no such setting%s",
             suggest(hint, "", name, any_name, NULL));
    return false;
}

bool settings_set(struct settings *settings, const char *name, const char *value,
                  char why[SETTINGS_WHY_BYTES])
{
    if (!set_one(settings, name, value, why))
        return false;
    if (strcmp(name, "plain") ==
        0) { /* noted as what it is another name of, so that one line says it */
        name = "policy";
        value = settings->secure.policy == WEIR_SECURE_PLAIN ? "plain" : "require";
    }
    return settings_note(settings, 0, name, value, why);
}

bool settings_default(size_t idx, char ret_value[SETTINGS_DEFAULT_BYTES])
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    if (idx < SECURE_NAME_CNT) {
        const char *said = secure_options_default(idx);
        snprintf(ret_value, SETTINGS_DEFAULT_BYTES, "%s", said != NULL ? said : "");
        return said != NULL;
    }
    const struct field *field = &fields[idx - SECURE_NAME_CNT];
    struct weir_config cfg;
    weir_config_init(&cfg);
    const char *at = (const char *)&cfg + field->offset, *text;
    uint64_t number = 0;
    uint32_t narrow;
    char time[32];
    if (field->kind == KIND_SIZE64 || field->kind == KIND_TIME) {
        memcpy(&number, at, sizeof(number));
    } else if (field->kind != KIND_TEXT) {
        memcpy(&narrow, at, sizeof(narrow));
        number = narrow;
    }
    if (number < field->min || (field->kind != KIND_LIMIT && number > field->max)) {
        if (field->kind != KIND_TEXT && field->kind != KIND_SWITCH && field->kind != KIND_MODE)
            return false;
    }
    switch (field->kind) {
    case KIND_LIMIT:
        if (number == UINT32_MAX) {
            snprintf(ret_value, SETTINGS_DEFAULT_BYTES, "none");
            return true;
        }
        if (number > field->max)
            return false;
        break;
    case KIND_COUNT:
    case KIND_SIZE:
    case KIND_SIZE64:
        break;
    case KIND_TIME:
        snprintf(ret_value, SETTINGS_DEFAULT_BYTES, "%s", exact_time(time, number));
        return true;
    case KIND_LEVEL:
        snprintf(ret_value, SETTINGS_DEFAULT_BYTES, "%s", levels[number - 1]);
        return true;
    case KIND_MODE:
        snprintf(ret_value, SETTINGS_DEFAULT_BYTES, "%04o", (unsigned)number);
        return true;
    case KIND_SWITCH:
        snprintf(ret_value, SETTINGS_DEFAULT_BYTES, "%s", number & field->max ? "yes" : "no");
        return true;
    case KIND_TEXT:
        memcpy(&text, at, sizeof(text));
        if (text == NULL || strlen(text) < field->min || strlen(text) >= SETTINGS_DEFAULT_BYTES)
            return false;
        snprintf(ret_value, SETTINGS_DEFAULT_BYTES, "%s", text);
        return true;
    case KIND_SECRET:
    case KIND_CREDENTIALS:
        return false;
    }
    snprintf(ret_value, SETTINGS_DEFAULT_BYTES, "%llu", (unsigned long long)number);
    return true;
}
