/* weir demo: several node processes on this machine exchange real files, every byte checked. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weir/weir.h>

#include "cli.h"
#include "commands.h"
#include "demo_run.h"

#define READY_NS (60 * WEIR_NS_PER_S) /* for connecting, and for the last messages */
#define MEET_NS (2 * WEIR_NS_PER_S)   /* for hearing of all others; who has not goes on looking */
#define STALL_NS (60 * WEIR_NS_PER_S) /* without a byte of the first copy */

struct demo {
    struct demo_run run;
    struct demo_view view;
    bool is_json;
    int signal_fd, slots_fd;
    char network_id[32];
    uint64_t memory_max; /* of one node, for the files */
    bool has_memory_max;
    char outs[DEMO_NODES_MAX][512];
    uint32_t started_cnt;
    weir_ns ready_ns;          /* since when all are connected to node 1; 0: not yet */
    char source_address[1100]; /* "" until node 1 listens */
    /* A failure of one node often is the consequence of another's death, which is heard of a moment
     * later: it is told when nothing better has come until then. */
    char failure[1200];
    int failure_code;
    weir_ns failure_due; /* 0: none */
};

enum {
    KEY_NODES = 1,
    KEY_SECONDS,
    KEY_OUT,
    KEY_MEMORY,
    KEY_CONGESTION,
    KEY_PLAIN,
    KEY_CIPHER,
    KEY_JSON
};

static const struct cli_option options[] = {
    {"nodes", "N", "node processes, 2..32 (4)", KEY_NODES},
    {"seconds", "S", "how long, 1..3600 (10); the first copy is always completed", KEY_SECONDS},
    {"out", "DIR", "store the first copy too, as DIR/node-2, DIR/node-3, ...", KEY_OUT},
    {"memory", "SIZE", "what one node may use for the files (half of what is free, shared)",
     KEY_MEMORY},
    {"tcp-congestion", "NAME", "or \"system\" (cubic where allowed: bbr paces even loopback)",
     KEY_CONGESTION},
    {"plain", NULL, "neither encrypted nor authenticated", KEY_PLAIN},
    {"cipher", "NAME", "chacha20-poly1305 (default) or aes-256-gcm", KEY_CIPHER},
    {"json", NULL, "print the result as JSON", KEY_JSON},
};

static int set_option(void *ctx, int key, const char *value)
{
    struct demo *demo = ctx;
    uint64_t number;
    switch (key) {
    case KEY_NODES:
        if (!cli_number(value, 2, DEMO_NODES_MAX, &number))
            return cli_fail(CLI_USAGE, "demo", NULL, "--nodes is 2 to 32, not '%s'", value);
        demo->run.node_cnt = (uint32_t)number;
        break;
    case KEY_SECONDS:
        if (!cli_number(value, 1, 3600, &number))
            return cli_fail(CLI_USAGE, "demo", NULL, "--seconds is 1 to 3600, not '%s'", value);
        demo->run.seconds = number;
        break;
    case KEY_OUT:
        demo->run.out = value;
        break;
    case KEY_MEMORY:
        if (!cli_size(value, 0, UINT64_MAX, &demo->memory_max))
            return cli_fail(CLI_USAGE, "demo", NULL, "--memory is a size as 512M or 2G, not '%s'",
                            value);
        demo->has_memory_max = true;
        break;
    case KEY_CONGESTION:
        demo->run.congestion = value;
        break;
    case KEY_PLAIN:
        return secure_options_key(&demo->run.secure, "demo", SECURE_KEY_PLAIN, value);
    case KEY_CIPHER:
        return secure_options_key(&demo->run.secure, "demo", SECURE_KEY_CIPHER, value);
    case KEY_JSON:
        demo->is_json = true;
        break;
    }
    return -1;
}

static int set_operand(void *ctx, const char *value)
{
    struct demo *demo = ctx;
    if (demo->run.directory != NULL)
        return cli_fail(CLI_USAGE, "demo", NULL, "unexpected argument '%s'; see weir demo --help",
                        value);
    demo->run.directory = value;
    return -1;
}

