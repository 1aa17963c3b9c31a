#!/usr/bin/env bash
# scripts/mesh with a few nodes: they meet, lose a third, and meet again. How fast is a matter of the machine.
. "$(dirname "$0")/tool_helpers.bash"

out=$(timeout 280 "$WEIR_SRC_DIR/scripts/mesh" --nodes 12 --outbound 4 --deadline 120 2>&1) || bad "mesh: $out"
[[ $out = *"killed with SIGKILL      3"*"whole again after"* ]] || bad "mesh: $out"
expect 2 "at least 3 nodes" "$WEIR_SRC_DIR/scripts/mesh" --nodes 2
exit 0
