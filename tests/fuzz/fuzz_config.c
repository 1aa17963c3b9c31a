/* The INI file of `weir node`, and the channel lists of its flags: read to the same result each time, refused in one
 * line that names file and line, and what the command accepts of a channel the library accepts too.
 *
 * input: the file. The same bytes are then a list of channel properties.
 */
#include "engine/node/internal.h"
#include "tests/fuzz/streams.h"
#include "tools/ini_config.h"
#include "tools/settings.h"
#include "tools/settings_print.h"

static bool is_same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void expect_same(const struct settings *a, const struct settings *b)
{
    FUZZ_CHECK(a->channel_cnt == b->channel_cnt && a->listen_cnt == b->listen_cnt);
    FUZZ_CHECK(a->peer_cnt == b->peer_cnt && a->text_cnt == b->text_cnt);
    FUZZ_CHECK(is_same_text(a->config.network_id, b->config.network_id));
    FUZZ_CHECK(is_same_text(a->config.tcp_congestion, b->config.tcp_congestion));
    FUZZ_CHECK(a->config.pool_bytes_max == b->config.pool_bytes_max);
    for (uint32_t i = 0; i < a->channel_cnt; i++)
        FUZZ_CHECK(a->channels[i].id == b->channels[i].id &&
                   a->channels[i].weight == b->channels[i].weight &&
                   is_same_text(a->channels[i].name, b->channels[i].name));
}

/* Each field is within what `weir node --help` says, whatever the others are. */
static void expect_in_range(const struct settings *settings)
{
    const struct weir_config *cfg = &settings->config;
    FUZZ_CHECK(settings->listen_cnt <= SETTINGS_LISTENS_MAX);
    FUZZ_CHECK(settings->peer_cnt <= SETTINGS_PEERS_MAX);
    FUZZ_CHECK(settings->channel_cnt <= WEIR_CHANNELS_MAX);
    FUZZ_CHECK(cfg->shard_cnt >= 1 && cfg->shard_cnt <= WEIR_SHARDS_MAX);
    FUZZ_CHECK(cfg->log_level >= 1 && cfg->log_level <= 4);
    FUZZ_CHECK(cfg->peers_max >= 1 && cfg->peers_max <= 1000000);
    FUZZ_CHECK(cfg->frame_bytes_max >= 4096 && cfg->frame_bytes_max <= 65536);
    FUZZ_CHECK(cfg->ping_interval_ns >= WEIR_NS_PER_MS &&
               cfg->ping_interval_ns <= 86400 * WEIR_NS_PER_S);
    FUZZ_CHECK(strlen(cfg->network_id) >= 1 && strlen(cfg->network_id) <= 32);
    const struct weir_gossip_config *gossip = &settings->gossip;
    FUZZ_CHECK(gossip->fanout >= 1 && gossip->fanout <= WEIR_GOSSIP_FANOUT_MAX);
    FUZZ_CHECK(gossip->hop_max >= 1 && gossip->hop_max <= 255);
    FUZZ_CHECK(gossip->seen_max >= 1 && gossip->seen_max <= 1u << 24);
    FUZZ_CHECK(gossip->channel >= 1 && gossip->channel <= WEIR_CHANNEL_ID_MAX);
    for (uint32_t i = 0; i < settings->channel_cnt; i++) {
        const struct weir_channel *channel = &settings->channels[i];
        FUZZ_CHECK(channel->id <= WEIR_CHANNEL_ID_MAX && channel->weight <= 1000);
        FUZZ_CHECK(channel->msg_bytes_max <= WEIR_MSG_BYTES_MAX && strlen(channel->name) <= 31);
        FUZZ_CHECK(channel->overflow <= WEIR_OVERFLOW_CLOSE);
    }
}

