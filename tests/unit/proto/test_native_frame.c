#include "native_fixture.h"

#include "engine/base/hash.h"

static struct end end;

static void make_end(void)
{
    end_make_ready(&end, true); /* the dialer's frame_bytes_max is 65,536 */
}

TestSuite(native_frame, .init = make_end);

static uint64_t random_next(uint64_t *seed) /* splitmix64 */
{
    uint64_t z = (*seed += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* Feeds one frame; returns its fault after verification. */
static uint16_t fault_of(uint8_t *bytes, size_t len)
{
    struct weir_feed feed;
    struct weir_frame frame;
    CODEC->feed(end.state, bytes, len, &frame, 1, &feed);
    if (feed.frame_cnt == 0)
        return WEIR_R_NONE;
    CODEC->verify(&frame, 1);
    return frame.fault;
}

/* A small stream with every kind of frame. */
#define STREAM_FRAMES 6u
static size_t stream_make(uint8_t *bytes, size_t *ret_ends)
{
    uint8_t run[16];
    uint8_t big[40];
    size_t len = 0;
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 7);
    uint32_t run_len = (uint32_t)(weir_run_put(weir_run_put(run, "a", 1), "weir", 4) - run);
    len += frame_put(bytes, NATIVE_RUN, 7, 2, run, run_len);
    ret_ends[0] = len;
    len += frame_put(bytes + len, NATIVE_FIRST, 7, 40, big, 17);
    ret_ends[1] = len;
    len += control_put(bytes + len, NATIVE_PING, "\1\2\3\4\5\6\7\10", 8);
    ret_ends[2] = len;
    len += frame_put(bytes + len, NATIVE_MORE, 7, 17, big + 17, 23);
    ret_ends[3] = len;
    len += frame_put(bytes + len, 0x90, 0, 0, NULL, 0);
    ret_ends[4] = len;
    len += frame_put(bytes + len, NATIVE_FIRST, 9, 3, "abc", 3);
    ret_ends[5] = len;
    return len;
}

static const uint8_t stream_kinds[STREAM_FRAMES] = {WEIR_FRAME_RUN,     WEIR_FRAME_FIRST,
                                                    WEIR_FRAME_CONTROL, WEIR_FRAME_MORE,
                                                    WEIR_FRAME_SKIP,    WEIR_FRAME_FIRST};

Test(native_frame, frames_of_every_size_come_back)
{
    static uint8_t bytes[WEIR_NATIVE_HEAD + 65536], payload[65536];
    uint64_t seed = 1;
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)random_next(&seed);
    for (uint32_t len = 0; len <= 65536; len += len < 2200 || len > 65500 ? 1 : 61) {
        struct weir_feed feed;
        struct weir_frame frame = {.kind = 0xEE};
        uint8_t kind = len == 0 ? 0x91 : NATIVE_FIRST;
        size_t size = frame_put(bytes, kind, 0xFFFE, 65536, payload, len);
        cr_assert_eq(size, WEIR_NATIVE_HEAD + len);
        CODEC->feed(end.state, bytes, size, &frame, 1, &feed);
        cr_assert_eq(feed.consumed, size);
        cr_assert_eq(feed.frame_cnt, 1);
        cr_assert(!feed.has_partial && feed.is_ready);
        cr_assert_eq(frame.kind, len == 0 ? WEIR_FRAME_SKIP : WEIR_FRAME_FIRST);
        cr_assert_eq(frame.wire_kind, kind);
        cr_assert_eq(frame.payload, bytes + WEIR_NATIVE_HEAD);
        cr_assert_eq(frame.len, len);
        cr_assert_eq(frame.aux, 65536);
        cr_assert_eq(frame.channel, 0xFFFE);
        CODEC->verify(&frame, 1);
        cr_assert_eq(frame.fault, 0);
        cr_assert_eq(memcmp(frame.payload, payload, len), 0);
    }
}

