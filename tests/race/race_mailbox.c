/* Three threads put letters, the owner takes them and sleeps when there are none: the order of each
 * thread is kept, nothing is lost or counted twice, the bound holds, and no wake-up is lost (then
 * the owner's wait would time out) or told to two. */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/mem/mailbox.h"

#define PRODUCER_CNT 3u
#define LETTERS_MAX 2000000u
#define RUN_NS 800000000u
#define DUEL_NS 400000000u
#define BYTES_MAX 2000u
#define LETTER_BYTES_MAX 100u

struct numbered {
    struct weir_letter letter; /* kind: the producer */
    uint64_t number;
};

static struct weir_mailbox mailbox;
static sem_t wake;
static _Atomic uint64_t wake_cnt;
static _Atomic bool is_over;
static uint64_t sent_cnt[PRODUCER_CNT]; /* read after the join */

#define REQUIRE(cond, ...)                     \
    do {                                       \
        if (!(cond)) {                         \
            fprintf(stderr, "race_mailbox: "); \
            fprintf(stderr, __VA_ARGS__);      \
            fprintf(stderr, " (%s)\n", #cond); \
            exit(1);                           \
        }                                      \
    } while (0)

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void wake_owner(bool must_wake)
{
    if (must_wake) {
        atomic_fetch_add_explicit(&wake_cnt, 1, memory_order_relaxed);
        sem_post(&wake);
    }
}

static void *produce(void *arg)
{
    uint32_t producer = (uint32_t)(uintptr_t)arg;
    uint64_t number = 0;
    while (number < LETTERS_MAX && !atomic_load_explicit(&is_over, memory_order_relaxed)) {
        struct numbered *one = malloc(sizeof(*one));
        REQUIRE(one != NULL, "no memory");
        one->number = number++;
        one->letter.kind = producer;
        one->letter.bytes = (uint32_t)(number * 7 % LETTER_BYTES_MAX) + 1;
        bool must_wake = false;
        if (number % 64 == 0) {
            weir_mailbox_put_always(&mailbox, &one->letter, &must_wake);
        } else {
            while (weir_mailbox_put(&mailbox, &one->letter, &must_wake) != 0) {
                sched_yield();
            }
        }
        wake_owner(must_wake);
        if (number % 50 == 0) {
            sched_yield(); /* so that the owner finds it empty often */
        }
    }
    sent_cnt[producer] = number;
    return NULL;
}

static uint64_t try_cnt, sleep_cnt, received_cnt[PRODUCER_CNT];

static void consume_all(void)
{
    struct weir_letter *letter = weir_mailbox_take(&mailbox);
    while (letter != NULL) {
        struct numbered *one = (struct numbered *)letter;
        struct weir_letter *next = letter->next;
        uint64_t *received = &received_cnt[letter->kind];
        REQUIRE(one->number == *received, "letter %llu of producer %u instead of %llu",
                (unsigned long long)one->number, letter->kind, (unsigned long long)*received);
        ++*received;
        weir_mailbox_credit(&mailbox, letter->bytes);
        free(one);
        letter = next;
    }
}

static void sleep_once(void)
{
    ++try_cnt;
    if (weir_mailbox_sleep(&mailbox)) {
        ++sleep_cnt;
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 10;
        REQUIRE(sem_timedwait(&wake, &until) == 0, "a wake-up was lost");
    }
    weir_mailbox_awake(&mailbox);
}

/* ---- duels: two threads meet at one instant, many times -------------------------------------- */

/* In even rounds the owner sleeps first, then puts a letter as well: one of the two puts is told to
 * wake. In odd rounds the put collides with the owner's going to sleep: if that may sleep, the put
 * is told. The owner's delay sweeps over the time that the other core takes to see the round open.
 */
static _Atomic uint64_t duel_round; /* the owner opens round n by storing it */
static _Atomic uint64_t duel_done;  /* the other thread's answer: 2 * round + must_wake */
#define DUELS_OVER UINT64_MAX
#define DELAYS 512u

/* Spins, since a wait in the kernel would keep the two apart; yields for machines of one core. */
static uint64_t await_change(_Atomic uint64_t *word, uint64_t before)
{
    for (uint32_t spins = 1;; ++spins) {
        uint64_t now = atomic_load_explicit(word, memory_order_acquire);
        if (now != before) {
            return now;
        }
        if (spins % 4096 == 0) {
            sched_yield();
        }
    }
}

static void *duel(void *arg)
{
    (void)arg;
    struct weir_letter letter = {.bytes = 1};
    uint64_t round = 0;
    while ((round = await_change(&duel_round, round)) != DUELS_OVER) {
        bool must_wake = false;
        REQUIRE(weir_mailbox_put(&mailbox, &letter, &must_wake) == 0, "no room for two");
        atomic_store_explicit(&duel_done, 2 * round + must_wake, memory_order_release);
    }
    return NULL;
}

static void run_duels(void)
{
    pthread_t thread;
    uint64_t round = 0, done = 0, asleep_cnt = 0, end_ns = now_ns() + DUEL_NS;
    struct weir_letter letter = {.bytes = 1};
    weir_mailbox_init(&mailbox, BYTES_MAX);
    REQUIRE(pthread_create(&thread, NULL, duel, NULL) == 0, "no thread");
    while (now_ns() < end_ns) {
        ++round;
        bool is_asleep = round % 2 == 0 && weir_mailbox_sleep(&mailbox);
        bool is_told = false;
        REQUIRE(is_asleep == (round % 2 == 0), "an empty mailbox keeps its owner awake");
        atomic_store_explicit(&duel_round, round, memory_order_release);
        for (volatile uint32_t spins = 0; spins < round / 2 % DELAYS; ++spins) {
        }
        if (is_asleep) {
            REQUIRE(weir_mailbox_put(&mailbox, &letter, &is_told) == 0, "no room for two");
        } else {
            is_asleep = weir_mailbox_sleep(&mailbox);
            asleep_cnt += is_asleep;
        }
        done = await_change(&duel_done, done);
        uint64_t wakes = (done & 1) + is_told;
        REQUIRE(wakes <= 1, "round %llu: two are told to wake", (unsigned long long)round);
        REQUIRE(!is_asleep || wakes == 1, "round %llu: a wake-up was lost",
                (unsigned long long)round);
        weir_mailbox_awake(&mailbox);
        for (struct weir_letter *one = weir_mailbox_take(&mailbox); one != NULL; one = one->next) {
            weir_mailbox_credit(&mailbox, one->bytes);
        }
    }
    atomic_store_explicit(&duel_round, DUELS_OVER, memory_order_release);
    pthread_join(thread, NULL);
    REQUIRE(atomic_load(&mailbox.bytes) == 0, "bytes are left");
    printf("race_mailbox: %llu duels, slept in %llu of the odd ones\n", (unsigned long long)round,
           (unsigned long long)asleep_cnt);
}

int main(void)
{
    pthread_t threads[PRODUCER_CNT];
    uint64_t end_ns = now_ns() + RUN_NS;
    weir_mailbox_init(&mailbox, BYTES_MAX);
    sem_init(&wake, 0, 0);
    for (uint32_t i = 0; i < PRODUCER_CNT; ++i) {
        REQUIRE(pthread_create(&threads[i], NULL, produce, (void *)(uintptr_t)i) == 0, "no thread");
    }
    /* Longer on a machine that has done little until then. */
    while (now_ns() < end_ns || sleep_cnt == 0 || received_cnt[0] <= 1000) {
        consume_all();
        sleep_once();
    }
    atomic_store(&is_over, true);
    /* They may still wait for room. */
    for (uint32_t i = 0; i < PRODUCER_CNT; ++i) {
        void *unused;
        while (pthread_tryjoin_np(threads[i], &unused) != 0) {
            consume_all();
            sched_yield();
        }
    }
    consume_all();
    uint64_t total = 0;
    for (uint32_t i = 0; i < PRODUCER_CNT; ++i) {
        REQUIRE(received_cnt[i] == sent_cnt[i], "producer %u: %llu sent, %llu received", i,
                (unsigned long long)sent_cnt[i], (unsigned long long)received_cnt[i]);
        total += received_cnt[i];
    }
    REQUIRE(atomic_load(&mailbox.bytes) == 0, "bytes are left");
    /* Each wake was told for one setting of the flag, by sleep_once(). */
    REQUIRE(atomic_load(&wake_cnt) <= try_cnt, "more wakes than attempts to sleep");
    REQUIRE(sleep_cnt > 0 && total > 1000, "nothing was tested");
    printf("race_mailbox: %llu letters, %llu sleeps, %llu wakes\n", (unsigned long long)total,
           (unsigned long long)sleep_cnt, (unsigned long long)atomic_load(&wake_cnt));
    run_duels();
    return 0;
}
