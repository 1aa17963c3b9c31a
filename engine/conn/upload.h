/* engine/conn/upload.h: how much a node may send to all its peers together, and who is next when that is short.
 *
 * What was sent is a time that all shards add to (engine/base/bucket.h); it is in debt while that time is more than the
 * burst ahead. Connections that find it so stand in a queue of their shard, and so does who comes while others stand
 * there. A timer of the shard calls the first of them, a frame each, every millisecond in which there is something to
 * give; who has more to send goes to the end. How many are called follows from how many of the last could send.
 *
 * Shards meet only in the debt. A shard that was the last to send while another waits lets a millisecond pass.
 */
#ifndef WEIR_ENGINE_CONN_UPLOAD_H
#define WEIR_ENGINE_CONN_UPLOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct weir_hub;
struct weir_conn;

/* The node's. All members are numbers on their own that nothing else is read because of: relaxed is enough. */
struct weir_upload {
    uint64_t per_s; /* bytes; not 0 */
    uint64_t burst_ns;
    _Atomic uint64_t paid_ns;
    _Atomic uint64_t waiting;   /* shards with a queue, a bit each */
    _Atomic uint32_t last_plus; /* 1 + the shard that sent last while any waited; 0: none yet */
};

struct weir_upload_queue; /* a shard's */

/* Takes memory when hub->upload is set. Errors: WEIR_E_NOMEM. */
int weir_upload_init(struct weir_hub *hub);
void weir_upload_free(struct weir_hub *hub);

/* All below need hub->upload. Whether a connection that has a frame may send it now; if not, it is queued. */
bool weir_upload_may_send(struct weir_conn *conn);
void weir_upload_sent(struct weir_conn *conn, uint64_t bytes);
/* It has nothing to send, or ends: it leaves the queue. */
void weir_upload_leave(struct weir_conn *conn);
/* The shard's timer came up. */
void weir_upload_fire(struct weir_hub *hub);

#endif
