#!/usr/bin/env python3
"""`weir stat` and `weir top` beside a running node, and over files that are cut, foreign, torn, stale or hostile."""
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WEIR = Path(os.environ["WEIR_BIN_DIR"]) / "weir"
HEAD = struct.Struct("<8sIIIIQQQQQIIQ16s40s120x")
SEQ_AT = 24
RECORD = struct.Struct("<QBB6x80s160s")
assert HEAD.size == 256 and RECORD.size == 256
PATIENCE_S = 60


started = []  # ended at the end, whatever it is: nobody waits for them then


def start(*args, **kwargs):
    started.append(subprocess.Popen([WEIR, *args], **kwargs))
    return started[-1]


def run(*args, env=None):
    done = subprocess.run([WEIR, *args], capture_output=True, text=True, timeout=PATIENCE_S, env=env)
    return done.returncode, done.stdout, done.stderr


def stat_json(path):
    code, out, err = run("stat", "--json", path)
    assert out, err
    return code, json.loads(out)


def value(stat, series, **labels):
    return sum(s["value"] for s in stat["series"] if s["name"] == series and labels.items() <= s["labels"].items())


def until(what, condition):
    end = time.monotonic() + PATIENCE_S
    while not (got := condition()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)
    return got


def check_node(work):
    """A node and its peer: stat sees what happens, and how the node ends."""
    path = work / "stats"
    node = start("node", "--listen", "127.0.0.1:0", "--stats-path", path, "--quiet", "--stats-interval", "50ms",
                 "--channel", "id=1,name=a\"b", stdout=subprocess.PIPE, text=True)
    node.stdout.readline()  # its id
    address = node.stdout.readline().split()[-1]
    code, stat = stat_json(path)
    assert code == 0 and stat["state"] == "live" and stat["pid"] == node.pid, stat
    assert run("node", "--listen", "127.0.0.1:0", "--stats-path", path)[0] == 3, "the file is in use"
    peer = start("node", "--peer", address, "--quiet", stdout=subprocess.DEVNULL)
    until("a peer", lambda: value(stat_json(path)[1], "weir_peers") == 1)
    assert value(stat_json(path)[1], "weir_channel_queue_bytes", channel="1", name='a"b') == 0
    code, out, err = run("stat", path)
    assert code == 0 and 'weir_accepted_total{shard="0"}' in out and "weir_bans" not in out, out
    assert "weir_bans " in run("stat", "--all", path)[1]
    check_top(path, node.pid)
    peer.send_signal(signal.SIGTERM)
    peer.wait(PATIENCE_S)
    until("the end", lambda: value(stat_json(path)[1], "weir_closes_total", reason="shutdown") == 1)
    node.send_signal(signal.SIGSTOP)
    until("a node that stands", lambda: stat_json(path)[1]["state"] == "stale")
    assert stat_json(path)[0] == 1
    node.send_signal(signal.SIGCONT)
    until("a node that goes on", lambda: stat_json(path)[0] == 0)
    node.send_signal(signal.SIGTERM)
    node.wait(PATIENCE_S)
    code, stat = stat_json(path)
    assert code == 1 and stat["state"] == "stopped" and value(stat, "weir_accepted_total") == 1
    killed = start("node", "--listen", "127.0.0.1:0", "--stats-path", path, "--quiet", stdout=subprocess.PIPE,
                   text=True)
    for _ in range(2):  # its id, its address
        killed.stdout.readline()
    assert stat_json(path)[0] == 0, "the file of a node that has stopped is taken over"
    killed.kill()
    killed.wait(PATIENCE_S)
    until("a killed node", lambda: stat_json(path)[1]["state"] == "gone")
    assert list(work.glob("stats.*")) == [], "nothing is left beside the file"
    return path.read_bytes()


