#include "receiver.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "cli.h"

bool session_init(struct session *ret_session)
{
    memset(ret_session, 0, sizeof(*ret_session));
    ret_session->writer = FILE_WRITER_NONE;
    ret_session->hash = sha256_create();
    return ret_session->hash != NULL;
}

void session_end(struct session *session)
{
    file_writer_abort(&session->writer);
    sha256_free(session->hash);
    session->hash = NULL;
}

size_t session_fail(struct session *session, int exit_code,
                    uint8_t ret_answer[SESSION_ANSWER_BYTES], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(session->fault, sizeof(session->fault), format, args);
    va_end(args);
    /* A peer's path is part of the text: nothing in it may steer a terminal. */
    for (char *c = session->fault; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    file_writer_abort(&session->writer);
    session->has_file = false;
    session->state = SESSION_FAILED;
    session->exit_code = exit_code;
    return transfer_failed(ret_answer, SESSION_ANSWER_BYTES, (uint8_t)exit_code, session->fault);
}

static size_t fail_errno(struct session *session, int error, const char *doing, const char *what,
                         uint8_t *ret_answer)
{
    const char *name = strerrorname_np(-error);
    return session_fail(session, CLI_FAILED, ret_answer, "%s: %s, %s '%.300s'",
                        name != NULL ? name : "errno", strerror(-error), doing, what);
}

static size_t begin_file(struct session *session, const struct receiver *receiver,
                         const struct transfer *msg, uint8_t *ret_answer)
{
    if (receiver->store == NULL)
        return session_fail(session, CLI_FAILED, ret_answer,
                            "files came, but it was started without --out DIR");
    if (session->has_file)
        return session_fail(session, CLI_MISMATCH, ret_answer, "a file began inside another");
    const char *fault = file_store_path_fault(msg->data, msg->len);
    if (fault != NULL)
        return session_fail(session, CLI_FAILED, ret_answer, "the path '%.*s' is refused: %s",
                            msg->len < 200 ? (int)msg->len : 200, (const char *)msg->data, fault);
    memcpy(session->path, msg->data, msg->len);
    session->path[msg->len] = '\0';
    int error = file_writer_begin(&session->writer, receiver->store, session->path, msg->mode);
    if (error == -ELOOP || error == -ENOTDIR)
        return session_fail(
            session, CLI_FAILED, ret_answer,
            "the path '%.300s' is refused: a part of it is a symbolic link or a file",
            session->path);
    if (error != 0)
        return fail_errno(session, error, "making", session->path, ret_answer);
    session->has_file = true;
    session->seq = msg->seq;
    session->size = msg->size;
    session->got = 0;
    sha256_begin(session->hash);
    return 0;
}

static size_t add_chunk(struct session *session, const struct transfer *msg, uint8_t *ret_answer)
{
    if (!session->has_file || msg->len > session->size - session->got)
        return session_fail(session, CLI_MISMATCH, ret_answer,
                            "more bytes came than the file was announced with");
    int error = file_writer_add(&session->writer, msg->data, msg->len);
    if (error != 0)
        return fail_errno(session, error, "writing", session->path, ret_answer);
    sha256_add(session->hash, msg->data, msg->len);
    session->got += msg->len;
    session->bytes += msg->len;
    return 0;
}

static size_t end_file(struct session *session, const struct transfer *msg, uint8_t *ret_answer)
{
    if (!session->has_file || msg->seq != session->seq || session->got != session->size)
        return session_fail(session, CLI_MISMATCH, ret_answer,
                            "the file '%.300s' ended before all its bytes came", session->path);
    uint8_t digest[SHA256_BYTES];
    if (!sha256_end(session->hash, digest))
        return session_fail(session, CLI_FAILED, ret_answer, "libcrypto cannot compute a SHA-256");
    if (memcmp(digest, msg->digest, SHA256_BYTES) != 0)
        return session_fail(session, CLI_MISMATCH, ret_answer,
                            "the SHA-256 of '%.300s' differs from the sender's", session->path);
    session->has_file = false;
    int error = file_writer_commit(&session->writer);
    if (error != 0)
        return fail_errno(session, error, "naming", session->path, ret_answer);
    session->files++;
    return transfer_ok(ret_answer, msg->seq);
}

static size_t add_stream(struct session *session, const struct receiver *receiver,
                         const struct transfer *msg, uint8_t *ret_answer)
{
    bool is_line = msg->kind == TRANSFER_LINE;
    bool is_written = fwrite(msg->data, 1, msg->len, receiver->stream) == msg->len;
    if (is_written && is_line)
        is_written = putc('\n', receiver->stream) != EOF;
    if (!is_written)
        return fail_errno(session, -errno, "writing", "standard output", ret_answer);
    session->bytes += msg->len + (is_line ? 1 : 0);
    return 0;
}

static size_t finish(struct session *session, const struct receiver *receiver,
                     const struct transfer *msg, uint8_t *ret_answer)
{
    if (fflush(receiver->stream) != 0)
        return fail_errno(session, -errno, "writing", "standard output", ret_answer);
    if (session->has_file || msg->bytes != session->bytes || msg->files != session->files)
        return session_fail(session, CLI_MISMATCH, ret_answer,
                            "%llu bytes in %u files came, %llu in %u were sent",
                            (unsigned long long)session->bytes, session->files,
                            (unsigned long long)msg->bytes, msg->files);
    session->state = SESSION_DONE;
    return transfer_done(ret_answer, session->bytes, session->files);
}

size_t session_take(struct session *session, const struct receiver *receiver,
                    const struct transfer *msg, uint8_t ret_answer[SESSION_ANSWER_BYTES])
{
    if (session->state == SESSION_DONE || session->state == SESSION_FAILED)
        return 0;
    if (session->state == SESSION_NEW) {
        if (msg->kind != TRANSFER_IS_HELLO)
            return session_fail(session, CLI_FAILED, ret_answer,
                                "the other side is not a `weir send` of this version");
        session->state = SESSION_OPEN;
        return 0;
    }
    switch (msg->kind) {
    case TRANSFER_DATA:
    case TRANSFER_LINE:
        return add_stream(session, receiver, msg, ret_answer);
    case TRANSFER_FILE:
        return begin_file(session, receiver, msg, ret_answer);
    case TRANSFER_CHUNK:
        return add_chunk(session, msg, ret_answer);
    case TRANSFER_END:
        return end_file(session, msg, ret_answer);
    case TRANSFER_FINISH:
        return finish(session, receiver, msg, ret_answer);
    case TRANSFER_NOTHING:
    case TRANSFER_IS_HELLO:
    case TRANSFER_OK:
    case TRANSFER_DONE:
    case TRANSFER_FAILED:
        break;
    }
    return session_fail(session, CLI_MISMATCH, ret_answer, "a message is malformed");
}
