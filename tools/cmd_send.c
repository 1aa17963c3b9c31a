/* weir send: standard input or files to a `weir recv`, acknowledged. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weir/weir.h>

#include "cli.h"
#include "commands.h"
#include "credentials.h"
#include "file_list.h"
#include "json_out.h"
#include "sender.h"
#include "transfer.h"

enum mode { MODE_AUTO, MODE_LINES, MODE_BLOCKS, MODE_FILES };

struct send_args {
    struct sender_options connection;
    enum mode mode;
    uint64_t block_bytes; /* 0: what one read gives */
    char **operands;
    int operand_cnt;
    bool is_json, is_quiet;
    struct credentials credentials;
};

enum {
    KEY_LINES = 1,
    KEY_SIZE,
    KEY_FILES,
    KEY_CHANNEL,
    KEY_WEIGHT,
    KEY_NETWORK,
    KEY_CONGESTION,
    KEY_PROXY,
    KEY_PROXY_AUTH,
    KEY_WAIT,
    KEY_QUIET,
    KEY_JSON
};

static const struct cli_option options[] = {
    {"files", NULL, "whole files (the default when FILEs are given)", KEY_FILES},
    {"lines", NULL, "each line of the input is a message", KEY_LINES},
    {"size", "BYTES", "the input is cut into messages of this size, up to 1048575", KEY_SIZE},
    {"channel", "ID", "channel to send on, 0..65534 (1)", KEY_CHANNEL},
    {"weight", "N", "its weight, 1..1000 (1)", KEY_WEIGHT},
    {"network-id", "TEXT", "the receiver's network id (weir)", KEY_NETWORK},
    {"tcp-congestion", "NAME", "congestion control (the system's)", KEY_CONGESTION},
    {"proxy", "ADDR", "dial through this SOCKS5 proxy: HOST:PORT or unix:PATH", KEY_PROXY},
    {"proxy-auth-file", "FILE", "USER:PASSWORD for it, in a file of mode 0600", KEY_PROXY_AUTH},
    SECURE_OPTION_ROWS,
    {"wait", "TIME", "keep dialing for so long, as 10s (do not)", KEY_WAIT},
    {"quiet", NULL, "no progress on a terminal, no summary", KEY_QUIET},
    {"json", NULL, "print the summary as JSON", KEY_JSON},
};

static int set_option(void *ctx, int key, const char *value)
{
    struct send_args *args = ctx;
    uint64_t number = 0;
    bool is_good = true;
    const char *expected = "";
    if (SECURE_IS_KEY(key))
        return secure_options_key(&args->connection.secure, "send", key, value);
    switch (key) {
    case KEY_FILES:
        args->mode = MODE_FILES;
        break;
    case KEY_LINES:
        args->mode = MODE_LINES;
        break;
    case KEY_SIZE:
        args->mode = MODE_BLOCKS;
        expected = "--size is 1 to 1048575 bytes";
        is_good = cli_size(value, 1, TRANSFER_MSG_BYTES_MAX - 1, &args->block_bytes);
        break;
    case KEY_CHANNEL:
        expected = "--channel is 0 to 65534";
        is_good = cli_number(value, 0, WEIR_CHANNEL_ID_MAX, &number);
        args->connection.channel = (uint16_t)number;
        break;
    case KEY_WEIGHT:
        expected = "--weight is 1 to 1000";
        is_good = cli_number(value, 1, 1000, &number);
        args->connection.weight = (uint16_t)number;
        break;
    case KEY_NETWORK:
        args->connection.network_id = value;
        break;
    case KEY_CONGESTION:
        args->connection.tcp_congestion = value;
        break;
    case KEY_PROXY:
        args->connection.proxy = value;
        break;
    case KEY_PROXY_AUTH: {
        char why[160];
        if (!credentials_read(&args->credentials, value, why, sizeof(why)))
            return cli_fail(CLI_USAGE, "send", NULL, "--proxy-auth-file: %s: %s (WEIR_E_CONFIG)",
                            value, why);
        args->connection.proxy_user = args->credentials.user;
        args->connection.proxy_password = args->credentials.password;
        break;
    }
    case KEY_WAIT:
        expected = "--wait is a time up to 24h with its unit, as 500ms or 10s";
        is_good = cli_duration(value, 0, 24 * 3600 * WEIR_NS_PER_S, &args->connection.wait_ns);
        break;
    case KEY_QUIET:
        args->is_quiet = true;
        break;
    case KEY_JSON:
        args->is_json = true;
        break;
    }
    return is_good ? -1 : cli_fail(CLI_USAGE, "send", NULL, "%s, not '%s'", expected, value);
}

