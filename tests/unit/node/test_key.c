/* Keys, key files and node ids. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/bech32.h"
#include "engine/node/key_text.h"
#include "weir/weir.h"

static char folder[64];
static char path[128];

static void folder_open(void)
{
    snprintf(folder, sizeof folder, "/tmp/weir-key-XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/key", folder);
}

static void folder_close(void)
{
    DIR *dir = opendir(folder);
    uint32_t part_cnt = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        part_cnt += strstr(entry->d_name, ".part") != NULL;
        unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
    rmdir(folder);
    cr_assert_eq(part_cnt, 0, "a file that was begun is left behind");
}

TestSuite(key, .init = folder_open, .fini = folder_close);

static void file_put(const char *text, size_t len, mode_t mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    cr_assert(fd >= 0 && write(fd, text, len) == (ssize_t)len && fchmod(fd, mode) == 0);
    close(fd);
}

static size_t file_get(char *ret_text, size_t cap)
{
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL);
    size_t len = fread(ret_text, 1, cap - 1, file);
    ret_text[len] = '\0';
    fclose(file);
    return len;
}

/* ---- ids ----------------------------------------------------------------------------------------- */

Test(key, an_id_has_one_text_and_typing_errors_are_found)
{
    struct weir_key key = {.kind = WEIR_KEY_NODE};
    struct weir_id id, read = {{0}};
    char text[WEIR_ID_TEXT_BYTES], why[WEIR_KEY_WHY_BYTES];
    cr_assert_eq(weir_key_id(&id, &key), 0);
    cr_assert_str_eq(weir_id_text(&id, text),
                     /* RFC 8032 on a seed of zeros, and BIP 350, by another implementation */
                     "weir1p8d4z00xwk6jz6c4r4rgz5mcdwdjny9thrh"
                     "3y8f36cpy2rz6emg5sgl8g33");
    cr_assert_eq(strlen(text), WEIR_ID_TEXT_BYTES - 1);
    cr_assert_eq(weir_id_parse(&read, text, SIZE_MAX, why), 0);
    cr_assert_arr_eq(read.bytes, id.bytes, WEIR_ID_BYTES);

    memset(&read, 0, sizeof read);
    text[20] = text[20] == 'q' ? 'p' : 'q';
    cr_assert_eq(weir_id_parse(&read, text, SIZE_MAX, why), WEIR_E_KEY);
    cr_assert(strstr(why, "mistyped") != NULL, "%s", why);
    cr_assert_eq(weir_id_parse(&read, text, SIZE_MAX, NULL), WEIR_E_KEY);
    cr_assert_eq(weir_id_parse(&read, "", 0, why), WEIR_E_KEY);
    cr_assert(strstr(why, "too short") != NULL, "%s", why);
    struct weir_id nobody = {{0}};
    cr_assert_arr_eq(read.bytes, nobody.bytes, WEIR_ID_BYTES, "untouched");
    cr_assert_eq(weir_id_parse(&read, weir_id_text(&nobody, text), SIZE_MAX, why), WEIR_E_KEY);
}

Test(key, keys_differ_and_only_a_nodes_has_an_id)
{
    struct weir_key a, b;
    struct weir_id id;
    cr_assert_eq(weir_key_generate(&a, WEIR_KEY_NODE), 0);
    cr_assert_eq(weir_key_generate(&b, WEIR_KEY_NETWORK), 0);
    cr_assert_arr_neq(a.secret, b.secret, sizeof a.secret);
    cr_assert_eq(weir_key_id(&id, &a), 0);
    cr_assert_eq(weir_key_id(&id, &b), WEIR_E_MISUSE);
    cr_assert_eq(weir_key_generate(&a, 3), WEIR_E_MISUSE);
    weir_key_wipe(&a);
    static const uint8_t zeros[32];
    cr_assert_arr_eq(a.secret, zeros, sizeof zeros);
}

/* ---- files --------------------------------------------------------------------------------------- */

Test(key, a_stored_key_is_loaded_and_is_its_owners_alone)
{
    for (uint32_t kind = WEIR_KEY_NODE; kind <= WEIR_KEY_NETWORK; kind++) {
        struct weir_key key, read;
        struct stat stat_now;
        char why[WEIR_KEY_WHY_BYTES] = "";
        mode_t mask = umask(kind == WEIR_KEY_NODE ? 0 : 0777); /* neither makes a difference */
        cr_assert_eq(weir_key_generate(&key, kind), 0);
        cr_assert_eq(weir_key_store(&key, path, 0, why), 0, "%s", why);
        umask(mask);
        cr_assert_eq(stat(path, &stat_now), 0);
        cr_assert_eq(stat_now.st_mode & 07777, 0600);
        cr_assert_eq(stat_now.st_nlink, 1);
        cr_assert_eq(weir_key_load(&read, path, kind, why), 0, "%s", why);
        cr_assert_arr_eq(read.secret, key.secret, sizeof key.secret);
        cr_assert_eq(read.kind, kind);
        unlink(path);
    }
}

