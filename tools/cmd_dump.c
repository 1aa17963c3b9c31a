/* weir dump: what is in a captured stream. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <weir/weir.h>

#include "cli.h"
#include "commands.h"
#include "dump/dump.h"
#include "json_out.h"

struct dump_args {
    const char *file;
    bool is_json;
};

static const struct cli_option options[] = {
    {"json", NULL, "print an object per line instead", 'j'},
};

static int set(void *ctx, int key, const char *value)
{
    struct dump_args *args = ctx;
    (void)key;
    (void)value;
    args->is_json = true;
    return -1;
}

static int operand(void *ctx, const char *value)
{
    struct dump_args *args = ctx;
    if (args->file != NULL)
        return cli_fail(CLI_USAGE, "dump", NULL, "unexpected argument '%s'", value);
    args->file = value;
    return -1;
}

static const struct cli_command command = {
    .name = "dump",
    .usage = "[OPTION...] FILE",
    .intro =
        "Prints the preface, the hello and the frames of FILE (- for standard input): the bytes of\n"
        "one direction of a connection, as captured. Each is checked as a node would.",
    .notes =
        "One line each: offset in the stream, kind, bytes with the header, contents. Ends with 0 if all\n"
        "frames are right, with 4 if one is not. A frame that is cut by the end is `rest`, and no fault.",
    .options = options,
    .option_cnt = sizeof(options) / sizeof(options[0]),
    .set = set,
    .operand = operand,
};

static bool print_totals(const struct dump_result *result, bool is_json)
{
    if (is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "what", "total");
        json_out_count(object, "bytes", result->byte_cnt);
        json_out_count(object, "frames", result->frame_cnt);
        json_out_count(object, "messages", result->msg_cnt);
        json_out_count(object, "faults", result->fault_cnt);
        json_out_count(object, "rest", result->rest_bytes);
        return json_out_print(stdout, object, false);
    }
    printf("%" PRIu64 " bytes, %" PRIu64 " frame%s, %" PRIu64 " message%s, %" PRIu64 " fault%s\n",
           result->byte_cnt, result->frame_cnt, cli_plural(result->frame_cnt), result->msg_cnt,
           cli_plural(result->msg_cnt), result->fault_cnt, cli_plural(result->fault_cnt));
    return fflush(stdout) == 0;
}

int cmd_dump(int argc, char **argv)
{
    struct dump_args args = {0};
    int code = cli_parse(&command, argc, argv, &args);
    if (code >= 0)
        return code;
    if (args.file == NULL)
        return cli_fail(CLI_USAGE, "dump", "see weir dump --help", "no FILE is given");
    bool is_stdin = strcmp(args.file, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(args.file, "rbe");
    if (file == NULL)
        return cli_fail(CLI_FAILED, "dump", NULL, "%s: %s", args.file, strerror(errno));
    struct dump_result result;
    bool is_output;
    int error = dump_stream(file, stdout, args.is_json, &result, &is_output);
    if (!is_stdin)
        fclose(file);
    if (error != 0 && !is_output)
        return cli_fail(CLI_FAILED, "dump", NULL, "%s: %s", args.file, strerror(error));
    if (error != 0 || !print_totals(&result, args.is_json))
        return cli_fail(CLI_FAILED, "dump", NULL, "cannot write to standard output");
    return result.fault_cnt != 0 ? CLI_MISMATCH : CLI_OK;
}
