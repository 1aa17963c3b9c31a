#!/usr/bin/env python3
"""tests/fuzz/seeds.py FOLDER: writes first inputs for the fuzz targets, FOLDER/TARGET/NAME.

Those of the parsers of the wire come from tests/vectors/wire.txt; what a program of operations takes is
found by the fuzzer itself from nothing. `scripts/fuzz --merge` keeps what reaches something new.
"""

import os
import re
import struct
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
REPAIR = b"\x07\x00\x00"  # sums, lengths and versions mended; pieces from seed 1
AS_IS = b"\x00\x05\x00"

ADDRESSES = [
    "127.0.0.1:7000", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:7000", "[fe80::1%3]:1", "unix:/tmp/weir",
    "unix:@abstract", "unix:@", "unix:", "[::ffff:1.2.3.4]:80", "1.2.3:4", "01.2.3.4:5", "1.2.3.4:05",
    "1.2.3.4:65536", "[::1%0]:1", "[::1%4294967296]:1", "[]:1", "::1:5", "", "localhost:80",
]

CONFIGS = [
    "[node]\nnetwork-id = testnet\nlisten = 127.0.0.1:7000\npeer = 192.0.2.7:7000\nshards=2\n",
    "[channel bulk]\nid = 3\nweight = 5\nurgent = no\nmsg-max = 1M\nsend-max=64M\nrecv-max = 8M\noverflow=drop\n",
    "log-level = debug\npin = yes\nbusy-poll=off\nping-interval = 500ms\nidle-timeout=2m\n",
    "[channel a]\nid=1\n[channel b]\nid=1\n", "[channel a]\nid=65534\n", "[channel a]\nid=65535\n",
    "[node]\npool-bytes-max = 1T ; a comment\n# another\nuser-agent = me\n\n[other]\nx=1\n",
    "[channel \n=\n[", "no equals sign\n", "\ufeff[node]\nshards=1\n", "x" * 250 + "\n",
]

COMMAND_LINES = [
    ["node", "--listen", "127.0.0.1:0", "--channel", "id=3,name=bulk,weight=5,urgent,msg-max=1M", "--json"],
    ["node", "--peer=[::1]:7", "--shards", "4", "--ping-interval", "5s", "--quiet", "--drain", "1s"],
    ["send", "--to", "127.0.0.1:1", "--size", "64K", "--count", "10", "file"],
    ["recv", "--listen", "unix:x", "--out", "here", "--json"],
    ["demo", "--nodes", "3", "--seconds", "2"],
    ["doctor", "--json"], ["node", "--help"], ["send", "-h"], ["dump", "--json", "-"], ["--version"], ["--", "x"],
    ["node", "--shards=0"], ["node", "--shards"], ["recv", "--json=1"], ["x", "2h", "10M", "on", "5KiB"],
]


def vectors():
    """Yields name and bytes of each vector."""
    with open(os.path.join(ROOT, "tests/vectors/wire.txt"), encoding="utf-8") as file:
        text = re.sub(r"\n +", "", file.read())
    for line in text.split("\n"):
        if line and not line.startswith("#"):
            left, right = line.split("=", 1)
            yield left.split()[0], bytes.fromhex(right.strip())


def wire_seeds():
    streams = []
    for name, data in vectors():
        group, _, rest = name.partition(".")
        if group in ("listener", "dialer"):
            yield group, rest, AS_IS + data
            yield group, rest + ".repair", REPAIR + data
            yield "dump", name, b"\x00" + data
            if rest == "example":
                example = data
                yield "conn", name, b"\x00" + data
                yield "stranger", name, b"\x00\x00" + data
        elif group == "stream":
            streams.append(data)
            yield "feed", rest, AS_IS + data
            yield "feed", rest + ".repair", b"\x0f\x00\x00" + data
            yield "dump", name, b"\x07" + data
            if len(data) > 32 and 17 <= data[5] <= 20:
                yield "control", rest, bytes([(data[5] - 17) & 3]) + data[32:]
            if group == "stream" and data:
                yield "stranger", name, b"\x01\x07" + data
    good = b"".join(data for data in streams[:8])
    yield "feed", "many", AS_IS + good
    yield "dump", "many", b"\x00" + example + good


def short_frame(frame):
    """A frame of version 1 as it stands in a record of version 2; nothing of what is none."""
    if len(frame) < 32 or len(frame) < 32 + int.from_bytes(frame[8:12], "little"):
        return b""
    return bytes([frame[5], 0]) + frame[6:8] + frame[8:16] + frame[32:32 + int.from_bytes(frame[8:12], "little")]


