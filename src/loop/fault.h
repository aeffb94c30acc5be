/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Places at which a test ends the process as kill -9 would: in a build with --enable-faults, and
 * nothing at all in any other.
 *
 * The variable MAGICBIZ_FAULT names a place, NAME or NAME:N for the Nth time. Several names between
 * spaces are reached one after the other; the process ends at the last.
 *
 * And lies that it tells other replicas: the variable MAGICBIZ_LIES names a file with the names of
 * those it tells at present, between spaces or newlines.
 */
#ifndef MB_LOOP_FAULT_H
#define MB_LOOP_FAULT_H

#ifdef MB_FAULTS
#include <stdbool.h>

void mb_fault(const char *name);
bool mb_lie(const char *name);
#define MB_FAULT(name) mb_fault(name)
#define MB_LIE(name)   mb_lie(name)
#else
#define MB_FAULT(name) ((void)0)
#define MB_LIE(name)   0
#endif

#endif
