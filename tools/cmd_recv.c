/* weir recv: takes what one `weir send` after the other sends, checks it, answers. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <weir/weir.h>

#include "cli.h"
#include "commands.h"
#include "json_out.h"
#include "receiver.h"
#include "secure_options.h"

struct recv_args {
    const char *address, *out, *network_id, *congestion;
    struct secure_options secure;
    uint16_t channel;
    bool is_kept, is_synced, is_quiet, is_json;
};

enum {
    KEY_OUT = 1,
    KEY_KEEP,
    KEY_SYNC,
    KEY_CHANNEL,
    KEY_NETWORK,
    KEY_CONGESTION,
    KEY_QUIET,
    KEY_JSON
};

static const struct cli_option options[] = {
    {"out", "DIR", "put files below DIR, which is made; without it files are refused", KEY_OUT},
    {"keep", NULL, "go on with other senders after the first one", KEY_KEEP},
    {"sync", NULL, "fsync each file before it is acknowledged", KEY_SYNC},
    {"channel", "ID", "channel to receive on, 0..65534 (1)", KEY_CHANNEL},
    {"network-id", "TEXT", "network id (weir)", KEY_NETWORK},
    {"tcp-congestion", "NAME", "congestion control (the system's)", KEY_CONGESTION},
    SECURE_OPTION_ROWS,
    {"quiet", NULL, "do not tell of files and senders", KEY_QUIET},
    {"json", NULL, "tell as JSON lines, on standard output with --out, else on error", KEY_JSON},
};

static int set_option(void *ctx, int key, const char *value)
{
    struct recv_args *args = ctx;
    uint64_t number;
    if (SECURE_IS_KEY(key))
        return secure_options_key(&args->secure, "recv", key, value);
    switch (key) {
    case KEY_OUT:
        args->out = value;
        break;
    case KEY_KEEP:
        args->is_kept = true;
        break;
    case KEY_SYNC:
        args->is_synced = true;
        break;
    case KEY_CHANNEL:
        if (!cli_number(value, 0, WEIR_CHANNEL_ID_MAX, &number))
            return cli_fail(CLI_USAGE, "recv", NULL, "--channel is 0 to 65534, not '%s'", value);
        args->channel = (uint16_t)number;
        break;
    case KEY_NETWORK:
        args->network_id = value;
        break;
    case KEY_CONGESTION:
        args->congestion = value;
        break;
    case KEY_QUIET:
        args->is_quiet = true;
        break;
    case KEY_JSON:
        args->is_json = true;
        break;
    }
    return -1;
}

static int set_operand(void *ctx, const char *value)
{
    struct recv_args *args = ctx;
    if (args->address != NULL)
        return cli_fail(CLI_USAGE, "recv", NULL, "unexpected argument '%s'; see weir recv --help",
                        value);
    args->address = value;
    return -1;
}

static const struct cli_command command = {
    .name = "recv",
    .usage = "ADDR [--out DIR] [--keep]",
    .intro =
        "Listens at ADDR (whose real port is told on standard error) for a `weir send`. Streams and\n"
        "lines go to standard output; files go below DIR, and appear under their names only when\n"
        "their SHA-256 is the sender's. Nothing is ever written outside of DIR.",
    .notes = "Exit codes beyond `weir --help`: 1 when a file could not be written or its path was\n"
             "refused; 4 when a hash differed; 5 when a sender went away in the middle.",
    .options = options,
    .option_cnt = sizeof(options) / sizeof(options[0]),
    .set = set_option,
    .operand = set_operand,
};

/* ---- sessions ------------------------------------------------------------------------------ */

#define SESSIONS_MAX 16

struct recv_state {
    const struct recv_args *args;
    weir_node *node;
    struct file_store store;
    struct receiver receiver;
    FILE *told; /* where it is told what happens */
    struct {
        weir_peer peer; /* {0}: free */
        struct session *session;
        bool is_turned_away;
    } slots[SESSIONS_MAX];
    bool is_taken; /* a sender is here, or was */
    int end_fd;    /* an eventfd: the first sender is done with */
    int exit_code; /* written before end_fd is signalled; afterwards only grows worse */
};

static struct session *find(struct recv_state *state, weir_peer peer, size_t *ret_idx)
{
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        if (state->slots[i].peer.v == peer.v && state->slots[i].session != NULL) {
            *ret_idx = i;
            return state->slots[i].session;
        }
    }
    return NULL;
}

