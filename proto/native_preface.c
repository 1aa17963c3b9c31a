#include "proto/native_wire.h"

#include <string.h>

/* docs/wire.md "Preface". The first byte is not text and not TLS, so one byte tells weir from all that
 * commonly meets an open port; CR LF catches a link that rewrites line ends. */
static const uint8_t preface[8] = {0x89, 0x57, 0x45, 0x49, 0x52, 0x0D, 0x0A, 0x1A};

/* The first bytes of an HTTP request (HTTP/2's "PRI " too) and, for a dialer, of an answer. */
static const char http_words[][5] = {"GET ", "POST", "PUT ", "HEAD", "OPTI", "PRI ",
                                     "CONN", "DELE", "PATC", "TRAC", "HTTP"};

#define TLS_HANDSHAKE 0x16u
#define TLS_ALERT 0x15u
#define TLS_MAJOR 0x03u

/* Says what bytes that are not weir's look like. Decides with what is there: one byte that could begin
 * such a protocol is enough, because nobody waits for more only to name the stranger better. */
static uint16_t stranger_name(const uint8_t *data, size_t len)
{
    if ((data[0] == TLS_HANDSHAKE || data[0] == TLS_ALERT) && (len < 2 || data[1] == TLS_MAJOR))
        return WEIR_R_TLS;
    size_t word_len = len < 4 ? len : 4;
    for (size_t i = 0; i < sizeof http_words / sizeof http_words[0]; i++) {
        if (memcmp(data, http_words[i], word_len) == 0)
            return WEIR_R_HTTP;
    }
    return WEIR_R_NOT_WEIR;
}

void weir_native_preface_write(uint8_t *ret_bytes, bool is_dialer)
{
    memcpy(ret_bytes, preface, sizeof preface);
    ret_bytes[sizeof preface] = is_dialer ? NATIVE_LIVENESS_DIALER : NATIVE_LIVENESS_LISTENER;
}

int weir_native_preface_judge(const uint8_t *data, size_t len, bool is_from_dialer,
                              uint16_t *ret_reason)
{
    size_t fixed_len = len < sizeof preface ? len : sizeof preface;
    if (fixed_len != 0 && memcmp(data, preface, fixed_len) != 0) {
        *ret_reason = stranger_name(data, len);
        return 0;
    }
    if (len < NATIVE_PREFACE_BYTES)
        return -(int)NATIVE_PREFACE_BYTES;
    uint8_t liveness = is_from_dialer ? NATIVE_LIVENESS_DIALER : NATIVE_LIVENESS_LISTENER;
    if (data[sizeof preface] != liveness) {
        *ret_reason = is_from_dialer && data[sizeof preface] == NATIVE_V2_MARK_DIALER
                          ? WEIR_R_SECURE_REFUSED
                          : WEIR_R_NOT_WEIR;
        return 0;
    }
    return 1;
}

int weir_native_sniff(const uint8_t *data, size_t len, uint16_t *ret_reason)
{
    return weir_native_preface_judge(data, len, true, ret_reason);
}
