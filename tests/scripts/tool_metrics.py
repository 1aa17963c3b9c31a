#!/usr/bin/env python3
"""What `weir node --metrics` serves, and reactors add: strictly parsed, the same as docs/metrics.md says, liked by promtool.

promtool is Debian's package prometheus; without it only that part is left out. With --list the table of the page is
printed: what stands between its two marks is that output.
"""
import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

SRC = Path(os.environ["WEIR_SRC_DIR"])
WEIR = Path(os.environ["WEIR_BIN_DIR"]) / "weir"
MESH = Path(os.environ["WEIR_BUILD_DIR"]) / "examples" / "mesh"
OF_REACTORS = ("weir_gossip_", "weir_request_", "weir_discovery_")
OF_PEER = "weir_peer_rtt_seconds"  # a series that only peers have
PAGE = SRC / "docs" / "metrics.md"
NAME = r"weir_[a-z0-9_]+"
LABEL = r'[a-z]+="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? ([0-9]+(?:\.[0-9]+)?)\Z")


def start(*args, **kwargs):
    """Starts a process that ends with this one, however this one does: who waits for our output waits for its as well."""
    process = subprocess.Popen(args, **kwargs)
    atexit.register(process.kill)
    return process


class Node:
    """A `weir node` that has said where it listens and where its metrics are."""

    def __init__(self, *args):
        self.process = start(WEIR, "node", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", *args,
                             stdout=subprocess.PIPE, text=True)
        self.address = self.line("listening at ")
        self.url = self.line("metrics at ")

    def line(self, start):
        for line in self.process.stdout:
            if line.startswith(start):
                return line[len(start):].strip()
        raise SystemExit(f"FAIL: the node never said '{start}'")

    def scrape(self):
        with urllib.request.urlopen(self.url, timeout=30) as answer:
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            return answer.read().decode("ascii")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0, self.process.returncode


def parse(text):
    """Families in order: name -> (type, help, [(sample name, labels, value)]). Asserts the format's rules."""
    assert text.endswith("\n")
    families, name = {}, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, words = line[7:].split(" ", 1)
            assert name not in families and re.fullmatch(NAME, name), line
            families[name] = [None, words, []]
        elif line.startswith("# TYPE "):
            of, kind = line[7:].split(" ")
            assert of == name and families[name][0] is None, line
            assert kind in ("counter", "gauge", "histogram"), line
            families[name][0] = kind
        else:
            match = SAMPLE.match(line)
            assert match, f"not a sample: {line}"
            kind = families[name][0]
            ends = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            assert match[1] in [name + end for end in ends], line
            assert (kind == "counter") == name.endswith("_total"), line
            labels = dict(re.findall(r'([a-z]+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
            families[name][2].append((match[1], labels, float(match[3])))
    for name, (kind, _, samples) in families.items():
        assert kind and samples, name
        keys = [(sample, tuple(sorted(labels.items()))) for sample, labels, _ in samples]
        assert len(set(keys)) == len(keys), f"{name}: twice the same"
        if kind == "histogram":
            counts = [value for sample, _, value in samples if sample.endswith("_bucket")]
            assert counts == sorted(counts) and counts[-1] == samples[-1][2], name
    return families


def table(families):
    """The rows of docs/metrics.md."""
    rows = []
    for name, (kind, words, samples) in families.items():
        labels = ", ".join(f"`{label}`" for label in samples[0][1]) or "–"
        rows.append(f"| `{name}` | {kind} | {labels} | {words} |")
    return rows


def of_reactors():
    """What a node with gossip, requests and discovery has besides, and its whole text: the example prints it. None without examples."""
    if not MESH.exists():
        print("this build has no examples: the series of gossip, requests and discovery are not looked at")
        return {}, None
    done = subprocess.run([MESH, "nodes=3", "metrics=1"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout[done.stdout.index("# HELP "):]
    assert 'mesh_messages_total{kind="greeting"} 2\n' in text, "the example's own series"
    own = "".join(line + "\n" for line in text.splitlines() if "mesh_messages_total" not in line)
    return {name: family for name, family in parse(own).items() if name.startswith(OF_REACTORS)}, text


def check_page(families):
    text = PAGE.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `weir_")]
    if not MESH.exists():
        rows = [row for row in rows if not row.startswith(tuple("| `" + start for start in OF_REACTORS))]
    want = table(families)
    for row in want:
        assert row in rows, f"docs/metrics.md lacks: {row}"
    for row in rows:
        assert row in want, f"docs/metrics.md has what is not served: {row}"
    print(f"{len(rows)} series, all in docs/metrics.md")


def check_promtool(text):
    promtool = shutil.which("promtool")
    if not promtool:
        print("promtool is not installed (package prometheus): not asked")
        return
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stdout and not done.stderr, done.stdout + done.stderr
    print("promtool has no complaint")


def value(families, name, **labels):
    return sum(value for _, has, value in families[name][2] if labels.items() <= has.items())


def main():
    if subprocess.run([WEIR, "doctor"], stdout=subprocess.DEVNULL).returncode != 0:
        print("weir cannot run here")
        return 77
    node = Node("--quiet", "--shards", "2", "--metrics-peers", "8", "--channel", "id=1,name=lines")
    with tempfile.TemporaryDirectory() as work:
        peer = start(WEIR, "node", "--peer", node.address, "--quiet", "--channel", "id=1",
                     stdout=open(Path(work) / "peer", "w"))
        until = time.monotonic() + 60
        # It is counted a moment before it has series of its own, and for one after it has none.
        while OF_PEER not in (families := parse(text := node.scrape())) or value(families, "weir_peers") < 1:
            assert time.monotonic() < until, "no peer came"
            time.sleep(0.05)
        reactors, mesh_text = of_reactors()
        families |= reactors
        if "--list" in sys.argv:
            print("\n".join(table(families)))
        else:
            assert len(families) >= 40, len(families)
            check_page(families)
            check_promtool(text)
            if mesh_text:
                check_promtool(mesh_text)
            for request in (urllib.request.Request(node.url, method="POST", data=b"x"),
                            urllib.request.Request(node.url + "/other")):
                try:
                    urllib.request.urlopen(request, timeout=30)
                    raise SystemExit("FAIL: served")
                except urllib.error.HTTPError as error:
                    assert error.code in (404, 405), error
            before = parse(node.scrape())
            peer.send_signal(signal.SIGTERM)
            peer.wait(60)
            while value(after := parse(node.scrape()), "weir_peers") > 0 or OF_PEER in after:
                assert time.monotonic() < until, "the peer does not go"
            assert value(after, "weir_closes_total", reason="shutdown") == 1
            for name, (kind, _, samples) in before.items():
                if kind == "counter" and name in after:
                    for k, sample in enumerate(samples):
                        assert after[name][2][k][2] >= sample[2], f"{name} fell"
        peer.kill()
        peer.wait(60)
    node.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
