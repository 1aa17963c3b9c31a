#!/usr/bin/env python3
"""tests/fuzz/mutants.py [--check | TARGET...]: is each fuzz target able to fail?

Plants each fault of mutants.txt (or those of the targets that are named) in a copy of the sources below
build-fuzz/mutants, builds the target and lets it look for the fault: in its kept inputs, then for MUTANT_SECONDS
(60). Ends with 1 if one is not found, or if its text is not there any more.

--check plants nothing and builds nothing: it says whether each fault could be planted, because its text occurs once in
its file, and whether each target has one. Ordinary tests run that, so that who changes such a line hears of it.
"""

import os
import shutil
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
COPY = os.path.join(ROOT, "build-fuzz", "mutants")
SECONDS = os.environ.get("MUTANT_SECONDS", "60")
FOLDERS = ["engine", "proto", "include", "tools", "tests", "cmake", "CMakeLists.txt", "CMakePresets.json"]


def mutants():
    """Yields target, file, old text, new text."""
    with open(os.path.join(ROOT, "tests/fuzz/mutants.txt"), encoding="utf-8") as file:
        blocks = file.read().split("\n\n")
    for block in blocks:
        lines = [line for line in block.split("\n") if line and not line.startswith("#")]
        if not lines:
            continue
        target, path = lines[0].split()
        old = "\n".join(line[2:] for line in lines[1:] if line.startswith("-"))
        new = "\n".join(line[2:] for line in lines[1:] if line.startswith("+"))
        yield target, path, old, new


def label(target, path, old):
    return f"{target}: {path}: {old.splitlines()[0].strip()[:60] if old else '(nothing)'}"


def check():
    """Says what of the list could not be planted."""
    faults = []
    missing = {name[5:-2] for name in os.listdir(os.path.join(ROOT, "tests/fuzz"))
               if name.startswith("fuzz_") and name.endswith(".c")}
    targets = set(missing)
    for target, path, old, new in mutants():
        missing.discard(target)
        try:
            with open(os.path.join(ROOT, path), encoding="utf-8") as file:
                count = file.read().count(old) if old else 0
        except OSError as error:
            faults.append(f"{label(target, path, old)}: {error.strerror}")
            continue
        if target not in targets:
            faults.append(f"{label(target, path, old)}: there is no such target")
        elif count != 1:
            faults.append(f"{label(target, path, old)}: its text occurs {count} times")
        elif old == new:
            faults.append(f"{label(target, path, old)}: it changes nothing")
    faults += [f"{target}: no fault is planted for it" for target in sorted(missing)]
    for fault in faults:
        print("mutants.txt:", fault)
    sys.exit(1 if faults else 0)


def copy_sources():
    os.makedirs(COPY, exist_ok=True)
    subprocess.run(["rsync", "-a", "--delete", "--exclude=build*"] + FOLDERS + [COPY], cwd=ROOT, check=True) \
        if shutil.which("rsync") else plain_copy()


def plain_copy():
    """As rsync would: a file that is the same keeps its time, so that nothing is built twice."""
    for name in FOLDERS:
        top = os.path.join(ROOT, name)
        files = [top] if os.path.isfile(top) else [
            os.path.join(folder, file) for folder, _, names in os.walk(top) for file in names]
        for source in files:
            target = os.path.join(COPY, os.path.relpath(source, ROOT))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(source, "rb") as file:
                data = file.read()
            if os.path.exists(target):
                with open(target, "rb") as file:
                    if file.read() == data:
                        continue
            with open(target, "wb") as file:
                file.write(data)


def build(target):
    made = subprocess.run(["cmake", "--build", "build-fuzz", "--target", f"fuzz.fuzz_{target}"], cwd=COPY,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if made.returncode:
        print(made.stdout[-3000:])
        sys.exit("mutants: a planted fault does not build")


def is_found(target):
    """The kept inputs, then a search."""
    program = os.path.join(COPY, "build-fuzz/tests/fuzz", f"fuzz_{target}")
    corpus = os.path.join(COPY, "tests/fuzz/corpus", target)
    for more in (["-runs=0"], [f"-max_total_time={SECONDS}"]):
        work = os.path.join(COPY, "work")
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(work)
        ran = subprocess.run([program, "-timeout=20", "-rss_limit_mb=4096", f"-artifact_prefix={work}/"] + more
                             + [work, corpus], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if ran.returncode:
            lines = ran.stderr.decode(errors="replace").split("\n")
            why = [line for line in lines if "does not hold" in line or "ERROR: " in line or "CHECK" in line]
            return ("kept inputs" if more[0] == "-runs=0" else "search"), (why or ["it ended"])[0].strip()
    return None


def main():
    wanted = sys.argv[1:]
    if wanted == ["--check"]:
        check()
    copy_sources()
    if not os.path.exists(os.path.join(COPY, "build-fuzz", "build.ninja")):
        subprocess.run(["cmake", "--preset", "fuzz"], cwd=COPY, check=True, stdout=subprocess.DEVNULL)
    failures = 0
    count = 0
    for target, path, old, new in mutants():
        if wanted and target not in wanted:
            continue
        count += 1
        name = os.path.join(COPY, path)
        with open(name, encoding="utf-8") as file:
            text = file.read()
        what = label(target, path, old)
        if text.count(old) != 1:
            print(f"STALE  {what}: occurs {text.count(old)} times")
            failures += 1
            continue
        try:
            with open(name, "w", encoding="utf-8") as file:
                file.write(text.replace(old, new))
            build(target)
            found = is_found(target)
        finally:
            with open(name, "w", encoding="utf-8") as file:
                file.write(text)
        if found:
            print(f"found  {what}\n       by its {found[0]}: {found[1][:110]}", flush=True)
        else:
            print(f"MISSED {what}", flush=True)
            failures += 1
    print(f"mutants: {count - failures} of {count} found")
    sys.exit(failures != 0)


main()
