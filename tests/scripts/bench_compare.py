#!/usr/bin/env python3
"""weir-bench compare on made-up documents: what is worse, better, the machine's drift or noise, and that a
damaged document is refused with the place of the damage."""
import copy
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

BENCH = Path(os.environ["WEIR_BIN_DIR"]) / "weir-bench"
WORK = tempfile.TemporaryDirectory()
failed = []


def result(impl, size=64, spread_percent=2.0, **figures):
    figures = figures or {"msgs_per_s": 100e6}
    spread = {name: [value * (1 - spread_percent / 100), value * (1 + spread_percent / 100)]
              for name, value in figures.items()}
    return {"impl": impl, "note": None, "size": size, "spread": spread, "msgs_sent": 1, "msgs_received": 1,
            "msgs_lost": 0, "msgs_out_of_order": 0, **figures}


def case(*results, name="throughput", figure="msgs_per_s", better="higher", **inputs):
    return {"schema": 1, "kind": "case", "case": name,
            "inputs": {"sizes": [64], "seconds": 1, "warmup_seconds": 0.25, "repeat": 5, "against": ["raw"],
                       "congestion": "cubic", "recv_buffer": None, "busy": False, **inputs},
            "machine": {"commit": None}, "ratio_figure": figure, "ratio_better": better,
            "results": list(results)}


def suite(*cases):
    return {"schema": 1, "kind": "suite", "cases": list(cases)}


def write(name, document):
    path = Path(WORK.name) / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def run(*arguments):
    return subprocess.run([BENCH, "compare", *map(str, arguments)], capture_output=True, text=True, timeout=60)


def verdicts(old, new, *options):
    """Exit code, and verdict by label and figure."""
    done = run(write("old.json", old), write("new.json", new), "--json", *options)
    if done.returncode == 2:
        return 2, done.stderr
    report = json.loads(done.stdout)
    found = {(finding["label"], finding["figure"]): finding["verdict"] for finding in report["findings"]}
    counts = {name: list(found.values()).count(name) for name in ("worse", "better", "unsure", "same")}
    if counts != report["counts"]:
        failed.append(f"counts {report['counts']} are not those of {found}")
    return done.returncode, found


def expect(what, old, new, code, found=None, options=()):
    have_code, have = verdicts(old, new, *options)
    if have_code != code or (found is not None and have != found):
        failed.append(f"{what}: exit {have_code} instead of {code}, found {have}, expected {found}")


def throughput(verdict):
    return {("throughput 64 B", "msgs_per_s"): verdict}


def check_the_rule():
    base = case(result("weir"), result("raw", msgs_per_s=50e6))
    expect("nothing changed", base, base, 0, throughput("same"))
    for factor, verdict, code in ((0.9, "worse", 1), (1.1, "better", 0), (0.98, "same", 0), (1.02, "same", 0)):
        new = case(result("weir", msgs_per_s=100e6 * factor), result("raw", msgs_per_s=50e6))
        expect(f"weir times {factor}", base, new, code, throughput(verdict))

    slower = case(result("weir", msgs_per_s=60e6), result("raw", msgs_per_s=30e6))
    expect("the machine became slower, and weir with it", base, slower, 0, throughput("same"))
    behind = case(result("weir", msgs_per_s=100e6), result("raw", msgs_per_s=65e6))
    expect("the machine became faster, and weir did not", base, behind, 1, throughput("worse"))
    two = case(result("weir"), result("raw", msgs_per_s=50e6), result("uring", msgs_per_s=50e6))
    unlike = case(result("weir"), result("raw", msgs_per_s=65e6), result("uring", msgs_per_s=50e6))
    expect("one rival became faster, the other did not", two, unlike, 0, throughput("same"))

    alone = case(result("weir"))
    expect("no rivals", alone, case(result("weir", msgs_per_s=90e6)), 1, throughput("worse"))
    expect("less than the tolerance that was asked for", alone, case(result("weir", msgs_per_s=90e6)), 0,
           throughput("same"), ["--tolerance", "12"])
    expect("just outside of a tolerance of 0", case(result("weir", spread_percent=0)),
           case(result("weir", spread_percent=0, msgs_per_s=99e6)), 1, throughput("worse"), ["--tolerance", "0"])
    noisy = case(result("weir", spread_percent=8))
    expect("the spreads touch", noisy, case(result("weir", spread_percent=8, msgs_per_s=88e6)), 0,
           throughput("same"))
    few = case(result("weir"), repeat=3)
    expect("3 repeats: 12 % is within 15 %", few, case(result("weir", msgs_per_s=88e6), repeat=9), 0,
           throughput("same"))
    expect("3 repeats: 20 % is not", few, case(result("weir", msgs_per_s=80e6), repeat=9), 1, throughput("worse"))
    expect("2 repeats say nothing", case(result("weir"), repeat=2), case(result("weir", msgs_per_s=50e6)), 0,
           throughput("unsure"))


