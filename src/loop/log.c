/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "loop/log.h"

#define SUBSYSTEMS_MAX 32
#define NAME_MAX_BYTES 24
#define LINE_MAX_BYTES 2048

struct levels {
    enum mb_log_level all;
    struct {
        char name[NAME_MAX_BYTES];
        enum mb_log_level level;
    } of[SUBSYSTEMS_MAX];
    size_t count;
};

static const char *const level_names[] = {"error", "warn", "info", "debug"};
#define LEVEL_COUNT (sizeof level_names / sizeof *level_names)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the three below */
static struct levels levels = {.all = MB_LOG_INFO};
static int log_fd = STDERR_FILENO;
static char *log_path;

static atomic_ulong counts[LEVEL_COUNT];

static bool parse_level(enum mb_log_level *level, const char *text, size_t len)
{
    for (size_t i = 0; i < LEVEL_COUNT; i++)
        if (strlen(level_names[i]) == len && memcmp(level_names[i], text, len) == 0) {
            *level = (enum mb_log_level)i;
            return true;
        }
    return false;
}

/* One item between commas. */
static bool parse_item(struct levels *l, const char *text, size_t len)
{
    const char *equal = memchr(text, '=', len);
    if (equal == NULL)
        return parse_level(&l->all, text, len);
    size_t name_len = (size_t)(equal - text);
    if (name_len == 0 || name_len >= NAME_MAX_BYTES || l->count == SUBSYSTEMS_MAX)
        return false;
    memcpy(l->of[l->count].name, text, name_len);
    return parse_level(&l->of[l->count++].level, equal + 1, len - name_len - 1);
}

bool mb_log_configure(const char *text)
{
    struct levels parsed = {.all = MB_LOG_INFO};
    for (const char *p = text;; p++) {
        size_t len = strcspn(p, ",");
        if (!parse_item(&parsed, p, len))
            return false;
        p += len;
        if (*p == '\0')
            break;
    }
    pthread_mutex_lock(&lock);
    levels = parsed;
    pthread_mutex_unlock(&lock);
    return true;
}

/* A device is everybody's: its mode stays. */
static int open_log(const char *path)
{
    struct stat st;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && (fstat(fd, &st) != 0 || (S_ISREG(st.st_mode) && fchmod(fd, 0600) != 0))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Write to fd from now on, known as path (owned). */
static void use(int fd, char *path)
{
    pthread_mutex_lock(&lock);
    if (log_fd != STDERR_FILENO)
        close(log_fd);
    log_fd = fd;
    if (path != log_path)
        free(log_path);
    log_path = path;
    pthread_mutex_unlock(&lock);
}

bool mb_log_file(const char *path)
{
    if (path == NULL) {
        use(STDERR_FILENO, NULL);
        return true;
    }
    int fd = open_log(path);
    if (fd < 0)
        return false;
    use(fd, mb_strdup(path));
    return true;
}

void mb_log_reopen(void)
{
    if (log_path == NULL)
        return;
    int fd = open_log(log_path);
    if (fd < 0)
        mb_log(MB_LOG_ERROR, "log", "reopen_failed", "errno=%d", errno);
    else
        use(fd, log_path);
}

bool mb_log_wants(enum mb_log_level level, const char *subsystem)
{
    pthread_mutex_lock(&lock);
    enum mb_log_level most = levels.all;
    for (size_t i = 0; i < levels.count; i++)
        if (strcmp(levels.of[i].name, subsystem) == 0)
            most = levels.of[i].level;
    pthread_mutex_unlock(&lock);
    return level <= most;
}

/* Everything but printing ASCII as \xNN, and the backslash doubled: a line is always one line, and
 * a terminal is never spoken to. */
static void add_escaped(struct mb_buf *line, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (*p == '\\')
            mb_buf_add_text(line, "\\\\");
        else if (*p < 0x20 || *p > 0x7e)
            mb_buf_addf(line, "\\x%02x", (unsigned)*p);
        else
            mb_buf_add_u8(line, *p);
    }
}

static void write_line(const struct mb_buf *line)
{
    pthread_mutex_lock(&lock);
    ssize_t n = write(log_fd, line->data, line->len); /* one write: lines of processes do not mix */
    pthread_mutex_unlock(&lock);
    (void)n; /* there is no other place to say that the log cannot be written */
}

void mb_log(enum mb_log_level level, const char *subsystem, const char *event, const char *format,
            ...)
{
    int saved = errno;
    atomic_fetch_add(&counts[level], 1);
    if (!mb_log_wants(level, subsystem))
        return;
    char text[LINE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);

    struct mb_buf line = {0};
    mb_buf_addf(&line, "%s %s %s", level_names[level], subsystem, event);
    if (n > 0)
        mb_buf_add_u8(&line, ' ');
    add_escaped(&line, n < 0 ? "" : text);
    mb_buf_add_text(&line, n >= (int)sizeof text ? " cut=1\n" : "\n");
    write_line(&line);
    mb_buf_clear(&line);
    errno = saved;
}

unsigned long mb_log_count(enum mb_log_level level)
{
    return atomic_load(&counts[level]);
}
