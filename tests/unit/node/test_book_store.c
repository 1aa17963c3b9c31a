/* The address book on a real disk. Who is killed at any instant finds a whole book afterwards. */
#include "engine/node/book_store.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOW UINT64_C(1763000000)
#define PLACES 300u
#define KILLS 60

static char folder[] = "/tmp/weir-book-XXXXXX";
static char path[64];
static char said[512];
static weir_node *node;

static void hear(void *ctx, int level, const char *line)
{
    (void)ctx;
    (void)level;
    snprintf(said, sizeof(said), "%s", line);
}

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/book", folder);
    struct weir_config cfg;
    weir_config_init(&cfg);
    cfg.log = hear;
    cr_assert_eq(weir_node_create(&node, &cfg), 0);
}

static void tear_down(void)
{
    static const char *const ends[] = {"", ".tmp", ".damaged"};
    for (int i = 0; i < 3; i++) {
        char name[96];
        snprintf(name, sizeof(name), "%s%s", path, ends[i]);
        (void)unlink(name);
    }
    cr_assert_eq(rmdir(folder), 0, "something else is left in %s", folder);
    weir_node_free(node);
}

static struct weir_book *make(uint8_t key)
{
    struct weir_book_config cfg = {.seed = key};
    memset(cfg.key, key, sizeof(cfg.key));
    struct weir_book *book;
    cr_assert_eq(weir_book_create(&book, &cfg), 0);
    return book;
}

static void fill(struct weir_book *book, uint32_t begin, uint32_t end)
{
    for (uint32_t i = begin; i < end; i++) {
        struct weir_place place = {
            .family = WEIR_ADDR_IPV4, .port = 7000, .ip = {20, (uint8_t)i, (uint8_t)(i >> 8), 1}};
        struct weir_place source = place;
        source.ip[0] = 30;
        (void)weir_book_add(book, &place, &source, "", NOW, NOW);
    }
}

static uint32_t total(const struct weir_book *book)
{
    struct weir_book_stats stats;
    weir_book_stats(book, &stats);
    return stats.new_cnt + stats.tried_cnt;
}

static int save(struct weir_book *book)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    uint64_t change_cnt;
    return weir_book_store_save(book, &mutex, path, &change_cnt);
}

static struct weir_book *load(bool *ret_is_damaged)
{
    struct weir_book *book = make(9);
    said[0] = '\0';
    cr_assert_eq(weir_book_store_load(node, book, path, NOW, ret_is_damaged), 0);
    return book;
}

TestSuite(book_store, .init = set_up, .fini = tear_down);

Test(book_store, saves_and_loads_and_needs_no_file_at_first)
{
    bool is_damaged;
    struct weir_book *book = load(&is_damaged);
    cr_assert(total(book) == 0 && !is_damaged);
    fill(book, 0, PLACES);
    cr_assert_eq(save(book), 0);
    struct stat stat_buf;
    cr_assert_eq(stat(path, &stat_buf), 0);
    cr_assert_eq(stat_buf.st_mode & 0777, 0600, "the key in it is secret");
    struct weir_book *copy = load(&is_damaged);
    cr_assert(!is_damaged && said[0] == '\0');
    cr_assert_eq(total(copy), total(book));
    weir_book_free(copy);
    weir_book_free(book);
}

Test(book_store, damage_is_told_and_costs_only_itself)
{
    bool is_damaged;
    struct weir_book *book = make(1);
    fill(book, 0, PLACES);
    cr_assert_eq(save(book), 0);
    int fd = open(path, O_RDWR);
    cr_assert(fd >= 0 && pwrite(fd, "?", 1, WEIR_BOOK_HEADER_BYTES + 5 * 128 + 9) == 1);
    close(fd);
    struct weir_book *copy = load(&is_damaged);
    cr_assert(is_damaged);
    cr_assert(strstr(said, "book: ") && strstr(said, "1 records") && strstr(said, "number 5"), "%s",
              said);
    cr_assert(strstr(said, ".damaged"), "%s", said);
    cr_assert_eq(total(copy), total(book) - 1);
    weir_book_free(copy);
    copy = load(&is_damaged);
    cr_assert(total(copy) == 0 && !is_damaged, "it was put aside");
    weir_book_free(copy);

    fd = open(path, O_WRONLY | O_CREAT, 0600); /* something that is not a book */
    cr_assert(fd >= 0 && write(fd, "[node]\nlisten = 1\n", 18) == 18);
    close(fd);
    copy = load(&is_damaged);
    cr_assert(is_damaged && strstr(said, "not an address book"), "%s", said);
    weir_book_free(copy);
    weir_book_free(book);
}

Test(book_store, what_cannot_be_read_or_written_is_said)
{
    struct weir_book *book = make(1);
    bool is_damaged;
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(weir_book_store_load(node, book, path, NOW, &is_damaged), WEIR_E_ACCESS);
    cr_assert(strstr(said, "cannot be read"));
    cr_assert_neq(save(book), 0);
    cr_assert_eq(rmdir(path), 0);
    weir_book_free(book);
}

/* A child saves books that grow, without end; it is killed at some instant, and what is there then is whole. */
Test(book_store, a_kill_at_any_instant_leaves_a_whole_book, .timeout = 120)
{
    struct weir_book *first = make(1);
    fill(first, 0, 10);
    cr_assert_eq(save(first), 0);
    weir_book_free(first);
    uint32_t seen = 10;
    for (int round = 0; round < KILLS; round++) {
        int ready[2];
        cr_assert_eq(pipe(ready), 0);
        pid_t child = fork();
        cr_assert(child >= 0);
        if (child == 0) {
            struct weir_book *book = make(2);
            bool is_damaged;
            if (weir_book_store_load(node, book, path, NOW, &is_damaged) || is_damaged)
                _exit(3);
            for (uint32_t n = total(book); n < 20000; n += 7) {
                fill(book, n, n + 7);
                if (save(book) != 0)
                    _exit(2);
                (void)!write(ready[1], "", 1);
            }
            _exit(0);
        }
        close(ready[1]);
        char byte;
        for (int i = 0; i < 1 + round % 3; i++)
            cr_assert_eq(read(ready[0], &byte, 1), 1, "round %d: the child could not go on", round);
        usleep((useconds_t)(round * 37 % 900));
        kill(child, SIGKILL);
        int status;
        cr_assert_eq(waitpid(child, &status, 0), child);
        close(ready[0]);
        bool is_damaged;
        struct weir_book *book = load(&is_damaged);
        cr_assert(!is_damaged, "round %d: %s", round, said);
        cr_assert_geq(total(book), seen, "round %d: what was saved before is there", round);
        seen = total(book);
        weir_book_free(book);
    }
    cr_assert_gt(seen, 100);
}
