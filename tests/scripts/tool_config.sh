#!/usr/bin/env bash
# INI files: every mistake is told with file, line, key and range; a good one is obeyed.
. "$(dirname "$0")/tool_helpers.bash"

# wrong TEXT: what node says about the file on standard input.
wrong() {
    cat >wrong.ini
    expect 2 "$1" "$weir" node --config wrong.ini
}

expect 2 "missing.ini: No such file" "$weir" node --config missing.ini
wrong "wrong.ini:3: shards: '99' is not a number from 1 to 64" <<'INI'
[node]
network-id = x
shards = 99
INI
# A name that there is not: the nearest is told, by few changes; of no other kind of setting; else none.
while read -r typed meant; do
    printf '[node]\n%s = 1\n' "$typed" |
        wrong "wrong.ini:2: $typed: there is no such setting (did you mean '$meant'?) (WEIR_E_CONFIG)"
done <<'NAMES'
sharts shards
shard shards
pear peer
peermax peers-max
idel-timeout idle-timeout
idle_timeout idle-timeout
dial-head-strat dial-head-start
ban-pat ban-path
outbond outbound
quiettime quiet-time
crwaler crawler
welcme welcome
gossip-fanut gossip-fanout
gossip-seen-mx gossip-seen-max
NAMES
for typed in x xy colour messages-per-hour weight; do
    printf '[node]\n%s = 1\n' "$typed" | wrong "wrong.ini:2: $typed: there is no such setting (WEIR_E_CONFIG)"
done
wrong "wrong.ini:3: wieght: a channel has no 'wieght' (did you mean 'weight'?) (WEIR_E_CONFIG)" <<'INI'
[channel bulk]
id = 3
wieght = 5
INI
wrong "wrong.ini:2: neither a [section] nor 'name = value'" <<'INI'
[node]
this is nothing
INI
wrong "wrong.ini:2: frame-bytes-max: '1K' is not a size from 4096 to 65536 bytes" <<'INI'
[node]
frame-bytes-max = 1K
INI
# How it gossips: each with its range, and what does not go together, if it gossips.
while read -r key value said; do
    printf '[node]\ngossip = yes\n%s = %s\n' "$key" "$value" | wrong "wrong.ini:3: $key: '$value' is $said (WEIR_E_CONFIG)"
done <<'VALUES'
gossip-fanout 1025 not a number from 1 to 1024
gossip-fanout 0 not a number from 1 to 1024
gossip-hop-max 256 not a number from 1 to 255
gossip-seen-max 16777217 not a number from 1 to 16777216
gossip-age-max 2h not a time from 1ms to 1h with its unit (as 500ms, 10s or 2m)
gossip-msg-bytes-max 65M not a size from 1 to 67108864 bytes (as 65536, 64K or 1M)
gossip-push-bytes-max none neither a size from 1 to 67108864 bytes nor all
gossip-channel 65535 not a number from 1 to 65534
gossip-push-only perhaps neither yes nor no
VALUES
printf '[node]\nask-interval = 99ms\n' | wrong "wrong.ini:2: ask-interval: '99ms' is not a time from 100ms to 24h with its unit (WEIR_E_CONFIG)"
expect 2 "dials-at-once: '65' is not a number from 1 to 64" "$weir" node --seed 127.0.0.1:1 --dials-at-once 65 --print-config
"$weir" node --seed 127.0.0.1:1 --feeler-interval 30s --save-interval 5s --no-feelers --print-config >finding.ini || bad "finding peers"
for line in 'feeler-interval = 30s' 'save-interval = 5s' 'no-feelers = yes'; do
    grep -qxF "$line" finding.ini || bad "no line '$line': $(cat finding.ini)"
done
expect 2 "gossip-send-bytes-max 65536 is below 1048584, which gossip-msg-bytes-max asks for" \
    "$weir" node --gossip --gossip-send-bytes-max 64K --print-config
expect 2 "gossip-want-delay 61s is above gossip-age-max 60s" "$weir" node --gossip --gossip-want-delay 61s --print-config
expect 2 "channel 'default' has the id 65281, which is gossip-channel" \
    "$weir" node --gossip --channel id=65281,name=default --print-config
wrong "wrong.ini:5: weight: weight '1001' is not a number from 1 to 1000" <<'INI'
# comment

[channel bulk]
id = 3
weight = 1001
INI
printf '[channel \022bulk]\nid = 3\n' |
    wrong "wrong.ini:2: channel ?bulk: the name of a channel is a text of up to 31 bytes, without control"
wrong "wrong.ini:3: name: name '01234567890123456789012345678901' is not a text of up to 31 bytes" <<'INI'
[channel bulk]
id = 3
name = 01234567890123456789012345678901
INI
wrong "channel 'bulk' has no id" <<'INI'
[channel bulk]
weight = 5
INI
wrong "wrong.ini:2: x: in a section that is neither" <<'INI'
[knots]
x = 1
INI
{ printf '[node]\nuser-agent = '; head -c 300 /dev/zero | tr '\0' x; echo; } |
    wrong "wrong.ini:2: a line is longer"

