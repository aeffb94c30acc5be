#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# kill -9 of the daemon at each named place along a push (src/loop/fault.h). Afterwards the refs of
# the push are there, all or none; an answered push is there; the same push again succeeds, and is
# recorded once. Needs a build with --enable-faults: MB_FAULTS_BUILD, builddir, or one made for it.
. "$(dirname "$0")/faults-build.sh"
. "$(dirname "$0")/lib.sh"

data=$work/data
alice=$HOME/.config/magicbiz/ids/default

section "only a build for tests has such places"
t "this one has" has_faults "$build"
if [ -n "${plain-}" ]; then
    is "the other has not" "$(grep -alsr MAGICBIZ_FAULT "$plain"/.libs "$plain"/modules/.libs "$plain"/magicbiz "$plain"/magicbizd | wc -l)" 0
fi
# PLACES: "before" the push is durable in the log, or "after" it
places=(
    before:push.head before:push.quarantine before:push.received before:push.indexed
    before:push.connected before:push.checked before:push.synced before:push.durable
    before:push.receipt before:ledger.proposed either:wal.written after:wal.durable
    after:ledger.chosen either:ledger.applied after:archive.appended after:pack.moving
    after:pack.placed after:refs.written after:refs.moved after:push.answer
    after:store.commit after:store.committed
)
named() { # every place in the sources
    grep -rhoE 'MB_FAULT\("[a-z.]+"\)' "$top/src" "$top/modules" | cut -d '"' -f 2 | sort -u
}
is "all of them are tried" "$(printf '%s\n' "${places[@]#*:}" | sort | tr '\n' ' ')" "$(named | tr '\n' ' ')"
is "none is in the deterministic half" "$(grep -lE 'MB_FAULT|fault\.h' "$top"/src/{base,sign,merkle,ledger,paxos,rules}/*.[ch] \
    "$top"/modules/*/*_apply.c 2>/dev/null)" ""

section "kill -9 at ${#places[@]} places of a push"
found "$data"
start_daemon daemon "$data" || { cat "$work/daemon.err"; exit 1; }
start relay "$build/tests/integration/relay" "$data/run/public.sock"
wait_until 5 test -s "$work/relay.out"
port=$(cat "$work/relay.out")
MAGICBIZ_SOCKS=127.0.0.1:$port
MAGICBIZ_SOCKET=$data/run/public.sock
export MAGICBIZ_SOCKS
url=http://$(jq -r .onion "$data.json")/site.git
mb org join acme "$(jq -r .join "$data.json")" >/dev/null
mb repo create site --maintainer "$(fingerprint "$alice.pub")" >/dev/null
g() {
    TZ=UTC GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@acme.invalid GIT_COMMITTER_NAME=a \
        GIT_COMMITTER_EMAIL=a@acme.invalid timeout 60 git -c init.defaultBranch=main \
        -c "http.proxy=socks5h://127.0.0.1:$port" -c gpg.format=ssh -c "user.signingKey=$alice.pub" \
        -c core.fsync=none "$@"
}
g init -q "$work/copy"
cd "$work/copy" || exit 1
g commit -q --allow-empty -m one
t "a push" g push -q --signed "$url" main

ref_of() { # on disk, as a git that the daemon starts finds it
    get "/site.git/info/refs?service=git-upload-pack" >/dev/null
    git -C "$data/vcs/site.git" rev-parse -q --verify "refs/heads/$1"
}
value_of() { # in the state
    get "/v1/state?key=vcs%2Fref%2Fsite%2Frefs%2Fheads%2F$1" | jq -r '.value // empty'
}
pushes() { mb list --quick vcs/push/site/ --json | jq '.items | length'; }
sound() { # NAME WANTED: both refs, in the state and on disk; nothing in quarantine
    local left
    left=$(find "$data/vcs/incoming" -name 'tmp-*')
    git -C "$data/vcs/site.git" fsck --connectivity-only --no-dangling >"$work/fsck" 2>&1
    is "$1" "$? $(ref_of "$name-a") $(ref_of "$name-b") $(value_of "$name-a") $(value_of "$name-b")$left" "0 $2 $2 $2 $2"
}
for place in "${places[@]}"; do
    when=${place%:*} place=${place#*:}
    name=${place/./-}
    stop daemon TERM
    first="push.head " # the others are reached by what is no push, too
    start_daemon daemon "$data" env MAGICBIZ_FAULT="${first#"$place "}$place" || break
    count=$(pushes)
    echo "$place" >file
    g add file
    g commit -q -m "$place"
    tip=$(git rev-parse HEAD)
    g push --porcelain --signed "$url" "HEAD:refs/heads/$name-a" "HEAD:refs/heads/$name-b" >"$work/said" 2>&1
    said=$?
    wait "${pids[daemon]}" 2>/dev/null
    is "$place: the daemon is killed" "$?" 137
    unset 'pids[daemon]'
    start_daemon daemon "$data" || break
    is_now=$(ref_of "$name-a")
    is "what was answered is there, and nothing that cannot be" "$(
        [ $said != 0 ] || [ "$is_now" = "$tip" ] || echo lost
        [ "$when" != before ] || [ -z "$is_now" ] || echo early
        [ "$when" != after ] || [ "$is_now" = "$tip" ] || echo lost
    )" ""
    sound "all or nothing" "$is_now"
    t "the same push again" g push -q --signed "$url" "HEAD:refs/heads/$name-a" "HEAD:refs/heads/$name-b"
    sound "is there" "$tip"
    is "once" "$(pushes)" $((count + 1))
    is "and no pack waits" "$(ls "$data/vcs/incoming")" ""
done
t "a clone" g clone -q "$url" "$work/clone"
t "audit --full holds" mb audit --full

finish