static void signal_end(struct recv_state *state)
{
    uint64_t one = 1;
    ssize_t written = write(state->end_fd, &one, sizeof(one));
    (void)written; /* can only fail when it is readable already */
}

static void tell_file(struct recv_state *state, const struct session *session)
{
    if (state->args->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", "file");
        json_out_text(object, "path", session->path);
        json_out_count(object, "bytes", session->size);
        json_out_print(state->told, object, false);
    }
}

static void tell_end(struct recv_state *state, const struct session *session)
{
    bool is_good = session->state == SESSION_DONE;
    if (state->args->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", is_good ? "received" : "failed");
        json_out_count(object, "files", session->files);
        json_out_count(object, "bytes", session->bytes);
        json_out_text(object, "fault", session->fault);
        json_out_print(state->told, object, false);
    } else if (is_good && !state->args->is_quiet) {
        char text[CLI_TEXT_BYTES];
        fprintf(state->told, "received %s", cli_bytes_text(text, (double)session->bytes));
        if (session->files > 0)
            fprintf(state->told, " in %u file%s, every SHA-256 equal", session->files,
                    cli_plural(session->files));
        fprintf(state->told, "\n");
        fflush(state->told);
    }
    if (!is_good)
        cli_fail(session->exit_code, "recv", NULL, "%s", session->fault);
}

/* Sends an answer. A queue of answers that is full means a sender that does not read: it is closed. */
static void answer(struct recv_state *state, weir_peer peer, const uint8_t *data, size_t len)
{
    if (len > 0 && weir_try_send(state->node, peer, state->args->channel, data, len) != 0)
        weir_disconnect(state->node, peer, WEIR_R_OVERFLOW);
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct recv_state *state = ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        size_t idx;
        struct session *session = find(state, msgs[i].peer, &idx);
        if (session == NULL)
            continue;
        struct transfer msg = transfer_read(msgs[i].data, msgs[i].len);
        enum session_state before = session->state;
        uint32_t files = session->files;
        uint8_t data[SESSION_ANSWER_BYTES];
        if (before == SESSION_NEW && state->is_taken && !state->args->is_kept) {
            state->slots[idx].is_turned_away = true;
            answer(state, msgs[i].peer, data,
                   session_fail(session, CLI_FAILED, data, "it is busy with another sender"));
            continue;
        }
        state->is_taken = true;
        size_t len = session_take(session, &state->receiver, &msg, data);
        answer(state, msgs[i].peer, data, len);
        if (session->files != files)
            tell_file(state, session);
        if (session->state == before || session->state == SESSION_OPEN)
            continue;
        tell_end(state, session);
        if (session->state == SESSION_FAILED) {
            state->exit_code = session->exit_code;
            /* Stopping sends the answer and then the goodbye. */
            if (!state->args->is_kept)
                signal_end(state);
        }
    }
    /* Lines reach a terminal or a pipe as they come. A failed flush is told at the next write. */
    fflush(state->receiver.stream);
}

static void begin_session(struct recv_state *state, weir_peer peer)
{
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        if (state->slots[i].session != NULL)
            continue;
        struct session *session = malloc(sizeof(*session));
        if (session == NULL || !session_init(session)) {
            free(session);
            break;
        }
        state->slots[i].peer = peer;
        state->slots[i].session = session;
        state->slots[i].is_turned_away = false;
        return;
    }
    uint8_t data[SESSION_ANSWER_BYTES];
    answer(state, peer, data,
           transfer_failed(data, sizeof(data), CLI_FAILED, "it is busy with others"));
}

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct recv_state *state = ctx;
    if (event == WEIR_PEER_UP) {
        begin_session(state, peer);
        return;
    }
    size_t idx;
    struct session *session = event == WEIR_PEER_DOWN ? find(state, peer, &idx) : NULL;
    if (session == NULL)
        return;
    bool was_sender = session->state != SESSION_NEW && !state->slots[idx].is_turned_away;
    if (session->state == SESSION_OPEN) {
        uint8_t unused[SESSION_ANSWER_BYTES];
        char text[CLI_ERROR_BYTES];
        session_fail(session, CLI_CONNECTION, unused,
                     "the sender went away before its transfer was complete: %s; %u files are",
                     cli_reason_text(text, reason), session->files);
        tell_end(state, session);
        state->exit_code = session->exit_code;
    }
    session_end(session);
    free(session);
    state->slots[idx].session = NULL;
    state->slots[idx].peer = (weir_peer){0};
    /* Who said nothing was no sender: the wait goes on. */
    if (was_sender && !state->args->is_kept)
        signal_end(state);
}

