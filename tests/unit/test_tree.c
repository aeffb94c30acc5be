/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/encode.h"
#include "base/map.h"
#include "merkle/tree.h"

/* Pages in memory, by "tree/hex of id". */
static char *page_name(const char *tree, struct mb_bytes id)
{
    struct mb_buf name = {0};
    assert_true(id.len <= 40);
    mb_buf_addf(&name, "%s/", tree);
    mb_hex_encode(&name, id.data, id.len);
    return mb_buf_take_text(&name);
}

static int page_load(void *self, const char *tree, struct mb_bytes id, struct mb_buf *page)
{
    char *name = page_name(tree, id);
    const struct mb_map_item *item = mb_map_get(self, name);
    free(name);
    if (!item)
        return 0;
    mb_buf_add_bytes(page, item->value);
    return 1;
}

static int page_save(void *self, const char *tree, struct mb_bytes id, struct mb_bytes page)
{
    char *name = page_name(tree, id);
    if (page.len)
        mb_map_put(self, name, page.data, page.len);
    else
        assert_true(mb_map_remove(self, name)); /* only what is there is removed */
    free(name);
    return 0;
}

static uint64_t rng = 1;

static uint64_t next(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng * UINT64_C(0x2545F4914F6CDD1D);
}

/* The protocol's definition word for word: S0 and S1 are copied out, level by level. */
struct pair {
    struct mb_hash k, v;
};

static bool bit(const struct mb_hash *k, unsigned d)
{
    return (k->b[d / 8] & (1u << (7 - d % 8))) != 0;
}

static size_t part_of(const struct pair *s, size_t n, unsigned d, bool b, struct pair *out)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (bit(&s[i].k, d) == b)
            out[m++] = s[i];
    return m;
}

static struct mb_hash tagged(uint8_t tag, const struct mb_hash *a, const struct mb_hash *b)
{
    const struct mb_bytes parts[3] = {{&tag, 1}, {a->b, 32}, {b->b, 32}};
    return mb_sha256_parts(parts, 3);
}

static struct mb_hash naive_node(const struct pair *s, size_t n, unsigned d)
{
    if (n == 0)
        return mb_hash_zero;
    if (n == 1)
        return tagged(0, &s[0].k, &s[0].v);
    struct pair *half = mb_alloc(n * sizeof *half);
    struct mb_hash l = naive_node(half, part_of(s, n, d, false, half), d + 1);
    struct mb_hash r = naive_node(half, part_of(s, n, d, true, half), d + 1);
    free(half);
    return tagged(1, &l, &r);
}

/* The proof's part, from the definition. */
static void naive_part(const struct pair *all, size_t n, const struct mb_hash *k,
                       struct mb_buf *out)
{
    struct pair *s = mb_memdup(all, n * sizeof *s + 1), *other = mb_alloc(n * sizeof *other + 1);
    struct mb_buf siblings = {0};
    uint8_t bitmap[32] = {0};
    unsigned d = 0;
    for (; n > 1; d++) {
        size_t m = part_of(s, n, d, !bit(k, d), other);
        struct mb_hash h = naive_node(other, m, d + 1);
        if (m > 0) {
            bitmap[d / 8] |= (uint8_t)(128 >> d % 8);
            mb_buf_add(&siblings, h.b, 32);
        }
        n = part_of(s, n, d, bit(k, d), s);
    }
    mb_buf_add_u16(out, (uint16_t)d);
    mb_buf_add(out, bitmap, (d + 7) / 8);
    mb_buf_add_bytes(out, mb_buf_bytes(&siblings));
    mb_buf_add_u8(out, n == 0 ? 2 : memcmp(&s[0].k, k, 32) == 0 ? 0 : 1);
    if (n == 1 && memcmp(&s[0].k, k, 32) != 0)
        mb_buf_add(out, &s[0], 64);
    mb_buf_clear(&siblings);
    free(s);
    free(other);
}

struct model {
    struct mb_map *pages;
    struct mb_tree_io io;
    struct pair pairs[6000];
    size_t count;
    struct mb_hash root;
};

static void model_init(struct model *m)
{
    memset(m, 0, sizeof *m);
    m->pages = mb_map_new();
    m->io = (struct mb_tree_io){m->pages, page_load, page_save};
}

static void apply(struct model *m, struct mb_tree_change *ch, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = 0;
        while (at < m->count && memcmp(&m->pairs[at].k, &ch[i].key_hash, 32) != 0)
            at++;
        if (ch[i].present) {
            m->pairs[at] = (struct pair){ch[i].key_hash, ch[i].value_hash};
            m->count += at == m->count;
        } else if (at < m->count) {
            m->pairs[at] = m->pairs[--m->count];
        }
    }
    struct mb_error error;
    assert_int_equal(mb_tree_update(&m->io, "t", ch, n, &m->root, &error), 0);
    struct mb_hash naive = naive_node(m->pairs, m->count, 0), root;
    assert_memory_equal(&m->root, &naive, 32);
    assert_int_equal(mb_tree_root(&m->io, "t", &root, &error), 0);
    assert_memory_equal(&root, &naive, 32);
    assert_int_equal(mb_map_count(m->pages) == 0, m->count == 0);
}

