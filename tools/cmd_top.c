/* weir top: a node's statistics file as a table that moves. The only door to ncurses. */
#include <curses.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weir/weir.h>

#include "cli.h"
#include "commands.h"
#include "top_view.h"

struct top_args {
    const char *path;
    uint64_t plain_cnt; /* 0: on the terminal */
    weir_ns interval_ns;
};

enum { KEY_PLAIN = 1, KEY_INTERVAL };

static int set(void *ctx, int key, const char *value)
{
    struct top_args *args = ctx;
    bool is_good = key == KEY_PLAIN ? cli_number(value, 1, 1000000, &args->plain_cnt)
                                    : cli_duration(value, 100 * WEIR_NS_PER_MS,
                                                   3600 * WEIR_NS_PER_S, &args->interval_ns);
    if (is_good)
        return -1;
    return cli_fail(CLI_USAGE, "top", NULL, "--%s: '%.40s' is not a %s",
                    key == KEY_PLAIN ? "plain" : "interval", value,
                    key == KEY_PLAIN ? "number from 1 to 1000000"
                                     : "time from 100ms to 1h with its unit");
}

static int operand(void *ctx, const char *value)
{
    struct top_args *args = ctx;
    if (args->path != NULL)
        return cli_fail(CLI_USAGE, "top", NULL, "more than one file");
    args->path = value;
    return -1;
}

static const struct cli_option options[] = {
    {"interval", "TIME", "between two looks (1s)", KEY_INTERVAL},
    {"plain", "N", "print N looks as text instead, and end", KEY_PLAIN},
};

static const struct cli_command command = {
    .name = "top",
    .usage = "[--interval TIME] [--plain N] FILE",
    .intro = "Shows what a node does, second by second, from the file that\n"
             "`weir node --stats-path FILE` writes. The node does not notice.",
    .notes = "Keys: q ends, space holds and goes on, arrows and page keys move.\n"
             "LATE are turns above turn-warn, STALLS are waits for credit.",
    .options = options,
    .option_cnt = sizeof(options) / sizeof(options[0]),
    .set = set,
    .operand = operand,
};

/* ---- the terminal -------------------------------------------------------------------------- */

struct terminal {
    int first_line; /* at the top of the screen */
    bool is_held;
};

static void draw(struct terminal *terminal, const struct top_screen *screen, const char *note)
{
    int rows, columns;
    getmaxyx(stdscr, rows, columns);
    int most = (int)screen->line_cnt - (rows - 1);
    if (terminal->first_line > most)
        terminal->first_line = most;
    if (terminal->first_line < 0)
        terminal->first_line = 0;
    erase();
    for (int row = 0; row < rows - 1; row++) {
        int idx = terminal->first_line + row;
        if (idx >= (int)screen->line_cnt)
            break;
        if (screen->is_heading[idx])
            attron(A_BOLD);
        mvaddnstr(row, 0, screen->lines[idx], columns);
        attroff(A_BOLD);
    }
    attron(A_REVERSE);
    mvaddnstr(rows - 1, 0, note[0] != '\0' ? note : "q ends  space holds  arrows move", columns);
    attroff(A_REVERSE);
    refresh();
}

/* Waits for a key until `until`; false: to end. */
static bool handle_keys(struct terminal *terminal, weir_ns until, bool *ret_is_changed)
{
    weir_ns now = weir_now();
    struct pollfd wait = {.fd = STDIN_FILENO, .events = POLLIN};
    int wait_ms = now >= until ? 0 : (int)((until - now) / WEIR_NS_PER_MS) + 1;
    if (poll(&wait, 1, wait_ms) > 0 && (wait.revents & (POLLHUP | POLLERR | POLLNVAL)))
        return false; /* the terminal is gone */
    int rows = getmaxy(stdscr);
    *ret_is_changed = false;
    for (int key = getch(); key != ERR; key = getch()) {
        *ret_is_changed = true;
        if (key == 'q' || key == 3)
            return false;
        if (key == ' ')
            terminal->is_held = !terminal->is_held;
        else if (key == KEY_DOWN)
            terminal->first_line++;
        else if (key == KEY_UP)
            terminal->first_line--;
        else if (key == KEY_NPAGE)
            terminal->first_line += rows - 1;
        else if (key == KEY_PPAGE)
            terminal->first_line -= rows - 1;
    }
    return true;
}

