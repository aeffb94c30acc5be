/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../modules/vcs/vcs_head.h"
#include "../../modules/vcs/vcs_pktline.h"
#include "sign_vectors.h"

#define ZERO "0000000000000000000000000000000000000000"
#define ONE  "06382e34562ba148054ded73bc9a007623e6045a"

static void pkt_lines(void **state)
{
    static const struct {
        const char *text;
        enum vcs_pkt kind;
        size_t used;
        const char *payload;
    } cases[] = {
        {"", VCS_PKT_MORE, 0, ""},      {"000", VCS_PKT_MORE, 0, ""},
        {"0000", VCS_PKT_FLUSH, 4, ""}, {"0000x", VCS_PKT_FLUSH, 4, ""},
        {"0001", VCS_PKT_BAD, 0, ""},   {"0003", VCS_PKT_BAD, 0, ""},
        {"0004", VCS_PKT_DATA, 4, ""},  {"0005a", VCS_PKT_DATA, 5, "a"},
        {"0006a", VCS_PKT_MORE, 0, ""}, {"000Aabcdefgh", VCS_PKT_DATA, 10, "abcdef"},
        {"000g", VCS_PKT_BAD, 0, ""},   {"x", VCS_PKT_BAD, 0, ""},
        {"fff0", VCS_PKT_MORE, 0, ""},  {"fff1", VCS_PKT_BAD, 0, ""},
        {"-001", VCS_PKT_BAD, 0, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_bytes payload;
        size_t used;
        assert_int_equal(vcs_pkt_read(mb_bytes_of(cases[i].text), &payload, &used), cases[i].kind);
        assert_int_equal(used, cases[i].used);
        assert_true(mb_bytes_equal(payload, mb_bytes_of(cases[i].payload)));
    }
}

static void a_side_band_is_cut(void **state)
{
    struct mb_buf out = {0}, big = {0};
    struct mb_bytes payload;
    size_t used;
    (void)state;
    for (size_t i = 0; i < 65516; i++)
        mb_buf_add_u8(&big, (uint8_t)i);
    vcs_pkt_band(&out, 2, mb_buf_bytes(&big));
    assert_int_equal(vcs_pkt_read(mb_buf_bytes(&out), &payload, &used), VCS_PKT_DATA);
    assert_int_equal(used, VCS_PKT_MAX);
    assert_int_equal(payload.data[0], 2);
    mb_buf_consume(&out, used);
    assert_int_equal(vcs_pkt_read(mb_buf_bytes(&out), &payload, &used), VCS_PKT_DATA);
    assert_int_equal(payload.len, 2);
    assert_int_equal(payload.data[1], (uint8_t)65515);
    assert_int_equal(used, out.len);
    mb_buf_clear(&out);
    mb_buf_clear(&big);
}

/* --- Heads --- */

static void add(struct mb_buf *out, const char *line)
{
    vcs_pkt_add(out, mb_bytes_of(line));
}

/* The first line: text, NUL, capabilities. */
static void add_first(struct mb_buf *out, const char *line, const char *capabilities)
{
    struct mb_buf payload = {0};
    mb_buf_add(&payload, line, strlen(line) + 1);
    mb_buf_add_text(&payload, capabilities);
    vcs_pkt_add(out, mb_buf_bytes(&payload));
    mb_buf_clear(&payload);
}

static void add_certificate(struct mb_buf *out, const char *text)
{
    while (*text != 0) {
        size_t n = strcspn(text, "\n") + 1;
        vcs_pkt_add(out, mb_bytes(text, n));
        text += n;
    }
    add(out, "push-cert-end\n");
}

/* Feed in pieces of step bytes: the last return value; *total is how many belong to the head. */
static int feed(struct vcs_head *h, struct mb_bytes bytes, size_t step, size_t *total,
                struct mb_error *error)
{
    int rc = 0;
    *total = 0;
    for (size_t at = 0; rc == 0 && at < bytes.len;) {
        size_t n = bytes.len - at < step ? bytes.len - at : step, used;
        rc = vcs_head_feed(h, mb_bytes(bytes.data + at, n), &used, error);
        assert_true(used <= n && (rc != 0 || used == n));
        *total += used;
        at += n;
    }
    return rc;
}

/* Complete in one piece, by the byte and in sevens, and what follows is left alone. */
static void expect_head(struct mb_buf *bytes, void (*check)(const struct vcs_head *h))
{
    static const size_t steps[] = {SIZE_MAX, 1, 7};
    size_t len = bytes->len, total;
    mb_buf_add_text(bytes, "PACK");
    for (size_t i = 0; i < 3; i++) {
        struct vcs_head h = {0};
        assert_int_equal(feed(&h, mb_buf_bytes(bytes), steps[i], &total, NULL), 1);
        assert_int_equal(total, len);
        assert_int_equal(h.size, len);
        check(&h);
        vcs_head_clear(&h);
    }
    for (size_t n = 0; n < len; n++) {
        struct vcs_head h = {0};
        assert_int_equal(feed(&h, mb_bytes(bytes->data, n), SIZE_MAX, &total, NULL), 0);
        vcs_head_clear(&h);
    }
    mb_buf_clear(bytes);
}

static void expect_bad(struct mb_buf *bytes, int rc, const char *code)
{
    static const size_t steps[] = {SIZE_MAX, 1};
    for (size_t i = 0; i < 2; i++) {
        struct vcs_head h = {0};
        struct mb_error error = {0};
        size_t total;
        assert_int_equal(feed(&h, mb_buf_bytes(bytes), steps[i], &total, &error), rc);
        assert_string_equal(error.code, code);
        vcs_head_clear(&h);
    }
    mb_buf_clear(bytes);
}

static void is_unsigned(const struct vcs_head *h)
{
    size_t count;
    const struct mb_ref_update *u = vcs_head_updates(h, &count);
    assert_int_equal(count, 2);
    assert_string_equal(u[0].old_id, ZERO);
    assert_string_equal(u[0].new_id, ONE);
    assert_string_equal(u[0].ref, "refs/for/main");
    assert_string_equal(u[1].ref, "refs/heads/x");
    assert_true(h->report_status && h->side_band && h->atomic && !h->is_signed && !h->shallow);
    assert_false(h->push_options);
    assert_string_equal(h->object_format, "sha1");
}

static void is_with_options(const struct vcs_head *h)
{
    assert_true(h->push_options && h->shallow && !h->report_status);
    assert_int_equal(h->option_count, 2);
    assert_string_equal(h->options[0], "work=0123456789abcdef");
    assert_string_equal(h->options[1], "");
    assert_string_equal(h->object_format, "sha256");
    assert_int_equal(h->update_count, 1);
}

static void is_signed(const struct vcs_head *h)
{
    size_t count;
    vcs_head_updates(h, &count);
    assert_true(h->is_signed);
    assert_int_equal(count, 2);
    assert_int_equal(h->update_count, 0);
    assert_int_equal(h->cert.option_count, 2);
    assert_int_equal(mb_pushcert_verify(&h->cert, NULL, NULL), 0);
    assert_true(mb_bytes_equal(mb_buf_bytes(&h->certificate), mb_bytes_of(cert_options)));
}

static void is_empty(const struct vcs_head *h)
{
    size_t count;
    vcs_head_updates(h, &count);
    assert_int_equal(count, 0);
}

static void heads_are_read(void **state)
{
    struct mb_buf b = {0};
    (void)state;
    add_first(&b, ZERO " " ONE " refs/for/main", " report-status side-band-64k atomic agent=x");
    add(&b, ONE " " ZERO " refs/heads/x\n");
    vcs_pkt_flush(&b);
    expect_head(&b, is_unsigned);

    add(&b, "shallow " ONE);
    add_first(&b, ZERO " " ONE " refs/for/main", "push-options object-format=sha256\n");
    vcs_pkt_flush(&b);
    add(&b, "work=0123456789abcdef\n");
    add(&b, "\n");
    vcs_pkt_flush(&b);
    expect_head(&b, is_with_options);

    add_first(&b, "push-cert", "report-status");
    add_certificate(&b, cert_options);
    vcs_pkt_flush(&b);
    expect_head(&b, is_signed);

    add_first(&b, "push-cert", "push-options");
    add_certificate(&b, cert_options);
    vcs_pkt_flush(&b);
    add(&b, "magicbiz");
    vcs_pkt_flush(&b);
    expect_head(&b, is_signed);

    vcs_pkt_flush(&b);
    expect_head(&b, is_empty);
}

static void what_is_malformed_is_refused(void **state)
{
    static const char *const commands[] = {
        "x",
        ZERO " " ONE,
        ZERO " " ONE " ",
        ZERO " " ONE " main",
        ZERO " " ONE " refs/heads/a..b",
        ZERO "  " ONE " refs/heads/a",
        ZERO " " ONE "0 refs/heads/a",
        "0 0 refs/heads/a",
        "0000000000000000000000000000000000000000 06382E34562ba148054ded73bc9a007623e6045a refs/a",
        " " ZERO " " ONE " refs/heads/a",
        "\n",
        "",
        "push-cert-end\n",
    };
    struct mb_buf b = {0};
    (void)state;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        add(&b, commands[i]);
        expect_bad(&b, MB_EINVAL, "vcs.head");
    }
    mb_buf_add_text(&b, "GET ");
    expect_bad(&b, MB_EINVAL, "vcs.head");
    /* Twice, a second NUL, a certificate that comes late, or does not end, or goes on. */
    add(&b, ZERO " " ONE " refs/heads/a");
    add(&b, ONE " " ZERO " refs/heads/a");
    expect_bad(&b, MB_EINVAL, "vcs.head");
    add(&b, ZERO " " ONE " refs/heads/a");
    add_first(&b, ZERO " " ONE " refs/heads/b", "x");
    expect_bad(&b, MB_EINVAL, "vcs.head");
    add(&b, ZERO " " ONE " refs/heads/a");
    add(&b, "push-cert");
    expect_bad(&b, MB_EINVAL, "vcs.head");
    add(&b, "push-cert");
    vcs_pkt_flush(&b);
    expect_bad(&b, MB_EINVAL, "vcs.head");
    add(&b, "push-cert");
    add_certificate(&b, cert_options);
    add(&b, ZERO " " ONE " refs/heads/a");
    expect_bad(&b, MB_EINVAL, "vcs.head");
    add(&b, "push-cert");
    add_certificate(&b, "certificate version 0.1\n");
    expect_bad(&b, MB_EINVAL, "pushcert.invalid");
}

