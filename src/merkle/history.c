/* SPDX-License-Identifier: GPL-3.0-or-later */
/* RFC 6962, section 2.1; verification as in RFC 9162, sections 2.1.3.2 and 2.1.4.2. */
#include "merkle/history.h"

#include <string.h>

struct mb_hash mb_history_leaf(struct mb_bytes input)
{
    static const uint8_t zero = 0x00;
    const struct mb_bytes parts[2] = {{&zero, 1}, input};
    return mb_sha256_parts(parts, 2);
}

struct mb_hash mb_history_node(const struct mb_hash *l, const struct mb_hash *r)
{
    uint8_t text[65];
    text[0] = 0x01;
    memcpy(text + 1, l->b, 32);
    memcpy(text + 33, r->b, 32);
    return mb_sha256(text, sizeof text);
}

/* The largest power of two smaller than n; n >= 2. */
static uint64_t split(uint64_t n)
{
    return UINT64_C(1) << (63 - __builtin_clzll(n - 1));
}

struct mb_hash mb_history_root_of(const struct mb_hash *leaves, size_t count)
{
    if (count == 0)
        return mb_sha256("", 0);
    if (count == 1)
        return leaves[0];
    size_t k = (size_t)split(count);
    struct mb_hash l = mb_history_root_of(leaves, k);
    struct mb_hash r = mb_history_root_of(leaves + k, count - k);
    return mb_history_node(&l, &r);
}

size_t mb_history_path_of(const struct mb_hash *leaves, size_t count, size_t m,
                          struct mb_hash *path)
{
    if (m >= count || count == 1)
        return 0;
    size_t k = (size_t)split(count), n;
    if (m < k) {
        n = mb_history_path_of(leaves, k, m, path);
        path[n] = mb_history_root_of(leaves + k, count - k);
    } else {
        n = mb_history_path_of(leaves + k, count - k, m - k, path);
        path[n] = mb_history_root_of(leaves, k);
    }
    return n + 1;
}

void mb_frontier_add(struct mb_frontier *f, const struct mb_hash *leaf, mb_history_node_fn *node,
                     void *arg)
{
    struct mb_hash hash = *leaf;
    unsigned level = 0;
    if (node)
        node(arg, 0, f->size, &hash);
    for (uint64_t rest = f->size; rest & 1; rest >>= 1) {
        hash = mb_history_node(&f->peaks[--f->count], &hash);
        level++;
        if (node)
            node(arg, level, f->size >> level, &hash);
    }
    f->peaks[f->count++] = hash;
    f->size++;
}

struct mb_hash mb_frontier_root(const struct mb_frontier *f)
{
    if (f->count == 0)
        return mb_sha256("", 0);
    struct mb_hash root = f->peaks[f->count - 1];
    for (unsigned i = f->count - 1; i > 0; i--)
        root = mb_history_node(&f->peaks[i - 1], &root);
    return root;
}

/* MTH(D[from:from+n]), n >= 1, where from is a multiple of the smallest power of two >= n: the
 * complete subtrees below it are then stored ones. */
static int range_root(const struct mb_history_source *src, uint64_t from, uint64_t n,
                      struct mb_hash *root)
{
    if ((n & (n - 1)) == 0) {
        unsigned level = (unsigned)__builtin_ctzll(n);
        return src->get(src->self, level, from >> level, root);
    }
    uint64_t k = split(n);
    struct mb_hash l, r;
    int rc = range_root(src, from, k, &l);
    if (rc == 0)
        rc = range_root(src, from + k, n - k, &r);
    if (rc == 0)
        *root = mb_history_node(&l, &r);
    return rc;
}

int mb_history_root(const struct mb_history_source *src, uint64_t n, struct mb_hash *root)
{
    if (n > 0)
        return range_root(src, 0, n, root);
    *root = mb_sha256("", 0);
    return 0;
}

