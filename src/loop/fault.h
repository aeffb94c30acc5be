/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Places at which a test ends the process as kill -9 would: in a build with --enable-faults, and
 * nothing at all in any other.
 *
 * The variable MAGICBIZ_FAULT names a place, NAME or NAME:N for the Nth time. Several names between
 * spaces are reached one after the other; the process ends at the last.
 */
#ifndef MB_LOOP_FAULT_H
#define MB_LOOP_FAULT_H

#ifdef MB_FAULTS
void mb_fault(const char *name);
#define MB_FAULT(name) mb_fault(name)
#else
#define MB_FAULT(name) ((void)0)
#endif

#endif
