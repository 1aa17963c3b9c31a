/* weir keygen and weir id: key files and the node ids that follow from them. */
#include <stdio.h>
#include <string.h>

#include <weir/weir.h>

#include "cli.h"
#include "commands.h"
#include "json_out.h"

struct key_options {
    const char *operand;
    bool is_json;
    bool is_network;
    bool is_replace;
};

static int set(void *ctx, int key, const char *value)
{
    struct key_options *options = ctx;
    (void)value;
    switch (key) {
    case 'j':
        options->is_json = true;
        break;
    case 'n':
        options->is_network = true;
        break;
    case 'r':
        options->is_replace = true;
        break;
    }
    return -1;
}

static int operand(void *ctx, const char *value)
{
    struct key_options *options = ctx;
    if (options->operand != NULL)
        return cli_fail(CLI_USAGE, "", NULL, "unexpected argument '%s'", value);
    options->operand = value;
    return -1;
}

/* ---- keygen -------------------------------------------------------------------------------------- */

static const struct cli_option keygen_options[] = {
    {"network", NULL, "make the pre-shared key of a closed network, not a node's key", 'n'},
    {"force", NULL, "replace a file that is there; its key is lost", 'r'},
    {"json", NULL, "print JSON", 'j'},
};

static const struct cli_command keygen_command = {
    .name = "keygen",
    .usage = "[--network] [--force] [--json] FILE",
    .intro =
        "Makes a new secret key, writes it to FILE with mode 0600 and prints the node id that\n"
        "belongs to it.",
    .notes =
        "Whoever has the file is the node: keep it where only the node can read it. There is no\n"
        "way to get a lost key back from its id.",
    .options = keygen_options,
    .option_cnt = sizeof(keygen_options) / sizeof(keygen_options[0]),
    .set = set,
    .operand = operand,
};

static int print_key(const char *command, const struct key_options *options,
                     const struct weir_key *key)
{
    struct weir_id id;
    char text[WEIR_ID_TEXT_BYTES] = "";
    bool is_node = key->kind == WEIR_KEY_NODE;
    if (is_node) {
        int error = weir_key_id(&id, key);
        if (error != 0)
            return cli_fail_weir(command, error, "cannot derive the node id");
        weir_id_text(&id, text);
    }
    bool is_printed;
    if (options->is_json) {
        struct json_out *top = json_out_object();
        json_out_text(top, "kind", is_node ? "node" : "network");
        json_out_text(top, "file", options->operand);
        if (is_node)
            json_out_text(top, "id", text);
        is_printed = json_out_print(stdout, top, true);
    } else {
        is_printed = printf("%s\n", is_node ? text : "network key") > 0 && fflush(stdout) == 0;
    }
    return is_printed ? CLI_OK
                      : cli_fail(CLI_FAILED, command, NULL, "cannot write to standard output");
}

int cmd_keygen(int argc, char **argv)
{
    struct key_options options = {0};
    int code = cli_parse(&keygen_command, argc, argv, &options);
    if (code >= 0)
        return code;
    if (options.operand == NULL)
        return cli_fail(CLI_USAGE, "keygen", "weir keygen --help says more", "no FILE is named");

    struct weir_key key;
    char why[WEIR_KEY_WHY_BYTES] = "";
    int error = weir_key_generate(&key, options.is_network ? WEIR_KEY_NETWORK : WEIR_KEY_NODE);
    if (error != 0)
        return cli_fail_weir("keygen", error, "cannot make a key");
    error = weir_key_store(&key, options.operand, options.is_replace ? WEIR_KEY_REPLACE : 0, why);
    if (error != 0)
        code = cli_fail(CLI_FAILED, "keygen",
                        error == WEIR_E_IN_USE ? "--force replaces it, and its key is lost" : NULL,
                        "cannot write '%s': %s", options.operand,
                        why[0] != '\0' ? why : weir_error_text(error));
    else
        code = print_key("keygen", &options, &key);
    weir_key_wipe(&key);
    return code;
}

/* ---- id ------------------------------------------------------------------------------------------ */

static const struct cli_option id_options[] = {
    {"json", NULL, "print JSON", 'j'},
};

static const struct cli_command id_command = {
    .name = "id",
    .usage = "[--json] FILE | ID",
    .intro =
        "Prints the node id of a key file, or checks a node id that was typed or copied: its last\n"
        "six characters tell whether the others are right.",
    .notes = "A node id begins with weir1; a file of such a name is read as ./weir1...",
    .options = id_options,
    .option_cnt = sizeof(id_options) / sizeof(id_options[0]),
    .set = set,
    .operand = operand,
};

int cmd_id(int argc, char **argv)
{
    struct key_options options = {0};
    int code = cli_parse(&id_command, argc, argv, &options);
    if (code >= 0)
        return code;
    if (options.operand == NULL)
        return cli_fail(CLI_USAGE, "id", "weir id --help says more", "no FILE or ID is named");

    char why[WEIR_KEY_WHY_BYTES] = "";
    if (strncmp(options.operand, "weir1", 5) == 0 || strncmp(options.operand, "WEIR1", 5) == 0) {
        struct weir_id id;
        char text[WEIR_ID_TEXT_BYTES];
        if (weir_id_parse(&id, options.operand, SIZE_MAX, why) != 0)
            return cli_fail(CLI_USAGE, "id", NULL, "'%s': %s", options.operand, why);
        weir_id_text(&id, text);
        bool is_printed;
        if (options.is_json) {
            struct json_out *top = json_out_object();
            json_out_text(top, "id", text);
            is_printed = json_out_print(stdout, top, true);
        } else {
            is_printed = printf("%s\n", text) > 0 && fflush(stdout) == 0;
        }
        return is_printed ? CLI_OK
                          : cli_fail(CLI_FAILED, "id", NULL, "cannot write to standard output");
    }
    struct weir_key key;
    int error = weir_key_load(&key, options.operand, WEIR_KEY_NODE, why);
    if (error != 0)
        return cli_fail(CLI_FAILED, "id", NULL, "cannot use '%s': %s", options.operand,
                        why[0] != '\0' ? why : weir_error_text(error));
    code = print_key("id", &options, &key);
    weir_key_wipe(&key);
    return code;
}