/* ---- life ---------------------------------------------------------------------------------- */

static int start(struct recv_state *state)
{
    const struct recv_args *args = state->args;
    struct weir_config config;
    transfer_config(&config);
    if (args->network_id != NULL)
        config.network_id = args->network_id;
    config.tcp_congestion = args->congestion;
    secure_options_apply(&args->secure, &config);
    secure_options_warn(&args->secure, "recv");
    config.log = cli_log;
    config.log_ctx = (void *)(uintptr_t) "recv";
    int error = weir_node_create(&state->node, &config);
    if (error != 0)
        return cli_fail_weir("recv", error, "cannot make a node");
    struct weir_channel channel;
    weir_channel_init(&channel, args->channel);
    channel.msg_bytes_max = TRANSFER_MSG_BYTES_MAX;
    channel.name = "transfer";
    struct weir_reactor reactor = {
        .size = sizeof(reactor),
        .ctx = state,
        .on_batch = on_batch,
        .on_peer = on_peer,
    };
    error = weir_node_attach(state->node, &reactor, &channel, 1);
    if (error != 0)
        return cli_fail_weir("recv", error, "cannot attach channel %u", args->channel);
    error = weir_node_listen(state->node, args->address);
    if (error != 0)
        return cli_fail_weir("recv", error, "cannot listen at %s", args->address);
    error = weir_node_start(state->node);
    if (error != 0)
        return cli_fail_weir("recv", error, "cannot start");
    struct weir_id id;
    char address[128], text[WEIR_ID_TEXT_BYTES];
    if (weir_node_id(state->node, &id) == 0)
        fprintf(stderr, "weir: recv: id %s\n", weir_id_text(&id, text));
    if (weir_node_address(state->node, 0, address, sizeof(address)) == 0)
        fprintf(stderr, "weir: recv: listening at %s\n", address);
    return -1;
}

static int run(struct recv_state *state)
{
    int signal_fd = cli_signals();
    state->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (signal_fd < 0 || state->end_fd < 0)
        return cli_fail(CLI_ENVIRONMENT, "recv", NULL, "descriptors: %s", strerror(errno));
    int code = start(state);
    bool was_interrupted = false;
    if (code < 0) {
        struct pollfd waits[] = {{.fd = signal_fd, .events = POLLIN},
                                 {.fd = state->end_fd, .events = POLLIN}};
        while (poll(waits, 2, -1) < 0 && errno == EINTR)
            continue;
        was_interrupted = waits[0].revents != 0;
        weir_node_stop(state->node, 2 * WEIR_NS_PER_S);
    }
    weir_node_free(state->node);
    /* The threads are gone: what is left is ours. */
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        if (state->slots[i].session == NULL)
            continue;
        session_end(state->slots[i].session);
        free(state->slots[i].session);
    }
    close(state->end_fd);
    close(signal_fd);
    if (code >= 0)
        return code;
    if (was_interrupted && !state->args->is_kept)
        return CLI_INTERRUPTED;
    return state->exit_code;
}

int cmd_recv(int argc, char **argv)
{
    struct recv_args args = {.channel = TRANSFER_CHANNEL};
    int code = cli_parse(&command, argc, argv, &args);
    if (code >= 0)
        return code;
    if (args.address == NULL)
        return cli_fail(CLI_USAGE, "recv", "see weir recv --help", "no address is given");
    struct recv_state *state = calloc(1, sizeof(*state));
    if (state == NULL)
        return cli_fail_weir("recv", WEIR_E_NOMEM, "cannot begin");
    state->args = &args;
    state->receiver.stream = stdout;
    state->told = args.out != NULL ? stdout : stderr;
    state->store.root_fd = -1;
    if (args.out != NULL) {
        int error = file_store_open(&state->store, args.out, args.is_synced);
        if (error != 0) {
            free(state);
            return cli_fail(CLI_FAILED, "recv", NULL, "%s: %s", args.out, strerror(-error));
        }
        state->receiver.store = &state->store;
    }
    code = run(state);
    secure_options_wipe(&args.secure);
    file_store_close(&state->store);
    free(state);
    return code;
}
