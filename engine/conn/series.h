/* engine/conn/series.h: the one table of what a shard counts.
 *
 * Each row is a field of struct weir_hub_metrics (conn.h), a series of the exposition (node/series.c, docs/metrics.md)
 * and its help text. A row here is all that a new counter needs, besides the line that counts.
 *
 *     X(field, name, type, unit, help)    type: COUNTER, only rises; GAUGE
 *                                         unit: ONE; NS: kept in nanoseconds, shown as seconds
 *
 * The shard is the only writer: a count is a load, an add and a store, and no line is shared between shards.
 */
#ifndef WEIR_ENGINE_CONN_SERIES_H
#define WEIR_ENGINE_CONN_SERIES_H

#include <stdatomic.h>
#include <stdint.h>

/* One value per shard. What the data path writes stands together, in the first lines. */
#define WEIR_SHARD_SERIES(X)                                                                      \
    X(wire_tx, "weir_wire_sent_bytes_total", COUNTER, ONE, "Bytes that the kernel took")          \
    X(wire_rx, "weir_wire_received_bytes_total", COUNTER, ONE, "Bytes that arrived")              \
    X(frames_tx, "weir_frames_sent_total", COUNTER, ONE, "Frames built, control frames included") \
    X(frames_rx, "weir_frames_received_total", COUNTER, ONE, "Frames that passed every check")    \
    X(frames_failed, "weir_frames_failed_total", COUNTER, ONE, "Frames that failed a check")      \
    X(turns, "weir_turns_total", COUNTER, ONE, "Turns of the loop")                               \
    X(busy_ns, "weir_busy_seconds_total", COUNTER, NS, "Time in turns, without waiting")          \
    X(syscalls, "weir_syscalls_total", COUNTER, ONE, "System calls made by the loop")             \
    X(completions, "weir_completions_total", COUNTER, ONE, "Completions of the ring")             \
    X(pool_bytes, "weir_pool_bytes", GAUGE, ONE, "Message memory in use")                         \
    X(pool_bufs, "weir_pool_buffers", GAUGE, ONE, "Buffers in use")                               \
    X(pool_cached, "weir_pool_cached_bytes", GAUGE, ONE, "Message memory kept for reuse")         \
    X(pool_taken, "weir_pool_taken_total", COUNTER, ONE, "Buffers taken from the pool")           \
    X(sends, "weir_sends_total", COUNTER, ONE, "Send operations")                                 \
    X(sends_short, "weir_sends_short_total", COUNTER, ONE,                                        \
      "Sends of which the kernel took a part")                                                    \
    X(sleeps, "weir_sleeps_total", COUNTER, ONE, "Waits in which the loop slept")                 \
    X(spins, "weir_spins_total", COUNTER, ONE, "Waits in which the loop looked before it slept")  \
    X(spin_ns, "weir_spin_seconds_total", COUNTER, NS, "Time spent looking")                      \
    X(cq_overflows, "weir_cq_overflows_total", COUNTER, ONE,                                      \
      "Times the completion queue was full")                                                      \
    X(recv_starved, "weir_receive_starved_total", COUNTER, ONE,                                   \
      "Times no receive buffer was free")                                                         \
    X(recv_rearmed, "weir_receive_rearmed_total", COUNTER, ONE, "Receives that were armed again") \
    X(turn_max_ns, "weir_turn_max_seconds", GAUGE, NS, "The longest turn so far")                 \
    X(stalled_turns, "weir_stalled_turns_total", COUNTER, ONE,                                    \
      "Turns that took longer than turn_warn_ns")                                                 \
    X(stalled_ns, "weir_stalled_seconds_total", COUNTER, NS, "Time in those turns")               \
    X(timers, "weir_timers", GAUGE, ONE, "Timers that are set")                                   \
    X(timers_fired, "weir_timers_fired_total", COUNTER, ONE, "Timers that came up")               \
    X(letters, "weir_letters_total", COUNTER, ONE, "Calls of other threads carried out")          \
    X(conn_cnt, "weir_connections", GAUGE, ONE, "Connections in any state")                       \
    X(handshake_cnt, "weir_handshakes", GAUGE, ONE, "Handshakes under way")                       \
    X(ready_cnt, "weir_peers", GAUGE, ONE, "Peers that are up")                                   \
    X(accepted, "weir_accepted_total", COUNTER, ONE, "Connections that peers made")               \
    X(connects, "weir_connects_total", COUNTER, ONE, "Connects begun")                            \
    X(dialed, "weir_dialed_total", COUNTER, ONE, "Connects that ended well")                      \
    X(refused, "weir_refused_total", COUNTER, ONE, "Connections refused at a limit")              \
    X(accept_rests, "weir_accept_rests_total", COUNTER, ONE,                                      \
      "Times a listener rested because too many strangers had come to nothing")                   \
    X(handshakes_done, "weir_handshakes_done_total", COUNTER, ONE, "Handshakes that agreed")      \
    X(handshakes_failed, "weir_handshakes_failed_total", COUNTER, ONE, "Handshakes that did not") \
    X(handshakes_served, "weir_handshakes_served_total", COUNTER, ONE,                            \
      "First messages of strangers that curve operations were made for")                          \
    X(handshakes_held, "weir_handshakes_held_total", COUNTER, ONE,                                \
      "First messages that waited for their turn")                                                \
    X(handshakes_evicted, "weir_handshakes_evicted_total", COUNTER, ONE,                          \
      "Strangers in their handshake that made room for another")                                  \
    X(cookies_tx, "weir_cookies_sent_total", COUNTER, ONE, "Strangers asked for a cookie")        \
    X(cookies_rx, "weir_cookies_returned_total", COUNTER, ONE, "Cookies that came back")          \
    X(cookies_forged, "weir_cookies_forged_total", COUNTER, ONE, "Cookies that were not ours")    \
    X(name_lookups, "weir_name_lookups_total", COUNTER, ONE, "Host names asked for")              \
    X(pings_tx, "weir_pings_sent_total", COUNTER, ONE, "Pings sent")                              \
    X(pings_rx, "weir_pings_received_total", COUNTER, ONE, "Pings received")                      \
    X(goodbyes_tx, "weir_goodbyes_sent_total", COUNTER, ONE, "Goodbyes sent")                     \
    X(goodbyes_rx, "weir_goodbyes_received_total", COUNTER, ONE, "Goodbyes received")             \
    X(credits_tx, "weir_credit_frames_sent_total", COUNTER, ONE, "Frames that granted credit")    \
    X(rate_waits, "weir_rate_waits_total", COUNTER, ONE,                                          \
      "Times a peer had something to be sent and a rate did not allow it")                        \
    X(rate_credit_waits, "weir_rate_credit_waits_total", COUNTER, ONE,                            \
      "Times credit was held back because of a rate")                                             \
    X(broadcasts, "weir_broadcasts_total", COUNTER, ONE, "Broadcasts")                            \
    X(broadcast_encodes, "weir_broadcast_encodes_total", COUNTER, ONE,                            \
      "Broadcast messages encoded and hashed")                                                    \
    X(scrapes, "weir_scrapes_total", COUNTER, ONE, "Expositions served over HTTP")                \
    X(scrapes_refused, "weir_scrapes_refused_total", COUNTER, ONE,                                \
      "HTTP requests and connections refused")

