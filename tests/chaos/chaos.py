"""What the chaos tests share: processes that are read, watched and always ended.

Each test_*.py runs by itself (`python3 tests/chaos/test_mesh.py --seconds 60 --seed 7`), with the programs
of build/ unless WEIR_BUILD_DIR says otherwise, and prints its seed first.
"""
import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

SOURCE = os.environ.get("WEIR_SRC_DIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("WEIR_BUILD_DIR") or os.path.join(SOURCE, "build")
PATIENCE = 60.0  # seconds for what must happen; nothing here counts on how soon it does
SKIPPED = 77


class Failed(Exception):
    pass


def program(name):
    path = os.path.join(BUILD, "tests", "chaos", name)
    if not os.path.exists(path):
        raise Failed(f"{path} is not built")
    return path


def is_sanitized():
    return bool(os.environ.get("WEIR_SANITIZE")) or "asan" in os.path.basename(BUILD)


class Process:
    """A program that prints "listening at ..." and lines of JSON; `last` is the latest of these."""

    all = []

    def __init__(self, name, *arguments, prefix=()):
        self.name = name
        self.address = None
        self.last = None
        self.lines = 0
        self.errors = []
        self.started = time.monotonic()
        self.child = subprocess.Popen([*prefix, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True)
        self.readers = [threading.Thread(target=self._read, daemon=True),
                        threading.Thread(target=self._read_errors, daemon=True)]
        for reader in self.readers:
            reader.start()
        Process.all.append(self)

    def _read(self):
        for line in self.child.stdout:
            if line.startswith("listening at "):
                self.address = line.split()[-1]
                continue
            try:
                self.last = json.loads(line)
            except ValueError:  # cut by a kill
                continue
            self.lines += 1

    def _read_errors(self):
        for line in self.child.stderr:
            self.errors.append(line.rstrip())

    def signal(self, number):
        self.child.send_signal(number)

    def is_running(self):
        return self.child.poll() is None

    def check(self):
        if not self.is_running():
            self.wait()
            raise Failed(f"{self.name} ended with {self.child.returncode}: " + "\n".join(self.errors[-40:]))

    def wait(self):
        try:
            self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} does not end") from None
        for reader in self.readers:
            reader.join(PATIENCE)
        return self.child.returncode

    def stop(self):
        """Ends it as an operator would; it must have left nothing in use."""
        self.check()
        self.signal(signal.SIGTERM)
        if self.wait() != 0:
            raise Failed(f"{self.name} ended with {self.child.returncode}: " + "\n".join(self.errors[-40:]))

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait()
        if self.errors:
            raise Failed(f"{self.name} had said: " + "\n".join(self.errors[-40:]))

    @classmethod
    def end_all(cls):
        for process in cls.all:
            if process.is_running():
                process.child.kill()
                process.child.wait()


def await_that(condition, what, processes=()):
    until = time.monotonic() + PATIENCE
    while not condition():
        for process in processes:
            process.check()
        if time.monotonic() > until:
            raise Failed(f"waited in vain: {what}: " + "; ".join(f"{p.name}: {p.last}" for p in processes))
        time.sleep(0.05)


def start_node(number, *arguments, prefix=(), listen=None):
    process = Process(f"node {number}", program("chaos_node"), "--id", str(number),
                      *(["--listen", listen] if listen else []), *arguments, prefix=prefix)
    if listen:
        await_that(lambda: process.address, f"node {number} listens", [process])
    return process


def loopback_network():
    """A host part of 127/8 of our own: ports that are known before a node runs, and that nobody else uses."""
    ours = random.SystemRandom()
    return f"127.{ours.randrange(1, 255)}.{ours.randrange(1, 255)}"


def slope(samples):
    """Least squares: the growth of the second of each pair for one of the first."""
    count = len(samples)
    mean_x = sum(x for x, _ in samples) / count
    mean_y = sum(y for _, y in samples) / count
    below = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / below if below else 0.0


PLAIN, SECURE, BOTH = 0, 1, 2  # --secure


def on_each_wire(options, run):
    """Calls run(is_secure, seconds) for the wire that was asked for, or for each with half of the time."""
    if options.secure != BOTH:
        run(options.secure == SECURE, options.seconds)
        return
    for is_secure in False, True:
        run(is_secure, options.seconds / 2)


def main(run, seconds, **more):
    """Parses what every test takes, runs it, and ends every process whatever happened."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--seconds", type=float, default=seconds)
    parser.add_argument("--seed", type=int, default=None)
    for name, default in more.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default)
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {options.seed}: {os.path.basename(sys.argv[0])} --seconds {options.seconds:g} --seed {options.seed}")
    status = 1
    try:
        status = run(options, random.Random(options.seed)) or 0
    except Failed as failure:
        print(f"FAILED (seed {options.seed}): {failure}")
    finally:
        Process.end_all()
    sys.exit(status)
