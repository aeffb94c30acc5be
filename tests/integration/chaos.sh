#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Three replicas on Unix sockets, clients that write through any of them, and one fault after
# another: kill -9, SIGSTOP, cut and slow streams, a full disk, clocks that jump. Then the replicas
# have to agree, every acknowledged command has to stand where it was acknowledged, once, and in
# the order of real time, and the whole ledger has to hold.
# MB_CHAOS_SECONDS (60) of it, with MB_CHAOS_CLIENTS (4); MB_CHAOS_FAULTS names the faults.
election_ms=500
. "$(dirname "$0")/lib-replicas.sh"
seconds=${MB_CHAOS_SECONDS:-60} clients=${MB_CHAOS_CLIENTS:-4}
client=$build/tests/integration/chaos-client proxy=$build/tests/integration/chaos-proxy

section 'the checker itself'
# Two clients and four commands; then histories and ledgers that cannot be true of each other.
op() { printf '{"id":"%064d","name":"a","value":%d,"start":%d,"end":%d,"slot":%d,"index":%d}\n' "$1" "$@"; }
block() { # SLOT PROPOSER ID…
    local slot=$1 by=$2
    shift 2
    printf '%064d\n' "$@" | jq -cRn --argjson s "$slot" --arg p "$by" \
        '{slot: $s, header: "h\($s)", proposer: $p, results: [inputs | {id: ., ok: true} | tojson]}'
}
{ op 1 10 20 1 0; op 2 15 30 2 0; op 3 25 40 2 1; op 4 50 0 0 -1; } >"$work/h"
{ block 1 a 1; block 2 b 2 3; block 3 b 4; } >"$work/l"
printf '{"at":22,"proposer":"a","limit_ms":1}\n' >"$work/e"
: >"$work/none"
t 'takes what is true' "$client" check "$work/h" "$work/e" "$work/l" "$work/l"
finds() { # NAME WORDS HISTORY EVENTS LEDGER…
    local name=$1 words=$2 h=$3 e=$4
    shift 4
    exits "finds $name" 1 "$words" "$client" check "$h" "$e" "$@"
}
{ block 1 a 1; block 2 b 2; block 3 b 4; } >"$work/x"
finds 'a lost command' 'is lost' "$work/h" "$work/none" "$work/x"
{ block 1 a 1; block 2 b 2 3; block 3 b 4 1; } >"$work/x"
finds 'a command carried out twice' 'twice' "$work/h" "$work/none" "$work/x"
sed 's/h2/hx/' "$work/l" >"$work/x"
finds 'replicas that differ' 'another header for slot 2 ' "$work/h" "$work/none" "$work/l" "$work/x"
head -n 2 "$work/l" >"$work/x"
finds 'a replica that lags' 'has 2 slots' "$work/h" "$work/none" "$work/l" "$work/x"
{ op 1 10 20 1 0; op 2 15 30 2 1; } >"$work/x"
finds 'a command in another place' 'and is in' "$work/x" "$work/none" "$work/l"
{ op 1 41 50 1 0; op 3 25 40 2 1; } >"$work/x"
finds 'an order against real time' 'had been acknowledged' "$work/x" "$work/none" "$work/l"
{ op 4 10 20 3 0; op 3 25 0 0 -1; } >"$work/x"
finds 'the same of a command that nobody acknowledged' 'had been acknowledged' "$work/x" "$work/none" "$work/l"
{ op 1 10 20 1 0; op 2 15 90000 2 0; } >"$work/x"
finds 'a slow failover' 'that is over' "$work/x" "$work/e" "$work/l"
{ op 1 10 20 1 0; } >"$work/x"
finds 'no failover' 'nothing was acknowledged' "$work/x" "$work/e" "$work/l"
finds 'an empty history' 'no history' "$work/none" "$work/none" "$work/l"

section 'three replicas'
faketime=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1 2>/dev/null | head -n 1)
# Sanitizers may not bear it.
LD_PRELOAD=$faketime magicbizd --version >/dev/null 2>&1 || faketime=
shared=() # libfaketime's, which processes that are killed leave behind
trap 'clean_up; rm -f "${shared[@]}"' EXIT
mkdir "$work/d3" # with a disk of its own, that can be full
if mount -t tmpfs -o size=2g,mode=700 tmpfs "$work/d3" 2>/dev/null; then mounted=$work/d3; fi
for i in 1 2 3; do echo +0 >"$work/clock$i"; done

