#include "demo_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

/* Written as: demo-node IDX NODES PARENT NETWORK MEMORY CONGESTION POLICY CIPHER OUT DIRECTORY, "-" for
 * NULL. */
#define ARGUMENT_CNT 11

static const char *text_or_null(const char *text)
{
    return strcmp(text, "-") == 0 ? NULL : text;
}

bool demo_spawn_read(struct demo_spawn *ret_spawn, int argc, char **argv)
{
    uint64_t idx, node_cnt, parent, memory_max, policy, cipher;
    if (argc != ARGUMENT_CNT || !cli_number(argv[1], 1, DEMO_NODES_MAX, &idx) ||
        !cli_number(argv[2], 2, DEMO_NODES_MAX, &node_cnt) ||
        !cli_number(argv[3], 1, INT32_MAX, &parent) ||
        !cli_number(argv[5], 0, UINT64_MAX, &memory_max) ||
        !cli_number(argv[7], 0, WEIR_SECURE_REQUIRE, &policy) ||
        !cli_number(argv[8], 0, WEIR_CIPHER_AES_256_GCM, &cipher) || idx > node_cnt)
        return false;
    *ret_spawn = (struct demo_spawn){
        .idx = (uint32_t)idx,
        .node_cnt = (uint32_t)node_cnt,
        .parent = (pid_t)parent,
        .network_id = argv[4],
        .memory_max = memory_max,
        .congestion = text_or_null(argv[6]),
        .policy = (uint32_t)policy,
        .cipher = (uint32_t)cipher,
        .out = text_or_null(argv[9]),
        .directory = argv[10],
    };
    return true;
}

/* In the child: puts descriptors where the node expects them and becomes the node. Does not return. */
static void become_node(const struct demo_spawn *spawn, int control_fd, int report_fd, int slots_fd)
{
    /* First out of the way of 3 to 5, so that no dup2 closes one that is still needed. */
    int fds[3] = {fcntl(control_fd, F_DUPFD, 16), fcntl(report_fd, F_DUPFD, 16),
                  fcntl(slots_fd, F_DUPFD, 16)};
    for (int i = 0; i < 3; i++) {
        if (fds[i] < 0 || dup2(fds[i], DEMO_CONTROL_FD + i) < 0)
            _exit(CLI_ENVIRONMENT);
    }
    close_range(DEMO_SLOTS_FD + 1, ~0u, 0);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);

    char idx[16], node_cnt[16], parent[16], memory_max[24], policy[16], cipher[16];
    snprintf(idx, sizeof(idx), "%u", spawn->idx);
    snprintf(node_cnt, sizeof(node_cnt), "%u", spawn->node_cnt);
    snprintf(parent, sizeof(parent), "%d", (int)spawn->parent);
    snprintf(memory_max, sizeof(memory_max), "%llu", (unsigned long long)spawn->memory_max);
    snprintf(policy, sizeof(policy), "%u", spawn->policy);
    snprintf(cipher, sizeof(cipher), "%u", spawn->cipher);
    const char *const argv[] = {
        "weir",
        "demo-node",
        idx,
        node_cnt,
        parent,
        spawn->network_id,
        memory_max,
        spawn->congestion != NULL ? spawn->congestion : "-",
        policy,
        cipher,
        spawn->out != NULL ? spawn->out : "-",
        spawn->directory,
        NULL,
    };
    execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
    _exit(CLI_ENVIRONMENT);
}

int demo_process_start(struct demo_process *ret_process, const struct demo_spawn *spawn,
                       int slots_fd)
{
    int control[2], report[2];
    if (pipe2(control, O_CLOEXEC) != 0)
        return -errno;
    if (pipe2(report, O_CLOEXEC) != 0) {
        int error = -errno;
        close(control[0]);
        close(control[1]);
        return error;
    }
    pid_t pid = fork();
    int error = pid < 0 ? -errno : 0;
    if (pid == 0)
        become_node(spawn, control[0], report[1], slots_fd);
    close(control[0]);
    close(report[1]);
    if (error != 0) {
        close(control[1]);
        close(report[0]);
        return error;
    }
    fcntl(report[0], F_SETFL, O_NONBLOCK);
    *ret_process =
        (struct demo_process){.pid = pid, .control_fd = control[1], .report_fd = report[0]};
    return 0;
}

void demo_process_tell(struct demo_process *process, const char *line)
{
    ssize_t written = dprintf(process->control_fd, "%s\n", line);
    (void)written;
}

bool demo_process_line(struct demo_process *process, char *ret_line, size_t ret_len,
                       bool *ret_is_closed)
{
    *ret_is_closed = false;
    for (;;) {
        char *newline = memchr(process->line, '\n', process->line_len);
        if (newline != NULL) {
            size_t len = (size_t)(newline - process->line);
            snprintf(ret_line, ret_len, "%.*s", (int)len, process->line);
            process->line_len -= len + 1;
            memmove(process->line, newline + 1, process->line_len);
            return true;
        }
        if (process->line_len == sizeof(process->line))
            process->line_len = 0; /* not a line of ours: nothing prints so much */
        ssize_t got = read(process->report_fd, process->line + process->line_len,
                           sizeof(process->line) - process->line_len);
        if (got < 0 && errno == EINTR)
            continue;
        *ret_is_closed = got == 0;
        if (got <= 0)
            return false;
        process->line_len += (size_t)got;
    }
}

int demo_process_end(struct demo_process *process, int wait_ms, char *ret_how, size_t ret_len)
{
    int status = 0;
    pid_t ended = 0;
    for (int waited = 0; waited <= wait_ms && ended == 0; waited += 5) {
        ended = waitpid(process->pid, &status, WNOHANG);
        if (ended == 0 && waited < wait_ms)
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    if (ended == 0) {
        kill(process->pid, SIGKILL);
        while (waitpid(process->pid, &status, 0) < 0 && errno == EINTR)
            continue;
    }
    process->pid = 0;
    close(process->control_fd);
    close(process->report_fd);
    if (WIFSIGNALED(status)) {
        snprintf(ret_how, ret_len, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
        return -1;
    }
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    snprintf(ret_how, ret_len, "ended by itself with exit code %d", code);
    return code;
}
