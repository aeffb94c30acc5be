/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a rulebook costs: a call that does little, of a small rulebook and of a large one;
 * compiling; a call that uses up its instructions. Lines "name value unit". */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "rules/cage.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double call_us(struct mb_cage *c, const char *function, int times)
{
    static const struct mb_cage_view view = {.time = 1, .slot = 1};
    json_t *args = json_loads(
        "[{\"type\":\"books.post\",\"body\":{\"entries\":[],\"memo\":\"x\"}},\"SHA256:x\"]", 0,
        NULL);
    double begun = now();
    for (int i = 0; i < times; i++) {
        json_t *results = NULL;
        (void)mb_cage_call(c, &view, function, args, &results, NULL);
        json_decref(results);
    }
    json_decref(args);
    return (now() - begun) / times * 1e6;
}

int main(void)
{
    const char *small = "function authorize(command, signer)\n"
                        "  if command.type == 'books.post' then return true end\n"
                        "  return false, 'no'\n"
                        "end\n"
                        "function loop() while true do end end\n";
    struct mb_buf large = {0};
    struct mb_cage *c;
    mb_buf_add_text(&large, small);
    for (int i = 0; large.len + 120 < MB_RULES_SOURCE_MAX; i++)
        mb_buf_addf(&large,
                    "function g%d(a, b)\n  return a + b * %d == 0 and 'x%d' or b\nend\n",
                    i % 150, i, i);
    if (mb_cage_new(&c, mb_bytes_of(small), NULL) != 0)
        return 1;
    printf("rules_call_small %.2f us\n", call_us(c, "authorize", 50000));
    printf("rules_call_budget %.0f us\n", call_us(c, "loop", 5));
    mb_cage_free(c);
    double begun = now();
    for (int i = 0; i < 100; i++) {
        if (mb_cage_new(&c, mb_bytes_of(small), NULL) != 0)
            return 1;
        mb_cage_free(c);
    }
    printf("rules_compile_small %.0f us\n", (now() - begun) / 100 * 1e6);
    mb_buf_add_text(&large, "\n");
    begun = now();
    struct mb_error error = {0};
    if (mb_cage_new(&c, mb_buf_bytes(&large), &error) == 0) {
        printf("rules_compile_large %.0f us\n", (now() - begun) * 1e6);
        printf("rules_call_large %.2f us\n", call_us(c, "authorize", 5000));
        mb_cage_free(c);
    } else {
        printf("rules_compile_large failed %s %s\n", error.code, error.args);
    }
    mb_buf_clear(&large);
    return 0;
}
