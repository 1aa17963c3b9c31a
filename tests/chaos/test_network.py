#!/usr/bin/env python3
"""Nodes over a network of our own that loses packets, is slow, or is cut for a while.

Two network namespaces with a veth pair between them; nftables drops packets at random, tbf limits the rate.
On a link that loses a few percent no connection ends and every message arrives once; on a slow one neither,
however long the queues in front of it get; a link that is cut ends the connection, and it comes back by itself.
Skipped where namespaces cannot be made: that takes root, ip, nft and tc.
"""
import os
import shutil
import subprocess
import time

import chaos


class Network:
    def __init__(self):
        self.names = [f"weir{os.getpid()}{side}" for side in "ab"]
        self.hosts = ["10.99.0.1", "10.99.0.2"]

    def command(self, *words, inside=None):
        if inside is not None:
            words = ("ip", "netns", "exec", self.names[inside], *words)
        done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")

    def make(self):
        for name in self.names:
            self.command("ip", "netns", "add", name)
        self.command("ip", "link", "add", "weir0", "netns", self.names[0], "type", "veth", "peer", "name", "weir0",
                     "netns", self.names[1])
        for side, host in enumerate(self.hosts):
            self.command("ip", "addr", "add", f"{host}/24", "dev", "weir0", inside=side)
            self.command("ip", "link", "set", "weir0", "up", inside=side)
            self.command("ip", "link", "set", "lo", "up", inside=side)
        self.lose(1)  # whether nftables may be used is part of the question
        self.lose(0)

    def remove(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def lose(self, permille):
        """Each packet is dropped with this probability, on its way in on both sides."""
        for side in range(2):
            self.command("nft", "flush", "ruleset", inside=side)
            if permille == 0:
                continue
            self.command("nft", "add table ip weir; add chain ip weir in { type filter hook input priority 0; }; "
                         f"add rule ip weir in {'numgen random mod 1000 < %d' % permille if permille < 1000 else ''} drop",
                         inside=side)

    def limit(self, rate):
        for side in range(2):
            if rate:
                self.command("tc", "qdisc", "add", "dev", "weir0", "root", "tbf", "rate", rate, "burst", "64kb",
                             "latency", "400ms", inside=side)
            else:
                self.command("tc", "qdisc", "del", "dev", "weir0", "root", inside=side)

    def inside(self, side):
        return ("ip", "netns", "exec", self.names[side])


def ends(nodes):
    return sum(sum(node.last["closes"].values()) for node in nodes)


def flow(nodes, count, what):
    before = [node.last["received"] for node in nodes]
    chaos.await_that(lambda: all(node.last["received"] >= was + count for node, was in zip(nodes, before)), what, nodes)


def run(options, chance):
    missing = [name for name in ("ip", "nft", "tc") if not shutil.which(name)]
    if missing:
        print(f"skipped: {', '.join(missing)} not found (Debian packages iproute2 and nftables)")
        return chaos.SKIPPED
    network = Network()
    try:
        try:
            network.make()
        except OSError as error:
            print(f"skipped: no network namespaces here: {error}")
            return chaos.SKIPPED
        return play(options, network)
    finally:
        chaos.Process.end_all()
        network.remove()


def play(options, network):
    share = options.seconds / 4
    # An answer to a ping may take 32 s. Over a slow link that is full both ways, ping and pong each wait behind
    # what lies below the scheduler, which is some 300 KiB (more than 2 s), and behind retransmissions, whose timeout
    # doubles each time that the queue of the link drops them as well: more than 16 s were seen.
    common = ["--ping-ms", "8000", "--rate"]
    a = chaos.start_node(1, *common, str(256 << 10), listen=f"{network.hosts[0]}:7711", prefix=network.inside(0))
    b = chaos.start_node(2, *common, str(256 << 10), "--dial", a.address, prefix=network.inside(1))
    nodes = [a, b]
    chaos.await_that(lambda: all(node.last and node.last["heard"] == 1 for node in nodes), "they meet", nodes)
    flow(nodes, 100, "messages on a good link")
    if ends(nodes):
        raise chaos.Failed("a connection ended on a good link")

    def phase(what, may_end=False):
        before = ends(nodes)
        flow(nodes, 50, what)
        until = time.monotonic() + share
        while time.monotonic() < until:
            for node in nodes:
                node.check()
            time.sleep(0.1)
        ended = ends(nodes) - before
        print(f"{what}: {ended} connections ended, {[node.last['received'] for node in nodes]} messages received so far, "
              f"rss {[node.last['rss_kib'] for node in nodes]} KiB")
        if ended and not may_end:
            raise chaos.Failed(f"{ended} ends with {what}: {a.last['closes']} {b.last['closes']}")

    network.lose(20)
    phase("2 % loss")
    network.lose(0)
    network.limit("1mbit")
    phase("1 Mbit/s")
    network.limit(None)
    network.lose(150)
    phase("15 % loss", may_end=True)
    network.lose(1000)
    before = ends(nodes)
    chaos.await_that(lambda: ends(nodes) > before, "a link that is cut ends the connection", nodes)
    network.lose(0)
    chaos.await_that(lambda: all(node.last["peers"] == 1 for node in nodes), "they meet again", nodes)
    phase("after the cut", may_end=True)
    for node in nodes:
        if node.last["pool_bytes"] > 64 << 20:
            raise chaos.Failed(f"{node.name} holds {node.last['pool_bytes']} bytes")
        node.stop()
    return 0


if __name__ == "__main__":
    chaos.main(run, 16)
