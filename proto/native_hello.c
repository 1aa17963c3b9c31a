#include "proto/native_wire.h"

#include <string.h>

#include "engine/base/check.h"
#include "proto/native_bytes.h"

/* ---- writing ------------------------------------------------------------------------------------- */

/* Fills `ret_order` with the positions of the offer's channels, in the order of their ids: the order of
 * the wire. Sorting here keeps it the node developer's business in which order channels are attached. */
static uint32_t channels_order(const struct weir_offer *offer, uint8_t *ret_order)
{
    uint32_t cnt = offer->channel_cnt;
    WEIR_CHECK(cnt <= WEIR_CHANNELS_MAX);
    for (uint32_t i = 0; i < cnt; i++) {
        uint32_t slot = i;
        for (; slot > 0 && offer->channels[ret_order[slot - 1]].id > offer->channels[i].id; slot--)
            ret_order[slot] = ret_order[slot - 1];
        ret_order[slot] = (uint8_t)i;
    }
    return cnt;
}

static uint8_t *text_put(uint8_t *at, const char *text, size_t len_max)
{
    size_t len = strnlen(text, len_max);
    *at++ = (uint8_t)len;
    memcpy(at, text, len);
    return at + len;
}

uint32_t weir_native_hello_write(uint8_t *ret_bytes, const struct weir_offer *offer)
{
    uint8_t order[WEIR_CHANNELS_MAX];
    uint32_t channel_cnt = channels_order(offer, order);

    ret_bytes[NATIVE_HELLO_AT_VERSION_MIN] = NATIVE_VERSION;
    ret_bytes[NATIVE_HELLO_AT_VERSION_MAX] = NATIVE_VERSION;
    weir_le16_put(ret_bytes + NATIVE_HELLO_AT_RESERVED, 0);
    weir_le32_put(ret_bytes + NATIVE_HELLO_AT_FRAME_BYTES, offer->frame_bytes_max);
    weir_le64_put(ret_bytes + NATIVE_HELLO_AT_FEATURES, offer->features);
    weir_le64_put(ret_bytes + NATIVE_HELLO_AT_CRITICAL, 0); /* version 1 has none to insist on */
    memcpy(ret_bytes + NATIVE_HELLO_AT_NONCE, offer->nonce, sizeof offer->nonce);
    memcpy(ret_bytes + NATIVE_HELLO_AT_NODE_ID, offer->node_id, sizeof offer->node_id);

    uint8_t *at = ret_bytes + NATIVE_HELLO_FIXED;
    at = text_put(at, offer->network_id, WEIR_NETWORK_ID_BYTES_MAX);
    at = text_put(at, offer->user_agent, WEIR_USER_AGENT_BYTES_MAX);
    weir_le16_put(at, (uint16_t)channel_cnt);
    at += 2;
    for (uint32_t i = 0; i < channel_cnt; i++, at += NATIVE_HELLO_CHANNEL_BYTES) {
        const struct weir_channel_desc *channel = &offer->channels[order[i]];
        weir_le16_put(at, channel->id);
        weir_le16_put(at + 2, channel->weight);
        weir_le32_put(at + 4, channel->msg_bytes_max);
        weir_le32_put(at + 8, channel->window_bytes);
        weir_le32_put(at + 12, channel->flags);
    }
    return (uint32_t)(at - ret_bytes);
}

/* ---- reading: the form --------------------------------------------------------------------------- */

/* A hello whose form is right, still in its payload. */
struct hello {
    uint8_t version_min;
    uint8_t version_max;
    uint32_t frame_bytes_max;
    uint64_t features;
    uint64_t features_critical;
    const uint8_t *nonce;
    const uint8_t *node_id;
    const uint8_t *network_id;
    uint32_t network_id_len;
    const uint8_t *user_agent;
    uint32_t user_agent_len;
    const uint8_t *channels;
    uint32_t channel_cnt;
    bool
        has_unknown_critical; /* an extension that must be understood, and there is none that we know */
};

/* The rest of a payload. Taking more than is there fails once and for all. */
struct cursor {
    const uint8_t *at;
    size_t len;
    bool is_short;
};