cat >good.ini <<'INI'
[node]
network-id = from-the-file
listen = 127.0.0.1:0
listen = 127.0.0.1:0
idle-timeout = 2m
gossip-age-max = 30s
gossip-fanout = 4
shards = 2

[channel votes]
id = 1
urgent = yes

[channel bulk]
id = 3
weight = 5
msg-max = 2M
INI
# What holds, and where it comes from; read back, it is the same.
"$weir" node --config good.ini --shards 1 --channel id=7,weight=9 --ban 192.0.2.0/24 --rate-send 2M --pin \
    --proxy-password hidden --gossip --gossip-fanout 9 --gossip-push-only --print-config >printed.ini || bad "--print-config"
settings_of() { grep -v '^#' "$1"; }
has() { grep -qxF "$2" "$1" || bad "no line '$2' in $1: $(cat "$1")"; }
has printed.ini '# good.ini:2'
has printed.ini 'network-id = from-the-file'
has printed.ini '# flag'
has printed.ini 'shards = 1'
has printed.ini 'rate-send = 2M'
has printed.ini 'ban = 192.0.2.0/24'
has printed.ini 'pin = yes'
has printed.ini 'gossip-fanout = 9'
has printed.ini 'gossip-push-only = yes'
has printed.ini 'gossip-seen-max = 65536'
has printed.ini 'gossip-age-max = 30s'
has printed.ini 'ping-interval = 15s'
has printed.ini 'stats-mode = 0600'
has printed.ini 'name = bulk'
has printed.ini 'weight = 9'
has printed.ini '# proxy-password is set, and not shown'
! grep -q 'hidden\|shards = 2\|gossip-fanout = 4' printed.ini || bad "what was overruled, or is secret: $(cat printed.ini)"
[ "$(grep -c '^listen = ' printed.ini)" -eq 2 ] || bad "two listeners: $(cat printed.ini)"
"$weir" node --config printed.ini --print-config >again.ini || bad "what was printed is not read: $(cat printed.ini)"
diff <(settings_of printed.ini | sort) <(settings_of again.ini | sort) || bad "it is not the same"
"$weir" node --config again.ini --print-config >third.ini
diff <(settings_of again.ini) <(settings_of third.ini) || bad "it is not the same again"
"$weir" node --user-agent 'a ; b' --print-config | grep -qxF '# user-agent has a value that no file can have' ||
    bad "a value that a file cannot have"
"$weir" node --print-config >defaults.ini || bad "--print-config alone"
grep -q '^# outbound is not set: .*(8)$' defaults.ini || bad "no default of outbound: $(cat defaults.ini)"
"$weir" node --outbound 3 --print-config | grep -q '^# seed is not set: ' || bad "no default of seed"
has defaults.ini '[channel 1]'
for line in 'id = 1' 'name = default' 'weight = 1' 'urgent = no' 'msg-max = 1048576' 'send-max = 2097152' \
    'recv-max = 4194304' 'overflow = refuse' 'rate-send = 0' 'rate-recv-msgs = 0'; do
    sed '1,/^.channel 1.$/d' defaults.ini | grep -qxF "$line" || bad "no default '$line': $(cat defaults.ini)"
done
"$weir" node --channel id=2,msg-max=8M,msg-max=4M,urgent --print-config >bounds.ini || bad "bounds that follow"
has bounds.ini 'msg-max = 4M'
has bounds.ini 'send-max = 8388608'
has bounds.ini 'recv-max = 8388608'
! grep -q '= 8M$' bounds.ini || bad "what was overruled: $(cat bounds.ini)"
expect 2 "send-max 1048576 is below msg-max 2097152" "$weir" node --channel id=2,send-max=1M,msg-max=2M --print-config
"$weir" node --config defaults.ini --print-config >/dev/null || bad "a default is not taken: $(cat defaults.ini)"

start node "$weir" node --config good.ini --shards 1 --json
node=$pid
address_of_json() {
    wait_until grep -q listening node.out
    sed -n 's/.*"address":"\([^"]*\)".*/\1/p' node.out | head -n 1
}
at=$(address_of_json)
[ "$(grep -c listening node.out)" -eq 2 ] || bad "two listeners: $(cat node.out node.err)"

# A second node of the same network dials both channels; one of another network is told why.
start other "$weir" node --peer "$at" --network-id from-the-file --channel id=3 --quiet
wait_for "up: " other.out
wait_for "1 channels" other.out
start stranger "$weir" node --peer "$at" --network-id other --quiet
wait_for handshake-crypto stranger.out
wait_for '"rates"' node.out
terminate "$node"
python3 - <<'PY' || bad "the JSON lines"
import json
events = [json.loads(line) for line in open("node.out")]
kinds = [event["event"] for event in events]
assert kinds.count("up") == 1 and "rates" in kinds and kinds[-1] == "end", kinds
assert events[-1]["accepted"] >= 2, events[-1]
assert any(e["event"] == "failed" and e["reason"] == "handshake-crypto" for e in events), events
PY
