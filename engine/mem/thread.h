/* engine/mem/thread.h: which thread is this? A number that no other thread ever has.
 *
 * pthread_self() is used again as soon as a thread has ended, so a buffer dropped late could find
 * itself "on the owner's thread" when it is not. A number from a counter costs less as well: one
 * load, without a call.
 */
#ifndef WEIR_ENGINE_MEM_THREAD_H
#define WEIR_ENGINE_MEM_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#define WEIR_THREAD_NOBODY UINT64_MAX

/* 0 until the thread first asks for its number. Initial-exec: reached without __tls_get_addr even
 * in the shared library (it takes 8 of the bytes that the loader reserves for this). */
extern _Thread_local uint64_t weir_thread_number __attribute__((tls_model("initial-exec")));

/* The calling thread's number, never 0 nor WEIR_THREAD_NOBODY. */
uint64_t weir_thread_id(void);

/* Whether the calling thread is `id`, which weir_thread_id() once returned (or nobody). */
static inline bool weir_thread_is(uint64_t id)
{
    return weir_thread_number == id;
}

#endif
