#!/usr/bin/env bash
# weir dump: the vectors of docs/wire.md as captured streams, whole, damaged and cut.
NEEDS_URING=0
. "$(dirname "$0")/tool_helpers.bash"

# vectors FILE NAME...: the bytes of these vectors, one behind the other.
vectors() {
    python3 - "$WEIR_SRC_DIR/tests/vectors/wire.txt" "$@" <<'END'
import re, sys
text = re.sub(r"\n +", "", open(sys.argv[1], encoding="utf-8").read())
lines = dict((line.split()[0], line.split("=", 1)[1].strip()) for line in text.split("\n") if line and line[0] != "#")
open(sys.argv[2], "wb").write(b"".join(bytes.fromhex(lines[name]) for name in sys.argv[3:]))
END
}

vectors good listener.example stream.run stream.whole stream.fragments stream.ping stream.credit \
    stream.optional stream.goodbye-text
expect 0 'preface       9 bytes  from "dialer"' "$weir" dump good
expect 0 'network "weir-test"  agent "dialer/1"  channels 3' "$weir" dump good
expect 0 'channel 7  messages 3' "$weir" dump good
expect 0 'MORE         76 bytes  channel 7  at 256' "$weir" dump good
expect 0 'value "0x1122334455667788"' "$weir" dump good
expect 0 'kind 144' "$weir" dump good
expect 0 'text "a?b??c\xc3\xa9"' "$weir" dump good
expect 0 '9 frames, 5 messages, 0 faults' "$weir" dump good
[ "$("$weir" dump - <good)" = "$("$weir" dump good)" ] || bad "standard input is another file"
"$weir" dump --json good | python3 -c '
import json, sys
lines = [json.loads(line) for line in sys.stdin]
assert [line["what"] for line in lines] == ["preface", "HELLO", "RUN", "FIRST", "FIRST", "MORE", "PING", "CREDIT", "optional", "GOODBYE", "total"], lines
assert lines[-1] == {"what": "total", "bytes": lines[-1]["bytes"], "frames": 9, "messages": 5, "faults": 0, "rest": 0}
assert lines[1]["channel-9"] == "weight 1, messages to 65536, window 131072, flags 0"
' || bad "the JSON is not what it should be"

# Each fault of the header ends it, a wrong sum does not.
vectors sum stream.run stream.checksum stream.ping
expect 4 'FAULT bad-checksum' "$weir" dump sum
expect 4 '3 frames, 3 messages, 1 fault' "$weir" dump sum
for name in magic header version length-control kind run-empty control-aux; do
    vectors bad stream.ping "stream.$name" stream.ping
    expect 4 "1 frame, 0 messages, 1 fault" "$weir" dump bad
done
vectors hello listener.network-empty
expect 4 'FAULT bad-hello' "$weir" dump hello
vectors http listener.http
expect 4 'FAULT http' "$weir" dump http

# Cut anywhere, what is whole is right and the rest is no fault.
size=$(stat -c %s good)
for cut in 0 1 5 9 12 40 100 181 183 200 $((size - 1)); do
    head -c "$cut" good >part
    expect 0 "0 faults" "$weir" dump part
done
: >empty
expect 0 "0 bytes, 0 frames" "$weir" dump empty

# Version 2 shows its handshake from outside, and how much is sealed.
sealed() {
    python3 - "$WEIR_SRC_DIR/tests/vectors/wire-v2.txt" "$1" "$2" <<'END'
import sys
lines = [line.split() for line in open(sys.argv[1], encoding="utf-8") if line[0] != "#"]
open(sys.argv[3], "wb").write(b"".join(bytes.fromhex(line[1]) for line in lines if line[0] == sys.argv[2]))
END
}
sealed dialer dialed
expect 0 'preface      16 bytes  from "dialer"  version-min 2  version-max 2  pattern "XX"  cipher "ChaChaPoly"' \
    "$weir" dump dialed
expect 0 'message-1     34 bytes' "$weir" dump dialed
expect 0 'message-3' "$weir" dump dialed
expect 0 'records' "$weir" dump dialed
sealed listener answered
expect 0 'message-2    198 bytes' "$weir" dump answered
expect 0 'records' "$weir" dump answered
for cut in 1 8 9 15 16 17 20 100; do
    head -c "$cut" dialed >part
    expect 0 "0 frames, 0 messages, 0 faults" "$weir" dump part
done
printf '\x89WEIR\r\n\x1anq\0' >refused
expect 0 'refused "secure-refused"' "$weir" dump refused

expect 1 "Is a directory" "$weir" dump .
[ ! -e /dev/full ] || {
    "$weir" dump good >/dev/full 2>err
    [ $? -eq 1 ] && grep -q 'cannot write to standard output' err || bad "a full disk goes unnoticed"
}
