"""A suite document as Markdown: the machine, the goals, a table for each case."""
import math

from goals import size_text

# Figure, title, divided by, with its spread. A case shows those that it has.
COLUMNS = [
    ("msgs_per_s", "Mmsg/s", 1e6, True), ("bytes_per_s", "GB/s", 1e9, False),
    ("p50_ns", "p50 µs", 1e3, True), ("p90_ns", "p90 µs", 1e3, False), ("p99_ns", "p99 µs", 1e3, True),
    ("p99_9_ns", "p99.9 µs", 1e3, False), ("p99_99_ns", "p99.99 µs", 1e3, False),
    ("max_ns", "max µs", 1e3, False),
    ("bulk_bytes_per_s", "bulk GB/s", 1e9, False), ("bulk_ratio", "bulk ÷ alone", 1, True),
    ("share_error_points", "off by points", 1, True),
    ("silence_ns", "silence µs", 1e3, True), ("silence_alone_ns", "alone µs", 1e3, False),
    ("others_kept", "others keep", 1, True), ("all_kept", "all keep", 1, False),
    ("conns_per_s", "connections/s", 1, True),
    ("handshakes_per_s", "handshakes/s", 1, True), ("handshakes_per_cpu_s", "of a core", 1, True),
    ("handshakes_alone_per_cpu_s", "the other core idle", 1, True),
    ("newcomers_per_s", "newcomers/s", 1, False), ("cookies_per_s", "cookies/s", 1, False),
    ("p99_alone_ns", "p99 alone µs", 1e3, False), ("p99_ratio", "p99 ÷ alone", 1, True),
    ("sender_idle_bytes", "idle B snd", 1, False), ("receiver_idle_bytes", "idle B rcv", 1, False),
    ("send_shard_ns", "send ns", 1, True), ("send_thread_ns", "from a thread ns", 1, True),
    ("send_lone_ns", "alone ns", 1, False),
    ("verify_ns", "verify ns", 1, True), ("encode_ns", "encode ns", 1, True),
    ("decode_ns", "decode ns", 1, True), ("schedule_ns", "schedule ns", 1, True),
    ("mailbox_ns", "mailbox ns", 1, True),
    ("cpu_s_per_gb", "CPU s/GB", 1, False), ("cpu_s_per_mmsg", "CPU s/Mmsg", 1, False),
    ("sender_cpu_s_per_mmsg", "CPU s/Mmsg snd", 1, False),
    ("sender_syscalls_per_msg", "calls/msg snd", 1, False), ("receiver_syscalls_per_msg", "rcv", 1, False),
    ("sender_cqes_per_msg", "CQEs/msg snd", 1, False), ("receiver_cqes_per_msg", "rcv", 1, False),
    ("preempted_per_s", "preempted/s", 1, False),
    ("waited_ms_per_s", "waited ms/s", 1, False),
]
AXES = ("connections", "peers", "shards")


def digits(value):
    """Four that say something, and no exponent."""
    if value == 0 or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{min(8, max(0, 3 - math.floor(math.log10(value))))}f}"


def cell(result, column):
    figure, _, unit, has_spread = column
    if figure not in result:
        return "–"
    text = digits(result[figure] / unit)
    if has_spread:
        least, most = result["spread"][figure]
        text += f" ({digits(least / unit)}–{digits(most / unit)})"
    return text


def ratio_cells(report, result):
    """How weir compares with this rival, in weir's own result."""
    for weir in report["results"]:
        same = all(weir.get(name) == result.get(name) for name in ("size", *AXES))
        if weir["impl"] in ("weir", "secure", "secure-aes") and same and result["impl"] in weir.get("ratio_to", {}):
            least, most = weir["ratio_spread"][result["impl"]]
            return f"{weir['ratio_to'][result['impl']]:.2f} ({least:.2f}–{most:.2f})"
    return ""


def variant(report):
    inputs = report["inputs"]
    words = [word for word in (inputs["congestion"] if inputs["congestion"] != "cubic" else "",
                               "busy" if inputs["busy"] else "", "mixed" if inputs.get("mixed") else "") if word]
    return " ".join(words)


