/* Messages of peer exchange: what is taken comes back from its own bytes, and what is not is not half taken.
 *
 * input: the message. */
#include "proto/pex.h"
#include "tests/fuzz/fuzz.h"

static void check_record(const struct weir_pex_record *record, bool may_be_none)
{
    FUZZ_CHECK(strnlen(record->caps, WEIR_CAPS_BYTES) < WEIR_CAPS_BYTES);
    FUZZ_CHECK(weir_caps_is_good(record->caps, strlen(record->caps)));
    bool is_none = record->place.family == WEIR_ADDR_NONE;
    FUZZ_CHECK(is_none ? may_be_none : weir_place_kind(&record->place) != WEIR_PLACE_UNUSABLE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[WEIR_PEX_BYTES_MAX];
    static struct weir_pex_answer answer, again;
    struct weir_pex_about about, about_again;
    struct weir_pex_ask ask;
    uint8_t *bytes = malloc(size + 1); /* a byte too far is seen */
    FUZZ_CHECK(bytes != NULL);
    if (size)
        memcpy(bytes, data, size);
    enum weir_pex_kind kind = weir_pex_kind(bytes, size);
    if (kind == WEIR_PEX_ABOUT && weir_pex_get_about(bytes, size, &about)) {
        struct weir_pex_record record = {.place = about.place};
        memcpy(record.caps, about.caps, sizeof(record.caps));
        check_record(&record, true);
        FUZZ_CHECK(about.flags <= UINT16_MAX);
        size_t len = weir_pex_put_about(&about, out);
        FUZZ_CHECK(weir_pex_get_about(out, len, &about_again));
        FUZZ_CHECK(about.flags == about_again.flags && about.nonce == about_again.nonce &&
                   about.port == about_again.port &&
                   weir_place_is_equal(&about.place, &about_again.place) &&
                   strcmp(about.caps, about_again.caps) == 0);
    } else if (kind == WEIR_PEX_ASK && weir_pex_get_ask(bytes, size, &ask)) {
        FUZZ_CHECK(ask.place_max >= 1 && ask.place_max <= WEIR_PEX_PLACES_MAX);
        FUZZ_CHECK(weir_pex_put_ask(&ask, out) == size);
        FUZZ_CHECK(memcmp(out, bytes, size) == 0);
    } else if (kind == WEIR_PEX_ANSWER && weir_pex_get_answer(bytes, size, &answer)) {
        FUZZ_CHECK(answer.record_cnt <= WEIR_PEX_PLACES_MAX);
        for (uint32_t i = 0; i < answer.record_cnt; i++)
            check_record(&answer.records[i], false);
        size_t len = weir_pex_put_answer(&answer, out);
        FUZZ_CHECK(len <= size);
        FUZZ_CHECK(weir_pex_get_answer(out, len, &again));
        FUZZ_CHECK(again.id == answer.id && again.record_cnt == answer.record_cnt);
        for (uint32_t i = 0; i < answer.record_cnt; i++)
            FUZZ_CHECK(weir_place_is_equal(&again.records[i].place, &answer.records[i].place) &&
                       again.records[i].age_s == answer.records[i].age_s &&
                       strcmp(again.records[i].caps, answer.records[i].caps) == 0);
    }
    free(bytes);
    return 0;
}
