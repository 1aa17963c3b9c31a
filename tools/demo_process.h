/* demo_process.h: the demo's child processes, seen from the parent: made, spoken to, buried. */
#ifndef DEMO_PROCESS_H
#define DEMO_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "demo.h"

/* Descriptors of a child. */
enum { DEMO_CONTROL_FD = 3, DEMO_REPORT_FD = 4, DEMO_SLOTS_FD = 5 };

/* What a child is told on its command line, and how it reads it. */
struct demo_spawn {
    uint32_t idx, node_cnt;
    pid_t parent;
    const char *network_id;
    uint64_t memory_max;     /* the largest copy of the files that one node may keep */
    const char *congestion;  /* NULL: the system's */
    uint32_t policy, cipher; /* enum weir_secure, enum weir_cipher */
    const char *directory;
    const char *out; /* NULL: memory only; a child of its own for each node */
};
bool demo_spawn_read(struct demo_spawn *ret_spawn, int argc, char **argv);

struct demo_process {
    pid_t pid; /* 0: there is none, or it has been waited for */
    int control_fd, report_fd;
    char line[1100]; /* of its report, not yet complete */
    size_t line_len;
    bool is_ready, has_met, is_copied, is_done;
};

/* Starts one. Returns 0 or a negative errno. */
int demo_process_start(struct demo_process *ret_process, const struct demo_spawn *spawn,
                       int slots_fd);

/* Sends a line; one that cannot be sent is a process that has ended, which its report pipe tells. */
void demo_process_tell(struct demo_process *process, const char *line);

/* Reads what has been reported and hands out one line after the other (false: no whole one left).
 * `*ret_is_closed` is set when the process has closed its end. */
bool demo_process_line(struct demo_process *process, char *ret_line, size_t ret_len,
                       bool *ret_is_closed);

/* Waits up to `wait_ms` for it to end, then kills it. Writes how it ended, as "was killed by signal 9
 * (Killed)", and returns its exit code, -1 for a signal. */
int demo_process_end(struct demo_process *process, int wait_ms, char *ret_how, size_t ret_len);

#endif
