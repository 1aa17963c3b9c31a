/* engine/io/doctor.c: the most of weir_doctor(): looks at kernel, io_uring, limits and sysctls, and says what to do. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "engine/io/io.h"
#include "engine/io/uring_probe.h"
#include "weir/error.h"
#include "weir/node.h"

enum { FINE = 0, LESSER = 1, FATAL = 2 };

struct report {
    struct weir_check *checks;
    size_t cnt, max;
};

/* Adds a check and returns it for the remedy; a spare one when there is no room. */
static struct weir_check *add(struct report *report, struct weir_check *spare, const char *name,
                              int status, int error, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
static struct weir_check *add(struct report *report, struct weir_check *spare, const char *name,
                              int status, int error, const char *format, ...)
{
    struct weir_check *check = report->cnt < report->max ? &report->checks[report->cnt++] : spare;
    memset(check, 0, sizeof(*check));
    check->status = status;
    check->error = status == FATAL ? error : 0;
    snprintf(check->name, sizeof(check->name), "%s", name);
    va_list args;
    va_start(args, format);
    vsnprintf(check->found, sizeof(check->found), format, args);
    va_end(args);
    return check;
}

static void remedy(struct weir_check *check, const char *text)
{
    snprintf(check->remedy, sizeof(check->remedy), "%s", text);
}

/* Reads the first line of a small file under /proc; false when there is none. */
static bool read_line(const char *path, char *ret_text, size_t bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t len = read(fd, ret_text, bytes - 1);
    close(fd);
    if (len <= 0)
        return false;
    ret_text[len] = 0;
    ret_text[strcspn(ret_text, "\n")] = 0;
    return true;
}

/* ---- kernel and io_uring ------------------------------------------------------------------- */

static void check_kernel(struct report *report)
{
    struct weir_check spare;
    struct utsname name;
    unsigned major = 0, minor = 0;
    if (uname(&name) != 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2) {
        add(report, &spare, "kernel", LESSER, 0, "unknown");
        return;
    }
    bool is_new = major > 6 || (major == 6 && minor >= 1);
    struct weir_check *check = add(report, &spare, "kernel", is_new ? FINE : LESSER, 0, "%s %s",
                                   name.sysname, name.release);
    if (!is_new)
        remedy(check, "weir is made for Linux 6.1 and later. The features below decide: "
                      "some distributions bring them to older kernels.");
}

static void check_sandbox(struct report *report, int setup_errno)
{
    struct weir_check spare, *check;
    char text[32] = "";
    if (read_line("/proc/sys/kernel/io_uring_disabled", text, sizeof(text))) {
        int value = atoi(text);
        bool is_refused = value != 0 && setup_errno != 0; /* 1 lets root and a group pass */
        check = add(report, &spare, "kernel.io_uring_disabled", is_refused ? FATAL : FINE,
                    WEIR_E_NO_URING, "%d", value);
        if (is_refused)
            remedy(check, value == 2
                              ? "sysctl -w kernel.io_uring_disabled=0"
                              : "sysctl -w kernel.io_uring_disabled=0, or run as a member of the "
                                "group in kernel.io_uring_group");
    }
    int mode = prctl(PR_GET_SECCOMP, 0, 0, 0, 0);
    add(report, &spare, "seccomp", FINE, 0, "%s",
        mode == 0 ? "none"
        : mode == 2
            ? "a filter is in force (a container or systemd); io_uring-setup tells if it matters"
            : "unknown");
}

static void check_setup(struct report *report, int err)
{
    struct weir_check spare, *check;
    if (err == 0) {
        add(report, &spare, "io_uring-setup", FINE, 0, "works");
        return;
    }
    int error = err == ENOMEM                    ? WEIR_E_MEMLOCK
                : err == EMFILE || err == ENFILE ? WEIR_E_DESCRIPTORS
                                                 : WEIR_E_NO_URING;
    check = add(report, &spare, "io_uring-setup", FATAL, error, "%s", strerror(err));
    if (error == WEIR_E_MEMLOCK)
        remedy(check, "Raise RLIMIT_MEMLOCK: 'ulimit -l', LimitMEMLOCK= in a systemd unit, "
                      "--ulimit memlock= for Docker.");
    else if (error == WEIR_E_DESCRIPTORS)
        remedy(check, "Raise RLIMIT_NOFILE: 'ulimit -n', LimitNOFILE= in a systemd unit.");
    else
        remedy(
            check,
            "The kernel or a sandbox refuses io_uring. Docker and containerd do by default: use a "
            "seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register. "
            "In systemd: SystemCallFilter=@io-event io_uring_register.");
}

static void check_features(struct report *report, const struct weir_uring_probe *probe)
{
    static const struct {
        const char *name, *since;
        bool is_needed;
    } features[WEIR_URING_FEATURE_CNT] = {
        [WEIR_URING_NODROP] = {"uring-nodrop", "5.5", true},
        [WEIR_URING_SUBMIT_ALL] = {"uring-submit-all", "5.18", true},
        [WEIR_URING_SINGLE_ISSUER] = {"uring-single-issuer", "6.0", true},
        [WEIR_URING_DEFER_TASKRUN] = {"uring-defer-taskrun", "6.1", true},
        [WEIR_URING_BUF_RINGS] = {"uring-buffer-rings", "5.19", true},
        [WEIR_URING_ACCEPT_MULTISHOT] = {"uring-accept-multishot", "5.19", true},
        [WEIR_URING_RECV_MULTISHOT] = {"uring-recv-multishot", "6.0", true},
        [WEIR_URING_NO_SQARRAY] = {"uring-no-sqarray", "6.6", false},
        [WEIR_URING_MSG_RING] = {"uring-msg-ring", "5.18", false},
        [WEIR_URING_SEND_ZC] = {"uring-send-zc", "6.0", false},
        [WEIR_URING_SENDMSG_ZC] = {"uring-sendmsg-zc", "6.1", false},
        [WEIR_URING_NAPI] = {"uring-napi", "6.9", false},
        [WEIR_URING_BUNDLES] = {"uring-bundles", "6.10", false},
        [WEIR_URING_BUFS_INCREMENTAL] = {"uring-incremental-buffers", "6.12", false},
        [WEIR_URING_MIN_TIMEOUT] = {"uring-min-timeout", "6.12", false},
        [WEIR_URING_RESIZE] = {"uring-resize", "6.13", false},
    };
    struct weir_check spare;
    for (int i = 0; i < WEIR_URING_FEATURE_CNT; i++) {
        bool has = probe->has[i];
        struct weir_check *check =
            add(report, &spare, features[i].name, has || !features[i].is_needed ? FINE : FATAL,
                WEIR_E_KERNEL,
                has                     ? "yes"
                : features[i].is_needed ? "no"
                                        : "no (weir does without; Linux %s has it)",
                features[i].since);
        if (check->status == FATAL)
            snprintf(check->remedy, sizeof(check->remedy),
                     "Linux %s has it and weir needs it: use a kernel of 6.1 or later.",
                     features[i].since);
    }
}

/* ---- limits and sysctls -------------------------------------------------------------------- */

static void check_limits(struct report *report)
{
    struct weir_check spare, *check;
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
        if (limit.rlim_cur == RLIM_INFINITY)
            add(report, &spare, "RLIMIT_MEMLOCK", FINE, 0, "unlimited");
        else if (geteuid() == 0)
            add(report, &spare, "RLIMIT_MEMLOCK", FINE, 0, "%llu KiB (root is not charged)",
                (unsigned long long)limit.rlim_cur >> 10);
        else {
            bool is_small = limit.rlim_cur < (8u << 20);
            check = add(report, &spare, "RLIMIT_MEMLOCK", is_small ? LESSER : FINE, 0,
                        "%llu KiB, for all rings of this user together",
                        (unsigned long long)limit.rlim_cur >> 10);
            if (is_small)
                remedy(check,
                       "8 MiB suffice for several shards: 'ulimit -l 8192', LimitMEMLOCK=8M in a "
                       "systemd unit, --ulimit memlock=8388608 for Docker.");
        }
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        bool is_small = limit.rlim_cur < 4096;
        check =
            add(report, &spare, "RLIMIT_NOFILE", is_small ? LESSER : FINE, 0, "%llu (at most %llu)",
                (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
        if (is_small)
            remedy(check, "Each peer takes a descriptor: 'ulimit -n 65536', LimitNOFILE=65536 in a "
                          "systemd unit.");
    }
}

static void check_sysctls(struct report *report)
{
    struct weir_check spare, *check;
    char text[128];
    if (read_line("/proc/sys/net/ipv4/tcp_congestion_control", text, sizeof(text))) {
        bool is_bbr = strncmp(text, "bbr", 3) == 0;
        check =
            add(report, &spare, "tcp_congestion_control", is_bbr ? LESSER : FINE, 0, "%s", text);
        if (is_bbr)
            remedy(
                check,
                "bbr's pacing halves the throughput on loopback and in fast local networks, and "
                "is fine over the internet. To choose for weir alone: weir_config.tcp_congestion "
                "= \"cubic\".");
    }
    static const struct {
        const char *name, *path;
    } buffers[2] = {{"tcp_rmem", "/proc/sys/net/ipv4/tcp_rmem"},
                    {"tcp_wmem", "/proc/sys/net/ipv4/tcp_wmem"}};
    for (int i = 0; i < 2; i++) {
        unsigned long long max = 0;
        if (!read_line(buffers[i].path, text, sizeof(text)) ||
            sscanf(text, "%*u %*u %llu", &max) != 1)
            continue;
        bool is_small = max < (4u << 20);
        check = add(report, &spare, buffers[i].name, is_small ? LESSER : FINE, 0,
                    "maximum %llu KiB", max >> 10);
        if (is_small)
            snprintf(
                check->remedy, sizeof(check->remedy),
                "Limits throughput over long distances: sysctl -w net.ipv4.%s=\"4096 131072 6291456\".",
                buffers[i].name);
    }
    if (read_line("/proc/sys/net/core/somaxconn", text, sizeof(text))) {
        bool is_small = atoi(text) < 1024;
        check = add(report, &spare, "somaxconn", is_small ? LESSER : FINE, 0, "%s", text);
        if (is_small)
            remedy(check,
                   "Bursts of inbound connections are dropped: sysctl -w net.core.somaxconn=4096.");
    }
}

int64_t weir_doctor_io(struct weir_check *ret_checks, size_t check_max)
{
    if (ret_checks == NULL && check_max > 0)
        return WEIR_E_MISUSE;
    struct report report = {.checks = ret_checks, .max = check_max};
    struct weir_uring_probe probe;
    weir_uring_probe(&probe);
    check_kernel(&report);
    check_sandbox(&report, probe.setup_errno);
    check_setup(&report, probe.setup_errno);
    if (probe.setup_errno == 0)
        check_features(&report, &probe);
    check_limits(&report);
    check_sysctls(&report);
    return (int64_t)report.cnt;
}
