/* receiver.h: what `weir recv` does with the messages of one sender.
 *
 * A session begins with the sender's hello and ends with FINISH or with a fault. Everything runs on
 * the thread that delivers messages; disk writes happen there too, so a slow disk costs the sender
 * credit and nobody else anything.
 *
 *                hello              FINISH, counts equal
 *     SESSION_NEW ───► SESSION_OPEN ───────────────────► SESSION_DONE
 *          │                │ wrong path, full disk, wrong hash, ...
 *          └────────────────┴──────────────────────────► SESSION_FAILED   what comes now is ignored
 */
#ifndef RECEIVER_H
#define RECEIVER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "file_store.h"
#include "sha256.h"
#include "transfer.h"

enum session_state { SESSION_NEW, SESSION_OPEN, SESSION_DONE, SESSION_FAILED };

struct session {
    enum session_state state;
    struct file_writer writer;
    bool has_file;      /* between FILE and END */
    uint32_t seq;       /* of that file */
    uint64_t size, got; /* its announced size, and what came */
    char path[TRANSFER_PATH_BYTES_MAX + 1];
    struct sha256 *hash;
    uint64_t bytes;  /* of all files, or of the stream */
    uint32_t files;  /* complete, with equal hashes */
    int exit_code;   /* of a failed session */
    char fault[512]; /* why it failed: for the user here and for the sender */
};

/* What sessions write to. */
struct receiver {
    struct file_store *store; /* NULL: no --out, files are refused */
    FILE *stream;             /* for DATA and LINE */
};

/* Returns false when memory or SHA-256 is missing. */
bool session_init(struct session *ret_session);

/* Removes what is incomplete. */
void session_end(struct session *session);

/* Takes one message. Returns the length of an answer written to `ret_answer`, or 0 for none. The
 * caller looks at `state` afterwards, and at `has_file` turning false for a file that is complete. */
#define SESSION_ANSWER_BYTES 600u
size_t session_take(struct session *session, const struct receiver *receiver,
                    const struct transfer *msg, uint8_t ret_answer[SESSION_ANSWER_BYTES]);

/* Fails a session from outside; returns the length of the answer as session_take. */
size_t session_fail(struct session *session, int exit_code,
                    uint8_t ret_answer[SESSION_ANSWER_BYTES], const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
