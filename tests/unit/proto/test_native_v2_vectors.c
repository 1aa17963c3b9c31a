/* Version 2 of the native wire: the conversations that docs/wire-v2.md points to, byte for byte. */
#include "v2_fixture.h"

/* Reads the next line of a file of vectors; returns how many bytes it has. */
static size_t vector_next(FILE *file, const char *who, uint8_t *ret_bytes, size_t cap)
{
    char line[8192], name[32], hex[8192];
    do
        cr_assert(fgets(line, sizeof line, file) != NULL);
    while (line[0] == '#');
    cr_assert_eq(sscanf(line, "%31s %8191s", name, hex), 2);
    cr_assert_str_eq(name, who);
    return hex_read(hex, ret_bytes, cap);
}

static void expect_pull(struct v2_end *from, struct v2_end *to, FILE *file, const char *who)
{
    uint8_t expected[4096], bytes[WEIR_HANDSHAKE_OUT_MAX];
    size_t len = vector_next(file, who, expected, sizeof expected);
    cr_assert_eq(V2->pull(from->state, bytes, sizeof bytes), len);
    cr_assert_arr_eq(bytes, expected, len, "what the %s sends", who);
    v2_take(to, bytes, len, 4000);
}

static void expect_record(struct v2_pair *pair, FILE *file, uint8_t *plain, uint32_t len,
                          bool is_last_of_key, uint32_t frame_cnt, struct weir_frame *ret_last)
{
    uint8_t expected[4096];
    size_t expected_len = vector_next(file, "dialer", expected, sizeof expected);
    struct weir_seal_piece piece = {plain, wire + 2, len};
    cr_assert(V2->seal(pair->dialer.state, &piece, 1, is_last_of_key, wire, wire + 2 + len));
    wire_len = len + 18;
    cr_assert_eq(wire_len, expected_len);
    cr_assert_arr_eq(wire, expected, expected_len);
    cr_assert_eq(records_take(&pair->listener, FRAMES, ret_last), frame_cnt);
}

static FILE *vectors_open(struct v2_pair *pair, const char *name)
{
    static const struct weir_channel_desc channel = {
        .id = 7, .weight = 1, .msg_bytes_max = 1000, .window_bytes = 4000};
    const char *root = getenv("WEIR_SRC_DIR"); /* set by ctest; by hand, run from the root */
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/vectors/%s", root ? root : ".", name);
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL, "%s", path);
    pair_open(pair);
    for (int i = 0; i < 2; i++) {
        struct weir_offer *offer = i ? &pair->listener.offer : &pair->dialer.offer;
        offer->network_id = "weir";
        offer->user_agent = "vectors";
        offer->frame_bytes_max = 16384;
        offer->features = 0;
        offer->channels = &channel;
        offer->channel_cnt = 1;
        memset(offer->nonce, i ? 'L' : 'D', sizeof offer->nonce);
    }
    return file;
}

Test(native_v2_vectors, the_conversation_of_the_documents)
{
    struct v2_pair pair;
    struct weir_frame last;
    uint8_t plain[64];
    FILE *file = vectors_open(&pair, "wire-v2.txt");
    pair_begin(&pair, pair.listener.identity.proof);
    expect_pull(&pair.dialer, &pair.listener, file, "dialer");
    expect_pull(&pair.listener, &pair.dialer, file, "listener");
    expect_pull(&pair.dialer, &pair.listener, file, "dialer");
    expect_pull(&pair.listener, &pair.dialer, file, "listener");
    cr_assert(pair.dialer.is_ready && pair.listener.is_ready);

    V2->frame_head(plain, NATIVE_RUN, 7, 2, NULL, 10);
    memcpy(plain + NATIVE_V2_HEAD, "\3\0one\3\0two", 10);
    expect_record(&pair, file, plain, NATIVE_V2_HEAD + 10, false, 1, &last);
    cr_assert_arr_eq(last.payload, "\3\0one\3\0two", 10);
    uint32_t len = V2->control_write(plain, &(struct weir_control){.kind = WEIR_CONTROL_REKEY});
    expect_record(&pair, file, plain, len, true, 0, &last);
    V2->frame_head(plain, NATIVE_FIRST, 7, 3, NULL, 3);
    memcpy(plain + NATIVE_V2_HEAD, "six", 3);
    struct weir_control ping = {.kind = WEIR_CONTROL_PING, .value = 77};
    uint8_t frame[WEIR_CONTROL_OUT_MAX];
    len = V2->control_write(frame, &ping);
    memcpy(plain + NATIVE_V2_HEAD + 3, frame, len);
    expect_record(&pair, file, plain, NATIVE_V2_HEAD + 3 + len, false, 2, &last);
    cr_assert_eq(V2->control_read(&last, &ping), 0);
    cr_assert_eq(ping.value, 77);
    fclose(file);
    pair_close(&pair);
}

Test(native_v2_vectors, the_handshake_with_a_listener_under_load)
{
    struct v2_pair pair;
    struct weir_gate gate = {.admission = WEIR_GATE_COOKIE};
    FILE *file = vectors_open(&pair, "wire-v2-cookie.txt");
    key_of(31, gate.secrets[0]);
    pair.listener.secret.gate = &gate;
    pair_begin(&pair, pair.listener.identity.proof);
    for (int i = 0; i < 3; i++) {
        expect_pull(&pair.dialer, &pair.listener, file, "dialer");
        expect_pull(&pair.listener, &pair.dialer, file, "listener");
    }
    cr_assert(pair.dialer.is_ready && pair.listener.is_ready);
    fclose(file);
    pair_close(&pair);
}

Test(native_v2_vectors, the_handshake_with_a_listener_that_was_met)
{
    struct v2_pair pair;
    uint8_t seed[WEIR_KEY_BYTES];
    FILE *file = vectors_open(&pair, "wire-v2-ik.txt");
    pair_begin(&pair, NULL);
    key_of(11, seed);
    V2->begin(pair.dialer.state, &pair.dialer.offer, true);
    V2->arm(pair.dialer.state, &(struct weir_arm){.seed = seed,
                                                  .peer_id = pair.listener.identity.proof,
                                                  .peer_key = pair.listener.identity.s.public_key});
    expect_pull(&pair.dialer, &pair.listener, file, "dialer");
    expect_pull(&pair.listener, &pair.dialer, file, "listener");
    cr_assert(pair.dialer.is_ready && !pair.listener.is_ready);
    expect_pull(&pair.dialer, &pair.listener, file, "dialer");
    cr_assert(pair.listener.is_ready);
    fclose(file);
    pair_close(&pair);
}
