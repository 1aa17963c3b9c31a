/* weir node: a node that listens, keeps its peers dialed, and says what it sees. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <weir/weir.h>

#include "cli.h"
#include "commands.h"
#include "ini_config.h"
#include "json_out.h"
#include "settings.h"
#include "settings_print.h"

/* Settings come in two passes, so that a flag wins over the file wherever --config stands. */
struct node_args {
    struct settings settings;
    const char *config_path;
    bool is_reading_flags; /* second pass */
    bool is_quiet, is_json;
    bool is_print; /* of the configuration, and no more */
    weir_ns drain_ns;
};

enum {
    KEY_CONFIG = 1,
    KEY_CHANNEL,
    KEY_LISTEN,
    KEY_PEER,
    KEY_BAN,
    KEY_WELCOME,
    KEY_JSON,
    KEY_QUIET,
    KEY_DRAIN,
    KEY_METRICS,
    KEY_PRINT,
    KEY_DISCOVERY,
    KEY_FIELD = KEY_DISCOVERY + 32
};

static const struct cli_option own_options[] = {
    {"listen", "ADDR", "listen there; may be given up to 16 times", KEY_LISTEN},
    {"peer", "ADDR", "keep this peer dialed; may be given often", KEY_PEER},
    {"ban", "WHOM", "ban an address, a subnet (192.0.2.0/24) or a node id; may be given often",
     KEY_BAN},
    {"welcome", "WHOM",
     "no limit and no score for this address, subnet or node id; may be given often", KEY_WELCOME},
    {"channel", "SPEC", "attach a channel; may be given often", KEY_CHANNEL},
    {"config", "FILE", "read an INI file; flags win over it", KEY_CONFIG},
    {"print-config", NULL, "print every setting and where it comes from, as an INI file; end",
     KEY_PRINT},
    {"metrics", "ADDR", "serve metrics there over HTTP, in Prometheus' format", KEY_METRICS},
    {"drain", "TIME", "how long stopping may wait for queued messages (2s)", KEY_DRAIN},
    {"quiet", NULL, "no line of rates every second", KEY_QUIET},
    {"json", NULL, "print JSON, one object per line", KEY_JSON},
    {NULL, NULL, "settings (defaults in brackets):", 0},
};

#define OWN_CNT (sizeof(own_options) / sizeof(own_options[0]))
#define OPTIONS_MAX 128

static int set_option(void *ctx, int key, const char *value)
{
    struct node_args *args = ctx;
    char why[SETTINGS_WHY_BYTES];
    if (!args->is_reading_flags) {
        if (key == KEY_CONFIG)
            args->config_path = value;
        return -1;
    }
    bool is_good = true;
    const char *name = "";
    args->settings.origin = "flag";
    switch (key) {
    case KEY_CONFIG:
        break;
    case KEY_JSON:
        args->is_json = true;
        break;
    case KEY_PRINT:
        args->is_print = true;
        break;
    case KEY_QUIET:
        args->is_quiet = true;
        break;
    case KEY_DRAIN:
        name = "drain";
        is_good = cli_duration(value, 0, 3600 * WEIR_NS_PER_S, &args->drain_ns);
        snprintf(why, sizeof(why), "'%.40s' is not a time from 0s to 1h with its unit", value);
        break;
    case KEY_CHANNEL:
        name = "channel";
        is_good = settings_add_channel(&args->settings, value, why);
        break;
    case KEY_LISTEN:
    case KEY_PEER:
    case KEY_BAN:
    case KEY_WELCOME:
    case KEY_METRICS:
        name = key == KEY_PEER      ? "peer"
               : key == KEY_BAN     ? "ban"
               : key == KEY_WELCOME ? "welcome"
               : key == KEY_METRICS ? "metrics"
                                    : "listen";
        is_good = settings_set(&args->settings, name, value, why);
        break;
    default: {
        struct setting_name setting;
        const char *argument, *help;
        if (key < KEY_FIELD &&
            discovery_settings_name((size_t)(key - KEY_DISCOVERY), &name, &argument, &help)) {
            is_good = settings_set(&args->settings, name, value != NULL ? value : "yes", why);
        } else if (settings_name((size_t)(key - KEY_FIELD), &setting)) {
            name = setting.name;
            is_good = settings_set(&args->settings, name, value != NULL ? value : "yes", why);
        }
    }
    }
    if (is_good)
        return -1;
    return cli_fail(CLI_USAGE, "node", NULL, "--%s: %s (WEIR_E_CONFIG)", name, why);
}

