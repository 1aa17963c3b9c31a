#!/usr/bin/env bash
# weir node: nodes that know one seed find each other, get over the loss of a third, and come back from their books.
. "$(dirname "$0")/tool_helpers.bash"

count=9
common=(--listen 127.0.0.1:0 --ping-interval 1s --ping-timeout 3s)

# The last line about discovery of a node: "OUTBOUND INBOUND TRIED NEW".
state_of() {
    sed -n 's/^discovery: \([0-9]*\) outbound, \([0-9]*\) inbound, .* known: \([0-9]*\) tried, \([0-9]*\) new$/\1 \2 \3 \4/p' \
        "$1.out" | tail -n 1
}

# Whether each of the nodes named has as many peers (outbound and inbound) as the first argument says.
have_peers() {
    local least=$1 name state out in
    shift
    for name in "$@"; do
        state=$(state_of "$name")
        read -r out in _ <<<"${state:-0 0 0 0}"
        [ $((out + in)) -ge "$least" ] || return 1
    done
}

start seed "$weir" node "${common[@]}" --outbound 3
seed_pid=$pid
seed=$(address_of seed)
names=(seed)
declare -A pids=([seed]=$seed_pid)
for ((i = 1; i < count; i++)); do
    start "n$i" "$weir" node "${common[@]}" --seed "$seed" --outbound 3 --book "book$i" --capability "cap$((i % 2))"
    names+=("n$i")
    pids[n$i]=$pid
done
wait_until have_peers 3 "${names[@]}" || bad "they do not find each other: $(tail -n 1 -- *.out)"

# A third is killed, the seed first; the others are whole again.
left=()
for ((i = 0; i < count; i++)); do
    name=${names[i]}
    if ((i % 3 == 0)); then
        kill -KILL "${pids[$name]}"
    else
        left+=("$name")
    fi
done
sleep 1.1 # the next line that each prints is about after that
wait_until have_peers 3 "${left[@]}" || bad "they do not get over it: $(tail -n 1 -- *.out)"

# One stops, and comes back from its book alone, without a seed.
kill -INT "${pids[n1]}"
ended "${pids[n1]}" 10
[ -s book1 ] || bad "no book was written"
start back "$weir" node "${common[@]}" --outbound 3 --book book1
wait_until have_peers 2 back || bad "its book does not bring it back: $(cat back.out back.err)"
kill -INT "$pid"
ended "$pid" 10

# A damaged byte is told, and costs one record.
python3 - book1 <<'PY'
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(64 + 30)
    byte = file.read(1)
    file.seek(64 + 30)
    file.write(bytes([byte[0] ^ 1]))
PY
start hurt "$weir" node "${common[@]}" --outbound 3 --book book1
wait_until have_peers 1 hurt || bad "a damaged book is of no use: $(cat hurt.out hurt.err)"
grep -q "book: book1 is damaged (1 records do not match" hurt.err || bad "damage is not told: $(cat hurt.err)"
[ -s book1.damaged ] || bad "the damaged book is gone"

# A crawler answers one question and says goodbye.
start crawler "$weir" node "${common[@]}" --crawler --seed "$(address_of n2)"
start asker "$weir" node "${common[@]}" --seed "$(address_of crawler)" --outbound 2
wait_until have_peers 2 asker || bad "a crawler is no seed: $(cat asker.out)"
wait_until grep -q "down: .*not-needed" asker.out || bad "the crawler keeps its peers: $(cat asker.out)"

expect 2 "WEIR_E_CONFIG" "$weir" node --seed "x y" --listen 127.0.0.1:0
expect 2 "WEIR_E_CONFIG" "$weir" node --outbound 257 --listen 127.0.0.1:0
expect 2 "WEIR_E_CONFIG" "$weir" node --capability "NOT GOOD" --listen 127.0.0.1:0
