#include "demo_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"

#define PACK_ENTRY_BYTES 8u /* idx, len */
#define PART_HEAD_BYTES 13u /* kind, idx, offset */
#define MANIFEST_ENTRY_BYTES (8u + SHA256_BYTES + 2u)

static bool fail(struct demo_plan *plan, const char *path, const char *what)
{
    snprintf(plan->fault, sizeof(plan->fault), "%.400s: %s", path, what);
    return false;
}

static struct demo_msg *add_msg(struct demo_plan *plan)
{
    if (plan->cnt == plan->cap) {
        size_t cap = plan->cap != 0 ? 2 * plan->cap : 1024;
        struct demo_msg *msgs = realloc(plan->msgs, cap * sizeof(*msgs));
        if (msgs == NULL)
            return NULL;
        plan->msgs = msgs;
        plan->cap = cap;
    }
    struct demo_msg *msg = &plan->msgs[plan->cnt++];
    *msg = (struct demo_msg){0};
    return msg;
}

/* Reads one file's bytes from `offset` on. */
static bool read_file(struct demo_plan *plan, int fd, const struct file_item *item, uint8_t *data,
                      size_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t got = pread(fd, data, len, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(plan, item->path, strerror(errno));
        if (got == 0)
            return fail(plan, item->path, "it became shorter while the demo ran");
        data += got;
        offset += (uint64_t)got;
        len -= (size_t)got;
    }
    return true;
}