static int run_terminal(const struct top_args *args, struct stats_view views[2])
{
    static struct top_screen screen;
    struct terminal terminal = {0};
    char why[STATS_WHY_BYTES], note[STATS_WHY_BYTES + 64] = "";
    uint32_t now_idx = 0;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return cli_fail(CLI_USAGE, "top", "use --plain N", "this is not a terminal");
    SCREEN *curses = newterm(NULL, stdout, stdin); /* initscr would exit by itself */
    if (curses == NULL)
        return cli_fail(CLI_ENVIRONMENT, "top", "set TERM, or use --plain N",
                        "the terminal '%s' is not known", getenv("TERM") ? getenv("TERM") : "");
    cbreak();
    noecho();
    curs_set(0);
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    bool is_on = true;
    weir_ns next = weir_now();
    top_view(&screen, &views[now_idx], &views[now_idx]);
    while (is_on) {
        bool is_changed = false;
        if (weir_now() >= next) {
            next = weir_now() + args->interval_ns;
            if (!terminal.is_held && stats_read(&views[1 - now_idx], args->path, why)) {
                /* What has not been written anew would show rates of nothing. */
                if (views[1 - now_idx].head.seq != views[now_idx].head.seq) {
                    top_view(&screen, &views[now_idx], &views[1 - now_idx]);
                    now_idx = 1 - now_idx;
                } else if (views[1 - now_idx].state != STATS_LIVE) {
                    top_view(&screen, &views[1 - now_idx], &views[1 - now_idx]);
                }
                note[0] = '\0';
            } else if (terminal.is_held) {
                snprintf(note, sizeof(note), "held; space goes on");
            } else {
                snprintf(note, sizeof(note), "%.60s: %s", args->path, why);
            }
        }
        draw(&terminal, &screen, note);
        is_on = handle_keys(&terminal, next, &is_changed);
    }
    endwin();
    delscreen(curses);
    return CLI_OK;
}

static int run_plain(const struct top_args *args, struct stats_view views[2])
{
    static struct top_screen screen;
    char why[STATS_WHY_BYTES];
    for (uint64_t i = 0; i < args->plain_cnt; i++) {
        poll(NULL, 0, (int)(args->interval_ns / WEIR_NS_PER_MS));
        struct stats_view *was = &views[i % 2], *now = &views[(i + 1) % 2];
        if (!stats_read(now, args->path, why))
            return cli_fail(CLI_FAILED, "top", NULL, "%s: %s", args->path, why);
        top_view(&screen, was, now);
        for (uint32_t k = 0; k < screen.line_cnt; k++)
            printf("%s\n", screen.lines[k]);
        printf("\n");
        if (fflush(stdout) != 0)
            return cli_fail(CLI_FAILED, "top", NULL, "cannot write to standard output");
    }
    return CLI_OK;
}

int cmd_top(int argc, char **argv)
{
    struct top_args args = {.interval_ns = WEIR_NS_PER_S};
    int code = cli_parse(&command, argc, argv, &args);
    if (code >= 0)
        return code;
    if (args.path == NULL)
        return cli_fail(CLI_USAGE, "top", "see weir top --help", "no file is given");
    struct stats_view views[2];
    memset(views, 0, sizeof(views));
    char why[STATS_WHY_BYTES];
    if (!stats_read(&views[0], args.path, why))
        code = cli_fail(CLI_USAGE, "top", NULL, "%s: %s", args.path, why);
    else
        code = args.plain_cnt > 0 ? run_plain(&args, views) : run_terminal(&args, views);
    stats_free(&views[0]);
    stats_free(&views[1]);
    return code;
}
