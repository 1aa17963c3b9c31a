/* weir: the command. Finds the subcommand and hands over. */
#include <stdio.h>
#include <string.h>

#include <weir/weir.h>

#include "cli.h"
#include "commands.h"
#include "suggest.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help; /* NULL: hidden */
} commands[] = {
    {"demo", cmd_demo,
     "watch several nodes on this machine exchange real files, every byte checked"},
    {"node", cmd_node, "run a node: listen, dial, count, print who comes and goes"},
    {"send", cmd_send, "send files, or standard input, to a `weir recv`"},
    {"recv", cmd_recv, "receive what `weir send` sends"},
    {"keygen", cmd_keygen, "make the secret key of a node, or of a closed network"},
    {"id", cmd_id, "print the node id of a key file, or check one that was typed"},
    {"ban", cmd_ban, "ban addresses, subnets or node ids of a node, running or not; list its bans"},
    {"unban", cmd_unban, "end such bans"},
    {"doctor", cmd_doctor, "look whether this machine can run weir, and how well"},
    {"sim", cmd_sim, "prove the engine in simulated clusters, each from one seed"},
    {"stat", cmd_stat, "print what a node counted, from its statistics file"},
    {"top", cmd_top, "watch what a node does, from its statistics file"},
    {"dump", cmd_dump, "print what is in a captured stream of the wire, checked as a node would"},
    {"demo-node", cmd_demo_node, NULL},
};

#define COMMAND_CNT (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *stream)
{
    fprintf(stream, "usage: weir COMMAND [ARGUMENT...]\n"
                    "       weir COMMAND --help | weir --help | weir --version\n\n"
                    "weir moves checked, prioritised messages between nodes over io_uring.\n\n"
                    "commands:\n");
    for (size_t i = 0; i < COMMAND_CNT; i++) {
        if (commands[i].help != NULL)
            fprintf(stream, "  %-8s %s\n", commands[i].name, commands[i].help);
    }
    fprintf(stream,
            "\nexit codes of every command:\n"
            "  0    done\n"
            "  1    failed at run time: a file, a full disk, a process that died\n"
            "  2    wrong arguments, address or configuration file\n"
            "  3    this machine refuses: io_uring, locked memory, descriptors, a port in use;\n"
            "       `weir doctor` says more\n"
            "  4    data that arrived is not the data that was sent\n"
            "  5    no connection, or it ended before everything was acknowledged\n"
            "  130  ended by a signal before it was done\n\n"
            "addresses: 127.0.0.1:7000, [::1]:7000 or unix:/path; listening at port 0 lets the\n"
            "system choose, and the address chosen is printed\n");
}

static const char *command_name(void *ctx, size_t idx)
{
    (void)ctx;
    for (size_t i = 0; i < COMMAND_CNT; i++) {
        if (commands[i].help != NULL && idx-- == 0)
            return commands[i].name;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
    }
    if (strcmp(name, "--version") == 0) {
        printf("weir %d.%d.%d (library %s)\n", WEIR_VERSION_MAJOR, WEIR_VERSION_MINOR,
               WEIR_VERSION_PATCH, weir_version());
        return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
    }
    for (size_t i = 0; i < COMMAND_CNT; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    char hint[SUGGEST_BYTES];
    return cli_fail(CLI_USAGE, "", "weir --help names the commands", "unknown %s '%s'%s",
                    name[0] == '-' ? "option" : "command", name,
                    suggest(hint, "", name, command_name, NULL));
}