Test(native_frame, the_header_may_lie_apart_from_a_shared_payload)
{
    uint8_t near[WEIR_NATIVE_HEAD + 8], apart[WEIR_NATIVE_HEAD];
    uint8_t payload[8] = "payload";
    frame_put(near, NATIVE_FIRST, 9, 8, payload, 8);
    CODEC->frame_head(apart, NATIVE_FIRST, 9, 8, payload, 8);
    cr_assert_arr_eq(near, apart, WEIR_NATIVE_HEAD);
}

/* The stream is cut at every two places; `need` is believed, and is true: less than it gives nothing. */
Test(native_frame, a_stream_split_anywhere_is_the_same_stream)
{
    uint8_t whole[512];
    size_t ends[STREAM_FRAMES];
    size_t whole_len = stream_make(whole, ends);
    for (size_t cut = 0; cut <= whole_len; cut++) {
        struct weir_feed feed;
        struct weir_frame frames[8];
        size_t whole_frames = 0;
        while (whole_frames < STREAM_FRAMES && ends[whole_frames] <= cut)
            whole_frames++;
        size_t begin = whole_frames != 0 ? ends[whole_frames - 1] : 0;

        uint8_t *part = malloc(cut != 0 ? cut : 1); /* so that a read too far is seen */
        memcpy(part, whole, cut);
        CODEC->feed(end.state, part, cut, frames, 8, &feed);
        cr_assert_eq(feed.frame_cnt, whole_frames);
        cr_assert_eq(feed.consumed, begin);
        for (size_t i = 0; i < whole_frames; i++)
            cr_assert_eq(frames[i].kind, stream_kinds[i]);
        CODEC->verify(frames, feed.frame_cnt);
        for (size_t i = 0; i < whole_frames; i++)
            cr_assert_eq(frames[i].fault, 0);

        cr_assert_eq(feed.has_partial, cut - begin >= WEIR_NATIVE_HEAD);
        if (feed.has_partial) {
            cr_assert_eq(feed.partial_head, WEIR_NATIVE_HEAD);
            cr_assert_eq(feed.partial.payload, part + begin + WEIR_NATIVE_HEAD);
            cr_assert_eq(feed.partial.kind, stream_kinds[whole_frames]);
            cr_assert_eq(feed.need, ends[whole_frames] - begin);
            cr_assert_eq(feed.need, WEIR_NATIVE_HEAD + feed.partial.len);
        } else {
            cr_assert_gt(feed.need, cut - begin);
            cr_assert_leq(feed.need, WEIR_NATIVE_HEAD);
        }
        free(part);
    }
}

Test(native_frame, one_byte_at_a_time)
{
    uint8_t whole[512], window[512];
    size_t ends[STREAM_FRAMES], window_len = 0, frame_cnt = 0, need = 0;
    size_t whole_len = stream_make(whole, ends);
    for (size_t at = 0; at < whole_len; at++) {
        struct weir_feed feed;
        struct weir_frame frames[8];
        window[window_len++] = whole[at];
        CODEC->feed(end.state, window, window_len, frames, 8, &feed);
        cr_assert(window_len >= need || (feed.frame_cnt == 0 && feed.consumed == 0));
        CODEC->verify(frames, feed.frame_cnt);
        for (uint32_t i = 0; i < feed.frame_cnt; i++) {
            cr_assert_eq(frames[i].kind, stream_kinds[frame_cnt]);
            cr_assert_eq(frames[i].fault, 0);
            cr_assert_eq(at + 1, ends[frame_cnt], "a frame comes with its last byte");
            frame_cnt++;
        }
        memmove(window, window + feed.consumed, window_len - feed.consumed);
        window_len -= feed.consumed;
        need = feed.need;
    }
    cr_assert_eq(frame_cnt, STREAM_FRAMES);
}

