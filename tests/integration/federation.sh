#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A federation founded with conf/rulebooks/federation.lua: Nadia speaks for a nation, Omar for an organisation, Ida
# for herself. Money on a schedule, a delegate, an election and its mandate, an allowance, a measurement, a veto
# and a raffle from the beacon of three replicas; on three real daemons.
. "$(dirname "$0")/lib.sh"
data=$work/data
period=15

section 'founded by Fay, who gives three members their kinds'
for n in nadia omar ida; do mb id new "$n" >/dev/null; done
params=()
for p in routine treasury constitution; do
    for s in support_s=60 review_s=1 voting_s=4 grace_s=2; do params+=(--param "gov.$p.$s"); done
done
for p in inflation_ppm=10000 yield_ppm=2000 average_epochs=2 delegate_fee=40 delegate_reputation=20 \
    delegate_epochs=8 spend_executive=30 figure_epochs=1 raffle_prize=60; do params+=(--param "rules.$p"); done
t 'found' found "$data" --module books --module gov --module rules --epoch $period \
    --rulebook "$top/conf/rulebooks/federation.lua" "${params[@]}"
mkdir "$work/peers"
settings() { # DATA: how it meets the others
    sed -i '/^sockets/d' "$1/magicbiz.conf"
    printf '\n[consensus]\nfolder = %s\nelection_ms = 1500\nrebuild_ms = 0\nheartbeat_ms = 100\nround_trip_ms = 20\n' \
        "$work/peers" >>"$1/magicbiz.conf"
}
settings "$data"
t 'starts' start_daemon node "$data"
MAGICBIZ_SOCKET=$data/run/public.sock
export MAGICBIZ_SOCKET
t 'join' mb org join federation "$(jq -r .join "$data.json")"
t 'an invite' mb replica invite
invite=$(tail -n 1 "$work/t.out")
voter() { curl -s -m 10 --unix-socket "$1/run/operator.sock" http://x/v1/status | grep -qE '"role":"(replica|leader)"'; }
in_force() { ! get '/v1/state?key=core/config/next' | grep -q replicas; }
for i in 2 3; do
    t "machine $i joins" magicbizd join --invite "$invite" --data "$data$i" --tor none --socket "$MAGICBIZ_SOCKET"
    settings "$data$i"
    printf '\n[follow]\nsockets = %s\n' "$MAGICBIZ_SOCKET" >>"$data$i/magicbiz.conf"
    t 'starts' start_daemon "node$i" "$data$i"
    t 'asks to be a replica' mb replica request --socket "$data$i/run/operator.sock"
    t 'is made one' mb replica add "$(tail -n 1 "$work/t.out")"
    t 'votes' wait_until 60 voter "$data$i"
    t 'and is in force' wait_until 60 in_force
done
who() { mb id show --id "$1" --json | jq -r .fingerprint; }
nadia=$(who nadia) omar=$(who omar) ida=$(who ida) # fingerprints
# In the newest state, whether a checkpoint covers it or not.
key_of() { curl -s -m 10 --unix-socket "$MAGICBIZ_SOCKET" -G http://x/v1/state --data-urlencode "key=$1" | jq -c .value; }
held() { key_of "books/balance/$1/$2" | sed 's/null/0/'; } # ASSET ACCOUNT
# NAME, then ACCOUNT ASSET AMOUNT …: a posting that NAME signs
post() {
    local name=$1 entries=
    shift
    while [ $# -gt 0 ]; do
        entries+=${entries:+,}'{"account":"'$1'","asset":"'$2'","amount":'$3'}'
        shift 3
    done
    mb send books.post - --id "$name" <<<"{\"entries\":[$entries]}"
}
give() { post default "issue/$2" "$2" "-$3" "$1" "$2" "$3"; } # ACCOUNT ASSET AMOUNT
epoch() { key_of core/epoch; }
later() { [ "$(epoch)" -gt "$1" ]; }
next_epoch() { wait_until $((3 * period)) later "$(epoch)"; }
state_of() { key_of "gov/proposal/$1" | jq -r .state; }
in_state() { [ "$(state_of "$1")" = "$2" ]; }
send() { mb send "$1" - <<<"$2"; }

t 'the currency' send books.asset.create '{"asset":"coin","title":"Coins","transferable":1}'
good=0
for a in nation organisation individual average voted delegate seat-assembly seat-executive seat-judiciary \
    seat-finance seat-coordination allowance figure ticket-a ticket-b; do
    send books.asset.create "{\"asset\":\"$a\"}" >/dev/null && good=$((good + 1))
done
is 'what the rulebook needs' $good 15
t 'reputation, at most 100' send books.asset.create '{"asset":"reputation","cap":100,"half_life_epochs":10000}'
for a in treasury executive delegates; do
    send books.account.open "{\"account\":\"org/$a\"}" >/dev/null && good=$((good + 1))
done
is 'accounts' $good 18
t 'elections' send gov.procedure.set '{"name":"election","ballot":"ranked","sponsors":0,"sponsors_root":0,
    "review_s":1,"voting_s":5,"grace_s":3,"veto":"seat-coordination","vetoes":1,"weight":"rules",
    "commands":["books.post:seat-executive"]}'
t 'a beacon' send org.param.set '{"name":"beacon","value":1}'
for m in "$nadia" "$omar" "$ida"; do
    give "key/$m" member 1 >/dev/null && give "key/$m" coin 1000 >/dev/null && good=$((good + 1))
done
is 'members, of 1000 coins each' $good 21
t 'a nation' give "key/$nadia" nation 1
t 'an organisation' give "key/$omar" organisation 1
t 'an individual' give "key/$ida" individual 1
t 'coins for the executive' give org/executive coin 500

section 'money'
t 'an epoch begins' next_epoch
paid() { [ "$(held coin org/treasury)" -ge 35 ]; }
t 'one part in a hundred of 3500 is issued to the treasury' wait_until 40 paid
averaged() { [ "$(held average "key/$ida")" -ge 500 ]; }
t 'and what each holds is noted, slowly' wait_until 10 averaged

section 'a delegate'
names_omar() { # SECONDS
    mb send gov.delegate - --id ida <<<"{\"to\":\"$omar\",\"until\":$(($(date +%s) + $1))}"
}
exits 'takes reputation' 1 'a reputation of 20, not 0' post omar "key/$omar" coin -40 org/delegates coin 40
t 'Omar is given some' give "key/$omar" reputation 50
exits 'takes the fee' 1 'pays 40, not 39' post omar "key/$omar" coin -39 org/delegates coin 39
exits 'Ida cannot name him yet' 1 'no delegate' \
    names_omar 60
t 'Omar pays' post omar "key/$omar" coin -40 org/delegates coin 40
exits 'not for longer than his term' 1 'is one until' \
    names_omar 3600
t 'Ida names him' names_omar 60

section 'an election: who is the executive, for 20 epochs?'
seat() { # FINGERPRINT: the commands of an option
    echo '[{"type":"books.post","body":{"entries":[{"account":"issue/seat-executive","asset":"seat-executive","amount":-20},
        {"account":"key/'"$1"'","asset":"seat-executive","amount":20}]}}]'
}
echo "[{\"title\":\"Nadia\",\"commands\":$(seat "$nadia")},{\"title\":\"Ida\",\"commands\":$(seat "$ida")}]" >"$work/options"
low=$(held average "key/$omar")
t 'proposed' mb proposal create election 'An executive' --options "$work/options" --id ida
t 'the vote opens' wait_until 20 in_state 1 voting
weight=$(key_of "gov/elector/1/$omar" | jq .weight)
[ "$low" -gt 0 ] && [ "$weight" -ge $((500 + low)) ] && [ "$weight" -le $((500 + $(held average "key/$omar"))) ]
ok $? "Omar weighs his reputation, and his savings: $weight"
is 'Fay is a member of no kind, and no elector' \
    "$(key_of "gov/elector/1/$(who default)")" null
