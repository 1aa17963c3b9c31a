/* cli.h: what every subcommand of `weir` shares: exit codes, error lines, options, numbers.
 *
 * Errors are one line on standard error, `weir: COMMAND: what happened (WEIR_E_NAME); remedy`, and
 * the functions that print one return the exit code, so that a caller can `return cli_fail(...)`.
 */
#ifndef CLI_H
#define CLI_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Exit codes, documented by `weir --help`. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,        /* failed at run time: a file, a full disk, a process that died */
    CLI_USAGE = 2,         /* arguments, addresses or a configuration file */
    CLI_ENVIRONMENT = 3,   /* io_uring refused, memlock, descriptors, a port in use */
    CLI_MISMATCH = 4,      /* bytes arrived that are not the bytes that were sent */
    CLI_CONNECTION = 5,    /* no connection, or it ended before everything was acknowledged */
    CLI_INTERRUPTED = 130, /* a signal ended it before it was done */
};

/* Prints an error line and returns `exit_code`. `remedy` may be NULL. */
int cli_fail(int exit_code, const char *command, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same for a ban or a welcome that an address, a subnet or a node id was wanted for: "cannot VERB WHOM". */
int cli_fail_whom(const char *command, int error, const char *verb, const char *whom);

/* As cli_fail for a WEIR_E_* code: appends its text, name and remedy; returns cli_exit_of(error). */
int cli_fail_weir(const char *command, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Each writes what a WEIR_E_* code or a reason means, with its name behind it in brackets, as part of a
 * line, and returns `text`. */
#define CLI_ERROR_BYTES 256
const char *cli_error_text(char text[CLI_ERROR_BYTES], int error);
const char *cli_reason_text(char text[CLI_ERROR_BYTES], int reason);

/* The exit code that stands for a WEIR_E_* code. */
int cli_exit_of(int error);

/* A weir_log_fn that prints to standard error; its context is the command's name. */
void cli_log(void *ctx, int level, const char *line);

/* ---- options ------------------------------------------------------------------------------- */

struct cli_option {
    const char *name;     /* without the dashes; NULL for a heading in the help */
    const char *argument; /* what its value is called, NULL when it takes none */
    const char *help;
    int key; /* handed to `set` */
};

/* A subcommand. `set` and `operand` store one option or operand and return -1, or an exit code after
 * having said why. `value` is NULL for an option without argument. */
struct cli_command {
    const char *name;
    const char *usage; /* behind "usage: weir NAME " */
    const char *intro; /* one paragraph */
    const char *notes; /* behind the options; may be NULL */
    const struct cli_option *options;
    size_t option_cnt;
    int (*set)(void *ctx, int key, const char *value);
    int (*operand)(void *ctx, const char *value); /* NULL: operands are an error */
};

/* Goes through the arguments; `argv[0]` is the command's name. Options and operands may be mixed.
 * Returns -1 to go on, or the exit code to end with (--help was asked for, or an error was said). */
int cli_parse(const struct cli_command *command, int argc, char **argv, void *ctx);

/* ---- numbers ------------------------------------------------------------------------------- */

/* Each parses the whole text, checks the range and returns false, `ret` untouched, when it does not
 * fit. A size takes K, M, G or T (powers of 1024); a duration needs ns, us, ms, s, m or h. */
bool cli_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret);
bool cli_size(const char *text, uint64_t min, uint64_t max, uint64_t *ret);
bool cli_duration(const char *text, uint64_t min_ns, uint64_t max_ns, uint64_t *ret_ns);
bool cli_bool(const char *text, bool *ret);

#define CLI_TEXT_BYTES 32

/* Each writes a short text and returns `text`. Bytes are decimal (1 MB is a million), as rates are. */
const char *cli_bytes_text(char text[CLI_TEXT_BYTES], double bytes);
const char *cli_rate_text(char text[CLI_TEXT_BYTES], double bytes_per_s);
const char *cli_time_text(char text[CLI_TEXT_BYTES], double ns);
const char *cli_count_text(char text[CLI_TEXT_BYTES], uint64_t count); /* 1,234,567 */

/* What makes a noun agree with its number: "" or "s". */
static inline const char *cli_plural(uint64_t cnt)
{
    return cnt == 1 ? "" : "s";
}

/* ---- signals ------------------------------------------------------------------------------- */

/* Blocks SIGINT and SIGTERM (and ignores SIGPIPE) for this thread and those it makes from now on.
 * Returns a descriptor that becomes readable when one arrives, or -1. */
int cli_signals(void);

/* The same, and for SIGHUP too. */
int cli_signals_and_hangup(void);

#endif