def check_figures():
    def rtt(**figures):
        figures = {"p50_ns": 50e3, "p99_ns": 90e3, "p99_9_ns": 120e3, "samples": 20000, **figures}
        return case(result("weir", **figures), name="rtt", figure="p50_ns", better="lower")

    same = {("rtt 64 B", name): "same" for name in ("p50_ns", "p99_ns", "p99_9_ns")}
    expect("lower is better", rtt(), rtt(p50_ns=40e3), 0, {**same, ("rtt 64 B", "p50_ns"): "better"})
    expect("p99 alone", rtt(), rtt(p99_ns=150e3), 1, {**same, ("rtt 64 B", "p99_ns"): "worse"})
    expect("p99.9 of too few samples", rtt(), rtt(p99_9_ns=300e3, samples=1000), 0,
           {**same, ("rtt 64 B", "p99_9_ns"): "unsure"})

    def share(error):
        return case(result("weir", bytes_per_s=5e9, share_error_points=error), name="share", figure="bytes_per_s")

    expect("within the goal's tolerance", share(0.02), share(0.2), 0)
    expect("shares that are not kept", share(0.02), share(2.0), 1)


def check_pairing():
    tests = suite(case(result("weir"), result("weir", size=1024)),
                  case(result("weir"), congestion="system"),
                  case(result("weir"), channels=[{"class": "urgent", "weight": 1}, {"class": "weighted", "weight": 3}]))
    other = copy.deepcopy(tests)
    other["cases"][1]["results"][0] = result("weir", msgs_per_s=50e6)
    expect("only the run with the system's congestion control", tests, other, 1,
           {("throughput 64 B", "msgs_per_s"): "same", ("throughput 1 KiB", "msgs_per_s"): "same",
            ("throughput 64 B system", "msgs_per_s"): "worse",
            ("throughput 64 B urgent:3", "msgs_per_s"): "same"})
    few, many = ({**result("weir", msgs_per_s=rate), "connections": cnt} for rate, cnt in ((9e6, 1), (4e6, 1000)))
    base = case(few, many, name="connections")
    worse = case(few, {**result("weir", msgs_per_s=2e6), "connections": 1000}, name="connections",
                 connections=[1, 1000])
    expect("a parameter keeps results apart", base, worse, 1,
           {("connections 64 B connections 1", "msgs_per_s"): "same",
            ("connections 64 B connections 1000", "msgs_per_s"): "worse"})
    partly = run(write("old.json", suite(case(result("weir")), case(result("weir"), name="share"))),
                 write("new.json", suite(case(result("weir")), case(result("weir"), name="rate"))))
    if partly.returncode != 0 or "1 results of weir are only in the old, 1 only in the new" not in partly.stdout:
        failed.append(f"what only one document has: {partly.returncode} {partly.stdout}")


