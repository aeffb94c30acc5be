#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A rulebook on a real daemon: founded with one, changed, checked against the ledger, locked out and
# repaired, and audited all the same.
. "$(dirname "$0")/lib.sh"
data=$work/data
books=$top/conf/rulebooks

section 'founded with a rulebook'
cat >"$work/first.lua" <<'LUA'
function authorize(command, signer)
  local limit = mb.params.limit or 5
  if command.type == "org.param.set" and command.body.value > limit then
    return false, "over " .. limit
  end
  return true
end
function selftest() return authorize({type = "org.param.set", body = {value = 1}}) end
LUA
exits 'not with one that does not compile' 1 'rules\.compile' \
    found "$work/no" --module vcs --module rules --rulebook <(echo 'function (')
exits 'nor without the module' 1 'versions has no module rules' found "$work/no2" --rulebook "$work/first.lua"
exits 'nor where its own test says no' 1 'rules\.selftest' \
    found "$work/no3" --module rules --rulebook "$work/first.lua" --param rules.limit=0
quick=()
for s in review_s=1 voting_s=8 grace_s=1; do quick+=(--param "gov.constitution.$s"); done
t 'found' found "$data" --module vcs --module books --module gov --module rules --rulebook "$work/first.lua" \
    --param rules.limit=7 "${quick[@]}"
t 'starts' start_daemon node "$data"
MAGICBIZ_SOCKET=$data/run/public.sock
export MAGICBIZ_SOCKET
t 'join' mb org join acme "$(jq -r .join "$data.json")"
t 'what it allows' mb send org.param.set - <<<'{"name":"a","value":7}'
echo '{"name":"a","value":8}' >"$work/eight"
exits 'what it does not' 1 'over 7' mb send org.param.set "$work/eight"
is 'rules show' "$(mb rules show)" "$(cat "$work/first.lua")"
is 'its version and parameters' "$(mb rules show --json | jq -c '[.version, .params]')" '[1,{"limit":7}]'

section 'another one, checked against what happened'
cat >"$work/second.lua" <<'LUA'
function authorize(command)
  if command.type == "org.param.set" and command.body.name == "a" then return false, "not a" end
end
function on_applied(command, result)
  if result.ok and command.type == "org.param.set" then
    return {{type = "books.post", body = {memo = "a reward", entries = {
      {account = "org/treasury", asset = "coin", amount = -3},
      {account = "key/" .. command.signer, asset = "coin", amount = 3}}}}}
  end
end
LUA
for n in 1 2 3; do mb send org.param.set - <<<"{\"name\":\"b\",\"value\":$n}" >/dev/null; done
checked() { [ "$(mb rules check "$work/second.lua" --json 2>"$work/check.err" | tee "$work/check" | jq .commands)" = 4 ]; }
wait_until 30 checked
ok $? 'rules check sees the four commands' "$work/check.err"
is 'what it would have refused' "$(jq -c '[.refused[] | [.type, .reason]]' "$work/check")" '[["org.param.set","not a"]]'
is 'allowed, granted, run, failed' "$(jq -c '[.allowed, .granted, (.run | length), (.failed | length)]' "$work/check")" '[3,0,4,0]'
is 'and what a call took at most' "$(jq '.dearest | . >= 0 and . <= 1000000' "$work/check")" true
is 'and paid' "$(jq -c '[.paid.coin[]]' "$work/check")" '[12]'
is 'the last block alone' "$(mb rules check "$work/second.lua" --last 1 --json | jq '.to - .from')" 0
exits 'for people' 0 'refused .*not a' mb rules check "$work/second.lua"
exits 'offline' 0 'its selftest\(\) holds' mb rules check --offline "$work/first.lua"
exits 'one with a float' 1 'line 1 of the rulebook: numbers are integers' mb rules check --offline <(echo 'return 1.5')
exits 'one that loops' 1 'over its budget of instructions: at most 1000000' mb rules check --offline <(echo 'while true do end')
t 'adopt' mb rules adopt "$work/second.lua"
exits 'it decides' 1 'not a' mb send org.param.set "$work/eight"
exits 'a bad one leaves it' 1 'rules\.compile' mb rules adopt <(echo 'x = = 1')
second() { [ "$(mb rules show --json | jq .version)" = 2 ]; }
t 'version 2' wait_until 30 second

section 'locked out, and repaired'
echo 'function authorize() return false, "mine" end' >"$work/third.lua"
t 'adopt what denies everything' mb rules adopt "$work/third.lua"
exits 'everything is denied' 1 'mine' mb send org.param.set "$work/eight"
for book in "$books"/*.lua; do
    exits "adopt ${book##*/} instead" 0 '"version"' mb rules adopt "$book"
done
t 'and all goes on' mb send org.param.set - <<<'{"name":"a","value":9}'

section 'by decision, once the founder has retired'
t 'retires' mb send org.founders.retire - <<<'{}'
exits 'and adopts nothing' 1 'command\.access' mb rules adopt "$work/first.lua"
exits 'but proposes' 0 '"proposal":"1"' mb rules propose "$work/first.lua" 'Back to the first' --text 'It was better.' --params '{"limit":3}'
t 'its vote opens' wait_until 30 in_state 1 voting
t 'vote: short for proposal vote' mb vote 1 yes
t 'executed' wait_until 30 in_state 1 executed
is 'it is in force' "$(key_of rules/params)" '{"limit":3}'
is 'as it was sent' "$(key_of rules/source | jq -j .)" "$(cat "$work/first.lua")"
exits 'propose: short for proposal create' 0 '"proposal":"2"' mb propose constitution 'Nothing' --draft
exits 'balance: short for books balance' 0 '1 +member|member +1' mb balance "key/$(fingerprint "$ids/default.pub")"
exits 'pay: short for books pay' 1 'books\.' mb pay 1 member org/treasury
exits 'in the help' 0 '^  vote +proposal vote$' mb --help
is 'completed' "$(bash -c 'eval "$(magicbiz completion bash)"
    COMP_WORDS=(magicbiz vote --app) COMP_CWORD=2; _magicbiz; echo "${COMPREPLY[@]}"
    COMP_WORDS=(magicbiz prop) COMP_CWORD=1; _magicbiz; echo "${COMPREPLY[@]}"' | tr '\n' ';')" '--approve;proposal propose;'

section 'audit'
covered() { [ "$(mb get org/params/a 2>/dev/null)" = 9 ]; }
t 'a checkpoint covers it' wait_until 30 covered
exits 'the whole ledger replays' 0 'everything holds' mb audit --full
stop node TERM
t 'starts again' start_daemon node "$data"
exits 'the rulebook still holds' 0 '.' mb rules show
finish
