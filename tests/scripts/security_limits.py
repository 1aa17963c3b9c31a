#!/usr/bin/env python3
"""SECURITY.md against the engine: each limit that its tables name exists, with the default that they give."""
import os
import re
import subprocess
import sys

ROOT = os.environ.get("WEIR_SRC_DIR", os.path.join(os.path.dirname(__file__), "../.."))
BIN = os.environ.get("WEIR_BIN_DIR", os.path.join(ROOT, "build/bin"))
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9,
         "h": 3600 * 10**9}
# Settings of the command that are called otherwise than the fields.
SETTINGS = {"msg_bytes_max": "msg-max", "send_bytes_max": "send-max", "recv_bytes_max": "recv-max", "ban_ns": "ban-time",
            "rate_recv_bytes": "rate-recv", "rate_send_bytes": "rate-send", "upload_bytes": "upload"}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def number(text):
    """What a text of a table or of the command stands for: bytes, nanoseconds, a count, or itself."""
    found = re.fullmatch(r"(\d+) ?([A-Za-z]*)", text)
    if not found or (found[2] and found[2] not in UNITS):
        return text
    return int(found[1]) * UNITS.get(found[2], 1)


def defaults():
    """Settings as the command has them; those of a channel come last, and are the only ones of their names."""
    ran = subprocess.run([os.path.join(BIN, "weir"), "node", "--print-config", "--channel", "id=1"], text=True,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    return dict(line.split(" = ", 1) for line in ran.stdout.splitlines() if " = " in line and line[0] != "#")


def main():
    tables = read("SECURITY.md").split("## Threats and limits")[1].split("## What is not")[0]
    headers = {path: read(path) for path in ("include/weir/config.h", "include/weir/gossip.h", "include/weir/request.h")}
    settings = defaults()
    wrong, named_cnt, held_cnt = [], 0, 0
    for row in tables.splitlines():
        columns = row.split("|")
        if len(columns) != 5 or columns[1].strip() in ("threat", "---"):
            continue
        where = columns[3]
        files = re.findall(r"\(`?([\w/]+\.h)", where)
        for name, value in re.findall(r"`([A-Za-z_0-9]+)`(?: of the channel)?(?: ((?:\d+ (?:KiB|MiB|GiB|us|ms|s|min|h)\b|\d+(?!\^)|none|refuse)))?",
                                      where):
            named_cnt += 1
            texts = [read(path) for path in files] if name.isupper() else headers.values()
            if not any(re.search(rf"\b{name}\b", text) for text in texts):
                wrong.append(f"'{name}' is nowhere in {', '.join(files or headers)}")
            if not value or name.isupper():
                continue
            held_cnt += 1
            setting = SETTINGS.get(name, re.sub(r"_ns$", "", name).replace("_", "-"))
            if number(settings.get(setting, "nothing")) != number(value):
                wrong.append(f"'{name}' is {value} there, and {settings.get(setting)} is the engine's ({setting})")
    if named_cnt < 50 or held_cnt < 40:
        wrong.append(f"only {named_cnt} limits and {held_cnt} defaults were found: the tables are read wrongly")
    for line in wrong:
        print(f"SECURITY.md: {line}")
    print(f"{named_cnt} limits, {held_cnt} defaults held against the engine")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
