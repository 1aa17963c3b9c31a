/* bench/machine.h: what a figure depends on besides the code: the machine and the build. */
#ifndef WEIR_BENCH_MACHINE_H
#define WEIR_BENCH_MACHINE_H

#include <stdint.h>

struct bench_machine {
    char kernel[128]; /* "Linux 6.18.1 x86_64" */
    char cpu[128];
    int cores;          /* online */
    double load_before; /* one-minute load average */
    double load_after;
    const char *compiler;
    const char *flags;          /* build type and compiler flags */
    const char *commit;         /* bench_machine_commit */
    const char *hash;           /* the instruction set XXH3 was chosen for */
    char congestion_system[16]; /* main() asks for it */
    char governor[32];     /* of the first CPU's clock; "": hidden, as in most virtual machines */
    int64_t memlock_bytes; /* RLIMIT_MEMLOCK; -1: without limit */
};

/* The commit that was built, with "-dirty" behind it if files differed; NULL when nobody knew.
 * Defined in a file that the build writes (cmake/bench_commit.cmake). */
extern const char *const bench_machine_commit;

void bench_machine_look(struct bench_machine *ret_machine);

/* The one-minute load average now; -1 when hidden. */
double bench_machine_load(void);

#endif
