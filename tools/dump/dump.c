#include "tools/dump/dump.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <weir/error.h>

#include "proto/native_run.h"
#include "proto/native_wire.h"
#include "tools/dump/hello.h"
#include "tools/dump/item.h"
#include "tools/dump/secure.h"

/* A window that always has room for the largest frame. */
struct dump {
    FILE *in, *out;
    bool is_json;
    uint8_t bytes[WEIR_NATIVE_HEAD + NATIVE_FRAME_BYTES_MAX];
    size_t len;      /* bytes in the window */
    uint64_t offset; /* of its first byte in the stream */
    struct dump_result result;
    bool is_over; /* a fault behind which there are no frames */
    bool is_unwritable;
};

/* Has `need` bytes in the window if the stream has them; returns whether they are there. */
static bool has(struct dump *dump, size_t need)
{
    if (dump->len < need)
        dump->len += fread(dump->bytes + dump->len, 1, need - dump->len, dump->in);
    return dump->len >= need;
}

static void drop(struct dump *dump, size_t len)
{
    memmove(dump->bytes, dump->bytes + len, dump->len - len);
    dump->len -= len;
    dump->offset += len;
    dump->result.byte_cnt += len;
}

static void begin(struct dump *dump, struct item *ret_item, const char *what, uint64_t len)
{
    item_begin(ret_item, dump->out, dump->is_json, dump->offset, what, len);
}

static void end(struct dump *dump, struct item *item, int reason)
{
    if (reason != 0) {
        item_fault(item, reason);
        dump->result.fault_cnt++;
    }
    if (!item_end(item))
        dump->is_unwritable = true;
}

/* ---- version 2 ----------------------------------------------------------------------------------- */

/* Version 2 is encrypted: without its keys the handshake's outside is all there is to be shown, and how many
 * bytes of records follow. */
static void secure(struct dump *dump, struct secure_stream *stream)
{
    struct secure_part part;
    struct item item;
    for (;;) {
        (void)has(dump, sizeof(dump->bytes));
        if (dump->is_unwritable || !secure_next(stream, dump->bytes, dump->len, &part))
            break;
        begin(dump, &item, part.what, part.len);
        end(dump, &item, secure_show(stream, &part, &item, dump->bytes));
        drop(dump, part.len);
    }
    if (dump->len == 0 || !secure_is_sealed(stream))
        return; /* what is there is cut */
    uint64_t from = dump->offset;
    while (dump->len != 0) {
        drop(dump, dump->len);
        (void)has(dump, sizeof(dump->bytes));
    }
    item_begin(&item, dump->out, dump->is_json, from, "records", dump->offset - from);
    end(dump, &item, 0);
}

/* ---- the preface --------------------------------------------------------------------------------- */

/* Returns whether frames may follow. */
static bool preface(struct dump *dump)
{
    struct item item;
    uint16_t reason = 0;
    (void)has(dump, NATIVE_PREFACE_BYTES);
    struct secure_stream stream;
    if (secure_is(&stream, dump->bytes, dump->len)) {
        secure(dump, &stream);
        return false;
    }
    if (dump->len == 0 || (dump->len >= 4 && memcmp(dump->bytes, "WEIR", 4) == 0))
        return true; /* nothing, or it was not captured */
    bool is_dialer = dump->len < NATIVE_PREFACE_BYTES || dump->bytes[8] != NATIVE_LIVENESS_LISTENER;
    int verdict = weir_native_preface_judge(dump->bytes, dump->len, is_dialer, &reason);
    if (verdict < 0)
        return false; /* cut: it is the rest */
    begin(dump, &item, "preface", verdict > 0 ? NATIVE_PREFACE_BYTES : dump->len);
    if (verdict > 0)
        item_text(&item, "from", is_dialer ? "dialer" : "listener");
    end(dump, &item, reason);
    dump->is_over = verdict == 0;
    if (verdict > 0)
        drop(dump, NATIVE_PREFACE_BYTES);
    return verdict > 0;
}

/* ---- frames -------------------------------------------------------------------------------------- */

static const char *kind_name(uint8_t kind)
{
    switch ((enum native_kind)kind) {
    case NATIVE_RUN:
        return "RUN";
    case NATIVE_FIRST:
        return "FIRST";
    case NATIVE_MORE:
        return "MORE";
    case NATIVE_HELLO:
        return "HELLO";
    case NATIVE_PING:
        return "PING";
    case NATIVE_PONG:
        return "PONG";
    case NATIVE_CREDIT:
        return "CREDIT";
    case NATIVE_GOODBYE:
        return "GOODBYE";
    case NATIVE_REKEY: /* of version 2, which cannot be read here */
        break;
    }
    return "optional";
}

