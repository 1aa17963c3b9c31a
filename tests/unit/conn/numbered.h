/* tests/unit/conn/numbered.h: a queue with a bound, and messages that say their number, so that gaps show. */
#ifndef WEIR_TESTS_UNIT_CONN_NUMBERED_H
#define WEIR_TESTS_UNIT_CONN_NUMBERED_H

#include "tests/unit/conn/peer.h"

static inline struct box *box_with(enum weir_overflow overflow, uint32_t send_bytes_max)
{
    struct box *box = solo_new(2);
    box->channels[0].overflow = overflow;
    box->channels[0].send_bytes_max = send_bytes_max;
    box->channels[0].msg_bytes_max = send_bytes_max;
    solo_open(box);
    return box;
}

/* Sends the n-th message of a sequence: its number is in front. */
static inline int send_numbered(struct weir_conn *conn, uint64_t number, size_t len,
                                bool is_by_reference)
{
    struct weir_buf *buf;
    if (weir_buf_create(&buf, len) != 0)
        return WEIR_E_NOMEM;
    box_fill(weir_buf_data(buf), len, number);
    memcpy(weir_buf_data(buf), &number, 8);
    if (is_by_reference)
        return weir_sendq_buf(conn, 0, buf, false);
    int error = weir_sendq_copy(conn, 0, weir_buf_data(buf), len, false);
    weir_buf_unref(buf);
    return error;
}

static inline uint64_t heard_number(struct heard *heard)
{
    uint64_t number;
    cr_assert_geq(heard->len, 8);
    memcpy(&number, heard->message, 8);
    uint8_t *whole = malloc(heard->len);
    box_fill(whole, heard->len, number);
    cr_assert_eq(memcmp(whole + 8, heard->message + 8, heard->len - 8), 0, "message %llu",
                 (unsigned long long)number);
    free(whole);
    return number;
}

#endif
