#!/usr/bin/env bash
# weir node --gossip: what one says comes to all, and is no command to their terminals.
. "$(dirname "$0")/tool_helpers.bash"

expect 2 "--say needs --gossip" "$weir" node --listen 127.0.0.1:0 --say hello
expect 2 "--say: it is empty" "$weir" node --listen 127.0.0.1:0 --gossip --say ""
printf '[node]\ngossip = perhaps\n' >bad.ini
expect 2 "bad.ini:2: gossip: 'perhaps' is neither yes nor no" "$weir" node --config bad.ini

# A chain of three: the last hears it of the one in the middle.
printf '[node]\nlisten = 127.0.0.1:0\ngossip = yes\n' >middle.ini
start middle "$weir" node --config middle.ini --quiet
middle=$pid
at=$(address_of middle)
start last "$weir" node --peer "$at" --gossip --quiet --json
last=$pid
wait_for '"event": *"up"' last.out
start first "$weir" node --peer "$at" --gossip --quiet --say "$(printf 'the dam is\033[31m open')"
first=$pid
wait_for "gossip of peer .*, 0 hops, .*: the dam is?\[31m open" middle.out
wait_for '"text": *"the dam is?\[31m open"' last.out
wait_for '"hops": *1' last.out
terminate "$first" "$last" "$middle"
grep -q "gossip: 1 said, 0 heard" first.out || bad "no counts: $(cat first.out)"
grep -q "gossip: 0 said, 1 heard" middle.out || bad "no counts: $(cat middle.out)"

# The policies that need it, and the configuration that has them.
"$weir" node --seed 127.0.0.1:1 --gossip --quiet-time 2s --replace-interval never --print-config >effective.ini ||
    bad "no configuration"
grep -q "^gossip = yes" effective.ini && grep -q "^quiet-time = 2s" effective.ini || bad "$(cat effective.ini)"
"$weir" node --config effective.ini --print-config >again.ini
diff <(grep -v "^#" effective.ini) <(grep -v "^#" again.ini) || bad "read back it is another"

# Its settings hold: a message may be too long, and one that has made its hops goes no further.
expect 2 "--say needs --gossip" "$weir" node --listen 127.0.0.1:0 --gossip-fanout 3 --say hello
expect 1 "WEIR_E_TOO_BIG" "$weir" node --listen 127.0.0.1:0 --gossip --gossip-msg-bytes-max 4 --say hello
printf '[node]\nlisten = 127.0.0.1:0\ngossip = yes\ngossip-hop-max = 1\ngossip-channel = 77\n' >short.ini
start end "$weir" node --config short.ini --quiet --json
end=$pid
wait_until grep -q listening end.out
at=$(sed -n 's/.*"address":"\([^"]*\)".*/\1/p' end.out | head -n 1)
start beyond "$weir" node --peer "$at" --gossip --gossip-channel 77 --quiet
beyond=$pid
wait_for "up: " beyond.out
start near "$weir" node --peer "$at" --gossip --gossip-channel 77 --quiet --say "so far and no further"
near=$pid
wait_for '"text": *"so far and no further"' end.out
terminate "$near" "$end" "$beyond"
grep -q '"delivered": *1,.*"pushed": *0,.*"served": *0' end.out || bad "it was handed on: $(cat end.out)"
grep -q "gossip: 0 said, 0 heard" beyond.out || bad "it went further: $(cat beyond.out)"
