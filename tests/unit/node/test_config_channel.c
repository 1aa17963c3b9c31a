#include "tests/unit/node/config_fixture.h"

TestSuite(config_channel, .init = make_node, .fini = free_node);

/* The documented figures, written down once more; with msg_bytes_max 1 MiB. */
static const struct field channel_fields[] = {
    FIELD(weir_channel, weight, 1, 1, 1000, NONE),
    FIELD(weir_channel, msg_bytes_max, MIB, 1, 256 * MIB, NONE),
    FIELD(weir_channel, send_bytes_max, 2 * MIB, MIB, UINT64_C(1) << 30, NONE),
    FIELD(weir_channel, recv_bytes_max, 4 * MIB, MIB, UINT64_C(1) << 30, NONE),
    FIELD(weir_channel, rate_send_bytes, 0, 0, UINT64_C(1000000000000), NONE),
    FIELD(weir_channel, rate_recv_bytes, 0, 0, UINT64_C(1000000000000), NONE),
    FIELD(weir_channel, rate_send_msgs, 0, 0, 1000000000, NONE),
    FIELD(weir_channel, rate_recv_msgs, 0, 0, 1000000000, NONE),
};
#define CHANNEL_FIELDS (sizeof(channel_fields) / sizeof(channel_fields[0]))

Test(config_channel, a_channel_s_zeroes_mean_its_defaults)
{
    struct weir_channel channel = {.size = sizeof(channel), .id = 9}, own, init;
    cr_assert_eq(take_channel(&channel, &own), 0);
    memset(&init, 0xEE, sizeof(init));
    weir_channel_init(&init, 9);
    cr_assert_eq(init.size, sizeof(init));
    cr_assert_eq(init.id, 9);
    cr_assert_str_eq(init.name, "");
    for (size_t i = 0; i < CHANNEL_FIELDS; i++) {
        cr_assert_eq(field_get(&own, &channel_fields[i]), channel_fields[i].init, "%s",
                     channel_fields[i].name);
        cr_assert_eq(field_get(&init, &channel_fields[i]), channel_fields[i].init, "%s",
                     channel_fields[i].name);
    }
    cr_assert_eq(own.overflow, WEIR_OVERFLOW_REFUSE);
}

Test(config_channel, a_channel_s_queues_follow_its_largest_message)
{
    static const struct {
        uint32_t msg, send, recv;
    } cases[] = {{1, MIB, 4 * MIB},
                 {MIB / 2, MIB, 4 * MIB},
                 {MIB / 2 + 1, MIB + 2, 4 * MIB},
                 {2 * MIB, 4 * MIB, 4 * MIB},
                 {2 * MIB + 1, 4 * MIB + 2, 4 * MIB + 2},
                 {256 * MIB, 512 * MIB, 512 * MIB}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_channel channel = {.size = sizeof(channel), .msg_bytes_max = cases[i].msg}, own;
        cr_assert_eq(take_channel(&channel, &own), 0);
        cr_assert_eq(own.send_bytes_max, cases[i].send);
        cr_assert_eq(own.recv_bytes_max, cases[i].recv);
    }
}

Test(config_channel, each_field_of_a_channel_is_taken_at_both_ends_and_not_beyond)
{
    for (size_t i = 0; i < CHANNEL_FIELDS; i++) {
        const struct field *field = &channel_fields[i];
        struct weir_channel channel = {.size = sizeof(channel)}, own;
        const uint64_t values[] = {field->low, field->high, field->low - 1, field->high + 1,
                                   UINT32_MAX};
        for (size_t k = 0; k < 5; k++) {
            if (values[k] == 0 || !field_holds(field, values[k]))
                continue;
            field_set(&channel, field, values[k]);
            bool is_good = values[k] >= field->low && values[k] <= field->high;
            cr_assert_eq(take_channel(&channel, &own), is_good ? 0 : WEIR_E_CONFIG, "%s = %llu",
                         field->name, (unsigned long long)values[k]);
            cr_assert(is_good || strstr(said, field->name), "%s: \"%s\"", field->name, said);
        }
    }
    for (uint32_t id = 0; id <= 0xFFFF; id++) {
        struct weir_channel channel = {.size = sizeof(channel), .id = (uint16_t)id}, own;
        cr_assert_eq(weir_channel_take(node, &channel, &own), id <= 0xFFFE ? 0 : WEIR_E_CONFIG);
    }
    for (uint32_t overflow = 0; overflow < 6; overflow++) {
        struct weir_channel channel = {.size = sizeof(channel), .overflow = overflow}, own;
        cr_assert_eq(weir_channel_take(node, &channel, &own), overflow <= 2 ? 0 : WEIR_E_CONFIG);
    }
}

Test(config_channel, a_name_of_a_channel_is_whole_or_refused)
{
    static const struct {
        const char *name;
        int error;
    } cases[] = {{NULL, 0},
                 {"", 0},
                 {"votes", 0},
                 {"\xC3\xA9tat ; 7", 0},
                 {"0123456789012345678901234567890", 0},
                 {"01234567890123456789012345678901", WEIR_E_CONFIG},
                 {"two\nlines", WEIR_E_CONFIG},
                 {"\x12", WEIR_E_CONFIG},
                 {"\x7F", WEIR_E_CONFIG}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_channel channel = {.size = sizeof(channel), .name = cases[i].name}, own;
        cr_assert_eq(take_channel(&channel, &own), cases[i].error, "case %zu", i);
        cr_assert_eq(strstr(said, "channel name") != NULL, cases[i].error != 0, "\"%s\"", said);
    }
}

/* A frame needs up to half of the window, so a window has a least size whatever the messages. */
Test(config_channel, a_window_holds_the_largest_message_and_some_frames)
{
    static const struct {
        uint32_t msg, recv;
        int error;
    } cases[] = {{100, 16383, WEIR_E_CONFIG}, {100, 16384, 0},
                 {16384, 16384, 0},           {16385, 16384, WEIR_E_CONFIG},
                 {16385, 16385, 0},           {100000, 99999, WEIR_E_CONFIG},
                 {100000, 100000, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_channel channel = {.size = sizeof(channel),
                                       .msg_bytes_max = cases[i].msg,
                                       .recv_bytes_max = cases[i].recv},
                            own;
        cr_assert_eq(take_channel(&channel, &own), cases[i].error, "case %zu", i);
    }
}

Test(config_channel, an_older_and_a_newer_channel_are_taken_alike)
{
    for (size_t i = 0; i < CHANNEL_FIELDS; i++) {
        struct weir_channel channel = {.size = (uint32_t)channel_fields[i].offset, .id = 5}, own;
        size_t size = channel_fields[i].offset;
        memset((uint8_t *)&channel + size, 0xEE, sizeof(channel) - size);
        channel.size = (uint32_t)size;
        cr_assert_eq(take_channel(&channel, &own), 0);
        cr_assert_eq(own.id, 5);
        for (size_t k = i; k < CHANNEL_FIELDS; k++)
            cr_assert_eq(field_get(&own, &channel_fields[k]), channel_fields[k].init);
    }
    struct {
        struct weir_channel channel;
        uint64_t more;
    } newer = {.channel = {.size = sizeof(newer), .id = 6}};
    struct weir_channel own;
    cr_assert_eq(take_channel(&newer.channel, &own), 0);
    newer.more = UINT64_C(1) << 63;
    cr_assert_eq(take_channel(&newer.channel, &own), WEIR_E_VERSION);
}