def check_damage():
    good = case(result("weir"))

    def broken(change):
        document = copy.deepcopy(good)
        change(document)
        return document

    def without(*path):
        def change(document):
            for step in path[:-1]:
                document = document[step]
            del document[path[-1]]
        return broken(change)

    def with_value(value, *path):
        def change(document):
            for step in path[:-1]:
                document = document[step]
            document[path[-1]] = value
        return broken(change)

    damaged = {
        "not JSON: line 1": '{"schema": 1, "kind"',
        "not JSON: line 2": '{"schema": 1,\n"schema": 1}',
        "not an object": "[1, 2]",
        "'schema' is missing": without("schema"),
        "its schema is 2, this weir-bench reads 1": with_value(2, "schema"),
        "its kind is 'compare'": with_value("compare", "kind"),
        "'case' is missing": without("case"),
        "'inputs.repeat' is missing": without("inputs", "repeat"),
        "'inputs.repeat' is missing or no number of 1": with_value(-1, "inputs", "repeat"),
        "'ratio_figure' is missing": without("ratio_figure"),
        "'ratio_better' is neither": with_value("faster", "ratio_better"),
        "'results' is missing": without("results"),
        "it has no results": with_value([], "results"),
        "results[0]: not an object": with_value([7], "results"),
        "results[0]: 'impl' is missing": without("results", 0, "impl"),
        "results[0]: 'size' is missing": without("results", 0, "size"),
        "results[0]: 'spread' is missing": without("results", 0, "spread"),
        "results[0]: spread.msgs_per_s is not [least, most]":
            with_value([1], "results", 0, "spread", "msgs_per_s"),
        "results[0]: msgs_per_s is not a number": with_value("many", "results", 0, "msgs_per_s"),
        "results[0]: msgs_per_s is not a number of 0 or more": with_value(-1, "results", 0, "msgs_per_s"),
        "results[0]: msgs_per_s is outside of its spread":
            with_value([200e6, 300e6], "results", 0, "spread", "msgs_per_s"),
        "results[0]: the figure to compare by, 'p50_ns', is missing": with_value("p50_ns", "ratio_figure"),
        "results[1]: weir in throughput 64 B is there twice": with_value([result("weir")] * 2, "results"),
        "cases[1].results[0]: 'impl' is missing": suite(case(result("weir"), name="rate"),
                                                        without("results", 0, "impl")),
        "cases[0]: its schema is 3": suite(with_value(3, "schema")),
        "'cases' is missing": {"schema": 1, "kind": "suite"},
    }
    for text, document in damaged.items():
        for old, new in ((document, good), (good, document)):
            code, said = verdicts(old, new)
            name = "old.json" if old is document else "new.json"
            if code != 2 or text not in said or name not in said:
                failed.append(f"damaged ({text}): exit {code}, said {said}")
    # Cut anywhere, a document must be refused or, at its very end, still be whole.
    whole = json.dumps(good)
    for length in range(0, len(whole), 7):
        code, said = verdicts(whole[:length], good)
        if code != 2:
            failed.append(f"cut after {length} of {len(whole)} bytes: exit {code}, {said}")


def check_command():
    good = write("good.json", case(result("weir")))
    for arguments in ([], [good], [good, good, good], [good, good, "--tolerance", "x"],
                      [good, good, "--tolerance", "-1"], [good, good, "--unknown"], [good, "/nowhere/x.json"],
                      [WORK.name, good], [good, write("other.json", case(result("weir", size=5)))],
                      [good, write("rivals.json", case(result("raw")))]):
        done = run(*arguments)
        if done.returncode != 2 or not done.stderr or done.stdout:
            failed.append(f"{arguments}: exit {done.returncode}, {done.stdout}{done.stderr}")
    done = run(good, good)
    if done.returncode != 0 or "1 figures: 0 worse, 0 better, 0 unsure, 1 the same" not in done.stdout:
        failed.append(f"the table: {done.returncode} {done.stdout}")
    done = run(good, write("new.json", case(result("weir", msgs_per_s=70e6))))
    if done.returncode != 1 or "worse   throughput 64 B" not in done.stdout or "-30.0 %" not in done.stdout:
        failed.append(f"the table of something worse: {done.returncode} {done.stdout}")
    if run("--help").returncode != 0:
        failed.append("--help")


def main():
    if not os.access(BENCH, os.X_OK):
        print("no weir-bench in this build")
        return 77
    for check in (check_the_rule, check_figures, check_pairing, check_damage, check_command):
        check()
    for line in failed:
        print(line)
    print(f"bench_compare: {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
