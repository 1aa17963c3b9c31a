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
#include "node_print.h"
#include "settings.h"
#include "settings_print.h"

#define SAYS_MAX 16u

/* Settings come in two passes, so that a flag wins over the file wherever --config stands. */
struct node_args {
    struct settings settings;
    const char *config_path;
    bool is_reading_flags; /* second pass */
    bool is_quiet, is_json;
    bool is_print; /* of the configuration, and no more */
    const char *says[SAYS_MAX];
    uint32_t say_cnt;
    weir_ns drain_ns;
};

enum {
    KEY_CONFIG = 1,
    KEY_CHANNEL,
    KEY_LISTEN,
    KEY_PEER,
    KEY_BAN,
    KEY_WELCOME,
    KEY_GOSSIP,
    KEY_SAY,
    KEY_JSON,
    KEY_QUIET,
    KEY_DRAIN,
    KEY_METRICS,
    KEY_PRINT,
    KEY_DISCOVERY,
    KEY_GOSSIP_FIELD = KEY_DISCOVERY + 32,
    KEY_FIELD = KEY_GOSSIP_FIELD + 32
};

static const struct cli_option own_options[] = {
    {"listen", "ADDR", "listen there; may be given up to 16 times", KEY_LISTEN},
    {"peer", "ADDR", "keep this peer dialed; may be given often", KEY_PEER},
    {"ban", "WHOM", "ban an address, a subnet (192.0.2.0/24) or a node id; may be given often",
     KEY_BAN},
    {"welcome", "WHOM",
     "no limit and no score for this address, subnet or node id; may be given often", KEY_WELCOME},
    {"gossip", NULL, "hand on, and print, what nodes with --gossip say", KEY_GOSSIP},
    {"say", "TEXT", "say this to all of them, once; may be given up to 16 times", KEY_SAY},
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
#define OPTIONS_MAX 192

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
    case KEY_SAY:
        name = "say";
        is_good = value[0] != '\0' && args->say_cnt < SAYS_MAX;
        snprintf(why, sizeof(why), "it is empty, or one of more than %u", SAYS_MAX);
        if (is_good)
            args->says[args->say_cnt++] = value;
        break;
    case KEY_GOSSIP:
        name = "gossip";
        is_good = settings_set(&args->settings, name, "yes", why);
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
        struct setting_name setting = {0};
        if (key >= KEY_FIELD)
            (void)settings_name((size_t)(key - KEY_FIELD), &setting);
        else if (key >= KEY_GOSSIP_FIELD)
            (void)gossip_settings_name((size_t)(key - KEY_GOSSIP_FIELD), &setting.name,
                                       &setting.argument, &setting.help);
        else
            (void)discovery_settings_name((size_t)(key - KEY_DISCOVERY), &setting.name,
                                          &setting.argument, &setting.help);
        name = setting.name;
        is_good = settings_set(&args->settings, name, value != NULL ? value : "yes", why);
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
    options[cnt++] = (struct cli_option){
        NULL, NULL, "how messages are handed on, with --gossip (docs/gossip.md):", 0};
    for (size_t i = 0; gossip_settings_name(i, &option.name, &option.argument, &option.help); i++) {
        option.key = KEY_GOSSIP_FIELD + (int)i;
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
            "peer, ban, welcome, gossip and metrics, and a section [channel NAME] per channel. A SIZE may end in K, M or G, a\n"
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
    if (args->say_cnt > 0 && !settings->has_gossip)
        return cli_fail(CLI_USAGE, "node", NULL, "--say needs --gossip");
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

/* ---- life ---------------------------------------------------------------------------------- */

static int build(struct node_args *args, struct node_watch *watch)
{
    struct settings *settings = &args->settings;
    settings_apply(settings);
    secure_options_warn(&settings->secure, "node");
    settings->config.log = cli_log;
    settings->config.log_ctx = (void *)(uintptr_t) "node";
    int error = weir_node_create(&watch->node, &settings->config);
    if (error != 0)
        return cli_fail_weir("node", error, "cannot make a node");
    struct weir_reactor reactor = {
        .size = sizeof(reactor), .ctx = watch, .on_peer = node_print_peer};
    error = weir_node_attach(watch->node, &reactor, settings->channels, settings->channel_cnt);
    if (error != 0)
        return cli_fail_weir("node", error, "cannot attach the channels");
    if (settings->discovery.is_used) {
        error = weir_discovery_attach(&watch->discovery, watch->node,
                                      discovery_settings_config(&settings->discovery));
        if (error != 0)
            return cli_fail_weir("node", error, "cannot begin to find peers");
    }
    if (settings->has_gossip) {
        error = node_gossip_attach(&watch->gossip, watch->node, &settings->gossip, watch->is_json);
        if (error != 0)
            return cli_fail_weir("node", error, "cannot gossip");
    }
    for (uint32_t i = 0; i < settings->listen_cnt; i++) {
        error = weir_node_listen(watch->node, settings->listens[i]);
        if (error != 0)
            return cli_fail_weir("node", error, "cannot listen at %s", settings->listens[i]);
    }
    for (uint32_t i = 0; i < settings->ban_cnt; i++) {
        error = weir_ban(watch->node, settings->bans[i], WEIR_NS_FOREVER, 0);
        if (error != 0)
            return cli_fail_whom("node", error, "ban", settings->bans[i]);
    }
    for (uint32_t i = 0; i < settings->welcome_cnt; i++) {
        error = weir_peer_welcome(watch->node, settings->welcomes[i], 1);
        if (error != 0)
            return cli_fail_whom("node", error, "welcome", settings->welcomes[i]);
    }
    if (settings->metrics != NULL) {
        error = weir_metrics_listen(watch->node, settings->metrics);
        if (error != 0)
            return cli_fail_weir("node", error, "cannot serve metrics at %s", settings->metrics);
    }
    error = weir_node_start(watch->node);
    if (error != 0)
        return cli_fail_weir("node", error, "cannot start");
    node_print_id(watch);
    for (uint32_t i = 0; i < settings->listen_cnt; i++) {
        char address[128];
        if (weir_node_address(watch->node, i, address, sizeof(address)) == 0)
            node_print_listener(watch, address);
    }
    char address[128];
    if (settings->metrics != NULL &&
        weir_metrics_address(watch->node, address, sizeof(address)) == 0)
        node_print_metrics(watch, address);
    fflush(stdout);
    for (uint32_t i = 0; i < settings->peer_cnt; i++) {
        error = weir_dial(watch->node, settings->peers[i], WEIR_DIAL_PERSIST);
        if (error != 0)
            return cli_fail_weir("node", error, "cannot dial %s", settings->peers[i]);
    }
    for (uint32_t i = 0; i < args->say_cnt; i++) {
        error = node_gossip_say(&watch->gossip, args->says[i]);
        if (error != 0)
            return cli_fail_weir("node", error, "cannot say '%.40s'", args->says[i]);
    }
    return -1;
}

/* Whether it is time to end; false for a SIGHUP, which has been seen to. */
static bool is_end(const struct node_watch *watch, int signal_fd)
{
    struct signalfd_siginfo info;
    if (read(signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return false;
    if (info.ssi_signo != SIGHUP)
        return true;
    node_print_bans(watch, weir_ban_take(watch->node));
    return false;
}

static void run_until_signal(const struct node_watch *watch, bool is_quiet, int signal_fd)
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
            node_print_rates(watch, &was, &now, (double)(at - last) / 1e9);
        node_print_discovery(watch);
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
    struct node_watch watch = {0};
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
        node_print_end(&watch, &metrics);
    node_print_discovery(&watch);
    node_gossip_print_end(&watch.gossip);
    code = CLI_OK;
out:
    weir_node_free(watch.node);
    weir_discovery_free(watch.discovery);
    node_gossip_free(&watch.gossip);
    if (signal_fd >= 0)
        close(signal_fd);
    settings_free(&args->settings);
    free(args);
    return code;
}
