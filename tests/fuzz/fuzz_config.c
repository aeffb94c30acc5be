/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A configuration that is taken has a value within its bounds for every option. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "host/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct mb_option options[] = {
    {.name = "data", .kind = MB_OPTION_PATH, .fallback = "", .help = "Folder."},
    {.name = "text", .kind = MB_OPTION_TEXT, .fallback = "x", .help = "Text."},
    {.name = "count",
     .kind = MB_OPTION_INT,
     .fallback = "3",
     .min = 1,
     .max = 9,
     .help = "How many."},
    {.name = "size",
     .kind = MB_OPTION_SIZE,
     .fallback = "4k",
     .min = 1,
     .max = 1 << 20,
     .help = "Room."},
    {.name = "wait", .kind = MB_OPTION_DURATION, .fallback = "90s", .help = "Time."},
    {.name = "on", .kind = MB_OPTION_FLAG, .fallback = "no", .help = "Switch."},
    {.name = "list", .kind = MB_OPTION_WORDS, .fallback = "", .help = "Words."},
    {.name = "mode",
     .kind = MB_OPTION_CHOICE,
     .fallback = "a",
     .choices = "a bb c",
     .help = "One."},
    {.name = NULL},
};
static const struct mb_section sections[] = {
    {.name = "main", .help = "Main.", .options = options},
    {.name = NULL},
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int unknown = 0; unknown < 2; unknown++) {
        struct mb_config *c = NULL;
        const char *const *words;
        if (mb_config_parse(&c, "/etc/x.conf", mb_bytes(data, size), sections, unknown == 1,
                            NULL) != 0)
            continue;
        int64_t count = mb_config_int(c, "main", "count"), on = mb_config_int(c, "main", "on");
        int64_t room = mb_config_int(c, "main", "size");
        const char *path = mb_config_text(c, "main", "data");
        check(count >= 1 && count <= 9 && room >= 1 && room <= 1 << 20 && (on == 0 || on == 1));
        check(*path == 0 || *path == '/');
        check(strlen(mb_config_text(c, "main", "mode")) <= 2);
        mb_config_text(c, "main", "text");
        for (size_t i = mb_config_words(c, "main", "list", &words); i > 0; i--)
            check(*words[i - 1] != 0);
        mb_config_free(c);
    }
    return 0;
}
