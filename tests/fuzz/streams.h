/* tests/fuzz/streams.h: what the command prints, caught. glibc's stdout and stderr are variables; descriptors 1
 * and 2 stay the fuzzer's own.
 */
#ifndef WEIR_TESTS_FUZZ_STREAMS_H
#define WEIR_TESTS_FUZZ_STREAMS_H

#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

/* A text that is written to `file` is at `text` after memory_stream_end, with a NUL behind it, until the next begins.
 * The stream and its memory are kept for the life of the process: made for each input they were a good part of a run. */
struct memory_stream {
    FILE *file;
    char *text;
    size_t len;
};

static inline FILE *memory_stream_begin(struct memory_stream *stream)
{
    if (stream->file == NULL)
        stream->file = open_memstream(&stream->text, &stream->len);
    FUZZ_CHECK(stream->file != NULL);
    rewind(stream->file);
    return stream->file;
}

static inline void memory_stream_end(struct memory_stream *stream)
{
    FUZZ_CHECK(fflush(stream->file) == 0 && !ferror(stream->file));
    stream->text[stream->len] = '\0'; /* what an earlier text left there */
}

struct streams {
    FILE *was_out, *was_err;
    struct memory_stream out_stream, err_stream;
    const char *out, *err;
    size_t out_len, err_len;
};

static inline void streams_catch(struct streams *streams)
{
    streams->was_out = stdout;
    streams->was_err = stderr;
    stdout = memory_stream_begin(&streams->out_stream);
    stderr = memory_stream_begin(&streams->err_stream);
}

/* Texts are there until the next are caught. */
static inline void streams_back(struct streams *streams)
{
    stdout = streams->was_out;
    stderr = streams->was_err;
    memory_stream_end(&streams->out_stream);
    memory_stream_end(&streams->err_stream);
    streams->out = streams->out_stream.text;
    streams->out_len = streams->out_stream.len;
    streams->err = streams->err_stream.text;
    streams->err_len = streams->err_stream.len;
}

/* An error is one line, and says who it is of; what a user or a peer wrote may be part of it. */
static inline void streams_check_error(const struct streams *streams)
{
    FUZZ_CHECK(streams->err_len > 6 && strncmp(streams->err, "weir: ", 6) == 0);
    FUZZ_CHECK(streams->err[streams->err_len - 1] == '\n');
}

/* A stream that reads a text, closed by the caller. Not the memory file of below, which the kernel has to be asked for. */
static inline FILE *memory_read(const void *bytes, size_t len)
{
    /* fmemopen takes no empty block. */
    FILE *file = len ? fmemopen((void *)(uintptr_t)bytes, len, "rb") : fopen("/dev/null", "rb");
    FUZZ_CHECK(file != NULL);
    return file;
}

/* A file that is only in memory, made once and written anew for each input. */
struct memory_file {
    int fd; /* 0: not made yet */
};

static inline void memory_file(struct memory_file *file, const void *bytes, size_t len)
{
    if (file->fd == 0)
        file->fd = memfd_create("fuzz", MFD_CLOEXEC);
    FUZZ_CHECK(file->fd > 0);
    FUZZ_CHECK(ftruncate(file->fd, (off_t)len) == 0);
    FUZZ_CHECK(len == 0 || pwrite(file->fd, bytes, len, 0) == (ssize_t)len);
}

#endif
