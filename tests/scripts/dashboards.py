#!/usr/bin/env python3
"""The Grafana dashboard and the alert rules: each series, label and reason that they name exists, counters are only looked at
through rate(), and promtool (Debian's package prometheus, where it is installed) can read the rules.

What exists is the table of docs/metrics.md, which tool_metrics.py compares with what a node serves."""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

SRC = Path(os.environ["WEIR_SRC_DIR"])
RULES = SRC / "tools/prometheus/weir-rules.yml"
DASHBOARD = SRC / "tools/grafana/weir.json"
OF_PROMETHEUS = {"job", "instance"}


def known_series():
    """name as it is asked for -> (type, labels)."""
    found = {}
    rows = re.findall(r"^\| `(weir_\w+)` \| (\w+) \| ([^|]+) \|", (SRC / "docs/metrics.md").read_text(), re.M)
    for name, kind, labels in rows:
        has = set(re.findall(r"`(\w+)`", labels))
        if kind == "histogram":
            found[name + "_bucket"] = ("counter", has)
            found[name + "_sum"] = found[name + "_count"] = ("counter", has - {"le"})
        else:
            found[name] = (kind, has)
    return found


def known_reasons():
    return set(re.findall(r'\[WEIR_R_\w+\] = \{"([a-z0-9-]+)"', (SRC / "engine/node/error.c").read_text()))


def faults_of(expression, series, reasons):
    """What is wrong with an expression of PromQL, as far as names go."""
    faults = []
    for match in re.finditer(r"\bweir_\w+", re.sub(r'"[^"]*"', lambda text: '"' + "x" * (len(text[0]) - 2) + '"', expression)):
        name = match[0]
        if name not in series:
            faults.append(f"there is no series {name}")
            continue
        kind, labels = series[name]
        is_rate = expression[: match.start()].endswith(("rate(", "increase("))
        if (kind == "counter") != is_rate:
            faults.append(f"{name} is a {kind}, and {'is' if is_rate else 'not'} in rate()")
        selector = re.match(r"\{([^}]*)\}", expression[match.end():])
        for label, value in re.findall(r'(\w+)\s*=?[=!]?~?\s*"([^"]*)"', selector[1] if selector else ""):
            if label not in labels | OF_PROMETHEUS:
                faults.append(f"{name} has no label {label}")
            if label == "reason":
                faults += [f"there is no reason {word}" for word in value.split("|") if word not in reasons]
    all_labels = set().union(*[series[name][1] for name in re.findall(r"\bweir_\w+", expression) if name in series])
    for group in re.findall(r"\b(?:by|on|without) \(([^)]*)\)", expression):
        for label in re.split(r",\s*", group):
            if label not in all_labels | OF_PROMETHEUS:
                faults.append(f"nothing in it has the label {label}")
    if not re.search(r"\bweir_\w+", expression):
        faults.append("it names no series")
    return faults


def expressions():
    """(where, expression) of both files."""
    dashboard = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids), "two panels have one id"
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield f"panel '{panel['title']}'", target["expr"]
    text = RULES.read_text()
    rules = re.findall(r"- alert: (\w+)\n\s+expr: (.*)\n", text)
    assert len(rules) == text.count("- alert:") >= 10, "a rule is not on the lines that this test reads"
    for name, expression in rules:
        yield f"alert {name}", expression


def check_faults_are_found(series, reasons):
    for wrong in ("weir_nothing", "weir_turns_total", "rate(weir_peers[1m])", 'weir_peers{color="x"}', "sum by (reason) (weir_peers)",
                  'rate(weir_closes_total{reason=~"idle|bored"}[1m])', "up"):
        assert faults_of(wrong, series, reasons), f"nothing was found wrong with {wrong}"


def main():
    series, reasons = known_series(), known_reasons()
    assert len(series) >= 40 and len(reasons) >= 20, (len(series), len(reasons))
    check_faults_are_found(series, reasons)
    cnt = 0
    for where, expression in expressions():
        faults = faults_of(expression, series, reasons)
        assert not faults, f"{where}: {expression}: {faults}"
        cnt += 1
    print(f"{cnt} expressions name what exists")
    promtool = shutil.which("promtool")
    if promtool:
        done = subprocess.run([promtool, "check", "rules", RULES], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        print("promtool reads the rules")
    return 0


if __name__ == "__main__":
    sys.exit(main())
