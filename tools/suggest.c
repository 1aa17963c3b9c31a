#include "suggest.h"

#include <stdio.h>
#include <string.h>

#define NAME_MAX_LEN 40u

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many changes make one of the other, where no two of them touch the same place (optimal string alignment). */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][NAME_MAX_LEN + 1], a_len = strlen(a), b_len = strlen(b);
    for (size_t k = 0; k <= b_len; k++)
        rows[0][k] = k;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3], *above_that = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t k = 1; k <= b_len; k++) {
            row[k] = min(above[k - 1] + (a[i - 1] != b[k - 1]), min(above[k], row[k - 1]) + 1);
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
                row[k] = min(row[k], above_that[k - 2] + 1);
        }
    }
    return rows[a_len % 3][b_len];
}

const char *suggest(char text[SUGGEST_BYTES], const char *prefix, const char *typed,
                    const char *(*name_at)(void *ctx, size_t idx), void *ctx)
{
    size_t len = strlen(typed);
    size_t most = len <= 4 ? 1 : len <= 8 ? 2 : 3;
    const char *name, *best = NULL;
    text[0] = '\0';
    if (len < 2 || len > NAME_MAX_LEN)
        return text;
    for (size_t i = 0; (name = name_at(ctx, i)) != NULL; i++) {
        if (strlen(name) > NAME_MAX_LEN)
            continue;
        size_t cnt = distance(typed, name);
        if (cnt > most || (best != NULL && cnt == most))
            continue;
        most = cnt;
        best = name;
    }
    if (best != NULL)
        snprintf(text, SUGGEST_BYTES, " (did you mean '%s%s'?)", prefix, best);
    return text;
}
