#!/usr/bin/env bash
# `weir sim`: old seeds, a few fixed ones, the same hash twice, what it says when something fails.
. "$(dirname "$0")/tool_helpers.bash"

weir=$WEIR_BIN_DIR/weir
[ -x "$weir" ] || skip "no weir in this build"

# The gate of CI runs them plain, encrypted and mixed.
"$weir" sim --file "$WEIR_SRC_DIR/tests/sim/seeds.txt" --jobs 2 >out 2>err || bad "old seeds: $(cat out err)"
cnt=6
[ -z "${WEIR_SANITIZE:-}" ] || cnt=2
"$weir" sim --seed 1 --seeds $cnt --jobs 2 --json >out 2>err || bad "seeds 1 to $cnt: $(cat out err)"
python3 - out $cnt <<'END' || bad "its JSON: $(cat out)"
import json, sys
result = json.load(open(sys.argv[1]))
assert result["passed"] and result["seeds"] == int(sys.argv[2]) and result["run_twice"] == 1
assert result["messages_delivered"] > 1000 and result["virtual_hours"] > 0.01
END
# Their hash says that they run the same way, however many processes share them.
"$weir" sim --seed 1 --seeds $cnt --jobs 1 --json >out.again 2>err || bad "seeds 1 to $cnt again: $(cat out.again err)"
python3 - out out.again <<'END' || bad "their hash: $(cat out out.again)"
import json, sys
first, again = (json.load(open(path)) for path in sys.argv[1:])
assert len(first["hash"]) == 16 and first["hash"] == again["hash"] and first["turns"] == again["turns"]
END
# More seeds than were asked for, until they make two minutes.
"$weir" sim --seed 1 --seeds 1 --total 2 --json >out 2>err || bad "two minutes: $(cat out err)"
python3 - out <<'END' || bad "two minutes: $(cat out)"
import json, sys
result = json.load(open(sys.argv[1]))
assert result["seeds"] > 1 and 2 / 60 <= result["virtual_hours"] < 0.2
END
expect 2 "does not go with" "$weir" sim --total 2 --file "$WEIR_SRC_DIR/tests/sim/seeds.txt"
expect 2 "not a number of minutes" "$weir" sim --total none
# Encrypted runs are encrypted, mixed ones half, and each is the same twice.
for secure in no yes mixed; do
    "$weir" sim --seed 57 --nodes 3 --secure $secure --json >out.$secure 2>err || bad "$secure: $(cat out err)"
done
python3 - <<'END' || bad "their JSON: $(cat out.*)"
import json
no, yes, mixed = (json.load(open("out." + name)) for name in ("no", "yes", "mixed"))
assert no["connections_encrypted"] == 0 and yes["connections_encrypted"] > 0
assert 0 < mixed["connections_encrypted"] < mixed["connections"]
assert all(result["run_twice"] == 1 for result in (no, yes, mixed))
END
for profile in 6.1 6.12 6.18; do
    "$weir" sim --seed 7 --nodes 2 --profile "$profile" --off crash,cut >out 2>err || bad "$profile: $(cat out err)"
done
expect 2 "profiles" "$weir" sim --profile 5.4
expect 2 "yes, no or mixed" "$weir" sim --secure perhaps
expect 2 "classes" "$weir" sim --off nothing
expect 2 "cannot read" "$weir" sim --file no-such-file
exit 0
