#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Pushes and fetches by real git, and by requests that no git would send, against a daemon without
# tor: certificates, refs, packs, metadata, limits, races, a full disk, and kill -9 within a push.
. "$(dirname "$0")/lib.sh"

relay=$build/tests/integration/relay
data=$work/data
alice=$HOME/.config/magicbiz/ids/default
began=$SECONDS

# --- People, and where they push ---

# as PERSON COMMAND…: everybody has a home of their own
as() {
    local home=$work/$1
    shift
    mkdir -p "$home"
    HOME=$home timeout "${MB_TIMEOUT:-60}" "$@"
}
key_of() { echo "$work/$1/.config/magicbiz/ids/default"; }
# g KEY GIT-ARGUMENTS…: git with a key, a pseudonym, and the daemon behind a proxy
g() {
    local key=$1
    shift
    TZ=UTC GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@acme.invalid GIT_COMMITTER_NAME=a \
        GIT_COMMITTER_EMAIL=a@acme.invalid timeout "${MB_TIMEOUT:-60}" git -c init.defaultBranch=main \
        -c "http.proxy=socks5h://127.0.0.1:$port" -c gpg.format=ssh -c "user.signingKey=$key.pub" \
        -c advice.detachedHead=false -c core.fsync=none "$@"
}
ga() { g "$alice" "$@"; }
gb() { g "$bob" "$@"; }
ref_of() { # REF [REPO]: on disk, as a git that the daemon starts finds it
    get "/${2-site}.git/info/refs?service=git-upload-pack" >/dev/null
    git -C "$data/vcs/${2-site}.git" rev-parse -q --verify "$1"
}
peak() { sed -n 's/^VmHWM:[ \t]*\([0-9]*\) kB/\1/p' "/proc/${pids[daemon]}/status"; }
forget_peak() { echo 5 >"/proc/${pids[daemon]}/clear_refs" 2>/dev/null; }
peak_below() { # NAME MIB
    local kib
    kib=$(peak)
    [ "$kib" -lt $(($2 * 1024)) ]
    ok $? "$1: $((kib / 1024)) MiB at most"
}
serve() { # DATA: the daemon, and the relay in front of it
    start_daemon daemon "$1"
}

# --- Pushes byte by byte ---