static void limits_hold(void **state)
{
    struct mb_buf b = {0}, line = {0};
    char text[128];
    (void)state;
    for (unsigned i = 0; i <= MB_PUSHCERT_UPDATES_MAX; i++) {
        mb_snprintf(text, sizeof text, ZERO " " ONE " refs/heads/%u", i);
        add(&b, text);
    }
    expect_bad(&b, MB_ELIMIT, "vcs.head_large");

    add_first(&b, ZERO " " ONE " refs/heads/a", "push-options");
    vcs_pkt_flush(&b);
    for (unsigned i = 0; i <= MB_PUSHCERT_OPTIONS_MAX; i++)
        add(&b, "a=b");
    expect_bad(&b, MB_ELIMIT, "vcs.head_large");

    for (size_t i = 0; i < 1025; i++)
        mb_buf_add_u8(&line, 'x');
    add_first(&b, ZERO " " ONE " refs/heads/a", "push-options");
    vcs_pkt_flush(&b);
    vcs_pkt_add(&b, mb_bytes(line.data, 1024));
    vcs_pkt_add(&b, mb_buf_bytes(&line));
    expect_bad(&b, MB_ELIMIT, "vcs.head_large");

    /* Of a certificate, and of all together. */
    add(&b, "push-cert");
    for (size_t i = 0; i < MB_PUSHCERT_MAX / 1025 + 1; i++)
        vcs_pkt_add(&b, mb_buf_bytes(&line));
    expect_bad(&b, MB_ELIMIT, "pushcert.too_large");
    for (size_t i = 0; i < VCS_HEAD_MAX / 52 + 1; i++)
        add(&b, "shallow " ONE);
    expect_bad(&b, MB_ELIMIT, "vcs.head_large");
    mb_buf_clear(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pkt_lines),      cmocka_unit_test(a_side_band_is_cut),
        cmocka_unit_test(heads_are_read), cmocka_unit_test(what_is_malformed_is_refused),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
