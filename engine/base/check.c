#include "engine/base/check.h"

#include <stdlib.h>

/* Written once, just before the abort: `p weir_check_last` in the core says which check it was. */
static struct {
    const char *volatile file;
    const char *volatile expr;
    volatile int line;
} weir_check_last;

#ifdef WEIR_CANARY
int weir_canary;
#endif

bool weir_check_said(const char **ret_file, int *ret_line, const char **ret_expr)
{
    *ret_file = weir_check_last.file;
    *ret_line = weir_check_last.line;
    *ret_expr = weir_check_last.expr;
    return weir_check_last.file != NULL;
}

void weir_check_failed(const char *file, int line, const char *expr)
{
    weir_check_last.file = file;
    weir_check_last.expr = expr;
    weir_check_last.line = line;
    abort();
}
