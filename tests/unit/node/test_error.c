#include <criterion/criterion.h>
#include <ctype.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "weir/base.h"
#include "weir/error.h"

static bool is_sentence(const char *text)
{
    size_t len = strlen(text);
    return len > 5 && isupper((unsigned char)text[0]) && text[len - 1] == '.' &&
           strchr(text, '\n') == NULL;
}

Test(error, every_code_has_a_name_and_a_text_of_its_own)
{
    for (int error = 0; error > -WEIR_ERROR_CNT; --error) {
        cr_assert_not_null(weir_error_name(error), "%d", error);
        cr_assert(strncmp(weir_error_name(error), error == 0 ? "WEIR_OK" : "WEIR_E_", 7) == 0);
        cr_assert_str_neq(weir_error_name(error), "WEIR_E_?");
        cr_assert(is_sentence(weir_error_text(error)), "%s", weir_error_text(error));
        cr_assert_not_null(weir_error_remedy(error));
        cr_assert(error == 0 || is_sentence(weir_error_remedy(error)), "%s",
                  weir_error_name(error));
        for (int other = 0; other > error; --other) {
            cr_assert_str_neq(weir_error_name(error), weir_error_name(other));
            cr_assert_str_neq(weir_error_text(error), weir_error_text(other));
        }
    }
    cr_assert_str_eq(weir_error_name(WEIR_E_FULL), "WEIR_E_FULL");
    cr_assert_str_eq(weir_error_name(WEIR_E_FAULT), "WEIR_E_FAULT");
}

Test(error, other_numbers_are_answered_too)
{
    static const int others[] = {1, 22, INT_MAX, -WEIR_ERROR_CNT, -1000, INT_MIN};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); ++i) {
        cr_assert_str_eq(weir_error_name(others[i]), "WEIR_E_?");
        cr_assert(is_sentence(weir_error_text(others[i])));
        cr_assert_str_eq(weir_error_remedy(others[i]), "");
    }
}

