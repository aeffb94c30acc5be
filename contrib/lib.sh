# SPDX-License-Identifier: GPL-3.0-or-later
# What quickstart, check and the tests share; sourced by bash.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '\n== %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# need_packages KIND…: install what contrib/packages lists for these kinds and is missing.
need_packages() {
    local kind missing=() name sudo=
    for kind; do
        while read -r name; do
            dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' ||
                missing+=("$name")
        done < <(awk -v kind="$kind" '$1 == kind { print $2 }' "$top/contrib/packages")
    done
    [ ${#missing[@]} -eq 0 ] && return
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    if [ -n "$sudo" ] && ! command -v sudo >/dev/null; then
        die "these packages are missing, and there is neither root nor sudo to install them:
  apt-get install ${missing[*]}"
    fi
    say "installing ${#missing[@]} packages"
    $sudo apt-get update -q >/dev/null || die "apt-get update failed: is Debian's mirror reachable?"
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends \
        "${missing[@]}" >/dev/null || die "cannot install: ${missing[*]}"
}

# build DIR [configure options…]: out of tree; quiet unless it fails.
build() {
    local dir=$1
    shift
    [ -x "$top/configure" ] && [ "$top/configure" -nt "$top/configure.ac" ] &&
        [ "$top/Makefile.in" -nt "$top/Makefile.am" ] ||
        (cd "$top" && autoreconf -fi) >"$dir.log" 2>&1 || { tail -30 "$dir.log" >&2; die "autoreconf failed"; }
    mkdir -p "$dir"
    (
        cd "$dir"
        [ -f Makefile ] || "$top/configure" -q "$@"
        make -s -j"$(nproc)"
    ) >>"$dir.log" 2>&1 || { tail -40 "$dir.log" >&2; die "the build failed: $dir.log"; }
}

# wait_for SECONDS COMMAND…: until it succeeds.
wait_for() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $until ] || return 1
        sleep 0.2
    done
}
