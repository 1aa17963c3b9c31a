"""The plots of a suite document, each as PNG and SVG.

    throughput[-system].*     rate over message size, a line for each implementation
    latency-<case>-<size>.*   latency percentiles, over 1 / (1 - p)
    urgent.*                  the same of urgent messages beside bulk, and what bulk keeps
    over-<axis>-<case>.*      a case's main figure over connections, peers or shards
"""
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (the backend is chosen first)

from goals import size_text  # noqa: E402
from table import AXES, variant  # noqa: E402

COLORS = {"weir": "#c1272d", "uring": "#0000a7", "raw": "#777777", "spin": "#56b4e9", "epoll": "#008176", "libuv": "#e69f00",
          "zmq": "#8a2be2", "nng": "#4b2e05", "iperf3": "#000000"}
OTHERS = ("#cc79a7", "#a6761d", "#66a61e")
PERCENTILES = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)


def style(impl):
    """The same colour wherever an implementation is drawn; variants of one ("zmq-pair") are dashed."""
    family = impl.split("-")[0].split("_")[0]
    color = COLORS.get(family) or OTHERS[sum(impl.encode()) % len(OTHERS)]
    return {"color": color, "linestyle": "-" if impl == family else "--", "linewidth": 2.2 if impl == "weir" else 1.2,
            "zorder": 3 if impl == "weir" else 2}


def impls_of(results):
    return list(dict.fromkeys(result["impl"] for result in results))


def save(figure, folder, name):
    figure.tight_layout()
    for ending, metadata in (("png", None), ("svg", {"Date": None})):
        figure.savefig(folder / f"{name}.{ending}", dpi=120, metadata=metadata)
    plt.close(figure)
    return f"{name}.svg"


def draw_lines(axes, results, x, figure, unit):
    """A line for each implementation, with least and most as bars."""
    for impl in impls_of(results):
        rows = sorted((row for row in results if row["impl"] == impl and figure in row), key=lambda row: row[x])
        if not rows:
            continue
        y = [row[figure] / unit for row in rows]
        spread = [row["spread"][figure] for row in rows]
        errors = [[value - least / unit for value, (least, _) in zip(y, spread)],
                  [most / unit - value for value, (_, most) in zip(y, spread)]]
        axes.errorbar([row[x] for row in rows], y, yerr=errors, marker="o", markersize=3, capsize=2, label=impl,
                      **style(impl))


def label_sizes(axes, sizes):
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [size_text(size) for size in sizes], rotation=45, fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel("message")


def throughput(report, folder):
    results = report["results"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8))
    for axes, name, unit, label in ((left, "msgs_per_s", 1e6, "million messages/s"),
                                    (right, "bytes_per_s", 1e9, "GB/s")):
        draw_lines(axes, results, "size", name, unit)
        label_sizes(axes, sorted({row["size"] for row in results}))
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    left.set_yscale("log")
    right.set_ylim(bottom=0)
    right.legend(fontsize=8)
    figure.suptitle(f"One connection, two processes, congestion control {report['machine']['congestion']}")
    suffix = f"-{report['inputs']['congestion']}" if report["inputs"]["congestion"] != "cubic" else ""
    return save(figure, folder, f"throughput{suffix}"), f"rate over message size {variant(report)}".rstrip()


def draw_percentiles(axes, histograms):
    """Percentiles over 1 / (1 - p): each step to the right is ten times as rare."""
    most = 10
    for histogram in histograms:
        points = [(1 / (1 - share), value / 1e3) for share, value in histogram["points"] if share < 1]
        if points:
            axes.plot(*zip(*points), label=histogram["impl"], **style(histogram["impl"]))
            most = max(most, points[-1][0])
    shown = [share for share in PERCENTILES if 1 / (1 - share) <= most * 1.01]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([1 / (1 - share) for share in shown], [f"{100 * share:.10g} %" for share in shown])
    axes.minorticks_off()
    axes.set_xlabel("percentile")
    axes.set_ylabel("µs")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)


def latencies(document, folder):
    """A plot for each case, size and variant that has histograms; urgent has its own."""
    groups = {}
    for histogram in document["histograms"]:
        if not histogram["from_call"] and histogram["case"] != "urgent":
            groups.setdefault((histogram["case"], histogram["size"], histogram["variant"]), []).append(histogram)
    for (case, size, kind), histograms in groups.items():
        figure, axes = plt.subplots(figsize=(7.5, 4.8))
        draw_percentiles(axes, histograms)
        axes.set_title(f"{case} {size_text(size)} {kind}".rstrip())
        name = "-".join(filter(None, ("latency", case, str(size), kind.replace(" ", "-"))))
        yield save(figure, folder, name), f"latency percentiles, {case} {size_text(size)} {kind}".rstrip()


def urgent(document, report, folder):
    results = [row for row in report["results"] if "bulk_ratio" in row]
    histograms = [histogram for histogram in document["histograms"]
                  if histogram["case"] == "urgent" and not histogram["from_call"]]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8))
    draw_percentiles(left, histograms)
    left.set_title("urgent 64 B messages beside bulk, from when they were due", fontsize=10)
    names = [row["impl"] for row in results]
    for offset, name, label, alpha in ((-0.2, "bulk_alone_bytes_per_s", "alone", 0.4),
                                       (0.2, "bulk_bytes_per_s", "beside urgent messages", 1.0)):
        right.bar([place + offset for place in range(len(names))], [row[name] / 1e9 for row in results], 0.38,
                  label=label, alpha=alpha, color=[style(name)["color"] for name in names])
    right.set_xticks(range(len(names)), names)
    right.set_ylabel("GB/s of bulk")
    right.legend(fontsize=8)
    right.grid(alpha=0.3, axis="y")
    return save(figure, folder, "urgent"), "urgent latency under load"


def over_axis(report, axis, folder):
    """One panel for each message size."""
    results, name = report["results"], report["ratio_figure"]
    sizes = sorted({row["size"] for row in results})
    figure, panels = plt.subplots(1, len(sizes), figsize=(1.5 + 5.5 * len(sizes), 4.8), squeeze=False)
    for axes, size in zip(panels[0], sizes):
        draw_lines(axes, [row for row in results if row["size"] == size], axis, name, 1)
        counts = sorted({row[axis] for row in results})
        if counts[-1] > 4:
            axes.set_xscale("log")
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        axes.set_xlabel(axis)
        axes.set_ylabel(name)
        axes.set_ylim(bottom=0)
        axes.set_title(f"{report['case']} {size_text(size) if size else ''}".rstrip())
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return save(figure, folder, f"over-{axis}-{report['case']}"), f"{report['case']}: {name} over {axis}"


def draw(document, folder):
    """Draws everything that the document has data for; returns (file, title) of each."""
    folder.mkdir(parents=True, exist_ok=True)
    plt.rcParams["svg.hashsalt"] = "weir"  # the same document gives the same file
    drawn = []
    for report in document["cases"]:
        axis = next((axis for axis in AXES if len({row.get(axis) for row in report["results"]}) > 1), None)
        if report["case"] == "throughput" and not report["inputs"]["busy"]:
            drawn.append(throughput(report, folder))
        elif report["case"] == "urgent" and any("bulk_ratio" in row for row in report["results"]):
            drawn.append(urgent(document, report, folder))
        elif axis is not None:
            drawn.append(over_axis(report, axis, folder))
    return drawn + list(latencies(document, folder))
