/* engine/node/book_store.h: the address book on the disk. Both functions wait for it: not for a shard's thread. */
#ifndef WEIR_ENGINE_NODE_BOOK_STORE_H
#define WEIR_ENGINE_NODE_BOOK_STORE_H

#include <pthread.h>

#include "engine/peers/book.h"
#include "weir/node.h"

/* Reads a book into an empty one. A file that does not exist is an empty book. Of a damaged file everything is
 * taken that is not damaged, what is wrong is told to the node's log, and the file stays beside as
 * "PATH.damaged". `ret_is_damaged`: it should be written anew. Errors: WEIR_E_ACCESS (it is there and cannot be read). */
int weir_book_store_load(weir_node *node, struct weir_book *book, const char *path, uint64_t now_s,
                         bool *ret_is_damaged);

/* Writes a book (weir_file_replace). `mutex` guards it and is not held by the caller; it is taken for a few
 * microseconds at a time. Returns 0 or an errno, and which changes the file has. */
int weir_book_store_save(struct weir_book *book, pthread_mutex_t *mutex, const char *path,
                         uint64_t *ret_change_cnt);

#endif
