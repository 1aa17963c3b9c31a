#!/usr/bin/env python3
"""scripts/bench without its installation and build: what it plans, judges and writes, with weir-bench itself and with
a made-up one that fails. Says nothing about speed."""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SRC = Path(os.environ["WEIR_SRC_DIR"])
BENCH = Path(os.environ["WEIR_BIN_DIR"]) / "weir-bench"
SUITE = SRC / "bench" / "suite"
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else "python3"
sys.path.insert(0, str(SUITE))
sys.dont_write_bytecode = True

import goals  # noqa: E402
import load  # noqa: E402
import plan  # noqa: E402

LISTED = {
    "cases": [{"name": "throughput", "sizes": [64], "seconds": 1},
              {"name": "novel", "sizes": [64, 128], "seconds": 2, "counts": [1, 9]}],
    "implementations": [{"name": "weir", "cases": ["throughput", "novel"]}, {"name": "raw", "cases": ["throughput"]},
                        {"name": "zmq", "cases": ["throughput", "novel"]}],
}
# Lists two cases; one works, one fails. Its documents are those of weir-bench, kept in a file.
FAKE = """#!/bin/sh
case "$1" in
--list) cat {folder}/list.json ;;
rtt) cat {folder}/rtt.json; exit 0 ;;
*) echo "weir-bench: it broke" >&2; exit 1 ;;
esac
"""


def run_suite(*arguments):
    return subprocess.run([PYTHON, "-B", SUITE / "suite.py", *map(str, arguments)], capture_output=True, text=True,
                          timeout=200)


def check_plan():
    full = plan.plan(LISTED, "full")
    assert [call[0] for call in full] == ["throughput", "throughput", "novel"], full
    assert full[0][-2:] == ["--against", "raw,zmq"] and full[2][-2:] == ["--against", "zmq"], full
    quick = plan.plan(LISTED, "quick")
    assert [call[-1] for call in quick] == ["raw", "none"], quick
    assert plan.plan(LISTED, "quick", cases=["novel"], against=["zmq"], seconds="7", repeat="2") == \
        [["novel", "--seconds", "7", "--repeat", "2", "--against", "zmq"]]
    # 2 sizes, 2 counts, 2 implementations, 5 repeats of 2 s with 0.5 s of warm-up and 0.1 s for the rest.
    assert abs(plan.estimate_s(LISTED, full[2]) - 2 * 2 * 2 * 5 * 2.6) < 1e-6, plan.estimate_s(LISTED, full[2])


def check_estimate():
    """A case's own counts are known, so that the limit of a call follows from all of its runs."""
    listed = json.loads(subprocess.run([BENCH, "--list", "--json"], check=True, capture_output=True, text=True).stdout)
    cases = {case["name"]: case for case in listed["cases"]}
    assert cases["connections"]["counts"] == [1, 64, 1000, 10000] and cases["broadcast"]["axis"] == "peers", cases
    assert "counts" not in cases["rtt"], cases["rtt"]
    call = ["connections", "--repeat", "1", "--against", "raw"]
    each = sum(plan.estimate_s(listed, [*call, "--connections", count]) for count in ("1", "64", "1000", "10000"))
    assert abs(plan.estimate_s(listed, call) - each) < 1e-6
    many, one = (plan.estimate_s(listed, [*call, "--connections", count]) for count in ("10000", "1"))
    assert many - one > 2 * 4, "making 10,000 connections takes seconds in both runs"


def document_of(**ratios):
    result = {"impl": "weir", "size": 64, "ratio_to": ratios, "spread": {}}
    return {"cases": [{"case": "throughput", "inputs": {"busy": False, "congestion": "cubic"}, "results": [result]}]}


