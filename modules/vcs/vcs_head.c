/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vcs_head.h"

#include <stdlib.h>
#include <string.h>

#include "vcs_pktline.h"

void vcs_head_clear(struct vcs_head *h)
{
    for (size_t i = 0; i < h->update_count; i++)
        free(h->updates[i].ref);
    for (size_t i = 0; i < h->option_count; i++)
        free(h->options[i]);
    free(h->updates);
    free(h->options);
    mb_pushcert_clear(&h->cert);
    mb_buf_clear(&h->certificate);
    mb_buf_clear(&h->text);
    *h = (struct vcs_head){0};
}

static int bad(struct mb_error *error, const char *what)
{
    return mb_fail(error, MB_EINVAL, "vcs.head", "the head of the push is malformed: %s", what);
}

static bool line_has_nul(const char *line, size_t len)
{
    return memchr(line, 0, len) != NULL;
}

static void read_capability(struct vcs_head *h, const char *word)
{
    static const char format[] = "object-format=";
    if (strcmp(word, "report-status") == 0)
        h->report_status = true;
    else if (strcmp(word, "side-band-64k") == 0)
        h->side_band = true;
    else if (strcmp(word, "push-options") == 0)
        h->push_options = true;
    else if (strcmp(word, "atomic") == 0)
        h->atomic = true;
    else if (strncmp(word, format, sizeof format - 1) == 0)
        mb_snprintf(h->object_format, sizeof h->object_format, "%s", word + sizeof format - 1);
}

/* Capabilities stand behind the first line's NUL, between spaces. */
static void read_capabilities(struct vcs_head *h, const char *text, size_t len)
{
    char *copy = mb_strndup(text, len), *at = copy;
    copy[strcspn(copy, "\n")] = 0;
    while (*at != 0) {
        size_t n = strcspn(at, " ");
        bool last = at[n] == 0;
        at[n] = 0;
        read_capability(h, at);
        at += n + !last;
    }
    free(copy);
}

static bool is_object_id(const char *text, size_t len)
{
    char id[65];
    if (len != 40 && len != 64)
        return false;
    memcpy(id, text, len);
    id[len] = 0;
    return mb_is_hex(id, len);
}

/* "OLD NEW REF" */
static int read_command(struct vcs_head *h, const char *line, size_t len, struct mb_error *error)
{
    const char *space = memchr(line, ' ', len);
    size_t n = space != NULL ? (size_t)(space - line) : 0;
    if (!is_object_id(line, n) || len < 2 * n + 3 || line[2 * n + 1] != ' ' ||
        !is_object_id(line + n + 1, n))
        return bad(error, "a command is OLD NEW REF");
    if (h->update_count == MB_PUSHCERT_UPDATES_MAX)
        return mb_fail(error, MB_ELIMIT, "vcs.head_large", "more than %d refs in one push",
                       MB_PUSHCERT_UPDATES_MAX);
    char *ref = mb_strndup(line + 2 * n + 2, len - 2 * n - 2);
    if (!mb_ref_valid(ref)) {
        free(ref);
        return bad(error, "a ref's name is not valid");
    }
    for (size_t i = 0; i < h->update_count; i++)
        if (strcmp(h->updates[i].ref, ref) == 0) {
            free(ref);
            return bad(error, "a ref is there twice");
        }
    h->updates = mb_realloc(h->updates, (h->update_count + 1) * sizeof *h->updates);
    struct mb_ref_update *u = &h->updates[h->update_count++];
    *u = (struct mb_ref_update){.ref = ref};
    memcpy(u->old_id, line, n);
    memcpy(u->new_id, line + n + 1, n);
    return 0;
}

static int read_line(struct vcs_head *h, const char *line, size_t len, struct mb_error *error)
{
    static const char cert[] = "push-cert", shallow[] = "shallow ";
    size_t text_len = len;
    if (!h->first_seen && line_has_nul(line, len)) {
        text_len = (size_t)((const char *)memchr(line, 0, len) - line);
        read_capabilities(h, line + text_len + 1, len - text_len - 1);
    }
    if (text_len > 0 && line[text_len - 1] == '\n')
        text_len--;
    if (line_has_nul(line, text_len))
        return bad(error, "a NUL inside a line");
    if (text_len >= sizeof shallow - 1 && memcmp(line, shallow, sizeof shallow - 1) == 0) {
        h->shallow = true;
        return 0;
    }
    bool first = !h->first_seen;
    h->first_seen = true;
    if (text_len == sizeof cert - 1 && memcmp(line, cert, text_len) == 0) {
        if (!first)
            return bad(error, "a certificate after commands");
        h->is_signed = true;
        h->at = VCS_HEAD_CERT;
        return 0;
    }
    return read_command(h, line, text_len, error);
}