Test(native_frame, a_full_array_ends_the_call_and_the_rest_can_be_fed_at_once)
{
    uint8_t bytes[512];
    size_t ends[STREAM_FRAMES];
    size_t len = stream_make(bytes, ends);
    for (uint32_t max = 0; max <= STREAM_FRAMES + 1; max++) {
        struct weir_feed feed;
        struct weir_frame frames[STREAM_FRAMES + 1];
        CODEC->feed(end.state, bytes, len, frames, max, &feed);
        uint32_t cnt = max < STREAM_FRAMES ? max : STREAM_FRAMES;
        cr_assert_eq(feed.frame_cnt, cnt);
        cr_assert_eq(feed.consumed, cnt != 0 ? ends[cnt - 1] : 0);
        cr_assert(cnt == STREAM_FRAMES || feed.need <= len - feed.consumed);
        cr_assert(!feed.has_partial);
    }
}

/* A connection may take a partial frame over, receive the rest itself and go on behind it: the codec
 * keeps nothing about a frame between calls. */
Test(native_frame, a_partial_can_be_finished_elsewhere)
{
    uint8_t bytes[512], elsewhere[64];
    size_t ends[STREAM_FRAMES];
    size_t len = stream_make(bytes, ends);
    struct weir_feed feed;
    struct weir_frame frames[8];
    CODEC->feed(end.state, bytes, ends[1] - 5, frames, 8, &feed);
    cr_assert(feed.has_partial);
    struct weir_frame frame = feed.partial;
    memcpy(elsewhere, frame.payload, frame.len - 5);
    memcpy(elsewhere + frame.len - 5, bytes + ends[1] - 5, 5);
    frame.payload = elsewhere;
    CODEC->verify(&frame, 1);
    cr_assert_eq(frame.fault, 0);
    CODEC->feed(end.state, bytes + ends[1], len - ends[1], frames, 8, &feed);
    cr_assert_eq(feed.frame_cnt, STREAM_FRAMES - 2);
}

/* Each bit of the stream is flipped in turn: what was before it is delivered unchanged, then there is a
 * fault, and never a frame that differs from what was sent. */
Test(native_frame, no_flipped_bit_gets_through)
{
    uint8_t whole[512];
    size_t ends[STREAM_FRAMES];
    size_t len = stream_make(whole, ends);
    for (size_t bit = 0; bit < len * 8; bit++) {
        uint8_t bytes[512];
        struct weir_feed feed;
        struct weir_frame frames[8];
        size_t hit = 0;
        while (ends[hit] <= bit / 8)
            hit++;
        memcpy(bytes, whole, len);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        make_end();
        CODEC->feed(end.state, bytes, len, frames, 8, &feed);
        CODEC->verify(frames, feed.frame_cnt);
        size_t good = 0;
        while (good < feed.frame_cnt && frames[good].fault == 0)
            good++;
        cr_assert_eq(good, hit, "bit %zu", bit);
        cr_assert_lt(good, feed.frame_cnt, "bit %zu: no fault", bit);
        size_t in_frame = bit / 8 - (hit != 0 ? ends[hit - 1] : 0);
        uint16_t fault = in_frame < 4                  ? WEIR_R_BAD_MAGIC
                         : in_frame < WEIR_NATIVE_HEAD ? WEIR_R_BAD_HEADER
                                                       : WEIR_R_BAD_CHECKSUM;
        cr_assert_eq(frames[good].fault, fault, "bit %zu: %u", bit, frames[good].fault);
        cr_assert_eq(frames[good].kind == WEIR_FRAME_FAULT, fault != WEIR_R_BAD_CHECKSUM);
    }
}

Test(native_frame, a_wrong_magic_is_seen_with_its_fourth_byte)
{
    for (size_t len = 1; len <= 3; len++) {
        uint8_t bytes[4] = "GARB";
        struct weir_feed feed;
        struct weir_frame frame;
        CODEC->feed(end.state, bytes, len, &frame, 1, &feed);
        cr_assert_eq(feed.frame_cnt, 0);
        cr_assert_eq(feed.need, 4);
    }
    cr_assert_eq(fault_of((uint8_t[4]){'G', 'A', 'R', 'B'}, 4), WEIR_R_BAD_MAGIC);
}

