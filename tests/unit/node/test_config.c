#include "tests/unit/node/config_fixture.h"

TestSuite(config, .init = make_node, .fini = free_node);

/* The documented figures, written down once more. */
#define CONFIG(field, init, low, high) FIELD(weir_config, field, init, low, high, NONE)
static const struct field config_fields[] = {
    CONFIG(shard_cnt, 1, 1, 64),
    CONFIG(peers_max, 1024, 1, 1000000),
    CONFIG(log_level, WEIR_LOG_INFO, WEIR_LOG_ERROR, WEIR_LOG_DEBUG),
    CONFIG(frame_bytes_max, 65536, 4096, 65536),
    CONFIG(send_bytes_max, 524288, 4096, 64 * MIB),
    CONFIG(send_bytes_contended, 135168, 4096, 64 * MIB),
    CONFIG(notsent_lowat_bytes, 131072, 4096, UINT64_C(1) << 30),
    FIELD(weir_config, socket_recv_bytes, 0, 4096, UINT64_C(1) << 30, UINT32_MAX),
    FIELD(weir_config, socket_send_bytes, UINT32_MAX, 4096, UINT64_C(1) << 30, UINT32_MAX),
    CONFIG(recv_buf_bytes, 65536, 2048, 4 * MIB),
    CONFIG(pool_bytes_max, UINT64_C(1) << 30, MIB, UINT64_C(1) << 44),
    CONFIG(peer_bytes_max, 256 * MIB, 65536, UINT64_C(1) << 44),
    CONFIG(mailbox_bytes_max, 64 * MIB, 65536, UINT32_MAX),
    CONFIG(handshakes_max, 256, 1, 1000000),
    CONFIG(dials_max, 1024, 1, 65536),
    CONFIG(handshake_timeout_ns, 10 * S, MS, DAY),
    CONFIG(dial_timeout_ns, 5 * S, MS, DAY),
    CONFIG(ping_interval_ns, 15 * S, MS, DAY),
    CONFIG(ping_timeout_ns, 20 * S, MS, DAY),
    CONFIG(idle_timeout_ns, 60 * S, MS, DAY),
    CONFIG(stall_timeout_ns, 60 * S, MS, DAY),
    CONFIG(redial_min_ns, 250 * MS, MS, 30 * S), /* up to the default of redial_max */
    CONFIG(redial_max_ns, 30 * S, 250 * MS, DAY),
    CONFIG(goodbye_linger_ns, S, MS, DAY),
    CONFIG(spin_ns, 50000, 1, S),
    CONFIG(name_timeout_ns, 10 * S, MS, DAY),
    CONFIG(dial_head_start_ns, 250 * MS, 10 * MS, DAY),
    CONFIG(names_max, 256, 1, 65536),
    FIELD(weir_config, inbound_max, UINT32_MAX, 1, 1000000, UINT32_MAX),
    FIELD(weir_config, outbound_max, UINT32_MAX, 1, 1000000, UINT32_MAX),
    FIELD(weir_config, outbound_address_max, UINT32_MAX, 1, 1000000, UINT32_MAX),
    FIELD(weir_config, outbound_subnet_max, UINT32_MAX, 1, 1000000, UINT32_MAX),
    CONFIG(dials_active_max, 128, 1, 65536),
    CONFIG(trials_max, 16, 1, 64),
    FIELD(weir_config, address_max, 16, 1, 1000000, UINT32_MAX),
    FIELD(weir_config, subnet_max, 64, 1, 1000000, UINT32_MAX),
    FIELD(weir_config, address_burst, 16, 1, 1000000, UINT32_MAX),
    FIELD(weir_config, subnet_burst, 64, 1, 1000000, UINT32_MAX),
    FIELD(weir_config, cookie_pending, 64, 1, 1000000, UINT32_MAX),
    FIELD(weir_config, cookie_rate, 200, 1, 1000000, UINT32_MAX),
    FIELD(weir_config, handshake_rate, 1000, 1, 1000000, UINT32_MAX),
    FIELD(weir_config, known_max, 1024, 1, 1000000, UINT32_MAX),
    FIELD(weir_config, accept_rate, 5000, 1, 1000000, UINT32_MAX),
    CONFIG(subnet_bits_ipv4, 24, 8, 32),
    CONFIG(subnet_bits_ipv6, 56, 16, 64),
    CONFIG(address_interval_ns, 200 * MS, 1000, DAY),
    CONFIG(subnet_interval_ns, 50 * MS, 1000, DAY),
    CONFIG(score_ban, 100, 1, 1000000),
    CONFIG(score_disconnect, 50, 1, 1000000),
    CONFIG(score_half_life_ns, 600 * S, S, DAY),
    CONFIG(ban_ns, 3600 * S, S, 3650 * DAY),
    CONFIG(bans_max, 4096, 1, 65536),
    CONFIG(stats_interval_ns, 500 * MS, 10 * MS, 3600 * S),
    CONFIG(rate_send_bytes, 0, 0, UINT64_C(1000000000000)),
    CONFIG(rate_recv_bytes, 0, 0, UINT64_C(1000000000000)),
    CONFIG(rate_send_msgs, 0, 0, 1000000000),
    CONFIG(rate_recv_msgs, 0, 0, 1000000000),
    CONFIG(upload_bytes, 0, 0, UINT64_C(1000000000000)),
    CONFIG(rate_burst_ns, 100 * MS, 1, 3600 * S),
    CONFIG(turn_warn_ns, 25 * MS, MS, DAY),
};
#define CONFIG_FIELDS (sizeof(config_fields) / sizeof(config_fields[0]))

