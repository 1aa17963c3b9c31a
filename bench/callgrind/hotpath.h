/* bench/callgrind/hotpath.h: a program whose instructions can be counted.
 *
 * Each case warms up and then does the same work again and again. What is counted is everything below
 * counted(), which is called for the side that the case is about: callgrind is told to collect there
 * (--toggle-collect=counted) and nowhere else.
 */
#ifndef WEIR_BENCH_CALLGRIND_HOTPATH_H
#define WEIR_BENCH_CALLGRIND_HOTPATH_H

#include <stdint.h>

/* Calls `work(ctx)`. Never inlined and never given another name. */
void counted(void (*work)(void *ctx), void *ctx);

/* Each returns how many messages (frames, where there are no messages) counted() has seen; aborts when
 * one is wrong. */
uint64_t hotpath_stream(const char *name, uint32_t size); /* "send", "receive", "share", "away" */
/* The same between nodes of so many shards, of which the first has the connection: a shard that shared
 * something with another would take more instructions here. */
uint64_t hotpath_stream_of(uint32_t shards, const char *name, uint32_t size);
uint64_t hotpath_ping(uint32_t size);
uint64_t hotpath_encode(uint32_t size);
uint64_t hotpath_decode(uint32_t size);

#endif
