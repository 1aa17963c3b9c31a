#!/usr/bin/env bash
# The examples do what their comments say, and the smallest one is as small as the README promises.
. "$(dirname "$0")/tool_helpers.bash"

examples=$WEIR_BUILD_DIR/examples
[ -x "$examples/minimal" ] || skip "no examples in this build"

# Its output goes to a terminal, line by line; and Enter is pressed when there is some. stdbuf preloads a library, and
# AddressSanitizer wants to be the first.
mkfifo enter
ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0" \
    stdbuf -oL "$examples/minimal" <enter >minimal.out 2>&1 &
minimal=$!
started+=("$minimal")
exec 7>enter
wait_for "a got hello" minimal.out
echo >&7
exec 7>&-
ended "$minimal" 20
same 0 minimal
[ "$(cat minimal.out)" = "a got hello" ] || bad "minimal: $(cat minimal.out)"
[ "$(grep -c . "$WEIR_SRC_DIR/examples/minimal.c")" -le 30 ] || bad "minimal.c has more than 30 lines"
for source in "$WEIR_SRC_DIR"/examples/*.c; do
    grep '^#include' "$source" | grep -v '<weir/weir.h>\|<weir/sim.h>' | grep -Eq '<weir|"' &&
        bad "$source includes more than <weir/weir.h>"
done

out=$(timeout 120 "$examples/sim_app" 1 30 2>&1) || bad "sim_app: $out"
[ "$out" = "30 seeds: every node came to the same sum" ] || bad "sim_app: $out"

out=$(timeout 120 "$examples/sim_gossip" nodes=60 messages=5 bytes=300 loss_ppm=20000 jitter_ms=50) ||
    bad "sim_gossip: $out"
[[ $out = *"missed 0; half "* ]] || bad "sim_gossip: $out"
expect 2 "see its first lines" "$examples/sim_gossip" nodes=5000

out=$(timeout 120 "$examples/switch") || bad "switch: $out"
[[ $out = "8 came in, 1 was refused"*"three were handed a message"* ]] || bad "switch: $out"
[ "$(grep -c 'application, "three messages are enough"' <<<"$out")" = 7 ] || bad "switch: $out"
[[ $out = *"one was banned by its id"*"and 4 were handed another"* ]] || bad "switch: $out"

out=$(timeout 240 "$examples/mesh" nodes=12) || bad "mesh: $out"
[[ $out = "12 nodes, told one address, have all heard of each other"*"its peers say that they are "* ]] || bad "mesh: $out"
expect 2 "usage" "$examples/mesh" nodes=1

start server "$examples/echo" server 127.0.0.1:0
server=$pid
at=$(address_of server)
out=$(timeout 60 "$examples/echo" client "$at" one "two words" three) || bad "echo client: exit $?"
[ "$(sed 's/ (.*//' <<<"$out" | tr '\n' ,)" = "one,two words,three," ] || bad "echo: $out"
kill -TERM "$server"
ended "$server" 10
same 0 "echo server"
expect 1 "refused" "$examples/echo" client "$at" one
expect 2 "usage" "$examples/echo"

mkdir served
head -c 3000000 /dev/urandom >served/large
echo small >served/small
start files "$examples/fetch" serve 127.0.0.1:0 served
files=$pid
at=$(address_of files)
timeout 60 "$examples/fetch" get "$at" large >got || bad "fetch get: exit $?"
cmp got served/large || bad "fetch: another file came"
out=$(timeout 60 "$examples/fetch" get "$at" small none ../small 2>err)
[ $? = 1 ] && [ "$out" = small ] || bad "fetch: $out"
[ "$(sort err | tr '\n' ,)" = "../small: there is no such file (16),none: there is no such file (16)," ] ||
    bad "fetch: $(cat err)"
kill -TERM "$files"
ended "$files" 10
same 0 "fetch serve"
expect 2 "usage" "$examples/fetch"

mkfifo ann.in bob.in
"$examples/chat" ann 127.0.0.1:0 <ann.in >ann.out 2>ann.err &
started+=($!)
ann=$!
exec 7>ann.in
at=$(address_of ann)
"$examples/chat" bob 127.0.0.1:0 "$at" <bob.in >bob.out 2>bob.err &
started+=($!)
bob=$!
exec 8>bob.in
wait_for "is here" ann.out
wait_for "is here" bob.out
echo "hello bob" >&7
printf 'hello \033[31mann\n' >&8
wait_for "ann: hello bob" bob.out
wait_for "bob: hello" ann.out
grep -qF 'bob: hello ?[31mann' ann.out || bad "ann did not hear: $(cat ann.out ann.err)"
exec 8>&-
ended "$bob" 10
same 0 bob
wait_for "somebody left" ann.out
exec 7>&-
ended "$ann" 10
same 0 ann
exit 0
