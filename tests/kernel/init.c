/* init: the first and only program of the small virtual machine that `scripts/kernels` boots. It makes what a test
 * needs (proc, sys, a loopback device that is up), runs the programs that /programs names, one a line, one after the
 * other, says how each ended, and switches the machine off. Statically linked, because it is alone there. */
#define _GNU_SOURCE
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_BYTES 4096
#define ARGUMENTS_MAX 32

static int raise_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo"};
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (sock < 0 || ioctl(sock, SIOCGIFFLAGS, &request) != 0)
        return -1;
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    int error = ioctl(sock, SIOCSIFFLAGS, &request);
    close(sock);
    return error;
}

/* Returns the exit status as a shell has it, or -1. */
static int run(char *line)
{
    char *arguments[ARGUMENTS_MAX + 1] = {NULL};
    int cnt = 0, status = 0;
    for (char *word = strtok(line, " "); word && cnt < ARGUMENTS_MAX; word = strtok(NULL, " "))
        arguments[cnt++] = word;
    pid_t child = fork();
    if (child == 0) {
        execv(arguments[0], arguments);
        perror(arguments[0]);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(void)
{
    static char line[LINE_BYTES];
    struct utsname system;
    mkdir("/proc", 0755);
    mkdir("/sys", 0755);
    mkdir("/tmp", 01777);
    if (mount("proc", "/proc", "proc", 0, NULL) != 0 ||
        mount("sys", "/sys", "sysfs", 0, NULL) != 0 || raise_loopback() != 0)
        perror("init");
    (void)mount("dev", "/dev", "devtmpfs", 0, NULL); /* some kernels have done that already */
    mkdir("/dev/shm", 01777);
    if (mount("shm", "/dev/shm", "tmpfs", 0, NULL) != 0)
        perror("init: /dev/shm");
    setenv("PATH", "/bin", 1);
    setenv("HOME", "/tmp", 1);
    FILE *programs = fopen("/programs", "r");
    if (uname(&system) == 0)
        printf("kernel: %s %s\n", system.sysname, system.release);
    while (programs && fgets(line, sizeof(line), programs)) {
        line[strcspn(line, "\n")] = '\0';
        printf("kernel: begins %s\n", line);
        fflush(stdout);
        int status = run(line);
        printf("kernel: ended with %d\n", status);
        fflush(stdout);
    }
    if (!programs)
        perror("/programs");
    printf("kernel: all ended\n");
    fflush(stdout);
    sync();
    reboot(RB_POWER_OFF);
    return 1;
}
