#include "proto/native_v2.h"

#include <string.h>

#include "engine/base/check.h"
#include "proto/native_bytes.h"

/* Makes the masks of the next 32 records: keystream of a nonce of their own. As long as the key is as good
 * as random to everybody else, so are they. */
static bool mask_make(struct native_v2_lane *lane)
{
    static const uint8_t zeros[NATIVE_V2_MASK_BYTES];
    uint64_t nonce = NATIVE_V2_MASK_NONCE + lane->cipher.n / NATIVE_V2_MASKS_PER_BLOCK;
    struct weir_aead *aead = weir_noise_cipher_aead(&lane->cipher);
    return aead && weir_aead_start(aead, nonce, NULL, 0) &&
           weir_aead_piece(aead, zeros, sizeof zeros, lane->mask);
}

static uint16_t mask_of(const struct native_v2_lane *lane)
{
    size_t at = lane->cipher.n % NATIVE_V2_MASKS_PER_BLOCK * NATIVE_V2_LENGTH_BYTES;
    return weir_le16_get(lane->mask + at);
}

bool weir_v2_lane_init(const struct weir_crypto *crypto, struct native_v2_lane *ret_lane,
                       struct weir_noise_cipher *cipher, bool is_seal)
{
    memset(ret_lane, 0, sizeof *ret_lane);
    ret_lane->cipher = *cipher;
    ret_lane->key_cnt = 1;
    weir_wipe(cipher, sizeof *cipher);
    return weir_noise_cipher_lease(crypto, &ret_lane->cipher, is_seal) == WEIR_NOISE_OK &&
           mask_make(ret_lane);
}

void weir_v2_lane_wipe(struct native_v2_lane *lane)
{
    weir_noise_cipher_wipe(&lane->cipher);
    weir_wipe(lane->mask, sizeof lane->mask);
}

bool weir_v2_rekey(const struct weir_crypto *crypto, struct native_v2_lane *lane)
{
    if (weir_noise_cipher_rekey(crypto, &lane->cipher) != WEIR_NOISE_OK)
        return false;
    weir_noise_cipher_set_nonce(&lane->cipher, 0); /* the key is another, so no nonce comes twice */
    lane->bytes = 0;
    lane->key_cnt++;
    return mask_make(lane);
}

/* Counts a record that was sealed or opened. Both sides do, and so change keys at the same record. */
static bool record_count(const struct weir_crypto *crypto, struct native_v2_lane *lane, size_t len,
                         bool is_last_of_key)
{
    lane->cipher.n++;
    lane->bytes += len;
    if (is_last_of_key || lane->cipher.n >= NATIVE_V2_KEY_RECORDS_MAX ||
        lane->bytes >= NATIVE_V2_KEY_BYTES_MAX)
        return weir_v2_rekey(crypto, lane);
    return lane->cipher.n % NATIVE_V2_MASKS_PER_BLOCK != 0 || mask_make(lane);
}

bool weir_v2_seal(const struct weir_crypto *crypto, struct native_v2_lane *lane,
                  const struct weir_seal_piece *pieces, uint32_t piece_cnt, bool is_last_of_key,
                  uint8_t *ret_head, uint8_t *ret_tail)
{
    struct weir_aead *aead = weir_noise_cipher_aead(&lane->cipher);
    size_t len = 0;
    WEIR_CHECK(lane->cipher.n < NATIVE_V2_KEY_RECORDS_MAX); /* no nonce twice, whatever happened */
    if (!aead || !weir_aead_start(aead, lane->cipher.n, NULL, 0))
        return false;
    for (uint32_t i = 0; i < piece_cnt; i++) {
        if (!weir_aead_piece(aead, pieces[i].from, pieces[i].len, pieces[i].to))
            return false;
        len += pieces[i].len;
    }
    WEIR_CHECK(len > 0 && len <= NATIVE_V2_PLAIN_MAX);
    if (!weir_aead_tag(aead, ret_tail))
        return false;
    weir_le16_put(ret_head, (uint16_t)((len + WEIR_TAG_BYTES) ^ mask_of(lane)));
    return record_count(crypto, lane, len, is_last_of_key);
}

int32_t weir_v2_open(const struct weir_crypto *crypto, struct native_v2_lane *lane, uint8_t *data,
                     size_t len, size_t *ret_need)
{
    *ret_need = NATIVE_V2_LENGTH_BYTES;
    if (len < NATIVE_V2_LENGTH_BYTES)
        return 0;
    uint16_t record_len = weir_le16_get(data) ^ mask_of(lane);
    if (record_len <= WEIR_TAG_BYTES || record_len > NATIVE_V2_RECORD_MAX)
        return -WEIR_R_BAD_RECORD;
    *ret_need = NATIVE_V2_LENGTH_BYTES + (size_t)record_len;
    if (len < *ret_need)
        return 0;
    struct weir_aead *aead = weir_noise_cipher_aead(&lane->cipher);
    uint8_t *plain = data + NATIVE_V2_LENGTH_BYTES;
    uint32_t plain_len = record_len - WEIR_TAG_BYTES;
    WEIR_CHECK(lane->cipher.n < NATIVE_V2_KEY_RECORDS_MAX);
    if (!aead)
        return -WEIR_R_INTERNAL;
    if (!weir_aead_start(aead, lane->cipher.n, NULL, 0) ||
        !weir_aead_piece(aead, plain, plain_len, plain) ||
        !weir_aead_check(aead, plain + plain_len)) {
        weir_wipe(plain, plain_len);
        return -WEIR_R_BAD_RECORD;
    }
    if (!record_count(crypto, lane, plain_len, false))
        return -WEIR_R_INTERNAL;
    return (int32_t)plain_len;
}