static void assert_part(struct model *m, const struct mb_hash *k)
{
    struct mb_buf is = {0}, want = {0};
    assert_int_equal(mb_tree_prove(&m->io, "t", k, &is, NULL), 0);
    naive_part(m->pairs, m->count, k, &want);
    assert_int_equal(is.len, want.len);
    assert_memory_equal(is.data, want.data, is.len);
    mb_buf_clear(&is);
    mb_buf_clear(&want);
}

struct counted {
    size_t count;
    struct mb_hash last;
};

static int count_leaf(void *arg, const struct mb_hash *k, const struct mb_hash *v)
{
    struct counted *c = arg;
    (void)v;
    if (c->count++ > 0)
        assert_true(mb_hash_compare(&c->last, k) < 0);
    c->last = *k;
    return 0;
}

static void assert_walk(struct model *m)
{
    struct counted c = {0};
    struct mb_hash root;
    assert_int_equal(mb_tree_walk(&m->io, "t", count_leaf, &c, &root, NULL), 0);
    assert_int_equal(c.count, m->count);
    assert_memory_equal(&root, &m->root, 32);
}

/* Key hashes of a few shapes: free, or close to one another down to a random depth. */
static struct mb_hash some_key(unsigned shape)
{
    uint64_t n = next() % 2000;
    struct mb_hash k = mb_sha256(&n, sizeof n);
    if (shape == 0)
        return k;
    struct mb_hash base = mb_sha256("base", 4);
    unsigned depth = shape == 1 ? 250 : (unsigned)(n % 256);
    for (unsigned d = 0; d < depth; d++) {
        uint8_t mask = (uint8_t)(128 >> d % 8);
        k.b[d / 8] = (uint8_t)((k.b[d / 8] & ~mask) | (base.b[d / 8] & mask));
    }
    return k;
}

static void run_sequence(unsigned shape, uint64_t seed)
{
    static struct model m;
    static struct mb_tree_change ch[300];
    model_init(&m);
    rng = seed;
    for (unsigned round = 0; round < 80; round++) {
        size_t n = 0, wanted = 1 + next() % (round % 7 == 0 ? 300 : 12);
        /* Grow for a while, shrink for a while, and empty it at last. */
        unsigned deletes = round / 20 % 2 ? 80 : 20;
        for (; n < wanted; n++) {
            ch[n].key_hash = some_key(shape);
            ch[n].present = next() % 100 >= deletes;
            uint64_t v = next() % 5;
            ch[n].value_hash = mb_sha256(&v, sizeof v);
            for (size_t i = 0; i < n; i++)
                if (memcmp(&ch[i].key_hash, &ch[n].key_hash, 32) == 0) {
                    n--;
                    wanted--;
                    break;
                }
        }
        apply(&m, ch, n);
        for (unsigned i = 0; i < 6; i++) {
            struct mb_hash k = some_key(shape);
            assert_part(&m, &k);
            if (m.count > 0)
                assert_part(&m, &m.pairs[next() % m.count].k);
        }
        assert_walk(&m);
    }
    while (m.count > 0) {
        size_t n = m.count < 150 ? m.count : 150;
        for (size_t i = 0; i < n; i++)
            ch[i] = (struct mb_tree_change){.key_hash = m.pairs[i].k};
        apply(&m, ch, n);
    }
    assert_walk(&m);
    mb_map_free(m.pages);
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++)
        run_sequence(0, seed);
}

static void test_close_keys(void **state)
{
    (void)state;
    for (uint64_t seed = 11; seed <= 13; seed++) {
        run_sequence(1, seed);
        run_sequence(2, seed);
    }
}

/* Two keys that differ in the last bit alone: the longest proof there is. */
static void test_longest(void **state)
{
    (void)state;
    static struct model m;
    model_init(&m);
    struct mb_tree_change ch[42] = {0};
    for (unsigned i = 0; i < 42; i++) {
        ch[i].key_hash = mb_sha256("k", 1);
        ch[i].value_hash = mb_sha256(&i, sizeof i);
        ch[i].present = true;
        if (i >= 1)
            ch[i].key_hash.b[31] ^= (uint8_t)i;
    }
    apply(&m, ch, 2);
    struct mb_buf part = {0};
    assert_int_equal(mb_tree_prove(&m.io, "t", &ch[0].key_hash, &part, NULL), 0);
    assert_int_equal(part.len, 2 + 32 + 32 + 1);
    assert_part(&m, &ch[0].key_hash);
    apply(&m, ch, 42);
    for (unsigned i = 0; i < 42; i++)
        assert_part(&m, &ch[i].key_hash);
    assert_walk(&m);
    mb_buf_clear(&part);
    mb_map_free(m.pages);
}

