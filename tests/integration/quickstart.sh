#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The main job as the README promises it, from a clean copy of the sources to the audit.
. "$(dirname "$0")/lib.sh"
if git -C "$top" rev-parse --git-dir >/dev/null 2>&1; then
    git -c safe.directory='*' clone -q --no-local "$top" "$work/clean"
else
    mkdir "$work/clean"
    (cd "$top" && tar cf - --exclude=./build* --exclude=./_build .) | tar xf - -C "$work/clean"
fi
unset LD_LIBRARY_PATH MAGICBIZ_MODULE_DIR MAGICBIZ_TESTNET MAGICBIZ_TORRC MAGICBIZ_SOCKS
start quickstart timeout --kill-after=10 600 "$work/clean/contrib/quickstart"
wait "${pids[quickstart]}"
ok $? 'contrib/quickstart from a clean copy' "$work/quickstart.err"
unset 'pids[quickstart]'
t 'the clone has what was pushed' grep -qE '^carol has [0-9a-f]{40}: [0-9]+ commits$' "$work/quickstart.out"
t 'the whole ledger holds' grep -qE '^everything holds up to slot [0-9]+: [0-9]+ blocks, [2-9][0-9]* commands' "$work/quickstart.out"
finish
