# SPDX-License-Identifier: GPL-3.0-or-later
# Sourced before lib.sh: builddir becomes a build with --enable-faults: MB_FAULTS_BUILD, builddir, or
# one made for it; plain is the other one, if it is another.
top=${srcdir:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
top=$(cd "$top" && pwd)
has_faults() { # FOLDER
    grep -aqs MAGICBIZ_FAULT "$1/.libs/libmagicbiz.so" "$1/libmagicbiz.la"
}
builddir=${builddir:-$top/build}
if ! has_faults "$builddir"; then
    other=${MB_FAULTS_BUILD:-$builddir/faults}
    mkdir -p "$other"
    ( # each time: programs that are older than the library do not fit it
        cd "$other" || exit 1
        [ -f Makefile ] || "$top/configure" -q --enable-faults CFLAGS='-O1 -g' || exit 1
        make -s -j"$(nproc)"
    ) >"$other/build.log" 2>&1 || { tail -n 20 "$other/build.log"; echo "0 passed, 1 failed"; exit 1; }
    make -s -C "$other" tests/integration/relay || exit 1
    plain=$builddir builddir=$other
fi
export builddir
