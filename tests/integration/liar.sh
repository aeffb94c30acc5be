#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Three replicas that meet in a folder, one of which lies to the others: about receipts, packs,
# commands, times, its clock, and headers (src/loop/fault.h). The others go on, agree, and say so.
# Needs a build with --enable-faults: MB_FAULTS_BUILD, builddir, or one made for it.
. "$(dirname "$0")/faults-build.sh"
election_ms=1500 patience=90 # seconds, on a slow machine
. "$(dirname "$0")/lib-replicas.sh"
MB_TIMEOUT=$patience
other_leads() { # another than $1, for the others
    local i l
    for i in $(others "$1"); do
        l=$(metric "$i" consensus_leader)
        [ "${l:-0}" != 0 ] && [ "$l" != "$1" ] || return 1
    done
}
up() { start_daemon "n$1" "$work/d$1" env MAGICBIZ_LIES="$work/lies$1"; }
lie() { echo "$2" >"$work/lies$1"; }
truth() { rm -f "$work/lies$1"; }
put() { mb send org.param.set - <<<"{\"name\":\"$1\",\"value\":$2}"; }
has_param() { [ "$(MAGICBIZ_SOCKET=$work/d$1/run/public.sock get "/v1/state?key=org/params/$2" | jq .value)" = "$3" ]; }
# all_have NAME VALUE REPLICA…
all_have() {
    local i name=$1 value=$2
    shift 2
    for i in "$@"; do wait_until $patience has_param "$i" "$name" "$value" || return 1; done
}
# says N CODE WORDS: in status for people; and alarms are counted in the metrics
says() {
    MAGICBIZ_SOCKET=$work/d$1/run/operator.sock mb status >"$work/status" 2>&1
    grep -E "^alarm +$2: .*$3" "$work/status" && [ "$(metric "$1" daemon_alarms)" -ge 1 ]
}
logged() { grep -qE "$2" "$work/n$1.err"; }
ledger_time() { MAGICBIZ_SOCKET=$work/d$1/run/operator.sock get /v1/health | jq .time; }

section 'only a build for tests lies'
t 'this one can' grep -aqs MAGICBIZ_LIES "$build/.libs/libmagicbiz.so" "$build/libmagicbiz.la"
if [ -n "${plain-}" ]; then
    is 'the other cannot' "$(grep -alsrE 'MAGICBIZ_LIES|lie\.(receipt|keep|pack|censor|refuse|time|freeze|header)' "$plain"/.libs "$plain"/modules/.libs | wc -l)" 0
fi

section 'three replicas'
replicas
t 'a repository' mb repo create site
relays
commit first
t 'a push' push 1
for i in 1 2 3; do t "it is at $i" wait_until $patience has_all $i; done

section 'receipts that do not hold'
l=$(leader) && read -r f h <<<"$(others "$l")"
lie "$f" lie.receipt
kill -STOP "${pids[n$h]}" # so that the liar's is not too late to be looked at
commit 'receipt 1'
start push push "$l"
noticed() { [ "$(metric "$l" vcs_false_receipts_total)" -ge 1 ]; }
t 'the leader notices' wait_until $patience noticed
kill -CONT "${pids[n$h]}"
wait "${pids[push]}"
ok $? 'a push to it gets through, 1' "$work/push.err"
unset 'pids[push]'
for n in 2 3; do
    commit "receipt $n"
    t "a push to the leader, $n" push "$l"
done
t 'is at the others' wait_until $patience has_all "$h"
t 'status says who' says "$l" vcs.false_receipt "replica $f"
t 'so do the metrics' noticed
t 'and the log' logged "$l" "false_receipt.*replica=$f"
truth "$f"

section 'a receipt for what was not kept'
lie "$f" lie.keep
kill -STOP "${pids[n$h]}"
commit keep
t 'a push that one keeps, and one pretends to' push "$l"
kill -CONT "${pids[n$h]}"
t 'the third fetches it' wait_until $patience has_all "$h"
t 'a clone of it' g default "$h" clone -q "http://$onion/site.git" "$work/clone"
is 'is whole' "$(git -C "$work/clone" rev-parse HEAD)" "$tip"
truth "$f"
t 'in the end even the liar has it' wait_until $patience has_all "$f"

section 'packs that it has not'
wait_until $patience followed
away=$(others "$(leader)" | cut -d ' ' -f 2)
read -r f h <<<"$(others "$away")"
stop "n$away" KILL
lie "$f" lie.pack
for n in 1 2 3; do
    commit "pack $n"
    t "a push, $n" wait_until $patience push "$h"
done
stop "n$h" KILL
t 'one comes back, and finds the liar alone' up "$away"
t 'status says whose pack was false' wait_until $patience says "$away" vcs.false_pack "replica $f"
t 'so does the log' logged "$away" "false_pack.*replica=$f"
t 'the third comes back' up "$h"
t 'and the first has all of it' wait_until $patience has_all "$away"
truth "$f"

# ousted LIE CODE-WORDS NAME: the leader tells this lie. A command sent to a follower gets through.
ousted() {
    wait_until $patience followed
    ok $? 'all follow one leader'
    l=$(leader) && read -r f h <<<"$(others "$l")"
    at "$f"
    lie "$l" "$1"
    t 'a command gets through' put "$3" 1
    t 'as the others see it' all_have "$3" 1 "$f" "$h"
    t 'another leads' wait_until $patience other_leads "$l"
    t 'status says why' says "$f" replica.suspected "replica $l led and $2"
    [ "$(metric "$f" consensus_suspected_total)" -ge 1 ]
    ok $? 'so do the metrics'
    t 'and the log' logged "$f" "suspected.*replica=$l"
    truth "$l"
}
section 'a leader that censors'
ousted lie.censor 'let a command lie' censored
section 'a leader that refuses what the state allows'
ousted lie.refuse 'let a command lie' refused

