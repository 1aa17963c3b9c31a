/* tests/fuzz/streams.h: what the command prints, caught. glibc's stdout and stderr are variables; descriptors 1
 * and 2 stay the fuzzer's own.
 */
#ifndef WEIR_TESTS_FUZZ_STREAMS_H
#define WEIR_TESTS_FUZZ_STREAMS_H

#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

struct streams {
    FILE *was_out, *was_err;
    char *out, *err;
    size_t out_len, err_len;
};

static inline void streams_catch(struct streams *ret_streams)
{
    memset(ret_streams, 0, sizeof *ret_streams);
    ret_streams->was_out = stdout;
    ret_streams->was_err = stderr;
    stdout = open_memstream(&ret_streams->out, &ret_streams->out_len);
    stderr = open_memstream(&ret_streams->err, &ret_streams->err_len);
    FUZZ_CHECK(stdout != NULL && stderr != NULL);
}

/* Texts are there until streams_free. */
static inline void streams_back(struct streams *streams)
{
    fclose(stdout);
    fclose(stderr);
    stdout = streams->was_out;
    stderr = streams->was_err;
}

static inline void streams_free(struct streams *streams)
{
    free(streams->out);
    free(streams->err);
}

/* An error is one line, and says who it is of; what a user or a peer wrote may be part of it. */
static inline void streams_check_error(const struct streams *streams)
{
    FUZZ_CHECK(streams->err_len > 6 && strncmp(streams->err, "weir: ", 6) == 0);
    FUZZ_CHECK(streams->err[streams->err_len - 1] == '\n');
}

/* A file that is only in memory, made once and written anew for each input. */
struct memory_file {
    char path[64]; /* empty: not made yet */
    int fd;
};

static inline void memory_file(struct memory_file *file, const void *bytes, size_t len)
{
    if (file->path[0] == '\0') {
        file->fd = memfd_create("fuzz", MFD_CLOEXEC);
        FUZZ_CHECK(file->fd >= 0);
        snprintf(file->path, sizeof file->path, "/proc/self/fd/%d", file->fd);
    }
    FUZZ_CHECK(ftruncate(file->fd, (off_t)len) == 0);
    FUZZ_CHECK(len == 0 || pwrite(file->fd, bytes, len, 0) == (ssize_t)len);
}

#endif
