#include "weir/buf.h"

#include "engine/base/check.h"
#include "engine/mem/pool_impl.h"
#include "weir/error.h"

int weir_buf_create(struct weir_buf **ret_buf, size_t len)
{
    if (ret_buf == NULL || len > WEIR_BUF_BYTES_MAX) {
        return WEIR_E_MISUSE;
    }
    struct weir_buf *buf = weir_heap_alloc_raw(NULL, WEIR_BUF_DATA_OFFSET + len);
    if (buf == NULL) {
        return WEIR_E_NOMEM;
    }
    *buf = (struct weir_buf){.refs = 1, .data = weir_buf_block_data(buf), .cap = len, .len = len};
    *ret_buf = buf;
    return 0;
}

int weir_buf_wrap(struct weir_buf **ret_buf, void *data, size_t len, weir_buf_release release,
                  void *ctx)
{
    if (ret_buf == NULL || len > WEIR_BUF_BYTES_MAX || (data == NULL && len != 0)) {
        return WEIR_E_MISUSE;
    }
    struct weir_buf *buf = weir_heap_alloc_raw(NULL, sizeof(*buf));
    if (buf == NULL) {
        return WEIR_E_NOMEM;
    }
    *buf = (struct weir_buf){
        .refs = 1,
        .data = data,
        .cap = len,
        .len = len,
        .release = release,
        .release_ctx = ctx,
    };
    *ret_buf = buf;
    return 0;
}

struct weir_buf *weir_buf_ref(struct weir_buf *buf)
{
    return weir_buf_hold(buf);
}

void weir_buf_unref(struct weir_buf *buf)
{
    if (buf == NULL) {
        return;
    }
    /* Who sees 1 holds the only reference, so nobody can add or drop one meanwhile: no
     * read-modify-write is needed. Acquire pairs with the release below of whoever dropped the one
     * before, so that his reads of the bytes are over before the bytes are used again. */
    uint32_t refs = atomic_load_explicit(&buf->refs, memory_order_acquire);
    WEIR_DCHECK(refs != 0);
    if (refs != 1 && atomic_fetch_sub_explicit(&buf->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (buf->pool != NULL) {
        weir_pool_give(buf);
        return;
    }
    if (buf->release != NULL) {
        buf->release(buf->release_ctx, buf->data, buf->len);
    }
    weir_heap_release(buf);
}

bool weir_buf_is_sole(const struct weir_buf *buf)
{
    /* Acquire: whoever dropped the last other reference has read what he wanted. */
    return buf->data == (const uint8_t *)buf + WEIR_BUF_DATA_OFFSET &&
           atomic_load_explicit(&buf->refs, memory_order_acquire) == 1;
}

uint8_t *weir_buf_data(struct weir_buf *buf)
{
    return buf->data;
}

size_t weir_buf_len(const struct weir_buf *buf)
{
    return buf->len;
}
