/* Series that reactors add to the node's own: their descriptions, fixed before start, and cells to count in. */
#include <stdio.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/node/gather.h"
#include "engine/node/internal.h"
#include "engine/node/text.h"
#include "weir/reactor.h"

#define NAME_BYTES 64u
#define HELP_BYTES 128u
#define LABEL_BYTES 32u

/* A cell per shard, which only its thread writes, and one for all other threads; a line of the cache each. */
struct cell {
    _Atomic uint64_t value;
    uint8_t apart[64 - sizeof(uint64_t)];
};

struct weir_counter {
    weir_node *node;
    struct weir_series series; /* its texts are the ones below */
    char name[NAME_BYTES], help[HELP_BYTES], label[LABEL_BYTES], value[NAME_BYTES];
    char labels[WEIR_LABELS_BYTES]; /* as they are shown */
    weir_counter *next;             /* of the same name */
    bool is_first;                  /* of its name */
    struct cell *cells;             /* shard_cnt + 1; NULL where series.read says the value */
};

/* ---- what may be added --------------------------------------------------------------------- */

static bool is_word(const char *text, size_t len_min, size_t len_max)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return text[len] == '\0' && len >= len_min && len <= len_max && text[0] >= 'a';
}

static bool ends_in(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len > end_len && strcmp(text + len - end_len, end) == 0;
}

static bool is_name_good(const struct weir_series *series, bool is_own)
{
    const char *name = series->name;
    bool is_counter = series->type == WEIR_STATS_COUNTER;
    if (!is_word(name, 3, NAME_BYTES - 1) || (strncmp(name, "weir_", 5) == 0) != is_own)
        return false;
    return ends_in(name, "_total") == is_counter && !ends_in(name, "_bucket") &&
           !ends_in(name, "_sum") && !ends_in(name, "_count");
}

static bool is_help_good(const char *help)
{
    size_t len = strlen(help);
    for (size_t i = 0; i < len; i++) {
        if (help[i] < 0x20 || help[i] > 0x7E || help[i] == '\\')
            return false;
    }
    return len >= 1 && len < HELP_BYTES;
}

static bool is_label_good(const struct weir_series *series)
{
    if (!series->label)
        return !series->value;
    return series->value && is_word(series->label, 1, LABEL_BYTES - 1) &&
           strcmp(series->label, "le") != 0 && strcmp(series->label, "quantile") != 0 &&
           strlen(series->value) < NAME_BYTES;
}

static bool is_good(const struct weir_series *series, bool is_own)
{
    return series->name && series->help &&
           (series->type == WEIR_STATS_COUNTER || series->type == WEIR_STATS_GAUGE) &&
           (series->unit == WEIR_STATS_ONE || series->unit == WEIR_STATS_NS) &&
           is_name_good(series, is_own) && is_help_good(series->help) && is_label_good(series);
}

/* Two series of one name are one family: they differ in their label's value and in nothing else that is shown. */
static int compare(const weir_counter *one, const weir_counter *other)
{
    if (one->series.type != other->series.type || one->series.unit != other->series.unit ||
        strcmp(one->help, other->help) != 0 || strcmp(one->label, other->label) != 0)
        return WEIR_E_CONFIG;
    return strcmp(one->labels, other->labels) == 0 ? WEIR_E_DUPLICATE : 0;
}

/* ---- adding -------------------------------------------------------------------------------- */

static void counter_free(weir_counter *counter)
{
    if (!counter)
        return;
    weir_heap_release(counter->cells);
    weir_heap_release(counter);
}

static weir_counter *counter_make(weir_node *node, const struct weir_series *series)
{
    weir_counter *counter = weir_heap_alloc(NULL, sizeof(*counter));
    if (!counter)
        return NULL;
    counter->node = node;
    counter->series = *series;
    snprintf(counter->name, sizeof(counter->name), "%s", series->name);
    snprintf(counter->help, sizeof(counter->help), "%s", series->help);
    if (series->label) {
        char escaped[2 * NAME_BYTES];
        snprintf(counter->label, sizeof(counter->label), "%s", series->label);
        snprintf(counter->value, sizeof(counter->value), "%s", series->value);
        weir_text_label(escaped, sizeof(escaped), counter->value);
        snprintf(counter->labels, sizeof(counter->labels), "%.31s=\"%.120s\"", counter->label,
                 escaped);
    }
    if (series->read)
        return counter;
    size_t cell_cnt = node->cfg.shard_cnt + 1u;
    counter->cells = weir_heap_alloc(NULL, cell_cnt * sizeof(*counter->cells));
    if (counter->cells)
        return counter;
    counter_free(counter);
    return NULL;
}

