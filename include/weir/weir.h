/* weir/weir.h: everything. */
#ifndef WEIR_WEIR_H
#define WEIR_WEIR_H

#include "weir/base.h"
#include "weir/buf.h"
#include "weir/config.h"
#include "weir/discovery.h"
#include "weir/error.h"
#include "weir/gossip.h"
#include "weir/key.h"
#include "weir/metrics.h"
#include "weir/node.h"
#include "weir/peers.h"
#include "weir/reactor.h"
#include "weir/request.h"
#include "weir/stats.h"

#endif
