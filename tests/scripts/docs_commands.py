#!/usr/bin/env python3
"""Runs what README.md and docs/*.md tell a reader to type.

Every line of a fenced ``sh`` block is run with the build's programs in PATH and must exit 0; README's C
program is compiled against the built library and must start and end. `scripts/run`, `scripts/test` (which runs this)
and the scripts of docs/bench.md and docs/profiling.md are only checked to exist: they are `weir demo`, ctest, bench/suite
(bench_suite.py), perf and valgrind behind an installation or a build.
"""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SRC = Path(os.environ["WEIR_SRC_DIR"])
BIN = Path(os.environ["WEIR_BIN_DIR"])
BUILD = Path(os.environ["WEIR_BUILD_DIR"])
TIMEOUT_S = 120


def blocks(path, language):
    return re.findall(r"^```" + language + r"\n(.*?)^```", path.read_text(), re.M | re.S)


def run_commands(env):
    failed = 0
    ran = 0
    with tempfile.TemporaryDirectory() as work:
        for page in [SRC / "README.md", *sorted((SRC / "docs").glob("*.md"))]:
            for line in "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines():
                if not line.strip() or line.startswith("#"):
                    continue
                ran += 1
                done = subprocess.run(["bash", "-c", line], cwd=work, env=env, timeout=TIMEOUT_S,
                                      stdin=subprocess.DEVNULL, capture_output=True, text=True)
                if done.returncode != 0:
                    failed += 1
                    print(f"{page.name}: {line}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    print(f"{ran} commands, {failed} failed")
    return failed == 0 and ran > 0


def run_readme_program(env):
    program = blocks(SRC / "README.md", "c")[0].replace("127.0.0.1:7711", "127.0.0.1:0")
    lib = next(BUILD.rglob("libweir.so"))
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "echo.c").write_text(program)
        subprocess.run(["cc", "-std=c17", "-Wall", "-Wextra", "-Werror", f"-I{SRC}/include", "echo.c",
                        "-o", "echo", str(lib), f"-Wl,-rpath,{lib.parent}"], cwd=work, check=True)
        done = subprocess.run(["./echo"], cwd=work, env=env, stdin=subprocess.DEVNULL, timeout=30)
        print(f"README's program: exit {done.returncode}")
        return done.returncode == 0


def main():
    env = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}")
    for script in ("run", "test", "bench", "profile", "callgrind"):
        if not os.access(SRC / "scripts" / script, os.X_OK):
            print(f"scripts/{script} is missing")
            return 1
    is_sanitized = "san" in BUILD.name  # the small program would need the sanitizer's flags
    ok = run_commands(env)
    return 0 if (is_sanitized or run_readme_program(env)) and ok else 1


if __name__ == "__main__":
    sys.exit(main())
