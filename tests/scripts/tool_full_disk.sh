#!/usr/bin/env bash
# A full disk at the receiver: told on both sides, nothing left behind. Needs root for a tmpfs.
. "$(dirname "$0")/tool_helpers.bash"

[ "$(id -u)" -eq 0 ] || skip "not root"
mkdir disk
mount -t tmpfs -o size=1m tmpfs disk 2>/dev/null || skip "cannot mount a tmpfs"
finish_disk() {
    umount -l "$work/disk"
    finish
}
trap finish_disk EXIT

head -c 4000000 /dev/urandom >large
printf small >small

start recv "$weir" recv 127.0.0.1:0 --out disk
receiver=$pid
at=$(address_of recv)
expect 1 "the receiver failed: ENOSPC: No space left on device, writing 'large'" "$weir" send "$at" small large
ended "$receiver" 20
same 1 "receiver with a full disk"
grep -q "weir: recv: ENOSPC" recv.err || bad "the receiver does not tell: $(cat recv.err)"
[ "$(ls -A disk)" = small ] || bad "left on the disk: $(ls -A disk)"
cmp small disk/small || bad "what was acknowledged is there"

# Standard output that is full. Files of its own: those of the first may still be there when the address is looked for.
"$weir" recv 127.0.0.1:0 >/dev/full 2>full.err &
receiver=$!
started+=("$receiver")
: >full.out
at=$(address_of full)
expect 1 "ENOSPC" "$weir" send "$at" --size 1000 large
ended "$receiver" 20
same 1 "receiver with a full standard output"
exit 0
