#!/usr/bin/env python3
"""scripts/callgrind: what it reads from callgrind's files, what it lets pass, and that each case of weir-hotpath runs
(without valgrind, so fast)."""
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SRC = Path(os.environ["WEIR_SRC_DIR"])
HOTPATH = Path(os.environ["WEIR_BIN_DIR"]) / "weir-hotpath"
sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("counts", SRC / "bench" / "callgrind" / "counts.py")
counts = importlib.util.module_from_spec(spec)
spec.loader.exec_module(counts)

# 100 in the engine, of them 30 inlined from another file; 50 in the hash, 7 of it in an included header; 40 copied;
# 9 of the program itself. The 999 is what calls cost, which is counted where it was spent.
CALLGRIND = """\
# callgrind format
events: Ir
ob=(1) weir-hotpath
fl=(1) ../engine/conn/tx.c
fn=(1) weir_tx_flush
10 60
+2 10
fi=(2) ../engine/conn/conn.h
20 30
fe=(1)
cfi=(3) ../engine/base/hash_impl.h
cfn=(2) xxh3
calls=3 5
30 999

fl=(3)
fn=(2)
5 8
fi=(4) /usr/include/xxhash.h
6 7
fn=(3) XXH3_hashLong_64b_default.constprop.0
7 35

ob=(2) libc.so.6
fl=(5) ../multiarch/memmove.S
fn=(4) __memcpy_avx_unaligned_erms
1 40

ob=(1)
fl=(6) ../bench/callgrind/nodes.c
fn=(5) on_writable
* 9
totals: 199
"""


def check_reading():
    total, engine = counts.parse_callgrind(CALLGRIND)
    assert (total, engine) == (199, 100), (total, engine)


def check_judging():
    stored = {"send-64": {"all": 1000.0, "engine": 100.0}}

    def holds(every, engine, **more):
        return counts.judge(stored, {"send-64": {"all": every, "engine": engine}, **more})[1]

    assert holds(1000, 100) and holds(1030, 103) and holds(500, 50)
    assert not holds(1031, 100), "all grew by 3.1 %"
    assert not holds(1000, 103.1), "the engine's own grew by 3.1 %"
    assert not holds(1000, 100, new={"all": 1, "engine": 1}), "a case that is not stored"
    assert not counts.judge(stored, {})[1], "a case that is no longer there"
    lines = "\n".join(counts.judge(stored, {"send-64": {"all": 1040, "engine": 90}})[0])
    assert "+4.0 %  MORE THAN 3 %" in lines and "-10.0 %  shorter" in lines, lines


def check_storing():
    place = {"libc": "glibc-2.36", "valgrind": "3.19.0", "hash": "avx2"}
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "x86_64-gcc-12.json"
        assert "no counts are stored" in counts.load_stored(path)[1]
        counts.write(path, place, {"send-64": {"all": 12.5, "engine": 10.0}, "ping-64": {"all": 3.0, "engine": 2.0}})
        stored, reason = counts.load_stored(path)
        assert reason is None and stored["cases"]["send-64"] == {"all": 12.5, "engine": 10.0}, stored
        assert counts.why_not_comparable(stored["place"], place) is None
        assert "sse2 here" in counts.why_not_comparable(stored["place"], {**place, "hash": "sse2"})
        for damaged in ("", "{}", '{"place": {}, "cases": {"a": {"all": 1}}}', '{"place": {}, "cases": [1]}',
                        '{"place": {}, "cases": {"a": {"all": "x", "engine": 1}}}'):
            path.write_text(damaged)
            try:
                counts.load_stored(path)
            except SystemExit as error:
                assert "damaged" in str(error), error
            else:
                raise AssertionError(f"{damaged} was read")


def check_stored_files():
    """What is committed can be read, and has the cases that there are."""
    listed = subprocess.run([HOTPATH, "--list"], check=True, capture_output=True, text=True).stdout
    cases = [line.split("\t")[0] for line in listed.splitlines()]
    for path in (SRC / "bench" / "callgrind").glob("*.json"):
        stored, _ = counts.load_stored(path)
        assert list(stored["cases"]) == cases, f"{path.name}: scripts/callgrind --update"
    return cases


def check_program(cases):
    for case in cases:
        done = subprocess.run([HOTPATH, case], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stdout.startswith("messages "), (case, done)
        assert int(done.stdout.split()[1]) >= 500, (case, done.stdout)
    for arguments in ([], ["nothing"], ["ping-64", "x"]):
        assert subprocess.run([HOTPATH, *arguments], capture_output=True).returncode == 2, arguments


def main():
    if not os.access(HOTPATH, os.X_OK):
        print("no weir-hotpath in this build")
        return 77
    check_reading()
    check_judging()
    check_storing()
    check_program(check_stored_files())
    assert json.loads(json.dumps(counts.describe_build(HOTPATH)))
    print("callgrind_counts: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
