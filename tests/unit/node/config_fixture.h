/* tests/unit/node/config_fixture.h: configurations as a node takes them, and the documented figures of a field: its
 * default and its range. */
#ifndef WEIR_TESTS_UNIT_NODE_CONFIG_FIXTURE_H
#define WEIR_TESTS_UNIT_NODE_CONFIG_FIXTURE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/node/internal.h"

#define MIB (UINT64_C(1) << 20)
#define S WEIR_NS_PER_S
#define MS WEIR_NS_PER_MS
#define DAY (86400 * S)
#define NONE UINT64_MAX

struct field {
    const char *name;
    size_t offset, bytes;
    uint64_t init, low, high;
    uint64_t apart; /* one value beyond the range that means something; NONE: none */
};

#define FIELD(type, field, init, low, high, apart)                                                \
    {                                                                                             \
#field, offsetof(struct type, field), sizeof(((struct type *)0)->field), init, low, high, \
            apart                                                                                 \
    }
static inline uint64_t field_get(const void *from, const struct field *field)
{
    const uint8_t *at = (const uint8_t *)from + field->offset;
    uint64_t value = 0;
    memcpy(&value, at, field->bytes); /* little endian */
    return value;
}

static inline void field_set(void *to, const struct field *field, uint64_t value)
{
    memcpy((uint8_t *)to + field->offset, &value, field->bytes);
}

static inline bool field_holds(const struct field *field, uint64_t value)
{
    return field->bytes == 8 || value >> (8 * field->bytes) == 0;
}

/* ---- taking one ----------------------------------------------------------------------------------- */

static weir_node *node;
static char said[1024];

static inline void hear(void *ctx, int level, const char *line)
{
    cr_assert_eq(ctx, (void *)said);
    cr_assert_eq(level, WEIR_LOG_ERROR);
    snprintf(said, sizeof(said), "%s", line);
}

static inline void make_node(void)
{
    node = calloc(1, sizeof(*node));
}

static inline void free_node(void)
{
    free(node);
}

static inline struct weir_config empty(void)
{
    return (struct weir_config){.size = sizeof(struct weir_config), .log = hear, .log_ctx = said};
}

static inline int take(const struct weir_config *cfg)
{
    memset(node, 0, sizeof(*node));
    said[0] = '\0';
    return weir_config_take(node, cfg);
}

static inline int take_channel(const struct weir_channel *channel, struct weir_channel *ret_channel)
{
    struct weir_config cfg = empty();
    cr_assert_eq(take(&cfg), 0);
    return weir_channel_take(node, channel, ret_channel);
}

#endif
