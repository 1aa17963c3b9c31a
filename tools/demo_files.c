#include "demo_files.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bytes.h"
#include "cli.h"
#include "file_store.h"
#include "sha256.h"

#define MANIFEST_ENTRY_BYTES (8u + SHA256_BYTES + 2u)

struct wanted_file {
    uint64_t size;
    uint64_t at; /* where its copy begins */
    uint8_t digest[SHA256_BYTES];
    char *name;
};

struct demo_files {
    struct demo_node *node;
    struct wanted_file *list;
    size_t cnt, cap;
    uint64_t bytes, memory_max;
    bool has_total; /* the manifest is complete */
    uint8_t *copy;  /* of all files, one after the other; NULL: there is none */
    /* The cursor, and what belongs to the file that it is in. */
    uint64_t round; /* 0 is the first */
    size_t idx;
    uint64_t offset;
    struct sha256 *hash;
    struct file_store store;
    struct file_writer writer;
};

struct demo_files *demo_files_create(struct demo_node *node, uint64_t memory_max)
{
    struct demo_files *files = calloc(1, sizeof(*files));
    if (files == NULL)
        return NULL;
    files->node = node;
    files->memory_max = memory_max;
    files->store.root_fd = -1;
    files->writer = FILE_WRITER_NONE;
    files->hash = sha256_create();
    if (files->hash == NULL) {
        demo_files_free(files);
        return NULL;
    }
    int error = node->out != NULL ? file_store_open(&files->store, node->out, false) : 0;
    if (error != 0) {
        demo_fail(node, CLI_FAILED, "%s: %s", node->out, strerror(-error));
        demo_files_free(files);
        return NULL;
    }
    return files;
}

void demo_files_free(struct demo_files *files)
{
    if (files == NULL)
        return;
    file_writer_abort(&files->writer);
    file_store_close(&files->store);
    sha256_free(files->hash);
    for (size_t i = 0; i < files->cnt; i++)
        free(files->list[i].name);
    free(files->list);
    if (files->copy != NULL)
        munmap(files->copy, files->bytes);
    free(files);
}

bool demo_files_are_copied(const struct demo_files *files)
{
    return files->round > 0;
}

static bool malformed(struct demo_files *files)
{
    demo_fail(files->node, CLI_MISMATCH,
              "a message of the bulk channel is malformed or out of order");
    return false;
}

/* ---- the manifest -------------------------------------------------------------------------- */

static bool take_manifest(struct demo_files *files, const uint8_t *at, uint32_t len)
{
    while (len > 0) {
        if (len < MANIFEST_ENTRY_BYTES || files->has_total)
            return malformed(files);
        uint16_t name_len = get_u16(at + 8 + SHA256_BYTES);
        if (len - MANIFEST_ENTRY_BYTES < name_len)
            return malformed(files);
        if (files->cnt == files->cap) {
            size_t cap = files->cap != 0 ? 2 * files->cap : 1024;
            struct wanted_file *list = realloc(files->list, cap * sizeof(*list));
            if (list == NULL) {
                demo_fail(files->node, CLI_ENVIRONMENT, "out of memory");
                return false;
            }
            files->list = list;
            files->cap = cap;
        }
        struct wanted_file *file = &files->list[files->cnt++];
        file->size = get_u64(at);
        file->at = files->bytes;
        memcpy(file->digest, at + 8, SHA256_BYTES);
        file->name = strndup((const char *)at + MANIFEST_ENTRY_BYTES, name_len);
        files->bytes += file->size;
        at += MANIFEST_ENTRY_BYTES + name_len;
        len -= MANIFEST_ENTRY_BYTES + name_len;
        if (file->name == NULL) {
            demo_fail(files->node, CLI_ENVIRONMENT, "out of memory");
            return false;
        }
    }
    return true;
}

static bool take_total(struct demo_files *files, const uint8_t *at, uint32_t len)
{
    if (len != 16 || files->has_total || get_u64(at) != files->cnt ||
        get_u64(at + 8) != files->bytes)
        return malformed(files);
    files->has_total = true;
    struct demo_slot *slot = files->node->slot;
    atomic_store_explicit(&slot->files_total, files->cnt, memory_order_relaxed);
    atomic_store_explicit(&slot->bytes_total, files->bytes, memory_order_relaxed);
    if (files->bytes > 0 && files->bytes <= files->memory_max) {
        void *memory =
            mmap(NULL, files->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory != MAP_FAILED) {
            madvise(memory, files->bytes, MADV_HUGEPAGE); /* may be refused: only speed */
            files->copy = memory;
        }
    }
    slot->has_copy = files->copy != NULL;
    return true;
}

/* ---- pieces of files ----------------------------------------------------------------------- */

static bool fail_storing(struct demo_files *files, int error)
{
    demo_fail(files->node, CLI_FAILED, "cannot store '%.200s' below %.100s: %s",
              files->list[files->idx].name, files->node->out, strerror(-error));
    return false;
}