static int inclusion(const struct mb_history_source *src, uint64_t from, uint64_t m, uint64_t n,
                     struct mb_hash *path, size_t *len)
{
    if (n == 1)
        return 0;
    uint64_t k = split(n);
    bool left = m < k;
    int rc = left ? inclusion(src, from, m, k, path, len)
                  : inclusion(src, from + k, m - k, n - k, path, len);
    if (rc)
        return rc;
    return left ? range_root(src, from + k, n - k, &path[(*len)++])
                : range_root(src, from, k, &path[(*len)++]);
}

int mb_history_prove_inclusion(const struct mb_history_source *src, uint64_t m, uint64_t n,
                               struct mb_hash path[MB_HISTORY_PATH_MAX], size_t *path_len)
{
    *path_len = 0;
    if (m >= n)
        return MB_EINVAL;
    return inclusion(src, 0, m, n, path, path_len);
}

/* SUBPROOF(m, D[from:from+n], whole) */
static int subproof(const struct mb_history_source *src, uint64_t from, uint64_t m, uint64_t n,
                    bool whole, struct mb_hash *path, size_t *len)
{
    if (m == n)
        return whole ? 0 : range_root(src, from, n, &path[(*len)++]);
    uint64_t k = split(n);
    bool left = m <= k;
    int rc = left ? subproof(src, from, m, k, whole, path, len)
                  : subproof(src, from + k, m - k, n - k, false, path, len);
    if (rc)
        return rc;
    return left ? range_root(src, from + k, n - k, &path[(*len)++])
                : range_root(src, from, k, &path[(*len)++]);
}

int mb_history_prove_consistency(const struct mb_history_source *src, uint64_t m, uint64_t n,
                                 struct mb_hash path[MB_HISTORY_PATH_MAX], size_t *path_len)
{
    *path_len = 0;
    if (m > n)
        return MB_EINVAL;
    if (m == 0 || m == n)
        return 0;
    return subproof(src, 0, m, n, true, path, path_len);
}

bool mb_history_verify_inclusion(const struct mb_hash *leaf, uint64_t m, uint64_t n,
                                 const struct mb_hash *path, size_t path_len,
                                 const struct mb_hash *root)
{
    if (m >= n)
        return false;
    uint64_t fn = m, sn = n - 1;
    struct mb_hash r = *leaf;
    for (size_t i = 0; i < path_len; i++) {
        if (sn == 0)
            return false;
        if ((fn & 1) || fn == sn) {
            r = mb_history_node(&path[i], &r);
            while (!(fn & 1) && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            r = mb_history_node(&r, &path[i]);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && mb_hash_equal(&r, root);
}

bool mb_history_verify_consistency(uint64_t m, const struct mb_hash *root_m, uint64_t n,
                                   const struct mb_hash *root_n, const struct mb_hash *path,
                                   size_t path_len)
{
    if (m > n)
        return false;
    if (m == n)
        return path_len == 0 && mb_hash_equal(root_m, root_n);
    if (m == 0) {
        struct mb_hash empty = mb_sha256("", 0);
        return path_len == 0 && mb_hash_equal(root_m, &empty);
    }

    /* A first tree that is a complete subtree is its own first path element. */
    bool complete = (m & (m - 1)) == 0;
    if (!complete && path_len == 0)
        return false;
    uint64_t fn = m - 1, sn = n - 1;
    while (fn & 1) {
        fn >>= 1;
        sn >>= 1;
    }
    struct mb_hash fr = complete ? *root_m : path[0], sr = fr;
    for (size_t i = complete ? 0 : 1; i < path_len; i++) {
        if (sn == 0)
            return false;
        if ((fn & 1) || fn == sn) {
            fr = mb_history_node(&path[i], &fr);
            sr = mb_history_node(&path[i], &sr);
            while (!(fn & 1) && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            sr = mb_history_node(&sr, &path[i]);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && mb_hash_equal(&fr, root_m) && mb_hash_equal(&sr, root_n);
}
