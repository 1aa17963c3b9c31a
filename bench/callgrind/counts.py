#!/usr/bin/env python3
"""scripts/callgrind, behind installation and build: counts instructions per message and holds them against what
is stored.

Counts are a function of code, compiler, C library, and the processor that valgrind pretends to be; so they are stored
for each architecture and compiler, and skipped, with the reason, where there are none that fit.
"""
import argparse
import concurrent.futures
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
GROWTH_PERCENT = 3.0
HINT = ("scripts/callgrind --update stores what was counted; commit it with the reason why the path became longer, "
        "or make it short again (callgrind_annotate on the file that --keep DIR leaves shows where)")
HASH_FILES = ("hash_impl.h", "xxhash.h")


# ---- counting ------------------------------------------------------------------------------------

def is_engine(file, function):
    """Not the hash, whose instructions are few long ones or many short ones; not a copy, which callgrind counts by
    the byte; not the program that drives the engine."""
    name = function.lower().lstrip("_")
    return not (name.startswith(("xxh", "memcpy", "memmove", "memset")) or os.path.basename(file) in HASH_FILES
                or "bench/callgrind/" in file)


def parse_callgrind(text):
    """All instructions of a callgrind.out file, and those of them that are the engine's own."""
    names = {}  # "(3)" stands for a name that was written out before

    def name_of(value):
        match = re.match(r"(\(\d+\))(?: (.*))?$", value)
        if not match:
            return value
        if match.group(2) is not None:
            names[match.group(1)] = match.group(2)
        return names.get(match.group(1), value)

    total = engine = 0
    file = function = ""
    is_call = False
    for line in text.splitlines():
        key, is_pair, value = line.partition("=")
        if is_pair and key in ("fl", "fi", "fe"):
            file = name_of(value)
        elif is_pair and key == "fn":
            function = name_of(value)
        elif is_pair and key in ("cfn", "cfi", "cfl"):
            name_of(value)  # it may be the place where the name is written out
        elif line.startswith("calls="):
            is_call = True
        elif re.match(r"[+\-*\d]", line):
            if not is_call:  # the line after calls= is of what was called, counted there
                cost = int(line.split()[1])
                total += cost
                if is_engine(file, function):
                    engine += cost
            is_call = False
    return total, engine


def count(program, case, keep):
    """{"all": instructions a message, "engine": the engine's own}, and the hash's name."""
    with tempfile.TemporaryDirectory() as temp:
        out = Path(temp) / "callgrind.out"
        # The same environment, addresses and name of the program wherever this runs.
        command = ["valgrind", "--tool=callgrind", "--toggle-collect=counted", f"--callgrind-out-file={out}",
                   f"./{program.name}", case]
        if shutil.which("setarch"):
            command = ["setarch", "-R", *command]
        done = subprocess.run(command, cwd=program.parent, env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
                              capture_output=True, text=True, timeout=300)
        said = re.search(r"^messages (\d+) hash (\S+)$", done.stdout, re.M)
        if done.returncode != 0 or not said:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        total, engine = parse_callgrind(out.read_text())
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(out, keep / f"callgrind.out.{case}")
    messages = int(said.group(1))
    return {"all": round(total / messages, 2), "engine": round(engine / messages, 2)}, said.group(2)


def count_all(program, keep):
    """Counts by case, and the hash's name."""
    listed = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout
    cases = [line.split("\t")[0] for line in listed.splitlines()]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda case: count(program, case, keep), cases))
    return {case: counts for case, (counts, _) in zip(cases, found)}, found[0][1]


# ---- what counts depend on -----------------------------------------------------------------------

def describe_build(program):
    """Architecture and compiler, from the program itself."""
    text = subprocess.run(["readelf", "-p", ".comment", program], check=True, capture_output=True, text=True).stdout
    found = re.findall(r"(GCC|clang).*?(\d+)\.\d+\.\d+", text)
    # The C library's own start files say GCC in a clang program as well.
    name, major = next(((name, major) for name, major in found if name == "clang"), found[0])
    return f"{platform.machine()}-{name.lower()}-{major}"


