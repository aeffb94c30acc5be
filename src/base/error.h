/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How functions say that they failed.
 *
 * A function that can fail returns 0 (or a documented value >= 0) or one of the negative values
 * below, and fills a caller-supplied struct mb_error. The pointer may be NULL.
 */
#ifndef MB_BASE_ERROR_H
#define MB_BASE_ERROR_H

#include <stdbool.h>

enum mb_err {
    MB_OK = 0,
    MB_EINVAL = -1,   /* the input is malformed */
    MB_EREFUSED = -2, /* a rule says no; nothing was changed */
    MB_ENOENT = -3,   /* there is no such thing */
    MB_EIO = -4,      /* the operating system or a library failed */
    MB_ELIMIT = -5,   /* over a limit */
    MB_EPROOF = -6,   /* a signature, hash or proof does not hold */
    MB_EREACH = -7,   /* cannot reach the other side */
    MB_ECORRUPT = -8, /* stored data is damaged */
};

#define MB_ERROR_CODE_MAX 64
#define MB_ERROR_ARGS_MAX 1024
#define MB_ERROR_TEXT_MAX 1024

struct mb_error {
    char code[MB_ERROR_CODE_MAX]; /* stable, dotted, lower case: "names.taken" */
    char args[MB_ERROR_ARGS_MAX]; /* canonical JSON array of strings and integers: ["alice",12] */
    char text[MB_ERROR_TEXT_MAX]; /* for people: what went wrong, and what to do next; may be "" */
};

/*
 * Fill error with code, no args, and a text made by printf's rules; return err. For failures that
 * no replica has to agree on. Texts that are too long are cut.
 */
int mb_fail(struct mb_error *error, enum mb_err err, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/*
 * Fill error with code and args; return MB_EREFUSED. For refusals that become part of the ledger:
 * the same bytes on every machine. types has one letter for each further argument: 's' (const
 * char *, UTF-8, cut at a character's boundary to 200 bytes, and to 250 once escaped) or 'd'
 * (int64_t). At most 4 args.
 * No text: mb_message() in ledger/message.h makes it from code and args, outside consensus.
 */
int mb_refuse(struct mb_error *error, const char *code, const char *types, ...);

#endif
