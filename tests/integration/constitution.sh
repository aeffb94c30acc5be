#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Four members and their constitution, on a real daemon: a procedure with a veto and auditors, the end of the
# founders' say by vote, a rulebook that locks everyone out and is voted out again, and an expulsion; and
# founders who never had a say.
. "$(dirname "$0")/lib.sh"
data=$work/data
for n in default b c d; do mb id new "$n" >/dev/null; done
declare -A fp=()
for n in default b c d; do fp[$n]=$(fingerprint "$ids/$n.pub"); done
waits() { mb inbox --json --id "$1" | jq -r '.waits[] | "\(.do) \(.proposal)"' | paste -sd ,; }
listed() { mb proposal list "$@" --json | jq -c '.proposals | map([.id, .state])'; }
propose() { # PROCEDURE TITLE COMMANDS [OPTIONS…]: $number is its id
    local procedure=$1 title=$2 commands=$3
    shift 3
    t "proposed: $title" mb proposal create "$procedure" "$title" --commands <(echo "$commands") --json "$@"
    number=$(jq -r .result.proposal "$work/t.out")
}
# carry ID…: by the constitution, three against one
carry() {
    local p n
    for p in "$@"; do t "$p is sponsored" mb proposal sponsor "$p" --id b; done
    for p in "$@"; do
        t "the vote on $p opens" wait_until 30 in_state "$p" voting
        for n in default b c; do t "$n says yes" mb proposal vote "$p" yes --id $n; done
        t 'd says no' mb proposal vote "$p" no --id d
    done
    for p in "$@"; do t "$p is carried out" wait_until 30 in_state "$p" executed; done
}

section 'four founders, who give one of them a veto and one the audits'
t 'found' found "$data" --founder "$ids/b.pub" --founder "$ids/c.pub" --founder "$ids/d.pub" \
    --module books --module gov --module rules --param gov.constitution.sponsors=1 --param gov.constitution.review_s=1 \
    --param gov.constitution.voting_s=4 --param gov.constitution.grace_s=0 --param gov.routine.review_s=0 \
    --param gov.routine.voting_s=5 --param gov.routine.sponsors=0
t 'starts' start_daemon node "$data"
MAGICBIZ_SOCKET=$data/run/public.sock
export MAGICBIZ_SOCKET
t 'join' mb org join acme "$(jq -r .join "$data.json")"
for role in b:guard d:auditor; do
    t "the role ${role#*:}" mb send books.asset.create - <<<"{\"asset\":\"${role#*:}\",\"cap\":1}"
    t "is ${role%:*}'s" posting default 'a role' "issue/${role#*:}" "${role#*:}" -1 "key/${fp[${role%:*}]}" "${role#*:}" 1
done
t 'the procedure' mb send gov.procedure.set - <<<'{"name":"guarded","sponsors":1,"sponsors_root":0,"review_s":4,
    "voting_s":4,"grace_s":2,"quorum":[1,2],"threshold":[1,2],"over":1,"veto":"guard","vetoes":1,"auditors":"auditor","audits":1,
    "delegations":10,"commands":["books.asset.create"]}'
asset() { echo '[{"type":"books.asset.create","body":{"asset":"'"$1"'"}}]'; }

section 'sponsors, a withdrawal and a veto'
exits 'nothing is open' 0 'none are open' mb proposal list
propose guarded 'Buns' "$(asset bun)"
propose guarded 'Rolls' "$(asset roll)"
exits 'the list has both' 0 'Rolls' mb proposal list
grep -qE '^1 .*Buns' "$work/t.out"
ok $? 'by number' "$work/t.out"
is 'they want sponsors' "$(waits c)" 'sponsor 1,sponsor 2'
exits 'c cannot take one back' 1 'gov\.author' mb proposal withdraw 1 --id c
t 'its author can' mb proposal withdraw 1
exits 'but once' 1 'gov\.state' mb proposal withdraw 1
exits 'nor is it sponsored now' 1 'gov\.state' mb proposal sponsor 1 --id c
exits 'there is no veto before the review' 1 'gov\.state' mb proposal veto 2 'No rolls' --id b
t 'the other has a sponsor' mb proposal sponsor 2 --id c
is 'c is to review it' "$(waits c)" 'review 2'
is 'd is to audit it' "$(waits d)" 'audit 2'
exits 'as d reads it' 0 '^audit +2 .*Rolls' mb inbox --id d
is 'its author, who asked, is not' "$(waits default)" ''
exits 'c has no veto' 1 'gov\.no_veto' mb proposal veto 2 'No rolls' --id c
t 'b has' mb proposal veto 2 'No rolls' --id b
is 'none is open any more' "$(listed)" '[]'
is 'but both are there' "$(listed --all)" '[["1","withdrawn"],["2","vetoed"]]'
exits 'with the reason' 0 'No rolls' mb proposal show 2 --now

