/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A folder of its own in which a test runs real tools: ssh-keygen, git. */
#ifndef TESTS_SUPPORT_TOOLS_H
#define TESTS_SUPPORT_TOOLS_H

#include "base/bytes.h"

/* Make the folder (path owned by tools_close), and turn what tools read from the environment to it:
 * HOME, the zone, the locale, git's configuration. Aborts when it cannot. */
char *tools_open(void);
void tools_close(char *folder);       /* removes it and all that is in it */
void tools_empty(const char *folder); /* removes the files in it, not folders */
/* Run argv (NULL ends it) in folder with this standard input; output and errors replace *out, which
 * may be NULL. Returns the exit status; 127 if there is no such tool. */
int tools_run(const char *folder, struct mb_bytes input, struct mb_buf *out,
              const char *const argv[]);
void tools_write(const char *folder, const char *name, struct mb_bytes content, unsigned mode);
void tools_read(const char *folder, const char *name, struct mb_buf *content); /* replaces it */

#define TOOLS_RUN(folder, out, ...)                                                                \
    tools_run(folder, mb_bytes(NULL, 0), out, (const char *const[]){__VA_ARGS__, NULL})

#endif
