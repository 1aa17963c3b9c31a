#include "engine/node/internal.h"

int weir_filter_set(weir_node *node, const struct weir_filter *filter)
{
    if (!node || !filter)
        return WEIR_E_MISUSE;
    struct weir_filter own;
    int error = weir_struct_take(&own, sizeof(own), filter);
    if (error)
        return error;
    if (atomic_load(&node->state) != WEIR_NODE_NEW)
        return WEIR_E_STATE;
    node->filter = own;
    return 0;
}

static uint16_t reason_of(int answer)
{
    if (answer == 0)
        return 0;
    return answer > 0 && answer < WEIR_REASON_CNT ? (uint16_t)answer : (uint16_t)WEIR_R_APPLICATION;
}

uint16_t weir_filter_connect(struct weir_shard *shard, const struct weir_addr *addr, bool is_dialer)
{
    const struct weir_filter *filter = &shard->node->filter;
    if (!filter->on_connect)
        return 0;
    char text[WEIR_ADDR_TEXT_BYTES] = "";
    if (addr->family != WEIR_ADDR_NONE)
        weir_addr_format(addr, text);
    return reason_of(filter->on_connect(filter->ctx, text, is_dialer));
}

uint16_t weir_filter_ready(const struct weir_conn *conn)
{
    const struct weir_filter *filter = &((const struct weir_shard *)conn->hub->user)->node->filter;
    if (!filter->on_handshake)
        return 0;
    struct weir_peer_info info;
    weir_info_fill(conn, &info);
    return reason_of(filter->on_handshake(filter->ctx, &info));
}
