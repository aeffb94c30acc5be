#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# An organisation grows: one replica founded, two machines join, follow, and are made replicas; then
# the leader is killed, the others go on, it comes back, and the ledger is audited. On Unix sockets.
set -u
srcdir=${srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
builddir=${builddir:-$srcdir/build}
export MAGICBIZ_MODULE_DIR=$builddir/modules/.libs PATH=$builddir:$PATH
unset MAGICBIZ_ORG MAGICBIZ_SOCKET MAGICBIZ_SOCKS XDG_CONFIG_HOME XDG_STATE_HOME
work=$(mktemp -d /tmp/magicbiz-replicas.XXXXXX)
passed=0 failed=0
declare -A pid=()
leave() {
    kill "${pid[@]}" 2>/dev/null
    wait 2>/dev/null
    [ "$failed" -eq 0 ] || for i in 1 2 3 4; do echo "== log of $i"; tail -n 25 "$work/$i.log"; done
    rm -rf "$work"
}
trap leave EXIT
trap 'exit 130' INT TERM
ok() { # NAME COMMAND…
    local name=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
        head -c 2000 "$work/out"
    fi
}
not() { ! "$@"; }
run() {
    magicbizd run --config "$work/$1/magicbiz.conf" 2>>"$work/$1.log" &
    pid[$1]=$!
}
until_ok() { # SECONDS COMMAND…
    local n=$(($1 * 5))
    shift
    for _ in $(seq "$n"); do "$@" >/dev/null 2>&1 && return 0; sleep 0.2; done
    "$@"
}
get() { curl -s --max-time 20 --unix-socket "$work/$1/run/${3:-public}.sock" "http://x$2"; }
slot() { get "$1" /v1/org | sed 's/.*"slot":\([0-9]*\),"versions.*/\1/'; }
status() { get "$1" /v1/status operator; }
leader() { status "$1" | sed 's/.*"leader":\([0-9]*\),"name.*/\1/'; }
has_slot() { [ "$(slot "$1")" -ge "$2" ]; }
role() { status "$1" | grep -q '"role":"'"$2"'"'; }
voter() { status "$1" | grep -qE '"role":"(replica|leader)"'; }
has_leader() { [ "$(leader "$1")" -ne 0 ]; }
has_repo() { get "$1" "/v1/state?key=vcs/repo/$2" | grep -q '"value":{'; }
at() { local i=$1; shift; MAGICBIZ_SOCKET=$work/$i/run/public.sock magicbiz "$@"; }
settings() {
    sed -i '/^sockets/d' "$work/$1/magicbiz.conf"
    printf '\n[consensus]\nfolder = %s\nelection_ms = 1500\nrebuild_ms = 0\nheartbeat_ms = 100\nround_trip_ms = 20\n' \
        "$work/peers" >>"$work/$1/magicbiz.conf"
    grep -q '^\[follow' "$work/$1/magicbiz.conf" || return 0
    printf '\n[follow]\nsockets = %s\n' "$2" >>"$work/$1/magicbiz.conf"
}

export HOME=$work/home
mkdir -p "$HOME" "$work/peers"
chmod 700 "$work/peers"
magicbiz id new >/dev/null
ok "found" magicbizd init --name acme --founder "$(magicbiz id show --public)" --data "$work/1" \
    --tor none --epoch 12 --json
join=$(sed -n 's/.*"join":"\([^"]*\)".*/\1/p' "$work/out")
settings 1 ""
run 1
ok "the first runs" until_ok 10 test -S "$work/1/run/public.sock"
export MAGICBIZ_SOCKET=$work/1/run/public.sock
ok "org join" magicbiz org join acme "$join"
ok "a command" magicbiz repo create one
ok "and more" magicbiz repo create two
ok "an invite" magicbiz replica invite
invite=$(tail -n 1 "$work/out")
ok "a false invite is refused" not magicbizd join --invite "${invite/#magicbiz:[0-9a-f]/magicbiz:x}" \
    --data "$work/x" --tor none --socket "$MAGICBIZ_SOCKET"
for i in 2 3; do
    ok "machine $i joins" magicbizd join --invite "$invite" --data "$work/$i" --tor none \
        --socket "$work/1/run/public.sock"
    ok "and nothing is written over" not magicbizd join --invite "$invite" --data "$work/$i" \
        --tor none --socket "$work/1/run/public.sock"
    settings $i "$work/1/run/public.sock"
    run $i
    ok "it follows" until_ok 30 has_repo $i two
    ok "as a follower" role $i follower
    ok "and takes no command" not env MAGICBIZ_SOCKET="$work/$i/run/public.sock" \
        magicbiz --timeout 2 repo create never
    ok "it asks to become a replica" magicbiz replica request --socket "$work/$i/run/operator.sock"
    request=$(tail -n 1 "$work/out")
    ok "a founder adds it" magicbiz replica add "$request"
    ok "it votes" until_ok 60 voter $i
    ok "there is a leader" until_ok 30 has_leader $i
    ok "the same request is refused" not magicbiz replica add "$request"
    ok "a command after that" magicbiz repo create "after$i"
    # The window has passed: the next change may come.
    ok "the change is in force" until_ok 60 bash -c "! curl -s --unix-socket $work/1/run/public.sock \
        'http://x/v1/state?key=core/config/next' | grep -q replicas"
done
for i in 1 2 3; do
    ok "a command at $i" at $i repo create "at$i"
    ok "status of $i says who leads" grep -q 'leader: replica' \
        <(magicbiz status --socket "$work/$i/run/operator.sock")
done

# All three commit and reveal, followers through the leader.
echo '{"name":"beacon","value":1}' >"$work/beacon"
ok "a beacon is wanted" magicbiz send org.param.set "$work/beacon"
beacons() { get 2 '/v1/state?prefix=org/beacon/'; }
revealed() { beacons | grep -qE '"reveals":\{"1":"\w+","2":"\w+","3":"\w+"\}'; }
closed() { beacons | grep -qE '"missing":\[\],"value":"[0-9a-f]{64}"'; }
ok "all three reveal" until_ok 90 revealed
ok "and it closes with a value" until_ok 30 closed

old=$(leader 1)
kill -9 "${pid[$old]}"
wait "${pid[$old]}" 2>/dev/null
rest=$(for i in 1 2 3; do [ $i = "$old" ] || echo $i; done)
first=${rest%%[!0-9]*}
other_leads() { [ "$(leader "$first")" -ne 0 ] && [ "$(leader "$first")" -ne "$old" ]; }
ok "another leads" until_ok 30 other_leads
for i in $rest; do ok "a command at $i without $old" at $i repo create "without$i"; done
run "$old"
ok "it catches up" until_ok 30 has_repo "$old" "without$first"
ok "and takes commands" at "$old" repo create back
for i in 1 2 3; do ok "$i has it" until_ok 20 has_repo $i back; done

# A module is put in use while the organisation runs. One machine lacks it, stops before that slot, and
# goes on when it has it; old blocks are replayed as they were.
with_books() {
    sed -i 's/^modules = .*/modules = vcs books/' "$work/$1/magicbiz.conf"
    kill "${pid[$1]}"
    wait "${pid[$1]}" 2>/dev/null
    run "$1"
    until_ok 30 has_slot "$1" 1
}
others=$(for i in 1 2 3; do [ $i = "$first" ] || echo $i; done)
for i in $others; do ok "$i gets the module" with_books "$i"; done
ok "a leader" until_ok 30 has_leader "${others%%[!0-9]*}"
export MAGICBIZ_SOCKET=$work/${others%%[!0-9]*}/run/public.sock
to=$(($(slot "${others%%[!0-9]*}") + 80))
echo "{\"at_slot\":$to,\"module\":\"books\",\"version\":1}" >"$work/upgrade"
ok "an upgrade is decided" magicbiz send org.upgrade "$work/upgrade"
ok "there are no books before it" not magicbiz send books.account.open - <<<'{}'
passed_it() { magicbiz repo create "fill$((fill++))" && has_slot "${others%%[!0-9]*}" $((to + 2)); }
fill=0
ok "the slot passes" until_ok 120 passed_it
gone() { ! kill -0 "${pid[$first]}"; }
ok "the one without it stops" until_ok 30 gone
ok "and says why" grep -q 'books version 1' "$work/$first.log"
wait "${pid[$first]}" 2>/dev/null
ok "with it" with_books "$first"
ok "it goes on" until_ok 60 has_slot "$first" $((to + 2))
ok "the founder is a member" until_ok 30 at "$first" get books/asset/member
for i in 1 2 3; do ok "audit of $i" at $i audit --full; done

# One is away while a machine joins, and while that one leads: what it missed is by a proposer that it does
# not know until it has learnt the slots before.
away=$(for i in 1 2 3; do [ $i = "$first" ] || [ $i = "$(leader "$first")" ] || echo $i; done | head -n 1)
kill -9 "${pid[$away]}"
wait "${pid[$away]}" 2>/dev/null
export MAGICBIZ_SOCKET=$work/$first/run/public.sock
ok "an invite" magicbiz replica invite
ok "machine 4 joins" magicbizd join --invite "$(tail -n 1 "$work/out")" --data "$work/4" --tor none \
    --socket "$MAGICBIZ_SOCKET"
settings 4 "$MAGICBIZ_SOCKET"
sed -i 's/^modules = .*/modules = vcs books/' "$work/4/magicbiz.conf"
run 4
ok "it follows" until_ok 30 has_repo 4 back
ok "it asks" magicbiz replica request --socket "$work/4/run/operator.sock"
request=$(tail -n 1 "$work/out")
ok "it is added" magicbiz replica add "$request"
ok "it votes" until_ok 60 voter 4
fourth_leads() { # those that lead in its place are lost in turn
    local one
    one=$(leader 4)
    [ "$one" -eq 4 ] && return
    [ "$one" -ne 0 ] || return
    kill -9 "${pid[$one]}"
    wait "${pid[$one]}" 2>/dev/null
    run "$one"
    until_ok 10 voter "$one"
    until_ok 10 has_leader 4
    [ "$(leader 4)" -eq 4 ]
}
until_ok 2 fourth_leads >/dev/null || echo "elections went against machine 4: another leads, the rest is the same"
ok "there is a leader" until_ok 60 has_leader 4
ok "a command through it" at 4 repo create fourth
run "$away"
ok "the one that was away has it" until_ok 60 has_repo "$away" fourth
ok "and votes" until_ok 30 voter "$away"
ok "its audit" until_ok 60 at "$away" audit --full
ok "a replica is removed" at "$first" replica remove "$old"
echo "replicas: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
