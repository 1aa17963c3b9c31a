#!/usr/bin/env python3
"""Every document that weir-bench prints is what bench/schema.json says, and every histogram that it exports is a
percentile table whose lines agree with each other and with the document. Says nothing about speed."""
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

BENCH = Path(os.environ["WEIR_BIN_DIR"]) / "weir-bench"
SCHEMA = Path(os.environ["WEIR_SRC_DIR"]) / "bench" / "schema.json"
FEWER = {"connections": ["--connections", "2,30"], "broadcast": ["--peers", "2,20"]}  # than by default: it is a test
NOT_HERE = 3  # weir-bench's exit code when the machine refuses what a run needs


def run(*arguments):
    done = subprocess.run([BENCH, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    if done.returncode == NOT_HERE:
        print(f"weir-bench {' '.join(map(str, arguments))}: this machine refuses it: {done.stderr}")
        return None
    assert done.returncode == 0, f"{arguments}: exit {done.returncode}: {done.stderr}"
    return done.stdout


def read_histogram(path):
    """Lines of value, percentile, count and 1 / (1 - percentile), then sums in lines that begin with '#'."""
    lines = path.read_text().splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"], lines[0]
    assert lines[1] == "", lines[1]
    rows = [[float(field) for field in line.split()] for line in lines[2:] if not line.startswith("#")]
    sums = {name: float(value) for name, value in
            re.findall(r"(Mean|StdDeviation|Max|Total count|Buckets|SubBuckets) *= *([0-9.]+)",
                       "".join(line for line in lines if line.startswith("#")))}
    assert len(sums) == 6, sums
    return rows, sums


def check_histogram(path, result):
    rows, sums = read_histogram(path)
    for before, after in zip(rows, rows[1:]):
        assert before[0] <= after[0] and before[1] < after[1] and before[2] <= after[2], (path.name, before, after)
    for value, percentile, count, inverse in rows[:-1]:
        assert abs(inverse - 1 / (1 - percentile)) <= 0.005 + inverse / 1e6, (path.name, percentile, inverse)
        assert count >= percentile * sums["Total count"], (path.name, percentile, count)
    assert rows[-1][1:] == [1.0, sums["Total count"]] and rows[-1][0] == sums["Max"], (path.name, rows[-1])
    assert rows[0][0] <= sums["Mean"] * 1.016 and sums["Mean"] <= sums["Max"], (path.name, sums)
    if result is None:
        return
    assert sums["Total count"] == result["samples"], (path.name, sums, result["samples"])
    assert abs(sums["Max"] - result["max_ns"]) <= result["max_ns"] * 1e-5, (path.name, sums, result["max_ns"])
    middle = [row[0] for row in rows if abs(row[1] - 0.5) < 1e-9]
    assert not middle or abs(middle[0] - result["p50_ns"]) <= result["p50_ns"] * 1e-5, (path.name, middle, result)


def check_case(name, work, validate):
    folder = Path(work) / f"histograms-{name}"
    text = run(name, *FEWER.get(name, []), "--seconds", "0.15", "--repeat", "1", "--against", "none", "--json", "--histogram", folder)
    if text is None:
        return False
    report = json.loads(text)
    validate(report)
    assert report["case"] == name and report["results"], name
    files = {path.name for path in folder.iterdir()}
    counts = {id(result): "".join(f"-{result[axis]}" for axis in ("connections", "peers", "shards") if axis in result)
              for result in report["results"]}
    by_name = {f'{name}-{result["size"]}{counts[id(result)]}-{result["impl"]}.hgrm': result
               for result in report["results"]}
    has_latency = {file for file, result in by_name.items() if result.get("samples")}
    assert has_latency <= files, (name, files)
    for file in files:
        check_histogram(folder / file, by_name.get(file))
    print(f"{name}: {len(report['results'])} results, {len(files)} histograms")
    path = Path(work) / f"{name}.json"
    path.write_text(text)
    validate(json.loads(run("compare", path, path, "--json")))
    return True


def main():
    if not os.access(BENCH, os.X_OK):
        print("no weir-bench in this build")
        return 77
    try:
        import jsonschema
    except ImportError:
        print("python3-jsonschema is not installed: nothing validates the documents")
        return 77
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    listed = json.loads(run("--list", "--json"))
    validator.validate(listed)
    ran = 0
    with tempfile.TemporaryDirectory() as work:
        for case in listed["cases"]:
            ran += check_case(case["name"], work, validator.validate)
        # And the schema can say no.
        broken = json.loads(run("--list", "--json"))
        del broken["cases"][0]["figure"]
        assert not validator.is_valid(broken) and not validator.is_valid({"schema": 2, "kind": "list"})
        assert not validator.is_valid({**listed, "kind": "case"})
    return 0 if ran > 0 else 77


if __name__ == "__main__":
    sys.exit(main())
