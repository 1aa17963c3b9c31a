#!/usr/bin/env bash
# Help, versions, and what is said about wrong arguments, addresses and settings.
NEEDS_URING=0
. "$(dirname "$0")/tool_helpers.bash"

expect 0 "exit codes" "$weir" --help
expect 0 "weir 0." "$weir" --version
expect 2 "usage: weir COMMAND" "$weir"
expect 2 "unknown command 'nonsense'" "$weir" nonsense
expect 2 "unknown option '--nonsense'" "$weir" --nonsense
for command in node send recv keygen id doctor demo dump; do
    expect 0 "usage: weir $command" "$weir" "$command" --help
    expect 0 "usage: weir $command" "$weir" "$command" -h
    expect 2 "weir: $command: unknown option '--nonsense'" "$weir" "$command" --nonsense
done

expect 2 "unexpected argument 'x'" "$weir" doctor x
expect 2 "no value is taken by '--json=1'" "$weir" doctor --json=1
expect 2 "a value is missing behind '--nodes'" "$weir" demo --nodes
expect 2 "--nodes is 2 to 32, not '1'" "$weir" demo --nodes 1
expect 2 "--nodes is 2 to 32, not '33'" "$weir" demo --nodes 33
expect 2 "--seconds is 1 to 3600" "$weir" demo --seconds 1.5
expect 2 "unexpected argument 'b'" "$weir" demo a b
expect 2 "no address" "$weir" send
expect 2 "no address" "$weir" recv
expect 2 "--files needs a FILE" "$weir" send 127.0.0.1:1 --files
expect 2 "--size is 1 to 1048575 bytes" "$weir" send 127.0.0.1:1 --size 0
expect 2 "--channel is 0 to 65534" "$weir" send 127.0.0.1:1 --channel 65535
expect 2 "--weight is 1 to 1000" "$weir" send 127.0.0.1:1 --weight 0
expect 2 "--wait is a time" "$weir" send 127.0.0.1:1 --wait 5
expect 1 "No such file" "$weir" send 127.0.0.1:1 ./missing
expect 2 "nothing to do" "$weir" node
expect 2 "--shards: '0' is not a number from 1 to 64" "$weir" node --shards 0
expect 2 "--ping-interval: '5' is not a time" "$weir" node --ping-interval 5
expect 2 "unknown option '--sharts' (did you mean '--shards'?); see weir node --help" "$weir" node --sharts 2
expect 2 "unknown option '--sharts=2' (did you mean '--shards'?)" "$weir" node --sharts=2
expect 2 "unknown option '--jsno' (did you mean '--json'?)" "$weir" doctor --jsno
expect 2 "unknown option '--hlep' (did you mean '--help'?)" "$weir" doctor --hlep
expect 2 "unknown option '--colour'; see weir node --help" "$weir" node --colour
expect 2 "unknown command 'nod' (did you mean 'node'?)" "$weir" nod
expect 2 "unknown command 'frobnicate'; weir --help" "$weir" frobnicate
expect 2 "a channel has no 'ugent' (did you mean 'urgent'?)" "$weir" node --channel id=1,ugent
expect 2 "--quiet-time: 'soon' is neither a time from 1s to 24h" "$weir" node --quiet-time soon
expect 2 "--replace-interval: '1ms' is neither a time" "$weir" node --replace-interval 1ms
expect 2 "--log-level: 'loud' is none of error" "$weir" node --log-level loud
expect 2 "--network-id: '' is not a text of 1 to 32 bytes" "$weir" node --network-id ""
expect 2 "weight '0' is not a number from 1 to 1000" "$weir" node --channel id=1,weight=0
expect 2 "the channel has no id" "$weir" node --channel name=x
expect 2 "a channel has no 'colour'" "$weir" node --channel id=1,colour=red
expect 2 "two channels have the id 4" "$weir" node --listen 127.0.0.1:0 --channel id=4 --channel id=4
expect 2 "is below msg-max" "$weir" node --listen 127.0.0.1:0 --channel id=4,msg-max=1M,recv-max=64K
expect 2 "no FILE is given" "$weir" dump
expect 2 "unexpected argument 'b'" "$weir" dump a b
expect 1 "No such file" "$weir" dump ./missing
expect 2 "only \`weir demo\` starts this" "$weir" demo-node

# The hidden command is hidden.
if "$weir" --help | grep -q demo-node; then
    bad "demo-node is in the help"
fi
