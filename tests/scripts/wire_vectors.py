#!/usr/bin/env python3
"""A second implementation of docs/wire.md, and the maker and checker of tests/vectors/wire.txt.

It shares no line with proto/: what both agree on is what the document says. It

  - encodes every vector from its description below and compares with the file,
  - decodes the file's bytes and compares with the file's expectation,
  - checks that docs/wire.md prints exactly the file.

  wire_vectors.py            check; exit 0 if all agree, 1 if not
  wire_vectors.py --write    write the file, and the block in docs/wire.md, anew
"""
import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE = ROOT / "tests" / "vectors" / "wire.txt"
DOC = ROOT / "docs" / "wire.md"
BEGIN, END = "<!-- vectors: begin -->", "<!-- vectors: end -->"

# ---- XXH3-64 (xxhash 0.8 specification), default secret ----------------------------------------------

M64 = (1 << 64) - 1
P32 = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
P64 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
       0x27D4EB2F165667C5)
MX1, MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")


def u32(data, at=0):
    return struct.unpack_from("<I", data, at)[0]


def u64(data, at=0):
    return struct.unpack_from("<Q", data, at)[0]


def fold(a, b):
    product = a * b
    return (product & M64) ^ (product >> 64)


def swap(value, size):
    return int.from_bytes(value.to_bytes(size, "little"), "big")


def rotl(value, bits):
    return ((value << bits) | (value >> (64 - bits))) & M64


def avalanche3(h):
    h ^= h >> 37
    h = h * MX1 & M64
    return h ^ h >> 32


def avalanche64(h):
    h ^= h >> 33
    h = h * P64[1] & M64
    h ^= h >> 29
    h = h * P64[2] & M64
    return h ^ h >> 32


def mix16(data, at, secret_at, seed):
    return fold(u64(data, at) ^ ((u64(SECRET, secret_at) + seed) & M64),
                u64(data, at + 8) ^ ((u64(SECRET, secret_at + 8) - seed) & M64))