static int read_args(struct node_args *args, int argc, char **argv)
{
    struct cli_option options[OPTIONS_MAX];
    size_t cnt;
    size_t head = OWN_CNT - 1; /* the line above the settings */
    memcpy(options, own_options, head * sizeof(own_options[0]));
    cnt = head;
    options[cnt++] = (struct cli_option){NULL, NULL, "finding peers (docs/discovery.md):", 0};
    struct cli_option option = {0};
    for (size_t i = 0; discovery_settings_name(i, &option.name, &option.argument, &option.help);
         i++) {
        option.key = KEY_DISCOVERY + (int)i;
        options[cnt++] = option;
    }
    options[cnt++] = own_options[head];
    struct setting_name setting;
    for (size_t i = 0; cnt < OPTIONS_MAX && settings_name(i, &setting); i++)
        options[cnt++] =
            (struct cli_option){setting.name, setting.argument, setting.help, KEY_FIELD + (int)i};
    const struct cli_command command = {
        .name = "node",
        .usage = "[--listen ADDR]... [--peer ADDR]... [--channel SPEC]... [--config FILE]",
        .intro = "Runs a node until SIGINT or SIGTERM. Messages that arrive are counted.",
        .notes =
            "A channel's SPEC is a list of\n" SETTINGS_CHANNEL_HELP "\n"
            "Without any, one channel with id 1 and the defaults is attached.\n\n"
            "The INI file has the same names: a section [node] with the settings, listen,\n"
            "peer, ban, welcome and metrics, and a section [channel NAME] per channel. A SIZE may end in K, M or G, a\n"
            "TIME ends in ms, s, m or h.",
        .options = options,
        .option_cnt = cnt,
        .set = set_option,
    };
    int code = cli_parse(&command, argc, argv, args);
    if (code >= 0)
        return code;
    if (args->config_path != NULL) {
        code = ini_config_read("node", args->config_path, &args->settings);
        if (code >= 0)
            return code;
    }
    args->is_reading_flags = true;
    code = cli_parse(&command, argc, argv, args);
    if (code >= 0)
        return code;

    char why[SETTINGS_WHY_BYTES];
    struct settings *settings = &args->settings;
    if (!settings_check(settings, why))
        return cli_fail(CLI_USAGE, "node", NULL, "%s (WEIR_E_CONFIG)", why);
    settings->origin = "default";
    if (args->is_print)
        return settings->channel_cnt > 0 || settings_add_channel(settings, "id=1,name=default", why)
                   ? -1
                   : cli_fail(CLI_FAILED, "node", NULL, "%s", why);
    if (settings->listen_cnt + settings->peer_cnt == 0 && !settings->discovery.is_used)
        return cli_fail(CLI_USAGE, "node", "see weir node --help",
                        "neither --listen nor --peer nor --seed is given: nothing to do");
    if (settings->channel_cnt == 0 && !settings_add_channel(settings, "id=1,name=default", why))
        return cli_fail(CLI_FAILED, "node", NULL, "%s", why);
    return -1;
}

/* ---- what is printed ----------------------------------------------------------------------- */

struct watch {
    weir_node *node;
    weir_discovery *discovery; /* NULL: none */
    bool is_json;
};

static void print_json(struct json_out *take)
{
    if (!json_out_print(stdout, take, false))
        fprintf(stderr, "weir: node: cannot write to standard output\n");
}

static void print_listener(const struct watch *watch, const char *address)
{
    if (watch->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", "listening");
        json_out_text(object, "address", address);
        print_json(object);
    } else {
        printf("listening at %s\n", address);
    }
}

static void print_metrics(const struct watch *watch, const char *address)
{
    if (watch->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", "metrics");
        json_out_text(object, "address", address);
        print_json(object);
    } else {
        printf("metrics at http://%s/metrics\n", address);
    }
}

static void print_id(const struct watch *watch)
{
    struct weir_id id;
    char text[WEIR_ID_TEXT_BYTES];
    if (weir_node_id(watch->node, &id) != 0)
        return; /* it is plain */
    weir_id_text(&id, text);
    if (watch->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", "id");
        json_out_text(object, "id", text);
        print_json(object);
    } else {
        printf("id %s\n", text);
    }
}

