/* engine/node/key_text.h: a secret key as one line of text; shared by key.c and key_file.c. */
#ifndef WEIR_ENGINE_NODE_KEY_TEXT_H
#define WEIR_ENGINE_NODE_KEY_TEXT_H

#include "weir/key.h"

#define WEIR_KEY_TEXT_BYTES 91u

/* Copies a sentence to `ret_why`, WEIR_KEY_WHY_BYTES, unless that is NULL. */
void weir_key_why(char *ret_why, const char *text);

/* "node key" or "network key". */
const char *weir_key_kind_text(uint32_t kind);

void weir_key_text_write(const struct weir_key *key, char ret_text[WEIR_KEY_TEXT_BYTES]);

/* Reads the line that a key file has. Returns 0 or WEIR_E_KEY, with a sentence. */
int weir_key_text_read(const char *line, size_t len, uint32_t kind, uint8_t ret_secret[32],
                       char *ret_why);

/* Reads what a key file holds: whatever somebody may have put there. As weir_key_text_read. */
int weir_key_file_read(const char *text, size_t len, uint32_t kind, uint8_t ret_secret[32],
                       char *ret_why);

#endif
