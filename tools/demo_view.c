#include "demo_run.h"

#include <stdarg.h>

#include "cli.h"

#define BAR_CELLS 24u

static uint64_t load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

uint64_t demo_run_bytes(const struct demo_run *run, size_t channel_idx)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < run->node_cnt; i++)
        sum += load(&run->slots[i].channel_bytes[channel_idx]);
    return sum;
}

uint64_t demo_run_msgs(const struct demo_run *run, size_t channel_idx)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < run->node_cnt; i++)
        sum += load(&run->slots[i].channel_msgs[channel_idx]);
    return sum;
}

static void line(struct demo_view *view, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void line(struct demo_view *view, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(view->stream, format, args);
    va_end(args);
    fputs(view->is_terminal ? "\033[K\n" : "\n", view->stream);
    view->line_cnt++;
}

static const char *bar(char text[BAR_CELLS + 1], uint64_t done, uint64_t total)
{
    uint64_t full = total > 0 ? BAR_CELLS * done / total : 0;
    for (uint64_t i = 0; i < BAR_CELLS; i++)
        text[i] = i < full ? '#' : '.';
    text[BAR_CELLS] = '\0';
    return text;
}

static void show_preparing(struct demo_view *view, const struct demo_run *run)
{
    const struct demo_slot *source = &run->slots[0];
    uint64_t total = load(&source->files_total);
    char text[BAR_CELLS + 1], bytes[CLI_TEXT_BYTES];
    uint32_t ready_cnt = 0, met_cnt = 0;
    for (uint32_t i = 1; i < run->node_cnt; i++) {
        ready_cnt += run->processes[i].is_ready;
        met_cnt += run->processes[i].has_met;
    }
    if (ready_cnt > 0)
        line(view, "%u of %u nodes are connected to node 1, %u know all others", ready_cnt,
             run->node_cnt - 1, met_cnt);
    else if (total == 0)
        line(view, "looking at %s ...", run->directory);
    else
        line(view, "node 1  [%s] reads and hashes %llu of %llu files, %s",
             bar(text, load(&source->bytes_read), load(&source->bytes_total)),
             (unsigned long long)load(&source->files_read), (unsigned long long)total,
             cli_bytes_text(bytes, (double)load(&source->bytes_read)));
}

static void show_node(struct demo_view *view, const struct demo_run *run, uint32_t idx,
                      double bytes_per_s)
{
    const struct demo_slot *slot = &run->slots[idx];
    uint64_t rounds = load(&slot->rounds), total = load(&slot->bytes_total);
    char text[BAR_CELLS + 1], rate[CLI_TEXT_BYTES], latency[CLI_TEXT_BYTES];
    cli_rate_text(rate, bytes_per_s);
    cli_time_text(latency, (double)load(&slot->last_vote_ns));
    if (rounds == 0)
        line(view, "node %-2u [%s] first copy, SHA-256    %10s  vote after %s", idx + 1,
             bar(text, load(&slot->round_bytes), total), rate, latency);
    else
        line(view, "node %-2u [%s] round %-4llu compared    %10s  vote after %s", idx + 1,
             bar(text, load(&slot->round_bytes), total), (unsigned long long)rounds + 1, rate,
             latency);
}

static void show_block(struct demo_view *view, const struct demo_run *run, weir_ns now,
                       const double *rates, double sum)
{
    char rate[CLI_TEXT_BYTES];
    double seconds = (double)(now - run->go_ns) / 1e9;
    line(view, "%.1f of %llu s   files arrive at %s", seconds, (unsigned long long)run->seconds,
         cli_rate_text(rate, sum));
    for (uint32_t i = 1; i < run->node_cnt; i++)
        show_node(view, run, i, rates[i]);
}

static void show_line(struct demo_view *view, const struct demo_run *run, weir_ns now, double sum)
{
    uint64_t first = 0, total = 0, rounds_min = UINT64_MAX, vote_ns = 0;
    for (uint32_t i = 1; i < run->node_cnt; i++) {
        const struct demo_slot *slot = &run->slots[i];
        first += load(&slot->rounds) > 0 ? load(&slot->bytes_total) : load(&slot->round_bytes);
        total += load(&slot->bytes_total);
        if (load(&slot->rounds) < rounds_min)
            rounds_min = load(&slot->rounds);
        if (load(&slot->last_vote_ns) > vote_ns)
            vote_ns = load(&slot->last_vote_ns);
    }
    char rate[CLI_TEXT_BYTES], latency[CLI_TEXT_BYTES];
    double percent = total > 0 ? 100.0 * (double)first / (double)total : 0;
    line(
        view,
        "%5.1f s  %10s  first copy %3.0f %%  %llu round%s complete everywhere  last votes after %s",
        (double)(now - run->go_ns) / 1e9, cli_rate_text(rate, sum), percent,
        (unsigned long long)rounds_min, cli_plural(rounds_min),
        cli_time_text(latency, (double)vote_ns));
}

void demo_view_show(struct demo_view *view, const struct demo_run *run, weir_ns now)
{
    if (view->stream == NULL || now < view->next_ns)
        return;
    const weir_ns interval = view->is_terminal ? 200 * WEIR_NS_PER_MS : WEIR_NS_PER_S;
    bool is_first = view->last_ns == 0;
    double rates[DEMO_NODES_MAX] = {0}, sum = 0;
    for (uint32_t i = 1; i < run->node_cnt; i++) {
        uint64_t bytes = load(&run->slots[i].channel_bytes[DEMO_BULK - 1]);
        if (!is_first)
            rates[i] =
                (double)(bytes - view->last_bytes[i]) / ((double)(now - view->last_ns) / 1e9);
        view->last_bytes[i] = bytes;
        sum += rates[i];
    }
    view->last_ns = now;
    view->next_ns = now + interval;
    if (view->is_terminal)
        demo_view_clear(view);
    view->line_cnt = 0;
    /* A line that says nothing yet is worth drawing over, not printing. */
    if (view->is_terminal && run->go_ns == 0)
        show_preparing(view, run);
    else if (view->is_terminal)
        show_block(view, run, now, rates, sum);
    else if (run->go_ns != 0 && !is_first)
        show_line(view, run, now, sum);
    fflush(view->stream);
}

void demo_view_clear(struct demo_view *view)
{
    if (view->stream == NULL || !view->is_terminal || view->line_cnt == 0)
        return;
    fprintf(view->stream, "\033[%dA\033[J", view->line_cnt);
    view->line_cnt = 0;
    fflush(view->stream);
}