/* On the shard's thread. One print call per line, because shards share the stream. */
static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    const struct watch *watch = ctx;
    static const char *const names[] = {"?", "up", "down", "failed"};
    const char *name = event >= 1 && event <= 3 ? names[event] : names[0];
    struct weir_peer_info info = {.size = sizeof(info)};
    bool is_known = peer.v != 0 && weir_peer_info(watch->node, peer, &info) == 0;
    const char *address = is_known ? info.address : "";
    char node_id[WEIR_ID_TEXT_BYTES] = "";
    if (is_known && info.is_secure)
        weir_id_text(&info.id, node_id);
    if (watch->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", name);
        char id[20];
        snprintf(id, sizeof(id), "%" PRIx64, peer.v);
        json_out_text(object, "peer", id);
        json_out_text(object, "address", address);
        if (event == WEIR_PEER_UP && is_known) {
            json_out_bool(object, "is_dialer", info.is_dialer != 0);
            json_out_text(object, "user_agent", info.user_agent);
            json_out_bool(object, "is_secure", info.is_secure != 0);
            if (info.is_secure)
                json_out_text(object, "id", node_id);
            json_out_count(object, "channels", info.channel_cnt);
        } else {
            json_out_text(object, "reason", weir_reason_name(reason));
        }
        print_json(object);
    } else if (event == WEIR_PEER_UP) {
        printf("peer %" PRIx64 " up: %s, %s, %s, %u channels\n", peer.v, address,
               is_known && info.is_dialer ? "dialed" : "accepted",
               is_known && info.user_agent[0] != '\0' ? info.user_agent : "no user agent",
               is_known ? info.channel_cnt : 0);
    } else if (peer.v != 0) {
        printf("peer %" PRIx64 " %s: %s%s%s: %s\n", peer.v, name, address, is_known ? ", " : "",
               weir_reason_name(reason), weir_reason_text(reason));
    } else {
        printf("dial %s: %s: %s\n", name, weir_reason_name(reason), weir_reason_text(reason));
    }
    fflush(stdout);
}

static void sum_msgs(const struct weir_metrics *metrics, uint64_t *ret_sent, uint64_t *ret_received)
{
    *ret_sent = *ret_received = 0;
    for (uint32_t i = 0; i < metrics->channel_cnt && i < WEIR_CHANNELS_MAX; i++) {
        *ret_sent += metrics->channels[i].msgs_sent;
        *ret_received += metrics->channels[i].msgs_received;
    }
}

static void print_rates(const struct watch *watch, const struct weir_metrics *was,
                        const struct weir_metrics *now, double seconds)
{
    uint64_t sent_was, received_was, sent, received;
    sum_msgs(was, &sent_was, &received_was);
    sum_msgs(now, &sent, &received);
    double in = (double)(now->wire_bytes_received - was->wire_bytes_received) / seconds;
    double out = (double)(now->wire_bytes_sent - was->wire_bytes_sent) / seconds;
    double msgs_in = (double)(received - received_was) / seconds;
    double msgs_out = (double)(sent - sent_was) / seconds;
    if (watch->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", "rates");
        json_out_count(object, "peers", now->peers);
        json_out_real(object, "bytes_in_per_s", in);
        json_out_real(object, "bytes_out_per_s", out);
        json_out_real(object, "msgs_in_per_s", msgs_in);
        json_out_real(object, "msgs_out_per_s", msgs_out);
        json_out_count(object, "frames_failed", now->frames_failed);
        json_out_count(object, "pool_bytes", now->pool_bytes);
        print_json(object);
        return;
    }
    char in_text[CLI_TEXT_BYTES], out_text[CLI_TEXT_BYTES];
    printf("%" PRIu64
           " peers  in %s, %.0f messages/s  out %s, %.0f messages/s  failed frames %" PRIu64 "\n",
           now->peers, cli_rate_text(in_text, in), msgs_in, cli_rate_text(out_text, out), msgs_out,
           now->frames_failed);
    fflush(stdout);
}

static void print_discovery(const struct watch *watch)
{
    struct weir_discovery_info info = {.size = sizeof(info)};
    if (watch->discovery == NULL || weir_discovery_read(watch->discovery, &info) != 0)
        return;
    if (watch->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", "discovery");
        json_out_count(object, "outbound", info.outbound_cnt);
        json_out_count(object, "inbound", info.inbound_cnt);
        json_out_count(object, "dialing", info.dialing_cnt);
        json_out_count(object, "tried", info.tried_cnt);
        json_out_count(object, "new", info.new_cnt);
        json_out_count(object, "asks_sent", info.asks_sent);
        json_out_count(object, "asks_refused", info.asks_refused);
        json_out_count(object, "answers_sent", info.answers_sent);
        json_out_count(object, "answers_taken", info.answers_taken);
        print_json(object);
        return;
    }
    printf("discovery: %u outbound, %u inbound, %u being dialed; known: %u tried, %u new\n",
           info.outbound_cnt, info.inbound_cnt, info.dialing_cnt, info.tried_cnt, info.new_cnt);
    fflush(stdout);
}

