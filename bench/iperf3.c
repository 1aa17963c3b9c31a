/* bench/iperf3.c: the rival that is a program: iperf3's client and server, and the report that the
 * client writes.
 *
 * It has no messages: the figures are bytes over time, and messages are bytes divided by the size.
 * It counts whole seconds and leaves out the first (-O 1). Nothing is checked: the counts of messages
 * sent and received stay 0.
 */
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/net.h"

#define PROGRAM "iperf3"
#define BLOCK_BYTES_MAX (1u << 20) /* its own limit */
#define REPORT_BYTES ((size_t)1 << 20)
#define ARGS 24

/* Starts it with its standard output in a pipe. Returns the pipe's end, or -1 after bench_fail(). */
static int start(struct bench_run *run, const char *const *args, pid_t *ret_pid)
{
    int ends[2];

    if (pipe(ends) != 0) {
        bench_fail(run, BENCH_E_RUN, "pipe: %s", strerror(errno));
        return -1;
    }
    *ret_pid = fork();
    if (*ret_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        /* execvp does not write to its arguments. */
        execvp(PROGRAM, (char *const *)(uintptr_t)args);
        _exit(127);
    }
    close(ends[1]);
    if (*ret_pid > 0)
        return ends[0];
    bench_fail(run, BENCH_E_RUN, "fork: %s", strerror(errno));
    close(ends[0]);
    return -1;
}

/* Runs it to its end. Returns what it wrote, to be freed, or NULL after bench_fail(). */
static char *run_program(struct bench_run *run, const char *const *args)
{
    char *text = malloc(REPORT_BYTES);
    size_t len = 0;
    pid_t pid = 0;
    ssize_t n = 0;
    int status = 0;

    int end = text == NULL ? -1 : start(run, args, &pid);
    if (end < 0) {
        free(text);
        return NULL;
    }
    while (len + 1 < REPORT_BYTES && (n = read(end, text + len, REPORT_BYTES - 1 - len)) > 0)
        len += (size_t)n;
    close(end);
    text[len] = 0;
    waitpid(pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) == 127) {
        bench_fail(run, BENCH_E_ENVIRONMENT, "iperf3 could not be run");
        free(text);
        return NULL;
    }
    return text; /* other failures are in its report */
}

/* ---- the server ----------------------------------------------------------------------------- */

/* A port that is free now. */
static uint16_t find_port(struct bench_run *run)
{
    int listener = bench_net_listen(run);
    uint16_t port = (uint16_t)atomic_load(&run->shared->port);

    atomic_store(&run->shared->port, 0); /* nobody is to connect to it */
    if (listener >= 0)
        close(listener);
    return listener < 0 ? 0 : port;
}

/* Does anybody listen on 127.0.0.1:port? Asked of the kernel, as a connection would be served. */
static bool is_listening(uint16_t port)
{
    char line[256], want[64];
    bool is_found = false;
    FILE *file = fopen("/proc/net/tcp", "re");

    snprintf(want, sizeof(want), " 0100007F:%04X 00000000:0000 0A ", port);
    while (file != NULL && !is_found && fgets(line, sizeof(line), file) != NULL)
        is_found = strstr(line, want) != NULL;
    if (file != NULL)
        fclose(file);
    return is_found;
}

static enum bench_status serve(struct bench_run *run)
{
    const struct timespec nap = {.tv_nsec = 5000000};
    const weir_ns end = bench_now() + 5 * WEIR_NS_PER_S;
    uint16_t port = find_port(run);
    char port_text[16], sink[4096];
    const char *const args[] = {PROGRAM, "-s", "-1", "-B", "127.0.0.1", "-p", port_text, NULL};
    pid_t pid;
    int status;

    if (port == 0)
        return BENCH_E_RUN;
    snprintf(port_text, sizeof(port_text), "%u", port);
    int output = start(run, args, &pid);
    if (output < 0)
        return BENCH_E_RUN;
    while (!is_listening(port) && bench_now() < end)
        nanosleep(&nap, NULL);
    atomic_store(&run->shared->port, port);
    while (read(output, sink, sizeof(sink)) > 0)
        ;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0
               ? BENCH_OK
               : bench_fail(run, BENCH_E_RUN, "iperf3's server failed");
}

