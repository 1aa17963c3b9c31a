#include "suggest.h"

#include <stdio.h>
#include <string.h>

#define NAME_MAX_LEN 40u

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many changes make one of the other, where no two of them touch the same place (optimal string alignment); some
 * number above `most` where that is passed. A row's least never falls below that of the two rows above it. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len, size_t most)
{
    size_t rows[3][NAME_MAX_LEN + 1], least_above = 0;
    for (size_t k = 0; k <= b_len; k++)
        rows[0][k] = k;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *row = rows[i % 3], least = i;
        const size_t *above = rows[(i + 2) % 3], *above_that = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t k = 1; k <= b_len; k++) {
            row[k] = min(above[k - 1] + (a[i - 1] != b[k - 1]), min(above[k], row[k - 1]) + 1);
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
                row[k] = min(row[k], above_that[k - 2] + 1);
            least = min(least, row[k]);
        }
        if (least > most && least_above > most)
            return most + 1;
        least_above = least;
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
        size_t name_len = strlen(name);
        /* What is longer or shorter by more than that is not near. */
        if (name_len > NAME_MAX_LEN || name_len > len + most || len > name_len + most)
            continue;
        size_t cnt = distance(typed, len, name, name_len, most);
        if (cnt > most || (best != NULL && cnt == most))
            continue;
        most = cnt;
        best = name;
    }
    if (best != NULL)
        snprintf(text, SUGGEST_BYTES, " (did you mean '%s%s'?)", prefix, best);
    return text;
}
