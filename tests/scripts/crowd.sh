#!/usr/bin/env bash
# scripts/crowd with a few peers: they gossip through one node, and nothing is missed. How fast is a matter of the machine.
. "$(dirname "$0")/tool_helpers.bash"

"$WEIR_SRC_DIR/scripts/crowd" --peers 60 --seconds 3 --rate 4 --ping-interval 0.5 --ping-timeout 120 --budget 4096 --deadline 120 \
    --json crowd.json >crowd.out 2>crowd.err || bad "crowd: $(cat crowd.out crowd.err)"
python3 - <<'PY' || bad "the result: $(cat crowd.json)"
import json
result = json.load(open("crowd.json"))
node = result["node"]
assert result["messages"] > 0 and result["deliveries"] == result["messages"] * 59 and result["missed"] == 0
assert node["pings_sent"] >= 60 and node["pings_late"] == 0 and node["ping_timeouts"] == 0, node
assert set(result["missed_pings"]) == {"while_dialing", "after"} and not any(sum(part.values()) for part in result["missed_pings"].values())
assert result["longest_round_ms"]["at_all"] >= result["longest_round_ms"]["while_dialing"]
assert node["messages_received"] > 0 and node["rss_most_bytes"] > 0, node
PY
grep -q '^connections lost         0$' crowd.out || bad "the table: $(cat crowd.out)"
# A budget that nobody can keep is found out.
"$WEIR_SRC_DIR/scripts/crowd" --peers 20 --seconds 1 --rate 2 --budget 1 --deadline 120 >crowd.out 2>crowd.err &&
    bad "1 MiB was enough: $(cat crowd.out)"
grep -q "more memory than its budget" crowd.err || bad "the budget: $(cat crowd.out crowd.err)"
expect 2 "2 to 8 links" "$WEIR_SRC_DIR/scripts/crowd" --links 1
exit 0