Test(config, zero_means_the_default)
{
    struct weir_config cfg = empty();
    cr_assert_eq(take(&cfg), 0);
    for (size_t i = 0; i < CONFIG_FIELDS; i++)
        cr_assert_eq(field_get(&node->cfg, &config_fields[i]), config_fields[i].init, "%s is %llu",
                     config_fields[i].name,
                     (unsigned long long)field_get(&node->cfg, &config_fields[i]));
    cr_assert_eq(node->cfg.flags, 0);
    cr_assert_eq(node->cfg.recv_buf_cnt, 8);
    cr_assert_str_eq(node->cfg.network_id, "weir");
    char agent[32];
    snprintf(agent, sizeof(agent), "weir/%s", weir_version());
    cr_assert_str_eq(node->cfg.user_agent, agent);
    cr_assert_null(node->cfg.tcp_congestion);
    cr_assert_eq(node->cfg.size, sizeof(struct weir_config));
}

Test(config, init_writes_every_default_out)
{
    struct weir_config cfg;
    memset(&cfg, 0xEE, sizeof(cfg));
    weir_config_init(&cfg);
    cr_assert_eq(cfg.size, sizeof(cfg));
    for (size_t i = 0; i < CONFIG_FIELDS; i++)
        cr_assert_eq(field_get(&cfg, &config_fields[i]), config_fields[i].init, "%s",
                     config_fields[i].name);
    cr_assert_eq(cfg.recv_buf_cnt, 8);
    cr_assert_str_eq(cfg.network_id, "weir");
    cr_assert_null(cfg.log);
    cr_assert_null(cfg.tcp_congestion);
    cr_assert_eq(take(&cfg), 0);
}

Test(config, each_field_is_taken_at_both_ends_of_its_range_and_not_beyond)
{
    for (size_t i = 0; i < CONFIG_FIELDS; i++) {
        const struct field *field = &config_fields[i];
        struct weir_config cfg = empty();
        const uint64_t good[] = {field->low, field->high,
                                 field->apart == NONE ? field->low : field->apart};
        for (size_t k = 0; k < 3; k++) {
            field_set(&cfg, field, good[k]);
            cr_assert_eq(take(&cfg), 0, "%s = %llu: %s", field->name, (unsigned long long)good[k],
                         said);
            cr_assert_eq(field_get(&node->cfg, field), good[k], "%s", field->name);
        }
        uint64_t bad[] = {field->low - 1, field->high + 1, UINT64_MAX, UINT32_MAX};
        for (size_t k = 0; k < 4; k++) {
            if (bad[k] == 0 || bad[k] == field->apart || !field_holds(field, bad[k]) ||
                (bad[k] >= field->low && bad[k] <= field->high))
                continue;
            field_set(&cfg, field, bad[k]);
            cr_assert_eq(take(&cfg), WEIR_E_CONFIG, "%s = %llu", field->name,
                         (unsigned long long)bad[k]);
            /* A line names what is wrong, except that redial_min is found at redial_max. */
            const char *named = strcmp(field->name, "redial_min_ns") == 0 && bad[k] > field->high
                                    ? "redial_m"
                                    : field->name;
            cr_assert_not_null(strstr(said, named), "%s: \"%s\"", field->name, said);
        }
    }
}

Test(config, only_known_flags_are_taken)
{
    for (uint32_t bit = 0; bit < 32; bit++) {
        struct weir_config cfg = empty();
        cfg.flags = 1u << bit;
        cr_assert_eq(take(&cfg), bit < 6 ? 0 : WEIR_E_CONFIG, "bit %u", bit);
        struct weir_channel channel = {.size = sizeof(channel), .flags = 1u << bit}, own;
        cr_assert_eq(take_channel(&channel, &own), bit < 1 ? 0 : WEIR_E_CONFIG, "bit %u", bit);
    }
}

