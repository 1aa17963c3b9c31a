/* Public Noise vectors: a few that lie in tests/vectors/noise.txt, and the whole set where it lies beside
 * the project (../shared/vectors/noise.json, or the file that WEIR_NOISE_VECTORS names). */
#include "noise_fixture.h"

#include <jansson.h>
#include <stdbool.h>

#define MESSAGES_MAX 8u
#define BYTES_MAX 2048u

struct bytes {
    uint8_t data[BYTES_MAX];
    size_t len;
    bool is_there;
};

struct vector {
    char name[WEIR_NOISE_NAME_MAX + 1];
    struct bytes init_prologue, init_static, init_ephemeral, init_remote_static;
    struct bytes resp_prologue, resp_static, resp_ephemeral;
    struct bytes psk, handshake_hash;
    struct {
        struct bytes payload, ciphertext;
    } messages[MESSAGES_MAX];
    size_t message_cnt;
};

static void bytes_read(struct bytes *ret_bytes, const char *hex)
{
    ret_bytes->len = hex_read(hex, ret_bytes->data, sizeof ret_bytes->data);
    ret_bytes->is_there = true;
}

static const uint8_t *bytes_or_null(const struct bytes *bytes)
{
    return bytes->is_there ? bytes->data : NULL;
}

static void side_open(struct side *side, const struct weir_crypto *crypto,
                      const struct vector *vector, bool is_initiator)
{
    struct weir_noise_protocol protocol;
    const struct bytes *s = is_initiator ? &vector->init_static : &vector->resp_static;
    const struct bytes *e = is_initiator ? &vector->init_ephemeral : &vector->resp_ephemeral;
    const struct bytes *prologue = is_initiator ? &vector->init_prologue : &vector->resp_prologue;
    cr_assert(weir_noise_protocol_parse(vector->name, &protocol), "%s", vector->name);
    if (s->is_there)
        cr_assert(weir_dh_key_init(crypto, &side->s, s->data));
    struct weir_noise_keys keys = {
        .s = s->is_there ? &side->s : NULL,
        .e_private = e->data,
        .rs = is_initiator ? bytes_or_null(&vector->init_remote_static) : NULL,
        .psk = bytes_or_null(&vector->psk),
    };
    cr_assert_eq(weir_noise_handshake_init(&side->handshake, crypto, &protocol, is_initiator,
                                           prologue->data, prologue->len, &keys),
                 WEIR_NOISE_OK, "%s", vector->name);
}

static void handshake_message(const struct vector *vector, size_t idx, struct side *writer,
                              struct side *reader)
{
    const struct bytes *payload = &vector->messages[idx].payload;
    const struct bytes *expected = &vector->messages[idx].ciphertext;
    uint8_t message[BYTES_MAX], read[BYTES_MAX];
    size_t len = 0, read_len = 0;
    cr_assert_eq(weir_noise_overhead(&writer->handshake) + payload->len, expected->len, "%s",
                 vector->name);
    cr_assert_eq(weir_noise_write(&writer->handshake, payload->data, payload->len, message,
                                  sizeof message, &len),
                 WEIR_NOISE_OK, "%s", vector->name);
    cr_assert_eq(len, expected->len);
    cr_assert_arr_eq(message, expected->data, len, "%s message %zu", vector->name, idx);
    cr_assert_eq(weir_noise_read(&reader->handshake, message, len, read, sizeof read, &read_len),
                 WEIR_NOISE_OK, "%s", vector->name);
    cr_assert_eq(read_len, payload->len);
    cr_assert_arr_eq(read, payload->data, read_len);
}

static void transport_message(const struct weir_crypto *crypto, const struct vector *vector,
                              size_t idx, struct side *writer, struct side *reader)
{
    const struct bytes *payload = &vector->messages[idx].payload;
    const struct bytes *expected = &vector->messages[idx].ciphertext;
    uint8_t message[BYTES_MAX];
    memcpy(message, payload->data, payload->len);
    cr_assert_eq(
        weir_noise_cipher_encrypt(crypto, &writer->send, NULL, 0, message, payload->len, message),
        WEIR_NOISE_OK);
    cr_assert_eq(payload->len + WEIR_TAG_BYTES, expected->len);
    cr_assert_arr_eq(message, expected->data, expected->len, "%s message %zu", vector->name, idx);
    cr_assert_eq(
        weir_noise_cipher_decrypt(crypto, &reader->recv, NULL, 0, message, expected->len, message),
        WEIR_NOISE_OK);
    cr_assert_arr_eq(message, payload->data, payload->len);
}

/* `are_kept`: the transport has contexts of its own, as a connection's; or borrows the thread's. */
static void vector_run(const struct weir_crypto *crypto, const struct vector *vector, bool are_kept)
{
    struct side sides[2] = {0};
    for (int i = 0; i < 2; i++)
        side_open(&sides[i], crypto, vector, i == 0);
    size_t idx = 0;
    for (; !weir_noise_is_done(&sides[0].handshake); idx++)
        handshake_message(vector, idx, &sides[idx % 2], &sides[1 - idx % 2]);
    cr_assert(weir_noise_is_done(&sides[1].handshake));
    if (vector->handshake_hash.is_there)
        cr_assert_arr_eq(sides[1].handshake.symmetric.h, vector->handshake_hash.data,
                         vector->handshake_hash.len, "%s", vector->name);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(weir_noise_finish(&sides[i].handshake, &sides[i].send, &sides[i].recv), 0);
        if (are_kept) {
            cr_assert_eq(weir_noise_cipher_lease(crypto, &sides[i].send, true), 0);
            cr_assert_eq(weir_noise_cipher_lease(crypto, &sides[i].recv, false), 0);
        }
    }
    for (; idx < vector->message_cnt; idx++)
        transport_message(crypto, vector, idx, &sides[idx % 2], &sides[1 - idx % 2]);
    for (int i = 0; i < 2; i++) {
        weir_noise_handshake_wipe(&sides[i].handshake);
        weir_noise_cipher_wipe(&sides[i].send);
        weir_noise_cipher_wipe(&sides[i].recv);
        weir_dh_key_fini(&sides[i].s);
    }
}