zero=0000000000000000000000000000000000000000
pkt() { printf '%04x%s' $((${#1} + 4)) "$1"; }
first_pkt() { # TEXT CAPABILITIES
    printf '%04x%s\0%s' $((${#1} + ${#2} + 5)) "$1" "$2"
}
fresh_nonce() { # REPO
    get "/$1.git/info/refs?service=git-receive-pack" | tr '\0 ' '\n\n' | sed -n 's/^push-cert=//p'
}
pack_of() { # REPOSITORY REVISIONS…: a pack on standard output
    git -C "$1" pack-objects -q --stdout --revs < <(printf '%s\n' "${@:2}")
}
# certificate KEY REPO UPDATE…; nonce, pushee, zone from the variables of these names, if set
certificate() {
    local key=$1 repo=$2 text
    shift 2
    text=$(printf 'certificate version 0.1\npusher %s 1700000000 %s\npushee %s\nnonce %s\n' \
        "$(fingerprint "$key.pub")" "${zone-+0000}" "${pushee-http://$onion/$repo.git}" \
        "${use_nonce-$(fresh_nonce "$repo")}"; printf '%s\n' '' "$@")
    text+=$'\n'
    printf %s "$text"
    printf %s "$text" | ssh-keygen -q -Y sign -n "${namespace-git}" -f "$key" 2>/dev/null
}
signed_head() { # CERTIFICATE-FILE
    local line
    first_pkt push-cert "report-status object-format=${format-sha1}"
    while IFS= read -r line; do pkt "$line"$'\n'; done <"$1"
    pkt $'push-cert-end\n'
    printf 0000
}
unsigned_head() { # UPDATE…
    local line first=1
    for line; do
        if [ $first = 1 ]; then first_pkt "$line" "report-status object-format=${format-sha1}"; else pkt "$line"; fi
        first=0
    done
    printf 0000
}
deliver() { # REPO <body
    curl -s -m 60 --unix-socket "$data/run/public.sock" -H "Host: $onion" -H 'Expect:' \
        -H 'Content-Type: application/x-git-receive-pack-request' --data-binary @- \
        "http://$onion/$1.git/git-receive-pack" | tr '\0' ' '
}
# crafted NAME WORDS REPO FILE: deliver a body; words (extended expression) in the answer
crafted() {
    deliver "$3" <"$4" >"$work/t.out"
    grep -qE -- "$2" "$work/t.out"
    local status=$?
    ok $status "$1" "$work/t.out"
    [ $status = 0 ] || echo "     wanted $2"
}
# signed_push NAME WORDS KEY REPO PACK UPDATE…
signed_push() {
    certificate "$3" "$4" "${@:6}" >"$work/cert"
    { signed_head "$work/cert"; cat "$5"; } >"$work/body"
    crafted "$1" "$2" "$4" "$work/body"
}

# --- An organisation with a repository ---

section "clone, fetch, push"
found "$data"
serve "$data" || exit 1
onion=$(jq -r .onion "$data.json")
join=$(jq -r .join "$data.json")
start relay "$relay" "$data/run/public.sock"
wait_until 5 test -s "$work/relay.out"
port=$(cat "$work/relay.out")
MAGICBIZ_SOCKS=127.0.0.1:$port
MAGICBIZ_SOCKET=$data/run/public.sock
export MAGICBIZ_SOCKS
url=http://$onion
mb org join acme "$join" >/dev/null
as bob magicbiz id new >/dev/null
as bob magicbiz org join acme "$join" >/dev/null
bob=$(key_of bob)
me=$(fingerprint "$alice.pub")
t "a repository" mb repo create site --maintainer "$me"
t "another" mb repo create other --maintainer "$me"

copy=$work/copy
ga init -q "$copy"
cd "$copy" || exit 1
commit() { # NAME
    echo "$1 $RANDOM" >"$1"
    ga add "$1"
    ga commit -q -m "$1"
}
commit one
t "push --signed creates a branch" ga push -q --signed "$url/site.git" main
is "it is there" "$(ref_of refs/heads/main)" "$(git rev-parse main)"
commit two
t "and moves it" ga push -q --signed "$url/site.git" main
ga tag v1
ga tag -a -m v2 v2
t "tags, light and annotated" ga push -q --signed "$url/site.git" v1 v2
for v in 0 2; do
    t "clone by protocol $v" ga -c protocol.version=$v clone -q "$url/site.git" "$work/clone$v"
    is "it is the same" "$(git -C "$work/clone$v" rev-parse HEAD v2)" "$(git rev-parse main v2)"
done
commit three
ga push -q --signed "$url/site.git" main
for v in 0 2; do
    t "fetch by protocol $v" ga -C "$work/clone$v" -c protocol.version=$v fetch -q
    is "it has what is new" "$(git -C "$work/clone$v" rev-parse origin/main)" "$(git rev-parse main)"
done
ga push -q --signed "$url/site.git" main:refs/heads/passing
t "push --signed deletes a branch" ga push -q --signed "$url/site.git" :refs/heads/passing
is "it is gone" "$(ref_of refs/heads/passing)" ""
exits "a tag does not move" 1 "vcs.tag_moved|already exists" ga push --signed -f "$url/site.git" main:refs/tags/v1
ga push -q --signed "$url/site.git" main:refs/tags/v3
t "but it is deleted" ga push -q --signed "$url/site.git" :refs/tags/v3
ga branch -q back main~2
exits "no step back" 1 vcs.not_fast_forward ga push -f --signed "$url/site.git" back:main
exits "git itself asks to fetch first" 1 "non-fast-forward|fetch first" ga push --signed "$url/site.git" back:main
mb repo set site --rewind yes >/dev/null
t "a step back, where it is allowed" ga push -q -f --signed "$url/site.git" back:main
ga push -q --signed "$url/site.git" main
mb repo set site --rewind no >/dev/null

section "who may push"
exits "a contributor may not move a branch" 1 vcs.forbidden gb push --signed "$url/site.git" main:refs/heads/bobs
ga checkout -q -b proposal
commit proposed
exits "but propose" 0 "proposal 1 to main: refs/proposals/1" gb push --signed "$url/site.git" HEAD:refs/for/main
is "it is there" "$(ref_of refs/proposals/1)" "$(git rev-parse HEAD)"
t "and a maintainer fetches it by its id" ga -C "$work/clone2" fetch -q "$url/site.git" "$(git rev-parse HEAD)"
is "proposals are not advertised" "$(ga ls-remote "$url/site.git" | grep -c proposals)" 0
exits "a proposal for no branch" 1 vcs.branch_unknown gb push --signed "$url/site.git" HEAD:refs/for/nobody
exits "unsigned is refused" 1 vcs.unsigned gb push "$url/site.git" HEAD:refs/for/main
exits "unsigned to a branch" 1 "vcs.(forbidden|unsigned)" gb push "$url/site.git" HEAD:refs/heads/x
mb repo set site --unsigned yes >/dev/null
commit again
t "unsigned is allowed, where it is" gb push -q "$url/site.git" HEAD:refs/for/main
exits "unsigned to a branch, still not" 1 "vcs.(forbidden|unsigned)" gb push "$url/site.git" HEAD:refs/heads/x
ga checkout -q main

section "certificates"
: >"$work/nothing"
tip=$(git rev-parse main)
commit four
new=$(git rev-parse main)
pack_of . "$new" "^$tip" >"$work/four.pack"
now=$(date +%s)
move="$tip $new refs/heads/main"
use_nonce=$(fresh_nonce site | sed -E "s/-[0-9]{10}-/-$((now - 3700))-/") \
    signed_push "a stale nonce" "ng refs/heads/main vcs.nonce_stale" "$alice" site "$work/four.pack" "$move"
use_nonce=$(fresh_nonce site | sed -E "s/-[0-9]{10}-/-$((now + 3700))-/") \
    signed_push "a nonce of tomorrow" "ng refs/heads/main vcs.nonce_stale" "$alice" site "$work/four.pack" "$move"
use_nonce=$(fresh_nonce other) \
    signed_push "another repository's nonce" "vcs.nonce_foreign" "$alice" site "$work/four.pack" "$move"
pushee=$url/other.git \
    signed_push "another repository's pushee" "vcs.pushee" "$alice" site "$work/four.pack" "$move"
pushee=http://$(printf 'a%.0s' {1..56}).onion/site.git \
    signed_push "another onion's pushee" "vcs.pushee" "$alice" site "$work/four.pack" "$move"
zone=+0200 signed_push "a time zone" "vcs.zone" "$alice" site "$work/four.pack" "$move"
namespace=file signed_push "another namespace" "vcs.certificate|sshsig" "$alice" site "$work/four.pack" "$move"
signed_push "a key without a role" "vcs.forbidden" "$bob" site "$work/four.pack" "$move"
certificate "$alice" site "$move" >"$work/cert"
sed "s/^pusher .* 1700000000/pusher x 1700000001/" "$work/cert" >"$work/altered"
{ signed_head "$work/altered"; cat "$work/four.pack"; } >"$work/body"
crafted "an altered certificate" "vcs.certificate|sshsig" site "$work/body"
{ signed_head "$work/cert"; cat "$work/four.pack"; } >"$work/body"
crafted "a certificate of one repository sent to another" "vcs.(pushee|nonce_foreign)" other "$work/body"
is "nothing moved" "$(ref_of refs/heads/main)" "$tip"
crafted "as it was meant" "ok refs/heads/main" site "$work/body"
is "it moved" "$(ref_of refs/heads/main)" "$new"
crafted "replayed" "vcs.nonce_used" site "$work/body"
is "nothing moved" "$(ref_of refs/heads/main)" "$new"
tip=$new

section "heads that no git sends"
: >"$work/nothing"
make_branch="$zero $tip refs/heads/fresh"
for name in 'refs/heads/a..b' 'refs/heads/a.lock' $'refs/heads/a\x01b' 'refs/heads/../../x' 'refs/heads/.a' \
    'refs/heads/a b' 'refs/heads/a/' 'refs/heads//a' 'refs/heads/a~1' 'refs/heads/@{x}' 'HEAD' 'main' $'refs/heads/\xff'; do
    unsigned_head "$zero $tip $name" >"$work/body"
    crafted "the ref $(printf %q "$name")" '"code":"vcs.head"' site "$work/body"
done
signed_push "a namespace of the server's own" "ng refs/proposals/9 vcs.ref" "$alice" site "$work/nothing" \
    "$zero $tip refs/proposals/9"
signed_push "a case twin" "vcs.ref_twin" "$alice" site "$work/nothing" "$zero $tip refs/heads/MAIN"
signed_push "a ref below a ref" "vcs.ref_twin" "$alice" site "$work/nothing" "$zero $tip refs/heads/main/x"
printf zzzz >"$work/body"
crafted "no pkt-line" '"code":"vcs.head"' site "$work/body"
printf 0003 >"$work/body"
crafted "a pkt-line of a length that there is not" '"code":"vcs.head"' site "$work/body"
unsigned_head "$make_branch" "$make_branch" >"$work/body"
crafted "a ref twice" '"code":"vcs.head"' site "$work/body"
unsigned_head "$zero" >"$work/body"
crafted "no command" '"code":"vcs.head"' site "$work/body"
certificate "$alice" site "$make_branch" >"$work/cert"
signed_head "$work/cert" | head -c 300 >"$work/body"
crafted "an end inside the certificate" '"code":"vcs.head"' site "$work/body"
format=sha256 signed_push "another object format" "vcs.object_format" "$alice" site "$work/nothing" "$make_branch"
exits "a repository of sha256" 1 "vcs.object_format|sha1" mb repo create long --maintainer "$me" --object-format sha256
signed_push "a tip that is not there" "vcs.missing" "$alice" site "$work/nothing" \
    "$zero 1234567890123456789012345678901234567890 refs/heads/fresh"
signed_push "a tree as a branch" "vcs.not_commit" "$alice" site "$work/nothing" \
    "$zero $(git rev-parse main^{tree}) refs/heads/fresh"
signed_push "a ref that has moved" "vcs.ref_moved" "$alice" site "$work/nothing" \
    "$(git rev-parse main~2) $tip refs/heads/main"
signed_push "two refs, one of them wrong: none is made" "ng refs/heads/fresh vcs.ref_moved" "$alice" site \
    "$work/nothing" "$make_branch" "$(git rev-parse main~2) $tip refs/heads/main"
is "nothing of all this is there" "$(ref_of refs/heads/fresh)$(ref_of refs/heads/main)" "$tip"

section "packs that no git sends"
commit five
new=$(git rev-parse main)
move="$tip $new refs/heads/main"
pack_of . "$new" "^$tip" >"$work/five.pack"
size=$(stat -c %s "$work/five.pack")
{ head -c $((size / 2)) "$work/five.pack"; printf XXXX; tail -c +$((size / 2 + 5)) "$work/five.pack"; } >"$work/bad.pack"
signed_push "a pack with altered bytes" "vcs.pack" "$alice" site "$work/bad.pack" "$move"
head -c $((size - 30)) "$work/five.pack" >"$work/bad.pack"
signed_push "a pack cut short" "vcs.pack" "$alice" site "$work/bad.pack" "$move"
printf 'no pack at all, but some bytes' >"$work/bad.pack"
signed_push "something else" "vcs.pack" "$alice" site "$work/bad.pack" "$move"
cp "$work/five.pack" "$work/bad.pack"
echo more >>"$work/bad.pack"
signed_push "bytes behind the pack" "vcs.pack" "$alice" site "$work/bad.pack" "$move"
git rev-parse "$new" | git pack-objects -q --stdout >"$work/bad.pack"
signed_push "a commit without its tree" "vcs.(missing|pack)" "$alice" site "$work/bad.pack" "$move"
git init -q "$work/thin" # a delta whose base nobody has
seq 1 20000 >"$work/thin/f"
base=$(git -C "$work/thin" hash-object -w f)
echo end >>"$work/thin/f"
blob=$(git -C "$work/thin" hash-object -w f)
tree=$(printf '100644 blob %s\tf\n' "$blob" | git -C "$work/thin" mktree)
older=$(cd "$work/thin" && ga commit-tree -m base "$(printf '100644 blob %s\tf\n' "$base" | git mktree)" </dev/null)
lost=$(cd "$work/thin" && ga commit-tree -p "$older" -m lost "$tree" </dev/null)
printf '%s\n^%s\n' "$lost" "$older" | git -C "$work/thin" pack-objects -q --stdout --thin --revs >"$work/bad.pack"
signed_push "a base that is missing" "vcs.pack" "$alice" site "$work/bad.pack" "$zero $lost refs/heads/lost"
mb repo set site --object-bytes 1000000 --pack-bytes 3000000 >/dev/null
git init -q "$work/bomb"
head -c 60000000 /dev/zero >"$work/bomb/f"
(cd "$work/bomb" && ga add f && ga commit -q -m bomb)
bomb=$(git -C "$work/bomb" rev-parse HEAD)
pack_of "$work/bomb" "$bomb" >"$work/bad.pack"
signed_push "60 MB in a pack of $(stat -c %s "$work/bad.pack") bytes" "vcs.object_large" "$alice" site "$work/bad.pack" \
    "$zero $bomb refs/heads/bomb"
head -c 1500000 /dev/urandom >"$work/bomb/f"
(cd "$work/bomb" && ga commit -q -a --amend -m large)
exits "an object over the limit, by git" 1 vcs.object_large ga -C "$work/bomb" push --signed "$url/site.git" HEAD:refs/heads/bomb
for i in 1 2 3 4; do head -c 900000 /dev/urandom >"$work/bomb/f$i"; done
(cd "$work/bomb" && ga rm -q f && ga add . && ga commit -q --amend -m many)
exits "a pack over the limit, by git" 1 vcs.pack_large ga -C "$work/bomb" push --signed "$url/site.git" HEAD:refs/heads/bomb
mb repo set site --object-bytes 134217728 --pack-bytes 536870912 >/dev/null
rm -rf "$work/bomb" "$work/thin"
is "nothing of all this is there" "$(ref_of refs/heads/bomb)$(ref_of refs/heads/lost)$(ref_of refs/heads/main)" "$tip"
is "no quarantine is left" "$(find "$data/vcs/incoming" -name 'tmp-*' 2>/dev/null | wc -l)" 0
t "as it was meant" ga push -q --signed "$url/site.git" main
ga clone -q --depth 1 "$url/site.git" "$work/shallow"
(cd "$work/shallow" && commit shallow)
exits "a push from a shallow clone" 1 vcs.shallow ga -C "$work/shallow" push --signed origin main
tip=$(git rev-parse main)

section "metadata"
refused_meta() { # NAME WORDS COMMAND…: a commit or tag made by COMMAND in a fresh branch
    local name=$1 words=$2
    shift 2
    git checkout -q --detach main
    "$@" >/dev/null 2>&1
    exits "$name" 1 "$words" ga push --signed "$url/site.git" "${what-HEAD}:${where-refs/heads/meta}"
    if grep -q vcs.metadata "$work/t.out" && grep -q 'magicbiz repo scrub' "$work/t.out"; then
        ok 0 "with its id, and the command that repairs it"
    else
        ok 1 "with its id, and the command that repairs it" "$work/t.out"
    fi
}
plain() { # ZONE AUTHOR-MAIL COMMITTER-MAIL OPTIONS…
    local zone=$1 author=$2 committer=$3
    shift 3
    GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=$author GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=$committer \
        GIT_AUTHOR_DATE="1700000000 $zone" GIT_COMMITTER_DATE="1700000000 $zone" \
        git -c gpg.format=ssh -c "user.signingKey=${signer-$bob.pub}" "$@"
}
refused_meta "a time zone" "a time zone other than" plain +0100 a@acme.invalid a@acme.invalid commit --allow-empty -m x
refused_meta "an author's address" "an e-mail address" plain +0000 me@example.org a@acme.invalid commit --allow-empty -m x
refused_meta "a committer's address" "an e-mail address" plain +0000 a@acme.invalid me@example.org commit --allow-empty -m x
refused_meta "another organisation's pseudonym" "an e-mail address" plain +0000 a@other.invalid a@acme.invalid commit --allow-empty -m x
refused_meta "a signature by another key" "a signature by another key" plain +0000 a@acme.invalid a@acme.invalid commit --allow-empty -S -m x
what=refs/tags/told where=refs/tags/told refused_meta "a tagger's address" "an e-mail address" \
    plain +0000 a@acme.invalid me@example.org tag -f -m x told
what=refs/tags/told where=refs/tags/told refused_meta "a tagger's time zone" "a time zone" \
    plain +0200 a@acme.invalid a@acme.invalid tag -f -m x told
what=refs/tags/told where=refs/tags/told refused_meta "a tag signed by another key" "a signature by another key" \
    plain +0000 a@acme.invalid a@acme.invalid tag -f -s -m x told
git tag -d told >/dev/null
git checkout -q --detach main
signer=$alice.pub plain +0000 a@acme.invalid a@acme.invalid commit -q --allow-empty -S -m own
t "a signature by the key that pushes" ga push -q --signed "$url/site.git" HEAD:refs/heads/own
git checkout -q main

section "a working copy that tells nothing"
start recorder "$relay" --record "$work/record" "$data/run/public.sock"
wait_until 5 test -s "$work/recorder.out"
quiet=127.0.0.1:$(cat "$work/recorder.out")
teller() {
    as carol env TZ=America/Caracas LANG=es_VE.UTF-8 LANGUAGE=es_VE LC_ALL= USER=carolina LOGNAME=carolina \
        EMAIL=carolina@example.org MAGICBIZ_SOCKS="$quiet" http_proxy=http://proxy.example.org:1 "$@"
}
teller magicbiz id new >/dev/null
teller magicbiz org join acme "$join" >/dev/null
mb repo create tale --maintainer "$(fingerprint "$(key_of carol).pub")" >/dev/null
cd "$work/carol" || exit 1
teller git init -q -b main tale
cd tale || exit 1
teller git -c user.name=Carolina -c user.email=carolina@example.org commit -q --allow-empty -m "told too much"
t "repo setup" teller magicbiz repo setup --repo tale
exits "the first commit is refused" 1 vcs.metadata teller git push origin main
t "repo scrub" teller magicbiz repo scrub
is "it is repaired" "$(git log -1 --format='%ae %ai' main | sed 's/ .* / /')" "key-$(git config user.name | cut -c 5-)@acme.invalid +0000"
teller git commit -q --allow-empty -m "the hook"
is "the hook scrubs the next one" "$(git log -1 --format='%ai %ci' | grep -o '[+-][0-9]*$')" "+0000"
t "git push to magicbiz://" teller git push -q origin main
MB_TIMEOUT=100 t "git clone of magicbiz://" teller git clone -q magicbiz://acme/tale "$work/carol/again"
is "it is the same" "$(git -C "$work/carol/again" rev-parse HEAD)" "$(git rev-parse main)"
leaks() { # what was sent in the clear
    grep -aiwE "carolina|example.org|caracas|es_VE|es-VE|$(hostname)|git/2\.[0-9]|-0400|accept-language|session-id|$(id -un)@" "$work/record"
}
is "nothing of her machine was sent" "$(leaks | head -c 300)" ""
is "nor another version than git/2" "$(grep -acE 'git/[0-9]+\.[0-9]' "$work/record")" 0
is "nor another time zone" "$(grep -aE '^([0-9a-f]{4})?pusher ' "$work/record" | grep -vc '+0000$')" 0
stop recorder
cd "$copy" || exit 1

section "two at once"
git branch -q -f left main
git branch -q -f right main
for side in left right; do
    git checkout -q $side
    commit $side
done
git checkout -q main
won=0 lost=0
for round in 1 2 3; do
    gone=$(ref_of refs/heads/raced)
    for side in left right; do
        certificate "$alice" site "${gone:-$zero} $(git rev-parse $side) refs/heads/raced-$round" >"$work/$side.cert"
        { signed_head "$work/$side.cert"; pack_of . $side ^main; } >"$work/$side.body"
    done
    deliver site <"$work/left.body" >"$work/left.said" &
    left=$!
    deliver site <"$work/right.body" >"$work/right.said"
    wait $left
    won=$((won + $(cat "$work/left.said" "$work/right.said" | grep -c "ok refs/heads/raced-$round")))
    lost=$((lost + $(cat "$work/left.said" "$work/right.said" | grep -c "ng refs/heads/raced-$round vcs.ref_moved")))
done
is "three races for one ref have three winners" "$won $lost" "3 3"

section "kill -9 within a push"
sound() { # the daemon's disk agrees with the state; nothing is half there
    local at refs
    git -C "$data/vcs/site.git" fsck --connectivity-only --no-dangling >"$work/fsck" 2>&1 || return 1
    [ -z "$(find "$data/vcs" -name 'tmp-*' -prune -print)" ] || return 1
    at=$(get "/v1/state?key=vcs%2Fref%2Fsite%2Frefs%2Fheads%2Fkilled" | jq -r '.value // empty')
    refs=$(ref_of refs/heads/killed)
    [ "$at" = "$refs" ] || { echo "state $at disk $refs" >>"$work/fsck"; return 1; }
}
git checkout -q -b killed main
ga push -q --signed "$url/site.git" killed
head -c 3000000 /dev/urandom >big0
ga add . && ga commit -q -m warm
t0=$(date +%s%N)
ga push -q --signed "$url/site.git" killed
took=$((($(date +%s%N) - t0) / 1000000))
kills=0 told=0 kept=0 whole=0
for i in $(seq 1 14); do
    old=$(ref_of refs/heads/killed)
    git reset -q --hard "$old"
    head -c 3000000 /dev/urandom >"big$i"
    ga add . && ga commit -q -m "kill $i"
    new=$(git rev-parse HEAD)
    ga push --porcelain --signed "$url/site.git" killed >"$work/killed.said" 2>&1 &
    pushing=$!
    delay=$((took * i / 7))
    sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
    stop daemon KILL
    wait $pushing
    acknowledged=$?
    kills=$((kills + 1))
    start_daemon daemon "$data" || break
    is_now=$(ref_of refs/heads/killed)
    if [ $acknowledged = 0 ]; then
        told=$((told + 1))
        [ "$is_now" = "$new" ] && kept=$((kept + 1))
    fi
    if { [ "$is_now" = "$old" ] || [ "$is_now" = "$new" ]; } && sound; then
        whole=$((whole + 1))
    else
        cat "$work/fsck"
    fi
done
is "$kills kills between 0 and $((took * 2)) ms, $told of them after the answer: nothing told is lost" "$kept" "$told"
is "and nothing is half there" "$whole" 14
t "a clone after that" ga clone -q "$url/site.git" "$work/after"
t "audit --full holds" mb audit --full
git checkout -q main

finish
