#!/usr/bin/env bash
# weir send and weir recv: streams, lines, files of every odd kind, all compared byte for byte.
. "$(dirname "$0")/tool_helpers.bash"

# ---- streams -----------------------------------------------------------------------------------

head -c 3000000 /dev/urandom >random
printf 'one\n\ntwo\n' >lines
printf 'no newline at the end' >>lines
head -c 2500000 /dev/zero | tr '\0' x >longline
printf '\nshort\n' >>longline

for mode in "" "--size 1" "--size 1000" "--size 1048575" --lines; do
    input=random
    [ "$mode" = "--size 1" ] && input=lines
    receive
    # shellcheck disable=SC2086
    timeout 60 "$weir" send "$at" $mode --quiet <"$input" || bad "send $mode: exit $?"
    receiver_ended 0 "send $mode"
    cmp "$input" recv.out || bad "send $mode"
done
for input in lines longline /dev/null; do
    receive
    timeout 60 "$weir" send "$at" --lines --quiet <"$input" || bad "send --lines $input: exit $?"
    receiver_ended 0 "$input"
    cmp "$input" recv.out || bad "--lines $input"
done
receive
expect 0 "sent and acknowledged" "$weir" send "$at" --lines lines longline
receiver_ended 0 "two files as lines"
cat lines longline | cmp - recv.out || bad "two files as lines"

receive
printf 'as a file' >--odd
expect 0 "" "$weir" send "$at" --size 5 -- --odd
receiver_ended 0 "a name with dashes"
cmp -- --odd recv.out || bad "a name with dashes"

# ---- files -------------------------------------------------------------------------------------

mkdir -p from/sub/deep "from/with space" from/.hidden
: >from/empty
printf x >from/one
head -c 20000000 /dev/urandom >from/large
head -c 262144 /dev/urandom >from/sub/chunk
head -c 262145 /dev/urandom >from/sub/deep/chunk-and-one
printf 'odd' >"from/with space/quote'\"new
line"
printf 'utf' >"from/ümläut-☃"
printf 'bytes' >"from/$(printf '\xff\xfe')"
printf '#!/bin/sh\n' >from/script
chmod 755 from/script
for ((i = 0; i < 500; i++)); do echo "$i" >"from/.hidden/$i"; done
ln -s /etc/passwd from/link

receive --out to --json
timeout 60 "$weir" send "$at" --json from >send.json 2>send.err || bad "send from: $(cat send.err)"
receiver_ended 0 "a tree"
grep -q "1 symbolic links or special files" send.err || bad "the link is not told: $(cat send.err)"
rm from/link
diff -r from to/from || bad "the tree differs"
[ -x to/from/script ] || bad "the mode of a script"
[ -z "$(find to -name '.weir-*')" ] || bad "temporary files are left"
python3 - <<'PY' || bad "JSON of send and recv"
import json
sent = json.load(open("send.json"))
told = [json.loads(line) for line in open("recv.out")]
assert sent["files"] == 509, sent
assert told[-1]["event"] == "received" and told[-1]["files"] == 509, told[-1]
assert sum(event["event"] == "file" for event in told) == 509
PY

# Names: relative ones stay, absolute and dotted ones lose what could lead outside. Old files are replaced.
receive --out to --keep --sync
for given in from/one "$work/from/one" ../"$(basename "$work")"/from/one ./from/one from//one; do
    expect 0 "1 file, " "$weir" send "$at" "$given"
done
cmp from/one to/one || bad "absolute"
printf y >from/one
expect 0 "" "$weir" send "$at" from/one
cmp from/one to/from/one || bad "a file that exists is replaced"
kill -TERM "$receiver"
receiver_ended 0 "--keep until a signal"
[ "$(find to -mindepth 1 -maxdepth 1 | wc -l)" -eq 3 ] || bad "names: $(find to -maxdepth 1)"

# ---- what goes wrong ---------------------------------------------------------------------------