static const struct cli_command command = {
    .name = "demo",
    .usage = "[--nodes N] [--seconds S] [--out DIR] [--json] [DIR]",
    .intro =
        "Starts N node processes that talk over loopback. Each is told one address, node 1's, and finds\n"
        "the others by peer exchange. Node 1 sends every regular file below DIR (default /usr/include)\n"
        "straight to each of them on a bulk channel, round after round, exchanges 250 state messages a\n"
        "second with each on another, and publishes 1,000 votes a second, which all nodes gossip on an\n"
        "urgent channel. Every frame is checked by weir, every file by its SHA-256 against the source,\n"
        "every byte of later rounds by comparison with the first copy.",
    .notes =
        "With more than 9 nodes the votes are fewer: 8,000 a second, divided by those that receive them.\n"
        "Received files are kept in memory, and written below DIR with --out. Files for which --memory\n"
        "does not suffice are read again for each round and compared by their SHA-256 alone.\n\n"
        "Exit code 0 only if every file is identical at every node, no vote and no state message was\n"
        "lost and no frame failed.",
    .options = options,
    .option_cnt = sizeof(options) / sizeof(options[0]),
    .set = set_option,
    .operand = set_operand,
};

/* ---- the machine --------------------------------------------------------------------------- */

/* What a new program could take without swapping; 1 GiB when the system does not say. */
static uint64_t available_memory(void)
{
    uint64_t bytes = 1ull << 30;
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    unsigned long long kib;
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            bytes = (uint64_t)kib << 10;
    }
    if (file != NULL)
        fclose(file);
    return bytes;
}

static bool is_congestion_allowed(const char *name)
{
    FILE *file = fopen("/proc/sys/net/ipv4/tcp_allowed_congestion_control", "re");
    char line[256] = "";
    if (file == NULL)
        return false;
    bool is_read = fgets(line, sizeof(line), file) != NULL;
    fclose(file);
    char *rest = line;
    for (char *word = strsep(&rest, " \n"); is_read && word != NULL; word = strsep(&rest, " \n")) {
        if (strcmp(word, name) == 0)
            return true;
    }
    return false;
}

/* ---- events -------------------------------------------------------------------------------- */

static int start_node(struct demo *demo)
{
    struct demo_run *run = &demo->run;
    uint32_t idx = demo->started_cnt;
    if (run->out != NULL)
        snprintf(demo->outs[idx], sizeof(demo->outs[idx]), "%.480s/node-%u", run->out, idx + 1);
    const struct demo_spawn spawn = {
        .idx = idx + 1,
        .node_cnt = run->node_cnt,
        .parent = getpid(),
        .network_id = demo->network_id,
        .memory_max = demo->memory_max,
        .congestion = run->congestion,
        .policy = run->secure.policy,
        .cipher = run->secure.cipher,
        .directory = run->directory,
        .out = run->out != NULL && idx > 0 ? demo->outs[idx] : NULL,
    };
    int error = demo_process_start(&run->processes[idx], &spawn, demo->slots_fd);
    if (error != 0)
        return cli_fail(CLI_ENVIRONMENT, "demo", NULL, "cannot start node %u: %s", idx + 1,
                        strerror(-error));
    demo->started_cnt++;
    return -1;
}

static void note_failure(struct demo *demo, uint32_t idx, const char *text)
{
    if (demo->failure_due != 0)
        return;
    char *rest = NULL;
    long code = strtol(text, &rest, 10);
    demo->failure_code = code > 0 && code < 128 ? (int)code : CLI_FAILED;
    snprintf(demo->failure, sizeof(demo->failure), "node %u: %s", idx + 1,
             rest != NULL && *rest == ' ' ? rest + 1 : text);
    weir_ns wait = demo->failure_code == CLI_CONNECTION ? 300 * WEIR_NS_PER_MS : 0;
    demo->failure_due = weir_now() + wait;
}

static int take_line(struct demo *demo, uint32_t idx, const char *line)
{
    struct demo_process *process = &demo->run.processes[idx];
    if (strncmp(line, "listening ", 10) == 0 && idx == 0) {
        snprintf(demo->source_address, sizeof(demo->source_address), "%s", line + 10);
        int code = -1;
        while (code < 0 && demo->started_cnt < demo->run.node_cnt)
            code = start_node(demo);
        return code;
    }
    if (strncmp(line, "listening ", 10) == 0) {
        char dial[1200];
        snprintf(dial, sizeof(dial), "dial %s", demo->source_address);
        demo_process_tell(process, dial);
    } else if (strcmp(line, "ready") == 0) {
        process->is_ready = true;
    } else if (strcmp(line, "met") == 0) {
        process->has_met = true;
    } else if (strcmp(line, "copied") == 0) {
        process->is_copied = true;
    } else if (strcmp(line, "done") == 0) {
        process->is_done = true;
    } else if (strncmp(line, "fail ", 5) == 0) {
        note_failure(demo, idx, line + 5);
    }
    return -1;
}

