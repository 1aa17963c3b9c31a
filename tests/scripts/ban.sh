#!/usr/bin/env bash
# weir node --ban: refused and counted; scores on the command line; the file of bans; the line for fail2ban.
. "$(dirname "$0")/tool_helpers.bash"

for prefix in nonsense 192.0.2.7/24 192.0.2.0/33 ""; do
    expect 2 "WEIR_E_ADDRESS" "$weir" node --listen 127.0.0.1:0 --ban "$prefix"
done
expect 2 "address-max: 'x' is neither a number from 1 to 1000000 nor none" \
    "$weir" node --listen 127.0.0.1:0 --address-max x
expect 2 "ban-time: '1ms' is not a time from 1s to 87600h" "$weir" node --listen 127.0.0.1:0 --ban-time 1ms

echo x >data
# By INI file and by flag; 127.0.0.1 cannot come any more, a unix socket can.
printf '[node]\nban = 127.0.0.0/8\nban = 2001:db8::/32\naddress-max = none\nban-path = bans\n' >node.ini
start node "$weir" node --config node.ini --ban 192.0.2.7 --listen 127.0.0.1:0 --listen "unix:$work/socket" --quiet
node=$pid
at=$(address_of node)
expect 5 "" "$weir" send "$at" data
start friend "$weir" node --peer "unix:$work/socket" --quiet
wait_for "up: " friend.out # a unix socket is not banned
terminate "$node"
grep -q "closed by reason: banned 1" node.out || bad "no count of the refusal: $(cat node.out)"
[ "$(grep -c 'weir-ban ' node.err)" -eq 3 ] || bad "not one line per ban: $(cat node.err)"
[ "$(grep -c ' never manual banned ' bans)" -eq 3 ] || bad "the file of bans: $(cat bans)"

# After a restart they still hold, without being said again; a damaged line costs one of them.
sed -i 's/^192.0.2.7/192.0.2.8/' bans
start again "$weir" node --listen 127.0.0.1:0 --ban-path bans --quiet
again=$pid
at=$(address_of again)
expect 5 "" "$weir" send "$at" data
grep -q "bans is damaged (1 lines, the first is line" again.err || bad "damage is not told: $(cat again.err)"
grep -q "bans.damaged" again.err && [ -f bans.damaged ] || bad "the damaged file is gone"
kill -TERM "$again"
ended "$again" 10
[ "$(grep -c ' never manual banned ' bans)" -eq 2 ] || bad "the file is not written anew: $(cat bans)"

# A score: who sends rubbish after TLS and HTTP is banned at 30 points.
start strict "$weir" node --listen 127.0.0.1:0 --limit-loopback --score-ban 30 --ban-time 2h --quiet
strict=$pid
at=$(address_of strict)
for ((i = 0; i < 3; i++)); do
    exec 7<>"/dev/tcp/127.0.0.1/${at##*:}"
    printf 'GET / HTTP/1.0\r\n\r\n' >&7
    timeout 5 cat <&7 >/dev/null
    exec 7<&-
done
wait_for weir-ban strict.err
grep -Eq "20[0-9-]+T[0-9:]+Z weir-ban 127.0.0.1/32 until=20[0-9-]+T[0-9:]+Z reason=http score=(29|30) by=score$" strict.err ||
    bad "the line of an automatic ban: $(cat strict.err)"
kill -TERM "$strict"
ended "$strict" 10

# fail2ban reads these lines with the filter that the page gives.
if command -v fail2ban-regex >/dev/null; then
    sed -n '/^\[Definition\]/,/^```/{/^```/!p}' "$WEIR_SRC_DIR/docs/limits.md" >weir.conf
    cat node.err strict.err >lines.log
    fail2ban-regex "$PWD/lines.log" "$PWD/weir.conf" >fail2ban.out 2>&1
    grep -q " 4 matched" fail2ban.out || bad "fail2ban does not read them: $(cat fail2ban.out)"
fi

# The same without it: its <SUBNET> is an address with or without a length.
python3 - "$WEIR_SRC_DIR/docs/limits.md" node.err strict.err <<'PY' || bad "the filter of docs/limits.md does not match"
import re, sys
page = open(sys.argv[1]).read()
text = re.search(r"^failregex = (.*)$", page, re.M).group(1)
subnet = r"(?:\d+(?:\.\d+){3}|[0-9a-f:]*:[0-9a-f:.]*)(?:/\d+)?"
assert "<SUBNET>" in text
lines = [line for name in sys.argv[2:] for line in open(name) if re.search(text.replace("<SUBNET>", f"(?P<net>{subnet})"), line)]
assert len(lines) == 4, lines
PY
