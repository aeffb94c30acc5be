#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A clone over the private Tor network beside a raw download of the same pack through the same onion
# service: lines "name value unit". usage: tests/bench/clone-tor.sh [MEGABYTES]   (200)
. "$(dirname "${BASH_SOURCE[0]}")/../integration/lib.sh"
megabytes=${1:-200} runs=${MB_RUNS:-3}

"$top/contrib/testnet" up "$work/net" >&2 || exit 1
trap '"$top/contrib/testnet" down "$work/net" >/dev/null 2>&1; kill "$daemon" 2>/dev/null; wait; rm -rf "$work"' EXIT
eval "$("$top/contrib/testnet" env "$work/net")"
magicbiz id new >/dev/null
magicbizd init --name bench --founder "$(magicbiz id show --public)" --data "$work/data" \
    --torrc "$MAGICBIZ_TORRC" --json >"$work/founded" || exit 1
magicbizd run --config "$work/data/magicbiz.conf" 2>"$work/log" &
daemon=$!
onion=$(sed -n 's/.*"onion":"\([^"]*\)".*/\1/p' "$work/founded")
join=$(sed -n 's/.*"join":"\([^"]*\)".*/\1/p' "$work/founded")
magicbiz org join bench "$join" --offline >/dev/null
reachable() { magicbiz status --socket "$work/data/run/operator.sock" --json | grep -q '"reachable": true'; }
wait_until 120 reachable || exit 1
export MAGICBIZ_SOCKS
magicbiz repo create big >/dev/null || exit 1
git init -q -b main "$work/copy" && cd "$work/copy" || exit 1
magicbiz repo setup --repo big >/dev/null
for i in $(seq $((megabytes / 10))); do head -c 10000000 /dev/urandom >"file$i"; done
git add . && git commit -q -m "Random bytes" && cd "$work" || exit 1
echo "pushing $megabytes MB" >&2
"$build/tests/integration/relay" "$work/data/run/public.sock" >"$work/port" &
relay=$!
wait_until 5 test -s "$work/port"
TZ=UTC git -C "$work/copy" -c "http.proxy=socks5h://127.0.0.1:$(cat "$work/port")" push -q --signed \
    "http://$onion/big.git" main || exit 1
kill "$relay"
id=$(git -C "$work/copy" rev-parse HEAD)
{
    line="want $id ofs-delta no-progress agent=git/2"
    printf '%04x%s\n00000009done\n' $((${#line} + 5)) "$line"
} >"$work/want"

now() { date +%s.%N; }
took() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f", b - a }'; }
raw() {
    curl -s --socks5-hostname "$MAGICBIZ_SOCKS" -H 'Content-Type: application/x-git-upload-pack-request' \
        --data-binary "@$work/want" -o "$work/raw" "http://$onion/big.git/git-upload-pack"
}
clone() {
    rm -rf "$work/clone"
    git -c "http.proxy=socks5h://$MAGICBIZ_SOCKS" clone -q "http://$onion/big.git" "$work/clone"
}
raw || exit 1 # the circuit is there for both
for ((i = 0; i < runs; i++)); do
    began=$(now); raw || exit 1; raw_s=$(took "$began")
    began=$(now); clone || exit 1; clone_s=$(took "$began")
    echo "tor_raw_${megabytes}MB $raw_s s"
    echo "tor_clone_${megabytes}MB $clone_s s"
    awk -v c="$clone_s" -v r="$raw_s" 'BEGIN { printf "tor_clone_beside_raw %.3f ratio\n", c / r }'
done | tee "$work/figures"
sed -n 's/^tor_clone_beside_raw \(.*\) ratio/\1/p' "$work/figures" | sort -n |
    awk '{ v[NR] = $1 } END { print "tor_clone_beside_raw_median", v[int((NR + 1) / 2)], "ratio" }'
awk '{ print "load_average", $1, "processes" }' /proc/loadavg
