#!/usr/bin/env python3
"""scripts/bench, behind installation and build: runs all of weir-bench and writes one document about it."""
import argparse
import datetime
import json
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import goals
import load
import plan
import table

SCHEMA = 1
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = 3  # weir-bench's exit code for "this machine refuses what is needed"


def say(text):
    print(text, file=sys.stderr, flush=True)


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


# ---- the host ------------------------------------------------------------------------------------

def read(path, default=""):
    try:
        return Path(path).read_text().strip()
    except OSError:
        return default


def describe_host():
    system = re.search(r'^PRETTY_NAME="?([^"\n]*)', read("/etc/os-release"), re.M)
    memory = re.search(r"^MemTotal: *(\d+) kB", read("/proc/meminfo"), re.M)
    product = read("/sys/class/dmi/id/product_name")
    is_virtual = re.search(r"^flags\s*:.*\bhypervisor\b", read("/proc/cpuinfo"), re.M) is not None
    memlock = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return {
        "name": platform.node(),
        "system": system.group(1) if system else "unknown",
        "memory_bytes": int(memory.group(1)) * 1024 if memory else 0,
        "virtualization": (f"virtual machine ({product})" if product else "virtual machine") if is_virtual else None,
        "congestion_available": read("/proc/sys/net/ipv4/tcp_available_congestion_control").split(),
        "memlock_bytes": None if memlock == resource.RLIM_INFINITY else memlock,
    }


# ---- one call ------------------------------------------------------------------------------------

def read_histogram(path):
    """[share, nanoseconds] of each line of an exported histogram."""
    rows = (line.split() for line in path.read_text().splitlines()[1:] if line and not line.startswith("#"))
    return [[float(row[1]), float(row[0])] for row in rows]


def histograms_of(folder, report):
    """The exported files, matched with the results that they are of."""
    found = []
    for result in report["results"]:
        counts = [str(result[axis]) for axis in table.AXES if axis in result]
        name = "-".join([report["case"], str(result["size"]), *counts, result["impl"]])
        for suffix, from_call in (("", False), ("-from-call", True)):
            path = folder / f"{name}{suffix}.hgrm"
            if path.exists():
                found.append({"case": report["case"], "impl": result["impl"], "size": result["size"],
                              "variant": " ".join([table.variant(report), *counts]).strip(), "from_call": from_call,
                              "points": read_histogram(path)})
    return found