static int set_operand(void *ctx, const char *value)
{
    struct send_args *args = ctx;
    if (args->connection.address == NULL)
        args->connection.address = value;
    else
        args->operands[args->operand_cnt++] = (char *)(uintptr_t)value;
    return -1;
}

static const struct cli_command command = {
    .name = "send",
    .usage = "ADDR [--files | --lines | --size BYTES] [FILE...]",
    .intro =
        "Sends files, or standard input, to the `weir recv` that listens at ADDR, and ends with 0\n"
        "when the receiver has acknowledged everything: files by their SHA-256.",
    .notes =
        "A directory stands for every regular file below it. Files keep their relative names; of an\n"
        "absolute path the last part counts. With --lines and --size the FILEs are read one after\n"
        "the other; without FILEs standard input is.\n\n"
        "The connection is encrypted unless --plain is given here and there. With ID@ADDR, as weir recv\n"
        "prints it, only the node with this id is accepted.\n\n"
        "Exit codes beyond `weir --help`: 1 also when the receiver could not write (its disk is\n"
        "full, it refuses a path); 4 when a hash differed there.",
    .options = options,
    .option_cnt = sizeof(options) / sizeof(options[0]),
    .set = set_option,
    .operand = set_operand,
};

/* ---- progress ------------------------------------------------------------------------------ */

struct job {
    struct sender *sender;
    struct sha256 *hash;
    uint64_t bytes, bytes_total; /* total is 0 when it is not known */
    uint32_t files, files_total;
    weir_ns start, next_progress;
    bool has_progress;
};

static void show_progress(struct job *job, bool is_last)
{
    if (!job->has_progress)
        return;
    weir_ns now = weir_now();
    if (!is_last && now < job->next_progress)
        return;
    job->next_progress = now + 100 * WEIR_NS_PER_MS;
    char bytes[CLI_TEXT_BYTES], total[CLI_TEXT_BYTES], rate[CLI_TEXT_BYTES];
    double seconds = (double)(now - job->start) / 1e9;
    fprintf(stderr, "\r%s", cli_bytes_text(bytes, (double)job->bytes));
    if (job->bytes_total > 0)
        fprintf(stderr, " of %s, %u of %u files", cli_bytes_text(total, (double)job->bytes_total),
                job->files, job->files_total);
    fprintf(stderr, ", %s\033[K%s",
            cli_rate_text(rate, seconds > 0 ? (double)job->bytes / seconds : 0),
            is_last ? "\n" : "");
}

/* ---- sending ------------------------------------------------------------------------------- */

/* Ends the progress line, so that a message has a line of its own. */
static int fault(struct job *job)
{
    show_progress(job, true);
    return sender_fault(job->sender);
}

static int input_fault(struct job *job, const char *path, const char *what)
{
    show_progress(job, true);
    return cli_fail(CLI_FAILED, "send", NULL, "%s: %s", path, what);
}

