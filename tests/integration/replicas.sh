#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# An organisation grows: one replica founded, two machines join, follow, and are made replicas; then
# the leader is killed, the others go on, it comes back, and the ledger is audited. On Unix sockets.
election_ms=1500
. "$(dirname "$0")/lib-replicas.sh"
not() { ! "$@"; }
leader_of() { on "$1" /v1/status | jq .leader; }
has_leader() { [ "$(leader_of "$1")" -gt 0 ]; }
role() { [ "$(on "$1" /v1/status | jq -r .role)" = "$2" ]; }
has_repo() { [ "$(asked "$1" key_of "vcs/repo/$2")" != null ]; }
creates() { asked "$1" mb repo create "$2"; }

section 'one replica'
first --epoch 12
t 'a command' mb repo create one
t 'and more' mb repo create two
t 'a false invite is refused' not joins x "${invite/#magicbiz:[0-9a-f]/magicbiz:x}"

section 'two machines join'
for i in 2 3; do
    t "machine $i joins" joins $i "$invite"
    t 'and nothing is written over' not joins $i "$invite"
    settings $i
    t 'it runs' up $i
    t 'it follows' wait_until 30 has_repo $i two
    t 'as a follower' role $i follower
    t 'and takes no command' not asked $i mb --timeout 2 repo create never
    made_a_replica $i
    t 'the same request is refused' not mb replica add "$request"
    t 'there is a leader' wait_until 30 has_leader $i
    t 'a command after that' mb repo create "after$i"
    # The window has passed: the next change may come.
    t 'the change is in force' wait_until 60 in_force
done
for i in 1 2 3; do
    t "a command at $i" creates $i "at$i"
    exits "status of $i says who leads" 0 'leader: replica' mb status --socket "$work/d$i/run/operator.sock"
done

section 'a beacon' # All three commit and reveal, followers through the leader.
t 'is wanted' mb send org.param.set - <<<'{"name":"beacon","value":1}'
beacons() { asked 2 get '/v1/state?prefix=org/beacon/'; }
revealed() { beacons | grep -qE '"reveals":\{"1":"\w+","2":"\w+","3":"\w+"\}'; }
closed() { beacons | grep -qE '"missing":\[\],"value":"[0-9a-f]{64}"'; }
t 'all three reveal' wait_until 90 revealed
t 'and it closes with a value' wait_until 30 closed

section 'the leader is killed'
old=$(leader)
rest=$(others "$old") first=${rest%% *}
lose "$old"
for i in $rest; do t "a command at $i without $old" creates "$i" "without$i"; done
back "$old"
t 'has what was made without it' has_repo "$old" "without$first"
t 'and takes commands' creates "$old" back
for i in 1 2 3; do t "$i has it" wait_until 20 has_repo $i back; done

section 'a module is put in use while the organisation runs'
# One machine lacks it, stops before that slot, and goes on when it has it; old blocks are replayed as they were.
given_books() { # N
    sed -i 's/^modules = .*/modules = vcs books/' "$work/d$1/magicbiz.conf"
    stop "n$1"
    up "$1" && wait_until 30 has_slot "$1" 1
}
read -r second third <<<"$(others "$first")"
for i in $second $third; do t "$i gets the module" given_books "$i"; done
t 'a leader' wait_until 30 has_leader "$second"
at "$second"
to=$(($(slot) + 80))
t 'an upgrade is decided' mb send org.upgrade - <<<"{\"at_slot\":$to,\"module\":\"books\",\"version\":1}"
t 'there are no books before it' not mb send books.account.open - <<<'{}'
fill=0
passed_it() { mb repo create "fill$((fill++))" && has_slot "$second" $((to + 2)); }
t 'the slot passes' wait_until 120 passed_it
t 'the one without it stops' wait_until 30 not running "n$first"
t 'and says why' grep -q 'books version 1' "$work/n$first.err"
t 'with it' given_books "$first"
t 'it goes on' wait_until 60 has_slot "$first" $((to + 2))
t 'the founder is a member' wait_until 30 asked "$first" mb get books/asset/member
for i in 1 2 3; do t "audit of $i" asked $i mb audit --full; done

section 'one is away while a machine joins, and while that one leads'
# What it missed is by a proposer that it does not know until it has learnt the slots before.
away=$second
[ "$(leader)" != "$second" ] || away=$third
stop "n$away" KILL
at "$first"
t 'an invite' mb replica invite
t 'machine 4 joins' joins 4 "$(tail -n 1 "$work/t.out")"
settings 4
sed -i 's/^modules = .*/modules = vcs books/' "$work/d4/magicbiz.conf"
t 'it runs' up 4
t 'it follows' wait_until 30 has_repo 4 back
made_a_replica 4
fourth_leads() { # those that lead in its place are lost in turn
    local one
    wait_until 10 followed
    one=$(leader) || return
    [ "$one" != 4 ] || return 0
    stop "n$one" KILL
    up "$one"
    wait_until 10 votes "$one"
    wait_until 10 followed
    [ "$(leader_of 4)" = 4 ]
}
for _ in {1..10}; do
    if fourth_leads; then break; fi
done
[ "$(leader_of 4)" = 4 ] || echo 'elections went against machine 4: another leads, the rest is the same'
t 'there is a leader' wait_until 60 has_leader 4
t 'a command through it' creates 4 fourth
t 'the one that was away is back' up "$away"
t 'and has it' wait_until 60 has_repo "$away" fourth
t 'and votes' wait_until 30 votes "$away"
t 'its audit' wait_until 60 asked "$away" mb audit --full
t 'a replica is removed' asked "$first" mb replica remove "$old"
finish
