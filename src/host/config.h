/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Configuration: an INI file, read by tables of options (struct mb_option), so that defaults,
 * validation and magicbiz.conf(5) come from one place.
 *
 *   [section]
 *   name = value        # a comment starts with # or ; at the start of a line
 *
 * A word list may be continued by giving the name again.
 */
#ifndef MB_HOST_CONFIG_H
#define MB_HOST_CONFIG_H

#include <magicbiz/module.h>

#define MB_CONFIG_MAX 262144 /* bytes of a file */

struct mb_section {
    const char *name, *help;
    const struct mb_option *options;
};

struct mb_config;

/*
 * Parse text (file is its name, for messages and relative paths) against sections (borrowed; ends
 * with a NULL name). Pure. MB_EINVAL, code config.invalid, text "FILE:LINE: …" and what would be
 * right. Sections of modules that are not in the table are kept aside: see unknown.
 */
int mb_config_parse(struct mb_config **out, const char *file, struct mb_bytes text,
                    const struct mb_section *sections, bool allow_unknown, struct mb_error *error);
void mb_config_free(struct mb_config *c);
/* Values of known options: never fail. Text is borrowed; paths are absolute if file is; "" for an
 * empty path. */
const char *mb_config_text(const struct mb_config *c, const char *section, const char *name);
int64_t mb_config_int(const struct mb_config *c, const char *section, const char *name);
size_t mb_config_words(const struct mb_config *c, const char *section, const char *name,
                       const char *const **words);

/* Read a file of at most max bytes. MB_EIO (file.unreadable), MB_ELIMIT (file.too_large). */
int mb_read_file(const char *path, size_t max, struct mb_buf *out, struct mb_error *error);
/* Write a file so that after a crash it is either old or new, and durable: temporary file, fsync,
 * rename, fsync of the folder. */
int mb_write_file(const char *path, struct mb_bytes data, unsigned mode, struct mb_error *error);
/* Make a folder (and its parents) with mode. */
int mb_make_dir(const char *path, unsigned mode, struct mb_error *error);

/* Append the options of sections as mdoc(7): the body of magicbiz.conf(5). */
void mb_config_manual(struct mb_buf *out, const struct mb_section *sections);
/* Append a text of such a table as mdoc: a new line for each sentence, backslashes escaped. */
void mb_manual_text(struct mb_buf *out, const char *text, size_t len);

#endif
