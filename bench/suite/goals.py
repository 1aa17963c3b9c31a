"""The goals that weir set itself, held against a suite document: one row for each, met or not, and what was seen.

A row is met when everything in it is, not met when something is not, and undecided (None) when a rival or a result
that it speaks of is not in the document.
"""

KIB, MIB = 1024, 1024 * 1024


class Results:
    """Looks results up in a document: by case and by how the case was run."""

    def __init__(self, document):
        self.cases = document["cases"]

    def find(self, case, impl="weir", congestion="cubic", busy=False, mixed=False, **wanted):
        for report in self.cases:
            inputs = report["inputs"]
            if report["case"] != case or (inputs["busy"], inputs.get("mixed", False)) != (busy, mixed) \
                    or inputs["congestion"] != congestion:
                continue
            for result in report["results"]:
                if result["impl"] == impl and all(result.get(name) == value for name, value in wanted.items()):
                    return result
        return None

    def sizes(self, case, least, most):
        return sorted({result["size"] for report in self.cases if report["case"] == case
                       for result in report["results"] if result["impl"] == "weir" and least <= result["size"] <= most})


def size_text(size):
    return f"{size // MIB} MiB" if size % MIB == 0 else f"{size // KIB} KiB" if size % KIB == 0 else f"{size} B"


def ratio_to(result, rival):
    """weir's to the best of a rival's patterns ("zmq" and "zmq-pair"), None without it."""
    if result is None:
        return None
    ratios = [ratio for name, ratio in result.get("ratio_to", {}).items()
              if name == rival or name.startswith((rival + "-", rival + "_"))]
    return min(ratios) if ratios else None


class Row:
    def __init__(self, case, goal):
        self.case, self.goal, self.seen, self.verdicts = case, goal, [], []

    def add(self, name, value, limit, is_most=False, form="{:.2f}"):
        """`value` must be at least `limit`, or at most. None: it is not known."""
        if value is None:
            self.verdicts.append(None)
            return
        self.verdicts.append(value <= limit if is_most else value >= limit)
        mark = "" if self.verdicts[-1] else " (not met)"
        self.seen.append(f"{name} {form.format(value)}{mark}")

    def document(self):
        is_met = False if False in self.verdicts else None if None in self.verdicts or not self.verdicts else True
        return {"case": self.case, "goal": self.goal, "seen": "; ".join(self.seen) or "not measured", "is_met": is_met}


def throughput(results, sizes, text, limits):
    row = Row("throughput " + sizes, text)
    least, most = {"64 B": (64, 64), "256 B, 1 KiB": (256, KIB), "4 KiB … 64 KiB": (4 * KIB, 64 * KIB),
                   "1 MiB, 4 MiB": (MIB, 4 * MIB)}[sizes]
    found = results.sizes("throughput", least, most)
    for size in found or [least]:
        result = results.find("throughput", size=size)
        for rival, limit in limits.items():
            row.add(f"{size_text(size)} {rival}", ratio_to(result, rival), limit)
    return row


def divide(over, under, figure):
    if over is None or under is None or not under.get(figure) or over.get(figure) is None:
        return None
    return over[figure] / under[figure]


def figure_of(result, name, unit=1.0):
    return None if result is None or result.get(name) is None else result[name] / unit


def rtt(results):
    row = Row("rtt 64 B", "p50 ≤ 1.1 ×, p99.9 ≤ 1.5 × blocking ping-pong; busy p50 ≤ 1.4 × a spinning one")
    weir, raw = results.find("rtt", size=64), results.find("rtt", "raw", size=64)
    row.add("p50 ×", ratio_to(weir, "raw"), 1.1, is_most=True)
    row.add("p99.9 ×", divide(weir, raw, "p99_9_ns"), 1.5, is_most=True)
    busy = results.find("rtt", size=64, busy=True)
    row.add("busy p50 ×", ratio_to(busy, "spin"), 1.4, is_most=True)
    return row


def urgent(results):
    row = Row("urgent", "p99 ≤ 300 µs, p50 ≤ 60 µs while bulk keeps ≥ 0.8 of its rate alone")
    result = results.find("urgent")
    row.add("p99 µs", figure_of(result, "p99_ns", 1e3), 300, is_most=True, form="{:.0f}")
    row.add("p50 µs", figure_of(result, "p50_ns", 1e3), 60, is_most=True, form="{:.0f}")
    row.add("bulk", figure_of(result, "bulk_ratio"), 0.8)
    return row


def share(results):
    row = Row("share", "within 0.3 % of 1:5:10 at 64 B, 1 KiB, 16 KiB and mixed sizes")
    for size in (64, KIB, 16 * KIB):
        row.add(size_text(size), figure_of(results.find("share", size=size), "share_error_points"), 0.3, is_most=True)
    row.add("mixed", figure_of(results.find("share", size=16 * KIB, mixed=True), "share_error_points"), 0.3, is_most=True)
    return row


def wake(results):
    row = Row("wake", "longest silence ≤ 2 ms")
    row.add("ms", figure_of(results.find("wake"), "silence_ns", 1e6), 2, is_most=True)
    return row


def stall(results):
    row = Row("stall", "the other channels keep ≥ 0.95 of their rate")
    row.add("kept", figure_of(results.find("stall"), "others_kept"), 0.95, form="{:.3f}")
    return row


def connections(results):
    row = Row("connections", "at 1,000 ≥ 1.3 × epoll; rate at 10,000 ≥ 0.5 of that at 64, cost per message ≤ 2 ×; "
                             "≤ 2 KiB of memory per idle connection")
    few, some, many = (results.find("connections", connections=cnt) for cnt in (64, 1000, 10000))
    row.add("1,000 to epoll", ratio_to(some, "epoll"), 1.3)
    row.add("rate 10,000 : 64", divide(many, few, "msgs_per_s"), 0.5)
    row.add("cost 10,000 : 64", divide(many, few, "cpu_s_per_mmsg"), 2, is_most=True)
    for side in ("sender", "receiver"):
        row.add(f"{side} KiB", figure_of(many, f"{side}_idle_bytes", KIB), 2, is_most=True)
    return row


