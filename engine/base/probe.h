/* engine/base/probe.h: static probes for tracers (bpftrace, perf, SystemTap). The one door to sys/sdt.h.
 *
 *     WEIR_PROBE2(frame_out, conn->slot, len);      is   usdt:...:weir:frame_out, arg0 and arg1
 *
 * A probe is one nop and a note in the binary that says where its arguments are: nothing is computed for it, so the
 * arguments are what is at hand. Without the header (Debian: systemtap-sdt-dev), or with WEIR_NO_PROBES, a probe is nothing
 * at all. docs/tracing.md lists them; tests/scripts/trace.py compares that list with the binary.
 */
#ifndef WEIR_ENGINE_BASE_PROBE_H
#define WEIR_ENGINE_BASE_PROBE_H

#if !defined(WEIR_NO_PROBES) && defined(__has_include)
#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define WEIR_HAS_PROBES 1
#endif
#endif

#ifdef WEIR_HAS_PROBES
#define WEIR_PROBE1(name, a) DTRACE_PROBE1(weir, name, a)
#define WEIR_PROBE2(name, a, b) DTRACE_PROBE2(weir, name, a, b)
#define WEIR_PROBE3(name, a, b, c) DTRACE_PROBE3(weir, name, a, b, c)
#define WEIR_PROBE4(name, a, b, c, d) DTRACE_PROBE4(weir, name, a, b, c, d)
#else
/* Compiled, so that it cannot rot, and never run. */
#define WEIR_PROBE4(name, a, b, c, d) \
    do {                              \
        if (0) {                      \
            (void)(a);                \
            (void)(b);                \
            (void)(c);                \
            (void)(d);                \
        }                             \
    } while (0)
#define WEIR_PROBE3(name, a, b, c) WEIR_PROBE4(name, a, b, c, 0)
#define WEIR_PROBE2(name, a, b) WEIR_PROBE4(name, a, b, 0, 0)
#define WEIR_PROBE1(name, a) WEIR_PROBE4(name, a, 0, 0, 0)
#endif

#endif