static void print_end(const struct watch *watch, const struct weir_metrics *metrics)
{
    uint64_t sent, received;
    sum_msgs(metrics, &sent, &received);
    if (watch->is_json) {
        struct json_out *object = json_out_object(), *closes = json_out_object();
        json_out_text(object, "event", "end");
        json_out_count(object, "accepted", metrics->accepted);
        json_out_count(object, "dialed", metrics->dialed);
        json_out_count(object, "msgs_sent", sent);
        json_out_count(object, "msgs_received", received);
        json_out_count(object, "wire_bytes_sent", metrics->wire_bytes_sent);
        json_out_count(object, "wire_bytes_received", metrics->wire_bytes_received);
        json_out_count(object, "frames_received", metrics->frames_received);
        json_out_count(object, "frames_failed", metrics->frames_failed);
        for (int i = 0; i < WEIR_REASON_CNT; i++) {
            if (metrics->closes[i] != 0)
                json_out_count(closes, weir_reason_name(i), metrics->closes[i]);
        }
        json_out_put(object, "closes", closes);
        print_json(object);
        return;
    }
    printf("ended: %" PRIu64 " accepted, %" PRIu64 " dialed; %" PRIu64
           " messages received, %" PRIu64 " sent; %" PRIu64 " frames checked, %" PRIu64 " failed\n",
           metrics->accepted, metrics->dialed, received, sent, metrics->frames_received,
           metrics->frames_failed);
    for (int i = 0; i < WEIR_REASON_CNT; i++) {
        if (metrics->closes[i] != 0)
            printf("closed by reason: %s %" PRIu64 "\n", weir_reason_name(i), metrics->closes[i]);
    }
    fflush(stdout);
}

/* ---- life ---------------------------------------------------------------------------------- */

static int build(struct node_args *args, struct watch *watch)
{
    struct settings *settings = &args->settings;
    settings_apply(settings);
    secure_options_warn(&settings->secure, "node");
    settings->config.log = cli_log;
    settings->config.log_ctx = (void *)(uintptr_t) "node";
    int error = weir_node_create(&watch->node, &settings->config);
    if (error != 0)
        return cli_fail_weir("node", error, "cannot make a node");
    struct weir_reactor reactor = {.size = sizeof(reactor), .ctx = watch, .on_peer = on_peer};
    error = weir_node_attach(watch->node, &reactor, settings->channels, settings->channel_cnt);
    if (error != 0)
        return cli_fail_weir("node", error, "cannot attach the channels");
    if (settings->discovery.is_used) {
        error = weir_discovery_attach(&watch->discovery, watch->node,
                                      discovery_settings_config(&settings->discovery));
        if (error != 0)
            return cli_fail_weir("node", error, "cannot begin to find peers");
    }
    for (uint32_t i = 0; i < settings->listen_cnt; i++) {
        error = weir_node_listen(watch->node, settings->listens[i]);
        if (error != 0)
            return cli_fail_weir("node", error, "cannot listen at %s", settings->listens[i]);
    }
    for (uint32_t i = 0; i < settings->ban_cnt; i++) {
        error = weir_ban(watch->node, settings->bans[i], WEIR_NS_FOREVER, 0);
        if (error != 0)
            return cli_fail_weir("node", error, "cannot ban %s", settings->bans[i]);
    }
    for (uint32_t i = 0; i < settings->welcome_cnt; i++) {
        error = weir_peer_welcome(watch->node, settings->welcomes[i], 1);
        if (error != 0)
            return cli_fail_weir("node", error, "cannot welcome %s", settings->welcomes[i]);
    }
    if (settings->metrics != NULL) {
        error = weir_metrics_listen(watch->node, settings->metrics);
        if (error != 0)
            return cli_fail_weir("node", error, "cannot serve metrics at %s", settings->metrics);
    }
    error = weir_node_start(watch->node);
    if (error != 0)
        return cli_fail_weir("node", error, "cannot start");
    print_id(watch);
    for (uint32_t i = 0; i < settings->listen_cnt; i++) {
        char address[128];
        if (weir_node_address(watch->node, i, address, sizeof(address)) == 0)
            print_listener(watch, address);
    }
    char address[128];
    if (settings->metrics != NULL &&
        weir_metrics_address(watch->node, address, sizeof(address)) == 0)
        print_metrics(watch, address);
    fflush(stdout);
    for (uint32_t i = 0; i < settings->peer_cnt; i++) {
        error = weir_dial(watch->node, settings->peers[i], WEIR_DIAL_PERSIST);
        if (error != 0)
            return cli_fail_weir("node", error, "cannot dial %s", settings->peers[i]);
    }
    return -1;
}