t 'Nadia votes for herself' mb proposal vote 1 --ranking 0 --id nadia
t 'Omar votes for Ida, for two' mb proposal vote 1 --ranking 1 --id omar
is 'and has a ticket' "$(($(held ticket-a "key/$omar") + $(held ticket-b "key/$omar")))" 1
voted=$(epoch) nadia_had=$(held coin "key/$nadia") omar_had=$(held coin "key/$omar")
t 'decided' wait_until 30 in_state 1 executed
seated=$(held seat-executive "key/$ida")
[ "$seated" -ge 18 ] && [ "$seated" -le 20 ] && [ "$(held seat-executive "key/$nadia")" = 0 ]
ok $? "Ida has the seat, for $seated epochs"

section 'her allowance is 30 an epoch'
t 'an epoch begins' next_epoch
t 'she pays 20' post ida org/executive coin -20 "key/$nadia" coin 20
exits 'not 11 more' 1 'the executive may spend 10 more in this epoch, not 11' \
    post ida org/executive coin -11 "key/$nadia" coin 11
t 'but 10' post ida org/executive coin -10 "key/$nadia" coin 10
exits 'and nothing else with it' 1 'command\.access' \
    post ida org/executive coin -1 "key/$nadia" coin 1 issue/nation nation -1 "key/$ida" nation 1
