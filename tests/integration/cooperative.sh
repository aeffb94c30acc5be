#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A cooperative founded with conf/rulebooks/cooperative.lua: what falls due at an epoch, who is paid, what a
# member pays in, and what the treasury is not spent by. Books, votes and rules together, on one real daemon.
. "$(dirname "$0")/lib.sh"
data=$work/data

section 'founded'
t 'found' found "$data" --module books --module gov --module rules --epoch 30 \
    --rulebook "$top/conf/rulebooks/cooperative.lua" --param rules.contribution=10
t 'starts' start_daemon node "$data"
MAGICBIZ_SOCKET=$data/run/public.sock
export MAGICBIZ_SOCKET
t 'join' mb org join coop "$(jq -r .join "$data.json")"
ann=key/$(mb id show --json | jq -r .fingerprint)
# In the newest state, whether a checkpoint covers it or not.
held() { # ASSET ACCOUNT
    curl -s -m 10 --unix-socket "$MAGICBIZ_SOCKET" -G http://x/v1/state --data-urlencode "key=books/balance/$1/$2" | jq -r '.value // 0'
}
post() { # MEMO, then ACCOUNT ASSET AMOUNT …
    local memo=$1 entries=
    shift
    while [ $# -gt 0 ]; do
        entries+=${entries:+,}'{"account":"'$1'","asset":"'$2'","amount":'$3'}'
        shift 3
    done
    mb send books.post - <<<"{\"memo\":\"$memo\",\"entries\":[$entries]}"
}
is 'the founder is its first member' "$(held member "$ann")" 1

section 'the founder sets up what the rulebook needs'
t 'a currency' mb send books.asset.create - <<<'{"asset":"coin","title":"Coins","transferable":1}'
t 'a treasury' mb send books.account.open - <<<'{"account":"org/treasury","title":"Treasury"}'
t 'coins' post 'first coins' issue/coin coin -1000 "$ann" coin 600 org/treasury coin 400
t 'salaries' mb send books.asset.create - <<<'{"asset":"salary","title":"Salaries"}'
t 'one of 50 for the founder' post 'a salary' issue/salary salary -50 "$ann" salary 50
t 'dues' mb send books.asset.create - <<<'{"asset":"dues","title":"Contributions owed"}'

section 'an epoch begins'
due() { [ "$(held dues "$ann")" -ge 10 ]; }
t 'a contribution of 10 is due' wait_until 70 due
is 'salaries were paid in full' "$((($(held coin "$ann") - 600) % 50))" 0
paid=$(held coin "$ann")
[ "$paid" -ge 650 ]
ok $? "the salary is in the account: $paid"

section 'the member pays'
before=$(held dues "$ann")
t 'a payment of 4 into the treasury' post dues "$ann" coin -4 org/treasury coin 4
after=$(held dues "$ann")
is 'settles 4 of what is owed' "$(((before - after + 10) % 10))" 4
t 'a payment far over what is owed' post dues "$ann" coin -500 org/treasury coin 500
[ "$(held dues "$ann")" -le 10 ]
ok $? 'settles all of it, and no more'

section 'the treasury'
spend='"title":"t","text":"t","commands":[{"type":"books.post","body":{"entries":[
    {"account":"org/treasury","asset":"coin","amount":-5},{"account":"'$ann'","asset":"coin","amount":5}]}}]'
echo "{\"procedure\":\"routine\",$spend}" >"$work/routine"
echo "{\"procedure\":\"treasury\",$spend}" >"$work/treasury"
exits 'is not spent by the procedure routine' 1 'takes the procedure treasury' mb send gov.propose "$work/routine"
exits 'but by the procedure treasury' 0 '.' mb send gov.propose "$work/treasury"

section 'audit'
slot_now=$(slot)
covered() { [ "$(mb audit --json | jq .checkpoint)" -ge "$slot_now" ]; }
t 'a checkpoint covers it' wait_until 30 covered
exits 'the whole ledger replays' 0 'everything holds' mb audit --full
t 'rules check replays it with another rulebook' mb rules check <(echo 'function authorize() return false, "no" end')
stop node
finish