Test(native_frame, a_broken_stream_says_so_once)
{
    uint8_t bytes[512];
    size_t ends[STREAM_FRAMES];
    size_t len = stream_make(bytes, ends);
    struct weir_feed feed;
    struct weir_frame frames[8];
    memcpy(bytes + ends[1], "XXXX", 4);
    CODEC->feed(end.state, bytes, len, frames, 8, &feed);
    cr_assert_eq(feed.frame_cnt, 3);
    cr_assert_eq(frames[2].kind, WEIR_FRAME_FAULT);
    cr_assert_eq(frames[2].fault, WEIR_R_BAD_MAGIC);
    cr_assert_eq(feed.consumed, len);
    CODEC->verify(frames, feed.frame_cnt);
    cr_assert_eq(frames[1].fault, 0);
    cr_assert_eq(frames[2].fault, WEIR_R_BAD_MAGIC, "verify leaves it");
    stream_make(bytes, ends);
    for (int i = 0; i < 2; i++) {
        CODEC->feed(end.state, bytes, len, frames, 8, &feed);
        cr_assert_eq(feed.frame_cnt, 0);
        cr_assert_eq(feed.consumed, len);
        cr_assert_eq(feed.fault, 0);
    }
}

Test(native_frame, a_fault_waits_for_room)
{
    uint8_t bytes[512];
    size_t ends[STREAM_FRAMES];
    size_t len = stream_make(bytes, ends);
    struct weir_feed feed;
    struct weir_frame frames[2];
    memcpy(bytes + ends[1], "XXXX", 4);
    CODEC->feed(end.state, bytes, len, frames, 2, &feed);
    cr_assert_eq(feed.frame_cnt, 2);
    cr_assert_eq(feed.consumed, ends[1]);
    CODEC->feed(end.state, bytes + ends[1], len - ends[1], frames, 2, &feed);
    cr_assert_eq(feed.frame_cnt, 1);
    cr_assert_eq(frames[0].fault, WEIR_R_BAD_MAGIC);
}