/* One value per channel, summed over shards. */
#define WEIR_CHANNEL_SERIES(X)                                                                    \
    X(msgs_tx, "weir_channel_messages_sent_total", COUNTER, ONE, "Messages accepted for sending") \
    X(msgs_rx, "weir_channel_messages_received_total", COUNTER, ONE, "Messages delivered")        \
    X(bytes_tx, "weir_channel_sent_bytes_total", COUNTER, ONE, "Bytes of messages accepted")      \
    X(bytes_rx, "weir_channel_received_bytes_total", COUNTER, ONE, "Bytes of messages delivered") \
    X(refused, "weir_channel_messages_refused_total", COUNTER, ONE,                               \
      "Sends answered with full, to any thread")                                                  \
    X(dropped, "weir_channel_frames_dropped_total", COUNTER, ONE,                                 \
      "Frames dropped by the overflow policy")                                                    \
    X(stalls, "weir_channel_credit_stalls_total", COUNTER, ONE,                                   \
      "Times there were bytes to send and no credit")

/* Round-trip times: the upper bounds of a histogram's buckets; the last counts what is above. */
#define WEIR_RTT_BUCKETS 13u
extern const uint64_t weir_rtt_bounds_ns[WEIR_RTT_BUCKETS - 1];

enum weir_series_type { WEIR_SERIES_COUNTER = 1, WEIR_SERIES_GAUGE, WEIR_SERIES_HISTOGRAM };
enum weir_series_unit { WEIR_SERIES_ONE = 0, WEIR_SERIES_NS };

#endif
