#!/usr/bin/env python3
"""Systems that do not give weir what it needs: every command names it and a remedy, with exit code 3.

A seccomp filter forbids io_uring with each errno that sandboxes use, or plays a shortage; limits on descriptors
and, as an ordinary user, on lockable memory are real ones.
"""
import ctypes
import errno
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time

WEIR = os.path.join(os.environ["WEIR_BIN_DIR"], "weir")
IO_URING_SETUP = 425  # the same number on every architecture
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO = 0x7FFF0000, 0x00050000
MIB = 1 << 20


class FilterProgram(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def forbid_io_uring(code=errno.EPERM):
    """Runs in the child before exec: io_uring_setup answers with this errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = b"".join([
        struct.pack("HBBI", 0x20, 0, 0, 0),  # load the system call's number
        struct.pack("HBBI", 0x15, 0, 1, IO_URING_SETUP),
        struct.pack("HBBI", 0x06, 0, 0, SECCOMP_RET_ERRNO | code),
        struct.pack("HBBI", 0x06, 0, 0, SECCOMP_RET_ALLOW),
    ])
    memory = ctypes.create_string_buffer(instructions, len(instructions))
    program = FilterProgram(4, ctypes.cast(memory, ctypes.c_void_p))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def run(*args):
    return subprocess.run([WEIR, *args], preexec_fn=forbid_io_uring, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)


def become_ordinary(uid, memlock):
    """Runs in the child before exec: root's rings are not charged, so it must be somebody else."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (memlock, memlock))
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def node_with(prepare):
    """Runs `weir node` prepared like this until it listens or ends. Returns (it listened, exit code, errors)."""
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen([WEIR, "node", "--listen", "127.0.0.1:0"], preexec_fn=prepare,
                                 stdin=subprocess.DEVNULL, stdout=output, stderr=output)

        def said_so_far():
            return os.pread(output.fileno(), 1 << 16, 0).decode()

        until = time.monotonic() + 60
        while child.poll() is None and "listening at" not in said_so_far() and time.monotonic() < until:
            time.sleep(0.02)
        listened = "listening at" in said_so_far()
        if child.poll() is None:
            child.send_signal(signal.SIGTERM if listened else signal.SIGKILL)
        child.wait(60)
        said = said_so_far()
    return listened, child.returncode, said


def may_lift_memlock():
    """In a container even root may not."""
    lift = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    try:
        subprocess.run([WEIR, "--version"], preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, lift),
                       capture_output=True, check=True)
    except subprocess.SubprocessError:
        return False
    return True


def shortages():
    """What a refused node must say, by how it is prepared."""
    def limited(what, value, then=None):
        def prepare():
            resource.setrlimit(what, (value, value))
            if then:
                then()
        return prepare
    cases = [(f"{errno.errorcode[code]} at set-up", lambda code=code: forbid_io_uring(code), expected)
             for code, expected in [(errno.EPERM, "WEIR_E_NO_URING"), (errno.ENOSYS, "WEIR_E_NO_URING"),
                                    (errno.EOPNOTSUPP, "WEIR_E_NO_URING"), (errno.EACCES, "WEIR_E_NO_URING"),
                                    (errno.EINVAL, "WEIR_E_KERNEL"), (errno.EMFILE, "WEIR_E_DESCRIPTORS"),
                                    (errno.ENFILE, "WEIR_E_DESCRIPTORS")]]
    cases.append(("ENOMEM under a limit of 8 MiB", limited(resource.RLIMIT_MEMLOCK, 8 * MIB,
                                                           lambda: forbid_io_uring(errno.ENOMEM)), "WEIR_E_MEMLOCK"))
    if may_lift_memlock():
        cases.append(("ENOMEM without a limit", limited(resource.RLIMIT_MEMLOCK, resource.RLIM_INFINITY,
                                                        lambda: forbid_io_uring(errno.ENOMEM)), "WEIR_E_NOMEM"))
    cases.append(("four descriptors", limited(resource.RLIMIT_NOFILE, 4), "WEIR_E_DESCRIPTORS"))
    return cases


def is_named(code, said, expected):
    """One line that names the error and goes on with a remedy, a sentence of its own."""
    lines = [line for line in said.splitlines() if f"({expected})" in line]
    return code == 3 and any(len(line.split(f"({expected})", 1)[1].strip(" ;.")) > 10 for line in lines)


def check_shortages():
    failed = 0
    for name, prepare, expected in shortages():
        listened, code, said = node_with(prepare)
        if listened or not is_named(code, said, expected):
            failed += 1
            print(f"{name}: exit {code} instead of 3, or no {expected} with a remedy: {said}")
    return failed


def check_memlock():
    if os.geteuid() != 0:
        print("as an ordinary user: left out, it takes root to become one")
        return 0
    uid = 61000 + os.getpid() % 4000  # charges are per user, and come back late
    as_user = subprocess.run([WEIR, "--version"], preexec_fn=lambda: become_ordinary(uid, 8 * MIB), capture_output=True)
    if as_user.returncode != 0:
        print("as an ordinary user: left out, this folder is not theirs to read")
        return 0
    failed = 0
    listened, code, said = node_with(lambda: become_ordinary(uid, 8 * MIB))
    if not listened or code != 0:
        failed += 1
        print(f"8 MiB of lockable memory, the usual limit, must do: exit {code}: {said}")
    # What 64 KiB are worth depends on the kernel: it runs, smaller, or says what to do.
    listened, code, said = node_with(lambda: become_ordinary(uid + 4000, 64 << 10))
    if not (listened and code == 0) and not is_named(code, said, "WEIR_E_MEMLOCK"):
        failed += 1
        print(f"64 KiB of lockable memory: exit {code}: {said}")
    return failed


def main():
    try:
        run("--version")
    except subprocess.SubprocessError as error:
        print(f"skipped: no seccomp here: {error}")
        return 77
    failed = 0
    for args in [("node", "--listen", "127.0.0.1:0"), ("recv", "127.0.0.1:0"), ("send", "127.0.0.1:1"),
                 ("demo", "--nodes", "2", "--seconds", "1", "/usr/include/linux")]:
        done = run(*args)
        if done.returncode != 3 or "WEIR_E_NO_URING" not in done.stderr:
            failed += 1
            print(f"weir {' '.join(args)}: exit {done.returncode}: {done.stderr}")
    done = run("doctor", "--json")
    report = json.loads(done.stdout)
    if done.returncode != 3 or report["can_run"] or not any(check["remedy"] for check in report["checks"]):
        failed += 1
        print(f"weir doctor: exit {done.returncode}: {done.stdout}")
    failed += check_shortages() + check_memlock()
    print(f"{failed} commands do not say what they lack")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