Test(native_frame, kinds_shapes_and_lengths_are_judged_by_the_header_alone)
{
    static const struct {
        uint8_t kind;
        uint16_t channel;
        uint32_t aux, len;
        uint16_t fault;
    } cases[] = {
        {NATIVE_RUN, 7, 1, 2, 0},
        {NATIVE_RUN, 7, 0, 2, WEIR_R_BAD_RUN},
        {NATIVE_RUN, 7, 0, 0, WEIR_R_BAD_RUN},
        {NATIVE_RUN, 7, 2, 3, WEIR_R_BAD_RUN},
        {NATIVE_RUN, 7, UINT32_MAX, 4096, WEIR_R_BAD_RUN},
        {NATIVE_RUN, 7, 1, 65536, 0},
        {NATIVE_RUN, 7, 1, 65537, WEIR_R_BAD_LENGTH},
        {NATIVE_RUN, 7, 1, UINT32_MAX, WEIR_R_BAD_LENGTH},
        {NATIVE_RUN, 0xFFFF, 1, 2, WEIR_R_BAD_CHANNEL},
        {NATIVE_FIRST, 7, 1, 1, 0},
        {NATIVE_FIRST, 7, UINT32_MAX, 1, 0},
        {NATIVE_FIRST, 7, 0, 0, WEIR_R_BAD_FRAGMENT},
        {NATIVE_FIRST, 7, 1, 0, WEIR_R_BAD_FRAGMENT},
        {NATIVE_FIRST, 7, 1, 2, WEIR_R_BAD_FRAGMENT},
        {NATIVE_FIRST, 7, 65537, 65537, WEIR_R_BAD_LENGTH},
        {NATIVE_FIRST, 0xFFFF, 1, 1, WEIR_R_BAD_CHANNEL},
        {NATIVE_MORE, 7, 1, 1, 0},
        {NATIVE_MORE, 7, 0, 1, WEIR_R_BAD_FRAGMENT},
        {NATIVE_MORE, 7, 1, 0, WEIR_R_BAD_FRAGMENT},
        {NATIVE_MORE, 7, 1, 65537, WEIR_R_BAD_LENGTH},
        {0, 7, 1, 1, WEIR_R_BAD_KIND},
        {4, 7, 1, 1, WEIR_R_BAD_KIND},
        {21, 0xFFFF, 0, 1, WEIR_R_BAD_KIND},
        {0x7F, 0xFFFF, 0, 70000, WEIR_R_BAD_KIND},
        {0x80, 0, 0, 0, 0},
        {0xFF, 0xFFFF, 5, 65536, 0},
        {0x81, 7, 0, 65537, WEIR_R_BAD_LENGTH},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t head[WEIR_NATIVE_HEAD] = {0};
        struct weir_feed feed;
        struct weir_frame frame;
        make_end();
        CODEC->frame_head(head, cases[i].kind, cases[i].channel, cases[i].aux, head, 0);
        /* Only the header: its length is set by hand, its check made anew by the real one's maker. */
        weir_le32_put(head + NATIVE_AT_LENGTH, cases[i].len);
        weir_le64_put(head + NATIVE_AT_CHECK,
                      weir_hash_ops()->xxh3(head, NATIVE_AT_CHECK, NATIVE_CHECK_SEED));
        CODEC->feed(end.state, head, sizeof head, &frame, 1, &feed);
        uint16_t fault = feed.frame_cnt == 1 ? frame.fault : 0;
        cr_expect_eq(fault, cases[i].fault, "%zu: %u", i, fault);
        cr_expect(fault != 0 || cases[i].len == 0 || feed.has_partial);
    }
}

Test(native_frame, every_unknown_kind_is_skipped_or_refused_by_its_top_bit)
{
    for (unsigned kind = 0; kind < 256; kind++) {
        uint8_t bytes[64];
        struct weir_feed feed;
        struct weir_frame frame;
        bool is_known = (kind >= 1 && kind <= 3) || (kind >= 16 && kind <= 20);
        if (is_known)
            continue;
        make_end();
        size_t len = control_put(bytes, (uint8_t)kind, "xyz", 3);
        CODEC->feed(end.state, bytes, len, &frame, 1, &feed);
        cr_assert_eq(feed.frame_cnt, 1);
        cr_assert_eq(frame.kind, kind >= 128 ? WEIR_FRAME_SKIP : WEIR_FRAME_FAULT);
        cr_assert_eq(frame.fault, kind >= 128 ? 0 : WEIR_R_BAD_KIND);
    }
}

Test(native_frame, a_skipped_frame_is_verified_too)
{
    uint8_t bytes[64];
    size_t len = control_put(bytes, 0x90, "xyz", 3);
    bytes[len - 1] ^= 1;
    cr_assert_eq(fault_of(bytes, len), WEIR_R_BAD_CHECKSUM);
}

Test(native_frame, another_version_is_refused)
{
    uint8_t head[WEIR_NATIVE_HEAD] = {0};
    CODEC->frame_head(head, NATIVE_RUN, 7, 1, head, 0);
    head[NATIVE_AT_VERSION] = 2;
    weir_le64_put(head + NATIVE_AT_CHECK,
                  weir_hash_ops()->xxh3(head, NATIVE_AT_CHECK, NATIVE_CHECK_SEED));
    cr_assert_eq(fault_of(head, sizeof head), WEIR_R_WRONG_VERSION);
}