receive
expect 1 "without --out DIR" "$weir" send "$at" from/one
receiver_ended 1 "files without --out"

# A symbolic link in the way is not followed, and what it points to stays as it is.
mkdir -p outside trap
ln -s "$work/outside" trap/from
receive --out trap
expect 1 "symbolic link" "$weir" send "$at" from/one
receiver_ended 1 "a symbolic link in the way"
[ -z "$(ls outside)" ] || bad "a symbolic link was followed"
ln -sf "$work/outside/target" trap/one
printf safe >outside/target
receive --out trap
expect 0 "" "$weir" send "$at" "$work/from/one"
receiver_ended 0 "a link as the last part"
[ "$(cat outside/target)" = safe ] && [ ! -L trap/one ] || bad "a link as the last part was followed"

receive --network-id right
expect 5 "another network id" "$weir" send "$at" --network-id wrong --lines lines
timeout 60 "$weir" send "$at" --network-id right --lines --quiet <lines || bad "the right network"
receiver_ended 0 "a stranger and then the sender"
cmp lines recv.out || bad "after a stranger"

receive --channel 9
expect 5 "no-channels" "$weir" send "$at" --channel 8 --lines lines
kill -TERM "$receiver"
receiver_ended 130 "interrupted"

expect 5 "refused" "$weir" send "$at" --lines lines
start late "$weir" send "$at" --wait 20s --lines lines --quiet
late=$pid
sleep 0.5
start recv "$weir" recv "$at"
receiver=$pid
ended "$late" 20
same 0 "send --wait: $(cat late.err)"
receiver_ended 0 "a receiver that comes late"

# Killed in the middle, on either side.
receive --out half
mkfifo fifo
start sender "$weir" send "$at" --size 1000 fifo
sender=$pid
exec 8>fifo
head -c 100000 /dev/zero >&8
wait_until test -s recv.out || bad "nothing comes"
kill -KILL "$sender"
receiver_ended 5 "the sender was killed"
grep -q "went away before its transfer was complete" recv.err || bad "$(cat recv.err)"
exec 8>&-

receive
start sender "$weir" send "$at" --size 1000 fifo
sender=$pid
exec 8>fifo
head -c 100000 /dev/zero >&8
wait_until test -s recv.out || bad "nothing comes"
kill -KILL "$receiver"
head -c 100000 /dev/zero >&8 2>/dev/null
exec 8>&-
ended "$sender" 20
same 5 "the receiver was killed: $(cat sender.err)"
grep -q "before everything was acknowledged" sender.err || bad "$(cat sender.err)"

# One sender at a time: a second one is told, and the first goes on.
receive
start sender "$weir" send "$at" --size 1000 fifo
sender=$pid
exec 8>fifo
head -c 1000 random >&8
wait_until test -s recv.out || bad "nothing comes"
expect 1 "busy with another sender" "$weir" send "$at" --lines lines
head -c 1000 random >&8
exec 8>&-
ended "$sender" 20
same 0 "the first of two: $(cat sender.err)"
receiver_ended 0 "two senders"
{ head -c 1000 random; head -c 1000 random; } | cmp - recv.out || bad "two senders"

# A file that shrinks while it is sent cannot be sent whole, and is not there afterwards.
head -c 60000000 /dev/zero >shrinking
receive --out shrunk
start sender "$weir" send "$at" shrinking
sender=$pid
truncate -s 1000 shrinking
ended "$sender" 20
if [ "$code" -ne 0 ]; then # it may have been faster than truncate
    same 1 "a shrinking file: $(cat sender.err)"
    [ -z "$(find shrunk -type f)" ] || bad "a part of a shrinking file is left"
fi

# Who listens there is a node and no weir recv: nobody acknowledges, and the sender says so.
start silent "$weir" node --listen 127.0.0.1:0 --quiet
start sender "$weir" send "$(address_of silent)" --lines lines --quiet
wait_for "nothing was acknowledged within 10 s" sender.err
exit 0