/* With contexts of its own, and with the thread's: the same bytes. */
static void vector_check(const struct weir_crypto *crypto, const struct vector *vector)
{
    vector_run(crypto, vector, false);
    vector_run(crypto, vector, true);
}

/* ---- the figures of this project ----------------------------------------------------------------- */

static struct bytes *vector_field(struct vector *vector, const char *key)
{
    struct {
        const char *key;
        struct bytes *bytes;
    } fields[] = {
        {"init_prologue", &vector->init_prologue},
        {"init_static", &vector->init_static},
        {"init_ephemeral", &vector->init_ephemeral},
        {"init_remote_static", &vector->init_remote_static},
        {"resp_prologue", &vector->resp_prologue},
        {"resp_static", &vector->resp_static},
        {"resp_ephemeral", &vector->resp_ephemeral},
        {"psk", &vector->psk},
        {"handshake_hash", &vector->handshake_hash},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcmp(fields[i].key, key) == 0)
            return fields[i].bytes;
    }
    return NULL;
}

Test(noise_vectors, those_of_this_project)
{
    const char *root = getenv("WEIR_SRC_DIR"); /* set by ctest; by hand, run from the root */
    static struct vector vector;
    char path[4096], line[4096], key[64], first[2048], second[2048];
    struct weir_crypto crypto;
    size_t run_cnt = 0;
    snprintf(path, sizeof path, "%s/tests/vectors/noise.txt", root ? root : ".");
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL, "%s", path);
    cr_assert(weir_crypto_init(&crypto));
    while (fgets(line, sizeof line, file)) {
        int cnt = sscanf(line, "%63s %2047s %2047s", key, first, second);
        if (cnt <= 0 || key[0] == '#')
            continue;
        if (strcmp(key, "end") == 0) {
            vector.resp_prologue = vector.init_prologue;
            vector_check(&crypto, &vector);
            memset(&vector, 0, sizeof vector);
            run_cnt++;
        } else if (cnt == 1) {
            snprintf(vector.name, sizeof vector.name, "%s", key);
        } else if (cnt == 2) {
            struct bytes *bytes = vector_field(&vector, key);
            cr_assert(bytes != NULL, "%s", key);
            bytes_read(bytes, first);
        } else if (cnt == 3) {
            cr_assert(strcmp(key, "message") == 0 && vector.message_cnt < MESSAGES_MAX);
            bytes_read(&vector.messages[vector.message_cnt].payload, first);
            bytes_read(&vector.messages[vector.message_cnt++].ciphertext, second);
        }
    }
    fclose(file);
    weir_crypto_fini(&crypto);
    cr_assert_eq(run_cnt, 4);
}

/* ---- the whole public set ------------------------------------------------------------------------ */

static void field_get(json_t *object, const char *key, struct bytes *ret_bytes)
{
    const char *hex = json_string_value(json_object_get(object, key));
    if (hex)
        bytes_read(ret_bytes, hex);
}

static void vector_get(json_t *object, struct vector *ret_vector)
{
    static const char *const keys[] = {"init_prologue",      "init_static",   "init_ephemeral",
                                       "init_remote_static", "resp_prologue", "resp_static",
                                       "resp_ephemeral",     "handshake_hash"};
    struct vector *vector = ret_vector;
    memset(vector, 0, sizeof *vector);
    snprintf(vector->name, sizeof vector->name, "%s",
             json_string_value(json_object_get(object, "protocol_name")));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        field_get(object, keys[i], vector_field(vector, keys[i]));
    const char *psk = json_string_value(json_array_get(json_object_get(object, "init_psks"), 0));
    if (psk)
        bytes_read(&vector->psk, psk);
    size_t idx;
    json_t *message;
    json_array_foreach(json_object_get(object, "messages"), idx, message)
    {
        cr_assert_lt(idx, MESSAGES_MAX);
        field_get(message, "payload", &vector->messages[idx].payload);
        field_get(message, "ciphertext", &vector->messages[idx].ciphertext);
        vector->message_cnt++;
    }
}

Test(noise_vectors, the_whole_public_set)
{
    const char *root = getenv("WEIR_SRC_DIR");
    const char *named = getenv("WEIR_NOISE_VECTORS");
    static struct vector vector;
    char path[4096];
    struct weir_crypto crypto;
    snprintf(path, sizeof path, "%s/../shared/vectors/noise.json", root ? root : ".");
    json_t *all = json_load_file(named ? named : path, 0, NULL);
    if (!all) {
        cr_assert(named == NULL, "WEIR_NOISE_VECTORS names %s, which cannot be read", named);
        cr_skip_test("no %s, and WEIR_NOISE_VECTORS is not set", path);
    }
    cr_assert(weir_crypto_init(&crypto));
    size_t idx, run_cnt = 0;
    json_t *object;
    json_array_foreach(json_object_get(all, "vectors"), idx, object)
    {
        vector_get(object, &vector);
        vector_check(&crypto, &vector);
        run_cnt++;
    }
    weir_crypto_fini(&crypto);
    json_decref(all);
    cr_assert_geq(run_cnt, 40);
}
