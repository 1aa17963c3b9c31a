#!/usr/bin/env bash
# Through a real proxy, microsocks: by address and by name, with and without credentials; and every way in which
# that can fail is told.
. "$(dirname "$0")/tool_helpers.bash"

command -v microsocks >/dev/null || skip "there is no microsocks (Debian: apt-get install microsocks)"

# proxy NAME [OPTION...]: starts one on a port of its own, which goes to $proxy_port.
proxy() {
    local name=$1 i k
    shift
    for ((i = 0; i < 20; i++)); do
        proxy_port=$(python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
        start "$name" microsocks -i 127.0.0.1 -p "$proxy_port" "$@"
        for ((k = 0; k < 100; k++)); do
            kill -0 "$pid" 2>/dev/null || break
            (exec 9<>"/dev/tcp/127.0.0.1/$proxy_port") 2>/dev/null && return
            sleep 0.05
        done
    done
    bad "microsocks does not start: $(cat "$name.out" "$name.err")"
}

head -c 3000000 /dev/urandom >data

start recv "$weir" recv 127.0.0.1:0 --out got --keep --quiet
receiver=$pid
at=$(address_of recv)
port=${at##*:}

proxy open
open=$proxy_port
expect 0 "" "$weir" send "$at" --proxy "127.0.0.1:$open" data --quiet
cmp data got/data || bad "the file that came through the proxy differs"

# The proxy looks the name up; and its own may be a name too.
expect 0 "" "$weir" send "localhost:$port" --proxy "localhost:$open" --quiet data

# The same proxy behind a unix socket, as Tor may have its own.
cat >relay.py <<'PY'
import socket, sys, threading
path, port = sys.argv[1], int(sys.argv[2])
def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(path)
    listener.listen()
    print("ready", flush=True)
    while True:
        near, far = listener.accept()[0], socket.create_connection(("127.0.0.1", port))
        for pair in (near, far), (far, near):
            threading.Thread(target=pump, args=pair, daemon=True).start()
PY
start relay python3 relay.py "$work/socks" "$open"
wait_for "ready" relay.out
expect 0 "" "$weir" send "localhost:$port" --proxy "unix:$work/socks" --quiet data

proxy closed -u weir -P 'se:cret'
closed=$proxy_port
printf 'weir:se:cret\n' >auth
expect 2 "chmod 600" "$weir" send "$at" --proxy "127.0.0.1:$closed" --proxy-auth-file auth data
chmod 600 auth
expect 0 "" "$weir" send "$at" --proxy "127.0.0.1:$closed" --proxy-auth-file auth --quiet data
printf 'weir:wrong\n' >wrong
chmod 600 wrong
# microsocks hangs up, or answers 1, when credentials are wrong.
expect 5 "proxy-" "$weir" send "$at" --proxy "127.0.0.1:$closed" --proxy-auth-file wrong data
expect 5 "proxy-" "$weir" send "$at" --proxy "127.0.0.1:$closed" data # random ones
for line in '' weir ':x' 'x:' "$(head -c 300 /dev/zero | tr '\0' x):y"; do
    printf '%s\n' "$line" >odd
    chmod 600 odd
    expect 2 "USER:PASSWORD" "$weir" send "$at" --proxy "127.0.0.1:$closed" --proxy-auth-file odd data
done
expect 2 "No such file" "$weir" send "$at" --proxy "127.0.0.1:$closed" --proxy-auth-file none data

# What the proxy cannot reach, and a proxy that is not there.
kill -TERM "$receiver"
ended "$receiver" 10
expect 5 "proxy-refused" "$weir" send "$at" --proxy "127.0.0.1:$open" data
expect 5 "(proxy-" "$weir" send "weir.invalid:80" --proxy "127.0.0.1:$open" data
expect 5 "proxy-down" "$weir" send "$at" --proxy "unix:$work/no-such-socket" data
expect 2 "config: proxy" "$weir" send "$at" --proxy nonsense data
expect 2 "WEIR_E_ADDRESS" "$weir" send "abcdef.onion:80" data

# A node keeps its peers through it, by flags and by INI file.
start listener "$weir" node --listen 127.0.0.1:0 --quiet
at=$(address_of listener)
cat >node.ini <<INI
[node]
peer = localhost:${at##*:}
proxy = 127.0.0.1:$closed
proxy-auth-file = $work/auth
INI
start dialer "$weir" node --config node.ini --quiet
wait_for "up: " listener.out
wait_for "up: .*dialed" dialer.out
expect 2 "proxy-password: it is not a text" "$weir" node --peer x:1 --proxy y:1 --proxy-user me \
    --proxy-password ""
expect 2 "go together" "$weir" node --peer x:1 --proxy y:1 --proxy-user me
expect 2 "without a proxy" "$weir" node --peer x:1 --proxy-user me --proxy-password you
