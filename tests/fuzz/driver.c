/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * main() for a fuzz target when no fuzzing engine brings one: replays the target's corpus, and a
 * fixed number of mutations of it from a fixed seed, so that `make check` always runs the same.
 *
 *   fuzz_x                 the corpus of fuzz_x and 20,000 mutations (MB_FUZZ_RUNS changes that)
 *   fuzz_x FILE…           just these inputs
 *
 * The corpus of fuzz_x is the files in $srcdir/tests/fuzz/corpus/fuzz_x. When the target dies, its
 * input is left in crash-fuzz_x in the current folder.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"

#define RUNS_DEFAULT 20000
#define INPUT_MAX    65536 /* bytes of a mutation; files may be longer */
#define EDITS_MAX    8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Of the sanitizers' runtime, where that is linked in. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static struct mb_bytes current;

static void save_input(void)
{
    char name[256];
    if (mb_snprintf(name, sizeof name, "crash-%s", program_invocation_short_name) != 0)
        return;
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || write(fd, current.data, current.len) != (ssize_t)current.len)
        return;
    close(fd);
    dprintf(STDERR_FILENO, "%s: the input that did it is in %s\n", program_invocation_short_name,
            name);
}

static void on_crash(int sig)
{
    save_input();
    raise(sig); /* its handler is reset: this one ends the process */
}

static void catch_crashes(void)
{
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    size_t count = sizeof signals / sizeof *signals;
    if (__sanitizer_set_death_callback != NULL) { /* it sees to all but the first */
        __sanitizer_set_death_callback(save_input);
        count = 1;
    }
    struct sigaction act = {.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
    for (size_t i = 0; i < count; i++)
        sigaction(signals[i], &act, NULL);
}

/* Run one input from a block of memory of just its size, so that reading past it is seen. */
static void run(const void *data, size_t size)
{
    uint8_t *copy = mb_memdup(data, size);
    current = mb_bytes(copy, size);
    LLVMFuzzerTestOneInput(copy, size);
    current = mb_bytes(NULL, 0);
    free(copy);
}

static struct mb_buf read_file(const char *path)
{
    struct mb_buf content = {0};
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, path, strerror(errno));
        exit(2);
    }
    char chunk[4096];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
        mb_buf_add(&content, chunk, n);
    fclose(f);
    return content;
}

/* splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014) */
static uint64_t state = 1;
static size_t below(size_t limit)
{
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (size_t)((z ^ z >> 31) % limit);
}

/* Replace the n bytes at position at by other bytes. */
static void replace(struct mb_buf *b, size_t at, size_t n, struct mb_bytes other)
{
    struct mb_buf out = {0};
    mb_buf_add(&out, b->data, at);
    mb_buf_add_bytes(&out, other);
    mb_buf_add(&out, b->data + at + n, b->len - at - n);
    mb_buf_clear(b);
    *b = out;
    if (b->len > INPUT_MAX)
        b->len = INPUT_MAX;
}

/* A piece of some seed, of at most 64 bytes or, one time in four, of any length. */
static struct mb_bytes any_piece(const struct mb_buf *seeds, size_t count)
{
    const struct mb_buf *seed = &seeds[below(count)];
    size_t at = below(seed->len + 1), most = seed->len - at;
    if (below(4) != 0 && most > 64)
        most = 64;
    return mb_bytes(seed->data == NULL ? NULL : seed->data + at, below(most + 1));
}

static void edit(struct mb_buf *b, const struct mb_buf *seeds, size_t count)
{
    static const uint8_t edges[] = {0x00, 0x01, 0x7f, 0x80, 0xff, ' ', '\n', '"', '\\', '0'};
    uint8_t bytes[4];
    size_t at = below(b->len + 1), left = b->len - at;
    size_t n = below((left < 16 ? left : 16) + 1);
    switch (below(6)) {
    case 0:
        if (left > 0)
            b->data[at] ^= (uint8_t)(1U << below(8));
        break;
    case 1:
        if (left > 0)
            b->data[at] = edges[below(sizeof edges)];
        break;
    case 2:
        replace(b, at, below(8) == 0 ? left : n, mb_bytes(NULL, 0));
        break;
    case 3:
        replace(b, at, n, any_piece(seeds, count));
        break;
    case 4:
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)below(256);
        replace(b, at, 0, mb_bytes(bytes, 1 + below(sizeof bytes)));
        break;
    default: { /* again and again what stands here */
        struct mb_buf many = {0};
        for (size_t i = 1 + below(below(16) == 0 ? 256 : 4); i > 0; i--)
            mb_buf_add(&many, b->data + at, n);
        replace(b, at, 0, mb_buf_bytes(&many));
        mb_buf_clear(&many);
    }
    }
}

static int is_seed(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* All seeds, by name; owned by the caller. */
static struct mb_buf *read_corpus(size_t *count)
{
    const char *srcdir = getenv("srcdir");
    char *folder = mb_asprintf("%s/tests/fuzz/corpus/%s", srcdir != NULL ? srcdir : ".",
                               program_invocation_short_name);
    struct dirent **entries;
    int n = scandir(folder, &entries, is_seed, alphasort);
    if (n <= 0) {
        fprintf(stderr,
                "%s: no corpus in %s: put at least one valid input there, or set srcdir to the "
                "top of the sources\n",
                program_invocation_short_name, folder);
        exit(2);
    }
    struct mb_buf *seeds = mb_calloc((size_t)n, sizeof *seeds);
    for (int i = 0; i < n; i++) {
        char *path = mb_asprintf("%s/%s", folder, entries[i]->d_name);
        seeds[i] = read_file(path);
        free(path);
        free(entries[i]);
    }
    free(entries);
    free(folder);
    *count = (size_t)n;
    return seeds;
}

static size_t run_corpus(void)
{
    const char *wanted = getenv("MB_FUZZ_RUNS");
    size_t runs = wanted != NULL ? (size_t)strtoul(wanted, NULL, 10) : RUNS_DEFAULT, count;
    struct mb_buf *seeds = read_corpus(&count);
    for (size_t i = 0; i < count; i++)
        run(seeds[i].data, seeds[i].len);
    for (size_t i = 0; i < runs; i++) {
        struct mb_buf input = {0};
        mb_buf_add_bytes(&input, mb_buf_bytes(&seeds[below(count)]));
        for (size_t edits = 1 + below(EDITS_MAX); edits > 0; edits--)
            edit(&input, seeds, count);
        run(input.data, input.len);
        mb_buf_clear(&input);
    }
    for (size_t i = 0; i < count; i++)
        mb_buf_clear(&seeds[i]);
    free(seeds);
    return count + runs;
}

int main(int argc, char **argv)
{
    /* libtool runs lt-fuzz_x in place of fuzz_x */
    if (strncmp(program_invocation_short_name, "lt-", 3) == 0)
        program_invocation_short_name += 3;
    catch_crashes();
    size_t inputs = (size_t)argc - 1;
    for (int i = 1; i < argc; i++) {
        struct mb_buf content = read_file(argv[i]);
        run(content.data, content.len);
        mb_buf_clear(&content);
    }
    if (argc <= 1)
        inputs = run_corpus();
    printf("%s: %zu inputs\n", program_invocation_short_name, inputs);
    return 0;
}
