/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The pack of a push, as it comes in. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "vcs_world.h"

void vcs_spool_init(struct vcs_spool *s, struct vcs *v)
{
    *s = (struct vcs_spool){.v = v, .fd = -1};
}

void vcs_spool_clear(struct vcs_spool *s)
{
    vcs_spool_close(s, NULL);
    if (s->tmp != NULL)
        vcs_remove_tree(s->tmp);
    free(s->tmp);
    s->tmp = NULL;
}

static int make_quarantine(struct vcs_spool *s, struct mb_error *error)
{
    uint8_t random[8];
    struct mb_buf hex = {0};
    static const char *const folders[] = {"", "/objects", "/objects/pack"};
    int rc = 0;
    mb_host_random(s->v->host, random, sizeof random);
    mb_hex_encode(&hex, random, sizeof random);
    s->tmp = mb_asprintf("%s/tmp-%s", s->v->incoming, mb_buf_text(&hex));
    for (size_t i = 0; i < sizeof folders / sizeof *folders && rc == 0; i++) {
        char *path = mb_asprintf("%s%s", s->tmp, folders[i]);
        rc = mkdir(path, 0700);
        free(path);
    }
    char *pack = mb_asprintf("%s/pack.in", s->tmp);
    s->fd = rc == 0 ? open(pack, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    mb_buf_clear(&hex);
    free(pack);
    MB_FAULT("push.quarantine");
    return s->fd < 0 ? mb_refuse(error, "vcs.quota", "") : 0;
}

/* The replica keeps some of its disk for itself. */
static int check_room(const struct vcs_spool *s, struct mb_error *error)
{
    struct statvfs fs;
    int64_t keep = mb_host_option_int(s->v->host, "keep_free");
    if (statvfs(s->v->incoming, &fs) != 0 || (int64_t)fs.f_bavail * (int64_t)fs.f_frsize < keep)
        return mb_refuse(error, "vcs.quota", "");
    return 0;
}

static int write_pack(const struct vcs_spool *s, struct mb_bytes bytes, struct mb_error *error)
{
    if (s->size > s->limit)
        return mb_refuse(error, "vcs.pack_large", "d", s->limit);
    for (size_t done = 0; done < bytes.len;) {
        ssize_t n = write(s->fd, bytes.data + done, bytes.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return mb_refuse(error, "vcs.quota", "");
        done += (size_t)n;
    }
    return 0;
}

int vcs_spool_take(struct vcs_spool *s, struct mb_bytes bytes, struct mb_error *error)
{
    size_t known = s->size < VCS_EMPTY_PACK ? (size_t)s->size : VCS_EMPTY_PACK;
    size_t n = VCS_EMPTY_PACK - known < bytes.len ? VCS_EMPTY_PACK - known : bytes.len;
    int rc = 0;
    if (n > 0)
        memcpy(s->start + known, bytes.data, n);
    s->size += (int64_t)bytes.len;
    if (s->size < VCS_EMPTY_PACK)
        return 0;
    if (known < VCS_EMPTY_PACK && memcmp(s->start, "PACK", 4) != 0)
        return mb_refuse(error, "vcs.pack", "s", "it does not begin as a pack");
    if (known < VCS_EMPTY_PACK && memcmp(s->start + 8, "\0\0\0\0", 4) != 0) {
        s->has_pack = true;
        rc = check_room(s, error);
        if (rc == 0)
            rc = make_quarantine(s, error);
        if (rc == 0)
            rc = write_pack(s, mb_bytes(s->start, VCS_EMPTY_PACK), error);
    }
    if (rc != 0 || !s->has_pack) /* after an empty pack comes its checksum, 20 or 32 bytes */
        return rc != 0 || s->size <= VCS_EMPTY_PACK + 32
                   ? rc
                   : mb_refuse(error, "vcs.pack", "s", "bytes after the end");
    return write_pack(s, mb_bytes(bytes.data + n, bytes.len - n), error);
}

int vcs_spool_close(struct vcs_spool *s, struct mb_error *error)
{
    int rc = s->fd >= 0 ? close(s->fd) : 0;
    s->fd = -1;
    return rc != 0 ? mb_refuse(error, "vcs.quota", "") : 0;
}
