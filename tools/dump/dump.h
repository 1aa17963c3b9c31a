/* dump.h: takes a captured stream of the native wire apart and prints what is in it.
 *
 * The one part of the tools that looks below the public headers: what it prints are the codec's own verdicts,
 * so it shows what a node would make of the same bytes, and not what a second reader of docs/wire.md would.
 *
 * A stream is one direction of a connection: a preface, a hello, frames. It may begin with any frame (the preface
 * was not captured) and end anywhere. A payload that does not match its sum is a fault and the stream goes on
 * behind it; behind any other fault there are no more frame boundaries.
 */
#ifndef DUMP_H
#define DUMP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct dump_result {
    uint64_t byte_cnt, frame_cnt, msg_cnt, fault_cnt;
    uint64_t rest_bytes; /* of a frame whose end is not there */
};

/* Reads `in` to its end and prints a line (or with `is_json` an object) for each thing in it.
 * Returns 0, or the errno of the side that failed: `*ret_is_output` says which. */
int dump_stream(FILE *in, FILE *out, bool is_json, struct dump_result *ret_result,
                bool *ret_is_output);

#endif