static void test_root_of(void **state)
{
    (void)state;
    struct pair pairs[50];
    struct mb_tree_change ch[50];
    for (size_t n = 0; n <= 50; n++) {
        for (uint8_t i = 0; i < n; i++) {
            pairs[i] = (struct pair){mb_sha256(&i, 1), mb_sha256(&i, 0)};
            ch[i] = (struct mb_tree_change){pairs[i].k, pairs[i].v, true};
            for (size_t j = i; j > 0 && memcmp(&ch[j - 1], &ch[j], 32) > 0; j--) {
                struct mb_tree_change t = ch[j];
                ch[j] = ch[j - 1];
                ch[j - 1] = t;
            }
        }
        struct mb_hash is = mb_tree_root_of(ch, n), want = naive_node(pairs, n, 0);
        assert_memory_equal(&is, &want, 32);
    }
}

/* A whole state of three modules, and what its proofs say. */
static struct mb_map *state_pages(struct mb_hash *state_root, unsigned keys)
{
    static const char *const names[3] = {"core", "org", "vcs"};
    struct mb_map *pages = mb_map_new();
    struct mb_tree_io io = {pages, page_load, page_save};
    struct mb_tree_change modules[3];
    struct mb_tree_change *ch = mb_alloc(keys * sizeof *ch);
    for (unsigned m = 0; m < 3; m++) {
        for (unsigned i = 0; i < keys; i++) {
            char key[40];
            assert_int_equal(mb_snprintf(key, sizeof key, "%s/%u", names[m], i), 0);
            ch[i] = (struct mb_tree_change){mb_sha256(key, strlen(key)), mb_sha256("1", 1), true};
        }
        modules[m] = (struct mb_tree_change){mb_sha256(names[m], strlen(names[m])), {{0}}, true};
        assert_int_equal(mb_tree_update(&io, names[m], ch, keys, &modules[m].value_hash, NULL), 0);
    }
    assert_int_equal(mb_tree_update(&io, "", modules, 3, state_root, NULL), 0);
    free(ch);
    return pages;
}

static const struct {
    const char *key, *text;
    bool present;
} cases[] = {
    {"core/0", "1", true},    {"vcs/17", "1", true},  {"org/199", "1", true},
    {"vcs/999", NULL, false}, {"vcs", NULL, false},   {"cors/0", NULL, false},
    {"x", NULL, false},       {"core/", NULL, false},
};

static void test_state_proof(void **state)
{
    (void)state;
    struct mb_hash root, wrong = mb_sha256("x", 1);
    struct mb_map *pages = state_pages(&root, 200);
    struct mb_tree_io io = {pages, page_load, page_save};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_buf proof = {0};
        struct mb_error error;
        const char *key = cases[i].key;
        struct mb_bytes text = cases[i].present ? mb_bytes_of("1") : mb_bytes(NULL, 0);
        assert_int_equal(mb_state_prove(&io, key, &proof, &error), 0);
        struct mb_bytes whole = mb_buf_bytes(&proof);
        assert_int_equal(mb_state_verify(whole, &root, key, text, &error), 0);

        struct mb_bytes lie = cases[i].present ? mb_bytes(NULL, 0) : mb_bytes_of("1");
        assert_int_equal(mb_state_verify(whole, &root, key, lie, &error), MB_EPROOF);
        assert_string_equal(error.code, "proof.false");
        assert_int_equal(mb_state_verify(whole, &root, key, mb_bytes_of("2"), NULL), MB_EPROOF);
        assert_int_equal(mb_state_verify(whole, &wrong, key, text, NULL), MB_EPROOF);
        assert_int_equal(mb_state_verify(whole, &root, "core/5", mb_bytes_of("1"), NULL),
                         MB_EPROOF);
        for (size_t n = 0; n < proof.len; n++)
            assert_int_equal(mb_state_verify(mb_bytes(proof.data, n), &root, key, text, &error),
                             MB_EINVAL);
        for (size_t n = 0; n < proof.len * 8; n++) {
            proof.data[n / 8] ^= (uint8_t)(1 << n % 8);
            assert_int_not_equal(mb_state_verify(whole, &root, key, text, NULL), 0);
            proof.data[n / 8] ^= (uint8_t)(1 << n % 8);
        }
        mb_buf_add_u8(&proof, 0);
        assert_int_equal(mb_state_verify(mb_buf_bytes(&proof), &root, key, text, &error),
                         MB_EINVAL);
        assert_string_equal(error.code, "proof.invalid");
        mb_buf_clear(&proof);
    }
    mb_map_free(pages);
}