section 'a leader that hurries'
ousted lie.time 'proposed times' hurried
[ "$(ledger_time "$f")" -lt $(($(date +%s) + 121)) ]
ok $? 'ledger time is what it is'
wait_until $patience followed
l=$(leader) && read -r f h <<<"$(others "$l")"
at "$l"
lie "$l" lie.time
t 'a command that the liar itself took gets through' put hurried 2
t 'another leads' wait_until $patience other_leads "$l"
[ "$(ledger_time "$f")" -lt $(($(date +%s) + 121)) ]
ok $? 'and ledger time is what it is'
truth "$l"

section 'a leader that freezes time'
wait_until $patience followed
l=$(leader) && read -r f h <<<"$(others "$l")"
at "$f"
lie "$l" lie.freeze
t 'a command' put frozen 1
before=$(ledger_time "$f")
turn=1
other_and_more() {
    turn=$((turn + 1))
    put frozen $turn
    sleep 3
    other_leads "$l"
}
t 'another leads, in the end' wait_until 400 other_and_more
t 'status says why' says "$f" replica.suspected "replica $l led and let ledger time stand still"
t 'and the log' logged "$f" "suspected.*replica=$l .*stand still"
truth "$l"
put frozen 0 >"$work/t.out" 2>&1
later() { [ "$(ledger_time "$f")" -gt $((before + 100)) ]; }
t 'ledger time goes on' wait_until $patience later

section 'a leader whose clock is wrong'
wait_until $patience followed
l=$(leader) && read -r f h <<<"$(others "$l")"
at "$f"
lie "$l" clock.off
t 'leads no longer' wait_until $patience other_leads "$l"
t 'it says why' says "$l" clock.off 'does not vote: its clock is 3600 s ahead'
is 'so do its metrics' "$(metric "$l" consensus_abstains)" 1
t 'and its log' logged "$l" 'abstains.*clock_off_s=3600'
t 'the others go on' put clock 1
t 'and it learns' all_have clock 1 "$l"
stop "n$h" KILL
echo '{"name":"clock","value":2}' >"$work/body"
timeout 8 magicbiz send org.param.set "$work/body" >"$work/t.out" 2>&1
is 'it makes no majority' $? 124
truth "$l"
t 'once the clock is right it does' wait_until $patience put clock 3
t 'the third is back' up "$h"

section 'another history'
wait_until $patience followed
l=$(leader) && read -r f h <<<"$(others "$l")"
at "$h"
lie "$f" lie.header
for n in 1 2 3; do put header $n >"$work/t.out" 2>&1; done
recorded() { [ "$(MAGICBIZ_SOCKET=$work/d$1/run/public.sock get "/v1/state?prefix=org/attest/" | jq -r '.items[].value.number')" = "$f" ]; }
for i in "$l" "$h"; do
    t "the evidence is on record at $i" wait_until $patience recorded "$i"
    t "status of $i says so" wait_until $patience says "$i" replica.diverged 'on the record.*magicbiz replica remove'
    is 'so do the metrics' "$(metric "$i" ledger_replicas_diverged)" 1
done
t 'and the log' grep -qE '^error ledger diverged slot=[0-9]+ key=SHA256:' "$work/n$l.err" "$work/n$h.err"
t 'the others go on' put header 4
t 'and agree' agree "$l" "$h"
t 'with checkpoints' wait_until $patience settled
is 'by the two of them' "$(mb org show --json | jq -c .signed)" "$(jq -nc "[$l, $h] | sort")"
exits 'org show says who signed what' 0 "^replica $f .* did not sign slot .* signed another header for slot .* remove it" mb org show
exits 'and of the others' 0 "^replica $h .* signed slot" mb org show
exits 'audit --full tells it' 0 "^replica $f .* signed a header for slot .* not the ledger's" mb audit --full
stop "n$h" TERM
t 'one that starts again' up "$h"
t 'says so still' wait_until $patience says "$h" replica.diverged 'on the record'
for n in 5 6; do put header $n >"$work/t.out" 2>&1; done
t 'there are checkpoints' wait_until $patience settled
is 'and believes it no more' "$(mb org show --json | jq -c .signed)" "$(jq -nc "[$l, $h] | sort")"
truth "$f"

section 'it is removed'
t 'removed' mb replica remove "$f"
gone() { [ "$(get /v1/org | jq -c '[.config.replicas[].number]')" = "$(jq -nc "[$l, $h] | sort")" ]; }
t 'it is in force' wait_until $patience gone
clear_of() { MAGICBIZ_SOCKET=$work/d$1/run/operator.sock get /v1/health | jq -e '[.alarms[] | select(.code == "replica.diverged")] == []'; }
t 'and the alarm is over' wait_until $patience clear_of "$h"
t 'two go on' put removed 1
t 'and agree' agree "$l" "$h"
wait_until $patience settled
exits 'the whole ledger holds' 0 'everything holds' mb audit --full
for i in "$l" "$h"; do
    stop n$i
    ok $? "replica $i stops" "$work/n$i.err"
done
finish
