#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Pushes to an organisation of three replicas that meet in a folder: any of them takes one, a
# majority keeps it before it is acknowledged, and one that was away fetches what it missed.
. "$(dirname "$0")/lib.sh"
relay=$build/tests/integration/relay
alice=$HOME/.config/magicbiz/ids/default
meet=$work/meet
mkdir -p "$meet"
at() { MAGICBIZ_SOCKET=$work/d$1/run/public.sock; export MAGICBIZ_SOCKET; }
header() { get "/v1/blocks?from=$1&limit=1" | jq -r .header | perl -ne 'chomp; print pack "H*", $_' | sha256sum | cut -c 1-64; }
# add_body N: what replica N signs to be added, at the newest slot
add_body() {
    local at ready
    at=$(slot)
    ready=$(jq -cS --arg h "$(header "$at")" --arg o "$org" --argjson s "$at" \
        '.replicas[0] | {header: $h, onion, org: $o, peer_onion, slot: $s, tor_auth}' "$work/d$1/genesis.json")
    jq -c --argjson r "$ready" --arg sig "$(sign "$work/d$1/keys/replica" "$ready" magicbiz-replica)" \
        '.replicas[0] | {public_key, onion, peer_onion, tor_auth, ready: {header: $r.header, slot: $r.slot, signature: $sig}}' \
        "$work/d$1/genesis.json"
}
# add N: on the record, and with the history of the first one
add() {
    local from
    mb send org.param.set - <<<"{\"name\":\"a\",\"value\":$1}" >/dev/null
    add_body "$1" >"$work/body"
    t "replica $1 is added" mb send org.replica.add "$work/body" --json
    from=$(jq .result.from "$work/t.out")
    full() { [ "$(slot)" -ge $((from - 1)) ]; }
    t 'the window is filled' wait_until 10 full
    cp "$work/d$1/genesis.json" "$work/own"
    rm -rf "$work/d$1/archive" "$work/d$1"/store.db*
    cp -a "$work/d1/archive" "$work/d$1/archive"
    cp "$work/d1/genesis.json" "$work/d$1/genesis.json"
    t "replica $1 starts" start_daemon "n$1" "$work/d$1"
}

section 'three replicas'
for i in 1 2 3; do
    found "$work/d$i"
    printf '[consensus]\nfolder = %s\nelection_ms = 1000\nrebuild_ms = 100\nheartbeat_ms = 50\nround_trip_ms = 20\n' \
        "$meet" >>"$work/d$i/magicbiz.conf"
done
org=$(sha256sum <"$work/d1/genesis.json" | cut -c 1-64)
at 1
t 'starts' start_daemon n1 "$work/d1"
t 'join' mb org join acme "$(jq -r .join "$work/d1.json")"
add 2
add 3
onion=$(get /v1/org | jq -r .onion.current)
t 'a repository' mb repo create site

section 'a read that misses nothing'
fresh_at() { curl -s -m 20 --unix-socket "$work/d$1/run/public.sock" 'http://x/v1/state?key=org/params/n&fresh=1'; }
# One that does not know yet who leads says so, and is asked again.
value_at() {
    local out
    for _ in {1..50}; do
        out=$(fresh_at "$1")
        [ "$(jq -r '.error.code // empty' <<<"$out")" = state.stale ] || break
        sleep 0.2
    done
    jq -c '.value // .' <<<"$out"
}
seen=
for n in 1 2 3 4 5 6; do
    at $((n % 3 + 1))
    mb send org.param.set - <<<"{\"name\":\"n\",\"value\":$n}" >/dev/null || seen+=unsent
    seen+=$(value_at $(((n + 1) % 3 + 1)))
done
is 'each sees what another replica has just answered' "$seen" 123456
at 1

section 'any of them takes a push'
g() {
    TZ=UTC GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@acme.invalid GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@acme.invalid \
        timeout 60 git -c init.defaultBranch=main -c "http.proxy=socks5h://127.0.0.1:$(cat "$work/relay$1.out")" \
        -c gpg.format=ssh -c "user.signingKey=$alice.pub" -c core.fsync=none "${@:2}"
}
for i in 1 2 3; do
    start "relay$i" "$relay" "$work/d$i/run/public.sock"
    wait_until 5 test -s "$work/relay$i.out"
done
g 1 init -q "$work/tree"
commit() { # TEXT
    echo "$1" >"$work/tree/file"
    head -c 20000 /dev/urandom | base64 >"$work/tree/more"
    g 1 -C "$work/tree" add . && g 1 -C "$work/tree" commit -qm "$1"
}
ref_at() { # N
    curl -s -m 10 --unix-socket "$work/d$1/run/public.sock" "http://x/site.git/info/refs?service=git-upload-pack" >/dev/null
    git -C "$work/d$1/vcs/site.git" rev-parse -q --verify main^{commit} 2>/dev/null
}
whole_at() { git -C "$work/d$1/vcs/site.git" rev-list --objects main >/dev/null 2>&1; }
has_all() { [ "$(ref_at "$1")" = "$tip" ] && whole_at "$1"; }
for i in 1 2 3; do
    commit "by $i"
    t "push to replica $i" g "$i" -C "$work/tree" push -q --signed "http://$onion/site.git" main
    tip=$(git -C "$work/tree" rev-parse main)
    for k in 1 2 3; do t "it is at $k" wait_until 10 has_all "$k"; done
done
receipts() { mb log --json --limit 100000 | jq -c '.envelopes[]?.command | fromjson | select(.type == "vcs.push") | .body.receipts | length'; }
[ "$(receipts | sort -n | head -n 1)" -ge 2 ]
ok $? 'with receipts of a majority'

section 'one is away'
stop n3 KILL
at 1
for n in 1 2 3 4 5; do
    commit "without 3: $n"
    t "push $n" g 2 -C "$work/tree" push -q --signed "http://$onion/site.git" main
done
tip=$(git -C "$work/tree" rev-parse main)
t 'it comes back' start_daemon n3 "$work/d3"
t 'and fetches what it missed' wait_until 30 has_all 3
t 'a clone from it' g 3 clone -q "http://$onion/site.git" "$work/clone"
is 'is the same' "$(git -C "$work/clone" rev-parse HEAD)" "$tip"

section 'two are away'
stop n2 KILL
stop n3 KILL
is 'a read does not pretend' "$(fresh_at 1 | jq -r .error.code)" state.stale
commit 'alone'
pushed() { g 1 -C "$work/tree" push -q --signed "http://$onion/site.git" main; }
timeout 15 bash -c "$(declare -f g pushed); work=$work alice=$alice onion=$onion pushed" >"$work/alone" 2>&1
[ $? != 0 ]
ok $? 'a push is refused, or not answered' "$work/alone"
is 'and nothing has moved' "$(git -C "$work/d1/vcs/site.git" rev-parse main)" "$tip"
t 'they come back' start_daemon n2 "$work/d2"
t 'both' start_daemon n3 "$work/d3"
t 'pushed again' wait_until 40 pushed
tip=$(git -C "$work/tree" rev-parse main)
for k in 1 2 3; do t "it is at $k" wait_until 10 has_all "$k"; done
wait_until 20 settled
exits 'the whole ledger holds' 0 'everything holds' mb audit --full
finish
