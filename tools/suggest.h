/* suggest.h: the name that somebody may have meant who typed one that there is not. */
#ifndef SUGGEST_H
#define SUGGEST_H

#include <stddef.h>

#define SUGGEST_BYTES 64u

/* Writes " (did you mean 'NAME'?)", with `prefix` in front of the name, or "" where none is near. A name is near that
 * becomes the typed one by few changes (a character more, less, another, or two the other way round): one in a word of up
 * to four, two in one of up to eight, three in a longer one. Of several it is the nearest, and of those the first.
 * `name_at` names the idx-th, NULL behind the last one. Returns `text`. */
const char *suggest(char text[SUGGEST_BYTES], const char *prefix, const char *typed,
                    const char *(*name_at)(void *ctx, size_t idx), void *ctx);

#endif
