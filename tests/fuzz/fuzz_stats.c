/* The statistics file as `weir stat` and `weir top` read it: whatever it is, it is refused with a reason, or every text of
 * it is printable and the screen stays within its bounds.
 *
 * input: the file; with its magic, version and sizes mended when the first byte is odd, so that the rest is reached.
 */
#include "tests/fuzz/streams.h"
#include "tools/top_view.h"

static void expect_printable(const char *text, size_t size)
{
    FUZZ_CHECK(memchr(text, 0, size) != NULL);
    for (; *text != '\0'; text++)
        FUZZ_CHECK(*text >= 0x20 && *text <= 0x7E);
}

static void mend(uint8_t *bytes, size_t size)
{
    struct weir_stats_head head;
    if (size < sizeof(head))
        return;
    memcpy(&head, bytes, sizeof(head));
    memcpy(head.magic, WEIR_STATS_MAGIC, 8);
    head.version = WEIR_STATS_VERSION;
    head.head_bytes = sizeof(head);
    head.record_bytes = sizeof(struct weir_stats_record);
    head.record_cnt = (uint32_t)((size - sizeof(head)) / sizeof(struct weir_stats_record));
    head.seq &= ~UINT64_C(1);
    memcpy(bytes, &head, sizeof(head));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct stats_view view;
    static struct top_screen screen;
    static struct memory_file file;
    char why[STATS_WHY_BYTES] = "";
    if (size == 0)
        return 0;
    uint8_t *bytes = fuzz_copy(data + 1, size - 1);
    if (data[0] & 1)
        mend(bytes, size - 1);
    else if (size > 40)
        bytes[24] &= 0xFE; /* an odd number is waited for, a tenth of a second each time */
    memory_file(&file, bytes, size - 1);
    if (stats_read_fd(&view, file.fd, why)) {
        expect_printable(view.head.network_id, sizeof(view.head.network_id));
        for (uint32_t i = 0; i < view.head.record_cnt; i++) {
            char value[8];
            expect_printable(view.records[i].name, sizeof(view.records[i].name));
            expect_printable(view.records[i].labels, sizeof(view.records[i].labels));
            if (stats_label(&view.records[i], "channel", value, sizeof(value)))
                FUZZ_CHECK(memchr(value, 0, sizeof(value)) != NULL);
        }
        top_view(&screen, &view, &view);
        FUZZ_CHECK(screen.line_cnt >= 4 && screen.line_cnt <= TOP_LINES_MAX);
    } else {
        FUZZ_CHECK(why[0] != '\0' && view.head.record_cnt == 0);
    }
    free(bytes);
    return 0;
}