static bool fill_pack(struct demo_plan *plan, const struct demo_msg *msg, uint8_t *at)
{
    *at++ = DEMO_PACK;
    for (uint32_t i = 0; i < msg->cnt; i++) {
        const struct file_item *item = &plan->files.items[msg->first + i];
        put_u32(at, msg->first + i);
        put_u32(at + 4, (uint32_t)item->size);
        at += PACK_ENTRY_BYTES;
        int fd = open(item->path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return fail(plan, item->path, strerror(errno));
        bool is_good = read_file(plan, fd, item, at, (size_t)item->size, 0);
        close(fd);
        if (!is_good)
            return false;
        at += item->size;
    }
    return true;
}

static bool fill_part(struct demo_plan *plan, const struct demo_msg *msg, uint8_t *at)
{
    const struct file_item *item = &plan->files.items[msg->first];
    at[0] = DEMO_PART;
    put_u32(at + 1, msg->first);
    put_u64(at + 5, msg->offset);
    int fd = open(item->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(plan, item->path, strerror(errno));
    bool is_good = read_file(plan, fd, item, at + PART_HEAD_BYTES, msg->file_bytes, msg->offset);
    close(fd);
    return is_good;
}

static struct weir_buf *make_msg(struct demo_plan *plan, const struct demo_msg *msg)
{
    struct weir_buf *buf;
    if (weir_buf_create(&buf, msg->len) != 0) {
        fail(plan, "the messages", "out of memory");
        return NULL;
    }
    uint8_t *data = weir_buf_data(buf);
    if (msg->cnt > 0 ? fill_pack(plan, msg, data) : fill_part(plan, msg, data))
        return buf;
    weir_buf_unref(buf);
    return NULL;
}

struct weir_buf *demo_plan_msg(struct demo_plan *plan, size_t idx)
{
    struct demo_msg *msg = &plan->msgs[idx];
    return msg->buf != NULL ? weir_buf_ref(msg->buf) : make_msg(plan, msg);
}

/* ---- planning ------------------------------------------------------------------------------ */

/* Cuts the files into messages; file_cnt is known to fit 32 bits. */
static bool cut(struct demo_plan *plan)
{
    struct demo_msg *pack = NULL;
    for (uint32_t i = 0; i < plan->files.cnt; i++) {
        uint64_t size = plan->files.items[i].size;
        if (size + PACK_ENTRY_BYTES + 1 <= DEMO_CHUNK_BYTES / 2) {
            uint32_t more = PACK_ENTRY_BYTES + (uint32_t)size;
            if (pack == NULL || pack->len + more > DEMO_CHUNK_BYTES) {
                pack = add_msg(plan);
                if (pack == NULL)
                    return fail(plan, "the plan", "out of memory");
                pack->first = i;
                pack->len = 1;
            }
            pack->cnt++;
            pack->len += more;
            pack->file_bytes += (uint32_t)size;
            continue;
        }
        pack = NULL; /* the order of the files is kept */
        const uint32_t part_bytes = DEMO_CHUNK_BYTES - PART_HEAD_BYTES;
        for (uint64_t offset = 0; offset < size; offset += part_bytes) {
            struct demo_msg *part = add_msg(plan);
            if (part == NULL)
                return fail(plan, "the plan", "out of memory");
            part->first = i;
            part->offset = offset;
            part->file_bytes = size - offset < part_bytes ? (uint32_t)(size - offset) : part_bytes;
            part->len = PART_HEAD_BYTES + part->file_bytes;
        }
    }
    return true;
}

/* Hashes what a message carries; messages come in the files' order, so one running hash is enough. */
static bool hash_msg(struct demo_plan *plan, const struct demo_msg *msg, const uint8_t *data,
                     struct sha256 *hash, struct demo_slot *slot)
{
    if (msg->cnt == 0) {
        uint64_t size = plan->files.items[msg->first].size;
        if (msg->offset == 0)
            sha256_begin(hash);
        sha256_add(hash, data + PART_HEAD_BYTES, msg->file_bytes);
        if (msg->offset + msg->file_bytes == size) {
            atomic_fetch_add_explicit(&slot->files_read, 1, memory_order_relaxed);
            return sha256_end(hash, plan->digests[msg->first]);
        }
        return true;
    }
    const uint8_t *at = data + 1;
    for (uint32_t i = 0; i < msg->cnt; i++) {
        uint32_t len = get_u32(at + 4);
        at += PACK_ENTRY_BYTES;
        sha256_begin(hash);
        sha256_add(hash, at, len);
        at += len;
        if (!sha256_end(hash, plan->digests[msg->first + i]))
            return false;
    }
    atomic_fetch_add_explicit(&slot->files_read, msg->cnt, memory_order_relaxed);
    return true;
}

static bool read_all(struct demo_plan *plan, struct demo_slot *slot)
{
    struct sha256 *hash = sha256_create();
    bool is_good = hash != NULL || fail(plan, "libcrypto", "it has no SHA-256");
    for (size_t i = plan->manifest_cnt; i < plan->cnt && is_good; i++) {
        struct demo_msg *msg = &plan->msgs[i];
        struct weir_buf *buf = make_msg(plan, msg);
        if (buf == NULL) {
            is_good = false;
            break;
        }
        is_good = hash_msg(plan, msg, weir_buf_data(buf), hash, slot) ||
                  fail(plan, "libcrypto", "it cannot compute a SHA-256");
        atomic_fetch_add_explicit(&slot->bytes_read, msg->file_bytes, memory_order_relaxed);
        if (plan->is_cached)
            msg->buf = buf;
        else
            weir_buf_unref(buf);
    }
    sha256_free(hash);
    return is_good;
}

/* Writes the manifest's messages, or with `ret_cnt` alone counts how many there will be. */
static bool write_manifest(struct demo_plan *plan, size_t *ret_cnt)
{
    size_t msg_cnt = 0;
    uint32_t next = 0;
    while (next < plan->files.cnt) {
        uint32_t first = next;
        size_t len = 1;
        for (; next < plan->files.cnt; next++) {
            size_t more = MANIFEST_ENTRY_BYTES + strlen(plan->files.items[next].name);
            if (len + more > DEMO_CHUNK_BYTES)
                break;
            len += more;
        }
        msg_cnt++;
        if (ret_cnt != NULL)
            continue;
        struct demo_msg *msg = &plan->msgs[msg_cnt - 1];
        msg->len = (uint32_t)len;
        if (weir_buf_create(&msg->buf, len) != 0)
            return fail(plan, "the manifest", "out of memory");
        uint8_t *at = weir_buf_data(msg->buf);
        *at++ = DEMO_MANIFEST;
        for (uint32_t i = first; i < next; i++) {
            const struct file_item *item = &plan->files.items[i];
            size_t name_len = strlen(item->name);
            put_u64(at, item->size);
            memcpy(at + 8, plan->digests[i], SHA256_BYTES);
            put_u16(at + 8 + SHA256_BYTES, (uint16_t)name_len);
            memcpy(at + MANIFEST_ENTRY_BYTES, item->name, name_len);
            at += MANIFEST_ENTRY_BYTES + name_len;
        }
    }
    if (ret_cnt != NULL) {
        *ret_cnt = msg_cnt + 1;
        return true;
    }
    struct demo_msg *total = &plan->msgs[msg_cnt];
    total->len = 17;
    if (weir_buf_create(&total->buf, total->len) != 0)
        return fail(plan, "the manifest", "out of memory");
    uint8_t *at = weir_buf_data(total->buf);
    at[0] = DEMO_TOTAL;
    put_u64(at + 1, plan->files.cnt);
    put_u64(at + 9, plan->files.bytes);
    return true;
}

bool demo_plan_make(struct demo_plan *plan, const char *directory, uint64_t memory_max,
                    struct demo_slot *slot)
{
    *plan = (struct demo_plan){0};
    int error = file_list_add(&plan->files, directory, FILE_LIST_BELOW);
    if (error != 0)
        return fail(plan, directory, strerror(-error));
    slot->files_skipped = plan->files.unreadable_cnt;
    snprintf(slot->first_skipped, sizeof(slot->first_skipped), "%.250s",
             plan->files.first_unreadable);
    if (plan->files.cnt == 0)
        return fail(plan, directory,
                    plan->files.unreadable_cnt > 0 ? "none of its files can be read"
                                                   : "there are no regular files in it");
    if (plan->files.cnt >= UINT32_MAX)
        return fail(plan, directory, "there are more than 2^32 files in it");
    atomic_store_explicit(&slot->files_total, plan->files.cnt, memory_order_relaxed);
    atomic_store_explicit(&slot->bytes_total, plan->files.bytes, memory_order_relaxed);
    plan->is_cached = plan->files.bytes <= memory_max;
    plan->digests = calloc(plan->files.cnt, sizeof(*plan->digests));
    if (plan->digests == NULL)
        return fail(plan, directory, "out of memory");
    write_manifest(plan, &plan->manifest_cnt);
    for (size_t i = 0; i < plan->manifest_cnt; i++) {
        if (add_msg(plan) == NULL)
            return fail(plan, directory, "out of memory");
    }
    return cut(plan) && read_all(plan, slot) && write_manifest(plan, NULL);
}

void demo_plan_free(struct demo_plan *plan)
{
    for (size_t i = 0; i < plan->cnt; i++)
        weir_buf_unref(plan->msgs[i].buf);
    free(plan->msgs);
    free(plan->digests);
    file_list_free(&plan->files);
    *plan = (struct demo_plan){0};
}
