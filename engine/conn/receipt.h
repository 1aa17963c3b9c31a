/* engine/conn/receipt.h: how far a message has come that was queued for many: what weir/node.h shows of it.
 *
 * Each queued copy ends once: the kernel took its last byte, or it was given up. The sending stages count that
 * here; who waits is the node's (node/receipt.c), called through `changed`.
 */
#ifndef WEIR_ENGINE_CONN_RECEIPT_H
#define WEIR_ENGINE_CONN_RECEIPT_H

#include <stdatomic.h>
#include <stdint.h>

struct weir_receipt {
    _Atomic uint32_t refs;
    _Atomic uint32_t posting;              /* shards that have not yet queued it, and the caller */
    _Atomic uint64_t queued, handed, lost; /* peers */
    void (*changed)(struct weir_receipt *receipt); /* any shard; after a count changed */
    void (*release)(struct weir_receipt *receipt); /* the last reference is gone */
};

static inline void weir_receipt_count(struct weir_receipt *receipt, _Atomic uint64_t *counter)
{
    /* In one order with what a waiter reads: it must not see "all have ended" before their ends. */
    atomic_fetch_add_explicit(counter, 1, memory_order_seq_cst);
    receipt->changed(receipt);
}

static inline void weir_receipt_unref(struct weir_receipt *receipt)
{
    if (atomic_fetch_sub_explicit(&receipt->refs, 1, memory_order_acq_rel) == 1)
        receipt->release(receipt);
}

#endif
