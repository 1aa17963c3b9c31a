/* weir/buf.h: memory that is handed to weir, or kept from it, without a copy.
 *
 * A weir_buf is a counted reference to bytes that do not change. The last reference released frees the
 * bytes, exactly once, on whichever thread that is: for a wrapped buffer by calling its `release`.
 */
#ifndef WEIR_BUF_H
#define WEIR_BUF_H

#include "weir/base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_buf;

/* Called exactly once when nobody uses the bytes any more; any thread, possibly a shard's: be short. */
typedef void (*weir_buf_release)(void *ctx, void *data, size_t len);

/* Makes a buffer of `len` bytes (0 to 2^30) with one reference; the caller writes to weir_buf_data()
 * before its first use and not after.
 * Errors: WEIR_E_NOMEM; WEIR_E_MISUSE for a len above 2^30.
 * Thread: any thread. */
WEIR_API int weir_buf_create(struct weir_buf **ret_buf, size_t len);

/* Makes a buffer of the caller's own bytes. `release` (may be NULL for static memory) is called once
 * when they are not needed any more.
 * Errors: as weir_buf_create, and WEIR_E_MISUSE for bytes at NULL; on failure `release` is *not* called.
 * Thread: any thread. */
WEIR_API int weir_buf_wrap(struct weir_buf **ret_buf, void *data, size_t len,
                           weir_buf_release release, void *ctx);

/* Adds a reference and returns `buf`.  Thread: any thread. */
WEIR_API struct weir_buf *weir_buf_ref(struct weir_buf *buf);

/* Gives one reference back; NULL is fine.  Thread: any thread. */
WEIR_API void weir_buf_unref(struct weir_buf *buf);

/* The bytes and how many.  Thread: any thread that holds a reference. */
WEIR_API uint8_t *weir_buf_data(struct weir_buf *buf);
WEIR_API size_t weir_buf_len(const struct weir_buf *buf);

#ifdef __cplusplus
}
#endif

#endif