# up N: it serves, with a clock of its own.
up() {
    local clock=() status
    [ -z "$faketime" ] || clock=(LD_PRELOAD="$faketime" FAKETIME_TIMESTAMP_FILE="$work/clock$1"
        FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1)
    cat "$work/n$1.err" >>"$work/log$1" 2>/dev/null
    start_daemon "n$1" "$work/d$1" env "${clock[@]}"
    status=$?
    shared+=("/dev/shm/faketime_shm_${pids[n$1]}" "/dev/shm/sem.faketime_sem_${pids[n$1]}")
    return $status
}
starts() {
    up "$1"
    ok $? "replica $1 starts" "$work/n$1.err"
}
kill_9() {
    stop "n$1" KILL 2>/dev/null
}
# ready: all follow one leader, and a command gets through.
ready() {
    wait_until 20 followed && MB_TIMEOUT=20 mb send org.param.set - <<<'{"name":"a","value":1}'
}
control() { printf '%s\n' "$@" >"$work/control"; }

replicas
for i in 1 2 3; do # from here on they meet through the proxy
    peer[$i]=$(get /v1/org | jq -r ".config.replicas[$i - 1].peer_onion")
    public[$i]=$(get /v1/org | jq -r ".config.replicas[$i - 1].public_key")
    mkdir "$work/meet$i"
done
for i in 1 2 3; do
    stop n$i
    sed -i "s|^folder = .*|folder = $work/meet$i|" "$work/d$i/magicbiz.conf"
done
mkfifo "$work/control"
start proxy "$proxy" "$work/control" \
    1 2 "$work/meet1/${peer[2]}" "$work/meet2/${peer[2]}" \
    1 3 "$work/meet1/${peer[3]}" "$work/meet3/${peer[3]}" \
    2 3 "$work/meet2/${peer[3]}" "$work/meet3/${peer[3]}"
for i in 1 2 3; do starts $i; done
sockets=("$work/d1/run/public.sock" "$work/d2/run/public.sock" "$work/d3/run/public.sock")
wait_until 20 followed
ok $? 'all follow one leader'

section "$clients clients and faults for $seconds s"
start load "$client" load "$work/history" "$ids/default" "$org" "$clients" "${sockets[@]}"
: >"$work/events"
follower() { others "$1" | cut -d ' ' -f $((RANDOM % 2 + 1)); }
# What each does to the leader $1, until it has healed it.
others_follow() { # another leader than $1
    local l
    l=$(leader) && [ "$l" != "$1" ]
}
kill_leader() { # and measure: three election timeouts, as its successors have measured them
    local o limit=0 timeout
    for o in $(others "$1"); do
        timeout=$(metric "$o" consensus_election_milliseconds)
        [ $((3 * timeout)) -le $limit ] || limit=$((3 * timeout))
    done
    printf '{"at":%d,"proposer":"%s","limit_ms":%d}\n' $(($(date +%s%N) / 1000)) "${public[$1]}" $limit >>"$work/events"
    kill_9 "$1"
    wait_until 20 others_follow "$1"
    sleep 1
    starts "$1"
}
kill_follower() {
    local f
    f=$(follower "$1")
    kill_9 "$f"
    sleep 1
    starts "$f"
}
kill_two() {
    local f
    f=$(follower "$1")
    kill_9 "$1"
    kill_9 "$f"
    sleep 1
    starts "$f"
    starts "$1"
}
kill_all() {
    local i
    for i in 1 2 3; do kill_9 $i; done
    for i in 1 2 3; do starts $i; done
}
restart_leader() {
    stop "n$1"
    is "replica $1 stops" $? 0
    starts "$1"
}
stop_leader() {
    kill -STOP "${pids[n$1]}"
    sleep 3
    kill -CONT "${pids[n$1]}"
}
stop_follower() { stop_leader "$(follower "$1")"; }
cut_leader() {
    local o
    for o in $(others "$1"); do control "cut $1 $o" "cut $o $1"; done
    sleep 4
    control heal
}
cut_follower() { cut_leader "$(follower "$1")"; }
mute_leader() {
    local o
    for o in $(others "$1"); do control "cut $1 $o"; done
    sleep 4
    control heal
}
deafen_leader() {
    local o
    for o in $(others "$1"); do control "cut $o $1"; done
    sleep 4
    control heal
}
cut_one() { # the leader and one of the others; both reach the third
    local f
    f=$(follower "$1")
    control "cut $1 $f" "cut $f $1"
    sleep 5
    control heal
}
slow() {
    control 'delay 300'
    sleep 5
    control heal
}
break_streams() {
    local n
    for n in 1 2 3 4 5 6; do
        control break
        sleep 0.3
    done
}
full_disk() {
    [ -n "${mounted-}" ] || return 0
    fallocate -l 4g "$mounted/fill" 2>/dev/null
    dd if=/dev/zero of="$mounted/fill1" bs=1M status=none 2>/dev/null
    dd if=/dev/zero of="$mounted/fill2" bs=4k status=none 2>/dev/null
    sleep 4
    rm -f "$mounted"/fill*
    if running n3; then return 0; fi
    grep -qiE 'no space|full' "$work/n3.err"
    ok $? 'replica 3 stopped, and says that its disk is full' "$work/n3.err"
    kill_9 3
    starts 3
}
jump() { # N SECONDS
    [ -n "$faketime" ] || return 0
    echo "$2" >"$work/clock$1"
    sleep 6
    echo +0 >"$work/clock$1"
    sleep 1
}
clock_ahead() { jump "$1" +3600; }
clock_behind() { jump "$1" -3600; }
clock_ahead_follower() { jump "$(follower "$1")" +3600; }
all_faults="kill_leader cut_leader kill_follower mute_leader clock_ahead kill_leader stop_leader full_disk
    slow kill_two deafen_leader break_streams restart_leader kill_leader clock_behind cut_follower
    kill_all cut_one stop_follower clock_ahead_follower"
