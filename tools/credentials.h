/* credentials.h: user and password from a file, so that they are on no command line and in no process list. */
#ifndef CREDENTIALS_H
#define CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>

#define CREDENTIALS_TEXT_MAX 255u /* of each; RFC 1929 has one byte for its length */

struct credentials {
    char user[CREDENTIALS_TEXT_MAX + 1], password[CREDENTIALS_TEXT_MAX + 1];
};

/* Reads "USER:PASSWORD" from the first line of a file; a password may have colons. A file that others than
 * its owner can read or write is refused. Returns false after writing to `why` what is wrong. */
bool credentials_read(struct credentials *ret_credentials, const char *path, char *why,
                      size_t why_len);

#endif
