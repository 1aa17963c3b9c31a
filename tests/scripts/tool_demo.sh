#!/usr/bin/env bash
# weir demo: the main way in. Exit codes, JSON, --out, a killed node, unreadable folders, no leftovers.
. "$(dirname "$0")/tool_helpers.bash"

mkdir -p files/sub empty
head -c 3000000 /dev/urandom >files/large
head -c 131064 /dev/urandom >files/just-packed
head -c 262131 /dev/urandom >files/one-part
: >files/empty
for ((i = 0; i < 300; i++)); do seq "$i" >"files/sub/$i"; done

# ---- it works ----------------------------------------------------------------------------------

timeout 60 "$weir" demo --nodes 3 --seconds 2 --json --out copies files >demo.json 2>demo.err ||
    bad "demo --json: exit $?: $(cat demo.err demo.json)"
python3 - <<'PY' || bad "the JSON: $(cat demo.json)"
import json
demo = json.load(open("demo.json"))
assert demo["identical"] is True and demo["fault"] == ""
assert demo["files"] == 304 and demo["nodes"] == 3
assert demo["frames_failed"] == 0 and demo["frames_checked"] > 100
assert demo["votes_lost"] == 0 and demo["states_lost"] == 0
assert demo["vote_latency"]["count"] > 100
assert 0 < demo["vote_latency"]["p50_ns"] <= demo["vote_latency"]["p99_ns"] <= demo["vote_latency"]["max_ns"]
assert [channel["name"] for channel in demo["channels"]] == ["votes", "state", "bulk"]
assert abs(sum(channel["share"] for channel in demo["channels"]) - 1) < 1e-6
sinks = [node for node in demo["per_node"] if node["role"] == "sink"]
assert len(sinks) == 2
# Both know node 1; the first answer that came last has the other sink in it, so one of them at least has found it.
assert all(n["peers_found"] >= 1 and n["peers_connected"] >= 1 for n in sinks)
assert max(n["peers_found"] for n in sinks) == 2 and demo["peers_found_least"] >= 1
gossip = demo["gossip"]
assert gossip["delivered"] == demo["vote_latency"]["count"] == demo["channels"][0]["messages"]
assert gossip["pushed"] > 0
# How many rounds there were is a matter of speed; what came behind the first was compared.
assert all(n["files_identical"] == 304 and n["rounds"] >= 1 for n in sinks)
assert all(n["bytes_compared"] > 0 for n in sinks if n["rounds"] > 1)
PY
for node in 2 3; do
    diff -r files "copies/node-$node" || bad "node $node has other files"
done

as_text=$(timeout 60 "$weir" demo --nodes 2 --seconds 1 --tcp-congestion system files/ 2>&1) || bad "demo: exit $?: $as_text"
for text in "Every file is identical at every node." "told one address, each node found 1 of the 1 other" "304 of 304 files identical"; do
    [[ $as_text == *"$text"* ]] || bad "'$text' is not in what demo prints: $as_text"
done
expect 0 " duplicates per vote, " "$weir" demo --nodes 6 --seconds 1 files
expect 0 "every file hashed again" "$weir" demo --nodes 2 --seconds 1 --memory 1M files
expect 0 "1 file, " "$weir" demo --nodes 2 --seconds 1 files/empty

# ---- it says what is wrong ---------------------------------------------------------------------

expect 1 "No such file" "$weir" demo missing
expect 1 "there are no regular files in it" "$weir" demo empty
expect 2 "WEIR_E_CONFIG" "$weir" demo --seconds 1 --nodes 2 --tcp-congestion no-such files
# As somebody who may not read everything: told, and the rest is replicated.
chmod 000 files/sub
as=()
if [ "$(id -u)" -eq 0 ]; then
    as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    cp "$weir" weir-copy && chmod 755 "$work" weir-copy
else
    ln -s "$weir" weir-copy
fi
if "${as[@]}" test -x weir-copy; then
    expect 0 "left out because they cannot be read: 1 file, the first is files/sub: Permission denied" \
        "${as[@]}" ./weir-copy demo --nodes 2 --seconds 1 files
    expect 1 "files/sub: Permission denied" "${as[@]}" ./weir-copy demo --nodes 2 --seconds 1 files/sub
fi
chmod 755 files/sub
touch plain
expect 1 "plain" "$weir" demo --seconds 1 --out plain files

# ---- a node dies -------------------------------------------------------------------------------

# nodes_of PID: its children.
nodes_of() {
    cat /proc/"$1"/task/*/children 2>/dev/null
}

# begin: starts a demo and waits for all of its nodes.
begin() {
    start demo "$weir" demo --nodes 4 --seconds 30 files
    demo=$pid
    wait_for "GB/s\|MB/s" demo.out # all of them run
    read -r -d '' -a nodes < <(nodes_of "$demo")
    [ ${#nodes[@]} -eq 4 ] || bad "4 nodes do not run: ${nodes[*]}"
}

is_gone() {
    ! kill -0 "$1" 2>/dev/null
}

gone() {
    local node
    for node in "${nodes[@]}"; do
        wait_until is_gone "$node" || bad "nodes are left behind: ${nodes[*]}"
    done
}

begin
kill -KILL "${nodes[2]}"
ended "$demo" 10
same 1 "a killed node"
grep -q "node 3 (process ${nodes[2]}) was killed by signal 9 (Killed)" demo.err || bad "$(cat demo.err)"
gone

begin
kill -ABRT "${nodes[0]}"
ended "$demo" 10
same 1 "a node with a fault"
grep -q "node 1 (process ${nodes[0]}) was killed by signal 6" demo.err || bad "$(cat demo.err)"
gone

begin
kill -INT "$demo"
ended "$demo" 10
same 130 "Ctrl-C"
gone

begin
kill -KILL "$demo"
ended "$demo" 10
gone
exit 0
