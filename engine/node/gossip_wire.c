#include "engine/node/gossip_wire.h"

#include <string.h>

#include "proto/native_bytes.h"
#include "weir/gossip.h"

static uint32_t entry_bytes(uint8_t kind)
{
    return kind == WEIR_GOSSIP_HAVE ? WEIR_GOSSIP_ID_BYTES + 4 : WEIR_GOSSIP_ID_BYTES;
}

int weir_gossip_parse(struct weir_gossip_parsed *ret, const uint8_t *bytes, uint32_t len)
{
    if (len < WEIR_GOSSIP_LIST_HEAD_BYTES)
        return WEIR_GOSSIP_IS_BAD;
    uint8_t kind = bytes[0];
    if (kind == WEIR_GOSSIP_PUSH) {
        /* A message has at least one byte. */
        if (len <= WEIR_GOSSIP_HEAD_BYTES || weir_le16_get(bytes + 2))
            return WEIR_GOSSIP_IS_BAD;
        *ret = (struct weir_gossip_parsed){.kind = kind,
                                           .hops = bytes[1],
                                           .age_us = weir_le32_get(bytes + 4),
                                           .data = bytes + WEIR_GOSSIP_HEAD_BYTES,
                                           .len = len - WEIR_GOSSIP_HEAD_BYTES};
        return WEIR_GOSSIP_IS_KNOWN;
    }
    if (kind == 0 || kind > WEIR_GOSSIP_NONE)
        return kind & WEIR_GOSSIP_OPTIONAL ? WEIR_GOSSIP_IS_UNKNOWN : WEIR_GOSSIP_IS_BAD;
    uint32_t cnt = weir_le16_get(bytes + 2);
    if (bytes[1] || cnt == 0 || cnt > WEIR_GOSSIP_IDS_MAX ||
        len != WEIR_GOSSIP_LIST_HEAD_BYTES + cnt * entry_bytes(kind))
        return WEIR_GOSSIP_IS_BAD;
    *ret = (struct weir_gossip_parsed){
        .kind = kind, .data = bytes + WEIR_GOSSIP_LIST_HEAD_BYTES, .cnt = cnt};
    return WEIR_GOSSIP_IS_KNOWN;
}

const uint8_t *weir_gossip_entry(const struct weir_gossip_parsed *msg, uint32_t idx,
                                 uint32_t *ret_len)
{
    const uint8_t *at = msg->data + (size_t)idx * entry_bytes(msg->kind);
    *ret_len = msg->kind == WEIR_GOSSIP_HAVE ? weir_le32_get(at + WEIR_GOSSIP_ID_BYTES) : 0;
    return at;
}

void weir_gossip_push_head(uint8_t ret_head[8], uint8_t hops, uint32_t age_us)
{
    ret_head[0] = WEIR_GOSSIP_PUSH;
    ret_head[1] = hops;
    weir_le16_put(ret_head + 2, 0);
    weir_le32_put(ret_head + 4, age_us);
}

void weir_gossip_list_head(uint8_t ret_head[WEIR_GOSSIP_LIST_HEAD_BYTES], uint8_t kind,
                           uint32_t cnt)
{
    ret_head[0] = kind;
    ret_head[1] = 0;
    weir_le16_put(ret_head + 2, (uint16_t)cnt);
}

uint32_t weir_gossip_list_of_one(uint8_t ret_bytes[WEIR_GOSSIP_LIST_HEAD_BYTES + 20], uint8_t kind,
                                 const uint8_t id[16], uint32_t len)
{
    weir_gossip_list_head(ret_bytes, kind, 1);
    memcpy(ret_bytes + WEIR_GOSSIP_LIST_HEAD_BYTES, id, WEIR_GOSSIP_ID_BYTES);
    if (kind == WEIR_GOSSIP_HAVE)
        weir_le32_put(ret_bytes + WEIR_GOSSIP_LIST_HEAD_BYTES + WEIR_GOSSIP_ID_BYTES, len);
    return WEIR_GOSSIP_LIST_HEAD_BYTES + entry_bytes(kind);
}