static const uint8_t *cursor_take(struct cursor *cursor, size_t len)
{
    static const uint8_t
        nothing[2]; /* lengths read from here are 0, so a short payload ends loops */
    if (cursor->is_short || cursor->len < len) {
        cursor->is_short = true;
        return nothing;
    }
    const uint8_t *at = cursor->at;
    cursor->at += len;
    cursor->len -= len;
    return at;
}

static struct weir_channel_desc channel_get(const uint8_t *at)
{
    return (struct weir_channel_desc){
        .id = weir_le16_get(at),
        .weight = weir_le16_get(at + 2),
        .msg_bytes_max = weir_le32_get(at + 4),
        .window_bytes = weir_le32_get(at + 8),
        .flags = weir_le32_get(at + 12),
    };
}

/* Checks `cnt` channels, each with an id above that of the one before: so none comes twice. */
static bool are_channels_valid(const uint8_t *at, uint32_t cnt)
{
    int32_t last_id = -1;
    for (uint32_t i = 0; i < cnt; i++, at += NATIVE_HELLO_CHANNEL_BYTES) {
        struct weir_channel_desc channel = channel_get(at);
        if (channel.id <= last_id || channel.id > WEIR_CHANNEL_ID_MAX || channel.weight == 0 ||
            channel.msg_bytes_max == 0 || channel.msg_bytes_max > WEIR_MSG_BYTES_MAX ||
            channel.window_bytes < channel.msg_bytes_max)
            return false;
        last_id = channel.id;
    }
    return true;
}

static bool is_user_agent_valid(const uint8_t *text, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        if (text[i] < 0x20 || text[i] > 0x7E)
            return false;
    }
    return true;
}

/* Walks the extensions to the payload's end; types ascend. */
static bool extensions_read(struct cursor *cursor, bool *ret_has_unknown_critical)
{
    int32_t last_type = -1;
    while (cursor->len != 0 && !cursor->is_short) {
        uint16_t type = weir_le16_get(cursor_take(cursor, 2));
        uint16_t len = weir_le16_get(cursor_take(cursor, 2));
        cursor_take(cursor, len);
        if (type <= last_type)
            return false;
        last_type = type;
        if ((type & NATIVE_EXT_CRITICAL) != 0)
            *ret_has_unknown_critical = true;
    }
    return !cursor->is_short;
}

/* Reads what stands behind the two version bytes. Returns false if its form is wrong. */
static bool hello_form_read(const uint8_t *payload, uint32_t len, struct hello *ret_hello)
{
    struct hello *hello = ret_hello;
    if (len < NATIVE_HELLO_FIXED)
        return false;
    hello->frame_bytes_max = weir_le32_get(payload + NATIVE_HELLO_AT_FRAME_BYTES);
    hello->features = weir_le64_get(payload + NATIVE_HELLO_AT_FEATURES);
    hello->features_critical = weir_le64_get(payload + NATIVE_HELLO_AT_CRITICAL);
    hello->nonce = payload + NATIVE_HELLO_AT_NONCE;
    hello->node_id = payload + NATIVE_HELLO_AT_NODE_ID;

    struct cursor cursor = {.at = payload + NATIVE_HELLO_FIXED, .len = len - NATIVE_HELLO_FIXED};
    hello->network_id_len = cursor_take(&cursor, 1)[0];
    hello->network_id = cursor_take(&cursor, hello->network_id_len);
    hello->user_agent_len = cursor_take(&cursor, 1)[0];
    hello->user_agent = cursor_take(&cursor, hello->user_agent_len);
    hello->channel_cnt = weir_le16_get(cursor_take(&cursor, 2));
    hello->channels = cursor_take(&cursor, (size_t)hello->channel_cnt * NATIVE_HELLO_CHANNEL_BYTES);
    if (cursor.is_short)
        return false;

    return hello->frame_bytes_max >= NATIVE_FRAME_BYTES_MIN &&
           hello->frame_bytes_max <= NATIVE_FRAME_BYTES_MAX &&
           (hello->features_critical & ~hello->features) == 0 && hello->network_id_len >= 1 &&
           hello->network_id_len <= WEIR_NETWORK_ID_BYTES_MAX &&
           hello->user_agent_len <= WEIR_USER_AGENT_BYTES_MAX &&
           is_user_agent_valid(hello->user_agent, hello->user_agent_len) &&
           hello->channel_cnt <= WEIR_CHANNELS_MAX &&
           are_channels_valid(hello->channels, hello->channel_cnt) &&
           extensions_read(&cursor, &hello->has_unknown_critical);
}

