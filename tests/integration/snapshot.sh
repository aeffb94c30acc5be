#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Catching up by a snapshot: a newcomer gets it over streams that are cut ten times and over its own
# restart, refuses what is not so and says what, and serves what it has from then on.
. "$(dirname "$0")/lib.sh"
proxy=$build/tests/integration/chaos-proxy
MAGICBIZ_MODULE_DIR=$build/tests/bench/.libs

data=$work/data
section 'an organisation with a state of many chunks'
t 'found' found "$data" --module filler
sed -i 's/^\[daemon\]$/&\nsnapshot_blocks = 64/' "$data/magicbiz.conf"
t 'starts' start_daemon node "$data"
MAGICBIZ_SOCKET=$data/run/public.sock
export MAGICBIZ_SOCKET
t 'join' mb org join acme "$(jq -r .join "$data.json")"
filled=0
for ((i = 0; i < 130; i++)); do
    mb send filler.fill - <<<"{\"from\":$((i * 1000))}" >/dev/null && filled=$((filled + 1))
done
is '130,000 keys' $filled 130
t 'settled' wait_until 20 settled
made() { [ "$(get /v1/snapshot | jq '.slot >= 128')" = true ]; }
t 'a snapshot was made' wait_until 20 made
chunks=$(get /v1/snapshot | jq '.chunks | length')
snapshot_slot=$(get /v1/snapshot | jq .slot)
is 'of more than ten chunks' "$([ "$chunks" -gt 10 ] && echo yes)" yes
mb send filler.fill - <<<'{"from":0}' >/dev/null