static int read_cert_line(struct vcs_head *h, struct mb_bytes line, struct mb_error *error)
{
    static const char end[] = "push-cert-end\n";
    if (mb_bytes_equal(line, mb_bytes_of(end))) {
        h->at = VCS_HEAD_AFTER_CERT;
        return mb_pushcert_parse(&h->cert, mb_buf_bytes(&h->certificate), error);
    }
    if (h->certificate.len + line.len > MB_PUSHCERT_MAX)
        return mb_fail(error, MB_ELIMIT, "pushcert.too_large", "the certificate is over %d bytes",
                       MB_PUSHCERT_MAX);
    mb_buf_add_bytes(&h->certificate, line);
    return 0;
}

static int read_option(struct vcs_head *h, struct mb_bytes line, struct mb_error *error)
{
    size_t len = line.len > 0 && line.data[line.len - 1] == '\n' ? line.len - 1 : line.len;
    if (h->option_count == MB_PUSHCERT_OPTIONS_MAX || len > 1024 ||
        line_has_nul((const char *)line.data, len))
        return mb_fail(error, MB_ELIMIT, "vcs.head_large", "more than %d push options, or too long",
                       MB_PUSHCERT_OPTIONS_MAX);
    h->options = mb_realloc(h->options, (h->option_count + 1) * sizeof *h->options);
    h->options[h->option_count++] = mb_strndup((const char *)line.data, len);
    return 0;
}

static int on_flush(struct vcs_head *h, struct mb_error *error)
{
    switch (h->at) {
    case VCS_HEAD_COMMANDS:
    case VCS_HEAD_AFTER_CERT:
        h->at = h->push_options && h->first_seen ? VCS_HEAD_OPTIONS : VCS_HEAD_DONE;
        return 0;
    case VCS_HEAD_OPTIONS:
        h->at = VCS_HEAD_DONE;
        return 0;
    case VCS_HEAD_CERT:
    case VCS_HEAD_DONE:
    default:
        return bad(error, "it ends inside the certificate");
    }
}

static int on_data(struct vcs_head *h, struct mb_bytes line, struct mb_error *error)
{
    switch (h->at) {
    case VCS_HEAD_COMMANDS:
        return line.len == 0 ? bad(error, "an empty line")
                             : read_line(h, (const char *)line.data, line.len, error);
    case VCS_HEAD_CERT:
        return read_cert_line(h, line, error);
    case VCS_HEAD_OPTIONS:
        return read_option(h, line, error);
    case VCS_HEAD_AFTER_CERT:
    case VCS_HEAD_DONE:
    default:
        return bad(error, "a line after the certificate");
    }
}

int vcs_head_feed(struct vcs_head *h, struct mb_bytes bytes, size_t *used, struct mb_error *error)
{
    size_t before = h->text.len, done = 0;
    int rc = 0;
    *used = 0;
    if (h->object_format[0] == 0)
        memcpy(h->object_format, "sha1", 5);
    mb_buf_add_bytes(&h->text, bytes);
    while (rc == 0 && h->at != VCS_HEAD_DONE) {
        struct mb_bytes line;
        size_t n;
        enum vcs_pkt kind =
            vcs_pkt_read(mb_bytes(h->text.data + done, h->text.len - done), &line, &n);
        if (kind == VCS_PKT_MORE)
            break;
        if (kind == VCS_PKT_BAD)
            return bad(error, "no pkt-line");
        rc = kind == VCS_PKT_FLUSH ? on_flush(h, error) : on_data(h, line, error);
        done += n;
        h->size += n;
        if (rc == 0 && h->size > VCS_HEAD_MAX)
            rc = mb_fail(error, MB_ELIMIT, "vcs.head_large", "the head is over %d bytes",
                         VCS_HEAD_MAX);
    }
    if (rc != 0)
        return rc;
    if (h->at == VCS_HEAD_DONE) {
        *used = done - before; /* the last pkt-line ends within these bytes */
        mb_buf_clear(&h->text);
        return 1;
    }
    mb_buf_consume(&h->text, done);
    *used = bytes.len;
    return 0;
}

const struct mb_ref_update *vcs_head_updates(const struct vcs_head *h, size_t *count)
{
    *count = h->is_signed ? h->cert.update_count : h->update_count;
    return h->is_signed ? h->cert.updates : h->updates;
}
