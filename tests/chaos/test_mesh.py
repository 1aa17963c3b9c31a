#!/usr/bin/env python3
"""A mesh of five nodes under load: each second one is killed, stopped for a while, or restarted.

Nobody who was not killed may end or complain; every node checks what it receives. Then the mesh is left
alone: every node must hear every other again, and hold no more descriptors and memory than its connections
need; at last all are stopped, and must have nothing in use. First a plain mesh, then an encrypted one, with half of
--seconds each; --secure 0 or 1: one of them.
"""
import signal
import time

import chaos

NODES = 5
# One connection to each other node, and what a node has without any (rings, listener, standard streams);
# the rest is room for connections that are being replaced.
FDS_MAX = 3 + 4 + 3 * NODES
RSS_KIB_MAX = 256 * 1024
RSS_GROWTH_KIB_MAX = 32 * 1024


class Mesh:
    def __init__(self, chance, is_secure):
        self.chance = chance
        self.wire = ["--secure"] if is_secure else []
        network = chaos.loopback_network()
        self.addresses = [f"{network}.{i + 1}:7711" for i in range(NODES)]
        self.nodes = [None] * NODES
        self.events = {"kill": 0, "stop": 0, "restart": 0}
        self.crowd = []
        for i in range(NODES):
            self.start(i)

    def start(self, i):
        """Each pair is dialed by one of the two, again and again; after a restart that goes on by itself."""
        dials = []
        for other in range(i + 1, NODES):
            dials += ["--dial", self.addresses[other]]
        shards = "2" if i == 0 else "1"
        self.nodes[i] = chaos.start_node(i, *dials, *self.wire, "--shards", shards, "--rate", str(2 << 20),
                                         "--seed", str(self.chance.getrandbits(32)), listen=self.addresses[i])

    def check(self):
        for node in self.nodes:
            node.check()

    def sleep(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.check()
            time.sleep(0.02)

    def disturb(self):
        i = self.chance.randrange(NODES)
        what = self.chance.choice(["kill", "kill", "stop", "stop", "restart"])
        self.events[what] += 1
        if what == "stop":
            # Short stops are a pause; from 2 s on the others give the node up.
            self.nodes[i].signal(signal.SIGSTOP)
            self.sleep(self.chance.choice([0.1, 0.5, 1.0, 2.5, 4.0]))
            self.nodes[i].signal(signal.SIGCONT)
            return
        if what == "kill":
            self.nodes[i].kill()
        else:
            self.nodes[i].stop()
        others = [node for node in self.nodes if node is not self.nodes[i]]
        until = time.monotonic() + self.chance.choice([0.0, 0.2, 1.0])
        while time.monotonic() < until:
            for node in others:
                node.check()
            time.sleep(0.02)
        self.start(i)

    def converge(self):
        """Every node hears every other, on connections where messages arrive now."""
        chaos.await_that(lambda: all(node.last and node.last["heard"] == NODES - 1 for node in self.nodes),
                         "every node hears every other", self.nodes)
        before = [node.last["received"] for node in self.nodes]
        chaos.await_that(lambda: all(node.last["received"] > was + 100 for node, was in zip(self.nodes, before)),
                         "messages flow", self.nodes)

    def measure(self):
        for node in self.nodes:
            if node.last["fds"] > FDS_MAX:
                raise chaos.Failed(f"{node.name} has {node.last['fds']} descriptors")
            if node.last["rss_kib"] > RSS_KIB_MAX and not chaos.is_sanitized():
                raise chaos.Failed(f"{node.name} has {node.last['rss_kib']} KiB")


def disturb_mesh(chance, is_secure, seconds):
    mesh = Mesh(chance, is_secure)
    mesh.converge()
    until = time.monotonic() + seconds
    rounds = 0
    heals = {}  # process -> its first resident size in a healed mesh
    while time.monotonic() < until:
        began = time.monotonic()
        mesh.disturb()
        rounds += 1
        if rounds % 10 == 0:  # from time to time it must be whole again
            mesh.converge()
            mesh.measure()
            for node in mesh.nodes:
                heals.setdefault(node, node.last["rss_kib"])
        mesh.sleep(max(0.0, 1.0 - (time.monotonic() - began)))
    mesh.converge()
    # Connections that were replaced linger for a moment.
    chaos.await_that(lambda: all(node.last["conns"] <= NODES + 1 for node in mesh.nodes), "old connections end",
                     mesh.nodes)
    mesh.measure()
    for node in mesh.nodes:
        grown = node.last["rss_kib"] - heals.get(node, node.last["rss_kib"])
        if grown > RSS_GROWTH_KIB_MAX and not chaos.is_sanitized():
            raise chaos.Failed(f"{node.name} grew by {grown} KiB since its mesh was whole")
    for node in mesh.nodes:
        node.stop()
    received = sum(node.last["received"] for node in mesh.nodes)
    print(f"{'encrypted' if is_secure else 'plain'}, {mesh.events}: {received} messages at the last {NODES} processes, "
          f"rss {max(node.last['rss_kib'] for node in mesh.nodes)} KiB, "
          f"fds {[node.last['fds'] for node in mesh.nodes]}")


def run(options, chance):
    chaos.on_each_wire(options, lambda is_secure, seconds: disturb_mesh(chance, is_secure, seconds))


if __name__ == "__main__":
    chaos.main(run, 60, secure=chaos.BOTH)
