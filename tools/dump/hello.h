/* hello.h: the payload of a HELLO, field by field. Inside tools/dump only. */
#ifndef DUMP_HELLO_H
#define DUMP_HELLO_H

#include <stdint.h>

#include "tools/dump/item.h"

/* Adds the hello's fields to an item, as far as they are there. Returns 0, or the reason for which a node would
 * refuse a hello of this form, whatever its own configuration. */
int hello_show(struct item *item, const uint8_t *payload, uint32_t len);

#endif
