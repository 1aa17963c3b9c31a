/*
 * A main for the fuzz targets in builds without libFuzzer: feeds the target an empty input, then
 * each file of the folders on the command line once. So ordinary test runs repeat every input
 * that has ever been worth keeping.
 */
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);

/* Targets with a mutator of their own name this one; a replay never calls it. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max)
{
    (void)data;
    (void)size_max;
    return size;
}

/* The input is copied to a block of exactly its size, so that a read past its end is seen. */
static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return -1;
    }
    long size = -1;
    if (fseek(file, 0, SEEK_END) == 0) {
        size = ftell(file);
    }
    rewind(file);
    uint8_t *data = size < 0 ? NULL : malloc(size == 0 ? 1 : (size_t)size);
    if (data == NULL || fread(data, 1, (size_t)size, file) != (size_t)size) {
        fprintf(stderr, "%s: cannot be read\n", path);
        free(data);
        fclose(file);
        return -1;
    }
    fclose(file);
    (void)LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize != NULL) {
        (void)LLVMFuzzerInitialize(&argc, &argv);
    }
    uint8_t nothing = 0;
    (void)LLVMFuzzerTestOneInput(&nothing, 0);

    unsigned long input_cnt = 1;
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        if (folder == NULL) {
            continue; /* A target without a corpus yet. */
        }
        struct dirent *entry;
        while ((entry = readdir(folder)) != NULL) {
            char path[4096];
            if (entry->d_name[0] == '.') {
                continue;
            }
            int len = snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
            if (len < 0 || (size_t)len >= sizeof path || replay(path) != 0) {
                closedir(folder);
                return 1;
            }
            input_cnt++;
        }
        closedir(folder);
    }
    printf("%lu inputs replayed\n", input_cnt);
    return 0;
}
