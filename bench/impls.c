#include "bench/impls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Rivals that need a library are there when the build found it (cmake/rivals.cmake). */
const struct bench_impl *const bench_impls[] = {
    &bench_weir,        &bench_weir_watched,
    &bench_weir_secure, &bench_weir_aes,
    &bench_arithmetic,  &bench_aead,
    &bench_aead_aes,    &bench_raw,
    &bench_spin,        &bench_uring,
    &bench_epoll,
#ifdef WEIR_BENCH_HAS_LIBUV
    &bench_libuv,
#endif
#ifdef WEIR_BENCH_HAS_ZMQ
    &bench_zmq,         &bench_zmq_pair,
#endif
#ifdef WEIR_BENCH_HAS_NNG
    &bench_nng,         &bench_nng_pushpull,
#endif
    &bench_iperf3,      NULL,
};

/* And the others, by name and by the package that they need. */
static const char *const absent_impls[][2] = {
#ifndef WEIR_BENCH_HAS_LIBUV
    {"libuv", "libuv1-dev"},
#endif
#ifndef WEIR_BENCH_HAS_ZMQ
    {"zmq", "libzmq3-dev"},
    {"zmq-pair", "libzmq3-dev"},
#endif
#ifndef WEIR_BENCH_HAS_NNG
    {"nng", "libnng-dev"},
    {"nng-pushpull", "libnng-dev"},
#endif
    {NULL, NULL},
};

const struct bench_impl *bench_impl_find(const char *name)
{
    for (uint32_t i = 0; bench_impls[i] != NULL; i++)
        if (strcmp(bench_impls[i]->name, name) == 0)
            return bench_impls[i];
    return NULL;
}

const char *bench_impl_package(const char *name)
{
    for (uint32_t i = 0; absent_impls[i][0] != NULL; i++)
        if (strcmp(absent_impls[i][0], name) == 0)
            return absent_impls[i][1];
    return NULL;
}

bool bench_impl_is_installed(const struct bench_impl *impl)
{
    const char *folder = getenv("PATH");
    char path[1024];

    if (impl->program == NULL)
        return true;
    while (folder != NULL) {
        const char *end = strchr(folder, ':');
        int len = (int)(end == NULL ? strlen(folder) : (size_t)(end - folder));
        snprintf(path, sizeof(path), "%.*s/%s", len, folder, impl->program);
        if (access(path, X_OK) == 0)
            return true;
        folder = end == NULL ? NULL : end + 1;
    }
    return false;
}

void bench_impls_print(void)
{
    puts("cases:");
    for (uint32_t i = 0; i < BENCH_CASE_CNT; i++)
        printf("  %-12s %s\n", bench_case_names[i], bench_case_texts[i]);
    puts("implementations:");
    for (uint32_t i = 0; bench_impls[i] != NULL; i++) {
        printf("  %-12s %s\n  %-12s   does", bench_impls[i]->name, bench_impls[i]->what, "");
        for (uint32_t k = 0; k < BENCH_CASE_CNT; k++)
            if (bench_impls[i]->roles[k][BENCH_SENDER] != NULL)
                printf(" %s", bench_case_names[k]);
        printf("\n");
        for (uint32_t k = 0; k < BENCH_CASE_CNT; k++)
            if (bench_impls[i]->notes[k] != NULL)
                printf("  %-12s   %s: %s\n", "", bench_case_names[k], bench_impls[i]->notes[k]);
    }
    for (uint32_t i = 0; absent_impls[i][0] != NULL; i++)
        printf("  %-12s left out of this build: it needs %s\n", absent_impls[i][0],
               absent_impls[i][1]);
}
