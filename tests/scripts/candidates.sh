#!/usr/bin/env bash
# weir-candidates: groups that every kernel can do run, and no frame is lost or damaged. Says nothing about speed.
set -euo pipefail

program=${WEIR_BIN_DIR:?}/weir-candidates
[ -x "$program" ] || { echo "no weir-candidates in this build"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { echo "candidates: $*" >&2; exit 1; }

for group in floor size direct ping; do
    if ! "$program" "$group" --seconds 0.02 --repeat 1 >"$work/out" 2>"$work/err"; then
        cat "$work/out" "$work/err" >&2
        if grep -qE 'io_uring_setup|buffer ring' "$work/err"; then
            echo "this machine refuses io_uring"
            exit 77
        fi
        fail "$group"
    fi
    grep -q 'medians' "$work/out" || fail "$group: no table"
    ! grep -q 'failed' "$work/out" || fail "$group: $(cat "$work/out")"
done
"$program" hash --repeat 1 | grep -q 'one by one' || fail hash
"$program" gaps --seconds 0.05 | grep -q 'longest gap' || fail gaps

code=0
"$program" nothing 2>"$work/err" || code=$?
[ $code = 2 ] && grep -q zerocopy "$work/err" || fail "an unknown group: exit $code"
echo "candidates: ok"