def payload_seeds():
    """What fuzz_payload.c takes: its options, a split, then a HELLO, a first record, or records."""
    frames = []
    for name, data in vectors():
        group, _, rest = name.partition(".")
        if group in ("listener", "dialer"):
            dialer = 8 if group == "dialer" else 0
            frame = short_frame(data[9:])
            if frame:
                yield "payload", "hello." + name, bytes([dialer, 1, 0]) + frame[12:]
                yield "payload", "first." + name, bytes([dialer | 1, 1, 0]) + frame
        elif group == "stream":
            frames.append(short_frame(data))
            yield "payload", "first." + rest, bytes([1, 1, 0]) + frames[-1]
            yield "payload", "record." + rest, bytes([2, 1, 0]) + struct.pack("<H", len(frames[-1]) - 1 & 0x1FF) + frames[-1]
    rekey = struct.pack("<BBHII", 21, 0, 65535, 0, 0)
    goodbye = struct.pack("<BBHIIHH", 20, 0, 65535, 4, 0, 64, 0)
    ping = struct.pack("<BBHIIQ", 17, 0, 65535, 8, 0, 7)
    yield "payload", "goodbye", bytes([1, 1, 0]) + goodbye
    for name, records in (("rekey", (ping + rekey, ping)), ("rekey-early", (rekey + ping,)),
                          ("many", (b"".join(frames[:4]), ping + goodbye))):
        yield "payload", name, bytes([2, 9, 0]) + b"".join(struct.pack("<H", len(r) - 1) + r for r in records)


def clear_seeds():
    """What fuzz_clear.c takes: its options, a split, then what the peer says."""
    start = bytes([0x89]) + b"WEIR\r\n\x1a"
    hears = {"dialer": 0, "listener": 1}  # as whom what they say is heard
    for name, known in (("wire-v2", 0), ("wire-v2-cookie", 0), ("wire-v2-ik", 4)):
        with open(os.path.join(ROOT, f"tests/vectors/{name}.txt"), encoding="utf-8") as file:
            said = [line.split() for line in file if line.startswith(("dialer ", "listener "))]
        for who, number in hears.items():
            bytes_ = [bytes.fromhex(data) for sender, data in said if sender == who]
            option = number | (known if number else 0)
            yield "clear", f"{name}.{who}", bytes([option, 1, 0]) + bytes_[0]
            yield "clear", f"{name}.{who}.all", bytes([option | 24, 1, 0]) + b"".join(bytes_[:2])
    for reason in (36, 39, 64, 113, 114):
        yield "clear", f"refused.{reason}", bytes([1, 1, 0]) + start + b"n" + struct.pack("<H", reason)
    yield "clear", "ask-twice", bytes([1, 1, 0]) + 2 * (start + b"c" + bytes(range(32)))
    yield "clear", "again", bytes([5, 1, 0]) + start + b"x" + start + b"c" + bytes(32) + start + b"s\xc4\0"
    yield "clear", "again-unasked", bytes([1, 1, 0]) + start + b"x"
    preface = start + bytes([0x53, 2, 2, 1, 0, 0x83, 0, 0])
    for at, value in ((9, 3), (10, 1), (9, 0), (11, 0), (11, 5), (11, 2), (12, 2), (13, 2), (14, 1), (15, 1)):
        changed = preface[:at] + bytes([value]) + preface[at + 1:]
        yield "clear", f"preface.{at}.{value}", bytes([0, 1, 0]) + changed
    first = preface + b"\x20\0" + bytes(32)
    yield "clear", "back", bytes([24, 1, 0]) + first + bytes(41) + first
    yield "clear", "back-forged", bytes([0, 1, 0]) + first + start + b"C" + bytes(32) + first
    yield "clear", "knows-no-cookie", bytes([0, 1, 0]) + preface[:13] + b"\3\0\0\x20\0" + bytes(32)


def text_seeds():
    for i, text in enumerate(ADDRESSES):
        yield "addr", str(i), text.encode()
    for i, text in enumerate(CONFIGS):
        yield "config", str(i), text.encode()
    for i, line in enumerate(COMMAND_LINES):
        yield "cli", str(i), "\0".join(line).encode()