section 'a delegate, and audits'
exits 'nobody delegates to a stranger' 1 'gov\.delegate: SHA256' mb delegate "SHA256:$(printf %043d 0)" --id c
exits 'nor to themselves' 1 'gov\.delegate: SHA256' mb delegate "${fp[c]}" --id c
exits 'nor ends what is not' 1 'gov\.no_delegation' mb delegate --id c
t 'c delegates to b' mb delegate "${fp[b]}" --scope guarded --id c
t 'd to b for everything' mb delegate "${fp[b]}" --days 2 --id d
t 'and no more' mb delegate --id d
propose guarded 'Buns after all' "$(asset bun)"
propose guarded 'Rolls after all' "$(asset roll)"
for n in 3 4; do t 'sponsored' mb proposal sponsor $n --id b; done
exits 'c is no auditor' 1 'gov\.no_auditor' mb proposal audit 3 good --id c
t 'the books are right about buns' mb proposal audit 3 good --report 'All there' --id d
t 'and wrong about rolls' mb proposal audit 4 bad --report '2 are missing' --id d
exits 'audited once' 1 'gov\.audited' mb proposal audit 4 good --id d
is 'd is left with the review of nothing' "$(waits d | grep -c audit)" 0
t 'the votes open' wait_until 30 in_state 4 voting
is 'd, to whom nothing was delegated, is to vote' "$(waits d)" 'vote 3,vote 4'
for n in 3 4; do exits "b votes for c, too: $n" 0 '"weight": 2' mb proposal vote $n yes --id b --json; done
t 'buns are decided' wait_until 30 in_state 3 executed
is 'and there' "$(key_of books/asset/bun | jq .scale)" 0
t 'rolls are not' wait_until 30 in_state 4 failed
is 'for want of a good audit' "$(key_of gov/proposal/4 | jq -c .reason)" '{"args":[0,1],"code":"gov.audits"}'
exits 'the report is there to be read' 0 'audit +SHA256:.*: bad 2 are missing' mb proposal show 4 --now

section 'the members end the founders'"'"' say'
t 'a founder still has it' mb send org.param.set - <<<'{"name":"a","value":1}'
propose constitution 'No more founders' '[{"type":"org.founders.retire","body":{}}]'
carry 5
echo '{"name":"a","value":2}' >"$work/two"
for n in default b; do exits "$n has no say any more" 1 'command\.access' mb send org.param.set "$work/two" --id $n; done
exits 'nor signs with others' 1 'command\.access' mb send org.founders.retire <(echo '{}')
is 'nothing was changed' "$(key_of org/params/a)" 1

section 'they lock themselves out'
echo 'function authorize() return false, "closed" end' >"$work/closed.lua"
exits 'a founder cannot adopt it' 1 'command\.access' mb rules adopt "$work/closed.lua"
propose constitution 'Closed' "$(jq -nc --rawfile s "$work/closed.lua" '[{type: "rules.adopt", body: {source: $s}}]')"
carry 6
is 'it is the rulebook' "$(key_of rules/source | jq -r .)" "$(cat "$work/closed.lua")"
exits 'no routine' 1 'closed' mb proposal create routine 'A cake'
exits 'no delegate' 1 'closed' mb delegate "${fp[b]}"
exits 'no coins' 1 'closed' posting default 'a coin' org bun -1 "key/${fp[b]}" bun 1
exits 'nor does a founder open it' 1 'command\.access' mb rules adopt <(echo)

section 'the constitution is not asked about: open again, and without d'
propose constitution 'Open' "$(jq -nc '[{type: "rules.adopt", body: {source: "function authorize() return true end"}},
    {type: "org.param.set", body: {name: "a", value: 3}}]')"
propose constitution 'Without d' '[{"type":"books.post","body":{"memo":"expelled","entries":[
    {"account":"issue/member","amount":1,"asset":"member"},{"account":"key/'"${fp[d]}"'","amount":-1,"asset":"member"}]}}]'
carry 7 8
is 'the organisation acts, without founders' "$(key_of org/params/a)" 3
is 'and has three members' "$(mb member list --json | jq '.members | length')" 3

section 'who was expelled'
exits 'no routine vote does that' 1 'gov\.command' mb send gov.propose <(echo '{"procedure":"routine","title":"Out",
    "commands":[{"type":"books.post","body":{"entries":[{"account":"issue/member","amount":1,"asset":"member"},
    {"account":"key/'"${fp[c]}"'","amount":-1,"asset":"member"}]}}]}')
propose routine 'A pie' '[]'
t 'a vote opens' wait_until 30 in_state 9 voting
exits 'd has none' 1 'gov\.elector' mb proposal vote 9 yes --id d
is 'nothing waits for d' "$(waits d)" ''
exits 'nor proposes, to come back' 1 'command\.access' mb proposal create constitution 'Me again' --id d
t 'c has one' mb proposal vote 9 yes --id c

section 'audit'
audited
is 'what the auditor found is proven, too' "$(mb proposal show 3 --json | jq -c '.audits | map([.key, .value.verdict])')" \
    "[[\"${fp[d]}\",\"good\"]]"
stop node

section 'another organisation, whose founders never had a say'
exits 'not without procedures' 1 'nobody could act' found "$work/no" --founders-retired --module books
exits 'nor without members' 1 'nobody could act' found "$work/no2" --founders-retired --module gov
t 'found' found "$work/free" --founders-retired --module books --module gov
t 'starts' start_daemon node "$work/free"
MAGICBIZ_SOCKET=$work/free/run/public.sock
t 'join' mb org join free "$(jq -r .join "$work/free.json")"
exits 'the founder is none' 1 'command\.access' mb send org.param.set "$work/two" --org free
t 'but a member' mb proposal create routine 'A cake' --org free
finish
