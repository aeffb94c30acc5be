#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What is large, full or false: 20,000 refs, 200 MB, a flood of certificates, a full disk, and a
# replica that shows refs which the state does not prove.
. "$(dirname "$0")/lib.sh"

relay=$build/tests/integration/relay
zero=0000000000000000000000000000000000000000
data=$work/data
found "$data" || exit 1
start_daemon daemon "$data" || exit 1
start relay "$relay" "$data/run/public.sock"
wait_until 5 test -s "$work/relay.out"
port=$(cat "$work/relay.out")
export MAGICBIZ_SOCKET=$data/run/public.sock TZ=UTC
key=$HOME/.config/magicbiz/ids/default
onion=$(sed -n 's/.*"onion":"\([^"]*\)".*/\1/p' "$data.json")
mb org join acme "$(sed -n 's/.*"join":"\([^"]*\)".*/\1/p' "$data.json")" >/dev/null
git config --global user.name a
git config --global user.email a@acme.invalid
git config --global gpg.format ssh
git config --global user.signingKey "$key.pub"
git config --global init.defaultBranch main
git config --global http.proxy "socks5h://127.0.0.1:$port"
url=http://$onion
mb repo create many >/dev/null
mb repo create big >/dev/null
peak_kib() { sed -n 's/^VmHWM:[ \t]*\([0-9]*\) kB/\1/p' "/proc/${pids[daemon]}/status"; }
below() { # NAME MIB
    local kib
    kib=$(peak_kib)
    [ "$kib" -lt $(($2 * 1024)) ]
    ok $? "$1: $((kib / 1024)) MiB resident at most"
}
ms() { echo $(($(date +%s%N) / 1000000)); }

section "a replica that lies about a ref"
git init -q "$work/small"
git -C "$work/small" commit -q --allow-empty -m one
t "a push" git -C "$work/small" push -q --signed "$url/many.git" main
git -C "$work/small" commit -q --allow-empty -m two
t "another" git -C "$work/small" push -q --signed "$url/many.git" main
# Before a checkpoint covers it, the first push is no lie: it is what the newest checkpoint proves.
t "a checkpoint covers it" wait_until 60 settled
git -C "$data/vcs/many.git" update-ref refs/heads/main "$(git -C "$work/small" rev-parse main^)"
(
    unset MAGICBIZ_SOCKET
    MAGICBIZ_SOCKS=127.0.0.1:$port PATH=$build:$PATH timeout 120 git clone -q magicbiz://acme/many "$work/lied" >"$work/lie" 2>&1
    echo "status $?" >>"$work/lie"
) &
lying=$!

section "200 MB"
git init -q "$work/big"
for i in $(seq 20); do head -c 10000000 /dev/urandom >"$work/big/$i"; done
git -C "$work/big" -c core.compression=0 add .
git -C "$work/big" commit -q -m big
began=$(ms)
t "a push" timeout 240 git -C "$work/big" -c pack.compression=0 push -q --signed "$url/big.git" main
echo "     $(($(ms) - began)) ms"
began=$(ms)
t "a clone" timeout 120 git clone -q "$url/big.git" "$work/big2"
echo "     $(($(ms) - began)) ms"
is "it has all" "$(git -C "$work/big2" rev-parse HEAD)" "$(git -C "$work/big" rev-parse HEAD)"
below "the daemon for it" 100
rm -rf "$work/big" "$work/big2"

section "a flood of certificates that are too large"
{
    printf '0050push-cert\0 report-status side-band-64k agent=git/2%24s\n' ''
    yes "$(printf '03e8%0995d' 0)" | head -n 4000 | sed 's/$//'
} >"$work/flood"
for i in 1 2 3 4 5 6 7 8; do
    curl -s -m 60 --unix-socket "$MAGICBIZ_SOCKET" -H 'Content-Type: application/x-git-receive-pack-request' \
        --data-binary "@$work/flood" -o "$work/flood.$i" "http://x/many.git/git-receive-pack" &
    floods[i]=$!
done
wait "${floods[@]}"
is "each is refused" "$(cat "$work"/flood.[1-8] | grep -ac 'pushcert.too_large\|vcs.head')" 8
below "the daemon for them" 100

section "20,000 refs"
wait $lying
grep -q 'no checkpoint proves it' "$work/lie"
ok $? "the lie was found out" "$work/lie"
t "and nothing was cloned" test ! -e "$work/lied/.git/refs/heads/main"
git -C "$data/vcs/many.git" update-ref refs/heads/main "$(git -C "$work/small" rev-parse main)"
commit=$(git -C "$work/small" rev-parse main)
# push FIRST LAST: by a certificate of our own; stock git takes ten seconds to write each
push() {
    local nonce
    nonce=$(get "/many.git/info/refs?service=git-receive-pack" | tr '\0 ' '\n\n' | sed -n 's/^push-cert=//p')
    {
        printf 'certificate version 0.1\npusher %s %s +0000\npushee %s/many.git\nnonce %s\n\n' \
            "$(fingerprint "$key.pub")" "$(date +%s)" "$url" "$nonce"
        seq -f "$zero $commit refs/heads/x/%05.0f" "$1" "$2"
    } >"$work/cert"
    ssh-keygen -q -Y sign -n git -f "$key" "$work/cert" 2>/dev/null
    {
        printf '0024push-cert\0 report-status atomic\n'
        cat "$work/cert" "$work/cert.sig" | awk '{ printf "%04x%s\n", length($0) + 5, $0 }'
        printf '0012push-cert-end\n0000'
    } >"$work/body"
    rm -f "$work/cert.sig"
    curl -s -m 60 --unix-socket "$MAGICBIZ_SOCKET" -H 'Content-Type: application/x-git-receive-pack-request' \
        --data-binary "@$work/body" "http://x/many.git/git-receive-pack" | grep -ac '^....ok '
}
began=$(ms) made=0
for i in $(seq 0 19); do made=$((made + $(push $((i * 1000)) $((i * 1000 + 999))))); done
is "20 pushes of 1,000 refs in $(($(ms) - began)) ms" "$made" 20000
began=$(ms)
is "they are advertised" "$(git ls-remote "$url/many.git" | grep -c refs/heads/x/)" 20000
echo "     $(($(ms) - began)) ms"
began=$(ms)
is "one more push" "$(push 20000 20000)" 1
echo "     $(($(ms) - began)) ms"
t "a clone" timeout 100 git clone -q --mirror "$url/many.git" "$work/many"
is "it has them all" "$(git -C "$work/many" for-each-ref | wc -l)" 20002
below "the daemon for them" 100
t "audit --full holds" mb audit --full

section "a full disk"
stop daemon
mkdir "$work/disk"
if mount -t tmpfs -o size=96m tmpfs "$work/disk" 2>/dev/null; then
    found "$work/disk/data"
    printf '\n[vcs]\nkeep_free = 0\n' >>"$work/disk/data/magicbiz.conf"
    start_daemon full "$work/disk/data" || exit 1
    start relay2 "$relay" "$work/disk/data/run/public.sock"
    wait_until 5 test -s "$work/relay2.out"
    git config --global http.proxy "socks5h://127.0.0.1:$(cat "$work/relay2.out")"
    export MAGICBIZ_SOCKET=$work/disk/data/run/public.sock
    mb org leave acme >/dev/null
    mb org join acme "$(sed -n 's/.*"join":"\([^"]*\)".*/\1/p' "$work/disk/data.json")" >/dev/null
    mb repo create site >/dev/null
    url=http://$(sed -n 's/.*"onion":"\([^"]*\)".*/\1/p' "$work/disk/data.json")
    t "a push that fits" git -C "$work/small" push -q --signed "$url/site.git" main
    git -C "$work/small" checkout -q -b large
    head -c 90000000 /dev/urandom >"$work/small/large"
    git -C "$work/small" add large
    git -C "$work/small" commit -q -m large
    exits "one that does not is refused" 1 'vcs.quota' git -C "$work/small" push --signed "$url/site.git" large
    is "and leaves nothing" "$(find "$work/disk/data/vcs/incoming" -mindepth 1 | wc -l)" 0
    t "the next one that fits" git -C "$work/small" push -q --signed "$url/site.git" main:refs/heads/again
    t "audit --full holds" mb audit --full
    stop full
    stop relay2
    umount "$work/disk"
else
    echo "skip a full disk: mount is not permitted here"
fi
finish
