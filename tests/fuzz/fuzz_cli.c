/* Command lines of `weir`, and the numbers in them: each ends in an exit code and, where that is an error, in a line
 * that says why; numbers mean what their digits say.
 *
 * input: words, each ended by a NUL; the first is the command. Two options that no command has are put behind them
 * (the first may be taken for the value of the last), so that none gets so far as to do anything.
 */
#include "tests/fuzz/streams.h"
#include "tools/cli.h"
#include "tools/commands.h"

#define WORDS_MAX 40u

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {{"node", cmd_node}, {"send", cmd_send},     {"recv", cmd_recv},
                {"demo", cmd_demo}, {"doctor", cmd_doctor}, {"dump", cmd_dump}};
#define COMMAND_CNT (sizeof commands / sizeof commands[0])

static void run(uint32_t which, uint32_t word_cnt, char **words)
{
    char *argv[WORDS_MAX + 4];
    char last[2][24] = {"--no-such-option", "--no-such-option"};
    char name[16];
    int argc = 0;
    snprintf(name, sizeof name, "%s", commands[which].name);
    argv[argc++] = name;
    for (uint32_t i = 0; i < word_cnt; i++) {
        /* A file of the machine is none of this test's business, and behind "--" all are operands. */
        if (strchr(words[i], '/') == NULL && strcmp(words[i], "--") != 0)
            argv[argc++] = words[i];
    }
    argv[argc++] = last[0];
    argv[argc++] = last[1];
    argv[argc] = NULL;
    static struct streams streams;
    streams_catch(&streams);
    int code = commands[which].run(argc, argv);
    streams_back(&streams);
    if (code == CLI_OK) { /* help was asked for */
        FUZZ_CHECK(streams.err_len == 0 && strncmp(streams.out, "usage: weir ", 12) == 0);
    } else {
        FUZZ_CHECK(code == CLI_USAGE && streams.out_len == 0);
        streams_check_error(&streams);
    }
}

/* ---- numbers --------------------------------------------------------------------------------------- */

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit no_units[] = {{"", 1}, {NULL, 0}};
static const struct unit size_units[] = {
    {"", 1},         {"k", 1 << 10},    {"kib", 1 << 10},  {"m", 1 << 20},      {"mib", 1 << 20},
    {"g", 1u << 30}, {"gib", 1u << 30}, {"t", 1ull << 40}, {"tib", 1ull << 40}, {NULL, 0}};
static const struct unit time_units[] = {
    {"ns", 1},          {"us", 1000},         {"ms", 1000000}, {"s", 1000000000},
    {"m", 60000000000}, {"h", 3600000000000}, {NULL, 0}};

/* Digits, then one of the units in any case. Arithmetic in 128 bits, which nothing here fills. */
static bool model_number(const char *text, const struct unit *units, uint64_t *ret_value)
{
    unsigned __int128 value = 0;
    size_t digit_cnt = strspn(text, "0123456789");
    if (digit_cnt == 0)
        return false;
    for (size_t i = 0; i < digit_cnt; i++) {
        value = value * 10 + (unsigned)(text[i] - '0');
        if (value > UINT64_MAX)
            return false;
    }
    for (; units->name; units++) {
        const char *a = text + digit_cnt, *b = units->name;
        while (*a && ((*a | 0x20) == *b) && ((*a >= 'A' && *a <= 'Z') || (*a >= 'a' && *a <= 'z')))
            a++, b++;
        if (*a || *b)
            continue;
        value *= units->factor;
        *ret_value = (uint64_t)value;
        return value <= UINT64_MAX;
    }
    return false;
}

static void check_number(const char *text, uint64_t min, uint64_t max)
{
    static bool (*const functions[])(const char *, uint64_t, uint64_t,
                                     uint64_t *) = {cli_number, cli_size, cli_duration};
    static const struct unit *const units[] = {no_units, size_units, time_units};
    for (int i = 0; i < 3; i++) {
        uint64_t want = 0, got = 77;
        bool is_good = model_number(text, units[i], &want) && want >= min && want <= max;
        FUZZ_CHECK(functions[i](text, min, max, &got) == is_good);
        FUZZ_CHECK(got == (is_good ? want : 77));
    }
    bool is_on;
    (void)cli_bool(text, &is_on);
}

/* What is printed of a number fits its place. */
static void check_texts(uint64_t value)
{
    char text[CLI_TEXT_BYTES];
    FUZZ_CHECK(strlen(cli_bytes_text(text, (double)value)) < CLI_TEXT_BYTES);
    FUZZ_CHECK(strlen(cli_rate_text(text, (double)value)) < CLI_TEXT_BYTES);
    FUZZ_CHECK(strlen(cli_time_text(text, (double)value)) < CLI_TEXT_BYTES);
    uint64_t read = 0;
    for (const char *at = cli_count_text(text, value); *at; at++)
        read = *at == ',' ? read : read * 10 + (uint64_t)(*at - '0');
    FUZZ_CHECK(read == value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size + 1);
    FUZZ_CHECK(bytes != NULL);
    if (size)
        memcpy(bytes, data, size);
    bytes[size] = '\0';
    char *words[WORDS_MAX];
    uint32_t word_cnt = 0;
    for (size_t at = 0; at <= size && word_cnt < WORDS_MAX; at += strlen(bytes + at) + 1)
        words[word_cnt++] = bytes + at;
    uint32_t which = (uint8_t)words[0][0] % COMMAND_CNT;
    for (uint32_t i = 0; i < COMMAND_CNT; i++)
        which = strcmp(words[0], commands[i].name) == 0 ? i : which;
    uint64_t number = size >= 8 ? 0 : size;
    memcpy(&number, bytes, size < 8 ? size : 8);
    for (uint32_t i = 0; i < word_cnt; i++)
        check_number(words[i], i % 3 == 1 ? number : 0, i % 3 == 2 ? number : UINT64_MAX);
    check_texts(number);
    run(which, word_cnt - 1, words + 1);
    free(bytes);
    return 0;
}
