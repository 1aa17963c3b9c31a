#!/usr/bin/env python3
"""A sandbox that forbids io_uring, as Docker's does: every command says so, with exit code 3."""
import ctypes
import json
import os
import struct
import subprocess
import sys

WEIR = os.path.join(os.environ["WEIR_BIN_DIR"], "weir")
IO_URING_SETUP = 425  # the same number on every architecture
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, EPERM = 0x7FFF0000, 0x00050000, 1


class FilterProgram(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def forbid_io_uring():
    """Runs in the child before exec: io_uring_setup answers EPERM."""
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = b"".join([
        struct.pack("HBBI", 0x20, 0, 0, 0),  # load the system call's number
        struct.pack("HBBI", 0x15, 0, 1, IO_URING_SETUP),
        struct.pack("HBBI", 0x06, 0, 0, SECCOMP_RET_ERRNO | EPERM),
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
    print(f"{failed} commands do not say that io_uring is refused")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