/* Puts it behind the last of its name. The mutex is held. */
static int enlist(weir_node *node, weir_counter *counter)
{
    weir_counter *last = NULL;
    if (node->series_cnt == WEIR_SERIES_MAX)
        return WEIR_E_LIMIT;
    for (uint32_t i = 0; i < node->series_cnt; i++) {
        if (strcmp(node->series[i]->name, counter->name) != 0)
            continue;
        last = node->series[i];
        int error = compare(last, counter);
        if (error)
            return error;
    }
    counter->is_first = !last;
    if (last)
        last->next = counter;
    node->series[node->series_cnt++] = counter;
    return 0;
}

static int add(weir_node *node, const struct weir_series *from, bool is_own,
               weir_counter **ret_counter)
{
    struct weir_series series;
    if (!node || !from)
        return WEIR_E_MISUSE;
    int error = weir_struct_take(&series, sizeof(series), from);
    if (error)
        return error;
    if (atomic_load(&node->state) != WEIR_NODE_NEW)
        return WEIR_E_STATE;
    if (!series.read && !ret_counter)
        return WEIR_E_MISUSE; /* nobody could count */
    if (!is_good(&series, is_own)) {
        weir_log(node, WEIR_LOG_ERROR,
                 "series: '%.63s' has a name, type, help or label that is none",
                 series.name ? series.name : "");
        return WEIR_E_CONFIG;
    }
    weir_counter *counter = counter_make(node, &series);
    if (!counter)
        return WEIR_E_NOMEM;
    pthread_mutex_lock(&node->mutex);
    error = enlist(node, counter);
    pthread_mutex_unlock(&node->mutex);
    if (error)
        counter_free(counter);
    else if (ret_counter)
        *ret_counter = counter;
    return error;
}

int weir_series_add(weir_node *node, const struct weir_series *series, weir_counter **ret_counter)
{
    return add(node, series, false, ret_counter);
}

void weir_series_own(weir_node *node, const struct weir_own_series *rows, size_t row_cnt, void *ctx,
                     uint32_t channel_id)
{
    char id[16];
    snprintf(id, sizeof(id), "%u", channel_id);
    for (size_t i = 0; i < row_cnt; i++) {
        struct weir_series series = {.size = sizeof(series),
                                     .type = rows[i].type,
                                     .arg = rows[i].arg,
                                     .name = rows[i].name,
                                     .help = rows[i].help,
                                     .ctx = ctx,
                                     .read = rows[i].read};
        if (channel_id != UINT32_MAX) {
            series.label = "channel";
            series.value = id;
        }
        int error = add(node, &series, true, NULL);
        if (error)
            weir_log(node, WEIR_LOG_WARN, "series: %s is not shown: %s", series.name,
                     weir_error_text(error));
    }
}

void weir_series_fini(weir_node *node)
{
    for (uint32_t i = 0; i < node->series_cnt; i++)
        counter_free(node->series[i]);
    node->series_cnt = 0;
}

/* ---- counting ------------------------------------------------------------------------------ */

static void count(weir_counter *counter, uint64_t n)
{
    if (!counter || !counter->cells)
        return;
    const struct weir_shard *here = weir_shard_here(counter->node);
    if (!here) {
        struct cell *cell = &counter->cells[counter->node->cfg.shard_cnt];
        atomic_fetch_add_explicit(&cell->value, n, memory_order_relaxed);
        return;
    }
    _Atomic uint64_t *value = &counter->cells[here->hub.shard].value; /* nobody else writes it */
    atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

void weir_counter_add(weir_counter *counter, uint64_t n)
{
    count(counter, n);
}

void weir_counter_sub(weir_counter *counter, uint64_t n)
{
    if (counter && counter->series.type == WEIR_STATS_GAUGE)
        count(counter, UINT64_C(0) - n);
}

/* ---- looking ------------------------------------------------------------------------------- */

static uint64_t value_of(const weir_counter *counter)
{
    if (!counter->cells)
        return counter->series.read(counter->series.ctx, counter->series.arg);
    uint64_t sum = 0;
    for (uint32_t i = 0; i <= counter->node->cfg.shard_cnt; i++)
        sum += atomic_load_explicit(&counter->cells[i].value, memory_order_relaxed);
    /* A gauge that is raised on one thread and lowered on another can be read between the two, in the wrong order. */
    return sum > INT64_MAX ? 0 : sum;
}

void weir_gather_series(weir_node *node, uint32_t series_cnt, const struct weir_gather_sink *sink)
{
    for (uint32_t i = 0; i < series_cnt; i++) {
        const weir_counter *counter = node->series[i];
        if (!counter->is_first)
            continue;
        sink->family(sink->ctx, counter->name, (enum weir_series_type)counter->series.type,
                     counter->help);
        for (; counter; counter = counter->next)
            sink->sample(sink->ctx, "", counter->labels, value_of(counter),
                         (enum weir_series_unit)counter->series.unit);
    }
}
