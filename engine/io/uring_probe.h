/* engine/io/uring_probe.h: what this kernel's io_uring can do, found by trying, not by its version. */
#ifndef WEIR_ENGINE_IO_URING_PROBE_H
#define WEIR_ENGINE_IO_URING_PROBE_H

#include <stdbool.h>

enum weir_uring_feature {
    /* what weir needs (6.1) */
    WEIR_URING_NODROP,
    WEIR_URING_SUBMIT_ALL,
    WEIR_URING_SINGLE_ISSUER,
    WEIR_URING_DEFER_TASKRUN,
    WEIR_URING_BUF_RINGS,
    WEIR_URING_ACCEPT_MULTISHOT,
    WEIR_URING_RECV_MULTISHOT,
    /* what it takes when there */
    WEIR_URING_NO_SQARRAY,
    /* what it does without, for the reader of a report */
    WEIR_URING_MSG_RING,
    WEIR_URING_SEND_ZC,
    WEIR_URING_SENDMSG_ZC,
    WEIR_URING_NAPI,
    WEIR_URING_BUNDLES,
    WEIR_URING_BUFS_INCREMENTAL,
    WEIR_URING_MIN_TIMEOUT,
    WEIR_URING_RESIZE,
};
#define WEIR_URING_FEATURE_CNT 16

struct weir_uring_probe {
    int setup_errno; /* of the plainest ring; not 0: nothing below was tried */
    bool has[WEIR_URING_FEATURE_CNT];
};

/* Tries each. Makes and frees small rings and a socket pair; blocks for milliseconds. Any thread. */
void weir_uring_probe(struct weir_uring_probe *ret_probe);

#endif
