/* weir doctor: the library's probes of this machine as a table or as JSON. */
#include <stdio.h>

#include <weir/weir.h>

#include "cli.h"
#include "commands.h"
#include "json_out.h"

#define CHECKS_MAX 64

static const char *const statuses[] = {"ok", "slower", "FAILS"};

static int set(void *ctx, int key, const char *value)
{
    (void)key, (void)value;
    *(bool *)ctx = true;
    return -1;
}

static const struct cli_option options[] = {
    {"json", NULL, "print JSON", 'j'},
};

static const struct cli_command command = {
    .name = "doctor",
    .usage = "[--json]",
    .intro = "Tries what weir needs of this machine: kernel, io_uring, limits and sysctls.",
    .notes = "Exit code 0 when weir can run (even if slower than it could), 3 when it cannot.",
    .options = options,
    .option_cnt = sizeof(options) / sizeof(options[0]),
    .set = set,
};

static void print_table(const struct weir_check *checks, size_t cnt)
{
    printf("%-26s %-7s %s\n", "CHECK", "STATUS", "FOUND");
    for (size_t i = 0; i < cnt; i++) {
        printf("%-26s %-7s %s\n", checks[i].name, statuses[checks[i].status], checks[i].found);
        if (checks[i].error != 0)
            printf("%-26s %-7s error:  %s: %s\n", "", "", weir_error_name(checks[i].error),
                   weir_error_text(checks[i].error));
        if (checks[i].remedy[0] != '\0')
            printf("%-26s %-7s remedy: %s\n", "", "", checks[i].remedy);
    }
}

static struct json_out *json_of(const struct weir_check *checks, size_t cnt, bool can_run)
{
    struct json_out *list = json_out_array();
    for (size_t i = 0; i < cnt; i++) {
        struct json_out *check = json_out_object();
        json_out_text(check, "name", checks[i].name);
        json_out_int(check, "status", checks[i].status);
        json_out_text(check, "error", checks[i].error != 0 ? weir_error_name(checks[i].error) : "");
        json_out_text(check, "found", checks[i].found);
        json_out_text(check, "remedy", checks[i].remedy);
        json_out_push(list, check);
    }
    struct json_out *top = json_out_object();
    json_out_text(top, "version", weir_version());
    json_out_bool(top, "can_run", can_run);
    json_out_put(top, "checks", list);
    return top;
}

int cmd_doctor(int argc, char **argv)
{
    bool is_json = false;
    int code = cli_parse(&command, argc, argv, &is_json);
    if (code >= 0)
        return code;

    static struct weir_check checks[CHECKS_MAX];
    int64_t cnt = weir_doctor(checks, CHECKS_MAX);
    if (cnt < 0)
        return cli_fail_weir("doctor", (int)cnt, "cannot look");
    size_t slower_cnt = 0, fails_cnt = 0;
    for (int64_t i = 0; i < cnt; i++) {
        if (checks[i].status < 0 || checks[i].status > 2)
            checks[i].status = 2;
        slower_cnt += checks[i].status == 1;
        fails_cnt += checks[i].status == 2;
    }

    if (is_json) {
        if (!json_out_print(stdout, json_of(checks, (size_t)cnt, fails_cnt == 0), true))
            return cli_fail(CLI_FAILED, "doctor", NULL, "cannot write to standard output");
    } else {
        print_table(checks, (size_t)cnt);
        if (fails_cnt > 0)
            printf("\nweir cannot run here: %zu of %zu checks fail.\n", fails_cnt, (size_t)cnt);
        else if (slower_cnt > 0)
            printf("\nweir can run here; %zu of %zu checks could be better.\n", slower_cnt,
                   (size_t)cnt);
        else
            printf("\nweir can run here, and all %zu checks are fine.\n", (size_t)cnt);
        if (fflush(stdout) != 0)
            return cli_fail(CLI_FAILED, "doctor", NULL, "cannot write to standard output");
    }
    return fails_cnt > 0 ? CLI_ENVIRONMENT : CLI_OK;
}
