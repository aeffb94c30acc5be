#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Catching up by a snapshot: a newcomer gets it over streams that are cut ten times and over its own
# restart, refuses what is not so and says what, and serves what it has from then on. And a replica
# that was away until the others' blocks were gone gets one, and votes again.
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
stop c

section 'a replica that was away until the blocks that it needs are gone'
# Nothing but the snapshot leads on: the others have an archive that begins with it.
mkdir -m 700 "$work/meet"
meets() { # NAME: replicas find each other in that folder
    printf '\n[consensus]\nfolder = %s\nelection_ms = 1500\nrebuild_ms = 0\nheartbeat_ms = 100\nround_trip_ms = 20\n' \
        "$work/meet" >>"$work/$1/magicbiz.conf"
    sed -i 's/^snapshot_behind = .*/snapshot_behind = 100000/' "$work/$1/magicbiz.conf"
}
operator() { curl -s -m 10 --unix-socket "$work/$1/run/operator.sock" "http://x/v1/$2"; }
votes() { operator "$1" status | jq -e '.role == "replica" or .role == "leader"'; }
in_force() { [ "$(get '/v1/state?key=core/config/next' | jq .value)" = null ]; }
has_key() { [ "$(curl -s -m 5 --unix-socket "$work/$1/run/public.sock" "http://x/v1/state?key=org/params/$2" | jq .value)" = "$3" ]; }
put() { mb send org.param.set - <<<"{\"name\":\"$1\",\"value\":$2}" >/dev/null; }
stop node
meets data
t 'the first starts again' start_daemon node "$data"
for i in two three; do
    t "$i joins" joined $i
    meets $i
    sed -i 's/^snapshot_behind = .*/snapshot_behind = 10/' "$work/$i/magicbiz.conf"
    start_daemon $i "$work/$i"
    t 'and follows' wait_until 60 caught_up $i
    t 'it asks to become a replica' mb replica request --socket "$work/$i/run/operator.sock"
    t 'and is added' mb replica add "$(tail -n 1 "$work/t.out")"
    t 'it votes' wait_until 60 votes $i
    t 'the change is in force' wait_until 60 in_force
done
stands() { away=$(operator three status | jq .slot) && [ "${away:-0}" -gt 0 ]; }
t 'it has a slot' wait_until 20 stands
stop three
written=0
for ((i = 0; i < 70; i++)); do put away "$i" && written=$((written + 1)); done
is 'the others go on without it' $written 70
t 'settled' wait_until 30 settled
newer() { [ "$(get /v1/snapshot | jq .slot)" -gt "$away" ]; }
t 'a snapshot was made meanwhile' wait_until 60 newer
t 'a newcomer joins' joined four
start_daemon four "$work/four"
t 'and has it' wait_until 60 caught_up four
wait_until 60 caught_up two
stop four
stop node
stop two
for i in data two; do
    rm -r "$work/$i"/{archive,snapshot} "$work/$i"/store.db*
    cp -a "$work/four"/{archive,snapshot,store.db} "$work/$i"
done
start_daemon node "$data"
start_daemon two "$work/two"
t 'the others go on with what is left' put left 1
is 'its blocks are gone' "$(get "/v1/blocks?from=$((away + 1))&limit=1" | jq -r .error.code)" blocks.since
sed -i 's/^snapshot_behind = .*/snapshot_behind = 100000/' "$work/three/magicbiz.conf"
t 'it starts again' start_daemon three "$work/three"
t 'and gets the snapshot once it has learned nothing for a minute' wait_until 150 has_key three left 1
is 'and no other way' "$(grep -c 'fetch installed' "$work/three.err")" 1
t 'it votes' wait_until 30 votes three
stop two
t 'with one other only, it is the majority' wait_until 60 put majority 1
t 'and it has that' wait_until 20 has_key three majority 1
finish