Test(key, a_file_that_is_there_is_replaced_only_when_asked)
{
    struct weir_key first, second, read;
    char why[WEIR_KEY_WHY_BYTES];
    cr_assert_eq(weir_key_generate(&first, WEIR_KEY_NODE), 0);
    cr_assert_eq(weir_key_generate(&second, WEIR_KEY_NODE), 0);
    cr_assert_eq(weir_key_store(&first, path, 0, why), 0);
    cr_assert_eq(weir_key_store(&second, path, 0, why), WEIR_E_IN_USE);
    cr_assert(strstr(why, "EEXIST") != NULL, "%s", why);
    cr_assert_eq(weir_key_load(&read, path, WEIR_KEY_NODE, why), 0);
    cr_assert_arr_eq(read.secret, first.secret, 32);
    cr_assert_eq(weir_key_store(&second, path, WEIR_KEY_REPLACE, why), 0);
    cr_assert_eq(weir_key_load(&read, path, WEIR_KEY_NODE, why), 0);
    cr_assert_arr_eq(read.secret, second.secret, 32);
}

Test(key, a_place_that_cannot_hold_a_file_is_told)
{
    struct weir_key key;
    char why[WEIR_KEY_WHY_BYTES];
    char name[400];
    cr_assert_eq(weir_key_generate(&key, WEIR_KEY_NODE), 0);
    cr_assert_eq(weir_key_store(&key, "/nowhere/at/all", 0, why), WEIR_E_SYSTEM);
    cr_assert(strstr(why, "ENOENT") != NULL, "%s", why);
    cr_assert_eq(weir_key_store(&key, "/tmp/", 0, why), WEIR_E_SYSTEM);
    cr_assert_eq(weir_key_store(&key, "/proc/key", 0, NULL), WEIR_E_SYSTEM);
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    cr_assert_eq(weir_key_store(&key, name, 0, why), WEIR_E_SYSTEM);
    cr_assert(strstr(why, "ENAMETOOLONG") != NULL, "%s", why);
    cr_assert_eq(weir_key_store(&key, NULL, 0, why), WEIR_E_MISUSE);
}

Test(key, a_file_that_others_can_use_is_refused)
{
    struct weir_key key, read;
    char why[WEIR_KEY_WHY_BYTES];
    cr_assert_eq(weir_key_generate(&key, WEIR_KEY_NODE), 0);
    cr_assert_eq(weir_key_store(&key, path, 0, why), 0);
    for (mode_t bit = 1; bit <= 040; bit <<= 1) {
        cr_assert_eq(chmod(path, 0600 | bit), 0);
        cr_assert_eq(weir_key_load(&read, path, WEIR_KEY_NODE, why), WEIR_E_KEY_EXPOSED, "%o", bit);
        cr_assert(strstr(why, "chmod 600") != NULL, "%s", why);
    }
    cr_assert_eq(chmod(path, 0400), 0);
    cr_assert_eq(weir_key_load(&read, path, WEIR_KEY_NODE, why), 0, "%s", why);
    if (geteuid() == 0) { /* who but root could give a file away */
        cr_assert_eq(chown(path, 12345, 12345), 0);
        cr_assert_eq(weir_key_load(&read, path, WEIR_KEY_NODE, why), WEIR_E_KEY_EXPOSED);
    }
}

Test(key, a_file_cut_short_anywhere_is_refused)
{
    struct weir_key key, read = {0};
    char why[WEIR_KEY_WHY_BYTES], text[512];
    cr_assert_eq(weir_key_generate(&key, WEIR_KEY_NODE), 0);
    cr_assert_eq(weir_key_store(&key, path, 0, why), 0);
    size_t len = file_get(text, sizeof text);
    cr_assert_gt(len, 100);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t secret[32];
        cr_assert_eq(weir_key_file_read(text, cut, WEIR_KEY_NODE, secret, why), WEIR_E_KEY, "%zu",
                     cut);
    }
    file_put(text, len - 1, 0600);
    cr_assert_eq(weir_key_load(&read, path, WEIR_KEY_NODE, why), WEIR_E_KEY);
    cr_assert(strstr(why, "cut short") != NULL, "%s", why);
    file_put(text, 0, 0600);
    cr_assert_eq(weir_key_load(&read, path, WEIR_KEY_NODE, why), WEIR_E_KEY);
    cr_assert(strstr(why, "empty") != NULL, "%s", why);
    cr_assert_eq(read.kind, 0, "untouched");
}

