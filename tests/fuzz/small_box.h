/* tests/fuzz/small_box.h: the unit tests' hub, scripted kernel and hand-played peer, with tables that are just large
 * enough for the fuzz targets: what a target does thousands of times a second is to make and free them.
 */
#ifndef WEIR_TESTS_FUZZ_SMALL_BOX_H
#define WEIR_TESTS_FUZZ_SMALL_BOX_H

#define BOX_MSGS 256u
#define PEER_FRAMES 600u
#define SCRIPT_BUFS 256u
#define SCRIPT_EVENTS 256u

#include "tests/unit/conn/peer.h"

#endif