/* An empty state: nothing is there, and that can be proved. */
static void test_empty_state(void **state)
{
    (void)state;
    struct mb_map *pages = mb_map_new();
    struct mb_tree_io io = {pages, page_load, page_save};
    struct mb_buf proof = {0};
    assert_int_equal(mb_state_prove(&io, "a/b", &proof, NULL), 0);
    assert_int_equal(proof.len, 3);
    assert_memory_equal(proof.data, "\0\0\2", 3);
    assert_int_equal(
        mb_state_verify(mb_buf_bytes(&proof), &mb_hash_zero, "a/b", mb_bytes(NULL, 0), NULL), 0);
    mb_buf_clear(&proof);
    mb_map_free(pages);
}

/* Another leaf proves absence only if it lies on the way: one from elsewhere must not. */
static void test_foreign_leaf(void **state)
{
    (void)state;
    struct mb_hash key = mb_sha256("a/b", 3), other = key, value = mb_sha256("1", 1), root;
    struct mb_hash module = mb_sha256("a", 1), sibling = mb_sha256("s", 1);
    for (unsigned flip = 0; flip < 2; flip++) {
        /* The other leaf is below bit 0 of key, or (false claim) beside it. */
        other.b[31] ^= 1;
        if (flip)
            other.b[0] ^= 0x80;
        struct mb_hash leaf = tagged(0, &other, &value);
        root = bit(&key, 0) ? tagged(1, &sibling, &leaf) : tagged(1, &leaf, &sibling);
        root = tagged(0, &module, &root);
        struct mb_buf proof = {0};
        mb_buf_add(&proof, "\0\0\0\0\1\x80", 6);
        mb_buf_add(&proof, sibling.b, 32);
        mb_buf_add_u8(&proof, 1);
        mb_buf_add(&proof, other.b, 32);
        mb_buf_add(&proof, value.b, 32);
        assert_int_equal(
            mb_state_verify(mb_buf_bytes(&proof), &root, "a/b", mb_bytes(NULL, 0), NULL),
            flip ? MB_EPROOF : 0);
        mb_buf_clear(&proof);
    }
}

/* Pages that make no sense are found, whoever reads them. */
static void test_damage(void **state)
{
    (void)state;
    struct mb_hash root, is;
    struct mb_map *pages = state_pages(&root, 200);
    struct mb_tree_io io = {pages, page_load, page_save};
    struct counted c;
    unsigned seen = 0;
    for (const struct mb_map_item *p = mb_map_next(pages, ""); p; p = mb_map_next(pages, p->key)) {
        if (strncmp(p->key, "core/", 5) != 0)
            continue;
        char *name = mb_strdup(p->key);
        struct mb_buf good = {0};
        mb_buf_add_bytes(&good, p->value);
        for (size_t n = 0; n < good.len; n += 7) {
            good.data[n] ^= 0x10;
            mb_map_put(pages, name, good.data, good.len);
            good.data[n] ^= 0x10;
            c = (struct counted){0};
            int rc = mb_tree_walk(&io, "core", count_leaf, &c, &is, NULL);
            struct mb_error error;
            /* The root page's own hash is compared by whoever knows the root. */
            if (rc == 0)
                assert_int_not_equal(mb_hash_compare(&is, &root), 0);
            else
                assert_int_equal(rc, MB_ECORRUPT);
            for (unsigned k = 0; k < 200; k += 50) {
                char key[20];
                struct mb_buf proof = {0};
                assert_int_equal(mb_snprintf(key, sizeof key, "core/%u", k), 0);
                rc = mb_state_prove(&io, key, &proof, &error);
                if (rc)
                    assert_string_equal(error.code, "state.corrupt");
                mb_buf_clear(&proof);
            }
            seen++;
        }
        mb_map_remove(pages, name);
        c = (struct counted){0};
        if (strcmp(name, "core/00") != 0)
            assert_int_equal(mb_tree_walk(&io, "core", count_leaf, &c, &is, NULL), MB_ECORRUPT);
        mb_map_put(pages, name, good.data, good.len);
        p = mb_map_get(pages, name);
        free(name);
        mb_buf_clear(&good);
    }
    assert_true(seen > 100);
    mb_map_free(pages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),       cmocka_unit_test(test_close_keys),
        cmocka_unit_test(test_longest),      cmocka_unit_test(test_root_of),
        cmocka_unit_test(test_state_proof),  cmocka_unit_test(test_empty_state),
        cmocka_unit_test(test_foreign_leaf), cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