def check_goals():
    def verdict(document):
        rows = goals.judge(document)
        assert len(rows) == 16, rows
        return next(row for row in rows if row["case"] == "throughput 64 B")

    good = {"uring": 0.6, "zmq": 9, "zmq-pair": 6, "nng": 90, "libuv": 0.7}
    assert verdict(document_of(**good))["is_met"] is True
    assert verdict(document_of(**{**good, "zmq-pair": 5.9}))["is_met"] is False  # the better variant counts
    assert verdict(document_of(**{**good, "uring": 0.59}))["is_met"] is False
    assert verdict(document_of(uring=0.7))["is_met"] is None
    assert verdict(document_of(uring=0.5))["is_met"] is False
    assert "uring 0.50 (not met)" in verdict(document_of(uring=0.5))["seen"]
    assert verdict({"cases": []})["is_met"] is None
    shards = [{"case": "shards", "inputs": {"busy": False, "congestion": "cubic"}, "results": [
        {"impl": "weir", "size": 64, "shards": cnt, "msgs_per_s": cnt * 10} for cnt in (1, 2)]}]
    row = next(row for row in goals.judge({"cases": shards}) if row["case"] == "shards 2")
    assert row["is_met"] is True and row["seen"] == "64 B: 2 shards 2.00 × 1", row
    # The floor stands beside what was reached, and decides nothing.
    secure = {"impl": "secure", "size": 64, "handshakes_per_cpu_s": 2900, "p99_ratio": 1, "ratio_to": {"arithmetic": 0.7}}
    floor = {"impl": "arithmetic", "size": 64, "handshakes_per_cpu_s": 4143}
    for results, seen in (([secure, floor], "handshakes 2900 (not met); the curves alone 4143, of which that is 0.70; p99 × 1.00"),
                          ([{**secure, "ratio_to": {}}], "handshakes 2900 (not met); p99 × 1.00")):
        handshake = [{"case": "handshake", "inputs": {"busy": False, "congestion": "cubic"}, "results": results}]
        row = next(row for row in goals.judge({"cases": handshake}) if row["case"] == "handshake, flood")
        assert row["is_met"] is False and row["seen"] == seen, row
    # 4 and 2 GB/s one after the other are 4 / 3: 1.12 is 0.84 of it, and 1.14 is 0.855.
    for rate, is_met in ((1.12e9, False), (1.14e9, None)): # None: the rest was not measured
        results = [{"impl": impl, "size": 65536, "msgs_per_s": rate_of / 65536}
                   for impl, rate_of in (("weir", 4e9), ("aead", 2e9), ("secure", rate), ("secure-aes", rate))]
        stream = [{"case": "throughput", "inputs": {"busy": False, "congestion": "cubic"}, "results": results}]
        row = next(row for row in goals.judge({"cases": stream}) if row["case"] == "encrypted")
        assert row["is_met"] is is_met and "AES" not in row["seen"], row


def check_load():
    watch = load.Watch()
    burner = subprocess.Popen([PYTHON, "-c", "import time\nend = time.process_time() + 0.5\n"
                               "while time.process_time() < end: pass"])
    burner.wait()
    seen = watch.done(0, [{"preempted_per_s": 7}, {}])
    assert seen["other_cpu_percent"] > 0 and seen["preempted_per_s"] == 7, seen
    assert watch.done(1e9, [])["other_cpu_percent"] == 0, "what is the benchmark's own is not somebody else's"


def validate(document):
    try:
        import jsonschema
    except ImportError:
        print("python3-jsonschema is not installed: the document is not validated")
        return
    jsonschema.Draft202012Validator(json.loads((SRC / "bench" / "schema.json").read_text())).validate(document)


def has_matplotlib():
    return subprocess.run([PYTHON, "-c", "import matplotlib"], capture_output=True).returncode == 0


