/* top_view.h: what `weir top` shows, as lines of text: from two readings of a node's statistics. */
#ifndef TOP_VIEW_H
#define TOP_VIEW_H

#include "stats_read.h"

#define TOP_LINES_MAX 512u
#define TOP_LINE_BYTES 160u

struct top_screen {
    char lines[TOP_LINES_MAX][TOP_LINE_BYTES];
    bool is_heading[TOP_LINES_MAX];
    uint32_t line_cnt;
};

/* Writes the screen. Rates are over the time between the readings; where `was` is of another node, or there is no time
 * between them, they are shown as "-". */
void top_view(struct top_screen *ret_screen, const struct stats_view *was,
              const struct stats_view *now);

#endif