static int show_control(struct item *item, const struct weir_frame *frame)
{
    struct weir_control control;
    int reason = weir_native_control_read(frame, &control);
    if (reason != 0)
        return reason;
    switch ((enum weir_control_kind)control.kind) {
    case WEIR_CONTROL_PING:
    case WEIR_CONTROL_PONG:
        item_bits(item, "value", control.value);
        break;
    case WEIR_CONTROL_CREDIT:
        for (uint32_t i = 0; i < control.credit_cnt; i++) {
            char name[32];
            snprintf(name, sizeof(name), "channel-%u", control.credits[i].channel);
            item_bits(item, name, control.credits[i].limit);
        }
        break;
    case WEIR_CONTROL_GOODBYE:
        item_text(item, "reason", weir_reason_name(control.reason));
        item_bytes(item, "text", (const uint8_t *)control.text, strlen(control.text));
        break;
    case WEIR_CONTROL_REKEY:
        break;
    }
    return 0;
}

static int show_data(struct dump *dump, struct item *item, const struct weir_frame *frame)
{
    item_count(item, "channel", frame->channel);
    if (frame->kind == WEIR_FRAME_RUN) {
        item_count(item, "messages", frame->aux);
        int reason = weir_run_check(frame->payload, frame->len, frame->aux, UINT32_MAX);
        if (reason == 0)
            dump->result.msg_cnt += frame->aux;
        return reason;
    }
    item_count(item, frame->kind == WEIR_FRAME_FIRST ? "of" : "at", frame->aux);
    dump->result.msg_cnt += frame->kind == WEIR_FRAME_FIRST;
    return 0;
}

/* What stands in a frame that is there as a whole, header and payload. Returns 0 or the fault. */
static int show_payload(struct dump *dump, struct item *item, struct weir_frame *frame)
{
    weir_native_verify(frame, 1);
    if (frame->fault != 0)
        return frame->fault;
    if (frame->wire_kind == NATIVE_HELLO)
        return hello_show(item, frame->payload, frame->len);
    switch ((enum weir_frame_kind)frame->kind) {
    case WEIR_FRAME_CONTROL:
        return show_control(item, frame);
    case WEIR_FRAME_RUN:
    case WEIR_FRAME_FIRST:
    case WEIR_FRAME_MORE:
        return show_data(dump, item, frame);
    case WEIR_FRAME_SKIP:
        item_count(item, "kind", frame->wire_kind);
        return 0;
    case WEIR_FRAME_FAULT:
        break;
    }
    return frame->fault;
}

/* Judges a header as the codec does: a HELLO by what a handshake takes, others by what comes behind it. */
static int head_judge(struct dump *dump, struct weir_frame *ret_frame)
{
    size_t need;
    if (!weir_native_head_read(dump->bytes, dump->len, ret_frame, &need))
        return 0;
    if (ret_frame->kind == WEIR_FRAME_FAULT)
        return ret_frame->fault;
    if (ret_frame->wire_kind == NATIVE_HELLO) {
        if (ret_frame->len > NATIVE_HELLO_BYTES_MAX)
            return WEIR_R_HANDSHAKE_BYTES;
        bool is_right = ret_frame->channel == NATIVE_CHANNEL_CONTROL && ret_frame->aux == 0;
        return is_right ? 0 : WEIR_R_BAD_HELLO;
    }
    struct weir_feed feed = {0};
    struct weir_frame frame;
    weir_native_frames_feed(NATIVE_FRAME_BYTES_MAX, dump->bytes, WEIR_NATIVE_HEAD, &frame, 1,
                            &feed);
    *ret_frame = feed.frame_cnt != 0 ? frame : feed.partial;
    return ret_frame->kind == WEIR_FRAME_FAULT ? ret_frame->fault : 0;
}

/* Shows the frame at the front. Returns false at the stream's end, or at a fault that ends it. */
static bool next_frame(struct dump *dump)
{
    struct item item;
    struct weir_frame frame = {0};
    bool is_head = has(dump, WEIR_NATIVE_HEAD);
    int reason = dump->len != 0 ? head_judge(dump, &frame) : 0;
    if (reason != 0) {
        begin(dump, &item, "frame", is_head ? WEIR_NATIVE_HEAD : dump->len);
        end(dump, &item, reason);
        dump->is_over = true;
        return false;
    }
    size_t len = WEIR_NATIVE_HEAD + (size_t)frame.len;
    if (!is_head || !has(dump, len))
        return false;
    begin(dump, &item, kind_name(frame.wire_kind), len);
    frame.payload = dump->bytes + WEIR_NATIVE_HEAD;
    reason = show_payload(dump, &item, &frame);
    end(dump, &item, reason);
    dump->result.frame_cnt++;
    drop(dump, len);
    return true;
}

int dump_stream(FILE *in, FILE *out, bool is_json, struct dump_result *ret_result,
                bool *ret_is_output)
{
    static _Thread_local struct dump dump;
    memset(&dump, 0, sizeof(dump));
    dump.in = in;
    dump.out = out;
    dump.is_json = is_json;
    errno = 0;
    bool has_more = preface(&dump);
    while (has_more && !dump.is_unwritable)
        has_more = next_frame(&dump);
    int error = ferror(in) != 0 || dump.is_unwritable ? (errno != 0 ? errno : EIO) : 0;
    *ret_is_output = dump.is_unwritable;
    if (error == 0 && !dump.is_over && dump.len != 0) {
        struct item item;
        begin(&dump, &item, "rest", dump.len);
        end(&dump, &item, 0);
        dump.result.rest_bytes = dump.len;
    }
    *ret_result = dump.result;
    return error;
}
