/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "merkle/history.h"

#define SIZES 70

/* The leaf inputs, roots and paths that Certificate Transparency's implementations share. */
static const struct {
    const char *input, *root;
} ct[8] = {
    {"", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
    {"\x00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"},
    {"\x10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"},
    {"\x20\x21", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"},
    {"\x30\x31", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"},
    {"\x40\x41\x42\x43", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"},
    {"\x50\x51\x52\x53\x54\x55\x56\x57",
     "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"},
    {"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
     "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"},
};
static const size_t ct_len[8] = {0, 1, 1, 2, 2, 4, 8, 16};

static const char x96[] = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
static const char x5f[] = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
static const char x6b[] = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
static const char xbc[] = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
static const char xca[] = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
static const char xd3[] = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7";
static const char x0e[] = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";

static const struct {
    uint64_t m, n;
    const char *path[4];
} ct_inclusion[] = {{0, 1, {NULL}}, {0, 8, {x96, x5f, x6b}}, {5, 8, {xbc, xca, xd3}}},
  ct_consistency[] = {
      {1, 1, {NULL}}, {1, 8, {x96, x5f, x6b}}, {6, 8, {x0e, xca, xd3}}, {2, 5, {x5f, xbc}}};

/* All complete subtrees of a tree of SIZES leaves, as the store would keep them. */
struct tree {
    struct mb_hash leaves[SIZES], nodes[8][SIZES], roots[SIZES + 1];
};

static void remember(void *arg, unsigned level, uint64_t index, const struct mb_hash *hash)
{
    struct tree *t = arg;
    assert_true(level < 8 && index < SIZES);
    assert_true(mb_hash_is_zero(&t->nodes[level][index]));
    t->nodes[level][index] = *hash;
}

static int lookup(void *self, unsigned level, uint64_t index, struct mb_hash *hash)
{
    struct tree *t = self;
    if (level >= 8 || index >= SIZES || mb_hash_is_zero(&t->nodes[level][index]))
        return MB_ENOENT;
    *hash = t->nodes[level][index];
    return 0;
}

static void ct_tree(struct tree *t)
{
    struct mb_frontier f = {0};
    memset(t, 0, sizeof *t);
    for (size_t i = 0; i < 8; i++) {
        t->leaves[i] = mb_history_leaf(mb_bytes(ct[i].input, ct_len[i]));
        mb_frontier_add(&f, &t->leaves[i], remember, t);
        t->roots[i + 1] = mb_frontier_root(&f);
    }
}

static void assert_hex(const struct mb_hash *h, const char *hex)
{
    char text[MB_HASH_HEX_SIZE];
    mb_hash_hex(h, text);
    assert_string_equal(text, hex);
}

static void test_vectors(void **state)
{
    (void)state;
    static struct tree t;
    ct_tree(&t);
    struct mb_hash empty = mb_history_root_of(NULL, 0), path[MB_HISTORY_PATH_MAX];
    assert_hex(&empty, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (size_t n = 1; n <= 8; n++) {
        struct mb_hash root = mb_history_root_of(t.leaves, n);
        assert_hex(&root, ct[n - 1].root);
        assert_hex(&t.roots[n], ct[n - 1].root);
    }
    const struct mb_history_source src = {&t, lookup};
    for (size_t i = 0; i < sizeof ct_inclusion / sizeof *ct_inclusion; i++) {
        size_t len, want = 0;
        assert_int_equal(
            mb_history_prove_inclusion(&src, ct_inclusion[i].m, ct_inclusion[i].n, path, &len), 0);
        for (; ct_inclusion[i].path[want]; want++)
            assert_hex(&path[want], ct_inclusion[i].path[want]);
        assert_int_equal(len, want);
    }
    for (size_t i = 0; i < sizeof ct_consistency / sizeof *ct_consistency; i++) {
        size_t len, want = 0;
        assert_int_equal(mb_history_prove_consistency(&src, ct_consistency[i].m,
                                                      ct_consistency[i].n, path, &len),
                         0);
        for (; ct_consistency[i].path[want]; want++)
            assert_hex(&path[want], ct_consistency[i].path[want]);
        assert_int_equal(len, want);
    }
}

/* RFC 6962's definitions word for word, with no thought of speed. */
static struct mb_hash naive_mth(const struct mb_hash *d, size_t n)
{
    if (n == 0)
        return mb_sha256("", 0);
    if (n == 1)
        return d[0];
    size_t k = 1;
    while (2 * k < n)
        k *= 2;
    uint8_t text[65] = {1};
    struct mb_hash l = naive_mth(d, k), r = naive_mth(d + k, n - k);
    memcpy(text + 1, l.b, 32);
    memcpy(text + 33, r.b, 32);
    return mb_sha256(text, 65);
}

static size_t naive_path(size_t m, const struct mb_hash *d, size_t n, struct mb_hash *out)
{
    if (n == 1)
        return 0;
    size_t k = 1, len;
    while (2 * k < n)
        k *= 2;
    len = m < k ? naive_path(m, d, k, out) : naive_path(m - k, d + k, n - k, out);
    out[len] = m < k ? naive_mth(d + k, n - k) : naive_mth(d, k);
    return len + 1;
}

static size_t naive_subproof(size_t m, const struct mb_hash *d, size_t n, bool b,
                             struct mb_hash *out)
{
    if (m == n) {
        if (b)
            return 0;
        out[0] = naive_mth(d, n);
        return 1;
    }
    size_t k = 1, len;
    while (2 * k < n)
        k *= 2;
    len =
        m <= k ? naive_subproof(m, d, k, b, out) : naive_subproof(m - k, d + k, n - k, false, out);
    out[len] = m <= k ? naive_mth(d + k, n - k) : naive_mth(d, k);
    return len + 1;
}

static void grow(struct tree *t)
{
    struct mb_frontier f = {0};
    memset(t, 0, sizeof *t);
    t->roots[0] = mb_frontier_root(&f);
    for (uint8_t i = 0; i < SIZES; i++) {
        t->leaves[i] = mb_history_leaf(mb_bytes(&i, 1));
        mb_frontier_add(&f, &t->leaves[i], remember, t);
        t->roots[i + 1] = mb_frontier_root(&f);
        assert_int_equal(f.count, __builtin_popcount(i + 1u));
    }
}

static void test_roots(void **state)
{
    (void)state;
    static struct tree t;
    grow(&t);
    const struct mb_history_source src = {&t, lookup};
    for (size_t n = 0; n <= SIZES; n++) {
        struct mb_hash naive = naive_mth(t.leaves, n), fast = mb_history_root_of(t.leaves, n), got;
        assert_true(mb_hash_equal(&naive, &fast));
        assert_true(mb_hash_equal(&naive, &t.roots[n]));
        assert_int_equal(mb_history_root(&src, n, &got), 0);
        assert_true(mb_hash_equal(&naive, &got));
    }
    struct mb_hash got;
    assert_int_equal(mb_history_root(&src, 2 * SIZES, &got), MB_ENOENT);
}

/* Each way to spoil a path must be seen. Calls check for the path whole and spoiled. */
static void spoil(struct mb_hash *path, size_t len,
                  bool (*check)(void *arg, const struct mb_hash *path, size_t len), void *arg)
{
    assert_true(check(arg, path, len));
    for (size_t i = 0; i < len; i++) {
        path[i].b[i % 32] ^= 0x40;
        assert_false(check(arg, path, len));
        path[i].b[i % 32] ^= 0x40;
    }
    if (len > 0) {
        assert_false(check(arg, path, len - 1));
        assert_false(check(arg, path + 1, len - 1));
    }
    path[len] = path[len ? len - 1 : 0];
    assert_false(check(arg, path, len + 1));
}

struct claim {
    const struct tree *t;
    size_t m, n;
};

static bool check_inclusion(void *arg, const struct mb_hash *path, size_t len)
{
    const struct claim *c = arg;
    return mb_history_verify_inclusion(&c->t->leaves[c->m], c->m, c->n, path, len,
                                       &c->t->roots[c->n]);
}

static void test_inclusion(void **state)
{
    (void)state;
    static struct tree t;
    grow(&t);
    const struct mb_history_source src = {&t, lookup};
    struct mb_hash path[MB_HISTORY_PATH_MAX + 1], naive[MB_HISTORY_PATH_MAX], other[64];
    size_t len;
    for (size_t n = 1; n <= SIZES; n++)
        for (size_t m = 0; m < n; m++) {
            size_t want = naive_path(m, t.leaves, n, naive);
            memset(path, 0, sizeof path);
            assert_int_equal(mb_history_prove_inclusion(&src, m, n, path, &len), 0);
            assert_int_equal(len, want);
            assert_memory_equal(path, naive, want * 32);
            assert_int_equal(mb_history_path_of(t.leaves, n, m, other), want);
            assert_memory_equal(other, naive, want * 32);
            struct claim c = {&t, m, n};
            spoil(path, len, check_inclusion, &c);
            const struct mb_hash *leaf = &t.leaves[m], *root = &t.roots[n];
            assert_false(mb_history_verify_inclusion(leaf, n, n, path, len, root));
            assert_false(mb_history_verify_inclusion(leaf, m ^ 1, n, path, len, root) && n > 1);
            assert_false(mb_history_verify_inclusion(root, m, n, path, len, leaf) && n > 1);
        }
    assert_int_equal(mb_history_prove_inclusion(&src, 5, 5, path, &len), MB_EINVAL);
    assert_int_equal(mb_history_prove_inclusion(&src, 0, 2 * SIZES, path, &len), MB_ENOENT);
}

static bool check_consistency(void *arg, const struct mb_hash *path, size_t len)
{
    const struct claim *c = arg;
    return mb_history_verify_consistency(c->m, &c->t->roots[c->m], c->n, &c->t->roots[c->n], path,
                                         len);
}

static void test_consistency(void **state)
{
    (void)state;
    static struct tree t;
    grow(&t);
    const struct mb_history_source src = {&t, lookup};
    struct mb_hash path[MB_HISTORY_PATH_MAX + 1], naive[MB_HISTORY_PATH_MAX];
    size_t len;
    for (size_t n = 0; n <= SIZES; n++)
        for (size_t m = 0; m <= n; m++) {
            size_t want = m == 0 ? 0 : naive_subproof(m, t.leaves, n, true, naive);
            memset(path, 0, sizeof path);
            assert_int_equal(mb_history_prove_consistency(&src, m, n, path, &len), 0);
            assert_int_equal(len, want);
            assert_memory_equal(path, naive, want * 32);
            struct claim c = {&t, m, n};
            spoil(path, len, check_consistency, &c);
            const struct mb_hash *rm = &t.roots[m], *rn = &t.roots[n];
            if (m == n)
                continue;
            assert_false(mb_history_verify_consistency(n, rn, m, rm, path, len));
            assert_false(mb_history_verify_consistency(m, rn, n, rn, path, len));
            assert_false(mb_history_verify_consistency(m, rm, n, rm, path, len) && m > 0);
        }
    assert_int_equal(mb_history_prove_consistency(&src, 6, 5, path, &len), MB_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_roots),
        cmocka_unit_test(test_inclusion),
        cmocka_unit_test(test_consistency),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
