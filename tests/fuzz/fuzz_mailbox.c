/* The mailbox against a queue, on one thread (tests/race has the many): order, bound, and who wakes whom.
 *
 * input: the bound, then operations.
 */
#include "engine/mem/mailbox.h"
#include "tests/fuzz/fuzz.h"
#include "weir/error.h"

#define LETTERS 64u

struct model {
    struct weir_mailbox mailbox;
    struct weir_letter letters[LETTERS];
    uint32_t queue[LETTERS], queue_cnt; /* put, not yet taken */
    bool is_free[LETTERS];
    uint64_t bytes, bytes_max;
    bool is_asleep;
};

static void check(struct model *model)
{
    FUZZ_CHECK(atomic_load(&model->mailbox.bytes) == model->bytes);
    FUZZ_CHECK(atomic_load(&model->mailbox.is_asleep) == model->is_asleep);
    FUZZ_CHECK((atomic_load(&model->mailbox.top) == NULL) == (model->queue_cnt == 0));
}

static void put(struct model *model, uint32_t idx, uint32_t bytes, bool is_always)
{
    struct weir_letter *letter = &model->letters[idx];
    bool must_wake = true;
    *letter = (struct weir_letter){.kind = idx, .bytes = bytes};
    if (is_always) {
        weir_mailbox_put_always(&model->mailbox, letter, &must_wake);
    } else {
        bool has_room =
            model->bytes <= model->bytes_max && bytes <= model->bytes_max - model->bytes;
        int error = weir_mailbox_put(&model->mailbox, letter, &must_wake);
        FUZZ_CHECK(error == (has_room ? 0 : WEIR_E_FULL));
        if (error)
            return;
    }
    FUZZ_CHECK(must_wake == model->is_asleep);
    model->is_asleep = false;
    model->is_free[idx] = false;
    model->queue[model->queue_cnt++] = idx;
    model->bytes += bytes;
}

static void take(struct model *model)
{
    uint32_t cnt = 0;
    for (struct weir_letter *letter = weir_mailbox_take(&model->mailbox); letter;) {
        struct weir_letter *next = letter->next;
        FUZZ_CHECK(cnt < model->queue_cnt && letter == &model->letters[model->queue[cnt]]);
        FUZZ_CHECK(letter->kind == model->queue[cnt]);
        weir_mailbox_credit(&model->mailbox, letter->bytes);
        model->bytes -= letter->bytes;
        model->is_free[letter->kind] = true;
        cnt++;
        letter = next;
    }
    FUZZ_CHECK(cnt == model->queue_cnt);
    model->queue_cnt = 0;
}

static void step(struct model *model, struct fuzz *fuzz)
{
    uint32_t op = fuzz_below(fuzz, 8);
    uint32_t idx = fuzz_below(fuzz, LETTERS);
    if (op < 5) {
        if (model->is_free[idx])
            put(model, idx, (uint32_t)fuzz_number(fuzz), op == 4);
    } else if (op == 5) {
        take(model);
    } else if (op == 6) {
        bool may_sleep = weir_mailbox_sleep(&model->mailbox);
        FUZZ_CHECK(may_sleep == (model->queue_cnt == 0));
        model->is_asleep = may_sleep;
    } else {
        weir_mailbox_awake(&model->mailbox);
        model->is_asleep = false;
    }
    check(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model model;
    struct fuzz fuzz = fuzz_begin(data, size);
    memset(&model, 0, sizeof model);
    memset(model.is_free, 1, sizeof model.is_free);
    model.bytes_max = fuzz_number(&fuzz);
    weir_mailbox_init(&model.mailbox, model.bytes_max);
    while (fuzz_has_more(&fuzz))
        step(&model, &fuzz);
    take(&model);
    FUZZ_CHECK(model.bytes == 0);
    return 0;
}
