#include "tests/unit/io/uring_fixture.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "weir/node.h"

static const struct weir_check *find(const struct weir_check *checks, int64_t cnt, const char *name)
{
    for (int64_t i = 0; i < cnt; i++)
        if (strcmp(checks[i].name, name) == 0)
            return &checks[i];
    return NULL;
}

Test(doctor, agrees_with_what_can_be_done)
{
    struct weir_check checks[32];
    int fd_cnt = fixture_fd_cnt();
    int64_t cnt = weir_doctor(checks, 32);
    cr_assert_eq(fixture_fd_cnt(), fd_cnt);
    CHECK(cnt >= 22 && cnt < 32);
    CHECK(find(checks, cnt, "processor") && strstr(find(checks, cnt, "ciphers")->found, "GB/s"));
    bool is_fatal = false;
    for (int64_t i = 0; i < cnt; i++) {
        const struct weir_check *check = &checks[i];
        if (getenv("WEIR_TEST_SHOW"))
            fprintf(stderr, "%d %-26s %s %s\n", check->status, check->name, check->found,
                    check->remedy);
        CHECK(check->name[0] && check->found[0] && check->status >= 0 && check->status <= 2);
        cr_assert_eq(check->status != 0, check->remedy[0] != 0, "%s", check->name);
        cr_assert_eq(check->status == 2, check->error < 0, "%s", check->name);
        is_fatal |= check->status == 2;
    }
    struct weir_io *io = NULL;
    int error = weir_io_uring_create(&io, &fixture_config);
    cr_assert_eq(error != 0, is_fatal);
    if (error == 0)
        io->ops->free(io);
}

Test(doctor, fills_no_more_than_it_may)
{
    struct weir_check checks[4];
    memset(checks, 0x77, sizeof(checks));
    CHECK(weir_doctor(checks, 3) == 3);
    CHECK(checks[3].name[0] == 0x77);
    CHECK(weir_doctor(NULL, 0) == 0);
    CHECK(weir_doctor(NULL, 1) == WEIR_E_MISUSE);
}

Test(doctor, a_sandbox_is_named_with_its_remedy)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 425, 0, 1), /* io_uring_setup, on every architecture */
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        cr_skip_test("seccomp is not available");
    struct weir_check checks[32];
    int64_t cnt = weir_doctor(checks, 32);
    const struct weir_check *check = find(checks, cnt, "io_uring-setup");
    CHECK(check && check->status == 2 && check->error == WEIR_E_NO_URING);
    CHECK(strstr(check->remedy, "seccomp"));
    check = find(checks, cnt, "seccomp");
    CHECK(check && strstr(check->found, "filter"));
    CHECK(find(checks, cnt, "uring-nodrop") == NULL);
}
