/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_BENCH_FILLER_H
#define TESTS_BENCH_FILLER_H

#define FILLER_KEYS 1000                 /* of one command */
#define FILLER_KEY  "filler/%010" PRIu64 /* of the n-th, from 0 */

#endif