exits 'nobody pays without a seat' 1 'command\.access' post nadia org/executive coin -1 "key/$nadia" coin 1
[ "$(held seat-executive "key/$ida")" -lt 20 ]
ok $? 'the mandate runs'

section 'the judiciary measures'
exits 'Nadia has no seat in it' 1 'command\.access' post nadia issue/figure figure -7 org/executive figure 7
t 'now she has' give "key/$nadia" seat-judiciary 20
t 'an epoch begins' next_epoch
is 'Ida has no reputation' "$(held reputation "key/$ida")" 0
t 'Nadia measures 7' post nadia issue/figure figure -7 org/executive figure 7
exits 'she does not measure herself' 1 'command\.access' post nadia issue/figure figure -7 org/judiciary figure 7
t 'where 5 is the target' send rules.params.set '{"params":{"target_executive":5}}'
rewarded() { [ "$(held reputation "key/$ida")" = 5 ]; }
t 'Ida is rewarded at the end of the period' wait_until 40 rewarded
sanctioned() { [ "$(held reputation "key/$ida")" = 0 ]; }
t 'and sanctioned after the next, with nothing measured' wait_until 40 sanctioned

section 'the raffle'
# Nadia was paid 30 by Ida; both have yields, of a few coins in all.
drawn() {
    [ "$(held coin "key/$nadia")" -ge $((nadia_had + 90)) ] || [ "$(held coin "key/$omar")" -ge $((omar_had + 60)) ]
}
t 'one of the two voters has won 60' wait_until 60 drawn
key_of "org/beacon/$((voted + 1))" | jq -e '.value | test("^[0-9a-f]{64}$")' >"$work/t.out"
ok $? 'with the beacon of the epoch after' "$work/t.out"
is 'and the tickets are gone' "$(held ticket-a "key/$omar") $(held ticket-b "key/$omar")" '0 0'

[ "$(held coin "key/$ida")" -gt 1000 ]
ok $? 'Ida, whose delegate voted, has had yields'

section 'a veto'
t 'Omar coordinates' give "key/$omar" seat-coordination 20
t 'another election' mb proposal create election 'Again' --options "$work/options" --id nadia
t 'its vote opens' wait_until 20 in_state 2 voting
exits 'Nadia has no veto' 1 'gov\.no_veto' mb proposal veto 2 'I lost' --id nadia
t 'Omar vetoes it' mb proposal veto 2 'There is an executive' --id omar
is 'it has ended' "$(state_of 2)" vetoed

section 'audit'
slot_now=$(slot)
covered() { [ "$(mb audit --json | jq .checkpoint)" -ge "$slot_now" ]; }
t 'a checkpoint covers it' wait_until 30 covered
exits 'the whole ledger replays' 0 'everything holds' mb audit --full
same() {
    local i one
    one=$(standing)
    for i in 2 3; do [ "$(MAGICBIZ_SOCKET=$data$i/run/public.sock standing)" = "$one" ] || return 1; done
}
t 'all three came to the same' wait_until 60 same
for n in node node2 node3; do stop $n; done
finish
