#!/usr/bin/env python3
"""Folds what "perf script -F comm,tid,ip,sym,dso" prints into a flame graph (SVG) and a table of where time went.

    perf script ... | flame.py --svg FILE [--title TEXT] [--top N]

A flame graph stacks callees on callers; the width of a frame is its share of the samples, the order from left to right
means nothing. Hover over a frame to read its name and its share.
"""
import argparse
import collections
import re
import sys
from html import escape

# A symbol may have brackets itself; what it is in is a path or begins with a bracket: "[kernel.kallsyms]".
FRAME = re.compile(r"^\s+([0-9a-f]+)\s+(.*)\s+\(([/\[].*)\)\s*$")
WIDTH, ROW, MARGIN, LEAST = 1400, 17, 12, 0.4  # pixels; narrower frames are left out
CHARACTER = 6.6  # pixels of one, at the font below
COLORS = {"engine": "#e4572e", "bench": "#f3a712", "kernel": "#76b041", "library": "#4e9fd1", "thread": "#bbbbbb",
          "unknown": "#dddddd"}
# What a function that was found at the top of a stack is for, whoever's it is: the first that matches.
PARTS = (
    ("kernel's copy", re.compile(r"_?copy_(from|to)_iter|rep_movs_alternative|copy_user\w*|__arch_copy\w*")),
    ("hash", re.compile(r"XXH3?_\w+|weir_hash_\w+|xxh3\w*")),
    ("copies", re.compile(r"_*mem(cpy|move)\w*|weir_sendq_copy")),
    ("looking for events", re.compile(r"(__vdso_)?clock_gettime|weir_uring_(enter|clock)|(__)?io_uring_peek\w*")),
)
REST = {"kernel": "rest of the kernel", "engine": "rest of weir", "bench": "weir-bench", "library": "libraries"}
GROUP_TEXTS = {"engine": "weir", "bench": "weir-bench and rivals", "kernel": "kernel", "library": "libraries"}


def part_of(name, group):
    """Which part of the work a function is."""
    return next((part for part, pattern in PARTS if pattern.fullmatch(bare(name))), REST.get(group, group))


# ---- reading -------------------------------------------------------------------------------------

def bare(symbol):
    """Without what compilers put behind a name: .constprop.0, .isra.0, .part.0, .cold."""
    return symbol.split(".", 1)[0] if not symbol.startswith(".") else symbol


def group_of(symbol, dso, engine):
    """Whose code a frame is; `engine` has the names of libweir, static ones too."""
    if dso.startswith("[kernel") or dso.endswith(".ko") or dso in ("[guest.kernel.kallsyms]", "[k]"):
        return "kernel"
    if symbol == "[unknown]" and dso == "[unknown]":
        return "unknown"
    if dso.endswith(".so") or ".so." in dso or dso == "[vdso]":
        return "engine" if "libweir" in dso else "library"
    return "engine" if bare(symbol) in engine else "bench"


def read_samples(lines, engine=frozenset()):
    """Yields each sample as its frames, outermost first: (name, group); the thread's name is the first."""
    frames, thread = [], None
    for line in lines:
        line = line.rstrip("\n")
        match = FRAME.match(line)
        if match:
            symbol, dso = match.group(2), match.group(3)
            name = symbol if symbol != "[unknown]" else f"[{dso.rsplit('/', 1)[-1].strip('[]')}]"
            frames.append((name, group_of(symbol, dso, engine)))
        elif line.strip() == "":
            if thread is not None:
                yield [(thread, "thread"), *reversed(frames)]
            frames, thread = [], None
        else:
            thread = re.sub(r"\s+\d+(/\d+)?\s*:?\s*$", "", line.strip())  # "weir-sender  4711"
    if thread is not None:
        yield [(thread, "thread"), *reversed(frames)]


class Node:
    def __init__(self, name, group):
        self.name, self.group, self.samples, self.children = name, group, 0, {}

    def add(self, frames):
        """All of a sample's frames below this one."""
        node = self
        node.samples += 1
        for name, group in frames:
            node = node.children.setdefault((name, group), Node(name, group))
            node.samples += 1

    def depth(self):
        """Rows above this one, without recursion: stacks may be deep."""
        deepest, level = 0, [self]
        while level := [child for node in level for child in node.children.values()]:
            deepest += 1
        return deepest


# ---- drawing -------------------------------------------------------------------------------------