/* ---- the client, and what it says ------------------------------------------------------------ */

/* The number at a path of two keys; NAN: there is none. */
static double number_at(const json_t *report, const char *outer, const char *inner)
{
    json_t *value = json_object_get(json_object_get(json_object_get(report, "end"), outer), inner);

    return json_is_number(value) ? json_number_value(value) : (double)__builtin_nan("");
}

static void write_side(struct bench_run *run, enum bench_who who, double seconds, double bytes,
                       double cpu_percent)
{
    struct bench_mark *marks = run->shared->sides[who].marks;

    marks[BENCH_MEASURE] = (struct bench_mark){.now = 1};
    marks[BENCH_DRAIN] = (struct bench_mark){
        .now = 1 + (weir_ns)(seconds * 1e9),
        .cpu_s = seconds * cpu_percent / 100,
        .counts.bytes[0] = (uint64_t)bytes,
        .counts.msgs[0] = (uint64_t)bytes / run->job->size,
    };
}

static enum bench_status take_report(struct bench_run *run, const char *text)
{
    json_error_t where;
    json_t *report = json_loads(text, 0, &where);
    const char *error = json_string_value(json_object_get(report, "error"));
    double seconds = number_at(report, "sum_received", "seconds");
    double sent = number_at(report, "sum_sent", "bytes");
    double received = number_at(report, "sum_received", "bytes");
    double sender_cpu = number_at(report, "cpu_utilization_percent", "host_total");
    double receiver_cpu = number_at(report, "cpu_utilization_percent", "remote_total");
    enum bench_status status = BENCH_OK;

    if (error != NULL) {
        status = bench_fail(run, BENCH_E_RUN, "iperf3: %s", error);
    } else if (!(seconds > 0 && sent > 0 && received > 0 && sender_cpu >= 0 && receiver_cpu >= 0)) {
        status = bench_fail(run, BENCH_E_RUN, "iperf3's report is not understood");
    } else {
        write_side(run, BENCH_SENDER, seconds, sent, sender_cpu);
        write_side(run, BENCH_RECEIVER, seconds, received, receiver_cpu);
    }
    json_decref(report);
    return status;
}

static enum bench_status measure(struct bench_run *run)
{
    const struct bench_job *job = run->job;
    char port_text[16], seconds[16], block[16], buffer[16];
    const char *args[ARGS] = {PROGRAM, "-c", "127.0.0.1", "-p", port_text, "-t", seconds, "-O",
                              "1",     "-l", block,       "-N", "-i",      "0",  "-J"};
    size_t cnt = 15;

    uint16_t port = bench_await_port(run);
    if (port == 0)
        return bench_fail(run, BENCH_E_RUN, "iperf3's server did not begin to listen");
    snprintf(port_text, sizeof(port_text), "%u", port);
    snprintf(seconds, sizeof(seconds), "%u",
             (unsigned)((job->window_ns + WEIR_NS_PER_S - 1) / WEIR_NS_PER_S));
    snprintf(block, sizeof(block), "%u", job->size < BLOCK_BYTES_MAX ? job->size : BLOCK_BYTES_MAX);
    if (job->congestion != NULL) {
        args[cnt++] = "-C";
        args[cnt++] = job->congestion;
    }
    if (job->recv_buffer != 0) {
        snprintf(buffer, sizeof(buffer), "%u", job->recv_buffer);
        args[cnt++] = "-w";
        args[cnt++] = buffer;
    }
    char *text = run_program(run, args);
    if (text == NULL)
        return BENCH_E_RUN;
    enum bench_status status = take_report(run, text);
    free(text);
    return status;
}

const struct bench_impl bench_iperf3 = {
    .name = "iperf3",
    .what = "the program iperf3: blocking writes of up to 1 MiB; its own figures, nothing checked",
    .notes = {[BENCH_THROUGHPUT] =
                  "whole seconds, the first left out; --recv-buffer is its -w, for both buffers"},
    .roles = {[BENCH_THROUGHPUT] = {measure, serve}},
    .size_min = 65536,
    .program = PROGRAM,
};
