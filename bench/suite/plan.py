"""Which calls of weir-bench a run of the suite makes: from what weir-bench itself lists.

A case that this file does not know runs with its defaults; the table below only adds what the issue of a case is
(more sizes, a second congestion control) or keeps a quick run short.
"""

QUICK_RIVALS = ("arithmetic", "raw", "spin", "uring")

# Further calls of a case, as arguments; the first replaces the call without any.
CALLS = {
    "full": {
        "throughput": [["--size", "64,256,1K,4K,16K,64K,1M,4M"],
                       ["--size", "64,1K,16K,64K,1M", "--congestion", "system"]],
        "rtt": [["--size", "64,1K,64K"], ["--size", "64", "--busy"]],
        "urgent": [["--seconds", "10"]],
        "share": [["--size", "64,1K,16K"], ["--size", "16K", "--mixed"]],
    },
    "default": {
        "throughput": [["--size", "64,256,1K,4K,16K,64K,1M,4M"]],
        "rtt": [["--size", "64,1K,64K"], ["--size", "64", "--busy"]],
        "share": [["--size", "64,1K,16K"], ["--size", "16K", "--mixed"]],
    },
    "quick": {
        "throughput": [["--size", "64,1K,16K,64K,1M"]],
        "rtt": [["--size", "64,64K"], ["--size", "64", "--busy"]],
        "urgent": [["--seconds", "1"]],
        "wake": [["--seconds", "1"]],
        "connections": [["--connections", "1,64,1000"]],
        "send": [["--size", "64"]],
        "micro": [["--size", "64,16K", "--seconds", "0.1"]],
    },
}
SECONDS = {"quick": "0.3"}
REPEAT = {"quick": "3", "default": "5", "full": "5"}


def rivals_of(listed, case, mode, wanted, subject="weir"):
    """Those that do the case, in weir-bench's order; `wanted` is a list of names or None."""
    able = [impl["name"] for impl in listed["implementations"] if case in impl["cases"] and impl["name"] != subject]
    if wanted is None and mode == "quick":
        wanted = QUICK_RIVALS
    return [name for name in able if wanted is None or name in wanted]


def plan(listed, mode, cases=None, against=None, seconds=None, repeat=None):
    """The argument lists, in order."""
    calls = []
    for case in listed["cases"]:
        name = case["name"]
        if cases is not None and name not in cases:
            continue
        rivals = rivals_of(listed, name, mode, against, case.get("subject", "weir"))
        for extra in CALLS[mode].get(name, [[]]):
            call = [name, *extra]
            if seconds is not None or ("--seconds" not in extra and mode in SECONDS):
                call += ["--seconds", seconds or SECONDS[mode]]
            call += ["--repeat", repeat or REPEAT[mode], "--against", ",".join(rivals) or "none"]
            calls.append(call)
    return calls


def options_of(call):
    """{"--size": "64,1K", "--busy": None, ...}"""
    found = {}
    for word in call[1:]:
        if word.startswith("--"):
            found[word] = None
            last = word
        else:
            found[last] = word
    return found


def estimate_s(listed, call):
    """About how long a call takes: for the progress line, so off by a third at times."""
    case = next(case for case in listed["cases"] if case["name"] == call[0])
    options = options_of(call)
    seconds = float(options.get("--seconds", case["seconds"]))
    sizes = options["--size"].split(",") if "--size" in options else case["sizes"]
    counts = next((options[axis].split(",") for axis in ("--connections", "--peers", "--shards") if axis in options),
                  case.get("counts", []))
    impl_cnt = 1 if options["--against"] == "none" else 2 + options["--against"].count(",")
    window_cnt = 2 if call[0] in ("urgent", "stall", "send", "handshake", "flood") else 1
    beside_s = 1 if call[0] == "wake" else 0  # what begins after the window
    run_s = min(0.5, max(0.1, seconds / 4)) + window_cnt * seconds + beside_s + 0.1
    each_s = 0.0005 if call[0] == "connections" else 0  # it is made, and warms up
    runs_s = sum(run_s + each_s * int(count) for count in counts) if counts else run_s
    return max(1, len(sizes)) * runs_s * impl_cnt * int(options["--repeat"])
