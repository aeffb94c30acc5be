/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "loop/fault.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void mb_fault(const char *name)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const char *at; /* what has not been reached */
    static unsigned long times;
    static bool begun;
    pthread_mutex_lock(&lock);
    if (!begun)
        at = getenv("MAGICBIZ_FAULT");
    begun = true;
    size_t len = at != NULL ? strcspn(at, ": ") : 0;
    if (len > 0 && strlen(name) == len && memcmp(at, name, len) == 0) {
        char *end;
        unsigned long wanted = at[len] == ':' ? strtoul(at + len + 1, &end, 10) : 1;
        if (++times >= wanted) {
            times = 0;
            at += strcspn(at, " ");
            at += strspn(at, " ");
            if (*at == 0)
                kill(getpid(), SIGKILL);
        }
    }
    pthread_mutex_unlock(&lock);
}

bool mb_lie(const char *name)
{
    static const char blank[] = " \n";
    char text[256];
    const char *file = getenv("MAGICBIZ_LIES");
    int fd = file == NULL ? -1 : open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    for (const char *at = text + strspn(text, blank); *at != 0; at += strspn(at, blank)) {
        size_t len = strcspn(at, blank);
        if (len == strlen(name) && memcmp(at, name, len) == 0)
            return true;
        at += len;
    }
    return false;
}
