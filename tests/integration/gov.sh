#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# An organisation of three replicas decides by itself: a proposal from its draft to its execution, which the loss
# of the machine that leads does not stop, what ends otherwise, an election, and that a decision goes on when the
# founders have retired.
. "$(dirname "$0")/lib-replicas.sh"

section 'three founders, procedures of seconds'
for n in b c d; do mb id new "$n" >/dev/null; done
params=()
for p in routine treasury constitution; do
    for s in support_s=60 review_s=3 voting_s=8 grace_s=1; do params+=(--param "gov.$p.$s"); done
done
exits 'a parameter of gov that nothing reads is refused' 1 'gov\.routine\.votes_s' \
    found "$work/typo" --module gov --param gov.routine.votes_s=1
replicas --founder "$ids/b.pub" --founder "$ids/c.pub" --module vcs --module books --module gov "${params[@]}"
is 'three members' "$(mb member list --json | jq '.members | length')" 3

section 'a proposal, from draft to executed'
echo '[{"type":"gov.procedure.set","body":{"name":"board","sponsors":0,"sponsors_root":0,"review_s":0,"voting_s":6,
    "grace_s":0,"ballot":"ranked","commands":["org.replica.*"]}}]' >"$work/commands"
exits 'not by a routine vote' 1 'gov\.command' mb proposal create routine 'A board' --commands "$work/commands"
t 'draft' mb proposal create constitution 'A board' --text 'Somebody has to.' --draft --json
is 'its number' "$(jq -r .result.proposal "$work/t.out")" 1
is 'waits for its author' "$(mb inbox --json | jq -c '.waits | map([.do, .proposal])')" '[["submit","1"]]'
t 'to support' mb proposal create constitution 'A board' --text 'Somebody has to.' --proposal 1 --commands "$work/commands"
is 'asks for a sponsor' "$(mb inbox --id b --json | jq -c '.waits | map(.do)')" '["sponsor"]'
exits 'not its author' 1 'gov\.sponsored' mb proposal sponsor 1
t 'sponsored' mb proposal sponsor 1 --id b
t 'the vote opens' wait_until 30 in_state 1 voting
is 'waits for c' "$(mb inbox --id c --json | jq -c '.waits | map([.do, .proposal])')" '[["vote","1"]]'
t 'the calendar has its close' mb calendar
grep -q 'SUMMARY:acme: proposal 1: the vote closes: A board' "$work/t.out" && ! grep -q TZID "$work/t.out"
ok $? 'in UTC' "$work/t.out"
t 'yes' mb proposal vote 1 yes
t 'no' mb proposal vote 1 no --id b
t 'yes after all' mb proposal vote 1 yes --id b
exits 'd is no elector' 1 'gov\.elector' mb proposal vote 1 yes --id d
is 'nothing waits for b' "$(mb inbox --id b --json | jq -c .waits)" '[]'
COLUMNS=60 mb proposal show 1 --now >"$work/t.out" 2>&1
grep -qE '^yes +\[#+\] 2$' "$work/t.out" && grep -qE '^quorum +\[[#|-]+\] 2 of 2 needed$' "$work/t.out" &&
    grep -q 'closes in' "$work/t.out" && ! grep -q $'\033' "$work/t.out"
ok $? 'show: bars, quorum, time left, no colours' "$work/t.out"
is 'no line is wider' "$(awk 'length > 60 && /^(yes|no|abstain|quorum) / { n++ } END { print n + 0 }' "$work/t.out")" 0
exits 'list: bars, and what the quorum needs' 0 '^ +yes \[#{4}\] 2  no \[-{4}\] 0 .* quorum \[##\|-\] 2 of 2 needed$' mb proposal list
lost=$(leader)
lose "$lost"
t 'executed' wait_until 40 in_state 1 executed
is 'what it decided is so' "$(key_of gov/procedure/board | jq -c '[.ballot, .version]')" '["ranked",1]'
exits 'and no founder took part' 0 'proposal:1' mb log --json

back "$lost"

section 'what ends otherwise'
t 'routine' mb proposal create routine 'Nobody comes'
t 'another' mb proposal create routine 'Changed my mind'
t 'withdrawn' mb proposal withdraw 3
is 'ended at once' "$(state_of 3)" withdrawn
t 'without votes' wait_until 40 in_state 2 defeated
is 'the figure and the limit' "$(key_of gov/proposal/2 | jq -c .reason)" '{"args":[0,1],"code":"gov.quorum"}'
exits 'for people' 0 'gov\.quorum: 0 of 1 needed' mb proposal show 2 --now
exits 'not there' 1 'there is no proposal 99' mb proposal show 99 --now
exits 'usage' 2 'is one of' mb proposal vote 2
exits 'usage: a ballot' 2 'is no ballot' mb proposal vote 2 --ranking 1,x

section 'an election'
echo '[{"title":"Ada"},{"title":"Bob"},{"title":"Cy"}]' >"$work/options"
t 'ranked' mb proposal create board 'Who?' --options "$work/options"
t 'opens' wait_until 30 in_state 4 voting
t 'one' mb proposal vote 4 --ranking 1,0
t 'two' mb proposal vote 4 --ranking 1,2 --id b
exits 'yes is no ranking' 1 'gov\.ballot' mb proposal vote 4 yes --id c
t 'decided' wait_until 30 in_state 4 executed
exits 'Bob' 0 'option 1 +\(won\) Bob' mb proposal show 4 --now

section 'membership'
t 'd applies' mb member apply --id d --text 'I bake'
exits 'and is listed' 0 'applied +SHA256:.* I bake' mb member list
exits 'a proposal to admit' 0 '"proposal":"5"' mb member admit "$(fingerprint "$ids/d.pub")"
exits 'not a fingerprint' 2 'is no fingerprint' mb member admit d

t 'its vote opens' wait_until 30 in_state 5 voting
t 'yes' mb proposal vote 5 yes --id b
t 'admitted by nobody in particular' wait_until 40 in_state 5 executed
is 'four members, and no application' "$(mb member list --json | jq -c '[(.members | length), (.applications | length)]')" '[4,0]'
t 'd proposes' mb proposal create routine 'A cake' --id d
t 'resigns' mb member resign --id d
is 'at once' "$(mb member list --json | jq '.members | length')" 3
exits 'and is no member any more' 1 'command\.access' mb proposal create routine 'Another cake' --id d

section 'the ledger'
wait_until 30 settled
t 'shown with its proof' mb proposal show 1
exits 'audits whole' 0 'holds|slots' mb audit --full
t 'the founders retire' mb send org.founders.retire - <<<'{}'
echo '{"name":"routine"}' >"$work/body"
exits 'and have no say any more' 1 'command\.access' mb send gov.procedure.set "$work/body"
t 'the three are at one' agree 1 2 3
for i in 1 2 3; do stop n$i; done
finish
