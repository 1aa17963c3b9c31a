#!/usr/bin/env bash
# Runs each case of weir-bench shortly: the documents are well formed, every message arrived, wrong
# arguments are refused. Says nothing about speed.
set -euo pipefail

bench=${WEIR_BIN_DIR:?}/weir-bench
[ -x "$bench" ] || { echo "no weir-bench in this build"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { echo "bench_smoke: $*" >&2; exit 1; }

# Runs a case against $rivals and checks its document.
check() {
    local code=0
    "$bench" "$@" --seconds 0.2 --repeat 1 --against "$rivals" --json >"$work/out.json" 2>"$work/err" || code=$?
    cat "$work/err" >&2
    if [ $code = 3 ]; then
        echo "this machine refuses what a run needs"
        exit 77
    fi
    [ $code = 0 ] || fail "weir-bench $*: exit $code"
    python3 -m json.tool "$work/out.json" >/dev/null || fail "weir-bench $*: not JSON"
    python3 - "$1" "$work/out.json" "$rivals" <<'PY' || fail "weir-bench $*: see above"
import json
import sys

case, path, rivals = sys.argv[1:]
rivals = rivals.split(",")
with open(path) as file:
    report = json.load(file)
assert report["schema"] == 1 and report["case"] == case, report["case"]
for key in "kernel", "cpu", "cores", "congestion", "flags", "load_before", "load_after":
    assert key in report["machine"], key
assert "-O" in report["machine"]["flags"], report["machine"]["flags"]
sizes = report["inputs"]["sizes"]
found = [(result["size"], result["impl"]) for result in report["results"]]
assert found == [(size, impl) for size in sizes for impl in ["weir"] + rivals
                 if impl != "iperf3" or size >= 65536], found
for result in report["results"]:
    name = f'{result["impl"]} {result["size"]}'
    assert result["impl"] == "iperf3" or result["msgs_received"] > 0, name
    assert result["msgs_lost"] == 0 and result["msgs_out_of_order"] == 0, name
    assert report["ratio_figure"] in result, name
    for key, (least, most) in result["spread"].items():
        assert least <= result[key] <= most, (name, key)
    if case in ("rtt", "urgent", "rate"):
        assert result["samples"] > 0, name
        assert result["min_ns"] <= result["p50_ns"] <= result["p99_ns"] <= result["max_ns"], name
    if case == "rate":
        assert result["unsent_msgs"] <= result["samples"], name
        if report["inputs"]["rate"] * result["size"] > 1e12: # then nearly all of them are behind
            assert result["unsent_msgs"] > 0 and result["p50_ns"] > 1e8, name
    if result["impl"] == "weir":
        assert set(result.get("ratio_to", {})) == {impl for size, impl in found if size == result["size"]} - {"weir"}, name
        assert result["sender_turns_per_msg"] > 0 and result["receiver_syscalls_per_msg"] > 0, name
    if case == "share" and result["impl"] == "weir":
        assert len(result["channels"]) == len(report["inputs"]["channels"]), name
        assert abs(sum(channel["percent"] for channel in result["channels"]) - 100) < 0.1, name
print(f"{case}: {len(found)} results, nothing lost")
PY
}

rivals=raw,uring,epoll
# Whole in one frame, one that is not a multiple of anything, in fragments, and without a number in it.
check throughput --size 64,1000,65536,1M,5
check rtt --size 64,100K
check urgent
check urgent --channels 100:1
check share
check share --channels 3:1 --size 1M
check rate --rate 2000 --size 16,1000,64K
check rate --rate 20000000 --size 64K # more than anybody can carry
check throughput --size 64 --congestion system
check rtt --busy
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
if [ -n "$rivals" ]; then
    check throughput --size 64,1000,65536,1M,5
    check rtt --size 64,1M
    check rate --rate 2000 --size 16,64K
    check throughput --size 64K --congestion system --recv-buffer 128K
    check rtt --busy
fi
rivals=iperf3
if command -v iperf3 >/dev/null; then
    check throughput --size 1000,64K,2M
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

code=0
"$bench" rtt --seconds 0.1 --congestion no-such-thing >"$work/out" 2>"$work/err" || code=$?
[ $code = 3 ] && [ -s "$work/err" ] || fail "a congestion control that does not exist: exit $code"

"$bench" --help | grep -q 'usage: weir-bench' || fail "--help"
"$bench" --list | grep -q '^  throughput' || fail "--list"
"$bench" share --seconds 0.1 --repeat 2 | grep -q 'weight 10' || fail "the table"
echo "bench_smoke: ok"