static int bury(struct demo *demo, uint32_t idx)
{
    pid_t pid = demo->run.processes[idx].pid;
    char how[96];
    demo_process_end(&demo->run.processes[idx], 1000, how, sizeof(how));
    demo_view_clear(&demo->view);
    return cli_fail(CLI_FAILED, "demo", NULL, "node %u (process %d) %s before the demo was over",
                    idx + 1, (int)pid, how);
}

/* Waits for reports and signals and takes them. Returns -1, or the exit code that ends the demo. */
static int take_events(struct demo *demo)
{
    struct pollfd waits[DEMO_NODES_MAX + 1];
    for (uint32_t i = 0; i < demo->started_cnt; i++)
        waits[i] = (struct pollfd){.fd = demo->run.processes[i].report_fd, .events = POLLIN};
    uint32_t started_cnt = demo->started_cnt; /* a line may start more */
    waits[started_cnt] = (struct pollfd){.fd = demo->signal_fd, .events = POLLIN};
    if (poll(waits, started_cnt + 1, 20) < 0 && errno != EINTR)
        return cli_fail(CLI_FAILED, "demo", NULL, "poll: %s", strerror(errno));
    if (waits[started_cnt].revents != 0) {
        demo_view_clear(&demo->view);
        return cli_fail(CLI_INTERRUPTED, "demo", NULL, "interrupted");
    }
    for (uint32_t i = 0; i < started_cnt; i++) {
        char line[1100];
        bool is_closed;
        while (demo_process_line(&demo->run.processes[i], line, sizeof(line), &is_closed)) {
            int code = take_line(demo, i, line);
            if (code >= 0)
                return code;
        }
        if (is_closed && (demo->failure_due == 0 || demo->failure_code == CLI_CONNECTION))
            return bury(demo, i);
    }
    if (demo->failure_due != 0 && weir_now() >= demo->failure_due) {
        demo_view_clear(&demo->view);
        return cli_fail(demo->failure_code, "demo", NULL, "%s", demo->failure);
    }
    return -1;
}

enum mark { MARK_READY, MARK_MET, MARK_COPIED, MARK_DONE };

/* Whether every node has come as far as `mark`; node 1 copies nothing, and all others came to it. */
static bool have_all(const struct demo *demo, enum mark mark)
{
    if (demo->started_cnt < demo->run.node_cnt)
        return false;
    for (uint32_t i = 0; i < demo->run.node_cnt; i++) {
        const struct demo_process *process = &demo->run.processes[i];
        bool has = mark == MARK_READY    ? process->is_ready
                   : mark == MARK_MET    ? process->has_met || i == 0
                   : mark == MARK_COPIED ? process->is_copied || i == 0
                                         : process->is_done;
        if (!has)
            return false;
    }
    return true;
}

/* ---- the run ------------------------------------------------------------------------------- */

static int say_late(struct demo *demo, const char *what)
{
    demo_view_clear(&demo->view);
    return cli_fail(CLI_FAILED, "demo", NULL, "%s", what);
}

static const char *late_text(const struct demo_run *run)
{
    static char text[96];
    uint64_t votes = 0;
    for (uint32_t i = 0; i < run->node_cnt; i++)
        votes += run->slots[i].votes_lost;
    if (votes == 0)
        return "the last messages did not arrive in 60 s";
    snprintf(text, sizeof(text), "%llu votes did not arrive in 60 s", (unsigned long long)votes);
    return text;
}

static int run_until_done(struct demo *demo)
{
    struct demo_run *run = &demo->run;
    weir_ns deadline = 0; /* none while node 1 reads its files */
    uint64_t bytes_seen = 0;
    int code = start_node(demo);
    while (code < 0) {
        weir_ns now = weir_now();
        demo_view_show(&demo->view, run, now);
        if (deadline == 0 && demo->source_address[0] != '\0')
            deadline = now + READY_NS;
        if (demo->ready_ns == 0 && have_all(demo, MARK_READY))
            demo->ready_ns = now;
        if (run->go_ns == 0 && demo->ready_ns != 0 &&
            (have_all(demo, MARK_MET) || now >= demo->ready_ns + MEET_NS)) {
            demo_process_tell(&run->processes[0], "go");
            run->go_ns = now;
            deadline = now + STALL_NS;
        }
        uint64_t bytes = demo_run_bytes(run, DEMO_BULK - 1);
        if (run->go_ns != 0 && run->stop_ns == 0 && bytes != bytes_seen) {
            bytes_seen = bytes;
            deadline = now + STALL_NS;
        }
        if (run->go_ns != 0 && run->stop_ns == 0 && have_all(demo, MARK_COPIED) &&
            now >= run->go_ns + run->seconds * WEIR_NS_PER_S) {
            demo_process_tell(&run->processes[0], "stop");
            run->stop_ns = now;
            deadline = now + READY_NS;
        }
        if (run->stop_ns != 0 && have_all(demo, MARK_DONE)) {
            run->done_ns = now;
            return -1;
        }
        if (deadline != 0 && now > deadline)
            return say_late(demo, run->go_ns == 0     ? "the nodes are not connected after 60 s"
                                  : run->stop_ns == 0 ? "no byte of the files arrived for 60 s"
                                                      : late_text(run));
        code = take_events(demo);
    }
    return code;
}

