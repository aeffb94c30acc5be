#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A federation founded with conf/rulebooks/federation.lua: Nadia speaks for a nation, Omar for an organisation, Ida
# for herself. Money on a schedule, a delegate, the elections of five branches and their mandates, allowances, a
# measurement, a veto and a raffle from the beacon of three replicas; on three real daemons.
. "$(dirname "$0")/lib-replicas.sh"
period=15
branches='assembly executive judiciary finance coordination'

section 'founded by Fay, who gives three members their kinds'
for n in nadia omar ida; do mb id new "$n" >/dev/null; done
params=()
for p in routine treasury constitution; do
    for s in support_s=60 review_s=1 voting_s=4 grace_s=2; do params+=(--param "gov.$p.$s"); done
done
for p in inflation_ppm=10000 yield_ppm=2000 average_epochs=2 delegate_fee=40 delegate_reputation=20 delegate_epochs=8 \
    spend_executive=30 spend_finance=10 figure_epochs=1 raffle_prize=60; do params+=(--param "rules.$p"); done
replicas --module books --module gov --module rules --epoch $period \
    --rulebook "$top/conf/rulebooks/federation.lua" "${params[@]}"
fay=$(fingerprint "$ids/default.pub") nadia=$(fingerprint "$ids/nadia.pub")
omar=$(fingerprint "$ids/omar.pub") ida=$(fingerprint "$ids/ida.pub")
pays() { posting "$1" "by $1" "${@:2}"; } # NAME, then ACCOUNT ASSET AMOUNT …
give() { pays default "issue/$2" "$2" "-$3" "$1" "$2" "$3"; } # ACCOUNT ASSET AMOUNT
send() { mb send "$1" - <<<"$2"; }
next() { t 'an epoch begins' next_epoch $((3 * period)); }

t 'the currency' send books.asset.create '{"asset":"coin","title":"Coins","transferable":1}'
good=0
for a in nation organisation individual average voted delegate allowance figure ticket-a ticket-b; do
    send books.asset.create "{\"asset\":\"$a\"}" >/dev/null && good=$((good + 1))
done
for b in $branches; do
    send books.asset.create "{\"asset\":\"seat-$b\",\"cap\":20}" >/dev/null && good=$((good + 1))
done
is 'what the rulebook needs' $good 15
t 'reputation, at most 100' send books.asset.create '{"asset":"reputation","cap":100,"half_life_epochs":10000}'
for a in treasury delegates executive finance; do
    send books.account.open "{\"account\":\"org/$a\"}" >/dev/null && good=$((good + 1))
done
is 'accounts' $good 19
t 'elections' send gov.procedure.set '{"name":"election","ballot":"ranked","sponsors":0,"sponsors_root":0,
    "review_s":1,"voting_s":5,"grace_s":3,"veto":"seat-coordination","vetoes":1,"weight":"rules",
    "commands":['"$(printf '"books.post:seat-%s"\n' $branches | paste -sd ,)"']}'
t 'a beacon' send org.param.set '{"name":"beacon","value":1}'
for m in "$nadia" "$omar" "$ida"; do
    give "key/$m" member 1 >/dev/null && give "key/$m" coin 1000 >/dev/null && good=$((good + 1))
done
is 'members, of 1000 coins each' $good 22
t 'a nation' give "key/$nadia" nation 1
t 'an organisation' give "key/$omar" organisation 1
t 'an individual' give "key/$ida" individual 1
t 'coins for the executive' give org/executive coin 500
t 'and for finance' give org/finance coin 500

section 'money'
next
paid() { [ "$(held coin org/treasury)" -ge 40 ]; }
t 'one part in a hundred of 4000 is issued to the treasury' wait_until 40 paid
averaged() { [ "$(held average "key/$ida")" -ge 500 ]; }
t 'and what each holds is noted, slowly' wait_until 10 averaged

section 'a delegate'
names_omar() { # SECONDS
    mb send gov.delegate - --id ida <<<"{\"to\":\"$omar\",\"until\":$(($(date +%s) + $1))}"
}
exits 'takes reputation' 1 'a reputation of 20, not 0' pays omar "key/$omar" coin -40 org/delegates coin 40
t 'Omar is given some' give "key/$omar" reputation 50
exits 'takes the fee' 1 'pays 40, not 39' pays omar "key/$omar" coin -39 org/delegates coin 39
exits 'Ida cannot name him yet' 1 'no delegate' names_omar 60
t 'Omar pays' pays omar "key/$omar" coin -40 org/delegates coin 40
exits 'not for longer than his term' 1 'is one until' names_omar 3600
t 'Ida names him' names_omar 60

section 'five elections'
#                   the branch, who stands for it, of whom Omar is for the first, and for how many epochs
declare -A stands=([assembly]='omar nadia 20' [executive]='ida nadia 20' [judiciary]='nadia ida 20'
    [finance]='nadia omar 2' [coordination]='omar ida 20')