def run_call(bench, call, limit_s, keep):
    """Runs weir-bench and sleeps meanwhile. Returns exit code, output, errors and CPU seconds used."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen([bench, *call, "--json", "--histogram", str(keep)], stdin=subprocess.DEVNULL,
                                 stdout=out, stderr=errors)
        # A timer and not polling: a process that wakes up beside the benchmark would be measured too.
        signal.signal(signal.SIGALRM, lambda *_: child.kill())
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except KeyboardInterrupt:
            child.kill()
            os.wait4(child.pid, 0)
            raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        return child.returncode, out.read(), errors.read(), usage.ru_utime + usage.ru_stime


def measure(bench, call, limit_s, document, keep):
    """Adds what a call found, or why it failed, to the document."""
    with tempfile.TemporaryDirectory() as temp:
        folder = Path(temp)
        watch = load.Watch()
        code, out, errors, own_s = run_call(bench, call, limit_s, folder)
        try:
            report = json.loads(out) if out.strip() else None
        except ValueError:
            report, errors = None, f"its output is no JSON; {errors}"
        if code != 0 or report is None:
            text = errors.strip() or ("took longer than expected" if code < 0 else "no output")
            document["failures"].append({"arguments": call, "exit_code": code, "text": text[-2000:]})
            say(f"  failed, exit {code}: {text.splitlines()[-1]}")
            return code
        report["other_load"] = watch.done(own_s, report["results"])
        report["arguments"] = call
        document["cases"].append(report)
        document["histograms"] += histograms_of(folder, report)
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("*.hgrm"):
                path.replace(keep / path.name.replace(".hgrm", f"{'-busy' if report['inputs']['busy'] else ''}.hgrm"))
        if report["other_load"]["is_disturbed"]:
            say(f"  disturbed: others used {report['other_load']['other_cpu_percent']} % of a core, "
                f"steal {report['other_load']['steal_percent']} %")
        return 0


# ---- all of them ---------------------------------------------------------------------------------

def write_text(path, text):
    """The whole file or none of it."""
    temp = path.with_name(path.name + ".new")
    temp.write_text(text)
    temp.replace(path)


def choose_base(out):
    """DIR/<date>-<machine>, and -2, -3 ... behind it on the same day."""
    machine = re.sub(r"[^A-Za-z0-9.-]+", "-", platform.node()) or "machine"
    base = f"{datetime.date.today()}-{machine}"
    names = [base] + [f"{base}-{number}" for number in range(2, 1000)]
    return out / next(name for name in names if not (out / f"{name}.json").exists())


def finish(document, base):
    document["goals"] = goals.judge(document)
    document["finished"] = now()
    write_text(base.with_name(base.name + ".json"), json.dumps(document, indent=1) + "\n")


def render(document, base):
    """Plots and the Markdown table, from the document alone."""
    plots = []
    try:
        import plots as drawing
        plots = [(f"{base.name}/{name}", title) for name, title in drawing.draw(document, base)]
    except ImportError as error:
        say(f"bench: no plots: {error} (python3-matplotlib)")
    write_text(base.with_name(base.name + ".md"), table.render(document, base.name, plots))
    say(f"bench: {base}.json, {base}.md and {2 * len(plots)} plots in {base}/")


def progress(number, calls, listed, started):
    left = sum(plan.estimate_s(listed, call) for call in calls[number:])
    say(f"bench: {number + 1} of {len(calls)}: {' '.join(calls[number])}  "
        f"[{time.monotonic() - started:.0f} s, about {left:.0f} s left]")


def run_suite(arguments, listed):
    calls = plan.plan(listed, arguments.mode, arguments.cases, arguments.against, arguments.seconds, arguments.repeat)
    arguments.out.mkdir(parents=True, exist_ok=True)
    base = choose_base(arguments.out)
    say("bench: looking for other load")
    document = {"schema": SCHEMA, "kind": "suite", "mode": arguments.mode, "started": now(), "finished": now(),
                "host": describe_host(), "load_before": load.look_around(), "cases": [], "failures": [], "goals": [],
                "histograms": []}
    before = document["load_before"]
    if before["busy_percent"] > load.BUSY_PERCENT or before["steal_percent"] > load.STEAL_PERCENT:
        say(f"bench: this machine is not idle ({before['busy_percent']} % of a core, steal {before['steal_percent']} %"
            f"{': ' + ', '.join(before['busiest']) if before['busiest'] else ''}): figures will be worse and wider")
    started, worst = time.monotonic(), 0
    try:
        for number, call in enumerate(calls):
            progress(number, calls, listed, started)
            limit_s = 60 + 5 * plan.estimate_s(listed, call)
            code = measure(arguments.bench, call, limit_s, document, base)
            worst = max(worst, 0 if code == ENVIRONMENT else abs(code))
            finish(document, base)  # what is there survives whatever happens next
    except KeyboardInterrupt:
        say("bench: interrupted; what was measured is written")
        document["failures"].append({"arguments": [], "exit_code": 130, "text": "interrupted"})
        finish(document, base)
        worst = 130
    render(document, base)
    print(table.render({**document, "cases": []}, base.name, []) if not document["cases"] else
          "\n".join(table.goal_lines(document)))
    return 1 if worst == 0 and not document["cases"] else min(worst, 130)


# ---- the command line ----------------------------------------------------------------------------

def word_list(text):
    return text.split(",")


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measures weir beside everything that weir-bench knows, in one interleaved "
        "run, and writes DIR/<date>-<machine>.json, .md and plots. docs/bench.md says what the figures mean.",
        epilog="Exit code: 0; 1 a run failed (the rest is written); 2 wrong arguments.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", dest="mode", action="store_const", const="quick",
                      help="under 3 minutes: short runs, 3 of each, rivals raw, spin and uring")
    mode.add_argument("--full", dest="mode", action="store_const", const="full",
                      help="every rival, longer runs, the system's congestion control as well; about an hour")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results", metavar="DIR",
                        help="default: bench/results")
    parser.add_argument("--cases", type=word_list, metavar="LIST", help="only these cases")
    parser.add_argument("--against", type=word_list, metavar="LIST", help="only these rivals, or none")
    parser.add_argument("--seconds", metavar="S", help="of every run")
    parser.add_argument("--repeat", metavar="N", help="runs of each implementation")
    parser.add_argument("--render", type=Path, metavar="FILE.json", help="only draw an earlier document again")
    parser.add_argument("--bench", default=str(ROOT / "build" / "bin" / "weir-bench"), help=argparse.SUPPRESS)
    parser.set_defaults(mode="default")
    return parser.parse_args()


def list_bench(bench):
    return json.loads(subprocess.run([bench, "--list", "--json"], check=True, capture_output=True, text=True).stdout)


def check_names(arguments, listed):
    """What was named must exist; returns what does not."""
    known_cases = [case["name"] for case in listed["cases"]]
    known_impls = [impl["name"] for impl in listed["implementations"]] + ["none"]
    return [name for name in arguments.cases or [] if name not in known_cases] + \
           [name for name in arguments.against or [] if name not in known_impls]


def main():
    arguments = parse()
    if arguments.render is not None:
        try:
            document = json.loads(arguments.render.read_text())
        except (OSError, ValueError) as error:
            say(f"bench: {arguments.render}: {error}")
            return 2
        if not isinstance(document, dict) or (document.get("schema"), document.get("kind")) != (SCHEMA, "suite"):
            say(f"bench: {arguments.render} is no document of scripts/bench (schema {SCHEMA}, kind suite)")
            return 2
        render(document, arguments.render.with_suffix(""))
        return 0
    try:
        listed = list_bench(arguments.bench)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        say(f"bench: {arguments.bench}: {error}")
        return 1
    unknown = check_names(arguments, listed)
    if unknown:
        say(f"bench: there is no {' and no '.join(unknown)} (see weir-bench --list)")
        return 2
    return run_suite(arguments, listed)


if __name__ == "__main__":
    sys.exit(main())
