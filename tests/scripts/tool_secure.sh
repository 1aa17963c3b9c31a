#!/usr/bin/env bash
# Keys and policies of the tool: node, send, recv and demo, encrypted by default.
. "$(dirname "$0")/tool_helpers.bash"

# begin ARG...: starts a receiver and sets $at and $id.
begin() {
    receive "$@"
    id=$(sed -n 's/.*recv: id //p' recv.err)
}

# send WHAT CODE TEXT ARG...: sends a line.
send() {
    local what=$1 code=$2 text=$3 out got
    shift 3
    out=$(echo hello | timeout 60 "$weir" send "$@" 2>&1)
    got=$?
    [ "$got" -eq "$code" ] || bad "$what: exit $got instead of $code: $out"
    case $out in
    *"$text"*) ;;
    *) bad "$what: '$text' is not in: $out" ;;
    esac
}

expect 0 weir1p "$weir" keygen node.key
expect 0 weir1p "$weir" keygen other.key
expect 0 "network key" "$weir" keygen --network net.key
expect 0 "network key" "$weir" keygen --network net2.key
node_id=$("$weir" id node.key)
other_id=$("$weir" id other.key)

# Without any option both sides have keys of their own for the run, and the sender may name the receiver's.
begin
case $id in weir1p*) ;; *) bad "recv shows no id: $(cat recv.err)" ;; esac
send "a new id" 0 "" "$id@$at" --lines --quiet
receiver_ended 0 "a new id"
[ "$(cat recv.out)" = hello ] || bad "what arrived is not what was sent"

begin --key node.key
[ "$id" = "$node_id" ] || bad "recv's id is not that of its key"
send "another id" 5 wrong-id "$other_id@$at"
case $node_id in *x) typo=y ;; *) typo=x ;; esac # the id is another each time
send "a mistyped id" 2 WEIR_E_KEY "${node_id%?}$typo@$at"
send "both keys" 0 "" "$node_id@$at" --key other.key --cipher aes-256-gcm --lines --quiet
receiver_ended 0 "both keys"

# Policies: plain is refused by name on both sides, and says what it is.
begin --keep
send "plain" 5 plain-refused "$at" --plain
send "plain warns" 5 "nothing is encrypted" "$at" --policy plain
kill "$receiver"
ended "$receiver" 20
begin --keep --plain
grep -q "nothing is encrypted" recv.err || bad "recv --plain does not warn"
[ -z "$id" ] || bad "a plain receiver has no id"
send "encrypted" 5 secure-refused "$at"
send "prefer" 0 "" "$at" --policy prefer --quiet
send "plain to plain" 0 "" "$at" --plain --quiet
kill "$receiver"
ended "$receiver" 20

# A closed network.
begin --keep --network-key net.key
send "no network key" 5 network-key "$at"
send "another network key" 5 "" "$at" --network-key net2.key
send "the network's key" 0 "" "$at" --network-key net.key --quiet
kill "$receiver"
ended "$receiver" 20

# What is refused before anything is connected.
expect 2 "is none of require, prefer, plain" "$weir" send 127.0.0.1:1 --policy maybe
expect 2 "is none of chacha20-poly1305, aes-256-gcm" "$weir" send 127.0.0.1:1 --cipher rot13
expect 2 "--key" "$weir" recv 127.0.0.1:0 --key net.key
expect 2 "--network-key" "$weir" recv 127.0.0.1:0 --network-key node.key
expect 2 "WEIR_E_CONFIG" "$weir" recv 127.0.0.1:0 --network-key net.key --plain
chmod 644 other.key
expect 2 "--key" "$weir" node --listen 127.0.0.1:0 --key other.key
expect 2 "missing.key" "$weir" node --listen 127.0.0.1:0 --key missing.key

# weir node: from flags and from an INI file.
printf '[node]\nkey = node.key\nnetwork-key = net.key\ncipher = aes-256-gcm\nlisten = 127.0.0.1:0\n' >node.ini
start node "$weir" node --config node.ini --quiet --json
node=$pid
wait_for listening node.out
grep -q "\"id\": *\"$node_id\"" node.out || bad "weir node does not show its id: $(cat node.out)"
at=$(sed -n 's/.*"address": *"\([^"]*\)".*/\1/p' node.out | head -n 1)
chmod 600 other.key
start peer "$weir" node --peer "$node_id@$at" --key other.key --network-key net.key --quiet --json
peer=$pid
wait_for '"up"' node.out
wait_for '"up"' peer.out
grep '"up"' node.out | grep -q "$other_id" || bad "the node does not see the peer's id: $(cat node.out)"
grep '"up"' peer.out | grep -q "$node_id" || bad "the peer does not see the node's id: $(cat peer.out)"
kill "$peer" "$node"
ended "$peer" 20
ended "$node" 20

mkdir files && head -c 100000 /dev/urandom >files/one
for how in "" --plain "--cipher aes-256-gcm"; do
    # shellcheck disable=SC2086
    expect 0 "" "$weir" demo --nodes 2 --seconds 1 $how files
done
expect 2 "is none of" "$weir" demo --cipher rot13 files
