#!/usr/bin/env python3
"""Two nodes that saturate four connections with four channels each: memory, descriptors and accounts stay.

After a fifth of the time, in which pools, caches and sockets grow to their size, the resident size must not
rise: its slope over the rest, times that time, stays below a bound, whatever the speed was. Plain, then encrypted,
with half of --seconds each; --secure 0 or 1: one of them.
"""
import time

import chaos

GROWTH_KIB_MAX = 16 * 1024


def saturate(chance, is_secure, duration):
    # Pings rarely: how long one takes on a saturated machine says nothing here.
    common = ["--rate", "0", "--shards", "2", "--ping-ms", "20000", "--seed", str(chance.getrandbits(32))]
    common += ["--secure"] if is_secure else []
    server = chaos.start_node(1, *common, listen="127.0.0.1:0")
    client = chaos.start_node(2, *common, "--dial", server.address, "--swarm", "4")
    nodes = [server, client]
    chaos.await_that(lambda: all(node.last and node.last["peers"] == 4 and node.last["received"] > 1000
                                 for node in nodes), "traffic", nodes)
    began = time.monotonic()
    warm = began + duration / 5
    samples = {node: [] for node in nodes}
    fds = {}
    while time.monotonic() < began + duration:
        for node in nodes:
            node.check()
        time.sleep(0.25)
        now = time.monotonic()
        if now < warm:
            continue
        for node in nodes:
            samples[node].append((now - began, node.last["rss_kib"]))
            if fds.setdefault(node, node.last["fds"]) != node.last["fds"]:
                raise chaos.Failed(f"{node.name} had {fds[node]} descriptors and has {node.last['fds']}")
            if node.last["peers"] != 4 or node.last["closes"]:
                raise chaos.Failed(f"{node.name} lost a connection: {node.last['closes']}")
    before = [node.last["received"] for node in nodes]
    chaos.await_that(lambda: all(node.last["received"] > was for node, was in zip(nodes, before)), "still traffic", nodes)
    seconds = time.monotonic() - began
    for node in nodes:
        per_second = chaos.slope(samples[node])
        grown = per_second * (samples[node][-1][0] - samples[node][0][0])
        print(f"{node.name}, {'encrypted' if is_secure else 'plain'}: {node.last['received']} messages, {node.last['received_bytes'] / seconds / 1e6:.0f} MB/s received, "
              f"rss {samples[node][0][1]} -> {samples[node][-1][1]} KiB, slope {per_second:.1f} KiB/s, "
              f"{fds[node]} descriptors, pool {node.last['pool_bytes'] >> 10} KiB")
        if grown > GROWTH_KIB_MAX and not chaos.is_sanitized():
            raise chaos.Failed(f"{node.name} grew by {grown:.0f} KiB")
    client.stop()
    server.stop()


def run(options, chance):
    chaos.on_each_wire(options, lambda is_secure, duration: saturate(chance, is_secure, duration))


if __name__ == "__main__":
    chaos.main(run, 60, secure=chaos.BOTH)