def percent(part, whole):
    return f"{100 * part / whole:.2f} %"


def draw_frame(node, x, width, y, total):
    title = escape(f"{node.name} — {node.samples} samples, {percent(node.samples, total)}")
    room = int((width - 6) / CHARACTER)
    text = node.name if len(node.name) <= room else node.name[:room - 2] + ".." if room > 4 else ""
    yield f'<g><title>{title}</title><rect x="{x:.1f}" y="{y}" width="{max(width - 0.5, 0.1):.1f}" height="{ROW - 1}" ' \
          f'fill="{COLORS[node.group]}"/>'
    if text:
        yield f'<text x="{x + 3:.1f}" y="{y + ROW - 5}">{escape(text)}</text>'
    yield "</g>"


def draw(root, title):
    """The lines of the SVG: the outermost frame at the bottom."""
    top = 3 * ROW
    height = top + (root.depth() + 1) * ROW + MARGIN
    scale = (WIDTH - 2 * MARGIN) / max(1, root.samples)
    yield f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" ' \
          'font-family="monospace" font-size="11">'
    yield f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    yield f'<text x="{MARGIN}" y="{ROW}" font-size="14">{escape(title)} ({root.samples} samples)</text>'
    for place, (group, text) in enumerate(GROUP_TEXTS.items()):
        yield f'<rect x="{MARGIN + 190 * place}" y="{ROW + 8}" width="11" height="11" fill="{COLORS[group]}"/>'
        yield f'<text x="{MARGIN + 190 * place + 16}" y="{2 * ROW + 1}">{text}</text>'
    waiting = [(root, MARGIN, 0)]
    while waiting:
        node, x, level = waiting.pop()
        width = node.samples * scale
        if width < LEAST:
            continue
        yield from draw_frame(node, x, width, height - MARGIN - (level + 1) * ROW, root.samples)
        for child in sorted(node.children.values(), key=lambda child: child.name):
            waiting.append((child, x, level + 1))
            x += child.samples * scale
    yield "</svg>"


# ---- the table -----------------------------------------------------------------------------------

def count_top(samples):
    """By thread: samples in all, by whose code ran, by part, and in each function itself and below it."""
    threads = {}
    for frames in samples:
        total, groups, parts, own, below = threads.setdefault(
            frames[0][0], ([0], *(collections.Counter() for _ in range(4))))
        total[0] += 1
        name, group = frames[-1]
        groups[group] += 1
        parts[part_of(name, group)] += 1
        own[name] += 1
        below.update({name for name, _ in frames[1:]})  # a function that calls itself counts once
    return threads


def table(threads, top):
    for thread, (total, groups, parts, own, below) in sorted(threads.items(), key=lambda item: -item[1][0][0]):
        shares = ", ".join(f"{GROUP_TEXTS.get(group, group)} {percent(cnt, total[0])}"
                           for group, cnt in groups.most_common())
        yield f"{thread}: {total[0]} samples: {shares}"
        yield "  parts: " + ", ".join(f"{part} {percent(cnt, total[0])}" for part, cnt in parts.most_common())
        yield f"  {'self':>8} {'with callees':>12}  function"
        for name, cnt in own.most_common(top):
            yield f"  {percent(cnt, total[0]):>8} {percent(below.get(name, cnt), total[0]):>12}  {name}"
        yield ""


def main():
    parser = argparse.ArgumentParser(description="A flame graph and a table from the output of perf script.")
    parser.add_argument("--svg", required=True)
    parser.add_argument("--title", default="weir")
    parser.add_argument("--top", type=int, default=12)
    parser.add_argument("--thread", default="", help="only threads whose names contain this")
    parser.add_argument("--engine", metavar="FILE", help="names of the engine's functions, a line each")
    arguments = parser.parse_args()
    engine = set()
    if arguments.engine:
        with open(arguments.engine) as file:
            engine = {bare(line.strip()) for line in file}
    samples = [frames for frames in read_samples(sys.stdin, engine) if arguments.thread in frames[0][0]]
    if not samples:
        print("profile: there is no sample in what perf recorded", file=sys.stderr)
        return 1
    root = Node("all", "thread")
    for frames in samples:
        root.add(frames)
    with open(arguments.svg, "w") as file:
        file.write("\n".join(draw(root, arguments.title)) + "\n")
    print("\n".join(table(count_top(samples), arguments.top)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
