#include "bench/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "engine/base/hash.h"

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

double bench_machine_load(void)
{
    double load;

    return getloadavg(&load, 1) == 1 ? load : -1;
}

/* The first "model name" of /proc/cpuinfo (x86), or what uname calls the machine. */
static void find_cpu(char *ret_name, size_t len, const char *machine)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "re");

    snprintf(ret_name, len, "%s", machine);
    if (file == NULL)
        return;
    while (fgets(line, sizeof(line), file) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL || colon[1] == 0)
            continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(ret_name, len, "%s", colon + 2);
        break;
    }
    fclose(file);
}

/* The first line of a file, without its end; "" when there is none. */
static void read_line(const char *path, char *ret_text, size_t len)
{
    FILE *file = fopen(path, "re");

    ret_text[0] = 0;
    if (file == NULL)
        return;
    if (fgets(ret_text, (int)len, file) == NULL)
        ret_text[0] = 0;
    ret_text[strcspn(ret_text, "\n")] = 0;
    fclose(file);
}

static int64_t find_memlock(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur > INT64_MAX)
        return -1;
    return (int64_t)limit.rlim_cur;
}

void bench_machine_look(struct bench_machine *ret_machine)
{
    struct bench_machine *out = ret_machine;
    struct utsname names;

    memset(out, 0, sizeof(*out));
    memset(&names, 0, sizeof(names));
    uname(&names);
    snprintf(out->kernel, sizeof(out->kernel), "%.20s %.80s %.20s", names.sysname, names.release,
             names.machine);
    find_cpu(out->cpu, sizeof(out->cpu), names.machine);
    out->cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    out->load_before = out->load_after = bench_machine_load();
    out->compiler = COMPILER;
    out->flags = WEIR_BENCH_FLAGS;
    out->commit = bench_machine_commit;
    read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", out->governor,
              sizeof(out->governor));
    out->memlock_bytes = find_memlock();
    out->hash = weir_hash_ops()->name;
}
