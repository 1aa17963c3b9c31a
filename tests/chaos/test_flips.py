#!/usr/bin/env python3
"""Two nodes through a proxy that flips bits, delays and splits: nothing corrupt is ever delivered.

A damaged connection ends (its frames are checked), and is dialed again at once; the run goes on until
--bits bits were flipped, in some thousands of connections, and fails when --seconds do not suffice; or, with
--until-time 1, for all of --seconds. With --secure 1 the connections are encrypted, so that handshakes and records are
what is damaged; each costs curve operations, so that 10^7 bits take minutes: by hand.
"""
import time

import chaos

# The reasons with which a receiver may answer damage; what they cannot be is a message.
DAMAGE = {"not-weir", "http", "tls", "wrong-network", "wrong-version", "no-channels", "bad-hello",
          "critical-feature", "handshake-bytes", "bad-magic", "bad-header", "bad-length", "bad-checksum",
          "bad-channel", "bad-kind", "bad-run", "bad-fragment", "bad-control", "message-too-big", "credit"}
# Encrypted: a tag does not match, or a preface or a refusal in clear is not what was sent; and where the length of
# a first record was damaged, what it promises is waited for in vain.
DAMAGE_SECURE = {"bad-record", "handshake-crypto", "bad-key", "bad-identity", "plain-refused", "secure-refused",
                 "network-key", "limit-peers", "handshake-timeout", "wrong-id"}


def run(options, chance):
    seed = chance.getrandbits(48)
    # Encrypted, what goes through before the damage is worth less than one more connection.
    more = ["--rate", str(1 << 17), "--secure"] if options.secure else ["--rate", str(1 << 20)]
    damage = DAMAGE | DAMAGE_SECURE if options.secure else DAMAGE
    target = chaos.start_node(1, *more, listen="127.0.0.1:0")
    proxies = [chaos.Process(f"proxy {i}", chaos.program("proxy"), "--to", target.address, "--seed", str(seed + i),
                             "--flip-max", flip_max, "--delay-us", delay_us, "--split", split)
               for i, (flip_max, delay_us, split) in enumerate([("16384", "0", "65536"), ("262144", "300", "1500"),
                                                                 ("4096", "0", "40")])]
    dialers = []
    for i, proxy in enumerate(proxies):
        chaos.await_that(lambda: proxy.address, "the proxy listens", [proxy])
        dialers.append(chaos.start_node(2 + i, *more, "--dial", proxy.address, "--swarm", "16"))
    everybody = [target, *proxies, *dialers]

    def bits():
        return sum(proxy.last["bits"] for proxy in proxies if proxy.last)

    began = time.monotonic()
    until = began + options.seconds
    while (options.until_time or bits() < options.bits) and time.monotonic() < until:
        for process in everybody:
            process.check()
        time.sleep(0.1)
    seconds = time.monotonic() - began
    # Undamaged messages arrived all the while, from both sides.
    for node in [target, *dialers]:
        if not node.last["received"]:
            raise chaos.Failed(f"{node.name} received nothing")
    for node in dialers:
        node.stop()
    target.stop()
    for proxy in proxies:
        proxy.stop()
    closes = {}
    for node in [target, *dialers]:
        for reason, count in node.last["closes"].items():
            closes[reason] = closes.get(reason, 0) + count
    caught = sum(count for reason, count in closes.items() if reason in damage)
    damages = sum(proxy.last["damages"] for proxy in proxies)
    print(f"{bits()} bits flipped, in {damages} of {sum(p.last['links'] for p in proxies)} connections "
          f"in {seconds:.0f} s, {sum(p.last['bytes'] for p in proxies)} bytes; "
          f"{caught} ends for damage; {sum(n.last['received'] for n in [target, *dialers])} messages received; {closes}")
    if bits() < options.bits and not options.until_time:
        raise chaos.Failed(f"only {bits()} of {options.bits} bits in {options.seconds:g} s")
    # A connection is damaged once, and nothing else ends it but the stop: whoever got the bytes noticed. (The
    # damage of a connection that was being stopped may never be read.)
    if caught < damages * 0.95:
        raise chaos.Failed(f"{damages - caught} damages that nobody noticed")


if __name__ == "__main__":
    chaos.main(run, 150, bits=1000000, until_time=0, secure=0)