Test(config, receive_buffers_are_a_power_of_two)
{
    for (uint32_t cnt = 1; cnt <= 70000; cnt++) {
        struct weir_config cfg = empty();
        cfg.recv_buf_cnt = cnt;
        bool is_good = cnt >= 2 && cnt <= 32768 && (cnt & (cnt - 1)) == 0;
        cr_assert_eq(take(&cfg), is_good ? 0 : WEIR_E_CONFIG, "%u", cnt);
    }
}

Test(config, redial_waits_are_in_order)
{
    struct weir_config cfg = empty();
    cfg.redial_min_ns = 2 * S;
    cfg.redial_max_ns = 2 * S;
    cr_assert_eq(take(&cfg), 0);
    cfg.redial_max_ns = 2 * S - 1;
    cr_assert_eq(take(&cfg), WEIR_E_CONFIG);
    cfg.redial_min_ns = DAY;
    cfg.redial_max_ns = DAY;
    cr_assert_eq(take(&cfg), 0);
}

static void expect_text(const char *field, size_t offset, size_t min, size_t max, size_t own_offset)
{
    char text[128], own[128];
    for (size_t len = 0; len < 100; len++) {
        memset(text, 'x', sizeof(text));
        text[len] = '\0';
        struct weir_config cfg = empty();
        const char *at = text;
        memcpy((uint8_t *)&cfg + offset, &at, sizeof(at));
        int error = take(&cfg);
        cr_assert_eq(error, len >= min && len <= max ? 0 : WEIR_E_CONFIG, "%s of %zu", field, len);
        if (error) {
            cr_assert_not_null(strstr(said, field), "%s: \"%s\"", field, said);
            continue;
        }
        const char *taken;
        memcpy(&taken, (uint8_t *)&node->cfg + offset, sizeof(taken));
        cr_assert_eq(taken, (char *)node + own_offset, "%s is copied", field);
        memcpy(own, text, sizeof(text));
        memset(text, '!', len);
        cr_assert_str_eq(taken, own);
    }
    for (int byte = 1; byte < 256; byte++) {
        snprintf(text, sizeof(text), "a%cb", byte);
        struct weir_config cfg = empty();
        const char *at = text;
        memcpy((uint8_t *)&cfg + offset, &at, sizeof(at));
        cr_assert_eq(take(&cfg), byte >= 0x20 && byte <= 0x7E ? 0 : WEIR_E_CONFIG, "%s: %02x",
                     field, byte);
    }
}

Test(config, texts_are_copied_and_of_their_length)
{
    expect_text("network_id", offsetof(struct weir_config, network_id), 1, 32,
                offsetof(struct weir_node, network_id));
    expect_text("user_agent", offsetof(struct weir_config, user_agent), 0, 64,
                offsetof(struct weir_node, user_agent));
    expect_text("tcp_congestion", offsetof(struct weir_config, tcp_congestion), 1, 31,
                offsetof(struct weir_node, tcp_congestion));
}

/* ---- sizes ---------------------------------------------------------------------------------------- */

Test(config, an_older_struct_keeps_the_defaults_of_what_it_does_not_have)
{
    for (size_t i = 0; i < CONFIG_FIELDS; i++) {
        /* It ends right before this field; what lies behind is not looked at. */
        struct weir_config cfg = empty();
        size_t size = config_fields[i].offset;
        if (size <= offsetof(struct weir_config, log_level))
            continue; /* there was never one without a log */
        cfg.peers_max = 77;
        cfg.size = (uint32_t)size;
        memset((uint8_t *)&cfg + size, 0xEE, sizeof(cfg) - size);
        cr_assert_eq(take(&cfg), 0, "before %s: %s", config_fields[i].name, said);
        cr_assert_eq(node->cfg.peers_max, 77);
        for (size_t k = i; k < CONFIG_FIELDS; k++)
            cr_assert_eq(field_get(&node->cfg, &config_fields[k]), config_fields[k].init);
        cr_assert_eq(node->cfg.size, sizeof(cfg));
        cr_assert_null(node->cfg.tcp_congestion);
    }
    /* No more than the size itself. */
    uint32_t alone = sizeof(alone);
    cr_assert_eq(take((const struct weir_config *)(const void *)&alone), 0);
    cr_assert_eq(node->cfg.peers_max, 1024);
}