/* What has passed the command's own check is right for the library, channel by channel. */
static void expect_taken(const struct settings *settings)
{
    static weir_node node;
    char why[SETTINGS_WHY_BYTES] = "";
    if (!settings_check(settings, why)) {
        FUZZ_CHECK(why[0] != '\0' && memchr(why, 0, sizeof why) != NULL);
        return;
    }
    for (uint32_t i = 0; i < settings->channel_cnt; i++) {
        struct weir_channel taken;
        char name[64];
        (void)name;
        memset(&node, 0, sizeof node);
        FUZZ_CHECK(weir_channel_take(&node, &settings->channels[i], &taken) == 0);
        FUZZ_CHECK(taken.recv_bytes_max >= taken.msg_bytes_max);
        static const struct {
            const char *name;
            size_t offset;
        } bounds[] = {{"msg-max", offsetof(struct weir_channel, msg_bytes_max)},
                      {"send-max", offsetof(struct weir_channel, send_bytes_max)},
                      {"recv-max", offsetof(struct weir_channel, recv_bytes_max)}};
        for (size_t k = 0; settings_channel_name(k); k++) { /* what is shown is what holds */
            char text[SETTINGS_DEFAULT_BYTES];
            uint32_t bound;
            settings_channel_text(&settings->channels[i], k, text);
            for (size_t b = 0; b < sizeof(bounds) / sizeof(bounds[0]); b++) {
                memcpy(&bound, (const char *)&taken + bounds[b].offset, sizeof bound);
                if (strcmp(settings_channel_name(k), bounds[b].name) == 0)
                    FUZZ_CHECK(strtoul(text, NULL, 10) == bound);
            }
        }
    }
}

static int read_once(const void *bytes, size_t len, struct settings *settings)
{
    static const char path[] = "fuzz.ini";
    static struct streams streams;
    FILE *file = memory_read(bytes, len);
    settings_init(settings);
    streams_catch(&streams);
    int code = ini_config_read_stream("node", path, file, settings);
    streams_back(&streams);
    fclose(file);
    FUZZ_CHECK(code == -1 || code == 2);
    FUZZ_CHECK(streams.out_len == 0);
    if (code == -1) {
        FUZZ_CHECK(streams.err_len == 0);
    } else {
        streams_check_error(&streams);
        FUZZ_CHECK(strstr(streams.err, path) != NULL);
        FUZZ_CHECK(memchr(streams.err, '\n', streams.err_len - 1) == NULL);
    }
    return code;
}

/* The lines of --print-config that are no comment; `*ret_is_all` is false when it says that a file cannot have all. */
static char *print_lines(const struct settings *settings, size_t *ret_len, bool *ret_is_all)
{
    static struct memory_stream all;
    settings_print(settings, memory_stream_begin(&all));
    memory_stream_end(&all);
    FUZZ_CHECK(strlen(all.text) == all.len);
    char *keep = malloc(all.len + 2);
    FUZZ_CHECK(keep != NULL);
    *ret_len = 0;
    *ret_is_all = true;
    for (char *line = all.text, *end; line; line = end ? end + 1 : NULL) {
        end = strchr(line, '\n');
        if (end)
            *end = '\0';
        size_t len = strlen(line);
        if (line[0] != '#') {
            memcpy(keep + *ret_len, line, len);
            keep[*ret_len + len] = '\n';
            *ret_len += len + 1;
        } else if (strstr(line, " has a value that no file can have")) {
            *ret_is_all = false;
        }
    }
    return keep;
}

/* A channel that was printed is the same channel, but for a name that cannot stand in a file. */
static void expect_same_channel(const struct weir_channel *printed, const struct weir_channel *back)
{
    static weir_node node;
    struct weir_channel a, b;
    memset(&node, 0, sizeof node);
    FUZZ_CHECK(weir_channel_take(&node, printed, &a) == 0 &&
               weir_channel_take(&node, back, &b) == 0);
    FUZZ_CHECK(a.id == b.id && a.weight == b.weight && a.flags == b.flags);
    FUZZ_CHECK(a.msg_bytes_max == b.msg_bytes_max && a.send_bytes_max == b.send_bytes_max);
    FUZZ_CHECK(a.recv_bytes_max == b.recv_bytes_max && a.overflow == b.overflow);
    FUZZ_CHECK(a.rate_send_bytes == b.rate_send_bytes && a.rate_recv_bytes == b.rate_recv_bytes);
    FUZZ_CHECK(a.rate_send_msgs == b.rate_send_msgs && a.rate_recv_msgs == b.rate_recv_msgs);
    FUZZ_CHECK(is_same_text(a.name, b.name) || strstr(a.name, " ;"));
    /* Nothing is left to a default. */
    FUZZ_CHECK(back->send_bytes_max == a.send_bytes_max &&
               back->recv_bytes_max == a.recv_bytes_max);
}

