#!/usr/bin/env bash
# A sender that lies to `weir recv`: paths that lead outside, too many bytes, wrong hashes, wrong order.
# The liar is written here against the public headers and linked with the build's shared library.
. "$(dirname "$0")/tool_helpers.bash"

lib=$(find "$WEIR_BUILD_DIR" -maxdepth 2 -name libweir.so | head -n 1)
[ -n "$lib" ] && command -v "${CC:-cc}" >/dev/null || skip "no shared library or no compiler"

cat >liar.c <<'C'
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <weir/weir.h>

/* Sends what its arguments say, each a message in hexadecimal, and prints what is answered. */
static char **messages;
static weir_node *node;
static sem_t is_over;

static int digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    (void)ctx;
    if (event != WEIR_PEER_UP) {
        printf("end: %s\n", weir_reason_name(reason));
        sem_post(&is_over);
        return;
    }
    for (char **text = messages; *text != NULL; text++) {
        unsigned char data[70000];
        size_t len = strlen(*text) / 2;
        for (size_t i = 0; i < len; i++)
            data[i] = (unsigned char)(digit((*text)[2 * i]) * 16 + digit((*text)[2 * i + 1]));
        if (weir_try_send(node, peer, 1, data, len) != 0)
            printf("not sent\n");
    }
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    (void)ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        if (msgs[i].data[0] == 18)
            printf("failed: %d %.*s\n", msgs[i].data[1], (int)msgs[i].len - 2, (const char *)msgs[i].data + 2);
        else
            printf("answer: %d\n", msgs[i].data[0]);
    }
}

int main(int argc, char **argv)
{
    struct weir_config config = {.size = sizeof config};
    struct weir_channel channel = {.size = sizeof channel, .id = 1};
    struct weir_reactor reactor = {.size = sizeof reactor, .on_batch = on_batch, .on_peer = on_peer};
    messages = argv + 2;
    if (argc < 2 || sem_init(&is_over, 0, 0) || weir_node_create(&node, &config) ||
        weir_node_attach(node, &reactor, &channel, 1) || weir_node_start(node) ||
        weir_dial(node, argv[1], 0))
        return 2;
    sem_wait(&is_over);
    weir_node_free(node);
    return 0;
}
C
sanitize=()
[ -z "${WEIR_SANITIZE:-}" ] || sanitize=("-fsanitize=$WEIR_SANITIZE")
"${CC:-cc}" -std=gnu17 "${sanitize[@]}" -I"$WEIR_SRC_DIR/include" liar.c "$lib" \
    "-Wl,-rpath,$(dirname "$lib")" -pthread -o liar || { bad "the liar does not compile"; exit 1; }

hex() { od -An -v -tx1 | tr -d ' \n'; }
hello=01$(printf weirxfer | hex)0100
# file PATH_HEX SIZE_BYTE: a FILE message, seq 0, mode 0644.
file() { echo "0400000000${2}00000000000000a4010000$1"; }
end=0600000000$(head -c 32 /dev/zero | hex)

# lie CODE TEXT MESSAGE...: a fresh receiver ends with CODE and answers with TEXT.
lie() {
    local want=$1 text=$2
    shift 2
    rm -f recv.out recv.err
    start recv "$weir" recv 127.0.0.1:0 --out inside
    local receiver=$pid
    local at
    at=$(address_of recv)
    timeout 20 ./liar "$at" "$@" >liar.out 2>&1 || bad "the liar: $(cat liar.out)"
    ended "$receiver" 20
    same "$want" "receiver ($text): $(cat recv.err)"
    grep -qF "$text" liar.out || bad "no '$text': $(cat liar.out)"
    grep -q '^weir: recv: ' recv.err || bad "the receiver says nothing"
}

lie 1 "it is absolute" "$hello" "$(file "$(printf /etc/weir-attack | hex)" 01)"
for path in .. ../outside a/../../outside a/.. ./a . a/./b; do
    lie 1 'it contains "." or ".."' "$hello" "$(file "$(printf %s "$path" | hex)" 01)"
done
for path in a//b a/ a//; do
    lie 1 "a part of it is empty" "$hello" "$(file "$(printf %s "$path" | hex)" 01)"
done
lie 1 "it is empty" "$hello" "$(file "" 01)"
lie 1 "it contains a zero byte" "$hello" "$(file "$(printf 'a' | hex)0062" 01)"
lie 1 "a part of it is longer than 255 bytes" "$hello" "$(file "$(head -c 256 /dev/zero | tr '\0' x | hex)" 01)"
lie 1 "it is longer than 4095 bytes" "$hello" "$(file "$(yes a/ | tr -d '\n' | head -c 5000 | hex)" 01)"
lie 1 "the path 'e?[31m/..' is refused" "$hello" "$(file "$(printf 'e\033[31m/..' | hex)" 01)"

name=$(printf name | hex)
lie 4 "more bytes came than" "$hello" "$(file "$name" 01)" 056162
lie 4 "more bytes came than" "$hello" 0561
lie 4 "ended before all its bytes came" "$hello" "$(file "$name" 02)" 0561 "$end"
lie 4 "ended before all its bytes came" "$hello" "$end"
lie 4 "differs from the sender's" "$hello" "$(file "$name" 01)" 0561 "$end"
lie 4 "a file began inside another" "$hello" "$(file "$name" 01)" "$(file "$name" 01)"
lie 4 "were sent" "$hello" 07610000000000000001000000
lie 4 "a message is malformed" "$hello" 06
lie 4 "a message is malformed" "$hello" 07
lie 4 "a message is malformed" "$hello" 0400
lie 4 "a message is malformed" "$hello" ff
lie 4 "a message is malformed" "$hello" 1000000000
lie 4 "a message is malformed" "$hello" ""
lie 1 "not a \`weir send\`" 0561
lie 1 "not a \`weir send\`" "01$(printf weirxfer | hex)0200"

[ -z "$(find inside -type f)" ] || bad "files were left: $(find inside -type f)"
[ ! -e outside ] && [ ! -e /etc/weir-attack ] || bad "something was written outside"

# A sender without end, and one that only knocks: nobody waits for ever once the other side is gone.
rm -f recv.out recv.err
start recv "$weir" recv 127.0.0.1:0 --out inside
receiver=$pid
at=$(address_of recv)
start knocker ./liar "$at"
sleep 0.3
kill -KILL "$pid"
expect 0 "" "$weir" send "$at" --quiet liar.c
ended "$receiver" 20
same 0 "after somebody who only knocked: $(cat recv.err)"
cmp liar.c inside/liar.c || bad "after somebody who only knocked"
exit 0
