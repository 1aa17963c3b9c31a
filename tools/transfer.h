/* transfer.h: what `weir send` and `weir recv` say to each other, on one channel.
 *
 * Every message begins with one byte, its kind; integers are little-endian.
 *
 *     sender                                       receiver
 *     HELLO  "weirxfer" version:2          ->
 *     DATA   bytes for standard output     ->
 *     LINE   the same, a newline behind    ->
 *     FILE   seq:4 size:8 mode:4 path      ->      checks the path, makes a temporary file
 *     CHUNK  bytes, in order               ->      writes
 *     END    seq:4 sha256:32               ->      compares, renames
 *                                          <-      OK     seq:4
 *     FINISH bytes:8 files:4               ->      compares, flushes
 *                                          <-      DONE   bytes:8 files:4
 *                                          <-      FAILED class:1 text    (at any time; the end)
 *
 * The sender may run ahead of the answers; it has succeeded when DONE has come, before which every
 * file got its OK. FAILED's class is the sender's exit code (enum cli_exit).
 */
#ifndef TRANSFER_H
#define TRANSFER_H

#include <stddef.h>
#include <stdint.h>

#include <weir/weir.h>

#include "sha256.h"

#define TRANSFER_HELLO "weirxfer"
#define TRANSFER_HELLO_BYTES 8
#define TRANSFER_VERSION 1

enum transfer_kind {
    TRANSFER_NOTHING = 0,
    TRANSFER_IS_HELLO = 1,
    TRANSFER_DATA = 2,
    TRANSFER_LINE = 3,
    TRANSFER_FILE = 4,
    TRANSFER_CHUNK = 5,
    TRANSFER_END = 6,
    TRANSFER_FINISH = 7,
    TRANSFER_OK = 16,
    TRANSFER_DONE = 17,
    TRANSFER_FAILED = 18,
};

#define TRANSFER_CHANNEL 1u
#define TRANSFER_PATH_BYTES_MAX 4095u
#define TRANSFER_CHUNK_BYTES (256u << 10)
#define TRANSFER_MSG_BYTES_MAX (1u << 20) /* the channel's; so a block of --size has a byte less */

/* A receiver writes where its messages are delivered, and a pipe may be slow for as long as somebody
 * reads a page: both sides then give each other this long before they call the connection dead. */
#define TRANSFER_PATIENCE_NS (15 * 60 * WEIR_NS_PER_S)
void transfer_config(struct weir_config *ret_config);

/* One message taken apart; only the members of its kind are set, the others are 0. */
struct transfer {
    enum transfer_kind kind;
    uint32_t seq, mode, files;
    uint64_t size, bytes;
    uint8_t failed_class;
    const uint8_t *data; /* DATA, LINE, CHUNK: the bytes; FILE: the path; FAILED: the text */
    size_t len;
    const uint8_t *digest;
};

/* Takes a message apart. The kind is TRANSFER_NOTHING when it is malformed or of another version. */
struct transfer transfer_read(const uint8_t *data, size_t len);

/* Each writes a message to `ret` (large enough for the fixed part, or for it and the text) and
 * returns its length. */
#define TRANSFER_FIXED_BYTES 64u
size_t transfer_hello(uint8_t *ret);
size_t transfer_file(uint8_t *ret, uint32_t seq, uint64_t size, uint32_t mode, const char *path);
size_t transfer_end(uint8_t *ret, uint32_t seq, const uint8_t digest[SHA256_BYTES]);
size_t transfer_finish(uint8_t *ret, uint64_t bytes, uint32_t files);
size_t transfer_ok(uint8_t *ret, uint32_t seq);
size_t transfer_done(uint8_t *ret, uint64_t bytes, uint32_t files);
size_t transfer_failed(uint8_t *ret, size_t ret_len, uint8_t failed_class, const char *text);

#endif
