#!/usr/bin/env bash
# weir ban, weir unban: a node that runs is told by SIGHUP, one that does not finds it when it starts.
. "$(dirname "$0")/tool_helpers.bash"

expect 2 "--ban-path is not given" "$weir" ban 192.0.2.7
expect 2 "nobody is named" "$weir" unban --ban-path bans
expect 2 "WEIR_E_ADDRESS" "$weir" ban --ban-path bans 192.0.2.0/33
expect 2 "WEIR_E_KEY" "$weir" ban --ban-path bans weir1pnonsense
expect 2 "cannot ban 'nonsense' (WEIR_E_ADDRESS); give an address without a port, a subnet" "$weir" ban --ban-path bans nonsense
expect 2 "--for: '1' is not a time" "$weir" ban --ban-path bans --for 1 192.0.2.7
expect 0 "" "$weir" ban --ban-path bans
[ ! -e bans.asks ] || bad "something was asked for by mistake"

# Before the node runs.
expect 0 "" "$weir" ban --ban-path bans --for 2h 192.0.2.7 2001:db8::/32
start node "$weir" node --listen 127.0.0.1:0 --ban-path bans --quiet
node=$pid
at=$(address_of node)
grep -Eq "weir-ban 192.0.2.7/32 until=20.* by=operator" node.err || bad "not taken: $(cat node.err)"
expect 0 "2001:db8::/32 since=20" "$weir" ban --ban-path bans

# A friend is connected; its id is banned in the running node, and it goes with the reason.
"$weir" keygen friend.key >friend.id || bad "no key"
start friend "$weir" node --peer "$at" --key friend.key --redial-max 1s --quiet
wait_for "up: " friend.out
expect 0 "" "$weir" ban --ban-path bans --pid "$node" "$(cat friend.id)"
wait_for "bans: 1 taken" node.out
wait_for "banned" friend.out
expect 0 "$(cat friend.id) since=" "$weir" ban --ban-path bans
expect 0 '"by": "operator"' "$weir" ban --ban-path bans --json
wait_for "weir-ban $(cat friend.id) until=never" node.err

# And comes back when that ends: it is kept dialed.
before=$(grep -c "up: " friend.out)
expect 0 "" "$weir" unban --ban-path bans --pid "$node" "$(cat friend.id)" 192.0.2.7
wait_for "weir-unban $(cat friend.id) by=operator" node.err
for ((i = 0; i < 1200; i++)); do
    [ "$(grep -c "up: " friend.out)" -gt "$before" ] && break
    sleep 0.05
done
[ "$(grep -c "up: " friend.out)" -gt "$before" ] || bad "the friend does not come back: $(cat friend.out)"

# Whom SIGHUP would end is not sent one.
sleep 600 &
sleeper=$!
started+=("$sleeper")
expect 1 "is no node with --ban-path" "$weir" ban --ban-path other --pid "$sleeper" 192.0.2.9
kill -0 "$sleeper" || bad "the wrong process was ended"

terminate "$node"
[ "$(grep -c ' manual banned ' bans)" -eq 1 ] || bad "the file of bans: $(cat bans)"
[ ! -e bans.asks ] && [ ! -e bans.asks.taken ] || bad "something was left over"
