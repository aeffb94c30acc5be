#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Pushes to an organisation of three replicas that meet in a folder: any of them takes one, a
# majority keeps it before it is acknowledged, and one that was away fetches what it missed.
. "$(dirname "$0")/lib-replicas.sh"

section 'three replicas'
replicas
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
relays
for i in 1 2 3; do
    commit "by $i"
    t "push to replica $i" push "$i"
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
    t "push $n" push 2
done
t 'it comes back' up 3
t 'and fetches what it missed' wait_until 30 has_all 3
t 'a clone from it' g default 3 clone -q "http://$onion/site.git" "$work/clone"
is 'is the same' "$(git -C "$work/clone" rev-parse HEAD)" "$tip"

section 'two are away'
stop n2 KILL
stop n3 KILL
is 'a read does not pretend' "$(fresh_at 1 | jq -r .error.code)" state.stale
before=$tip
commit 'alone'
MB_TIMEOUT=15 push 1 >"$work/alone" 2>&1
[ $? != 0 ]
ok $? 'a push is refused, or not answered' "$work/alone"
is 'and nothing has moved' "$(git -C "$work/d1/vcs/site.git" rev-parse main)" "$before"
t 'they come back' up 2
t 'both' up 3
t 'pushed again' wait_until 40 push 1
for k in 1 2 3; do t "it is at $k" wait_until 10 has_all "$k"; done
wait_until 20 settled
exits 'the whole ledger holds' 0 'everything holds' mb audit --full
finish