candidate() { # BRANCH NAME EPOCHS: an option
    jq -n --arg seat "seat-$1" --arg name "$2" --arg to "key/${!2}" --argjson n "$3" \
        '{title: $name, commands: [{type: "books.post", body: {entries: [
            {account: "issue/\($seat)", asset: $seat, amount: -$n}, {account: $to, asset: $seat, amount: $n}]}}]}'
}
low=$(held average "key/$omar")
for b in $branches; do
    read -r one other epochs <<<"${stands[$b]}"
    { candidate "$b" "$one" "$epochs"; candidate "$b" "$other" "$epochs"; } | jq -s . >"$work/options"
    t "who is the $b? $one or $other" mb proposal create election "Who is the $b?" --options "$work/options" --id ida
done
open() { for n in 1 2 3 4 5; do in_state $n voting || return 1; done; }
t 'the votes open' wait_until 20 open
weight=$(key_of "gov/elector/1/$omar" | jq .weight)
[ "$low" -gt 0 ] && [ "$weight" -ge $((500 + low)) ] && [ "$weight" -le $((500 + $(held average "key/$omar"))) ]
ok $? "Omar weighs his reputation, and his savings: $weight"
is 'Fay is a member of no kind, and no elector' "$(key_of "gov/elector/1/$fay")" null
for n in 1 2 3 4 5; do
    t "$n: Nadia votes for the second" mb proposal vote $n --ranking 1 --id nadia
    t "$n: Omar for the first, for two" mb proposal vote $n --ranking 0 --id omar
done
is 'and has a ticket' "$(($(held ticket-a "key/$omar") + $(held ticket-b "key/$omar")))" 1
voted=$(epoch) nadia_had=$(held coin "key/$nadia") omar_had=$(held coin "key/$omar")
decided() { for n in 1 2 3 4 5; do in_state $n executed || return 1; done; }
t 'decided' wait_until 30 decided
for b in $branches; do
    read -r one other epochs <<<"${stands[$b]}"
    seated=$(held "seat-$b" "key/${!one}")
    [ "$seated" -ge $((epochs - 1)) ] && [ "$seated" -le "$epochs" ] && [ "$(held "seat-$b" "key/${!other}")" = 0 ]
    ok $? "the $b is $one, for $seated epochs"
done

section 'mandates and allowances'
mandates() { # what is left of each, and LESS of that
    for b in $branches; do
        read -r one _ <<<"${stands[$b]}"
        echo $(($(held "seat-$b" "key/${!one}") - ${1-0}))
    done | paste -sd ' '
}
an_epoch_less=$(mandates 1)
next
is 'each mandate is an epoch shorter' "$(mandates)" "$an_epoch_less"
t 'Ida pays 20 for the executive' pays ida org/executive coin -20 "key/$nadia" coin 20
exits 'not 11 more' 1 'the executive may spend 10 more in this epoch, not 11' \
    pays ida org/executive coin -11 "key/$nadia" coin 11
t 'but 10' pays ida org/executive coin -10 "key/$nadia" coin 10
exits 'and nothing else with it' 1 'command\.access' \
    pays ida org/executive coin -1 "key/$nadia" coin 1 issue/nation nation -1 "key/$ida" nation 1
exits 'nobody pays without a seat' 1 'command\.access' pays nadia org/executive coin -1 "key/$nadia" coin 1
pays_for_finance() { pays nadia org/finance coin "-$1" "key/$fay" coin "$1"; }
exits 'Nadia may spend less for finance' 1 'the finance may spend 10 more in this epoch, not 11' pays_for_finance 11
t 'but 10' pays_for_finance 10

section 'the judiciary measures'
exits 'Omar has no seat in it' 1 'command\.access' pays omar issue/figure figure -7 org/executive figure 7
next
exits 'the mandate of finance is over' 1 'command\.access' pays_for_finance 1
is 'Ida has no reputation' "$(held reputation "key/$ida")" 0
t 'Nadia measures 7' pays nadia issue/figure figure -7 org/executive figure 7
exits 'she does not measure herself' 1 'command\.access' pays nadia issue/figure figure -7 org/judiciary figure 7
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
t 'another election' mb proposal create election 'Again' --options "$work/options" --id nadia
t 'its vote opens' wait_until 20 in_state 6 voting
exits 'Nadia has no veto' 1 'gov\.no_veto' mb proposal veto 6 'I lost' --id nadia
t 'Omar, who coordinates, vetoes it' mb proposal veto 6 'They are all taken' --id omar
is 'it has ended' "$(state_of 6)" vetoed

section 'audit'
audited
t 'all three came to the same' agree 1 2 3
for i in 1 2 3; do stop n$i; done
finish