/* Reads exactly `len` bytes unless the file ends first. Returns how many, or a negative errno. */
static ssize_t read_full(int fd, uint8_t *data, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t got = read(fd, data + done, len - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static int send_file_bytes(struct job *job, const struct file_item *item, int fd)
{
    uint64_t left = item->size;
    while (left > 0) {
        size_t len = left < TRANSFER_CHUNK_BYTES ? (size_t)left : TRANSFER_CHUNK_BYTES;
        struct weir_buf *buf;
        int error = weir_buf_create(&buf, len + 1);
        if (error != 0)
            return cli_fail_weir("send", error, "%s", item->path);
        uint8_t *data = weir_buf_data(buf);
        data[0] = TRANSFER_CHUNK;
        ssize_t got = read_full(fd, data + 1, len);
        if (got != (ssize_t)len) {
            weir_buf_unref(buf);
            return input_fault(job, item->path,
                               got < 0 ? strerror((int)-got)
                                       : "it became shorter while it was sent");
        }
        sha256_add(job->hash, data + 1, len);
        if (!sender_send_buf(job->sender, buf))
            return fault(job);
        left -= len;
        job->bytes += len;
        show_progress(job, false);
    }
    return -1;
}

static int send_file(struct job *job, const struct file_item *item, uint32_t seq)
{
    int fd = open(item->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return input_fault(job, item->path, strerror(errno));
    uint8_t head[TRANSFER_FIXED_BYTES + TRANSFER_PATH_BYTES_MAX + 1];
    if (strlen(item->name) > TRANSFER_PATH_BYTES_MAX) {
        close(fd);
        return input_fault(job, item->path, "the path is longer than 4095 bytes");
    }
    size_t len = transfer_file(head, seq, item->size, item->mode, item->name);
    int code = -1;
    if (!sender_send(job->sender, head, len))
        code = fault(job);
    sha256_begin(job->hash);
    if (code < 0)
        code = send_file_bytes(job, item, fd);
    close(fd);
    uint8_t digest[SHA256_BYTES];
    if (code < 0 && !sha256_end(job->hash, digest))
        code = input_fault(job, item->path, "libcrypto cannot compute its SHA-256");
    if (code < 0 && !sender_send(job->sender, head, transfer_end(head, seq, digest)))
        code = fault(job);
    job->files++;
    return code;
}

/* One stream as messages: whole blocks, what each read gives, or lines. */
static int send_stream(struct job *job, const struct send_args *args, int fd, const char *path)
{
    const size_t max = TRANSFER_MSG_BYTES_MAX - 1;
    uint8_t *memory = malloc(max + 1);
    if (memory == NULL)
        return cli_fail_weir("send", WEIR_E_NOMEM, "%s", path);
    uint8_t *data = memory + 1; /* in front of which the kind of the message fits */
    size_t have = 0;
    int code = -1;
    for (bool is_end = false; !is_end && code < 0;) {
        size_t want = args->block_bytes != 0     ? (size_t)args->block_bytes
                      : args->mode == MODE_LINES ? max
                                                 : (64u << 10);
        ssize_t got =
            args->block_bytes != 0 ? read_full(fd, data, want) : read(fd, data + have, want - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            code = input_fault(job, path, strerror(errno));
            break;
        }
        is_end = got == 0;
        have += (size_t)got;
        job->bytes += (size_t)got;
        size_t from = 0;
        if (args->mode == MODE_LINES) {
            uint8_t *newline;
            while (code < 0 && (newline = memchr(data + from, '\n', have - from)) != NULL) {
                data[(ssize_t)from - 1] = TRANSFER_LINE;
                size_t len = (size_t)(newline - (data + from));
                if (!sender_send(job->sender, data + from - 1, len + 1))
                    code = fault(job);
                from += len + 1;
            }
        }
        /* What is left is sent without a newline: a block, the last line, or a piece of a long one. */
        bool is_due = args->mode != MODE_LINES || is_end || have - from == max;
        if (code < 0 && have > from && is_due) {
            data[(ssize_t)from - 1] = TRANSFER_DATA;
            if (!sender_send(job->sender, data + from - 1, have - from + 1))
                code = fault(job);
            from = have;
        }
        memmove(data, data + from, have - from);
        have -= from;
        show_progress(job, false);
    }
    free(memory);
    return code;
}

static int send_streams(struct job *job, const struct send_args *args)
{
    if (args->operand_cnt == 0)
        return send_stream(job, args, STDIN_FILENO, "standard input");
    int code = -1;
    for (int i = 0; i < args->operand_cnt && code < 0; i++) {
        int fd = open(args->operands[i], O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return input_fault(job, args->operands[i], strerror(errno));
        code = send_stream(job, args, fd, args->operands[i]);
        close(fd);
    }
    return code;
}

static void print_summary(const struct send_args *args, const struct job *job)
{
    double seconds = (double)(weir_now() - job->start) / 1e9;
    double rate = seconds > 0 ? (double)job->bytes / seconds : 0;
    if (args->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", "sent");
        json_out_count(object, "files", job->files);
        json_out_count(object, "bytes", job->bytes);
        json_out_real(object, "seconds", seconds);
        json_out_real(object, "bytes_per_s", rate);
        json_out_print(stdout, object, false);
    } else if (!args->is_quiet) {
        char bytes[CLI_TEXT_BYTES], rate_text[CLI_TEXT_BYTES];
        fprintf(stderr, "sent and acknowledged: ");
        if (args->mode == MODE_FILES)
            fprintf(stderr, "%u file%s, ", job->files, cli_plural(job->files));
        fprintf(stderr, "%s in %.2f s, %s\n", cli_bytes_text(bytes, (double)job->bytes), seconds,
                cli_rate_text(rate_text, rate));
    }
}

/* Finds the files before anything is connected: a wrong name should cost nobody anything. */
static int list_files(struct file_list *list, const struct send_args *args)
{
    for (int i = 0; i < args->operand_cnt; i++) {
        int error = file_list_add(list, args->operands[i], FILE_LIST_AS_GIVEN);
        if (error != 0)
            return cli_fail(CLI_FAILED, "send", NULL, "%s: %s", args->operands[i],
                            strerror(-error));
    }
    if (list->unreadable_cnt > 0)
        return cli_fail(CLI_FAILED, "send", NULL, "cannot read %zu of the files: %s",
                        list->unreadable_cnt, list->first_unreadable);
    if (list->skipped_cnt > 0)
        fprintf(stderr, "weir: send: warning: %zu symbolic links or special files are left out\n",
                list->skipped_cnt);
    if (list->cnt == 0)
        return cli_fail(CLI_FAILED, "send", NULL, "there are no files in %s", args->operands[0]);
    if (list->cnt > UINT32_MAX)
        return cli_fail(CLI_FAILED, "send", NULL, "there are more than 2^32 files");
    return -1;
}

static int run(struct send_args *args, struct file_list *list)
{
    struct job job = {.hash = sha256_create()};
    if (job.hash == NULL)
        return cli_fail(CLI_ENVIRONMENT, "send", NULL, "libcrypto has no SHA-256");
    int code = sender_open(&job.sender, &args->connection);
    if (code < 0) {
        job.start = weir_now();
        job.has_progress = !args->is_quiet && isatty(STDERR_FILENO) == 1;
        job.bytes_total = list->bytes;
        job.files_total = (uint32_t)list->cnt;
        if (args->mode == MODE_FILES) {
            for (size_t i = 0; i < list->cnt && code < 0; i++)
                code = send_file(&job, &list->items[i], (uint32_t)i);
        } else {
            code = send_streams(&job, args);
        }
    }
    if (code < 0) {
        code = sender_finish(job.sender, job.bytes, job.files) ? CLI_OK : fault(&job);
        if (code == CLI_OK) {
            show_progress(&job, true);
            print_summary(args, &job);
        }
    }
    sender_close(job.sender);
    sha256_free(job.hash);
    return code;
}

int cmd_send(int argc, char **argv)
{
    struct send_args args = {
        .connection = {.channel = TRANSFER_CHANNEL, .weight = 1},
        .operands = calloc((size_t)argc + 1, sizeof(char *)),
    };
    struct file_list list = {0};
    if (args.operands == NULL)
        return cli_fail_weir("send", WEIR_E_NOMEM, "cannot begin");
    int code = cli_parse(&command, argc, argv, &args);
    if (code < 0 && args.connection.address == NULL)
        code = cli_fail(CLI_USAGE, "send", "see weir send --help", "no address is given");
    if (code < 0 && args.mode == MODE_AUTO)
        args.mode = args.operand_cnt > 0 ? MODE_FILES : MODE_BLOCKS;
    if (code < 0 && args.mode == MODE_FILES && args.operand_cnt == 0)
        code = cli_fail(CLI_USAGE, "send", "see weir send --help", "--files needs a FILE");
    if (code < 0 && args.mode == MODE_FILES)
        code = list_files(&list, &args);
    if (code < 0)
        code = run(&args, &list);
    secure_options_wipe(&args.connection.secure);
    file_list_free(&list);
    free(args.operands);
    return code;
}
