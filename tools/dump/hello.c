#include "tools/dump/hello.h"

#include <string.h>

#include <weir/error.h>

#include "proto/native_bytes.h"
#include "proto/native_wire.h"

/* Judges the form alone: the node that hears it offers what it says, with another nonce. Then nothing can be
 * refused but the form and the version, apart from a network id with a NUL, which no node has. */
static int judge(const uint8_t *payload, uint32_t len, const uint8_t *network_id,
                 uint32_t network_id_len, const struct weir_channel_desc *channels,
                 uint32_t channel_cnt)
{
    char network[WEIR_NETWORK_ID_BYTES_MAX + 1] = "";
    if (network_id_len <= WEIR_NETWORK_ID_BYTES_MAX)
        memcpy(network, network_id, network_id_len);
    struct weir_offer offer = {.network_id = network,
                               .user_agent = "",
                               .channels = channels,
                               .channel_cnt = channel_cnt,
                               .frame_bytes_max = NATIVE_FRAME_BYTES_MAX,
                               .features = UINT64_MAX};
    for (size_t i = 0; i < sizeof(offer.nonce) && len >= NATIVE_HELLO_FIXED; i++)
        offer.nonce[i] = (uint8_t)~payload[NATIVE_HELLO_AT_NONCE + i];
    struct weir_agreed agreed;
    int reason = weir_native_hello_read(payload, len, &offer, &agreed);
    switch (reason) {
    case WEIR_R_WRONG_NETWORK:    /* the NUL */
    case WEIR_R_CRITICAL_FEATURE: /* an extension that this version does not have */
    case WEIR_R_NO_CHANNELS:      /* it names none: for its peers to say */
        return 0;
    default:
        return reason;
    }
}

/* The rest of a payload; what is not there reads as nothing. */
struct rest {
    const uint8_t *at;
    uint32_t len;
};

static const uint8_t *rest_take(struct rest *rest, uint32_t len)
{
    if (rest->len < len) {
        rest->len = 0;
        return NULL;
    }
    const uint8_t *at = rest->at;
    rest->at += len;
    rest->len -= len;
    return at;
}

/* A length byte and so many bytes; `*ret_len` 0 when they are not there. */
static const uint8_t *rest_text(struct rest *rest, uint32_t *ret_len)
{
    const uint8_t *len = rest_take(rest, 1);
    const uint8_t *at = len != NULL ? rest_take(rest, *len) : NULL;
    *ret_len = at != NULL ? *len : 0;
    return at != NULL ? at : (const uint8_t *)"";
}

int hello_show(struct item *item, const uint8_t *payload, uint32_t len)
{
    if (len < NATIVE_HELLO_FIXED)
        return judge(payload, len, (const uint8_t *)"", 0, NULL, 0);
    item_count(item, "version-min", payload[NATIVE_HELLO_AT_VERSION_MIN]);
    item_count(item, "version-max", payload[NATIVE_HELLO_AT_VERSION_MAX]);
    item_count(item, "frame-bytes-max", weir_le32_get(payload + NATIVE_HELLO_AT_FRAME_BYTES));
    item_bits(item, "features", weir_le64_get(payload + NATIVE_HELLO_AT_FEATURES));
    item_bits(item, "critical", weir_le64_get(payload + NATIVE_HELLO_AT_CRITICAL));

    struct rest rest = {payload + NATIVE_HELLO_FIXED, len - NATIVE_HELLO_FIXED};
    uint32_t network_len, agent_len;
    const uint8_t *network = rest_text(&rest, &network_len);
    const uint8_t *agent = rest_text(&rest, &agent_len);
    item_bytes(item, "network", network, network_len);
    item_bytes(item, "agent", agent, agent_len);

    const uint8_t *cnt = rest_take(&rest, 2);
    uint32_t channel_cnt = cnt != NULL ? weir_le16_get(cnt) : 0;
    struct weir_channel_desc channels[WEIR_CHANNELS_MAX];
    uint32_t there_cnt = 0;
    item_count(item, "channels", channel_cnt);
    for (; there_cnt < channel_cnt && there_cnt < WEIR_CHANNELS_MAX; there_cnt++) {
        const uint8_t *at = rest_take(&rest, NATIVE_HELLO_CHANNEL_BYTES);
        if (at == NULL)
            break;
        struct weir_channel_desc *channel = &channels[there_cnt];
        *channel = (struct weir_channel_desc){.id = weir_le16_get(at),
                                              .weight = weir_le16_get(at + 2),
                                              .msg_bytes_max = weir_le32_get(at + 4),
                                              .window_bytes = weir_le32_get(at + 8),
                                              .flags = weir_le32_get(at + 12)};
        char name[32], value[96];
        snprintf(name, sizeof(name), "channel-%u", channel->id);
        snprintf(value, sizeof(value), "weight %u, messages to %u, window %u, flags %u",
                 channel->weight, channel->msg_bytes_max, channel->window_bytes, channel->flags);
        item_text(item, name, value);
    }
    return judge(payload, len, network, network_len, channels, there_cnt);
}