/* ---- reading: the judgement ---------------------------------------------------------------------- */

/* Fills the channels in common, in the order of their ids, so that position i means the same channel on
 * both sides. Two sorted lists, walked side by side. */
static void channels_agree(const struct hello *hello, const struct weir_offer *offer,
                           struct weir_agreed *ret_agreed)
{
    uint8_t order[WEIR_CHANNELS_MAX];
    uint32_t local_cnt = channels_order(offer, order);
    uint32_t local = 0;
    uint32_t agreed_cnt = 0;
    for (uint32_t i = 0; i < hello->channel_cnt && local < local_cnt;) {
        struct weir_channel_desc channel =
            channel_get(hello->channels + i * NATIVE_HELLO_CHANNEL_BYTES);
        uint16_t local_id = offer->channels[order[local]].id;
        if (local_id == channel.id) {
            ret_agreed->channels[agreed_cnt].local_idx = order[local];
            ret_agreed->channels[agreed_cnt].msg_bytes_max = channel.msg_bytes_max;
            ret_agreed->channels[agreed_cnt].window_bytes = channel.window_bytes;
            agreed_cnt++;
        }
        i += local_id >= channel.id;
        local += local_id <= channel.id;
    }
    ret_agreed->channel_cnt = agreed_cnt;
}

uint16_t weir_native_hello_read(const uint8_t *payload, uint32_t len,
                                const struct weir_offer *offer, struct weir_agreed *ret_agreed)
{
    struct hello hello = {0};

    /* The versions stand first and are judged first: the rest of a hello that offers other versions
     * only may look like nothing known here. */
    if (len < 2)
        return WEIR_R_BAD_HELLO;
    hello.version_min = payload[NATIVE_HELLO_AT_VERSION_MIN];
    hello.version_max = payload[NATIVE_HELLO_AT_VERSION_MAX];
    if (hello.version_min == 0 || hello.version_min > hello.version_max)
        return WEIR_R_BAD_HELLO;
    _Static_assert(NATIVE_VERSION == 1, "version_max cannot be below it");
    if (hello.version_min > NATIVE_VERSION)
        return WEIR_R_WRONG_VERSION;
    if (!hello_form_read(payload, len, &hello))
        return WEIR_R_BAD_HELLO;

    size_t network_id_len = strnlen(offer->network_id, WEIR_NETWORK_ID_BYTES_MAX);
    if (hello.network_id_len != network_id_len ||
        memcmp(hello.network_id, offer->network_id, network_id_len) != 0)
        return WEIR_R_WRONG_NETWORK;
    if (memcmp(hello.nonce, offer->nonce, sizeof offer->nonce) == 0)
        return WEIR_R_SELF;
    if ((hello.features_critical & ~offer->features) != 0 || hello.has_unknown_critical)
        return WEIR_R_CRITICAL_FEATURE;
    channels_agree(&hello, offer, ret_agreed);
    if (ret_agreed->channel_cnt == 0)
        return WEIR_R_NO_CHANNELS;

    ret_agreed->version = NATIVE_VERSION;
    ret_agreed->frame_bytes_max =
        (uint32_t)weir_min_u64(hello.frame_bytes_max, offer->frame_bytes_max);
    ret_agreed->features = hello.features & offer->features;
    memcpy(ret_agreed->node_id, hello.node_id, sizeof ret_agreed->node_id);
    memcpy(ret_agreed->user_agent, hello.user_agent, hello.user_agent_len);
    ret_agreed->user_agent[hello.user_agent_len] = '\0';
    return WEIR_R_NONE;
}
