#!/usr/bin/env bash
# weir keygen and weir id: what they write, and what they refuse.
NEEDS_URING=0
. "$(dirname "$0")/tool_helpers.bash"

id=$("$weir" keygen key) || bad "keygen fails"
case $id in
weir1p??????????????????????????????????????????????????????????) ;;
*) bad "this is no id: $id" ;;
esac
[ "$(stat -c %a key)" = 600 ] || bad "the mode is $(stat -c %a key)"
expect 0 "$id" "$weir" id key
expect 0 "$id" "$weir" id "$id"
expect 0 "\"id\": \"$id\"" "$weir" id --json key
expect 0 "\"id\": \"$id\"" "$weir" id --json "$id"
expect 1 "EEXIST" "$weir" keygen key
expect 1 "--force" "$weir" keygen key
expect 0 "$id" "$weir" id key
expect 0 "\"kind\": \"node\"" "$weir" keygen --force --json key
[ "$("$weir" id key)" != "$id" ] || bad "the key is the old one"
expect 0 "network key" "$weir" keygen --network network
expect 1 "a network key and not a node key" "$weir" id network

case $id in
*q) typed=${id%?}p ;;
*) typed=${id%?}q ;;
esac
expect 2 "mistyped" "$weir" id "$typed"
expect 2 "character that cannot be" "$weir" id "${id%?}b"
expect 2 "too short" "$weir" id weir1
expect 2 "no FILE" "$weir" keygen
expect 2 "no FILE or ID" "$weir" id
expect 2 "unexpected argument 'b'" "$weir" keygen a b
expect 1 "ENOENT" "$weir" keygen nowhere/key
expect 1 "ENOENT" "$weir" id nothing

chmod 640 key
expect 1 "mode is 0640" "$weir" id key
chmod 600 key
head -c 150 key >short
chmod 600 short
expect 1 "cut short" "$weir" id short

expect 1 "cannot write to standard output" sh -c '"$0" id key >/dev/full' "$weir"

# Nothing but what was asked for is left, and no secret in what was printed.
[ "$(ls -A | grep -c part)" -eq 0 ] || bad "left behind: $(ls -A)"

# A full disk: told, and nothing is left there.
if [ "$(id -u)" -eq 0 ] && mkdir disk && mount -t tmpfs -o size=64k tmpfs disk 2>/dev/null; then
    finish_disk() {
        umount -l "$work/disk"
        finish
    }
    trap finish_disk EXIT
    head -c 1000000 /dev/zero >disk/full 2>/dev/null
    expect 1 "ENOSPC" "$weir" keygen disk/key
    [ "$(ls -A disk)" = full ] || bad "left on the disk: $(ls -A disk)"
fi
exit 0
