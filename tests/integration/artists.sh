#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A band that is owned by its shares, founded with conf/rulebooks/artists.lua, on three replicas, with
# real git: what they publish moves by vote, whoever made it is paid in the same step or nothing happens,
# votes follow the shares, and the owners share what is earned.
. "$(dirname "$0")/lib-replicas.sh"
has() { [ "$(held "$1" "$2")" = "$3" ]; }
reason_of() { key_of "gov/proposal/$1" | jq -r .reason.code; }

section 'three machines'
mb id new >/dev/null
for who in bo cy; do mb id new $who >/dev/null; done
replicas --module vcs --module books --module gov --module rules --epoch 15 \
    --rulebook "$top/conf/rulebooks/artists.lua"

section 'Ada founds a band, with Bo and Cy'
ada=key/$(fingerprint "$ids/default.pub") bo=key/$(fingerprint "$ids/bo.pub") cy=key/$(fingerprint "$ids/cy.pub")
t 'Bo and Cy are members' posting default 'welcome' issue/member member -2 "$bo" member 1 "$cy" member 1
t 'money' mb send books.asset.create - <<<'{"asset":"coin","title":"Coins","transferable":1}'
t 'shares, which can be sold' mb send books.asset.create - <<<'{"asset":"share","title":"Shares","transferable":1}'
t 'votes, which cannot' mb send books.asset.create - <<<'{"asset":"vote","title":"Votes"}'
for account in treasury income; do
    t "$account" mb send books.account.open - <<<"{\"account\":\"org/$account\"}"
done
t 'the treasury has 500' posting default 'savings' issue/coin coin -500 org/treasury coin 500
t 'a hundred shares' posting default 'shares' issue/share share -100 "$ada" share 60 "$bo" share 25 "$cy" share 15
t 'how features are decided' mb send gov.procedure.set - <<<'{"name":"feature","sponsors":0,"sponsors_root":0,
    "review_s":1,"voting_s":10,"grace_s":1,"weight":"rules","quorum":[1,2],"commands":["vcs.merge","books.post:coin"]}'
t 'at the next epoch Ada has 60 votes' wait_until 40 has vote "$ada" 60
is 'Bo 25' "$(held vote "$bo")" 25
is 'Cy 15' "$(held vote "$cy")" 15

section 'the song'
relays
url=http://$onion/song.git
t 'has a repository' mb repo create song
work_on() { # ID FILE: add it, on what main is
    rm -rf "$work/$1"
    g "$1" 1 clone -q "$url" "$work/$1" && echo "$2" >"$work/$1/$2" && g "$1" 1 -C "$work/$1" add . &&
        g "$1" 1 -C "$work/$1" commit -qm "$2"
}
main_at() { # REPLICA: as a git finds it there
    curl -s -m 10 --unix-socket "$work/d$1/run/public.sock" 'http://x/song.git/info/refs?service=git-upload-pack' >/dev/null
    git -C "$work/d$1/vcs/song.git" rev-parse -q --verify main
}
main_is() { [ "$(main_at "$1")" = "$2" ]; }
tip() { git -C "$work/$1" rev-parse HEAD; }
g default 1 init -q "$work/default"
echo melody >"$work/default/melody"
g default 1 -C "$work/default" add .
g default 1 -C "$work/default" commit -qm melody
t 'Ada begins it' g default 1 -C "$work/default" push -q --signed "$url" main
base=$(tip default)
for i in 1 2 3; do t "replica $i has it" wait_until 10 main_is $i "$base"; done
echo solo >"$work/default/solo"
g default 1 -C "$work/default" add .
g default 1 -C "$work/default" commit -qm solo
exits 'her solo is not hers to add' 1 'rules\.denied' g default 1 -C "$work/default" push --signed "$url" main
exits 'nor to have another branch shown' 1 'rules\.denied' mb send vcs.repo.set <(echo '{"name":"song","default_branch":"mine"}')
for i in 1 2 3; do is "replica $i has main where it was" "$(main_at $i)" "$base"; done