def xxh3_long(data, seed):
    secret = SECRET
    if seed:
        parts = [((u64(SECRET, i) + seed) & M64, (u64(SECRET, i + 8) - seed) & M64)
                 for i in range(0, 192, 16)]
        secret = b"".join(struct.pack("<QQ", *p) for p in parts)
    acc = [P32[2], P64[0], P64[1], P64[2], P64[3], P32[1], P64[4], P32[0]]

    def stripe(at, secret_at):
        for i in range(8):
            value = u64(data, at + 8 * i)
            key = value ^ u64(secret, secret_at + 8 * i)
            acc[i ^ 1] = (acc[i ^ 1] + value) & M64
            acc[i] = (acc[i] + (key & 0xFFFFFFFF) * (key >> 32)) & M64

    stripes = (len(secret) - 64) // 8
    block = 64 * stripes
    for start in range(0, (len(data) - 1) // block * block, block):
        for n in range(stripes):
            stripe(start + 64 * n, 8 * n)
        for i in range(8):
            a = acc[i]
            a ^= a >> 47
            a ^= u64(secret, len(secret) - 64 + 8 * i)
            acc[i] = a * P32[0] & M64
    start = (len(data) - 1) // block * block
    for n in range((len(data) - 1 - start) // 64):
        stripe(start + 64 * n, 8 * n)
    stripe(len(data) - 64, len(secret) - 64 - 7)
    h = len(data) * P64[0] & M64
    for i in range(4):
        h += fold(acc[2 * i] ^ u64(secret, 11 + 16 * i), acc[2 * i + 1] ^ u64(secret, 19 + 16 * i))
    return avalanche3(h & M64)


def xxh3(data, seed=0):
    n = len(data)
    if n == 0:
        return avalanche64(seed ^ u64(SECRET, 56) ^ u64(SECRET, 64))
    if n <= 3:
        combined = data[0] << 16 | data[n >> 1] << 24 | data[n - 1] | n << 8
        return avalanche64(combined ^ ((u32(SECRET) ^ u32(SECRET, 4)) + seed & M64))
    if n <= 8:
        seed ^= swap(seed & 0xFFFFFFFF, 4) << 32
        key = (u64(SECRET, 8) ^ u64(SECRET, 16)) - seed & M64
        h = key ^ (u32(data, n - 4) + (u32(data) << 32))
        h ^= rotl(h, 49) ^ rotl(h, 24)
        h = h * MX2 & M64
        h ^= (h >> 35) + n & M64
        h = h * MX2 & M64
        return h ^ h >> 28
    if n <= 16:
        lo = u64(data) ^ ((u64(SECRET, 24) ^ u64(SECRET, 32)) + seed & M64)
        hi = u64(data, n - 8) ^ ((u64(SECRET, 40) ^ u64(SECRET, 48)) - seed & M64)
        return avalanche3(n + swap(lo, 8) + hi + fold(lo, hi) & M64)
    if n <= 128:
        h = n * P64[0]
        for i in reversed(range((n - 1) // 32 + 1)):
            h += mix16(data, 16 * i, 32 * i, seed) + mix16(data, n - 16 * (i + 1), 32 * i + 16, seed)
        return avalanche3(h & M64)
    if n <= 240:
        h = n * P64[0]
        for i in range(8):
            h += mix16(data, 16 * i, 16 * i, seed)
        h = avalanche3(h & M64)
        for i in range(8, n // 16):
            h += mix16(data, 16 * i, 16 * (i - 8) + 3, seed)
        return avalanche3(h + mix16(data, n - 16, 136 - 17, seed) & M64)
    return xxh3_long(data, seed)


# ---- encoding -----------------------------------------------------------------------------------------

SEED = u64(b"WEIRHDR1")
PREFACE = bytes.fromhex("89574549520D0A1A")
FROM_DIALER, FROM_LISTENER = PREFACE + b"?", PREFACE + b"!"
RUN, FIRST, MORE, HELLO, PING, PONG, CREDIT, GOODBYE = 1, 2, 3, 16, 17, 18, 19, 20
CONTROL = 0xFFFF


def frame(kind, payload=b"", channel=CONTROL, aux=0, version=1, length=None, magic=b"WEIR"):
    length = len(payload) if length is None else length
    head = struct.pack("<4sBBHIIQ", magic, version, kind, channel, length, aux, xxh3(payload))
    return head + struct.pack("<Q", xxh3(head, SEED)) + payload


def flip(data, byte, bit=0):
    return data[:byte] + bytes([data[byte] ^ 1 << bit]) + data[byte + 1:]


def run(channel, *messages, count=None):
    payload = b"".join(struct.pack("<H", len(m)) + m for m in messages)
    return frame(RUN, payload, channel, len(messages) if count is None else count)


def hello_payload(vmin=1, vmax=1, reserved=0, frame_bytes_max=4096, features=0, critical=0,
                  nonce=b"\x01" * 16, node_id=b"\x00" * 32, network=b"weir-test", agent=b"",
                  channels=((7, 1, 500, 600, 0),), tail=b"", count=None):
    return (struct.pack("<BBHIQQ", vmin, vmax, reserved, frame_bytes_max, features, critical)
            + nonce + node_id + bytes([len(network)]) + network + bytes([len(agent)]) + agent
            + struct.pack("<H", len(channels) if count is None else count)
            + b"".join(struct.pack("<HHIII", *c) for c in channels) + tail)


def hello(**fields):
    return frame(HELLO, hello_payload(**fields))


def ext(kind, data):
    return struct.pack("<HH", kind, len(data)) + data


DIALER = dict(frame_bytes_max=65536, features=0x5, nonce=bytes(range(16)),
              node_id=bytes(range(0x20, 0x40)), agent=b"dialer/1",
              channels=((7, 4, 1000, 4000, 0), (9, 1, 65536, 131072, 0), (12, 1, 64, 64, 1)))
LISTENER = dict(frame_bytes_max=4096, features=0xC, nonce=bytes(range(0xF0, 0x100)),
                agent=b"listener/1",
                channels=((3, 1, 100, 100, 0), (7, 2, 500, 600, 0), (9, 1, 1 << 20, 1 << 20, 0),
                          (12, 1, 8, 16, 1)))


def pattern(n):
    return bytes(i & 0xFF for i in range(n))


def goodbye(reason, text=b"", length=None):
    return frame(GOODBYE, struct.pack("<HH", reason, len(text) if length is None else length) + text)


def credit(*entries, pad=0):
    return frame(CREDIT, b"".join(struct.pack("<HHQ", c, pad, limit) for c, limit in entries))


def message(channel, data):
    return f"msg:{channel}:{len(data)}:{xxh3(data):016x}"


def vectors():
    """Yields (title,) for a comment, or (name, expectation, bytes)."""
    yield ("XXH3-64 of the bytes 00 01 02 .. ff 00 ..: hash.SEED.LENGTH, the number's digits",)
    for n in (0, 1, 3, 4, 8, 9, 16, 17, 24, 128, 129, 240, 241, 1024, 1025, 65536):
        yield f"hash.0.{n}", "", xxh3(pattern(n)).to_bytes(8, "big")
    yield f"hash.{SEED:x}.24", "", xxh3(pattern(24), SEED).to_bytes(8, "big")

    yield ("What the two sides of the example send",)
    yield "send.dialer.preface", "", FROM_DIALER
    yield "send.listener.preface", "", FROM_LISTENER
    yield "send.dialer.hello", "", hello(**DIALER)
    yield "send.listener.hello", "", hello(**LISTENER)

    yield ("What a listener receives from the first byte on: ready, or the reason it ends with",)
    for name, expect, data in (
            ("example", "ready", FROM_DIALER + hello(**DIALER)),
            ("http", "33", b"GET / HTTP/1.1\r\n"),
            ("http2", "33", b"PRI * HTTP/2.0\r\n"),
            ("tls", "34", bytes.fromhex("1603010200010001fc0303")),
            ("noise", "32", bytes.fromhex("00")),
            ("line-ends", "32", bytes.fromhex("89574549520A1A3F")),
            ("other-listener", "32", FROM_LISTENER)):
        yield "listener." + name, expect, data
    minimal = dict()
    for name, expect, fields in (
            ("minimal", "ready", minimal),
            ("reserved", "ready", dict(reserved=0xFFFF)),
            ("later-version-too", "ready", dict(vmax=9)),
            ("extension", "ready", dict(tail=ext(5, b"xyz") + ext(6, b""))),
            ("network", "35", dict(network=b"weir-tesu")),
            ("network-longer", "35", dict(network=b"weir-test2")),
            ("version", "36", dict(vmin=2, vmax=3)),
            ("self", "37", dict(nonce=LISTENER["nonce"])),
            ("no-channels", "38", dict(channels=())),
            ("no-common-channel", "38", dict(channels=((8, 1, 1, 1, 0),))),
            ("version-zero", "39", dict(vmin=0)),
            ("version-order", "39", dict(vmin=2, vmax=1)),
            ("frame-bytes", "39", dict(frame_bytes_max=4095)),
            ("frame-bytes-max", "39", dict(frame_bytes_max=65537)),
            ("network-empty", "39", dict(network=b"")),
            ("network-long", "39", dict(network=b"n" * 33)),
            ("agent-long", "39", dict(agent=b"a" * 65)),
            ("agent-control", "39", dict(agent=b"a\n")),
            ("channel-twice", "39", dict(channels=((7, 1, 1, 1, 0), (7, 1, 1, 1, 0)))),
            ("channel-order", "39", dict(channels=((8, 1, 1, 1, 0), (7, 1, 1, 1, 0)))),
            ("channel-ffff", "39", dict(channels=((7, 1, 1, 1, 0), (0xFFFF, 1, 1, 1, 0)))),
            ("channel-weight", "39", dict(channels=((7, 0, 1, 1, 0),))),
            ("channel-size-zero", "39", dict(channels=((7, 1, 0, 1, 0),))),
            ("channel-size", "39", dict(channels=((7, 1, 1 + (1 << 28), 1 << 29, 0),))),
            ("channel-window", "39", dict(channels=((7, 1, 2, 1, 0),))),
            ("channel-missing", "39", dict(count=2)),
            ("trailing", "39", dict(tail=b"\0")),
            ("extension-short", "39", dict(tail=struct.pack("<HH", 5, 2) + b"x")),
            ("extension-twice", "39", dict(tail=ext(5, b"") * 2)),
            ("critical-not-offered", "39", dict(critical=1)),
            ("critical-feature", "40", dict(features=0x10, critical=0x10)),
            ("critical-known", "ready", dict(features=0x4, critical=0x4)),
            ("critical-extension", "40", dict(tail=ext(0x8001, b"")))):
        yield "listener." + name, expect, FROM_DIALER + hello(**fields)
    for name, expect, data in (
            ("empty-hello", "39", frame(HELLO)),
            ("hello-channel", "39", frame(HELLO, hello_payload(), channel=7)),
            ("hello-aux", "39", frame(HELLO, hello_payload(), aux=1)),
            ("ping-first", "39", frame(PING, bytes(8))),
            ("optional-first", "39", frame(0x90)),
            ("hello-too-long", "41", frame(HELLO, length=2049)),
            ("goodbye-too-long", "50", frame(GOODBYE, length=1025)),
            ("goodbye", "64", goodbye(64)),
            ("goodbye-malformed", "56", frame(GOODBYE, b"\x40\x00")),
            ("magic", "48", b"WEIS"),
            ("header", "49", flip(hello(), 9)[:32]),
            ("frame-version", "36", frame(HELLO, hello_payload(), version=2)[:32]),
            ("checksum", "51", flip(hello(), 40))):
        yield "listener." + name, expect, FROM_DIALER + data

    yield ("What a dialer receives from the first byte on",)
    for name, expect, data in (
            ("example", "ready", FROM_LISTENER + hello(**LISTENER)),
            ("http", "33", b"HTTP/1.1 400 Bad Request\r\n"),
            ("tls", "34", bytes.fromhex("15030100020228")),
            ("ssh", "32", b"SSH-2.0-OpenSSH_9.2\r\n"),
            ("echo", "32", FROM_DIALER),
            ("refused", "35", FROM_LISTENER + goodbye(35))):
        yield "dialer." + name, expect, data

    yield ("What the example's listener receives after the handshake",)
    big = pattern(300)
    fragments = [frame(FIRST, big[:256], 7, 300), frame(MORE, big[256:], 7, 256)]
    ping = frame(PING, struct.pack("<Q", 0x1122334455667788))
    for name, expect, data in (
            ("nothing", "", b""),
            ("run", " ".join(message(7, m) for m in (b"a", b"", b"weir")), run(7, b"a", b"", b"weir")),
            ("whole", message(7, b"weir"), frame(FIRST, b"weir", 7, 4)),
            ("fragments", message(7, big), b"".join(fragments)),
            ("between", f"ping:1122334455667788 {message(9, b'x')} {message(7, big)}",
             fragments[0] + ping + run(9, b"x") + fragments[1]),
            ("ping", "ping:1122334455667788", ping),
            ("pong", "pong:1122334455667788", frame(PONG, struct.pack("<Q", 0x1122334455667788))),
            ("credit", "credit:7:8000 credit:12:96", credit((7, 8000), (12, 96))),
            ("goodbye", "goodbye:1:restarting", goodbye(1, b"restarting")),
            ("goodbye-text", "goodbye:2:a?b??c\u00e9", goodbye(2, b"a\nb\xc2\x85c\xc3\xa9")),
            ("goodbye-later-reason", "goodbye:2:", goodbye(999)),
            ("optional", "skip:144", frame(0x90, b"??", channel=5, aux=6)),
            ("magic", "fault:48", b"WEIQ"),
            ("header", "fault:49", flip(run(7, b"a"), 12)),
            ("version", "fault:36", frame(RUN, b"\0\0", 7, 1, version=2)),
            ("length", "fault:50", frame(FIRST, b"", 9, 8192, length=4097)),
            ("length-control", "fault:50", frame(PING, length=1025)),
            ("length-optional", "fault:50", frame(0x90, length=4097)),
            ("checksum", "fault:51", flip(run(7, b"a"), 34)),
            ("channel", "fault:52", run(8, b"a")),
            ("channel-not-common", "fault:52", run(3, b"a")),
            ("channel-control", "fault:52", run(CONTROL, b"a")),
            ("kind", "fault:53", frame(0x42)),
            ("kind-zero", "fault:53", frame(0)),
            ("run-empty", "fault:54", run(7)),
            ("run-count-above", "fault:54", run(7, b"ab", b"cd", count=3)),
            ("run-count-below", "fault:54", run(7, b"ab", b"cd", count=1)),
            ("run-count-huge", "fault:54", run(7, b"ab", count=0xFFFFFFFF)),
            ("run-overrun", "fault:54", frame(RUN, b"\x03\0ab", 7, 1)),
            ("first-empty", "fault:55", frame(FIRST, b"", 7, 4)),
            ("first-above", "fault:55", frame(FIRST, b"weir!", 7, 4)),
            ("more-alone", "fault:55", frame(MORE, b"weir", 7, 4)),
            ("more-empty", "fault:55", frame(FIRST, b"we", 7, 4) + frame(MORE, b"", 7, 2)),
            ("more-gap", "fault:55", frame(FIRST, b"we", 7, 5) + frame(MORE, b"r", 7, 3)),
            ("more-past", "fault:55", frame(FIRST, b"we", 7, 4) + frame(MORE, b"ir!", 7, 2)),
            ("more-zero", "fault:55", frame(FIRST, b"we", 7, 4) + frame(MORE, b"weir", 7, 0)),
            ("run-inside", "fault:55", frame(FIRST, b"we", 7, 4) + run(7, b"x")),
            ("first-inside", "fault:55", frame(FIRST, b"we", 7, 4) + frame(FIRST, b"x", 7, 1)),
            ("control-channel", "fault:56", frame(PING, bytes(8), channel=7)),
            ("control-aux", "fault:56", frame(PING, bytes(8), aux=1)),
            ("ping-short", "fault:56", frame(PING, bytes(7))),
            ("credit-none", "fault:56", frame(CREDIT)),
            ("credit-part", "fault:56", frame(CREDIT, bytes([7]) + bytes(12))),
            ("credit-pad", "fault:56", credit((7, 8000), pad=1)),
            ("credit-channel", "fault:52", credit((8, 8000))),
            ("goodbye-none", "fault:56", goodbye(0)),
            ("goodbye-length", "fault:56", goodbye(1, b"ab", length=3)),
            ("goodbye-long", "fault:56", goodbye(1, b"a" * 121)),
            ("hello-again", "fault:56", hello()),
            ("too-big-run", "fault:57", run(12, b"123456789")),
            ("too-big-first", "fault:57", frame(FIRST, b"1", 12, 9)),
            ("credit-exceeded", f"{message(12, b'12345678')} {message(12, b'87654321')} fault:58",
             frame(FIRST, b"12345678", 12, 8) + frame(FIRST, b"87654321", 12, 8) + run(12, b""))):
        yield "stream." + name, expect, data


def render():
    lines = ["# Test vectors of docs/wire.md, made by tests/scripts/wire_vectors.py.",
             "# NAME [EXPECTATION] = BYTES; a line that begins with a space goes on."]
    for entry in vectors():
        if len(entry) == 1:
            lines += ["", "# " + entry[0] + "."]
            continue
        name, expect, data = entry
        lines.append(f"{name} {expect} =" if expect else f"{name} =")
        digits = data.hex()
        if len(digits) <= 64 and len(lines[-1]) + len(digits) < 99:
            lines[-1] += (" " + digits).rstrip()
        else:
            lines += ["  " + digits[i:i + 96] for i in range(0, len(digits), 96)]
    return "\n".join(lines) + "\n"


# ---- decoding -----------------------------------------------------------------------------------------

class Fault(Exception):
    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


def demand(truth, reason):
    if not truth:
        raise Fault(reason)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        return len(self.data) - self.at

    def take(self, n):
        demand(self.left() >= n, 39)
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self, n):
        return int.from_bytes(self.take(n), "little")


def read_preface(data, right):
    """Returns the rest, or None if more bytes are needed."""
    if data[:8] != PREFACE[:len(data[:8])]:
        if data[0] in (0x16, 0x15) and data[1:2] in (b"", b"\x03"):
            raise Fault(34)
        words = b"GET |POST|PUT |HEAD|OPTI|PRI |CONN|DELE|PATC|TRAC|HTTP".split(b"|")
        raise Fault(33 if any(w.startswith(data[:4]) for w in words) else 32)
    if len(data) < 9:
        return None
    demand(data[:9] == right, 32)
    return data[9:]


def read_frame(data, rules):
    """Returns (kind, channel, aux, payload, rest), or None if more bytes are needed."""
    if len(data) < 4:
        return None
    demand(data[:4] == b"WEIR", 48)
    if len(data) < 32:
        return None
    version, kind, channel, length, aux, payload_sum, head_sum = struct.unpack_from("<4xBBHIIQQ", data)
    demand(xxh3(data[:24], SEED) == head_sum, 49)
    demand(version == 1, 36)
    rules(kind, channel, length, aux)
    if len(data) < 32 + length:
        return None
    payload = data[32:32 + length]
    demand(xxh3(payload) == payload_sum, 51)
    return kind, channel, aux, payload, data[32 + length:]


def handshake_rules(kind, channel, length, aux):
    demand(kind in (HELLO, GOODBYE), 39)
    demand(length <= (2016 if kind == HELLO else 1024), 41 if kind == HELLO else 50)
    demand(channel == CONTROL and aux == 0, 39 if kind == HELLO else 56)


def read_goodbye(payload):
    demand(len(payload) >= 4, 56)
    reason, length = struct.unpack_from("<HH", payload)
    demand(reason != 0 and length <= 120 and length == len(payload) - 4, 56)
    text, raw = "", payload[4:]
    while raw:
        for n in (1, 2, 3, 4):
            try:
                char = raw[:n].decode("utf-8")
            except UnicodeDecodeError:
                continue
            break
        else:
            char, n = "?", 1
        code = ord(char[:1])
        bad = code < 0x20 or 0x7F <= code <= 0x9F or 0x2028 <= code <= 0x202E or 0x2066 <= code <= 0x2069
        text += "?" * n if bad else char
        raw = raw[n:]
    return (2 if reason > 67 else reason), text


def read_hello(payload, us):
    """Judges a hello; returns the ids in common."""
    r = Reader(payload)
    vmin, vmax = r.number(1), r.number(1)
    demand(1 <= vmin <= vmax, 39)
    demand(vmin <= 1 <= vmax, 36)
    r.take(2)
    demand(4096 <= r.number(4) <= 65536, 39)
    features, critical = r.number(8), r.number(8)
    demand(critical & ~features == 0, 39)
    nonce, _node = r.take(16), r.take(32)
    network = r.take(r.number(1))
    demand(1 <= len(network) <= 32, 39)
    agent = r.take(r.number(1))
    demand(len(agent) <= 64 and all(0x20 <= b <= 0x7E for b in agent), 39)
    count = r.number(2)
    demand(count <= 64, 39)
    ids = []
    for _ in range(count):
        ident, weight, size, window, _flags = struct.unpack("<HHIII", r.take(16))
        demand(ident != 0xFFFF and weight and 1 <= size <= 1 << 28 and window >= size, 39)
        demand(not ids or ids[-1] < ident, 39)
        ids.append(ident)
    types = []
    while r.left():
        kind = r.number(2)
        r.take(r.number(2))
        demand(not types or types[-1] < kind, 39)
        types.append(kind)
    demand(network == b"weir-test", 35)
    demand(nonce != us["nonce"], 37)
    demand(critical & ~us["features"] == 0 and not any(t & 0x8000 for t in types), 40)
    common = [c[0] for c in us["channels"] if c[0] in ids]
    demand(common, 38)
    return common


def handshake_verdict(data, us, right):
    try:
        rest = read_preface(data, right)
        got = read_frame(rest, handshake_rules) if rest is not None else None
        if got is None:
            return "more"
        kind, _channel, _aux, payload, _rest = got
        if kind == GOODBYE:
            return str(read_goodbye(payload)[0])
        read_hello(payload, us)
        return "ready"
    except Fault as fault:
        return str(fault.reason)


def stream_rules(kind, channel, length, aux):
    if kind in (RUN, FIRST, MORE):
        demand(length <= 4096, 50)
        demand(channel != CONTROL, 52)
        if kind == RUN:
            demand(1 <= aux <= length // 2, 54)
        elif kind == FIRST:
            demand(1 <= length <= aux, 55)
        else:
            demand(length and aux, 55)
    elif kind in (PING, PONG, CREDIT, GOODBYE):
        demand(length <= 1024, 50)
        demand(channel == CONTROL and aux == 0, 56)
    elif kind == HELLO:
        raise Fault(56)
    else:
        demand(kind & 0x80, 53)
        demand(length <= 4096, 50)


def stream_verdict(data):
    """Plays the example's listener after the handshake."""
    limits = {c[0]: (c[2], c[3]) for c in LISTENER["channels"] if c[0] in (7, 9, 12)}
    received, partial, events = dict.fromkeys(limits, 0), {}, []
    try:
        while True:
            got = read_frame(data, stream_rules)
            if got is None:
                if data:
                    events.append("more")
                return " ".join(events)
            kind, channel, aux, payload, data = got
            if kind in (PING, PONG):
                demand(len(payload) == 8, 56)
                events.append(f"{'ping' if kind == PING else 'pong'}:{u64(payload):016x}")
            elif kind == CREDIT:
                demand(0 < len(payload) <= 768 and len(payload) % 12 == 0, 56)
                entries = list(struct.iter_unpack("<HHQ", payload))
                demand(all(pad == 0 for _, pad, _ in entries), 56)
                demand(all(c in limits for c, _, _ in entries), 52)
                events += [f"credit:{c}:{limit}" for c, _, limit in entries]
            elif kind == GOODBYE:
                events.append("goodbye:%d:%s" % read_goodbye(payload))
            elif kind & 0x80:
                events.append(f"skip:{kind}")
            else:
                demand(channel in limits, 52)
                size_max, window = limits[channel]
                received[channel] += len(payload)
                demand(received[channel] <= window, 58)
                events += read_data(kind, channel, aux, payload, partial, size_max)
    except Fault as fault:
        return " ".join(events + [f"fault:{fault.reason}"])


def read_data(kind, channel, aux, payload, partial, size_max):
    if kind == MORE:
        demand(channel in partial, 55)
        size, have = partial[channel]
        demand(aux == len(have) and aux + len(payload) <= size, 55)
        have += payload
    else:
        demand(channel not in partial, 55)
        if kind == RUN:
            messages, at = [], 0
            for _ in range(aux):
                demand(len(payload) - at >= 2, 54)
                size = struct.unpack_from("<H", payload, at)[0]
                messages.append(payload[at + 2:at + 2 + size])
                demand(len(messages[-1]) == size, 54)
                at += 2 + size
            demand(at == len(payload), 54)
            demand(all(len(m) <= size_max for m in messages), 57)
            return [message(channel, m) for m in messages]
        demand(aux <= size_max, 57)
        size, have = aux, payload
    if len(have) < size:
        partial[channel] = (size, have)
        return []
    partial.pop(channel, None)
    return [message(channel, have)]


# ---- checking -----------------------------------------------------------------------------------------

def parse(text):
    entries = []
    for line in text.splitlines():
        if line.startswith(" "):
            entries[-1][2] += line.strip()
        elif line and not line.startswith("#"):
            left, right = line.split("=")
            name, _, expect = left.strip().partition(" ")
            entries.append([name, expect.strip(), right.strip()])
    return [(name, expect, bytes.fromhex(digits)) for name, expect, digits in entries]


def verdict(name, data):
    """What this implementation makes of the bytes, as the file would say it."""
    group = name.partition(".")[0]
    if group == "listener":
        return handshake_verdict(data, LISTENER, FROM_DIALER)
    if group == "dialer":
        return handshake_verdict(data, DIALER, FROM_LISTENER)
    return stream_verdict(data) if group == "stream" else ""


def document_with(text, block):
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n```text\n{block}```\n{END}{tail}"


def main():
    if sys.argv[1:] == ["--write"]:
        FILE.write_text(render(), encoding="utf-8")
        if DOC.exists():
            DOC.write_text(document_with(DOC.read_text(encoding="utf-8"), render()), encoding="utf-8")
    errors = []
    text = FILE.read_text(encoding="utf-8")
    entries = parse(text)
    for (name, expect, data), made in zip(entries, [v for v in vectors() if len(v) == 3]):
        if (name, expect, data) != made:
            errors.append(f"{name}: the file and the encoder differ")
        got = verdict(name, data)
        if got != expect:
            errors.append(f"{name}: expected '{expect}', decoded '{got}'")
    if text != render():
        errors.append("tests/vectors/wire.txt is not what --write would write")
    document = DOC.read_text(encoding="utf-8")
    if BEGIN not in document or document_with(document, text) != document:
        errors.append("docs/wire.md does not print tests/vectors/wire.txt")
    for error in errors:
        print(error)
    print(f"{len(entries)} vectors, {len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
