/* engine/node/receipt.h: a message's receipt (weir/node.h), as broadcasts use it. */
#ifndef WEIR_ENGINE_NODE_RECEIPT_H
#define WEIR_ENGINE_NODE_RECEIPT_H

#include "weir/node.h"

/* Takes a receipt for a message: the first reference for it is the caller's. Errors: WEIR_E_STATE (it has had
 * one, or is another node's). */
int weir_receipt_begin(weir_receipt *receipt, const weir_node *node);

/* One more shard is to queue the message; and it has, or never will. */
void weir_receipt_post(weir_receipt *receipt);
void weir_receipt_posted(weir_receipt *receipt);

#endif
