#!/usr/bin/env bash
# weir node: ports, strangers, HTTP, signals; weir doctor.
. "$(dirname "$0")/tool_helpers.bash"

expect 0 "STATUS" "$weir" doctor
"$weir" doctor --json | python3 -c '
import json, sys
report = json.load(sys.stdin)
assert report["can_run"] is True and len(report["checks"]) > 5
assert all(check["status"] in (0, 1) for check in report["checks"])
' || bad "doctor --json"

for address in nonsense 127.0.0.1 127.0.0.1:99999 "[::1:80" ":80" ""; do
    expect 2 "WEIR_E_ADDRESS" "$weir" node --listen "$address"
    expect 2 "WEIR_E_ADDRESS" "$weir" recv "$address"
done
expect 2 "WEIR_E_ADDRESS" "$weir" node --peer 127.0.0.1:0
expect 2 "WEIR_E_ADDRESS" "$weir" send nonsense

start node "$weir" node --listen 127.0.0.1:0 --listen "unix:$work/socket"
node=$pid
at=$(address_of node)
port=${at##*:}

# Port and socket file in use.
expect 3 "WEIR_E_IN_USE" "$weir" recv "$at"
expect 3 "WEIR_E_IN_USE" "$weir" node --listen "$at"
expect 3 "WEIR_E_IN_USE" "$weir" node --listen "unix:$work/socket"

# A browser, TLS, rubbish, and one that says nothing: each ends with its reason, and the node lives on.
knock() {
    exec 7<>"/dev/tcp/127.0.0.1/$port" || return
    printf "$1" >&7
    timeout 5 cat <&7 >/dev/null
    exec 7<&-
}
knock 'GET / HTTP/1.0\r\n\r\n'
knock '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03................................'
knock 'SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3 and more than a preface of it ....\r\n'
kill -0 "$node" 2>/dev/null || bad "the node is gone: $(cat node.out node.err)"

start friend "$weir" node --peer "unix:$work/socket" --quiet
friend=$pid
wait_for "up: " friend.out # over the socket file
wait_for "peers  in " node.out
kill -KILL "$friend"
wait_for "down: .*\(eof\|reset\)" node.out # a killed peer is told
kill -INT "$node"
ended "$node" 10
same 0 "node after SIGINT"
for reason in http tls not-weir; do
    grep -q "closed by reason: $reason 1" node.out || bad "no count of $reason: $(cat node.out)"
done

# Nobody listens there: told, tried again, and the node can be stopped.
start lonely "$weir" node --peer "$at" --quiet
lonely=$pid
wait_for refused lonely.out
kill -TERM "$lonely"
ended "$lonely" 10
same 0 "node without its peer"