Test(key, what_is_no_such_key_is_refused_by_name)
{
    struct weir_key node, network, read;
    struct weir_id id;
    char why[WEIR_KEY_WHY_BYTES], line[WEIR_KEY_TEXT_BYTES], text[9000], other[200];
    cr_assert_eq(weir_key_generate(&node, WEIR_KEY_NODE), 0);
    cr_assert_eq(weir_key_generate(&network, WEIR_KEY_NETWORK), 0);
    cr_assert_eq(weir_key_id(&id, &node), 0);
    struct {
        const char *text;
        const char *why;
    } cases[8];
    size_t cnt = 0;
    char node_file[200], network_file[200], id_file[200], two[400], damaged[200];
    weir_key_text_write(&network, line);
    snprintf(network_file, sizeof network_file, "%s\n", line);
    cases[cnt].text = network_file, cases[cnt++].why = "a network key and not a node key";
    snprintf(id_file, sizeof id_file, "%s\n", weir_id_text(&id, other));
    cases[cnt].text = id_file, cases[cnt++].why = "a node id, which is public";
    cases[cnt].text = "-----BEGIN PRIVATE KEY-----\nMC4\n-----END PRIVATE KEY-----\n",
    cases[cnt++].why = "PEM";
    cases[cnt].text = "# only a comment\n", cases[cnt++].why = "no key in it";
    weir_key_text_write(&node, line);
    snprintf(node_file, sizeof node_file, "%s\n", line);
    snprintf(two, sizeof two, "%s%s", node_file, node_file);
    cases[cnt].text = two, cases[cnt++].why = "more than one line";
    snprintf(damaged, sizeof damaged, "%s", node_file);
    damaged[30] = damaged[30] == 'q' ? 'p' : 'q';
    cases[cnt].text = damaged, cases[cnt++].why = "damaged";
    cases[cnt].text = "A1LQFN3A\n", cases[cnt++].why = "something else";
    for (size_t i = 0; i < cnt; i++) {
        file_put(cases[i].text, strlen(cases[i].text), 0600);
        cr_assert_eq(weir_key_load(&read, path, WEIR_KEY_NODE, why), WEIR_E_KEY);
        cr_assert(strstr(why, cases[i].why) != NULL, "%s: %s", cases[i].why, why);
        cr_assert(strstr(why, "weirsecret") == NULL, "a reason never tells the secret");
    }
    memset(text, '#', sizeof text);
    file_put(text, sizeof text, 0600);
    cr_assert_eq(weir_key_load(&read, path, WEIR_KEY_NODE, why), WEIR_E_KEY);
    cr_assert(strstr(why, "too large") != NULL, "%s", why);

    cr_assert_eq(weir_key_load(&read, "/nowhere", WEIR_KEY_NODE, why), WEIR_E_SYSTEM);
    cr_assert_eq(weir_key_load(&read, folder, WEIR_KEY_NODE, why), WEIR_E_KEY);
    cr_assert(strstr(why, "regular") != NULL, "%s", why);
    unlink(path);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(weir_key_load(&read, path, WEIR_KEY_NODE, why), WEIR_E_KEY, "does not wait");
    cr_assert_eq(weir_key_load(&read, path, 77, why), WEIR_E_MISUSE);
}

Test(key, another_version_is_refused_as_that)
{
    struct weir_key read;
    char why[WEIR_KEY_WHY_BYTES], text[WEIR_KEY_TEXT_BYTES + 1];
    static const uint8_t secret[32] = {1, 2, 3};
    struct weir_id id;
    weir_bech32_write(text, "weirsecret", 2, secret);
    strcat(text, "\n");
    file_put(text, strlen(text), 0600);
    cr_assert_eq(weir_key_load(&read, path, WEIR_KEY_NODE, why), WEIR_E_KEY);
    cr_assert(strstr(why, "version") != NULL, "%s", why);
    weir_bech32_write(text, "weir", 2, secret);
    cr_assert_eq(weir_id_parse(&id, text, SIZE_MAX, why), WEIR_E_KEY);
    cr_assert(strstr(why, "version") != NULL, "%s", why);
}
