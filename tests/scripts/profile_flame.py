#!/usr/bin/env python3
"""scripts/profile with a made-up perf: what it asks of perf, what it says when perf may not record, the flame graph and
the table that it makes of the samples."""
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from pathlib import Path

SRC = Path(os.environ["WEIR_SRC_DIR"])
SVG = "{http://www.w3.org/2000/svg}"
SAMPLES = """\
weir-sender  4711 
\tffffffff821eb5f6 _copy_from_iter ([kernel.kallsyms])
\t           1de39 weir_shard_turn (/x/bin/weir-bench)
\t           1a34f main (/x/bin/weir-bench)

weir-sender  4711 
\t           1de39 XXH3_64bits.constprop.0 (/x/bin/weir-bench)
\t           1de39 weir_shard_turn (/x/bin/weir-bench)
\t           1a34f main (/x/bin/weir-bench)

weir-sender  4711 
\t           1de39 weir_shard_turn (/x/bin/weir-bench)
\t           1de39 weir_shard_turn (/x/bin/weir-bench)
\t           1a34f main (/x/bin/weir-bench)

my shard 1  4712 
\t           1d    std::map<a & "b"> (int) (/usr/lib/libc.so.6)
"""
# Records nothing, prints the samples, and writes down how it was called. PARANOID: 0 all, 1 user space, 2 nothing.
PERF = """#!/bin/sh
echo "$@" >>{folder}/calls
case "$1 $*" in
stat*) echo '<not supported>,,cycles' >&2 ;;
record*:u*) [ $(cat {folder}/paranoid) -le 1 ] || {{ echo 'No permission' >&2; exit 255; }} ;;
record*) [ $(cat {folder}/paranoid) = 0 ] || {{ echo 'No permission' >&2; exit 255; }} ;;
script*) cat {folder}/samples ;;
esac
[ "$1" != record ] || {{ while [ "$1" != -- ]; do shift; done; shift; "$@" >{folder}/ran; }}
"""


class Box:
    def __init__(self, folder):
        self.folder = Path(folder)
        (self.folder / "bin").mkdir()
        (self.folder / "empty").mkdir()
        (self.folder / "samples").write_text(SAMPLES)
        self.program("bin/perf", PERF.format(folder=folder))
        self.program("weir-bench", '#!/bin/sh\necho "$@"\n')

    def program(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *arguments, paranoid=0, path=None):
        (self.folder / "paranoid").write_text(str(paranoid))
        env = dict(os.environ, PATH=path or f"{self.folder}/bin:{os.environ['PATH']}")
        return subprocess.run(["/bin/bash", SRC / "scripts" / "profile", *map(str, arguments), "--out",
                               self.folder / "out", "--program", self.folder / "weir-bench"],
                              capture_output=True, text=True, env=env, timeout=60)


def check_graph(path):
    tree = xml.parse(path).getroot()
    frames = {}
    for group in tree.iter(f"{SVG}g"):
        name = group.find(f"{SVG}title").text.split(" — ")[0]
        rect = group.find(f"{SVG}rect")
        frames.setdefault(name, []).append((float(rect.get("x")), float(rect.get("width")) + 0.5,
                                            float(rect.get("y"))))
    whole = frames["all"][0]
    assert abs(frames["weir-sender"][0][1] - whole[1] * 3 / 4) < 1 and abs(frames["main"][0][1] - whole[1] * 3 / 4) < 1
    assert abs(frames["_copy_from_iter"][0][1] - whole[1] / 4) < 1, frames["_copy_from_iter"]
    assert len(frames["weir_shard_turn"]) == 2, "one on main, and one on itself"
    assert frames["all"][0][2] > frames["weir-sender"][0][2] > frames["main"][0][2], "callees are above"
    assert 'std::map<a & "b"> (int)' in frames and "my shard 1" in frames, list(frames)
    text = path.read_text()
    assert "_copy_from_iter — 1 samples, 25.00 %" in text and "http://www.w3.org/2000/svg" in text


def check_success(box):
    done = box.run("throughput", "--size", "64")
    assert done.returncode == 0, done.stderr
    assert (box.folder / "ran").read_text() == "throughput --size 64 --against none --seconds 5 --repeat 1\n"
    assert "-e cpu-clock " in (box.folder / "calls").read_text()
    check_graph(box.folder / "out" / "throughput.svg")
    assert re.search(r"^weir-sender: 3 samples: ", done.stdout, re.M), done.stdout
    assert re.search(r"^ +33.33 % +100.00 %  weir_shard_turn$", done.stdout, re.M), done.stdout
    assert re.search(r"^  parts: kernel's copy 33.33 %, hash 33.33 %, \S.* 33.33 %$", done.stdout, re.M), done.stdout
    assert done.stdout.index("weir-sender:") < done.stdout.index("my shard 1:")
    done = box.run("rtt", "--repeat", "3", "--against", "raw", "--seconds", "1", paranoid=1)
    assert done.returncode == 0 and "only user space is recorded" in done.stderr, done.stderr
    assert (box.folder / "ran").read_text() == "rtt --repeat 3 --against raw --seconds 1\n"


def check_refusals(box):
    for what, text, done in (
            ("nothing may be recorded", "perf may not record here", box.run("rtt", paranoid=2)),
            ("no case", "which case?", box.run()),
            ("an option for a case", "which case?", box.run("--size", "64")),
            ("a path for a case", "is no name of a case", box.run("../x")),
            ("no perf", "perf is missing", box.run("rtt", path=path_without_perf(box)))):
        assert done.returncode == 2 and text in done.stderr, (what, done.returncode, done.stderr)
    box.program("weir-bench", "#!/bin/sh\nexit 3\n")
    done = box.run("rtt")
    assert done.returncode == 2 and "exit code 3" in done.stderr, done.stderr
    box.program("weir-bench", "#!/bin/sh\n")
    (box.folder / "samples").write_text("")
    done = box.run("rtt")
    assert done.returncode == 2 and "there is no sample" in done.stderr, done.stderr


def path_without_perf(box):
    """A folder with the few programs that the script needs to get there."""
    for name in ("dirname", "cat", "id"):
        target = subprocess.run(["which", name], capture_output=True, text=True, check=True).stdout.strip()
        (box.folder / "empty" / name).symlink_to(target)
    return str(box.folder / "empty")


def main():
    with tempfile.TemporaryDirectory() as folder:
        box = Box(folder)
        check_success(box)
        check_refusals(box)
    print("profile_flame: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
