/* bench/callgrind/hotpath.c: weir-hotpath CASE: prints how many messages were counted, and the hash. */
#include "bench/callgrind/hotpath.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/hash.h"

__attribute__((noinline)) void counted(void (*work)(void *ctx), void *ctx)
{
    work(ctx);
    __asm__ volatile("" ::: "memory"); /* no tail call: the toggle needs the return */
}

static uint64_t send_small(void)
{
    return hotpath_stream("send", 64);
}
static uint64_t send_large(void)
{
    return hotpath_stream("send", 16384);
}
static uint64_t receive_small(void)
{
    return hotpath_stream("receive", 64);
}
static uint64_t receive_large(void)
{
    return hotpath_stream("receive", 16384);
}
static uint64_t send_of_two(void)
{
    return hotpath_stream_of(2, "send", 64);
}
static uint64_t receive_of_two(void)
{
    return hotpath_stream_of(2, "receive", 64);
}
static uint64_t share(void)
{
    return hotpath_stream("share", 16384);
}
static uint64_t away(void)
{
    return hotpath_stream("away", 64);
}
static uint64_t ping(void)
{
    return hotpath_ping(64);
}
static uint64_t encode_small(void)
{
    return hotpath_encode(64);
}
static uint64_t encode_large(void)
{
    return hotpath_encode(16384);
}
static uint64_t decode_small(void)
{
    return hotpath_decode(64);
}
static uint64_t decode_large(void)
{
    return hotpath_decode(16384);
}

static const struct {
    const char *name;
    uint64_t (*run)(void);
    const char *text;
} cases[] = {
    {"send-64", send_small, "weir_try_send of 64 bytes and its part of the turns that send it"},
    {"send-16384", send_large, "the same of 16 KiB"},
    {"receive-64", receive_small, "decode, verify and deliver 64 bytes"},
    {"receive-16384", receive_large, "the same of 16 KiB"},
    {"send-64-of-2", send_of_two, "send-64, by a shard that has another beside it"},
    {"receive-64-of-2", receive_of_two, "receive-64, likewise"},
    {"share-16384", share, "send of 16 KiB on three channels of weights 1, 5 and 10"},
    {"away-64", away, "weir_try_send of 64 bytes from another thread"},
    {"ping-64", ping, "one message of 64 bytes sent and one received in a turn"},
    {"encode-64", encode_small, "the header of a frame with 64 bytes, hashed"},
    {"encode-16384", encode_large, "the same of 16 KiB"},
    {"decode-64", decode_small, "a frame of 64 bytes decoded and verified"},
    {"decode-16384", decode_large, "the same of 16 KiB"},
};
#define CASE_CNT (sizeof(cases) / sizeof(cases[0]))

int main(int argc, char **argv)
{
    for (size_t i = 0; i < CASE_CNT && argc == 2; i++) {
        if (strcmp(argv[1], cases[i].name) != 0)
            continue;
        uint64_t cnt = cases[i].run();
        printf("messages %llu hash %s\n", (unsigned long long)cnt, weir_hash_ops()->name);
        fflush(stdout);
        _exit(cnt > 0 ? 0
                      : 1); /* the nodes are full of messages: taking them down is another test's */
    }
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < CASE_CNT; i++)
            printf("%s\t%s\n", cases[i].name, cases[i].text);
        return 0;
    }
    fprintf(stderr, "usage: weir-hotpath CASE | --list\n");
    return 2;
}