def check_top(path, pid):
    """`weir top`: as text, and on a terminal of 60 columns that then becomes another size."""
    def is_idle():
        code, out, _ = run("top", "--plain", "2", "--interval", "300ms", path)
        assert code == 0 and out.count("SHARD") == 2 and out.count("CHANNEL") == 2, out
        last = out.split("SHARD")[-1].splitlines()[1].split()
        assert last[:2] == ["0", "1"], out  # shard 0 has a peer
        return last[2] == "0"
    until("an interval in which nothing comes in", is_idle)  # not the first: the handshake was just now
    assert run("top", path)[0] == 2, "no terminal, and no --plain"
    if not any((Path(folder) / "x" / "xterm").exists()
               for folder in ("/usr/share/terminfo", "/lib/terminfo", "/etc/terminfo")):
        print("no terminfo for xterm: the terminal is not tried")
        return
    master, slave = pty.openpty()
    set_size(master, 20, 60)
    env = dict(os.environ, TERM="xterm")
    top = start("top", "--interval", "100ms", path, stdin=slave, stdout=slave, stderr=slave, env=env,
                start_new_session=True)
    os.close(slave)
    screen = read_until(master, b"SHARD")
    assert str(pid).encode() in screen, screen
    set_size(master, 4, 20)
    top.send_signal(signal.SIGWINCH)
    os.write(master, b"\x1b[B\x1b[B ")
    read_until(master, b"held")
    os.write(master, b" ")
    read_until(master, b"q ends")
    os.write(master, b"q")
    end = time.monotonic() + PATIENCE_S
    while top.poll() is None:  # it may be writing its last lines
        assert time.monotonic() < end, "q does not end weir top"
        if select.select([master], [], [], 0.05)[0]:
            try:
                os.read(master, 65536)
            except OSError:
                pass
    assert top.returncode == 0, top.returncode
    os.close(master)


def set_size(terminal, rows, columns):
    import fcntl
    import termios
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def read_until(terminal, text):
    got = b""
    end = time.monotonic() + PATIENCE_S
    while text not in got:
        assert time.monotonic() < end, f"no {text} in {got}"
        if select.select([terminal], [], [], 0.1)[0]:
            got += os.read(terminal, 65536)
    return got


def head(**changes):
    fields = dict(magic=b"WEIRSTAT", version=1, head_bytes=256, record_bytes=256, record_cnt=1, seq=4, made=1, updated=2,
                  mono=3, interval=10**9, pid=1, flags=1, start=5, weir=b"0.1.0", network=b"net")
    return HEAD.pack(*(fields | changes).values())


def check_files(work, good):
    record = RECORD.pack(7, 1, 0, b"weir_x_total", b'shard="0"')
    path = work / "file"

    def told(data, text, code=2):
        path.write_bytes(data)
        got, out, err = run("stat", path)
        assert got == code and text in out + err, (text, got, out, err)
        assert "\x1b" not in out + err
        assert (run("top", "--plain", "1", "--interval", "100ms", path)[0] == 2) == (code == 2)

    told(head() + record, "stopped", 1)
    told(head() + record, "weir_x_total{shard=\"0\"}", 1)
    told(b"", "too short")
    told(head()[:255], "too short")
    told(head() + record[:255], "cut short")
    told(b"#!/bin/sh\n" * 100, "not a file of weir's")
    told(head(version=2) + record, "layout 2")
    for wrong in (dict(head_bytes=255), dict(record_bytes=8), dict(record_cnt=2**32 - 1), dict(head_bytes=2**32 - 1)):
        told(head(**wrong) + record, "cannot be")
    told(head(record_cnt=2) + record, "cut short")
    told(head(seq=5, flags=0) + record, "torn", 1)
    told(head(flags=0) + record, "gone", 1)
    told(head(record_bytes=264) + record + b"\0" * 8, "weir_x_total", 1)  # a later layout
    told(head(network=b"\x1b[2J\xff\n") + record, "network ?[2J??", 1)
    told(head() + RECORD.pack(7, 9, 9, b"\x1b]0;x\x07" * 20, b"\xff" * 160), "?]0;x?", 1)
    for cut in (1, 100, 256, 300, len(good) - 1):
        told(good[:cut], "short")
    path.unlink()
    os.mkfifo(path)
    assert run("stat", path)[0] == 2, "a fifo is not waited for"
    assert run("stat", work)[0] == 2 and run("stat", work / "none")[0] == 2 and run("stat")[0] == 2
    assert run("stat", "/dev/zero")[0] == 2


def main():
    if subprocess.run([WEIR, "doctor"], stdout=subprocess.DEVNULL).returncode != 0:
        print("weir cannot run here")
        return 77
    with tempfile.TemporaryDirectory() as work:
        try:
            good = check_node(Path(work))
            check_files(Path(work), good)
        finally:
            for child in started:
                if child.poll() is None:
                    child.kill()
                    child.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