section 'a newcomer, behind a stream that can be cut'
mkfifo "$work/control"
start proxy "$proxy" "$work/control" 0 1 "$work/proxied.sock" "$data/run/public.sock"
tell() { echo "$*" >"$work/control"; }
t 'an invite' mb replica invite
invite=$(tail -n 1 "$work/t.out")
# joined NAME: a follower that goes by snapshot
joined() {
    timeout 60 magicbizd join --invite "$invite" --data "$work/$1" --tor none --role follower \
        --socket "$data/run/public.sock" >"$work/$1.join" 2>&1 &&
        sed -i "s|^sockets = .*|sockets = $work/proxied.sock\nsnapshot_behind = 10|" "$work/$1/magicbiz.conf"
}
metric() { curl -s -m 10 --unix-socket "$work/$1/run/operator.sock" http://x/metrics | sed -n "s/^magicbiz_$2 //p"; }
here() { find "$work/$1/incoming/snapshot" -type f 2>/dev/null | wc -l; }
said() { grep -q -- "$2" "$work/$1.err"; }
caught_up() { [ "$(curl -s -m 5 --unix-socket "$work/$1/run/public.sock" http://x/v1/checkpoint | jq .header)" = "$(get /v1/checkpoint | jq .header)" ]; }
t 'joins' joined a
tell delay 200
start_daemon a "$work/a"
cuts=0 restarted=
for ((i = 0; i < 400 && cuts < 10; i++)); do
    if [ "$(here a)" -gt "${before:-0}" ]; then
        before=$(here a)
        tell break
        cuts=$((cuts + 1))
        if [ $cuts = 5 ]; then # and the daemon is killed as well
            before_kill=$before
            stop a KILL
            cp "$work/a.err" "$work/a.err.1"
            start_daemon a "$work/a" && restarted=yes
            [ "$(here a)" -ge "$before_kill" ] || restarted='chunks were lost'
        fi
    fi
    sleep 0.2
done
is 'cut ten times' $cuts 10
is 'restarted in the middle' "$restarted" yes
tell heal
t 'and it is here' wait_until 120 caught_up a
cat "$work/a.err.1" "$work/a.err" >"$work/a.all"
asked=$(sed -n 's/.*fetched=\([0-9]*\).*/\1/p' "$work/a.err" | tail -n 1)
is 'what was there before the restart was not fetched again' "$([ "${asked:-999}" -le $((chunks - before_kill)) ] && echo yes)" yes
is 'it was put in its place' "$(grep -c 'event=installed\|installed slot=' "$work/a.err")" 1
is 'nothing is left of the transfer' "$(ls "$work/a/incoming" 2>&1 | grep -c 'No such file')" 1

section 'what it serves'
at_a() { curl -s -m 20 --unix-socket "$work/a/run/public.sock" "http://x$1"; }
is 'where its blocks begin' "$(at_a /v1/org | jq .blocks_from)" "$snapshot_slot"
is 'no blocks from before, and says so' "$(at_a '/v1/blocks?from=1&limit=1' | jq -r .error.code)" blocks.since
is 'the status is Gone' "$(curl -s -o /dev/null -w '%{http_code}' --unix-socket "$work/a/run/public.sock" 'http://x/v1/blocks?from=0')" 410
is 'the header of slot 0' "$(at_a '/v1/blocks?from=0&limit=1')" "$(get '/v1/blocks?from=0&limit=1')"
is 'its first block' "$(at_a "/v1/blocks?from=$snapshot_slot&limit=1")" "$(get "/v1/blocks?from=$snapshot_slot&limit=1")"
is 'proofs of what came after' "$(at_a "/v1/consistency?from=$snapshot_slot")" "$(get "/v1/consistency?from=$snapshot_slot")"
is 'not of what came before' "$(at_a '/v1/consistency?from=1' | jq -r .error.code)" blocks.since
MAGICBIZ_SOCKET=$work/a/run/public.sock exits 'an audit is told whom to ask' 1 'began with a snapshot' mb audit --full
t 'an audit of the first holds' mb audit --full

section 'after losses'
stop a KILL
rm "$work/a"/store.db*
t 'its store is made anew' start_daemon a "$work/a"
t 'from the snapshot' caught_up a
mb send filler.fill - <<<'{"from":1000}' >/dev/null
t 'settled' wait_until 20 settled
t 'and it follows on' wait_until 20 caught_up a
stop a
rm -r "$work/a"/store.db* "$work/a/snapshot"
refuses 'without snapshot and store it says what to do' 'put one of them back' "$work/a"

section 'what is not so'
pick=$(get /v1/snapshot | jq -r '.chunks[3]')
cp "$data/snapshot/$pick" "$work/good"
printf '\377' | dd of="$data/snapshot/$pick" bs=1 seek=5000 conv=notrunc status=none
t 'another joins' joined b
start_daemon b "$work/b"
t 'a flipped byte is refused, and named' wait_until 30 said b "snapshot.chunk.*$pick"
is 'the chunk is not kept' "$(ls "$work/b/incoming/snapshot" | grep -c "$pick")" 0
cp "$work/good" "$data/snapshot/$pick"
t 'the right one is taken' wait_until 60 caught_up b
stop b
cp "$data/snapshot/index.json" "$work/index"
jq -c '.checkpoint.signatures = []' "$work/index" >"$data/snapshot/index.json"
t 'another joins' joined c
start_daemon c "$work/c"
t 'an index that no majority signed is refused' wait_until 30 said c checkpoint.unsigned
is 'not one chunk was asked for' "$(here c)" 0
# All chunks have the names that the index says, and hold another state.
cp "$data/snapshot/$pick" "$work/false"
printf '\377' | dd of="$work/false" bs=1 seek=5000 conv=notrunc status=none
false_name=$(sha256sum <"$work/false" | cut -c 1-64)
cp "$work/false" "$data/snapshot/$false_name"
jq -c --arg a "$pick" --arg b "$false_name" '.chunks |= map(if . == $a then $b else . end)' "$work/index" \
    >"$data/snapshot/index.json"
t 'another state than the signed root is refused' wait_until 60 said c 'code=snapshot\.'
cp "$work/index" "$data/snapshot/index.json"
t 'and the true one taken' wait_until 60 caught_up c
is 'with the chunks that were good' "$(sed -n 's/.*fetched=\([0-9]*\).*/\1/p' "$work/c.err" | tail -n 1)" $((chunks + 1))
finish
