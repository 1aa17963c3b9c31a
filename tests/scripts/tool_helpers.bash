# Helpers of tool_*.sh and examples_*.sh: sourced, not run.
#
# Every script gets a folder of its own that is removed at the end, and every process it starts with
# `start` is ended. Ports are always chosen by the system and read from what the programs print.
set -u

weir=${WEIR_BIN_DIR:?WEIR_BIN_DIR is not set}/weir
work=$(mktemp -d "${TMPDIR:-/tmp}/weir-test.XXXXXX")
started=()
failures=0

finish() {
    local code=$?
    for pid in "${started[@]}"; do
        kill -KILL "$pid" 2>/dev/null
    done
    wait 2>/dev/null
    cd /
    rm -rf "$work"
    [ "$failures" -eq 0 ] || code=1
    exit "$code"
}
trap finish EXIT
cd "$work" || exit 1

skip() {
    echo "skipped: $*"
    exit 77
}

# A sandbox may refuse io_uring; `weir doctor` is what says so.
"$weir" doctor >"$work/doctor.txt" 2>&1 || [ "${NEEDS_URING:-1}" = 0 ] || skip "weir cannot run here"

bad() {
    failures=$((failures + 1))
    echo "FAIL: $*"
}

# expect CODE TEXT COMMAND...: the exit code, and TEXT somewhere in what it prints ("" for any).
expect() {
    local code=$1 text=$2 out got
    shift 2
    out=$(timeout 60 "$@" 2>&1 </dev/null)
    got=$?
    [ "$got" -eq "$code" ] || bad "exit $got instead of $code: $* :: $out"
    case $out in
    *"$text"*) ;;
    *) bad "'$text' is not in what this prints: $* :: $out" ;;
    esac
}

# start NAME COMMAND...: runs it in the background, its output in NAME.out and NAME.err, its id in $pid.
start() {
    local name=$1
    shift
    # Before it runs: or address_of could read what an earlier one of that name wrote.
    : >"$name.out"
    : >"$name.err"
    "$@" >"$name.out" 2>"$name.err" </dev/null &
    pid=$!
    started+=("$pid")
}

# address_of NAME: waits for "listening at ADDRESS" in its output and prints the address.
address_of() {
    local at i
    for ((i = 0; i < 1200; i++)); do
        at=$(sed -n 's/.*listening at //p' "$1.out" "$1.err" 2>/dev/null | head -n 1)
        if [ -n "$at" ]; then
            echo "$at"
            return
        fi
        sleep 0.05
    done
    bad "$1 does not listen: $(cat "$1.out" "$1.err")"
}

# wait_until COMMAND...: until it succeeds; 1 when it does not within a minute.
wait_until() {
    local i
    for ((i = 0; i < 1200; i++)); do
        "$@" && return
        sleep 0.05
    done
    return 1
}

# wait_for REGEX FILE: until a line of the file is like it.
wait_for() {
    wait_until grep -q -- "$1" "$2" || bad "'$1' does not come: $(cat "$2")"
}

# receive ARG...: starts `weir recv` and sets $receiver and $at, for receiver_ended.
receive() {
    start recv "$weir" recv 127.0.0.1:0 "$@"
    receiver=$pid
    at=$(address_of recv)
}

# receiver_ended CODE WHAT: waits for it and compares.
receiver_ended() {
    ended "$receiver" 20
    same "$1" "receiver, $2: $(cat recv.err)"
}

# ended PID SECONDS: waits for it to end and sets $code; kills it when it does not.
ended() {
    local i
    for ((i = 0; i < $2 * 60; i++)); do # three times that: machines stall
        kill -0 "$1" 2>/dev/null || break
        sleep 0.05
    done
    if kill -KILL "$1" 2>/dev/null; then
        bad "process $1 did not end in three times $2 s"
    fi
    wait "$1" 2>/dev/null
    code=$?
}

# same CODE WHAT: compares $code.
same() {
    [ "$code" -eq "$1" ] || bad "$2: exit $code instead of $1"
}

# terminate PID...: each ends with 0 after a SIGTERM.
terminate() {
    local node
    for node; do
        kill -TERM "$node"
        ended "$node" 10
        same 0 "a node after SIGTERM"
    done
}