/* Compares a piece with the copy. */
static bool compare(struct demo_files *files, const struct wanted_file *file, const uint8_t *data,
                    uint32_t len)
{
    if (len > 0 && memcmp(files->copy + file->at + files->offset, data, len) != 0) {
        demo_fail(files->node, CLI_MISMATCH, "'%.200s' differs from the first copy in round %llu",
                  file->name, (unsigned long long)files->round + 1);
        return false;
    }
    files->node->slot->bytes_compared += len;
    return true;
}

/* Hashes a piece; in the first round also stores it. */
static bool hash_and_store(struct demo_files *files, const struct wanted_file *file,
                           const uint8_t *data, uint32_t len)
{
    if (files->offset == 0)
        sha256_begin(files->hash);
    sha256_add(files->hash, data, len);
    if (files->round > 0) {
        files->node->slot->bytes_hashed += len;
        return true;
    }
    if (files->copy != NULL && len > 0)
        memcpy(files->copy + file->at + files->offset, data, len);
    if (files->node->out != NULL) {
        int error = 0;
        if (files->offset == 0)
            error = file_writer_begin(&files->writer, &files->store, file->name, 0644);
        if (error == 0)
            error = file_writer_add(&files->writer, data, len);
        if (error != 0)
            return fail_storing(files, error);
    }
    return true;
}

/* Compares a whole file's hash with the manifest's; in the first round also gives it its name. */
static bool end_file(struct demo_files *files, const struct wanted_file *file)
{
    struct demo_slot *slot = files->node->slot;
    uint8_t digest[SHA256_BYTES];
    bool is_equal =
        sha256_end(files->hash, digest) && memcmp(digest, file->digest, SHA256_BYTES) == 0;
    if (!is_equal) {
        atomic_fetch_add_explicit(&slot->files_bad, 1, memory_order_relaxed);
        demo_fail(files->node, CLI_MISMATCH, "the SHA-256 of '%.200s' differs from the source's",
                  file->name);
        return false;
    }
    if (files->round > 0)
        return true;
    if (files->node->out != NULL) {
        int error = file_writer_commit(&files->writer);
        if (error != 0)
            return fail_storing(files, error);
    }
    atomic_fetch_add_explicit(&slot->files_good, 1, memory_order_relaxed);
    return true;
}

static bool take_piece(struct demo_files *files, uint32_t idx, uint64_t offset, const uint8_t *data,
                       uint32_t len)
{
    if (!files->has_total || idx != files->idx || idx >= files->cnt || offset != files->offset ||
        len > files->list[idx].size - offset)
        return malformed(files);
    const struct wanted_file *file = &files->list[idx];
    bool is_compared = files->round > 0 && files->copy != NULL;
    if (is_compared ? !compare(files, file, data, len) : !hash_and_store(files, file, data, len))
        return false;
    files->offset += len;
    atomic_store_explicit(&files->node->slot->round_bytes, file->at + files->offset,
                          memory_order_relaxed);
    if (files->offset < file->size)
        return true;
    if (!is_compared && !end_file(files, file))
        return false;
    files->idx++;
    files->offset = 0;
    return true;
}

static bool take_pack(struct demo_files *files, const uint8_t *at, uint32_t len)
{
    while (len > 0) {
        if (len < 8)
            return malformed(files);
        uint32_t idx = get_u32(at), file_len = get_u32(at + 4);
        if (file_len > len - 8)
            return malformed(files);
        if (idx >= files->cnt || file_len != files->list[idx].size)
            return malformed(files);
        if (!take_piece(files, idx, 0, at + 8, file_len))
            return false;
        at += 8 + file_len;
        len -= 8 + file_len;
    }
    return true;
}

static bool end_round(struct demo_files *files)
{
    if (!files->has_total || files->idx != files->cnt)
        return malformed(files);
    files->idx = 0;
    files->round++;
    atomic_store_explicit(&files->node->slot->rounds, files->round, memory_order_relaxed);
    if (files->round == 1) {
        files->node->slot->copied_ns = weir_now();
        demo_report(files->node, "copied");
    }
    return true;
}

bool demo_files_take(struct demo_files *files, const uint8_t *data, uint32_t len)
{
    if (len == 0)
        return malformed(files);
    switch ((enum demo_kind)data[0]) {
    case DEMO_MANIFEST:
        return take_manifest(files, data + 1, len - 1);
    case DEMO_TOTAL:
        return take_total(files, data + 1, len - 1);
    case DEMO_PACK:
        return take_pack(files, data + 1, len - 1);
    case DEMO_PART:
        if (len < 13)
            return malformed(files);
        return take_piece(files, get_u32(data + 1), get_u64(data + 5), data + 13, len - 13);
    case DEMO_ROUND:
        return end_round(files);
    case DEMO_STAMPED:
    case DEMO_FIN:
        break;
    }
    return malformed(files);
}
