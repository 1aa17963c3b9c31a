"""What else the machine does: the share of its cores that is not the benchmark's own."""
import os
import time
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
BUSY_PERCENT = 10.0   # of one core, by others: from here on a figure is called disturbed
STEAL_PERCENT = 2.0   # taken by other machines on the same host
LOOK_S = 2.0


def read_cpu():
    """Seconds since the start of the machine, all cores: busy (with interrupts) and stolen."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq) * TICK_S, steal * TICK_S


def read_processes():
    """CPU seconds by (pid, name)."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:  # it has ended meanwhile
            continue
        name = text[text.index("(") + 1:text.rindex(")")]
        fields = text[text.rindex(")") + 2:].split()
        found[(int(path.parent.name), name)] = (int(fields[11]) + int(fields[12])) * TICK_S
    return found


def look_around():
    """Two seconds of what others do before anything is measured."""
    started, cpu, processes = time.monotonic(), read_cpu(), read_processes()
    time.sleep(LOOK_S)
    elapsed, after, others = time.monotonic() - started, read_cpu(), read_processes()
    used = sorted(((100 * (seconds - processes.get(who, seconds)) / elapsed, who) for who, seconds in others.items()),
                  reverse=True)
    return {
        "load_1m": os.getloadavg()[0],
        "busy_percent": round(100 * (after[0] - cpu[0]) / elapsed, 1),
        "steal_percent": round(100 * (after[1] - cpu[1]) / elapsed, 1),
        "busiest": [f"{name} ({pid}) {percent:.0f} %" for percent, (pid, name) in used[:3]
                    if percent >= 2 and pid != os.getpid()],
    }


class Watch:
    """From its making to done(): what others used. `own_s` is what the benchmark's processes used."""

    def __init__(self):
        self.started, self.cpu = time.monotonic(), read_cpu()

    def done(self, own_s, results):
        elapsed, after = time.monotonic() - self.started, read_cpu()
        other = max(0.0, 100 * (after[0] - self.cpu[0] - own_s) / elapsed)
        steal = 100 * (after[1] - self.cpu[1]) / elapsed
        preempted = [result["preempted_per_s"] for result in results if "preempted_per_s" in result]
        return {
            "seconds": round(elapsed, 3),
            "other_cpu_percent": round(other, 1),
            "steal_percent": round(steal, 1),
            "preempted_per_s": max(preempted) if preempted else None,
            "is_disturbed": other > BUSY_PERCENT or steal > STEAL_PERCENT,
        }