def check_run(work):
    """The real one, twice on one day."""
    for number in (1, 2):
        done = run_suite("--bench", BENCH, "--cases", "rtt,urgent", "--against", "raw", "--seconds", "0.1", "--repeat",
                         "1", "--out", work)
        assert done.returncode == 0, done.stderr
        assert len(list(work.glob("*.json"))) == number and "| case | goal |" in done.stdout, done.stdout
    path = sorted(work.glob("*.json"))[0]
    document = json.loads(path.read_text())
    validate(document)
    assert [report["case"] for report in document["cases"]] == ["rtt", "rtt", "urgent"]  # the second one is --busy
    if not document["cases"] or document["failures"]:
        raise AssertionError(document["failures"])
    assert {(row["impl"], row["from_call"]) for row in document["histograms"] if row["case"] == "urgent"} == \
        {(impl, is_call) for impl in ("weir", "raw") for is_call in (False, True)}
    folder, text = path.with_suffix(""), path.with_suffix(".md").read_text()
    assert "## urgent" in text and "## rtt busy" in text and "| throughput 64 B |" in text, text
    assert (folder / "rtt-64-weir.hgrm").exists() and (folder / "rtt-64-weir-busy.hgrm").exists()
    if has_matplotlib():
        for ending, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
            for name in ("urgent", "latency-rtt-64", "latency-rtt-64-busy"):
                drawn = (folder / f"{name}.{ending}").read_bytes()
                assert drawn.startswith(start) and len(drawn) > 5000, (name, ending, len(drawn))
        before = (folder / "urgent.svg").read_bytes()
        assert run_suite("--render", path).returncode == 0
        assert (folder / "urgent.svg").read_bytes() == before, "the same document is drawn in the same way"
    else:
        print("python3-matplotlib is not installed: no plots are checked")
    compared = subprocess.run([BENCH, "compare", path, path], capture_output=True, text=True)
    assert compared.returncode == 0, compared.stdout + compared.stderr


def check_failures(work):
    """A case that fails is written down, the others are there, and the exit code says so."""
    listed = subprocess.run([BENCH, "--list", "--json"], capture_output=True, text=True, check=True).stdout
    report = subprocess.run([BENCH, "rtt", "--seconds", "0.05", "--repeat", "1", "--against", "none", "--json"],
                            capture_output=True, text=True, check=True).stdout
    (work / "list.json").write_text(listed)
    (work / "rtt.json").write_text(report)
    fake = work / "weir-bench"
    fake.write_text(FAKE.format(folder=work))
    fake.chmod(0o755)
    out = work / "out"
    done = run_suite("--bench", fake, "--cases", "throughput,rtt", "--out", out)
    assert done.returncode == 1, done.stderr
    document = json.loads(next(out.glob("*.json")).read_text())
    validate(document)
    assert [report["case"] for report in document["cases"]] == ["rtt", "rtt"]
    assert [(failure["exit_code"], failure["text"]) for failure in document["failures"]] == \
        [(1, "weir-bench: it broke")], document["failures"]
    assert "it broke" in next(out.glob("*.md")).read_text()
    for arguments in (["--cases", "nothing"], ["--against", "nobody"], ["--unknown"], ["--render", work / "list.json"],
                      ["--render", work / "nowhere.json"], ["--quick", "--full"]):
        done = run_suite("--bench", fake, "--out", out, *arguments)
        assert done.returncode == 2 and done.stderr, (arguments, done.returncode, done.stderr)
    assert run_suite("--bench", work / "missing").returncode == 1


def main():
    if not os.access(BENCH, os.X_OK):
        print("no weir-bench in this build")
        return 77
    check_plan()
    check_estimate()
    check_goals()
    check_load()
    probe = subprocess.run([BENCH, "rtt", "--seconds", "0.05", "--repeat", "1", "--against", "raw", "--json"],
                           capture_output=True, text=True)
    if probe.returncode == 3:
        print(f"this machine refuses what a run needs: {probe.stderr}")
        return 77
    with tempfile.TemporaryDirectory() as temp:
        (Path(temp) / "real").mkdir()
        check_run(Path(temp) / "real")
        check_failures(Path(temp))
    print("bench_suite: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
