#define _GNU_SOURCE
#include "credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool parse(struct credentials *ret_credentials, char *line, char *why, size_t why_len)
{
    line[strcspn(line, "\r\n")] = '\0';
    char *colon = strchr(line, ':');
    size_t user_len = colon != NULL ? (size_t)(colon - line) : 0;
    size_t password_len = colon != NULL ? strlen(colon + 1) : 0;
    if (user_len == 0 || user_len > CREDENTIALS_TEXT_MAX || password_len == 0 ||
        password_len > CREDENTIALS_TEXT_MAX) {
        snprintf(why, why_len, "its first line is not USER:PASSWORD with 1 to %u bytes each",
                 CREDENTIALS_TEXT_MAX);
        return false;
    }
    memset(ret_credentials, 0, sizeof(*ret_credentials));
    memcpy(ret_credentials->user, line, user_len);
    memcpy(ret_credentials->password, colon + 1, password_len);
    return true;
}

bool credentials_read(struct credentials *ret_credentials, const char *path, char *why,
                      size_t why_len)
{
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &stat) != 0) {
        snprintf(why, why_len, "%s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool is_good = false;
    char line[2 * CREDENTIALS_TEXT_MAX + 8];
    ssize_t len = 0;
    if (!S_ISREG(stat.st_mode))
        snprintf(why, why_len, "it is not a regular file");
    else if (stat.st_mode & (S_IRWXG | S_IRWXO))
        snprintf(why, why_len, "others can use it: chmod 600 it");
    else if ((len = read(fd, line, sizeof(line) - 1)) < 0)
        snprintf(why, why_len, "%s", strerror(errno));
    else
        is_good = true;
    close(fd);
    line[len > 0 ? len : 0] = '\0';
    is_good = is_good && parse(ret_credentials, line, why, why_len);
    explicit_bzero(line, sizeof(line));
    return is_good;
}
