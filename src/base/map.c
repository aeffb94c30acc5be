/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A treap: ordered by key, and a heap by priorities that are a hash of the key (Seidel and Aragon,
 * "Randomized search trees", 1996). SHA-256, so that nobody finds keys that unbalance it cheaply;
 * no recursion, so that nobody gains if they do.
 */
#include "config.h"

#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

struct node {
    struct mb_map_item item; /* key points at key below; the value is of its own */
    uint64_t priority;
    struct node *left, *right;
    char key[];
};

struct mb_map {
    struct node *root;
    size_t count;
};

struct mb_map *mb_map_new(void)
{
    return mb_calloc(1, sizeof(struct mb_map));
}

void mb_map_free(struct mb_map *m)
{
    if (m != NULL)
        mb_map_reset(m);
    free(m);
}

static void free_node(struct node *n)
{
    free((void *)(uintptr_t)n->item.value.data);
    free(n);
}

void mb_map_reset(struct mb_map *m)
{
    struct node *n = m->root;
    while (n != NULL) {
        struct node *left = n->left, *right = n->right;
        if (left == NULL) {
            free_node(n);
            n = right;
        } else { /* turn the left child up */
            n->left = left->right;
            left->right = n;
            n = left;
        }
    }
    *m = (struct mb_map){0};
}

size_t mb_map_count(const struct mb_map *m)
{
    return m->count;
}

static struct node *new_node(const char *key)
{
    size_t len = strlen(key);
    struct node *n = mb_calloc(1, sizeof *n + len + 1);
    memcpy(n->key, key, len + 1);
    n->item.key = n->key;
    struct mb_hash h = mb_sha256(key, len);
    struct mb_cursor c = mb_cursor(mb_bytes(h.b, sizeof h.b));
    n->priority = mb_cursor_u64(&c);
    return n;
}

static struct node *find(const struct mb_map *m, const char *key)
{
    struct node *n = m->root;
    while (n != NULL) {
        int order = strcmp(key, n->key);
        if (order == 0)
            break;
        n = order < 0 ? n->left : n->right;
    }
    return n;
}

/* Part the tree into the keys before key and those after it. */
static void split(struct node *tree, const char *key, struct node **before, struct node **after)
{
    while (tree != NULL) {
        if (strcmp(tree->key, key) < 0) {
            *before = tree;
            before = &tree->right;
            tree = tree->right;
        } else {
            *after = tree;
            after = &tree->left;
            tree = tree->left;
        }
    }
    *before = *after = NULL;
}

/* Join two trees, all keys of a being before those of b. */
static struct node *join(struct node *a, struct node *b)
{
    struct node *tree, **place = &tree;
    while (a != NULL && b != NULL) {
        if (a->priority >= b->priority) {
            *place = a;
            place = &a->right;
            a = a->right;
        } else {
            *place = b;
            place = &b->left;
            b = b->left;
        }
    }
    *place = a != NULL ? a : b;
    return tree;
}

static struct node *find_or_insert(struct mb_map *m, const char *key)
{
    struct node *n = find(m, key);
    if (n != NULL)
        return n;
    n = new_node(key);
    struct node **place = &m->root;
    while (*place != NULL && (*place)->priority >= n->priority)
        place = strcmp(key, (*place)->key) < 0 ? &(*place)->left : &(*place)->right;
    split(*place, key, &n->left, &n->right);
    *place = n;
    m->count++;
    return n;
}

static void set_value(struct node *n, void *value_take, size_t len, bool present)
{
    free((void *)(uintptr_t)n->item.value.data);
    n->item.value = mb_bytes(value_take, len);
    n->item.present = present;
}

void mb_map_put(struct mb_map *m, const char *key, const void *value, size_t len)
{
    void *copy = mb_memdup(value, len);
    set_value(find_or_insert(m, key), copy, len, true);
}

void mb_map_mark_deleted(struct mb_map *m, const char *key)
{
    set_value(find_or_insert(m, key), NULL, 0, false);
}

bool mb_map_remove(struct mb_map *m, const char *key)
{
    struct node **place = &m->root, *n;
    while ((n = *place) != NULL) {
        int order = strcmp(key, n->key);
        if (order == 0)
            break;
        place = order < 0 ? &n->left : &n->right;
    }
    if (n == NULL)
        return false;
    *place = join(n->left, n->right);
    free_node(n);
    m->count--;
    return true;
}

const struct mb_map_item *mb_map_get(const struct mb_map *m, const char *key)
{
    struct node *n = find(m, key);
    return n != NULL ? &n->item : NULL;
}

/* The first item whose key is > key, or, if equal, >= key. */
static const struct mb_map_item *first_with(const struct mb_map *m, const char *key, bool equal)
{
    const struct node *best = NULL;
    for (const struct node *n = m->root; n != NULL;) {
        int order = strcmp(n->key, key);
        if (order > 0 || (equal && order == 0)) {
            best = n;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best != NULL ? &best->item : NULL;
}

const struct mb_map_item *mb_map_next(const struct mb_map *m, const char *after)
{
    return first_with(m, after, false);
}

const struct mb_map_item *mb_map_seek(const struct mb_map *m, const char *from)
{
    return first_with(m, from, true);
}
