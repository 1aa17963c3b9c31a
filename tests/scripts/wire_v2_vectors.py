#!/usr/bin/env python3
"""Checks tests/vectors/wire-v2*.txt with an implementation of version 2 of its own, in plain Python.

docs/wire-v2.md says what the bytes are. With --write, makes the files.
"""
import hashlib
import hmac
import os
import struct
import sys

P = 2**255 - 19


# ---- arithmetic: RFC 7748, RFC 8032, RFC 8439 -----------------------------------------------------

def x25519(scalar, u=b"\x09" + bytes(31)):
    k = bytearray(scalar)
    k[0] &= 248
    k[31] = k[31] & 127 | 64
    k = int.from_bytes(k, "little")
    x1 = int.from_bytes(u, "little") & (2**255 - 1)
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap != bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b = (x2 + z2) % P, (x2 - z2) % P
        aa, bb = a * a % P, b * b % P
        e = (aa - bb) % P
        da, cb = (x3 - z3) * a % P, (x3 + z3) * b % P
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


D = -121665 * pow(121666, P - 2, P) % P
L = 2**252 + 27742317777372353535851937790883648493


def ed_add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def ed_mul(n, p):
    q = (0, 1, 1, 0)
    while n:
        if n & 1:
            q = ed_add(q, p)
        p = ed_add(p, p)
        n >>= 1
    return q


