#!/usr/bin/env bash
# weir node --welcome: a node that is welcome by its id comes in where all places are taken.
. "$(dirname "$0")/tool_helpers.bash"

expect 2 "cannot welcome 'nonsense' (WEIR_E_ADDRESS); give an address without a port" "$weir" node --listen 127.0.0.1:0 --welcome nonsense
expect 2 "WEIR_E_KEY" "$weir" node --listen 127.0.0.1:0 --welcome weir1pnonsense
"$weir" keygen friend.key >friend.id || bad "no key"
printf '[node]\nlisten = 127.0.0.1:0\ninbound-max = 1\nwelcome = 192.0.2.0/24\n' >node.ini
"$weir" node --config node.ini --welcome "$(cat friend.id)" --print-config >effective.ini || bad "no configuration"
[ "$(grep -c '^welcome = ' effective.ini)" -eq 2 ] || bad "not both are in it: $(cat effective.ini)"

start node "$weir" node --config effective.ini --quiet
node=$pid
at=$(address_of node)
start first "$weir" node --peer "$at" --quiet
wait_for "up: " first.out
expect 5 "" "$weir" send "$at" node.ini
start friend "$weir" node --peer "$at" --key friend.key --redial-max 1s --quiet
wait_for "up: " friend.out
terminate "$node"
grep -q "closed by reason: limit-inbound" node.out || bad "nobody was refused: $(cat node.out)"