[ -n "${mounted-}" ] || echo 'skip a full disk: no right to mount a tmpfs'
[ -n "$faketime" ] || echo 'skip jumping clocks: libfaketime is not installed, or not borne'
end=$((SECONDS + seconds)) first=$SECONDS
while [ $SECONDS -lt $end ]; do
    for fault in ${MB_CHAOS_FAULTS:-$all_faults}; do
        [ $SECONDS -lt $end ] || break
        sleep 1.5
        ready >"$work/t.out" 2>&1
        status=$?
        ok $status "all follow one leader that leads, before $fault at $((SECONDS - first)) s" "$work/t.out"
        [ $status = 0 ] || break 2
        $fault "$(leader)"
        for i in 1 2 3; do
            running n$i || { ok 1 "replica $i runs on after $fault" "$work/n$i.err"; starts $i; }
        done
    done
done
sleep 2
stop load
ok $? 'no client was refused' "$work/load.err"
cat "$work/load.out"

section 'afterwards'
wait_until 20 followed
ok $? 'all follow one leader'
tips() { metric 1 ledger_slot; metric 2 ledger_slot; metric 3 ledger_slot; }
level() { [ "$(tips | sort -u | wc -l)" = 1 ]; }
at_rest() {
    for MAGICBIZ_SOCKET in "${sockets[@]}"; do settled || return 1; done
    level
}
wait_until 30 at_rest
ok $? "all stand at one slot: $(tips | paste -sd ' ')"
for i in 1 2 3; do
    MAGICBIZ_SOCKET=${sockets[$((i - 1))]}
    : >"$work/ledger$i"
    while next=$(($(wc -l <"$work/ledger$i") + 1)); [ $next -le "$(slot)" ]; do
        get "/v1/blocks?from=$next&limit=1000" >>"$work/ledger$i"
        [ "$(wc -l <"$work/ledger$i")" -ge $next ] || break
    done
done
t 'what the clients saw is true' "$client" check "$work/history" "$work/events" \
    "$work/ledger1" "$work/ledger2" "$work/ledger3"
cat "$work/t.out"
for i in 1 2 3; do
    MAGICBIZ_SOCKET=${sockets[$((i - 1))]}
    MB_TIMEOUT=$((60 + 2 * seconds)) exits "the whole ledger of replica $i holds" 0 'everything holds' mb audit --full
    grep -i 'checkpoint' "$work/t.out"
done
for i in 1 2 3; do
    stop n$i
    is "replica $i stops" $? 0
done
for i in 1 2 3; do
    cat "$work/log$i" "$work/n$i.err" >"$work/all$i" 2>/dev/null
    [ -z "${MB_CHAOS_LOGS-}" ] || cp "$work/all$i" "$MB_CHAOS_LOGS/"
    grep -hE 'ERROR|panic|Sanitizer' "$work/all$i" | grep -viE 'no space|full' | head -n 3
done
[ $failed = 0 ] || [ -z "${MB_CHAOS_LOGS-}" ] || cp "$work/history" "$work"/ledger? "$work/events" "$MB_CHAOS_LOGS/"
finish