/* Ends every node; after success each must end well. */
static int end_nodes(struct demo *demo, int code)
{
    for (uint32_t i = 0; i < demo->started_cnt; i++) {
        if (demo->run.processes[i].pid != 0 && code < 0)
            demo_process_tell(&demo->run.processes[i], "quit");
    }
    for (uint32_t i = 0; i < demo->started_cnt; i++) {
        struct demo_process *process = &demo->run.processes[i];
        if (process->pid == 0)
            continue;
        pid_t pid = process->pid;
        char how[96];
        int exit_code = demo_process_end(process, code < 0 ? 5000 : 0, how, sizeof(how));
        if (code < 0 && exit_code != 0)
            code =
                cli_fail(CLI_FAILED, "demo", NULL, "node %u (process %d) %s", i + 1, (int)pid, how);
    }
    return code;
}

static int show_result(struct demo *demo)
{
    char why[256];
    bool is_good = demo_run_is_good(&demo->run, why, sizeof(why));
    bool is_printed = true;
    if (demo->is_json) {
        is_printed = demo_run_print_json(&demo->run);
    } else {
        demo_run_print(&demo->run);
        if (is_good)
            printf("\nEvery file is identical at every node.\n");
        is_printed = fflush(stdout) == 0;
    }
    if (!is_good)
        return cli_fail(CLI_MISMATCH, "demo", NULL, "%s", why);
    return is_printed ? CLI_OK
                      : cli_fail(CLI_FAILED, "demo", NULL, "cannot write to standard output");
}

static int prepare(struct demo *demo)
{
    struct demo_run *run = &demo->run;
    if (run->directory == NULL)
        run->directory = "/usr/include";
    if (run->congestion == NULL && is_congestion_allowed("cubic"))
        run->congestion = "cubic";
    else if (run->congestion != NULL && strcmp(run->congestion, "system") == 0)
        run->congestion = NULL;
    if (run->out != NULL && mkdir(run->out, 0777) != 0 && errno != EEXIST)
        return cli_fail(CLI_FAILED, "demo", NULL, "%s: %s", run->out, strerror(errno));
    if (!demo->has_memory_max)
        demo->memory_max = available_memory() / 2 / run->node_cnt;
    snprintf(demo->network_id, sizeof(demo->network_id), "weir-demo-%d", (int)getpid());
    demo->view.stream = demo->is_json ? stderr : stdout;
    demo->view.is_terminal = isatty(fileno(demo->view.stream)) == 1;
    if (demo->is_json && !demo->view.is_terminal)
        demo->view.stream = NULL;
    demo->signal_fd = cli_signals();
    demo->slots_fd = memfd_create("weir-demo", MFD_CLOEXEC);
    size_t len = DEMO_NODES_MAX * sizeof(*run->slots);
    if (demo->signal_fd < 0 || demo->slots_fd < 0 || ftruncate(demo->slots_fd, (off_t)len) != 0)
        return cli_fail(CLI_ENVIRONMENT, "demo", NULL, "descriptors: %s", strerror(errno));
    run->slots = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, demo->slots_fd, 0);
    if (run->slots == MAP_FAILED)
        return cli_fail(CLI_ENVIRONMENT, "demo", NULL, "mmap: %s", strerror(errno));
    return -1;
}

int cmd_demo(int argc, char **argv)
{
    static struct demo demo; /* large, and zero from the start */
    demo.run.node_cnt = 4;
    demo.run.seconds = 10;
    int code = cli_parse(&command, argc, argv, &demo);
    if (code < 0)
        code = prepare(&demo);
    if (code >= 0)
        return code;
    if (demo.view.stream != NULL)
        fprintf(demo.view.stream, "weir demo: %u nodes, files from %s, %s\n", demo.run.node_cnt,
                demo.run.directory, demo.run.out != NULL ? demo.run.out : "received into memory");
    code = end_nodes(&demo, run_until_done(&demo));
    demo_view_clear(&demo.view);
    return code >= 0 ? code : show_result(&demo);
}