Test(config, a_newer_struct_is_taken_while_its_new_fields_are_zero)
{
    struct {
        struct weir_config cfg;
        uint8_t more[200];
    } newer = {.cfg = empty()};
    for (uint32_t more = 0; more <= 200; more++) {
        newer.cfg.size = (uint32_t)(sizeof(newer.cfg) + more);
        cr_assert_eq(take(&newer.cfg), 0);
        cr_assert_eq(node->cfg.size, sizeof(newer.cfg));
    }
    for (uint32_t at = 0; at < 200; at++) {
        newer.more[at] = 1;
        newer.cfg.size = (uint32_t)(sizeof(newer.cfg) + at);
        cr_assert_eq(take(&newer.cfg), 0, "it does not say that it has that byte");
        newer.cfg.size++;
        cr_assert_eq(take(&newer.cfg), WEIR_E_VERSION);
        cr_assert_eq(node->cfg.peers_max, 0, "nothing was taken");
        newer.more[at] = 0;
    }
}

Test(config, a_size_that_cannot_be_is_refused)
{
    static const uint32_t sizes[] = {0, 1, 2, 3, 65537, UINT32_MAX};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct weir_config cfg = empty();
        cfg.size = sizes[i];
        cr_assert_eq(take(&cfg), WEIR_E_CONFIG, "%u", sizes[i]);
        struct weir_channel channel = {.size = sizes[i]}, own;
        cr_assert_eq(take_channel(&channel, &own), WEIR_E_CONFIG);
    }
}

/* ---- the proxy ----------------------------------------------------------------------------- */

Test(config, a_proxy_and_its_credentials)
{
    static char text255[256], text256[257];
    memset(text255, 'x', 255);
    memset(text256, 'x', 256);
    static const struct {
        const char *proxy, *user, *password;
        uint32_t flags;
        int error;
        uint8_t auth;
    } cases[] = {
        {"127.0.0.1:9050", NULL, NULL, 0, 0, WEIR_PROXY_AUTH_FRESH},
        {"[::1]:9050", NULL, NULL, WEIR_CONFIG_PROXY_SHARED, 0, WEIR_PROXY_AUTH_NONE},
        {"unix:/run/tor/socks", NULL, NULL, 0, 0, WEIR_PROXY_AUTH_FRESH},
        {"localhost:9050", "me", "secret", 0, 0, WEIR_PROXY_AUTH_GIVEN},
        {"localhost:9050", text255, text255, 0, 0, WEIR_PROXY_AUTH_GIVEN},
        {NULL, NULL, NULL, 0, 0, 0},
        {"localhost", NULL, NULL, 0, WEIR_E_CONFIG, 0},
        {"127.0.0.1:0", NULL, NULL, 0, WEIR_E_CONFIG, 0},
        {"", NULL, NULL, 0, WEIR_E_CONFIG, 0},
        {"socks5://localhost:1", NULL, NULL, 0, WEIR_E_CONFIG, 0},
        {"proxy.onion:1", NULL, NULL, 0, WEIR_E_CONFIG, 0},
        {"localhost:9050", "me", NULL, 0, WEIR_E_CONFIG, 0},
        {"localhost:9050", NULL, "secret", 0, WEIR_E_CONFIG, 0},
        {"localhost:9050", "", "secret", 0, WEIR_E_CONFIG, 0},
        {"localhost:9050", "me", "", 0, WEIR_E_CONFIG, 0},
        {"localhost:9050", text256, "secret", 0, WEIR_E_CONFIG, 0},
        {"localhost:9050", "me", text256, 0, WEIR_E_CONFIG, 0},
        {"localhost:9050", "me", "secret", WEIR_CONFIG_PROXY_SHARED, WEIR_E_CONFIG, 0},
        {NULL, "me", "secret", 0, WEIR_E_CONFIG, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_config cfg = empty();
        cfg.proxy = cases[i].proxy;
        cfg.proxy_user = cases[i].user;
        cfg.proxy_password = cases[i].password;
        cfg.flags = cases[i].flags;
        cr_assert_eq(take(&cfg), cases[i].error, "case %zu: %s", i, said);
        cr_assert_eq(said[0] != '\0', cases[i].error != 0);
        cr_assert_null(strstr(said, "secret"), "%s", said);
        if (cases[i].error)
            continue;
        cr_assert_eq(node->has_proxy, cases[i].proxy != NULL);
        cr_assert_eq(node->proxy.auth, cases[i].auth);
        cr_assert_str_eq(node->proxy.user, cases[i].user ? cases[i].user : "");
        cr_assert_str_eq(node->proxy.password, cases[i].password ? cases[i].password : "");
    }
}