/* A print of what was printed is read to the same print. */
static void expect_same_print(const char *lines, size_t len)
{
    static struct settings back;
    size_t back_len;
    bool is_all;
    FUZZ_CHECK(read_once(lines, len, &back) == -1);
    char *again = print_lines(&back, &back_len, &is_all);
    FUZZ_CHECK(back_len == len && memcmp(again, lines, len) == 0);
    free(again);
    settings_free(&back);
}

/* What is printed reads back to what is printed, unless a value cannot stand in a file. Its order may differ once, because
 * defaults have become settings: then the second print is read, too. */
static void expect_printed_reads_back(const struct settings *settings)
{
    char *text, why[SETTINGS_WHY_BYTES];
    size_t len, again_len;
    bool is_all, is_all_again;
    if (!settings_check(settings, why))
        return;
    text = print_lines(settings, &len, &is_all);
    static struct settings back;
    FUZZ_CHECK(read_once(text, len, &back) == -1);
    char *lines = print_lines(&back, &again_len, &is_all_again);
    FUZZ_CHECK(is_all_again); /* it came from lines */
    if (FUZZ_IS_SANITIZED || again_len != len || memcmp(text, lines, len) != 0)
        expect_same_print(lines, again_len);
    FUZZ_CHECK(back.channel_cnt == settings->channel_cnt);
    FUZZ_CHECK(back.ban_cnt == settings->ban_cnt || !is_all);
    for (uint32_t i = 0; i < back.channel_cnt; i++)
        expect_same_channel(&settings->channels[i], &back.channels[i]);
    FUZZ_CHECK(back.config.shard_cnt == settings->config.shard_cnt &&
               back.config.flags == settings->config.flags &&
               back.config.pool_bytes_max == settings->config.pool_bytes_max &&
               back.config.idle_timeout_ns == settings->config.idle_timeout_ns);
    FUZZ_CHECK(back.has_gossip == settings->has_gossip &&
               memcmp(&back.gossip, &settings->gossip, sizeof back.gossip) == 0);
    free(text);
    free(lines);
    settings_free(&back);
}

/* Reading again, printing, and reading what was printed is nine tenths of an execution: the build for volume does so for
 * one input in 16, which its bytes choose. */
static bool is_thorough(const uint8_t *data, size_t size)
{
    uint32_t mix = 0;
    for (size_t i = 0; i < size; i++)
        mix = (mix + data[i]) * 0x9e3779b1u;
    return FUZZ_IS_SANITIZED || mix >> 28 == 0;
}

static void read_file(const uint8_t *data, size_t size)
{
    static struct settings settings, again;
    int code = read_once(data, size, &settings);
    expect_in_range(&settings);
    if (code == -1)
        expect_taken(&settings);
    if (is_thorough(data, size)) {
        FUZZ_CHECK(read_once(data, size, &again) == code);
        expect_same(&settings, &again);
        settings_free(&again);
        if (code == -1)
            expect_printed_reads_back(&settings);
    }
    settings_free(&settings);
}

static void read_channel(const uint8_t *data, size_t size)
{
    static struct settings settings;
    char why[SETTINGS_WHY_BYTES] = "";
    struct fuzz fuzz = fuzz_begin(data, size);
    size_t len;
    const uint8_t *bytes = fuzz_take(&fuzz, size, &len);
    char *text = malloc(len + 1);
    memcpy(text, bytes, len);
    text[len] = '\0';
    settings_init(&settings);
    if (settings_add_channel(&settings, text, why))
        expect_taken(&settings);
    else
        FUZZ_CHECK(why[0] != '\0' && memchr(why, 0, sizeof why) != NULL);
    expect_in_range(&settings);
    settings_free(&settings);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        data = (const uint8_t *)"";
    read_file(data, size);
    read_channel(data, size);
    return 0;
}
