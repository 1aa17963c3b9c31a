#!/usr/bin/env python3
"""docs/features.md: what it names is there, what it says is simulated has 50 nodes, and `weir node` has its flags."""
import os
import re
import subprocess
from pathlib import Path

PAGE = Path(os.environ["WEIR_SRC_DIR"]) / "docs" / "features.md"
WEIR = Path(os.environ["WEIR_BIN_DIR"]) / "weir"

text = PAGE.read_text()
options = set(re.findall(r"^  (--[a-z0-9-]+)", subprocess.run([WEIR, "node", "--help"], capture_output=True, text=True,
                                                               check=True, timeout=60).stdout, re.M))
missing = [target for target in re.findall(r"\]\(([^)#]+)", text) if not (PAGE.parent / target).is_file()]
assert not missing, f"these are not there: {missing}"
unknown = [flag for flag in re.findall(r"`(--[a-z0-9-]+)`", text) if flag not in options]
assert not unknown, f"weir node has no such flags: {unknown}"

rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
networks = [row for row in rows if len(row) == 5 and row[0] != "what"]
assert len(networks) >= 20 and all(all(row) for row in rows), rows
for what, simulated, nodes, sockets, _ in networks:
    assert int(nodes.replace(",", "")) >= 50, (what, nodes)
    assert "](" in simulated and "](" in sockets, what
print(f"{len(rows) - 2} rows, {len(options)} flags")
