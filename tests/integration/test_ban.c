/* Bans of node ids, and bans that another program asks for, on real sockets. */
#include <fcntl.h>
#include <sys/stat.h>

#include "engine/node/internal.h"
#include "tests/integration/harness.h"

IT_SUITE(ban);

static struct it_node a, b, c;
static char path[128], asks[160], taken[160];

static void init(struct it_node *node, const char *name)
{
    it_init(node, name);
    node->cfg.secure = WEIR_SECURE_REQUIRE;
}

static const char *id_of(const struct it_node *node)
{
    static char text[WEIR_ID_TEXT_BYTES];
    struct weir_id id;
    IT_OK(weir_node_id(node->node, &id));
    return weir_id_text(&id, text);
}

IT_TEST(ban, a_node_is_banned_by_id_wherever_it_comes_from)
{
    init(&a, "a");
    init(&b, "b");
    init(&c, "c");
    b.cfg.shard_cnt = 2;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    it_start(&c, NULL);
    it_link(&a, &b);
    it_link(&c, &b);
    /* Who is connected goes, with the reason, and comes no more; all others stay. */
    IT_OK(weir_ban(b.node, id_of(&a), 0, 0));
    IT_WAIT(a.downs == 1 && b.downs == 1);
    IT_EQ(a.down_by[WEIR_R_BANNED], 1);
    IT_EQ(b.down_by[WEIR_R_BANNED], 1);
    IT_OK(weir_dial(a.node, b.address, 0));
    IT_WAIT(a.fails + a.downs == 2 && b.fails == 1);
    IT_EQ(b.fail_by[WEIR_R_BANNED], 1);
    IT_EQ(c.downs, 0);
    struct weir_ban_info info[2];
    struct weir_id id;
    IT_EQ(weir_ban_list(b.node, info, 2), 1);
    IT_OK(weir_node_id(a.node, &id));
    cr_assert(info[0].is_id && info[0].is_manual && info[0].prefix[0] == '\0');
    cr_assert_arr_eq(info[0].id.bytes, id.bytes, sizeof(id.bytes));
    /* Unbanned it is like anybody. */
    IT_OK(weir_unban(b.node, id_of(&a)));
    IT_IS(weir_unban(b.node, id_of(&a)), WEIR_E_GONE);
    it_link(&a, &b);
    IT_IS(weir_ban(b.node, "weir1nonsense", 0, 0), WEIR_E_KEY);
    it_stop(&a);
    it_stop(&c);
    it_stop(&b);
}

/* Whom an operator keeps dialed no ban ends, also not that of its id. */
IT_TEST(ban, a_node_that_is_kept_dialed_is_exempt)
{
    init(&a, "a");
    init(&b, "b");
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    IT_OK(weir_ban(a.node, id_of(&b), 0, 0));
    IT_OK(weir_dial(a.node, b.address, WEIR_DIAL_PERSIST));
    IT_WAIT(a.ups == 1 && b.ups == 1);
    IT_OK(weir_ban(a.node, id_of(&b), WEIR_NS_FOREVER, 0)); /* has all shards look once more */
    IT_OK(weir_try_send(a.node, it_peer(&a, 0), 1, "still", 5));
    IT_WAIT(b.msgs == 1);
    IT_EQ(a.downs, 0);
    it_stop(&a);
    it_stop(&b);
}

/* ---- asked for ----------------------------------------------------------------------------- */

static void make_paths(void)
{
    snprintf(path, sizeof(path), "/tmp/weir-it-ban-%d", getpid());
    snprintf(asks, sizeof(asks), "%s.asks", path);
    snprintf(taken, sizeof(taken), "%s.asks.taken", path);
    unlink(path);
    unlink(asks);
    unlink(taken);
}

static void remove_paths(void)
{
    unlink(path);
    cr_assert(unlink(asks) != 0, "something was left over");
    cr_assert(unlink(taken) != 0, "something was left over");
}

static void create(struct it_node *node)
{
    it_init(node, "b");
    node->cfg.ban_path = path;
    it_create(node, NULL);
}

static bool is_listed(struct it_node *node, const char *prefix)
{
    static struct weir_ban_info info[1024];
    int64_t cnt = weir_ban_list(node->node, info, 1024);
    for (int64_t i = 0; i < cnt; i++) {
        if (strcmp(info[i].prefix, prefix) == 0)
            return true;
    }
    return false;
}

