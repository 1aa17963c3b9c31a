/*
 * A main for the fuzz targets where there is no libFuzzer.
 *
 *   fuzz_NAME PATH...     feeds an empty input, then each file, and each file of each folder, once: so
 *                         ordinary test runs repeat every input that has ever been worth keeping
 *   fuzz_NAME -           one input from standard input
 *   afl-fuzz ... fuzz_NAME   built by afl-clang-fast: many inputs in one process, through shared memory
 */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

#define INPUT_BYTES_MAX (1u << 22)

/* The input is copied to a block of exactly its size, so that a read past its end is seen. */
static int feed(const void *bytes, size_t size)
{
    uint8_t *data = malloc(size == 0 ? 1 : size);
    if (data == NULL) {
        return -1;
    }
    memcpy(data, bytes, size);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

static int feed_stream(FILE *file, const char *name)
{
    static uint8_t bytes[INPUT_BYTES_MAX];
    size_t size = fread(bytes, 1, sizeof bytes, file);
    if (ferror(file) != 0 || (size == sizeof bytes && fgetc(file) != EOF)) {
        fprintf(stderr, "%s: cannot be read, or is too long\n", name);
        return -1;
    }
    return feed(bytes, size);
}

static int replay_file(const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return -1;
    }
    /* Kept for whoever looks at a crash; a plain file says nothing when it goes through. */
    const char *say = getenv("WEIR_FUZZ_SAY");
    if (say != NULL) {
        fprintf(stderr, "%s\n", path);
    }
    int result = feed_stream(file, path);
    if (file != stdin) {
        fclose(file);
    }
    return result;
}

/* Returns how many inputs were fed, -1 when one could not be. */
static long replay(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        if (errno == ENOENT) {
            fprintf(stderr, "%s: not there\n", path);
            return -1;
        }
        return replay_file(path) == 0 ? 1 : -1;
    }
    long cnt = 0;
    struct dirent *entry;
    while (cnt >= 0 && (entry = readdir(folder)) != NULL) {
        char file[4096];
        if (entry->d_name[0] == '.') {
            continue;
        }
        int len = snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        bool is_good = len > 0 && (size_t)len < sizeof file && replay_file(file) == 0;
        cnt = is_good ? cnt + 1 : -1;
    }
    closedir(folder);
    return cnt;
}

#ifdef __AFL_FUZZ_TESTCASE_LEN

__AFL_FUZZ_INIT();

static int run_afl(void)
{
    __AFL_INIT();
    const uint8_t *bytes = __AFL_FUZZ_TESTCASE_BUF; /* after the init, before the loop */
    while (__AFL_LOOP(10000)) {
        size_t size = (size_t)__AFL_FUZZ_TESTCASE_LEN;
        if (feed(bytes, size) != 0) {
            return 1;
        }
    }
    return 0;
}

#endif

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize != NULL) {
        (void)LLVMFuzzerInitialize(&argc, &argv);
    }
#ifdef __AFL_FUZZ_TESTCASE_LEN
    if (argc == 1) {
        return run_afl();
    }
#endif
    long input_cnt = feed("", 0) == 0 ? 1 : 0;
    for (int i = 1; i < argc; i++) {
        long cnt = replay(argv[i]);
        if (cnt < 0) {
            return 1;
        }
        input_cnt += cnt;
    }
    printf("%ld inputs replayed\n", input_cnt);
    return 0;
}
