#include "top_view.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

struct looking {
    struct top_screen *screen;
    const struct stats_view *was, *now;
    double seconds; /* between them; 0: no rates */
};

static void line(struct looking *looking, bool is_heading, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void line(struct looking *looking, bool is_heading, const char *format, ...)
{
    struct top_screen *screen = looking->screen;
    if (screen->line_cnt == TOP_LINES_MAX)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(screen->lines[screen->line_cnt], TOP_LINE_BYTES, format, args);
    va_end(args);
    screen->is_heading[screen->line_cnt++] = is_heading;
}

/* The place of a series with a label, -1 for none. Records keep their place, so `was` has it there too. */
static int64_t find(const struct stats_view *view, const char *name, const char *label,
                    const char *value)
{
    for (uint32_t i = 0; i < view->head.record_cnt; i++) {
        char has[sizeof(view->records[i].labels)];
        if (strcmp(view->records[i].name, name) != 0)
            continue;
        if (label == NULL ||
            (stats_label(&view->records[i], label, has, sizeof(has)) && strcmp(has, value) == 0))
            return i;
    }
    return -1;
}

static uint64_t value_of(const struct looking *looking, const char *name, const char *label,
                         const char *value)
{
    int64_t at = find(looking->now, name, label, value);
    return at < 0 ? 0 : looking->now->records[at].value;
}

/* How much a counter rose each second; negative: that cannot be said. */
static double rate_of(const struct looking *looking, const char *name, const char *label,
                      const char *value)
{
    int64_t at = find(looking->now, name, label, value);
    if (at < 0 || looking->seconds <= 0)
        return -1;
    uint64_t now = looking->now->records[at].value, was = looking->was->records[at].value;
    return now >= was ? (double)(now - was) / looking->seconds : -1;
}

static const char *count_rate(char text[CLI_TEXT_BYTES], double rate)
{
    if (rate < 0)
        snprintf(text, CLI_TEXT_BYTES, "-");
    else if (rate < 99999.5)
        snprintf(text, CLI_TEXT_BYTES, "%.0f", rate);
    else if (rate < 99999.5e3)
        snprintf(text, CLI_TEXT_BYTES, "%.0fk", rate / 1e3);
    else
        snprintf(text, CLI_TEXT_BYTES, "%.0fM", rate / 1e6);
    return text;
}

static const char *byte_rate(char text[CLI_TEXT_BYTES], double rate)
{
    if (rate < 0)
        snprintf(text, CLI_TEXT_BYTES, "-");
    else
        cli_rate_text(text, rate);
    return text;
}

/* A share of time, from a rate of nanoseconds. */
static const char *share(char text[CLI_TEXT_BYTES], double ns_per_s)
{
    if (ns_per_s < 0)
        snprintf(text, CLI_TEXT_BYTES, "-");
    else
        snprintf(text, CLI_TEXT_BYTES, "%.0f%%", ns_per_s / 1e7);
    return text;
}

static void view_node(struct looking *looking)
{
    const struct stats_view *now = looking->now;
    const struct weir_stats_head *head = &now->head;
    char used[CLI_TEXT_BYTES], most[CLI_TEXT_BYTES];
    double up_s = head->updated_wall_ns > head->made_wall_ns
                      ? (double)(head->updated_wall_ns - head->made_wall_ns) / 1e9
                      : 0;
    line(looking, true, "weir %s  network %s  process %u  up %.0f s  %s (%.1f s ago)",
         head->weir_version, head->network_id, head->pid, up_s, stats_state_name(now->state),
         now->age_s);
    uint64_t peers = 0, conns = 0, pool = 0, failed = 0;
    for (uint32_t i = 0; i < head->record_cnt; i++) {
        const struct weir_stats_record *record = &now->records[i];
        peers += strcmp(record->name, "weir_peers") == 0 ? record->value : 0;
        conns += strcmp(record->name, "weir_connections") == 0 ? record->value : 0;
        pool += strcmp(record->name, "weir_pool_bytes") == 0 ? record->value : 0;
        failed += strcmp(record->name, "weir_frames_failed_total") == 0 ? record->value : 0;
    }
    line(looking, false,
         "peers %" PRIu64 "  connections %" PRIu64 "  dials %" PRIu64 "  bans %" PRIu64
         "  failed frames %" PRIu64 "  memory %s of %s",
         peers, conns, value_of(looking, "weir_dials", NULL, NULL),
         value_of(looking, "weir_bans", NULL, NULL), failed, cli_bytes_text(used, (double)pool),
         cli_bytes_text(most, (double)value_of(looking, "weir_pool_max_bytes", NULL, NULL)));
    line(looking, false, "%s", "");
}

static void view_shards(struct looking *looking)
{
    line(looking, true, "%5s %6s %10s %10s %8s %8s %7s %7s %6s %6s %7s %7s", "SHARD", "PEERS", "IN",
         "OUT", "FRAMES", "TURNS/s", "CALLS/s", "LETTERS", "BUSY", "SPIN", "LATE", "STARVED");
    for (uint32_t i = 0; i < WEIR_SHARDS_MAX; i++) {
        char idx[12], in[CLI_TEXT_BYTES], out[CLI_TEXT_BYTES], frames[CLI_TEXT_BYTES];
        char turns[CLI_TEXT_BYTES], calls[CLI_TEXT_BYTES], letters[CLI_TEXT_BYTES];
        char busy[CLI_TEXT_BYTES], spin[CLI_TEXT_BYTES];
        snprintf(idx, sizeof(idx), "%u", i);
        if (find(looking->now, "weir_peers", "shard", idx) < 0)
            break;
#define RATE(name) rate_of(looking, name, "shard", idx)
        line(looking, false,
             "%5s %6" PRIu64 " %10s %10s %8s %8s %7s %7s %6s %6s %7" PRIu64 " %7" PRIu64, idx,
             value_of(looking, "weir_peers", "shard", idx),
             byte_rate(in, RATE("weir_wire_received_bytes_total")),
             byte_rate(out, RATE("weir_wire_sent_bytes_total")),
             count_rate(frames, RATE("weir_frames_received_total")),
             count_rate(turns, RATE("weir_turns_total")),
             count_rate(calls, RATE("weir_syscalls_total")),
             count_rate(letters, RATE("weir_letters_total")),
             share(busy, RATE("weir_busy_seconds_total")),
             share(spin, RATE("weir_spin_seconds_total")),
             value_of(looking, "weir_stalled_turns_total", "shard", idx),
             value_of(looking, "weir_receive_starved_total", "shard", idx));
#undef RATE
    }
    line(looking, false, "%s", "");
}

static void view_channels(struct looking *looking)
{
    const struct stats_view *now = looking->now;
    line(looking, true, "%-18s %8s %10s %8s %10s %10s %9s %8s %7s", "CHANNEL", "IN msg/s", "IN",
         "OUT msg/s", "OUT", "QUEUED", "REFUSED", "DROPPED", "STALLS");
    for (uint32_t i = 0; i < now->head.record_cnt; i++) {
        char id[16], name[80] = "", title[100];
        char in_msgs[CLI_TEXT_BYTES], in[CLI_TEXT_BYTES], out_msgs[CLI_TEXT_BYTES];
        char out[CLI_TEXT_BYTES], queued[CLI_TEXT_BYTES];
        const struct weir_stats_record *record = &now->records[i];
        if (strcmp(record->name, "weir_channel_queue_bytes") != 0 ||
            !stats_label(record, "channel", id, sizeof(id)))
            continue;
        (void)stats_label(record, "name", name, sizeof(name));
        snprintf(title, sizeof(title), "%s %s", id, name);
#define RATE(name) rate_of(looking, name, "channel", id)
        line(looking, false, "%-18.18s %8s %10s %9s %10s %10s %9" PRIu64 " %8" PRIu64 " %7" PRIu64,
             title, count_rate(in_msgs, RATE("weir_channel_messages_received_total")),
             byte_rate(in, RATE("weir_channel_received_bytes_total")),
             count_rate(out_msgs, RATE("weir_channel_messages_sent_total")),
             byte_rate(out, RATE("weir_channel_sent_bytes_total")),
             cli_bytes_text(queued, (double)record->value),
             value_of(looking, "weir_channel_messages_refused_total", "channel", id),
             value_of(looking, "weir_channel_frames_dropped_total", "channel", id),
             value_of(looking, "weir_channel_credit_stalls_total", "channel", id));
#undef RATE
    }
    line(looking, false, "%s", "");
}

static void view_closes(struct looking *looking)
{
    const struct stats_view *now = looking->now;
    line(looking, true, "%-28s %12s %10s", "ENDED BY", "COUNT", "EACH s");
    for (uint32_t i = 0; i < now->head.record_cnt; i++) {
        const struct weir_stats_record *record = &now->records[i];
        char reason[80], rate[CLI_TEXT_BYTES];
        if (strcmp(record->name, "weir_closes_total") != 0 || record->value == 0 ||
            !stats_label(record, "reason", reason, sizeof(reason)))
            continue;
        line(looking, false, "%-28s %12" PRIu64 " %10s", reason, record->value,
             count_rate(rate, rate_of(looking, "weir_closes_total", "reason", reason)));
    }
}

void top_view(struct top_screen *ret_screen, const struct stats_view *was,
              const struct stats_view *now)
{
    struct looking looking = {.screen = ret_screen, .was = was, .now = now};
    bool is_same = was->head.pid == now->head.pid && was->head.pid_start == now->head.pid_start &&
                   was->head.made_wall_ns == now->head.made_wall_ns &&
                   was->head.record_cnt == now->head.record_cnt;
    if (is_same && now->head.updated_ns > was->head.updated_ns)
        looking.seconds = (double)(now->head.updated_ns - was->head.updated_ns) / 1e9;
    ret_screen->line_cnt = 0;
    view_node(&looking);
    view_shards(&looking);
    view_channels(&looking);
    view_closes(&looking);
}
