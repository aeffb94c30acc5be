#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A cooperative founded with conf/rulebooks/cooperative.lua: what falls due at an epoch, who is paid, what a
# member pays in, and what the treasury is not spent by. Books, votes and rules together, on three replicas, of
# which the leader is lost just before the epoch ends: salaries are paid all the same.
. "$(dirname "$0")/lib-replicas.sh"

section 'founded, on three machines'
replicas --module books --module gov --module rules --epoch 30 \
    --rulebook "$top/conf/rulebooks/cooperative.lua" --param rules.contribution=10
ann=key/$(mb id show --json | jq -r .fingerprint)
is 'the founder is its first member' "$(held member "$ann")" 1

section 'the founder sets up what the rulebook needs'
t 'a currency' mb send books.asset.create - <<<'{"asset":"coin","title":"Coins","transferable":1}'
t 'a treasury' mb send books.account.open - <<<'{"account":"org/treasury","title":"Treasury"}'
t 'coins' posting default 'first coins' issue/coin coin -1000 "$ann" coin 600 org/treasury coin 400
t 'salaries' mb send books.asset.create - <<<'{"asset":"salary","title":"Salaries"}'
t 'one of 50 for the founder' posting default 'a salary' issue/salary salary -50 "$ann" salary 50
t 'dues' mb send books.asset.create - <<<'{"asset":"dues","title":"Contributions owed"}'

section 'the machine that leads is lost, and an epoch begins'
lost=$(leader)
lose "$lost"
t 'an epoch begins' next_epoch 60
due() { [ "$(held dues "$ann")" -ge 10 ]; }
t 'a contribution of 10 is due' wait_until 10 due
is 'salaries were paid in full' "$((($(held coin "$ann") - 600) % 50))" 0
paid=$(held coin "$ann")
[ "$paid" -ge 650 ]
ok $? "the salary is in the account: $paid"

section 'the member pays'
before=$(held dues "$ann")
t 'a payment of 4 into the treasury' posting default dues "$ann" coin -4 org/treasury coin 4
after=$(held dues "$ann")
is 'settles 4 of what is owed' "$(((before - after + 10) % 10))" 4
t 'a payment far over what is owed' posting default dues "$ann" coin -500 org/treasury coin 500
[ "$(held dues "$ann")" -le 10 ]
ok $? 'settles all of it, and no more'

section 'the treasury'
spend='"title":"t","text":"t","commands":[{"type":"books.post","body":{"entries":[
    {"account":"org/treasury","asset":"coin","amount":-5},{"account":"'$ann'","asset":"coin","amount":5}]}}]'
echo "{\"procedure\":\"routine\",$spend}" >"$work/routine"
echo "{\"procedure\":\"treasury\",$spend}" >"$work/treasury"
exits 'is not spent by the procedure routine' 1 'takes the procedure treasury' mb send gov.propose "$work/routine"
exits 'but by the procedure treasury' 0 '.' mb send gov.propose "$work/treasury"

section 'the machine returns'
back "$lost"
at "$lost"
exits 'and takes the next proposal' 0 '.' mb send gov.propose "$work/treasury"

section 'audit'
audited
t 'rules check replays it with another rulebook' mb rules check <(echo 'function authorize() return false, "no" end')
t 'the three are at one' agree 1 2 3
for i in 1 2 3; do stop n$i; done
finish