def broadcast(results):
    row = Row("broadcast to 512", "≤ 1.3 × the cost of 512 raw sends of the same bytes")
    row.add("×", ratio_to(results.find("broadcast", peers=512), "raw"), 1.3, is_most=True)
    return row


def churn(results):
    row = Row("churn", "accept + handshake + close ≥ 0.5 of a bare accept/close loop")
    row.add("×", ratio_to(results.find("churn"), "raw"), 0.5)
    return row


def shards(results):
    row = Row("shards 2", "reported beside shards 1 (nothing shared: tests/integration/test_alloc.c, callgrind's send-64-of-2)")
    for size in results.sizes("shards", 1, 4 * MIB):
        ratio = divide(results.find("shards", size=size, shards=2), results.find("shards", size=size, shards=1),
                       "msgs_per_s")
        if ratio is not None:
            row.seen.append(f"{size_text(size)}: 2 shards {ratio:.2f} × 1")
            row.verdicts.append(True)
    return row


def newcomers(results):
    row = Row("handshake, flood", "≥ 3,000 full handshakes a second per core; p99 of who is connected ≤ 2 × in both")
    shaken = results.find("handshake", impl="secure")
    row.add("handshakes", figure_of(shaken, "handshakes_per_cpu_s"), 3000, form="{:.0f}")
    floor = figure_of(results.find("handshake", impl="arithmetic"), "handshakes_per_cpu_s")
    part = ratio_to(shaken, "arithmetic")
    if floor is not None and part is not None: # what the machine allowed in that minute: no goal of its own
        row.seen.append(f"the curves alone {floor:.0f}, of which that is {part:.2f}")
    row.add("p99 ×", figure_of(shaken, "p99_ratio"), 2, is_most=True)
    row.add("flood: p99 ×", figure_of(results.find("flood", impl="secure"), "p99_ratio"), 2, is_most=True)
    return row


def encrypted(results):
    row = Row("encrypted", "from 16 KiB on ≥ 0.85 of the serial sum of plain weir and the cipher alone; 64 B ≥ 0.5 of plain; "
                           "round trip p50 ≤ plain + 4 µs; ≤ 1 KiB more for each of 10,000 idle connections")
    plain = {size: results.find("throughput", size=size) for size in results.sizes("throughput", 64, 4 * MIB)}
    for cipher, alone in (("secure", "aead"), ("secure-aes", "aead-aes")):
        for size in [size for size in plain if size >= 16 * KIB] or [16 * KIB]:
            rates = [figure_of(result, "msgs_per_s") for result in
                     (plain.get(size), results.find("throughput", alone, size=size), results.find("throughput", cipher, size=size))]
            serial = rates[2] * (1 / rates[0] + 1 / rates[1]) if None not in rates and rates[0] and rates[1] else None
            if cipher == "secure": # the default; the other one is there to be seen
                row.add(f"{size_text(size)} of the sum", serial, 0.85)
            elif serial is not None:
                row.seen.append(f"AES {size_text(size)} {serial:.2f}")
    row.add("64 B of plain", divide(results.find("throughput", "secure", size=64), plain.get(64), "msgs_per_s"), 0.5)
    trips = [figure_of(results.find("rtt", impl, size=64), "p50_ns", 1e3) for impl in ("secure", "weir")]
    row.add("64 B p50 + µs", None if None in trips else trips[0] - trips[1], 4, is_most=True)
    for side in ("sender", "receiver"):
        idle = [figure_of(results.find("connections", impl, connections=10000), f"{side}_idle_bytes", KIB)
                for impl in ("secure", "weir")]
        row.add(f"{side} + KiB", None if None in idle else idle[0] - idle[1], 1, is_most=True)
    return row


def steady(results):
    row = Row("steady state", "no allocation (tests/integration/test_alloc.c), ≤ 1 system call per turn per shard")
    result = results.find("throughput", size=64)
    for side in ("sender", "receiver"):
        value = figure_of(result, f"{side}_syscalls_per_turn")
        if value is None:
            value = divide({"a": figure_of(result, f"{side}_syscalls_per_msg")},
                           {"a": figure_of(result, f"{side}_turns_per_msg")}, "a")
        row.add(f"{side} calls a turn", value, 1.005, is_most=True, form="{:.3f}")
    return row


def judge(document):
    results = Results(document)
    rows = [
        throughput(results, "64 B", "≥ 0.6 of uring, ≥ 6 × zmq, ≥ 80 × nng, ≥ 0.6 of libuv",
                   {"uring": 0.6, "zmq": 6, "nng": 80, "libuv": 0.6}),
        throughput(results, "256 B, 1 KiB", "≥ 0.8 of uring, ≥ 5 × zmq, ≥ libuv", {"uring": 0.8, "zmq": 5, "libuv": 1}),
        throughput(results, "4 KiB … 64 KiB", "≥ 0.9 of uring, ≥ epoll, ≥ 1.3 × libuv, ≥ 2 × zmq",
                   {"uring": 0.9, "epoll": 1, "libuv": 1.3, "zmq": 2}),
        throughput(results, "1 MiB, 4 MiB", "≥ 0.9 of uring and ≥ zmq", {"uring": 0.9, "zmq": 1}),
    ]
    rows += [goal(results) for goal in (rtt, urgent, share, wake, stall, connections, broadcast, shards, churn, newcomers,
                                   encrypted, steady)]
    return [row.document() for row in rows]