def book_seeds():
    """Address books whose checks the target mends."""
    def place(first, ip, port=7000):
        return struct.pack("<BBH16s", first, 4 if len(ip) == 4 else 6, port, ip)

    def record(flags, ip, source, caps=b"", attempts=0, port=7000):
        return (place(flags, ip, port) + place(0, source) + struct.pack("<QQQQH", 1762999000, 0, 0, 0, attempts) +
                caps.ljust(46, b"\0") + bytes(8))

    def book(*records):
        return (b"weirbook" + struct.pack("<IIII", 1, 128, len(records), 0) + bytes(range(32)) + bytes(8) +
                b"".join(records))

    near, far, six = bytes([20, 1, 2, 3]), bytes([30, 1, 2, 3]), bytes([0x2A] + [0] * 14 + [1])
    yield "book", "empty", b"\x01" + book()
    yield "book", "three", b"\x01" + book(record(0, near, far), record(1, far, near, b"archive,relay"),
                                         record(3, six, far, attempts=4))
    yield "book", "twice", b"\x01" + book(record(0, near, far), record(1, near, far), record(0, near, six, port=0))
    yield "book", "as-is", b"\x00" + book(record(0, near, far))


def ban_seeds():
    """Files of bans whose hashes the target mends."""
    hash_ = b" " + b"0" * 16 + b"\n"
    node = b"weir1pjq3a7z3kxdzdxkmluqqtth7pw3avyda8sepkneutc03wz5qatnzsgyshpc"
    lines = [b"192.0.2.7/32 1762999000 never manual banned", b"198.51.100.0/24 1762999000 1763000100 auto bad-magic",
             b"2001:db8::/32 0 1763000001 manual application", node + b" 1762999000 1763000100 manual banned",
             b"192.0.2.8/32 1762999000 1762999999 auto credit", b"192.0.2.9/32 1762999000 0 manual banned"]
    whole = b"weir-bans 1\n" + b"".join(line + hash_ for line in lines)
    yield "bans", "whole", b"\x01" + whole + b"end %d" % len(lines) + hash_
    yield "bans", "cut", b"\x01" + whole[:-30]
    yield "bans", "asks", b"\x01" + whole[12:]
    yield "bans", "as-is", b"\x00" + whole


def pex_seeds():
    near, six = bytes([20, 1, 2, 3]), bytes([0x2A] + [0] * 14 + [1])
    yield "pex", "about", struct.pack("<BBHQBBHI", 1, 0, 3, 1 << 40, 4, 5, 7711, 0) + near + b"relay"
    yield "pex", "nowhere", struct.pack("<BBHQBBHI", 1, 0, 0, 7, 0, 0, 0, 0)
    yield "pex", "ask", struct.pack("<BBHI", 2, 7, 250, 9) + b"archive"
    yield "pex", "answer", (struct.pack("<BBHI", 3, 0, 2, 9) + struct.pack("<BBHI", 4, 3, 7000, 60) + near + b"a,b" +
                            struct.pack("<BBHI", 6, 0, 7001, 9) + six)
    yield "pex", "other", b"\x04abc"


def queue_seeds():
    """Programs of fuzz_sendq: few bytes are left to a bound when small messages in a row begin."""
    def lane(overflow, above_least):
        return struct.pack("<BH", overflow, above_least)

    def large(idx, length):
        return struct.pack("<BBH", idx, 2, length)

    def small(idx, length, count):
        return struct.pack("<BBH", idx, 1, length) * count

    send_all, turn, listen = b"\x0b\xff\xff\xff\x01", b"\x0e", b"\x0f\x00\x00"
    for name, overflow in (("refuse", 0), ("drop", 1), ("close", 2)):
        # Behind the message by reference come a short run and then a whole frame, which is longer than what is left.
        yield "sendq", "near-bound." + name, (lane(overflow, 0) + lane(0, 0) + large(0, 15000) + small(0, 100, 20) +
                                              listen + small(0, 60, 5))
    yield "sendq", "two-rows", (lane(0, 0) + lane(0, 9) + (large(0, 15800) + small(0, 8, 70) + small(1, 30, 9) +
                                                           turn + send_all + listen))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for target, name, data in (list(wire_seeds()) + list(payload_seeds()) + list(clear_seeds()) +
                               list(text_seeds()) + list(book_seeds()) + list(ban_seeds()) +
                               list(pex_seeds()) + list(queue_seeds())):
        folder = os.path.join(sys.argv[1], target)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "seed." + name), "wb") as file:
            file.write(data)


main()