BY = 4 * pow(5, P - 2, P) % P
BX2 = (BY * BY - 1) * pow(D * BY * BY + 1, P - 2, P) % P
BX = pow(BX2, (P + 3) // 8, P)
if BX * BX % P != BX2:
    BX = BX * pow(2, (P - 1) // 4, P) % P
if BX & 1:
    BX = P - BX
BASE = (BX, BY, 1, BX * BY % P)


def ed_bytes(p):
    inverse = pow(p[2], P - 2, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def ed_expand(seed):
    h = hashlib.sha512(seed).digest()
    return int.from_bytes(h[:32], "little") & (1 << 254) - 8 | 1 << 254, h[32:]


def ed_public(seed):
    return ed_bytes(ed_mul(ed_expand(seed)[0], BASE))


def ed_sign(seed, message):
    a, prefix = ed_expand(seed)
    public = ed_public(seed)
    r = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % L
    point = ed_bytes(ed_mul(r, BASE))
    k = int.from_bytes(hashlib.sha512(point + public + message).digest(), "little") % L
    return point + ((r + k * a) % L).to_bytes(32, "little")


def chacha_block(key, counter, nonce):
    def quarter(a, b, c, d):
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = s[x] + s[y] & 0xFFFFFFFF
            s[z] ^= s[x]
            s[z] = (s[z] << turn | s[z] >> 32 - turn) & 0xFFFFFFFF

    start = list(struct.unpack("<16I", b"expand 32-byte k" + key + struct.pack("<I", counter) + nonce))
    s = start[:]
    for _ in range(10):
        for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                           (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            quarter(a, b, c, d)
    return struct.pack("<16I", *(x + y & 0xFFFFFFFF for x, y in zip(s, start)))


def seal(key, n, ad, plain):
    nonce = bytes(4) + struct.pack("<Q", n)
    stream = b"".join(chacha_block(key, 1 + i, nonce) for i in range((len(plain) + 63) // 64))
    sealed = bytes(x ^ y for x, y in zip(plain, stream))
    one_time = chacha_block(key, 0, nonce)
    r = int.from_bytes(one_time[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    data = ad + bytes(-len(ad) % 16) + sealed + bytes(-len(sealed) % 16)
    data += struct.pack("<QQ", len(ad), len(sealed))
    tag = 0
    for i in range(0, len(data), 16):
        tag = (tag + int.from_bytes(data[i:i + 16], "little") + (1 << 128)) * r % (2**130 - 5)
    tag = tag + int.from_bytes(one_time[16:32], "little") & 2**128 - 1
    return sealed + tag.to_bytes(16, "little")


# ---- Noise ----------------------------------------------------------------------------------------

def hkdf(ck, data, cnt):
    temp = hmac.new(ck, data, hashlib.sha256).digest()
    outs, last = [], b""
    for i in range(1, cnt + 1):
        last = hmac.new(temp, last + bytes([i]), hashlib.sha256).digest()
        outs.append(last)
    return outs


class Symmetric:
    def __init__(self, name):
        self.h = name + bytes(32 - len(name)) if len(name) <= 32 else hashlib.sha256(name).digest()
        self.ck, self.k, self.n = self.h, None, 0

    def mix_hash(self, data):
        self.h = hashlib.sha256(self.h + data).digest()

    def mix_key(self, data):
        self.ck, self.k = hkdf(self.ck, data, 2)
        self.n = 0

    def encrypt(self, plain):
        out = plain if self.k is None else seal(self.k, self.n, self.h, plain)
        self.n += 1
        self.mix_hash(out)
        return out


# ---- the conversation -----------------------------------------------------------------------------

def key_of(seed):
    return bytes((seed * 37 + i * 11 + 1) % 256 for i in range(32))


def frame(kind, channel, aux, payload):
    return struct.pack("<BBHII", kind, 0, channel, len(payload), aux) + payload


def record(key, n, plain):
    mask = seal(key, 2**63 + n // 32, b"", bytes(64))[n % 32 * 2:n % 32 * 2 + 2]
    length = struct.pack("<H", len(plain) + 16)
    return bytes(x ^ y for x, y in zip(length, mask)) + seal(key, n, b"", plain)


def hello(node_id, nonce, channel):
    return (struct.pack("<BBHIQQ", 1, 1, 0, 16384, 0, 0) + nonce + node_id + b"\x04weir" + b"\x07vectors" +
            struct.pack("<H", 1) + struct.pack("<HHIII", channel, 1, 1000, 4000, 0))


def conversation(is_loaded):
    """Yields names and bytes, in the order in which they are on the wire."""
    secrets = [key_of(1), key_of(2)]
    ephemerals = [key_of(11), key_of(12)]
    ids = [ed_public(secret) for secret in secrets]
    statics = [hmac.new(secret, b"weir-noise-static-v1", hashlib.sha256).digest() for secret in secrets]
    publics = [x25519(static) for static in statics]
    proofs = [ids[i] + ed_sign(secrets[i], b"weir-noise-static-key-v1:" + publics[i]) for i in (0, 1)]
    hellos = [hello(ids[0], b"D" * 16, 7), hello(ids[1], b"L" * 16, 7)]
    e = [x25519(private) for private in ephemerals]

    magic = bytes.fromhex("89574549520d0a1a")
    preface = magic + bytes([0x53, 2, 2, 1, 0, 0x83, 0, 0])
    noise = Symmetric(b"Noise_XX_25519_ChaChaPoly_SHA256")
    noise.mix_hash(b"weir-noise-v2" + preface + b"\x04weir")
    noise.mix_hash(e[0])
    noise.encrypt(b"")
    first = preface + struct.pack("<H", 32) + e[0]
    yield "dialer", first
    if is_loaded:
        made_of = b"weir-cookie-v1" + bytes([len(ADDRESS)]) + ADDRESS + preface + e[0]
        cookie = hmac.new(key_of(31), made_of, hashlib.sha256).digest()
        yield "listener", magic + b"\x63" + cookie
        yield "dialer", magic + b"\x43" + cookie + first

    noise.mix_hash(e[1])
    noise.mix_key(x25519(ephemerals[1], e[0]))
    message = e[1] + noise.encrypt(publics[1])
    noise.mix_key(x25519(statics[1], e[0]))
    message += noise.encrypt(proofs[1] + bytes([2, 2, 3, 1]))
    yield "listener", magic + b"\x73" + struct.pack("<H", len(message)) + message

    message = noise.encrypt(publics[0])
    noise.mix_key(x25519(statics[0], e[1]))
    message += noise.encrypt(proofs[0] + hellos[0])
    yield "dialer", struct.pack("<H", len(message)) + message

    first, second = hkdf(noise.ck, b"", 2)
    yield "listener", record(second, 0, frame(16, 65535, 0, hellos[1]))
    if is_loaded:
        return
    yield "dialer", record(first, 0, frame(1, 7, 2, b"\x03\x00one\x03\x00two"))
    yield "dialer", record(first, 1, frame(21, 65535, 0, b""))
    first = seal(first, 2**64 - 1, b"", bytes(32))[:32]
    yield "dialer", record(first, 0, frame(2, 7, 3, b"six") + frame(17, 65535, 0, struct.pack("<Q", 77)))


def conversation_ik():
    """The same with a dialer that knows the listener's static key."""
    secrets = [key_of(1), key_of(2)]
    ephemerals = [key_of(11), key_of(12)]
    ids = [ed_public(secret) for secret in secrets]
    statics = [hmac.new(secret, b"weir-noise-static-v1", hashlib.sha256).digest() for secret in secrets]
    publics = [x25519(static) for static in statics]
    proof = ids[0] + ed_sign(secrets[0], b"weir-noise-static-key-v1:" + publics[0])
    hellos = [hello(ids[0], b"D" * 16, 7), hello(ids[1], b"L" * 16, 7)]
    e = [x25519(private) for private in ephemerals]

    magic = bytes.fromhex("89574549520d0a1a")
    preface = magic + bytes([0x53, 2, 2, 3, 0, 0x83, 0, 0])
    noise = Symmetric(b"Noise_IK_25519_ChaChaPoly_SHA256")
    noise.mix_hash(b"weir-noise-v2" + preface + b"\x04weir")
    noise.mix_hash(publics[1])
    noise.mix_hash(e[0])
    noise.mix_key(x25519(ephemerals[0], publics[1]))
    message = e[0] + noise.encrypt(publics[0])
    noise.mix_key(x25519(statics[0], publics[1]))
    message += noise.encrypt(proof)
    yield "dialer", preface + struct.pack("<H", len(message)) + message

    noise.mix_hash(e[1])
    noise.mix_key(x25519(ephemerals[1], e[0]))
    noise.mix_key(x25519(ephemerals[1], publics[0]))
    message = e[1] + noise.encrypt(bytes([2, 2, 3, 1]))
    first, second = hkdf(noise.ck, b"", 2)
    yield "listener", (magic + b"\x73" + struct.pack("<H", len(message)) + message +
                       record(second, 0, frame(16, 65535, 0, hellos[1])))
    yield "dialer", record(first, 0, frame(16, 65535, 0, hellos[0]))


ADDRESS = b"\x04\xC0\x00\x02\x07"


def texts():
    """Yields the files' names and what belongs into them."""
    keys = ("# Ed25519 seeds, then X25519 ephemeral private keys, dialer first: byte i of key s is\n"
            "# 37 s + 11 i + 1 mod 256, s = 1, 2, 11, 12. Each line: who sends it, and the bytes.\n")
    made_by = "docs/wire-v2.md; made by tests/scripts/wire_v2_vectors.py.\n"
    cookie = ("# The cookie is this listener's own matter; it is made with key 31, for a stranger whose address\n"
              "# is 04 c0 00 02 07.\n")
    for name, head, is_loaded in (
            ("wire-v2.txt", "# A conversation of version 2, " + made_by + keys, False),
            ("wire-v2-cookie.txt", "# The handshake with a listener under load, " + made_by + keys + cookie, True)):
        yield name, head + "".join(f"{who} {data.hex()}\n" for who, data in conversation(is_loaded))
    yield "wire-v2-ik.txt", ("# The handshake with a listener that the dialer has met, " + made_by + keys +
                             "".join(f"{who} {data.hex()}\n" for who, data in conversation_ik()))


def main():
    root = os.environ.get("WEIR_SRC_DIR", os.path.join(os.path.dirname(__file__), "../.."))
    for name, text in texts():
        path = os.path.join(root, "tests/vectors", name)
        if "--write" in sys.argv:
            with open(path, "w") as file:
                file.write(text)
            continue
        with open(path) as file:
            if file.read() != text:
                print(f"tests/vectors/{name} is not what docs/wire-v2.md says")
                return 1
    print("as docs/wire-v2.md says")
    return 0


if __name__ == "__main__":
    sys.exit(main())
