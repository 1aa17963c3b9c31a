/* weir demo-node: one process of the demo. Started by `weir demo` only; see demo.h. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <weir/weir.h>

#include "cli.h"
#include "commands.h"
#include "demo.h"
#include "demo_mesh.h"
#include "demo_process.h"
#include "demo_sink.h"
#include "demo_source.h"

void demo_report(const struct demo_node *node, const char *format, ...)
{
    char line[1024]; /* below PIPE_BUF: written whole or not at all */
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof(line) - 1, format, args);
    va_end(args);
    if (len < 0)
        return;
    size_t used = (size_t)len < sizeof(line) - 2 ? (size_t)len : sizeof(line) - 2;
    for (size_t i = 0; i < used; i++) {
        if ((unsigned char)line[i] < 0x20)
            line[i] = '?'; /* a file's name may have a newline in it */
    }
    line[used] = '\n';
    ssize_t written = write(node->report_fd, line, used + 1);
    (void)written; /* the parent is gone: so are we, in a moment */
}

void demo_fail(struct demo_node *node, int exit_code, const char *format, ...)
{
    if (atomic_exchange(&node->has_failed, true))
        return;
    char text[900];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    demo_report(node, "fail %d %s", exit_code, text);
}

static void on_log(void *ctx, int level, const char *line)
{
    const struct demo_node *node = ctx;
    if (level <= WEIR_LOG_WARN)
        fprintf(stderr, "weir: demo: node %u: %s\n", node->idx, line);
}

static int fail_weir(struct demo_node *node, int error, const char *doing)
{
    char text[CLI_ERROR_BYTES];
    demo_fail(node, cli_exit_of(error), "%s: %s; %s", doing, cli_error_text(text, error),
              weir_error_remedy(error));
    return error;
}

static int build(struct demo_node *node, const struct demo_spawn *spawn,
                 const struct weir_reactor *reactor, demo_votes_fn on_votes)
{
    struct weir_config config;
    weir_config_init(&config);
    config.network_id = spawn->network_id;
    config.user_agent = "weir-demo";
    config.tcp_congestion = spawn->congestion;
    config.secure = spawn->policy;
    config.cipher = spawn->cipher;
    config.log = on_log;
    config.log_ctx = node;
    config.log_level = WEIR_LOG_WARN;
    int error = weir_node_create(&node->weir, &config);
    if (error != 0)
        return fail_weir(node, error, "cannot make a node");

    const char *doing;
    error = demo_mesh_attach(node, on_votes, reactor->ctx, &doing);
    if (error != 0)
        return fail_weir(node, error, doing);
    struct weir_channel channels[DEMO_CHANNEL_CNT];
    uint32_t channel_cnt = 0;
    for (size_t i = 0; i < DEMO_CHANNEL_CNT; i++) {
        if (demo_channels[i].id == DEMO_VOTES)
            continue; /* gossip's */
        struct weir_channel *channel = &channels[channel_cnt++];
        weir_channel_init(channel, demo_channels[i].id);
        channel->name = demo_channels[i].name;
        channel->weight = demo_channels[i].weight;
        channel->flags = demo_channels[i].is_urgent ? WEIR_CHANNEL_URGENT : 0;
    }
    error = weir_node_attach(node->weir, reactor, channels, channel_cnt);
    if (error != 0)
        return fail_weir(node, error, "cannot attach the channels");
    error = weir_node_listen(node->weir, "127.0.0.1:0");
    if (error != 0)
        return fail_weir(node, error, "cannot listen at 127.0.0.1");
    weir_node_address(node->weir, 0, node->address, sizeof(node->address));
    error = weir_node_start(node->weir);
    if (error != 0)
        return fail_weir(node, error, "cannot start");
    demo_report(node, "listening %s", node->address);
    return 0;
}

/* Obeys the parent's lines until "quit" or the end of the pipe. Returns whether it was "quit". */
static bool obey(struct demo_node *node, struct demo_source *source, struct demo_sink *sink)
{
    FILE *control = fdopen(node->control_fd, "r");
    char line[256];
    bool is_quit = false;
    while (control != NULL && !is_quit && fgets(line, sizeof(line), control) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "dial ", 5) == 0 && sink != NULL) {
            int error = demo_sink_dial(sink, line + 5);
            if (error != 0)
                fail_weir(node, error, "cannot dial node 1");
        } else if (strcmp(line, "go") == 0 && source != NULL) {
            demo_source_go(source);
        } else if (strcmp(line, "stop") == 0 && source != NULL) {
            demo_source_stop(source);
        } else if (strcmp(line, "quit") == 0) {
            is_quit = true;
        }
    }
    if (control != NULL)
        fclose(control);
    return is_quit;
}

static int run(struct demo_node *node, const struct demo_spawn *spawn)
{
    struct demo_source *source = NULL;
    struct demo_sink *sink = NULL;
    struct weir_reactor reactor;
    if (node->idx == 1) {
        source = demo_source_create(node, spawn->memory_max);
        if (source != NULL)
            reactor = demo_source_reactor(source);
    } else {
        sink = demo_sink_create(node, spawn->memory_max);
        if (sink != NULL)
            reactor = demo_sink_reactor(sink);
    }
    bool is_running = (source != NULL || sink != NULL) &&
                      build(node, spawn, &reactor, sink != NULL ? demo_sink_votes : NULL) == 0;
    /* After a failure too the parent has the word: it ends us by closing the pipe. */
    bool is_quit = obey(node, source, sink);
    if (is_running) {
        node->slot->metrics.size = sizeof(node->slot->metrics);
        weir_metrics_read(node->weir, &node->slot->metrics);
        weir_node_stop(node->weir, is_quit ? WEIR_NS_PER_S : 0);
    }
    weir_node_free(node->weir);
    demo_mesh_free(node);
    demo_source_free(source);
    demo_sink_free(sink);
    return is_quit && !node->has_failed ? CLI_OK : CLI_FAILED;
}

int cmd_demo_node(int argc, char **argv)
{
    struct demo_spawn spawn;
    if (!demo_spawn_read(&spawn, argc, argv))
        return cli_fail(CLI_USAGE, "demo-node", NULL, "only `weir demo` starts this");
    /* Ends us with the parent even if we are stuck; the check is for one that was faster. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != spawn.parent)
        return CLI_FAILED;
    /* A terminal sends Ctrl-C to the parent as well, and the parent decides. */
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    struct demo_slot *slots = mmap(NULL, DEMO_NODES_MAX * sizeof(*slots), PROT_READ | PROT_WRITE,
                                   MAP_SHARED, DEMO_SLOTS_FD, 0);
    if (slots == MAP_FAILED)
        return cli_fail(CLI_ENVIRONMENT, "demo-node", NULL, "mmap: %s", strerror(errno));
    struct demo_node node = {
        .idx = spawn.idx,
        .node_cnt = spawn.node_cnt,
        .directory = spawn.directory,
        .out = spawn.out,
        .control_fd = DEMO_CONTROL_FD,
        .report_fd = DEMO_REPORT_FD,
        .slot = &slots[spawn.idx - 1],
    };
    return run(&node, &spawn);
}
