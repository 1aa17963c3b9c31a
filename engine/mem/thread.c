#include "engine/mem/thread.h"

#include <stdatomic.h>

_Thread_local uint64_t weir_thread_number __attribute__((tls_model("initial-exec")));

uint64_t weir_thread_id(void)
{
    static _Atomic uint64_t last;
    if (weir_thread_number == 0) {
        weir_thread_number = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
    }
    return weir_thread_number;
}