/* `switch` without default: the compiler says when the enum grows and this does not. */
static bool is_reason(int reason)
{
    switch ((enum weir_reason)reason) {
    case WEIR_R_NONE:
    case WEIR_R_SHUTDOWN:
    case WEIR_R_APPLICATION:
    case WEIR_R_EOF:
    case WEIR_R_RESET:
    case WEIR_R_REFUSED:
    case WEIR_R_UNREACHABLE:
    case WEIR_R_DIAL_TIMEOUT:
    case WEIR_R_NAME_NOT_FOUND:
    case WEIR_R_NAME_TEMPORARY:
    case WEIR_R_NAME_NO_ADDRESS:
    case WEIR_R_NAME_TIMEOUT:
    case WEIR_R_RACE:
    case WEIR_R_HANDSHAKE_TIMEOUT:
    case WEIR_R_IDLE:
    case WEIR_R_PING_TIMEOUT:
    case WEIR_R_STALLED:
    case WEIR_R_NOT_WEIR:
    case WEIR_R_HTTP:
    case WEIR_R_TLS:
    case WEIR_R_WRONG_NETWORK:
    case WEIR_R_WRONG_VERSION:
    case WEIR_R_SELF:
    case WEIR_R_NO_CHANNELS:
    case WEIR_R_BAD_HELLO:
    case WEIR_R_CRITICAL_FEATURE:
    case WEIR_R_HANDSHAKE_BYTES:
    case WEIR_R_BAD_MAGIC:
    case WEIR_R_BAD_HEADER:
    case WEIR_R_BAD_LENGTH:
    case WEIR_R_BAD_CHECKSUM:
    case WEIR_R_BAD_CHANNEL:
    case WEIR_R_BAD_KIND:
    case WEIR_R_BAD_RUN:
    case WEIR_R_BAD_FRAGMENT:
    case WEIR_R_BAD_CONTROL:
    case WEIR_R_MESSAGE_TOO_BIG:
    case WEIR_R_CREDIT:
    case WEIR_R_FLOOD:
    case WEIR_R_LIMIT_PEERS:
    case WEIR_R_LIMIT_MEMORY:
    case WEIR_R_OVERFLOW:
    case WEIR_R_INTERNAL:
    case WEIR_R_LIMIT_INBOUND:
    case WEIR_R_LIMIT_OUTBOUND:
    case WEIR_R_LIMIT_ADDRESS:
    case WEIR_R_LIMIT_SUBNET:
    case WEIR_R_LIMIT_RATE:
    case WEIR_R_LIMIT_HANDSHAKES:
    case WEIR_R_BANNED:
    case WEIR_R_MISBEHAVED:
    case WEIR_R_EVICTED:
    case WEIR_R_NOT_NEEDED:
    case WEIR_R_BAD_REQUEST:
    case WEIR_R_BAD_GOSSIP:
    case WEIR_R_PROXY_DOWN:
    case WEIR_R_PROXY_CLOSED:
    case WEIR_R_PROXY_PROTOCOL:
    case WEIR_R_PROXY_METHOD:
    case WEIR_R_PROXY_AUTH:
    case WEIR_R_PROXY_GENERAL:
    case WEIR_R_PROXY_RULES:
    case WEIR_R_PROXY_NETWORK:
    case WEIR_R_PROXY_HOST:
    case WEIR_R_PROXY_REFUSED:
    case WEIR_R_PROXY_TTL:
    case WEIR_R_PROXY_COMMAND:
    case WEIR_R_PROXY_TYPE:
    case WEIR_R_PROXY_ONION_NOT_FOUND:
    case WEIR_R_PROXY_ONION_INVALID:
    case WEIR_R_PROXY_ONION_INTRO:
    case WEIR_R_PROXY_ONION_RENDEZVOUS:
    case WEIR_R_PROXY_ONION_NO_AUTH:
    case WEIR_R_PROXY_ONION_BAD_AUTH:
    case WEIR_R_PROXY_ONION_ADDRESS:
    case WEIR_R_PROXY_ONION_TIMEOUT:
    case WEIR_R_PROXY_UNKNOWN:
    case WEIR_R_PLAIN_REFUSED:
    case WEIR_R_SECURE_REFUSED:
    case WEIR_R_NETWORK_KEY:
    case WEIR_R_HANDSHAKE_CRYPTO:
    case WEIR_R_BAD_KEY:
    case WEIR_R_BAD_IDENTITY:
    case WEIR_R_WRONG_ID:
    case WEIR_R_BAD_RECORD:
    case WEIR_R_DUPLICATE_PEER:
        return true;
    }
    return false;
}

Test(error, every_reason_and_no_other_number_has_a_name_and_a_text_of_its_own)
{
    for (int reason = -2; reason < WEIR_REASON_CNT + 2; ++reason) {
        const char *name = weir_reason_name(reason);
        cr_assert(is_sentence(weir_reason_text(reason)), "%d", reason);
        cr_assert_eq(strcmp(name, "unknown") != 0, is_reason(reason), "%d: %s", reason, name);
        cr_assert(strlen(name) > 2 && strspn(name, "abcdefghijklmnopqrstuvwxyz-") == strlen(name));
        for (int other = 0; is_reason(reason) && other < reason; ++other) {
            cr_assert_str_neq(name, weir_reason_name(other));
            cr_assert_str_neq(weir_reason_text(reason), weir_reason_text(other));
        }
    }
    cr_assert_str_eq(weir_reason_name(WEIR_R_BAD_CHECKSUM), "bad-checksum");
    cr_assert_str_eq(weir_reason_name(INT_MAX), "unknown");
    cr_assert_str_eq(weir_reason_name(INT_MIN), "unknown");
}

Test(error, the_version_is_the_headers)
{
    char version[32];
    snprintf(version, sizeof(version), "%d.%d.%d", WEIR_VERSION_MAJOR, WEIR_VERSION_MINOR,
             WEIR_VERSION_PATCH);
    cr_assert_str_eq(weir_version(), version);
}
