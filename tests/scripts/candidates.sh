#!/usr/bin/env bash
# weir-candidates: groups that every kernel can do run, and no frame is lost or damaged. Says nothing about speed.
set -euo pipefail

program=${WEIR_BIN_DIR:?}/weir-candidates
[ -x "$program" ] || { echo "no weir-candidates in this build"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { echo "candidates: $*" >&2; exit 1; }

for group in floor size direct ping urgent; do
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
"$program" hash --repeat 1 --json "$work/hash.json" | grep -q 'one by one' || fail hash
"$program" gaps --seconds 0.05 --json "$work/gaps.json" | grep -q 'longest gap' || fail gaps
"$program" copy --repeat 2 --json "$work/copy.json" >"$work/copy.txt" || fail copy
grep -q 'through loopback' "$work/copy.txt" || fail "copy: $(cat "$work/copy.txt")"

# The documents are what bench/schema.json says, and say the same as the tables.
"$program" size --seconds 0.02 --repeat 2 --json "$work/size.json" >"$work/size.txt" || fail "size --json"
"$program" --repeat 1 --json "$work/ping.json" --seconds 0.02 ping >/dev/null || fail "ping --json"
python3 - "$work" "${WEIR_SRC_DIR:?}/bench/schema.json" <<'PY' || fail "see above"
import json
import sys
from pathlib import Path

work, schema = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
try:
    import jsonschema
    validate = jsonschema.Draft202012Validator(schema).validate
except ImportError:
    def validate(document):
        assert document["kind"] == "candidates"
reports = {name: json.loads((work / f"{name}.json").read_text()) for name in ("copy", "hash", "gaps", "size", "ping")}
for name, report in reports.items():
    validate(report)
    assert report["group"] == name and report["results"], report
    for result in report["results"]:
        for figure, (least, most) in result.get("spread", {}).items():
            assert least <= result[figure] <= most, (name, figure, result)
assert reports["hash"]["inputs"]["place"] is None and reports["size"]["inputs"]["place"] == "loopback"
assert reports["size"]["inputs"]["repeat"] == 2 and reports["ping"]["inputs"]["seconds"] == 0.02
assert (reports["size"]["ratio_figure"], reports["ping"]["ratio_figure"]) == ("bytes_per_s", "p50_ns")
lines = (work / "size.txt").read_text().splitlines()[3:]
rows = [(line[2:28].strip(), *line[28:].split()[:2]) for line in lines]
assert rows == [(one["variant"], f'{one["bytes_per_s"] / 1e9:.2f}', f'{one["ratio"]:.2f}')
                for one in reports["size"]["results"]], (rows, reports["size"]["results"])
assert rows[0][2] == "1.00", rows
PY

# Wrong arguments: exit 2, what is wrong and what is allowed. Nothing is written where nothing ran.
refuse() {
    local words=$1 code=0
    shift
    "$program" "$@" >"$work/out" 2>"$work/err" || code=$?
    [ $code = 2 ] && [ ! -s "$work/out" ] || fail "$*: exit $code"
    grep -qF -- "$words" "$work/err" || fail "$*: $(cat "$work/err")"
}
refuse "there is no group 'nothing'; there are receive," nothing
refuse zerocopy nothing
refuse 'which group?' --repeat 1
refuse "one group at a time: 'ping' is too much" size ping
refuse "--repeat: '0' is not a number from 1 to 99" size --repeat 0
refuse "--repeat: '3x' is not a number from 1 to 99" size --repeat 3x
refuse "--seconds: 'soon' is not a number from 0.01 to 60" size --seconds soon
refuse "--seconds: '61'" size --seconds 61
refuse "--seconds: 'nan'" size --seconds nan
refuse 'the options are --seconds S' size --wrong
refuse 'the options are --seconds S' size --json
refuse "--json: '' is not the name of a file" size --json ''
refuse "'$work/none/x.json' cannot be written: No such file" size --json "$work/none/x.json"
refuse '--veth: hash sends nothing' hash --veth --json "$work/never.json"
[ ! -e "$work/never.json" ] || fail "a document of nothing"
"$program" --help | grep -q -- '--json FILE' || fail --help
echo "candidates: ok"