/* A listener that takes 4,096 refuses 4,097, though its peer takes more. */
Test(native_frame, our_own_figure_bounds_what_we_take)
{
    static uint8_t bytes[WEIR_NATIVE_HEAD + 4097], payload[4097];
    end_make_ready(&end, false);
    cr_assert_eq(fault_of(bytes, frame_put(bytes, NATIVE_FIRST, 9, 5000, payload, 4096)), 0);
    cr_assert_eq(fault_of(bytes, frame_put(bytes, NATIVE_FIRST, 9, 5000, payload, 4097)),
                 WEIR_R_BAD_LENGTH);
}

Test(native_frame, verify_takes_any_number_and_blames_the_right_ones)
{
    enum { CNT = 200 };
    static uint8_t bytes[CNT][WEIR_NATIVE_HEAD + 8];
    struct weir_frame frames[CNT];
    for (uint32_t cnt = 0; cnt <= CNT; cnt++) {
        for (uint32_t i = 0; i < cnt; i++) {
            struct weir_feed feed;
            frame_put(bytes[i], NATIVE_FIRST, 7, 8, &(uint64_t){i}, 8);
            CODEC->feed(end.state, bytes[i], sizeof bytes[i], &frames[i], 1, &feed);
            if (i % 7 == 3)
                bytes[i][WEIR_NATIVE_HEAD] ^= 0x80;
            if (i % 11 == 5)
                frames[i] = (struct weir_frame){.kind = WEIR_FRAME_FAULT, .fault = 50};
        }
        CODEC->verify(frames, cnt);
        for (uint32_t i = 0; i < cnt; i++) {
            uint16_t fault = i % 11 == 5 ? 50 : i % 7 == 3 ? WEIR_R_BAD_CHECKSUM : 0;
            cr_assert_eq(frames[i].fault, fault);
        }
    }
}

/* Random bytes, some of them frames: whatever comes, the answers stay within the window. */
Test(native_frame, random_streams_keep_the_promises)
{
    static uint8_t bytes[4096];
    for (uint64_t round = 0; round < 20000; round++) {
        uint64_t seed = round;
        size_t len = 0;
        make_end();
        while (len < 1500) {
            uint64_t dice = random_next(&seed);
            uint8_t payload[200];
            memset(payload, (int)(dice >> 32), sizeof payload);
            uint32_t payload_len = (uint32_t)(dice >> 8) % 200;
            uint8_t kind = (uint8_t)((dice & 15) == 0 ? dice >> 16 : 1 + (dice >> 20) % 3);
            uint32_t aux = (uint32_t)(dice >> 40) % 300;
            size_t size =
                frame_put(bytes + len, kind, (uint16_t)(dice >> 50), aux, payload, payload_len);
            if ((dice & 0x700) == 0)
                bytes[len + dice % size] ^= 4;
            len += size;
        }
        size_t at = 0;
        bool is_broken = false;
        for (size_t have = 0; at < len;) {
            struct weir_feed feed;
            struct weir_frame frames[3];
            have += random_next(&seed) % 300;
            have = have < len - at ? have : len - at;
            CODEC->feed(end.state, bytes + at, have, frames, 3, &feed);
            cr_assert_leq(feed.consumed, have);
            cr_assert_leq(feed.frame_cnt, 3);
            cr_assert(!is_broken || (feed.consumed == have && feed.frame_cnt == 0));
            for (uint32_t i = 0; i < feed.frame_cnt; i++) {
                is_broken |= frames[i].kind == WEIR_FRAME_FAULT;
                cr_assert(frames[i].kind != WEIR_FRAME_FAULT || i + 1 == feed.frame_cnt);
                cr_assert(frames[i].kind == WEIR_FRAME_FAULT ||
                          (frames[i].payload >= bytes + at &&
                           frames[i].payload + frames[i].len <= bytes + at + feed.consumed));
            }
            if (!is_broken && feed.frame_cnt < 3 && have - feed.consumed < len - at - feed.consumed)
                cr_assert_gt(feed.need, have - feed.consumed);
            at += feed.consumed;
            have -= feed.consumed;
            if (have == len - at && feed.consumed == 0)
                break;
        }
    }
}