IT_TEST(ban, what_is_asked_for_holds_now_and_after_a_restart)
{
    struct weir_ban_info info[4];
    make_paths();
    IT_EQ(weir_ban_is_asked(path), 0);
    IT_EQ(weir_ban_read(path, info, 4), 0);
    /* Of a node that does not run: it takes it as it is made. */
    IT_OK(weir_ban_ask(path, "192.0.2.7", WEIR_NS_FOREVER, 0));
    IT_OK(weir_ban_ask(path, "192.0.2.8", 100 * WEIR_NS_PER_S, WEIR_R_APPLICATION));
    IT_EQ(weir_ban_is_asked(path), 1);
    struct stat stat_now;
    cr_assert(stat(asks, &stat_now) == 0 && (stat_now.st_mode & 0777) == 0600);
    create(&b);
    IT_EQ(weir_ban_is_asked(path), 0);
    cr_assert(is_listed(&b, "192.0.2.7/32") && is_listed(&b, "192.0.2.8/32"));
    IT_EQ(weir_ban_read(path, info, 4), 2); /* and it is in the file already */
    /* Of one that runs. */
    IT_OK(weir_node_start(b.node));
    IT_EQ(weir_ban_take(b.node), 0);
    IT_OK(weir_ban_ask(path, "2001:db8::/32", 100 * WEIR_NS_PER_S, 0));
    IT_OK(weir_unban_ask(path, "192.0.2.7"));
    IT_OK(weir_unban_ask(path, "192.0.2.99")); /* is not banned: nothing to end */
    IT_EQ(weir_ban_take(b.node), 2);
    cr_assert(is_listed(&b, "2001:db8::/32") && !is_listed(&b, "192.0.2.7/32"));
    IT_EQ(weir_ban_read(path, info, 4), 2);
    IT_EQ(info[0].reason, WEIR_R_APPLICATION);
    it_stop(&b);
    create(&b);
    IT_EQ(weir_ban_list(b.node, NULL, 0), 2);
    it_free(&b);
    remove_paths();
    IT_IS(weir_ban_ask(path, "nobody", WEIR_NS_FOREVER, 0), WEIR_E_ADDRESS);
    IT_IS(weir_ban_ask(path, "192.0.2.7", 0, 0), WEIR_E_MISUSE);
    IT_IS(weir_ban_ask("/nonexistent/bans", "192.0.2.7", WEIR_NS_FOREVER, 0), WEIR_E_SYSTEM);
    remove_paths();
}

IT_TEST(ban, who_is_connected_goes_when_it_is_asked_for)
{
    make_paths();
    init(&a, "a");
    init(&b, "b");
    b.cfg.ban_path = path;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    it_link(&a, &b);
    IT_OK(weir_ban_ask(path, id_of(&a), WEIR_NS_FOREVER, 0));
    IT_EQ(a.downs, 0);
    IT_EQ(weir_ban_take(b.node), 1);
    IT_WAIT(a.downs == 1 && b.downs == 1);
    IT_EQ(a.down_by[WEIR_R_BANNED], 1);
    it_stop(&a);
    it_stop(&b);
    it_init(&b, "no file");
    it_create(&b, NULL);
    IT_IS(weir_ban_take(b.node), WEIR_E_STATE);
    it_free(&b);
    remove_paths();
}

/* A crash in the middle: what was taken and not carried out, and half a line of a writer that died. */
IT_TEST(ban, what_was_taken_before_a_crash_is_taken_again)
{
    make_paths();
    IT_OK(weir_ban_ask(path, "192.0.2.1", WEIR_NS_FOREVER, 0));
    cr_assert(rename(asks, taken) == 0);
    IT_OK(weir_ban_ask(path, "192.0.2.2", WEIR_NS_FOREVER, 0));
    int fd = open(asks, O_WRONLY | O_APPEND);
    cr_assert(fd >= 0 && write(fd, "192.0.2.3/32 17", 15) == 15);
    close(fd);
    IT_OK(weir_ban_ask(path, "192.0.2.4", WEIR_NS_FOREVER, 0));
    create(&b);
    cr_assert(is_listed(&b, "192.0.2.1/32") && is_listed(&b, "192.0.2.2/32"));
    cr_assert(is_listed(&b, "192.0.2.4/32"), "half a line has not taken the next along");
    IT_EQ(weir_ban_list(b.node, NULL, 0), 3);
    it_free(&b);
    remove_paths();
}

enum { WRITERS = 4, EACH = 60 };

static void *write_asks(void *arg)
{
    char whom[32];
    long own = (long)(intptr_t)arg;
    intptr_t errors = 0;
    for (int i = 0; i < EACH; i++) {
        snprintf(whom, sizeof(whom), "10.%ld.0.%d", own, i);
        errors += weir_ban_ask(path, whom, WEIR_NS_FOREVER, 0) != 0;
    }
    return (void *)errors;
}

/* Writers, the node that takes, and a ban of its own that has it write its file, all at once: nothing is lost. */
IT_TEST(ban, nothing_is_lost_where_many_ask_at_once)
{
    pthread_t threads[WRITERS];
    char whom[32];
    make_paths();
    create(&b);
    for (intptr_t i = 0; i < WRITERS; i++)
        cr_assert(pthread_create(&threads[i], NULL, write_asks, (void *)(i + 1)) == 0);
    for (int i = 0; i < EACH; i++) {
        int64_t done = weir_ban_take(b.node);
        cr_assert(done >= 0 || done == WEIR_E_TIMEOUT, "%s", weir_error_name((int)done));
        snprintf(whom, sizeof(whom), "10.0.0.%d", i);
        IT_OK(weir_ban(b.node, whom, WEIR_NS_FOREVER, 0));
    }
    for (int i = 0; i < WRITERS; i++) {
        void *errors;
        pthread_join(threads[i], &errors);
        IT_EQ((intptr_t)errors, 0);
    }
    cr_assert(weir_ban_take(b.node) >= 0);
    IT_EQ(weir_ban_list(b.node, NULL, 0), (WRITERS + 1) * EACH);
    IT_EQ(weir_ban_is_asked(path), 0);
    it_free(&b);
    IT_EQ(weir_ban_read(path, NULL, 0), (WRITERS + 1) * EACH);
    remove_paths();
}
