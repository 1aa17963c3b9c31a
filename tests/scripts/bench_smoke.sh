#!/usr/bin/env bash
# Runs each case of weir-bench shortly: the documents are well formed, every message arrived, wrong
# arguments are refused. Says nothing about speed.
set -euo pipefail

bench=${WEIR_BIN_DIR:?}/weir-bench
[ -x "$bench" ] || { echo "no weir-bench in this build"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { echo "bench_smoke: $*" >&2; exit 1; }

# A window is short. Where the machine stood still for the whole of one, there is nothing in it to look at, and the case
# is run again with long ones.
seconds=0.05
[ -z "${WEIR_SANITIZE:-}" ] || seconds=0.1

# Runs a case against $rivals and checks its document.
check() {
    check_for "$seconds" "$@" || check_for 2 "$@" || fail "weir-bench $*: nothing was measured in two seconds"
}

# Returns 9 when a window was empty; what is wrong ends the test.
check_for() {
    local code=0 window=$1
    shift
    "$bench" "$@" --seconds "$window" --repeat 1 --against "$rivals" --json >"$work/out.json" 2>"$work/err" || code=$?
    cat "$work/err" >&2
    if [ $code = 3 ]; then
        echo "this machine refuses what a run needs"
        exit 77
    fi
    [ $code = 0 ] || fail "weir-bench $*: exit $code"
    python3 -m json.tool "$work/out.json" >/dev/null || fail "weir-bench $*: not JSON"
    python3 - "$1" "$work/out.json" "$rivals" "${subject:-}" "$window" <<'PY' || code=$?
import json
import sys

case, path, rivals, wanted, window = sys.argv[1:]
rivals = [] if rivals == "none" else rivals.split(",")
with open(path) as file:
    report = json.load(file)


def need(result, figure):
    """There must be more than nothing; in a short window there may have been no time for it."""
    if result.get(figure, 0) > 0:
        return
    if float(window) < 1:
        sys.exit(9)
    raise AssertionError(f"{result['impl']} {result['size']}: {figure} is {result.get(figure)}")


assert report["schema"] == 1 and report["case"] == case, report["case"]
for key in "kernel", "cpu", "cores", "congestion", "flags", "load_before", "load_after":
    assert key in report["machine"], key
assert "-O" in report["machine"]["flags"], report["machine"]["flags"]
inputs = report["inputs"]
axis = {"connections": "connections", "churn": "connections", "handshake": "connections", "flood": "connections", "broadcast": "peers", "shards": "shards"}.get(case)
points = [(count, size) for count in (inputs[axis] if axis else [None]) for size in inputs["sizes"]]
subject = inputs["subject"]
assert subject == (wanted or ("secure" if case in ("handshake", "flood") else "weir")), subject
found = [(result.get(axis), result["size"], result["impl"]) for result in report["results"]]
assert found == [point + (impl,) for point in points for impl in [subject] + rivals
                 if impl != "iperf3" or point[1] >= 65536], found

# What each case is about. A figure may be 0: a loaded machine can stand still for a whole window.
about = {
    "wake": ["silence_ns", "silence_alone_ns"],
    "stall": ["others_kept", "all_kept"],
    "connections": ["msgs_per_s", "cpu_s_per_mmsg", "cpu_s_per_gb"],
    "broadcast": ["sender_cpu_s_per_mmsg", "msgs_per_s"],
    "churn": ["conns_per_s", "cpu_s_per_mmsg"],
    # On a machine that is busy the newcomers, whose thread goes behind all others, may not come to run.
    "handshake": ["p99_ns", "p99_alone_ns", "p99_ratio", "handshakes_per_s", "newcomers_per_s"],
    "flood": ["p99_ns", "p99_alone_ns", "p99_ratio", "handshakes_per_s", "cookies_per_s", "newcomers_per_s"],
    "shards": ["msgs_per_s", "cpu_s_per_mmsg"],
    "send": ["send_shard_ns", "send_thread_ns", "send_lone_ns"],
    "micro": ["verify_ns", "encode_ns", "decode_ns", "schedule_ns", "mailbox_ns"],
}
if float(window) < 1 and case in ("throughput", "rtt", "urgent", "share", "rate", "connections", "broadcast", "churn", "shards"):
    for result in report["results"]: # all of them first: one's ratio to an empty window is missing too
        need(result, report["ratio_figure"])
for result in report["results"]:
    name = f'{result["impl"]} {result["size"]} {result.get(axis)}'
    if case == "micro" or result["impl"] == "arithmetic":
        assert result["msgs_received"] == 0, name
    elif result["impl"] != "iperf3":
        need(result, "msgs_received")
    assert result["msgs_lost"] == 0 and result["msgs_out_of_order"] == 0, name
    wanted = about.get(case, ["msgs_per_s"])
    if result["impl"] == "arithmetic":
        wanted = ["handshakes_per_s", "handshakes_alone_per_cpu_s"]
        need(result, "handshakes_per_s")
        assert not {"p99_ns", "msgs_per_s", "newcomers_per_s"} & set(result), name
    else:
        assert "handshakes_alone_per_cpu_s" not in result, name
    for key in [report["ratio_figure"]] + wanted:
        assert key in result, (name, key)
    for key, (least, most) in result["spread"].items():
        assert least <= result[key] <= most, (name, key)
    if case in ("rtt", "urgent", "rate"):
        need(result, "samples")
        assert result["min_ns"] <= result["p50_ns"] <= result["p99_ns"] <= result["max_ns"], name
    if case == "rate":
        assert result["unsent_msgs"] <= result["samples"], name
        if report["inputs"]["rate"] * result["size"] > 1e12: # then nearly all of them are behind
            assert result["unsent_msgs"] > 0 and result["p50_ns"] > 1e8, name
    if result["impl"] == subject:
        others = {impl for count, size, impl in found if (count, size) == (result.get(axis), result["size"])}
        if case != "handshake" or "handshakes_per_cpu_s" in result:
            assert set(result.get("ratio_to", {})) <= others - {subject}, name
        if case not in ("handshake", "flood"):
            assert set(result.get("ratio_to", {})) == others - {subject}, name
    # With many connections and a slow machine a side's turn may be longer than the window.
    if result["impl"] == "weir" and axis is None and case != "micro":
        for key in "sender_turns_per_msg", "receiver_syscalls_per_msg", "receiver_cqes_per_msg", "receiver_syscalls_per_turn":
            need(result, key)
    if case == "share" and result["impl"] == "weir":
        assert len(result["channels"]) == len(inputs["channels"]), name
        assert abs(sum(channel["percent"] for channel in result["channels"]) - 100) < 0.1, name
print(f"{case}: {len(found)} results, nothing lost")
PY
    [ $code = 0 ] || [ $code = 9 ] || fail "weir-bench $*: see above"
    return $code
}

rivals=raw,uring,epoll
if [ -n "${WEIR_SANITIZE:-}" ]; then
    # Each role once: what a sanitizer can find is found, and each run takes several times as long.
    check throughput --size 64,65536
    check rtt --size 100K --histogram "$work/histograms"
    check urgent
    check share
    check rate --rate 2000 --size 16,64K
    rivals=raw,epoll
    check connections --connections 1,150 --size 3000
    rivals=raw
    check broadcast --peers 20 --size 65536
    check churn --connections 64
else
    # Whole in one frame, one that is not a multiple of anything, in fragments, and without a number in it.
    check throughput --size 64,1000,65536,1M,5
    check rtt --size 64,100K
    check urgent
    check urgent --channels 100:1
    check share
    check share --channels 3:1 --size 1M
    check rate --rate 2000 --size 16,1000,64K
    # More than anybody can carry: they are behind after a while.
    rivals=raw seconds=0.2 check rate --rate 20000000 --size 64K
    check throughput --size 64 --congestion system
    check rtt --busy
    rivals=raw,epoll
    check connections --connections 1,150 --size 64,3000
    rivals=raw
    check broadcast --peers 1,20 --size 64,65536
    check churn --connections 1,64
fi
rivals=arithmetic,weir
check handshake --connections 1,16
rivals=aead,aead-aes
check throughput --size 16K
rivals=none
check flood --connections 2,64 --size 16,1000
subject=secure-aes
check handshake --transport secure-aes
subject=secure
rivals=weir
check throughput --transport secure --size 64,16K
check rtt --transport secure
subject=
rivals=none
check wake
check stall --channels 1:2:3
check shards --shards 1,2 --size 64
check send --size 64,65536
check micro --size 64,65536
rivals=spin
check rtt --size 64,100K

# The rivals that need a library or a program: those of this build and this machine.
list=$("$bench" --list)
rivals=
for name in libuv zmq zmq-pair nng nng-pushpull; do
    if grep -q "^  $name  *left out of this build" <<<"$list"; then
        code=0
        "$bench" rtt --against $name >"$work/out" 2>"$work/err" || code=$?
        [ $code = 2 ] && grep -q 'scripts/deps --bench' "$work/err" || fail "$name is left out: exit $code"
    else
        rivals+=,$name
    fi
done
rivals=${rivals#,}
if [ -n "$rivals" ] && [ -z "${WEIR_SANITIZE:-}" ]; then
    check throughput --size 64,1M,5
    check rtt --size 64,1M
    check rate --rate 2000 --size 16,64K
    check throughput --size 64K --congestion system --recv-buffer 128K
    check rtt --busy
fi
rivals=iperf3
if command -v iperf3 >/dev/null; then
    sizes=1000,64K
    [ -z "${WEIR_SANITIZE:-}" ] || sizes=64K
    check throughput --size $sizes
fi
[ -z "$(PATH=/nonexistent "$bench" throughput --against iperf3 2>&1 >/dev/null | grep -v 'scripts/deps --bench')" ] ||
    fail "iperf3 is not there: no remedy was given"

# Wrong arguments: exit code 2, a reason, and nothing on standard output.
refuse() {
    local code=0
    "$bench" "$@" >"$work/out" 2>"$work/err" || code=$?
    [ $code = 2 ] || fail "weir-bench $*: exit $code instead of 2"
    [ -s "$work/err" ] || fail "weir-bench $*: no reason was given"
    [ ! -s "$work/out" ] || fail "weir-bench $*: wrote to standard output"
}
refuse
refuse nothing
refuse throughput rtt
refuse throughput --size 0
refuse throughput --size 1,,2
refuse throughput --size 300M
refuse throughput --seconds 0
refuse throughput --repeat -1
refuse throughput --against weir
refuse throughput --against raw,raw
refuse urgent --against spin
refuse rtt --channels 1:2
refuse share --channels 1
refuse share --channels 1:1001
refuse urgent --channels urgent:1:1
refuse rate --size 15
refuse rate --size 65K
refuse rate --rate 0
refuse rtt --rate 1000
refuse throughput --unknown
refuse throughput --connections 2
refuse connections --connections 0
refuse connections --connections 16385
refuse connections --connections 1,,2
refuse connections --peers 2
refuse connections --size 7
refuse connections --size 65537
refuse connections --against uring
refuse broadcast --peers none
refuse churn --size 64
refuse shards --shards 9
refuse rtt --transport tls
refuse rtt --transport secure --against secure
refuse flood --transport plain
refuse flood --against weir
refuse wake --channels 1:1:1
refuse stall --channels 1

code=0
"$bench" rtt --seconds 0.1 --congestion no-such-thing >"$work/out" 2>"$work/err" || code=$?
[ $code = 3 ] && [ -s "$work/err" ] || fail "a congestion control that does not exist: exit $code"

"$bench" --help | grep 'usage: weir-bench' >/dev/null || fail "--help"
"$bench" --list | grep '^  throughput' >/dev/null || fail "--list"
"$bench" connections --connections 2 --against none --seconds 0.1 --repeat 1 | grep 'connections' >/dev/null || fail "the table's axis"
"$bench" share --seconds 0.1 --repeat 2 | grep 'weight 10' >/dev/null || fail "the table"
echo "bench_smoke: ok"
