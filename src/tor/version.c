/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "tor/internal.h"

/* What is wrong with releases before the one named, worst first; from tor's ChangeLog of these
 * releases. Only what matters to onion services and their clients is here. */
static const struct {
    unsigned fixed[4];
    const char *reason;
} troubles[] = {
    {{0, 4, 8, 9}, "its onion services can be crashed from afar (TROVE-2023-006)"},
    {{0, 4, 9, 9},
     "its onion services with proof-of-work defence can be crashed (TROVE-2026-020), and a service "
     "can crash its clients (TROVE-2026-013)"},
    {{0, 4, 9, 11}, "a rendezvous point can impersonate the onion service (bug 41297)"},
    {{0, 4, 9, 13},
     "streams that must be kept apart can share a circuit (TROVE-2026-053), and a rendezvous "
     "circuit may be built twice (TROVE-2026-058)"},
    {{0, 4, 9, 14},
     "each connection to an onion service on a Unix socket leaks memory (bug 41434), and relays "
     "unfit for it serve in onion circuits (TROVE-2026-067)"},
};

static int compare(const unsigned a[4], const unsigned b[4])
{
    for (int i = 0; i < 4; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

bool tor_version_too_old(const unsigned version[4])
{
    return compare(version, (const unsigned[4]){0, 4, 8, 0}) < 0;
}

const char *tor_version_trouble(const unsigned version[4], char fixed[32])
{
    for (size_t i = 0; i < sizeof troubles / sizeof *troubles; i++) {
        const unsigned *f = troubles[i].fixed;
        if (compare(version, f) >= 0)
            continue;
        mb_snprintf(fixed, 32, "%u.%u.%u.%u", f[0], f[1], f[2], f[3]);
        return troubles[i].reason;
    }
    return NULL;
}