def case_lines(report):
    columns = [column for column in COLUMNS if any(column[0] in result for result in report["results"])]
    axes = [axis for axis in AXES if any(axis in result for result in report["results"])]
    has_ratios = any(result.get("ratio_to") for result in report["results"])
    head = ["size", *axes, "implementation"] + (["weir ÷ it"] if has_ratios else []) + [column[1] for column in columns]
    inputs = report["inputs"]
    yield f"## {report['case']} {variant(report)}".rstrip()
    yield ""
    yield (f"Medians (least–most) of {inputs['repeat']} runs of {inputs['seconds']} s, interleaved; "
           f"congestion control {report['machine']['congestion']}. `weir ÷ it` is of `{report['ratio_figure']}`, "
           f"{report['ratio_better']} is better. Other programs used {report['other_load']['other_cpu_percent']} % of a "
           f"core meanwhile, steal {report['other_load']['steal_percent']} %"
           + ("; **disturbed**." if report["other_load"]["is_disturbed"] else "."))
    yield ""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for result in report["results"]:
        cells = [size_text(result["size"]) if result["size"] else "–"]
        cells += [f"{result.get(axis, 0):,}" for axis in axes] + [result["impl"]]
        cells += [ratio_cells(report, result)] if has_ratios else []
        yield "| " + " | ".join(cells + [cell(result, column) for column in columns]) + " |"
    for result in report["results"]:
        for channel in result.get("channels", []):
            yield (f"- {size_text(result['size'])}, weight {channel['weight']}: {channel['percent']:.2f} % "
                   f"(due {channel['due_percent']:.2f})")
    yield ""


def machine_lines(document):
    machine, host, load = document["cases"][0]["machine"], document["host"], document["load_before"]
    yield f"- {machine['cpu']}, {machine['cores']} cores, {host['memory_bytes'] / 2**30:.0f} GiB, " \
          f"{host['virtualization'] or 'no hypervisor seen'}; governor {machine['governor'] or 'hidden'}"
    yield f"- {machine['kernel']}, {host['system']}; congestion control of the system {machine['congestion_system']}; " \
          f"RLIMIT_MEMLOCK {host['memlock_bytes'] if host['memlock_bytes'] is not None else 'without limit'}"
    yield f"- weir {machine['weir']} {machine['commit'] or ''}, {machine['compiler']}, `{machine['flags']}`, XXH3 for " \
          f"{machine['hash']}"
    yield f"- mode {document['mode']}, {document['started']} to {document['finished']}"
    yield f"- before: load {load['load_1m']:.2f}, cores busy {load['busy_percent']} % of one, steal " \
          f"{load['steal_percent']} %" + (": " + ", ".join(load["busiest"]) if load["busiest"] else "")
    disturbed = [f"{report['case']} {variant(report)}".rstrip() for report in document["cases"]
                 if report["other_load"]["is_disturbed"]]
    if disturbed:
        yield f"- **other programs ran during {', '.join(disturbed)}**: those figures are not to be quoted"


def goal_lines(document):
    verdict = {True: "met", False: "**not met**", None: "undecided"}
    yield "| case | goal | seen | |"
    yield "|---|---|---|---|"
    for goal in document["goals"]:
        yield f"| {goal['case']} | {goal['goal']} | {goal['seen']} | {verdict[goal['is_met']]} |"


def render(document, name, plots):
    lines = [f"# {name}", ""]
    if document["cases"]:
        lines += [*machine_lines(document), "", "## Goals", "", *goal_lines(document), ""]
    for plot, title in plots:
        lines += [f"![{title}]({plot})", ""]
    for report in document["cases"]:
        lines += case_lines(report)
    if document["failures"]:
        lines += ["## Failed", ""]
        lines += [f"- `weir-bench {' '.join(failure['arguments'])}`: exit {failure['exit_code']}: {failure['text']}"
                  for failure in document["failures"]]
    return "\n".join(lines).rstrip() + "\n"
