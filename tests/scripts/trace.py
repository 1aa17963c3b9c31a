#!/usr/bin/env python3
"""The static probes: docs/tracing.md and the binary name the same, with as many arguments, and each script of tools/trace
shows, under bpftrace, what a receiver does. What cannot be tried here (no header at the build, no readelf, no bpftrace, not
root, a kernel that refuses) is said and left out."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SRC = Path(os.environ["WEIR_SRC_DIR"])
WEIR = Path(os.environ["WEIR_BIN_DIR"]) / "weir"
SKIPPED = 77
PATIENCE_S = 120

# What each script must have shown of a receiver of some megabytes.
SHOWN = {
    "turns.bt": [r"@turn_us:", r"@batch_us\[0\]:", r"@messages_a_batch:", r"@frames_a_batch:"],
    "peers.bt": [r"slot \d+\.\d+ accepted", r"slot \d+\.\d+ state 2 to 3", r"slot \d+\.\d+ ended by reason \d+",
                 r"@ended_by\[\d+\]: [1-9]"],
    "frames.bt": [r"@in_bytes\[1\]: [1-9]\d{5}", r"@received_bytes:", r"@out_frames\[1\]: [1-9]", r"@send_bytes:",
                  r"@sent_bytes:"],
    "queues.bt": [r"slot and channel of what waits"],
    "rtt.bt": [r"@pings\[\d+\]: [1-9]", r"@rtt_us\[\d+\]:", r"@timers\[1\]: [1-9]"],
}


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def probes_of_binary():
    """name -> number of arguments, for each probe of the provider weir."""
    if not shutil.which("readelf"):
        skip("no readelf")
    text = subprocess.run(["readelf", "-nW", WEIR], capture_output=True, text=True, check=True).stdout
    found = {}
    for name, arguments in re.findall(r"Provider: weir\n\s+Name: (\w+)\n.*?\n\s+Arguments: ?(.*)", text):
        found.setdefault(name, set()).add(len(arguments.split()))
    return found


def check_page(found):
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \|$", (SRC / "docs/tracing.md").read_text(), re.M)
    page = {name: len(arguments.split(",")) for name, arguments in rows}
    assert len(page) >= 15, len(page)
    assert set(page) == set(found), f"docs/tracing.md and the binary differ in {sorted(set(page) ^ set(found))}"
    for name, cnt in page.items():
        assert found[name] == {cnt}, f"{name} has {found[name]} arguments, docs/tracing.md says {cnt}"
    print(f"{len(page)} probes, as docs/tracing.md has them")


def check_names_of_scripts(found):
    """Works without bpftrace: a script that asks for a probe that is not there would only fail for its user."""
    scripts = sorted((SRC / "tools/trace").glob("*.bt"))
    assert [path.name for path in scripts] == sorted(SHOWN), scripts
    for path in scripts:
        for name in re.findall(r"usdt:\*:weir:(\w+)", path.read_text()):
            assert name in found, f"{path.name}: no probe {name}"
    used = set(re.findall(r"usdt:\*:weir:(\w+)", "".join(path.read_text() for path in scripts)))
    assert used == set(found), f"no script uses {sorted(set(found) - used)}"


class Receiver:
    def __init__(self, work):
        self.process = subprocess.Popen([WEIR, "recv", "127.0.0.1:0", "--keep"], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, cwd=work)
        for line in self.process.stderr:
            if "listening at " in line:
                self.address = line.split("listening at ")[1].strip()
                break
        self.process.stderr.close()

    def feed(self, hold_s):
        """Sends some megabytes and stays for a while: the first ping comes after a second."""
        sender = subprocess.Popen([WEIR, "send", self.address, "--size", "1000", "--quiet"], stdin=subprocess.PIPE)
        sender.stdin.write(bytes(3_000_000))
        time.sleep(hold_s)
        sender.stdin.close()
        assert sender.wait(PATIENCE_S) == 0

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE_S)


def end(tracer):
    """Asks for what was counted. bpftrace 0.17 may miss the signal; a second one can cut its output short, which is
    then tried again."""
    for _ in range(6):
        tracer.send_signal(signal.SIGINT)
        try:
            tracer.wait(10)
            return
        except subprocess.TimeoutExpired:
            pass
    tracer.kill()
    tracer.wait(PATIENCE_S)


def run_script(path, receiver, patterns, out_path, run_s):
    """Runs a script over some transfers; what it printed, or None when bpftrace ended by itself."""
    with open(out_path, "w") as out:
        tracer = subprocess.Popen(["bpftrace", "-p", str(receiver.process.pid), path], stdout=out, stderr=out)
    begun = time.monotonic()
    # It says that it attaches before it does; a version that says nothing yet is given ten times as long.
    while tracer.poll() is None:
        took_s = time.monotonic() - begun
        if took_s >= run_s and (out_path.read_text() or took_s >= 10 * run_s):
            break
        receiver.feed(2 if path.name == "rtt.bt" else 0.1)
    if tracer.poll() is not None:
        return None
    end(tracer)
    return out_path.read_text()


def check_scripts(work):
    receiver = Receiver(work)
    try:
        for name, patterns in SHOWN.items():
            # Attaching takes a second or two, longer on a loaded machine: more time each try.
            for run_s in (3, 10, 30, 60):
                text = run_script(SRC / "tools/trace" / name, receiver, patterns, work / "out", run_s)
                missing = [pattern for pattern in patterns if not re.search(pattern, text or "")]
                if text is not None and not missing:
                    break
            assert text is not None, f"{name}: bpftrace ended: {(work / 'out').read_text()}"
            assert not missing, f"{name} does not show {missing}: {text}"
            print(f"{name} shows what it should")
    finally:
        receiver.stop()


def can_trace(work):
    """Whether bpftrace can look at a probe here at all."""
    if not shutil.which("bpftrace") or os.geteuid() != 0:
        return False
    receiver = Receiver(work)
    done = subprocess.run(["bpftrace", "-p", str(receiver.process.pid), "-e",
                           "usdt:*:weir:turn { @a = count(); } interval:ms:200 { exit(); }"],
                          capture_output=True, text=True, timeout=PATIENCE_S)
    receiver.stop()
    return done.returncode == 0 and "Attach" in done.stdout + done.stderr


def main():
    found = probes_of_binary()
    if not found:
        skip("built without sys/sdt.h (systemtap-sdt-dev)")
    check_page(found)
    check_names_of_scripts(found)
    if subprocess.run([WEIR, "doctor"], stdout=subprocess.DEVNULL).returncode != 0:
        skip("weir cannot run here")
    if os.environ.get("WEIR_SANITIZE"):
        print("under a sanitizer: the scripts are not run")
        return 0
    with tempfile.TemporaryDirectory() as work:
        if not can_trace(Path(work)):
            print("bpftrace is missing, or may not trace here: the scripts are not run")
            return 0
        check_scripts(Path(work))
    return 0


if __name__ == "__main__":
    sys.exit(main())
