/* A node on a system that does not give it what it needs: each call says so, by one name and with a remedy, and
 * leaves nothing behind. Each case runs in a child, because a seccomp filter is for ever.
 * (tests/unit/io/test_uring_refused.c does the same to the ring alone, scripts/tool_sandbox.py to the tool.) */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/integration/harness.h"

IT_SUITE(refused);

#define SKIPPED 77
#define EXPECT(condition)                                           \
    do {                                                            \
        if (!(condition)) {                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            _exit(1);                                               \
        }                                                           \
    } while (0)

static char said[4000];

static void note_line(void *ctx, int level, const char *line)
{
    (void)ctx;
    if (level == WEIR_LOG_ERROR)
        snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s\n", line);
}

static void deny_setup(int err)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)err),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(SKIPPED);
}

static weir_node *make(void)
{
    struct weir_reactor reactor = {.size = sizeof(reactor)};
    struct weir_channel channel = {.size = sizeof(channel), .id = 1};
    struct weir_config cfg;
    weir_node *node;
    weir_config_init(&cfg);
    cfg.log = note_line;
    EXPECT(weir_node_create(&node, &cfg) == 0);
    EXPECT(weir_node_attach(node, &reactor, &channel, 1) == 0);
    return node;
}

static void expect_named(int error, int expected)
{
    EXPECT(error == expected);
    EXPECT(strlen(weir_error_text(error)) > 10 && strlen(weir_error_remedy(error)) > 10);
    EXPECT(strstr(said, weir_error_text(error)) != NULL);
    EXPECT(strstr(said, weir_error_remedy(error)) != NULL);
    said[0] = 0;
}

/* Each call that needs a ring, first of all and after another has failed. */
static void try_all(int expected)
{
    int fds = it_fds();
    for (int first = 0; first < 3; first++) {
        weir_node *node = make();
        for (int i = 0; i < 4; i++) {
            int call = (first + i) % 3;
            expect_named(call == 0   ? weir_node_listen(node, "127.0.0.1:0")
                         : call == 1 ? weir_dial(node, "127.0.0.1:9", 0)
                                     : weir_node_start(node),
                         expected);
        }
        EXPECT(weir_node_stop(node, 0) == WEIR_E_STATE);
        weir_node_free(node);
        EXPECT(it_fds() == fds);
    }
    _exit(0);
}

static void expect_child(pid_t child, const char *name)
{
    int status = 0;
    cr_assert(waitpid(child, &status, 0) == child && WIFEXITED(status), "%s: died", name);
    if (WEXITSTATUS(status) != SKIPPED)
        cr_assert(WEXITSTATUS(status) == 0, "%s: see above", name);
}

IT_TEST(refused, each_errno_at_set_up_is_named_with_a_remedy)
{
    static const struct {
        const char *name;
        int err, expected;
    } refusals[] = {
        {"EPERM", EPERM, WEIR_E_NO_URING},           {"ENOSYS", ENOSYS, WEIR_E_NO_URING},
        {"EOPNOTSUPP", EOPNOTSUPP, WEIR_E_NO_URING}, {"EACCES", EACCES, WEIR_E_NO_URING},
        {"EINVAL", EINVAL, WEIR_E_KERNEL},           {"EMFILE", EMFILE, WEIR_E_DESCRIPTORS},
        {"ENFILE", ENFILE, WEIR_E_DESCRIPTORS},      {"ENOMEM", ENOMEM, WEIR_E_MEMLOCK}};
    for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
        pid_t child = fork();
        if (child == 0) {
            struct rlimit memlock = {8 << 20, 8 << 20}; /* what ENOMEM is then taken for */
            if (refusals[i].err == ENOMEM && setrlimit(RLIMIT_MEMLOCK, &memlock) != 0)
                _exit(SKIPPED);
            deny_setup(refusals[i].err);
            try_all(refusals[i].expected);
        }
        expect_child(child, refusals[i].name);
    }
}

/* For every number of descriptors that are left, until there are enough to listen and start. */
IT_TEST(refused, descriptors_may_run_out_anywhere)
{
    bool has_run = false;
    for (rlim_t left = 0; left < 20 && !has_run; left++) {
        pid_t child = fork();
        if (child == 0) {
            int fds = it_fds(), next = dup(0);
            close(next);
            struct rlimit limit = {(rlim_t)next + left, (rlim_t)next + left};
            EXPECT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
            weir_node *node = make();
            int error = weir_node_listen(node, "127.0.0.1:0");
            if (!error)
                error = weir_node_start(node);
            EXPECT(error == 0 || error == WEIR_E_DESCRIPTORS);
            weir_node_free(node);
            DIR *dir = opendir("/proc/self/fd"); /* takes one itself */
            EXPECT(dir != NULL || left == 0);
            if (dir) {
                closedir(dir);
                /* A ring's last reference is dropped by a kernel thread, a moment after its close. */
                for (int i = 0; i < 60000 && it_fds() > fds; i++)
                    usleep(1000);
                EXPECT(it_fds() == fds);
            }
            _exit(error ? 3 : 0);
        }
        int status = 0;
        cr_assert(waitpid(child, &status, 0) == child && WIFEXITED(status));
        cr_assert(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3, "%u descriptors left",
                  (unsigned)left);
        cr_assert(left > 0 || WEXITSTATUS(status) == 3, "none is too few");
        has_run = WEXITSTATUS(status) == 0;
    }
    cr_assert(has_run, "19 descriptors are enough");
}