/* What `weir ban` asked for. */
static void take_bans(const struct watch *watch)
{
    int64_t done = weir_ban_take(watch->node);
    if (done < 0) {
        (void)cli_fail_weir("node", (int)done, "bans: what was asked for is not all done");
        return;
    }
    if (watch->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", "bans");
        json_out_count(object, "taken", (uint64_t)done);
        print_json(object);
        return;
    }
    printf("bans: %" PRId64 " taken\n", done);
    fflush(stdout);
}

/* Whether it is time to end; false for a SIGHUP, which has been seen to. */
static bool is_end(const struct watch *watch, int signal_fd)
{
    struct signalfd_siginfo info;
    if (read(signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return false;
    if (info.ssi_signo != SIGHUP)
        return true;
    take_bans(watch);
    return false;
}

static void run_until_signal(const struct watch *watch, bool is_quiet, int signal_fd)
{
    static struct weir_metrics was, now;
    was.size = now.size = sizeof(now);
    weir_metrics_read(watch->node, &was);
    weir_ns last = weir_now();
    weir_ns next = last + WEIR_NS_PER_S;
    for (;;) {
        weir_ns at = weir_now();
        int wait_ms = is_quiet ? -1 : at >= next ? 0 : (int)((next - at) / WEIR_NS_PER_MS) + 1;
        struct pollfd wait = {.fd = signal_fd, .events = POLLIN};
        if (poll(&wait, 1, wait_ms) > 0 && is_end(watch, signal_fd))
            return;
        at = weir_now();
        if (is_quiet || at < next)
            continue;
        if (weir_metrics_read(watch->node, &now) == 0)
            print_rates(watch, &was, &now, (double)(at - last) / 1e9);
        print_discovery(watch);
        was = now;
        last = at;
        next += WEIR_NS_PER_S;
    }
}

int cmd_node(int argc, char **argv)
{
    struct node_args *args = calloc(1, sizeof(*args));
    if (args == NULL)
        return cli_fail_weir("node", WEIR_E_NOMEM, "cannot begin");
    settings_init(&args->settings);
    args->drain_ns = 2 * WEIR_NS_PER_S;
    struct watch watch = {0};
    int signal_fd = -1;
    int code = read_args(args, argc, argv);
    if (code >= 0)
        goto out;
    if (args->is_print) {
        settings_print(&args->settings, stdout);
        code = fflush(stdout) == 0
                   ? CLI_OK
                   : cli_fail(CLI_FAILED, "node", NULL, "cannot write to standard output");
        goto out;
    }
    watch.is_json = args->is_json;
    /* Without a file of bans there is nothing to read anew, and a terminal that goes takes the node along. */
    signal_fd = args->settings.config.ban_path != NULL ? cli_signals_and_hangup() : cli_signals();
    if (signal_fd < 0) {
        code = cli_fail(CLI_ENVIRONMENT, "node", NULL, "signalfd: %s", strerror(errno));
        goto out;
    }
    code = build(args, &watch);
    if (code >= 0)
        goto out;
    run_until_signal(&watch, args->is_quiet, signal_fd);
    if (weir_node_stop(watch.node, args->drain_ns) == WEIR_E_TIMEOUT)
        fprintf(stderr, "weir: node: warning: queued messages were given up after the drain\n");
    static struct weir_metrics metrics;
    metrics.size = sizeof(metrics);
    if (weir_metrics_read(watch.node, &metrics) == 0)
        print_end(&watch, &metrics);
    print_discovery(&watch);
    code = CLI_OK;
out:
    weir_node_free(watch.node);
    weir_discovery_free(watch.discovery);
    if (signal_fd >= 0)
        close(signal_fd);
    settings_free(&args->settings);
    free(args);
    return code;
}