def describe_place(hash_name):
    valgrind = subprocess.run(["valgrind", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    return {"libc": "-".join(platform.libc_ver()), "valgrind": valgrind.removeprefix("valgrind-"), "hash": hash_name}


# ---- judging -------------------------------------------------------------------------------------

def judge(stored, counted):
    """Lines for people, and whether the gate holds."""
    lines, is_good = [f"{'case':16} {'':8} {'stored':>12} {'counted':>12}"], True
    for case in sorted(set(stored) | set(counted), key=list(counted).index if set(stored) <= set(counted) else None):
        if case not in counted or case not in stored:
            lines.append(f"{case:16} {'is not stored' if case not in stored else 'is stored, but there is no such case'}")
            is_good = False
            continue
        for part in ("all", "engine"):
            old, new = stored[case][part], counted[case][part]
            growth = round(100 * (new / old - 1), 6) if old > 0 else 0.0
            verdict = "" if abs(growth) < 0.05 else f"{growth:+.1f} %"
            if growth > GROWTH_PERCENT:
                verdict += f"  MORE THAN {GROWTH_PERCENT:.0f} %"
                is_good = False
            elif growth < -GROWTH_PERCENT:
                verdict += "  shorter: store it with --update"
            lines.append(f"{case:16} {part:8} {old:12.1f} {new:12.1f}  {verdict}".rstrip())
    return lines, is_good


def load_stored(path):
    """(document, None) or (None, why there is none)."""
    try:
        document = json.loads(path.read_text())
        for counts in document["cases"].values():
            if set(counts) != {"all", "engine"} or not all(isinstance(value, (int, float)) for value in counts.values()):
                raise ValueError("'all' and 'engine' are not numbers")
        return {"place": document["place"], "cases": document["cases"]}, None
    except FileNotFoundError:
        return None, f"no counts are stored for this architecture and compiler ({path.name})"
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise SystemExit(f"callgrind: {path}: damaged: {error!r}") from None


def why_not_comparable(stored, place):
    different = [f"{name} {stored.get(name)} there, {value} here" for name, value in place.items()
                 if stored.get(name) != value]
    return f"what is stored was counted with {', '.join(different)}" if different else None


def write(path, place, counted):
    lines = ",\n".join(f'    "{case}": {{"all": {counts["all"]}, "engine": {counts["engine"]}}}'
                       for case, counts in counted.items())
    path.write_text(f'{{\n  "place": {json.dumps(place)},\n  "cases": {{\n{lines}\n  }}\n}}\n')


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/callgrind", description="Counts instructions per message on the hot paths and fails when one is "
        f"more than {GROWTH_PERCENT:.0f} %% above what bench/callgrind/*.json has: 'all' of it, or what is the "
        "engine's own, without the hash and the C library's copying.",
        epilog="Exit code: 0; 1 a path became longer; 2 wrong arguments; 77 nothing to compare with.")
    parser.add_argument("--update", action="store_true", help="store what was counted")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep callgrind's files, for callgrind_annotate")
    parser.add_argument("--program", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--stored", type=Path, default=HERE, help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    counted, hash_name = count_all(arguments.program.resolve(), arguments.keep)
    place = describe_place(hash_name)
    path = arguments.stored / f"{describe_build(arguments.program)}.json"
    if arguments.update:
        write(path, place, counted)
        print(f"callgrind: wrote {path}")
        return 0
    stored, reason = load_stored(path)
    reason = reason or why_not_comparable(stored["place"], place)
    if reason:
        print(f"callgrind: skipped: {reason}; counted were")
        print("\n".join(f"{case:16} {counts['all']:12.1f} {counts['engine']:12.1f}" for case, counts in counted.items()))
        return 77
    lines, is_good = judge(stored["cases"], counted)
    print("\n".join(lines))
    if not is_good:
        print(f"callgrind: a hot path became longer. {HINT}", file=sys.stderr)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