section 'features'
t 'Bo plays a bass line' work_on bo bass
t 'and proposes it, to replica 2' g bo 2 -C "$work/bo" push -q --signed "$url" HEAD:refs/for/main
t 'Cy drums on the same melody' work_on cy drums
t 'and proposes that' g cy 3 -C "$work/cy" push -q --signed "$url" HEAD:refs/for/main
# feature N ID PAY TO: what a decision runs
feature() {
    jq -nc --arg old "$base" --arg new "$(tip "$2")" --argjson n "$1" --argjson pay "$3" --arg to "$4" \
        '[{type: "vcs.merge", body: {repo: "song", proposal: $n, old: $old, new: $new}},
          {type: "books.post", body: {entries: [{account: "org/treasury", asset: "coin", amount: -$pay},
              {account: $to, asset: "coin", amount: $pay}]}}]' >"$work/commands"
}
feature 1 bo 120 "$bo"
exits 'not even the founder merges alone' 1 'voted on' mb send vcs.merge <(jq -c '.[0].body' "$work/commands")
exits 'a merge takes the procedure feature' 1 'procedure feature' \
    mb proposal create treasury 'Bass' --commands "$work/commands"
feature 1 bo 120 "$ada"
exits 'and pays nobody but its author' 1 'paid to its author' \
    mb proposal create feature 'Bass' --commands "$work/commands"
jq -c '.[1:]' "$work/commands" >"$work/pay"
exits 'nor without the merge' 1 'only what is merged' mb proposal create feature 'Bass' --commands "$work/pay"
t 'the founder retires' mb send org.founders.retire - <<<'{}'
decide() { # NUMBER TITLE: all three vote in time
    t "$2 is proposed" mb proposal create feature "$2" --commands "$work/commands" --id cy
    t 'the vote opens' wait_until 20 in_state "$1" voting
}
feature 1 bo 900 "$bo"
decide 1 'Bass, for more than there is'
t 'Ada likes it' mb proposal vote 1 yes
t 'the vote has passed, but it cannot be paid' wait_until 30 in_state 1 failed
is 'says why' "$(reason_of 1)" books.balance
is 'so it is not merged' "$(main_at 1)" "$base"
feature 1 bo 120 "$bo"
decide 2 'Bass, for 120'
feature 2 cy 80 "$cy"
decide 3 'Drums'
t 'Ada: yes to the bass' mb proposal vote 2 yes
t 'Cy: no' mb proposal vote 2 no --id cy
t 'Ada: yes to the drums' mb proposal vote 3 yes
t 'the bass is in' wait_until 30 in_state 2 executed
for i in 1 2 3; do t "at replica $i" wait_until 15 main_is $i "$(tip bo)"; done
is 'Bo is paid' "$(held coin "$bo")" 120
is 'the votes were shares' "$(key_of gov/tally/2 | jq -c .counts)" '[60,15,0]'
t 'the drums passed, but main has moved' wait_until 30 in_state 3 failed
is 'says why' "$(reason_of 3)" vcs.ref_moved
is 'Cy is not paid' "$(held coin "$cy")" 0
base=$(tip bo)
t 'Cy plays to the bass' work_on cy drums
t 'and proposes again' g cy 1 -C "$work/cy" push -q --signed "$url" HEAD:refs/for/main

section 'shares are sold'
t 'Ada sells Bo 50' posting default 'sold' "$ada" share -50 "$bo" share 50
feature 3 cy 80 "$cy"
t 'at the next epoch Bo has 75 votes' wait_until 40 has vote "$bo" 75
is 'and Ada 10' "$(held vote "$ada")" 10
decide 4 'Drums, to the bass'
t 'Ada: no' mb proposal vote 4 no
t 'Bo: yes' mb proposal vote 4 yes --id bo
t 'the drums are in' wait_until 30 in_state 4 executed
for i in 1 2 3; do t "at replica $i" wait_until 15 main_is $i "$(tip cy)"; done
is 'Cy is paid' "$(held coin "$cy")" 80
t 'whoever clones the song' g bo 3 clone -q "$url" "$work/clone"
is 'has all of it' "$(ls "$work/clone" | tr '\n' ' ')" 'bass drums melody '
is 'and of the proposals only the drums of before are open' "$(get "/v1/state?prefix=vcs/proposal/song/" | jq -c '[.items[]?.value.commit] | length')" 1

section 'the song earns'
t 'Bo plays it for 100' posting bo 'a concert' "$bo" coin -100 org/income coin 100
t 'at the next epoch half is for the owners' wait_until 40 has org/income coin 0
t 'Bo: 37' wait_until 40 has coin "$bo" 57
is 'Ada: 5' "$(held coin "$ada")" 5
is 'Cy: 7' "$(held coin "$cy")" 87
is 'and the rest for the treasury' "$(held coin org/treasury)" 351

section 'the ledger'
wait_until 30 settled
exits 'the whole ledger holds' 0 'everything holds' mb audit --full
for i in 1 2 3; do stop n$i; done
finish
