#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A band that is owned by its shares, founded with conf/rulebooks/artists.lua, on three replicas, with
# real git: what they publish moves by vote, whoever made it is paid in the same step or nothing happens,
# votes follow the shares, and the owners share what is earned.
. "$(dirname "$0")/lib.sh"
relay=$build/tests/integration/relay
ids=$HOME/.config/magicbiz/ids
mkdir -p "$work/meet"
at() { MAGICBIZ_SOCKET=$work/d$1/run/public.sock; export MAGICBIZ_SOCKET; }
header() { get "/v1/blocks?from=$1&limit=1" | jq -r .header | perl -ne 'chomp; print pack "H*", $_' | sha256sum | cut -c 1-64; }
# add_body N: what replica N signs to be added, at the newest slot
add_body() {
    local newest ready
    newest=$(slot)
    ready=$(jq -cS --arg h "$(header "$newest")" --arg o "$org" --argjson s "$newest" \
        '.replicas[0] | {header: $h, onion, org: $o, peer_onion, slot: $s, tor_auth}' "$work/d$1/genesis.json")
    jq -c --argjson r "$ready" --arg sig "$(sign "$work/d$1/keys/replica" "$ready" magicbiz-replica)" \
        '.replicas[0] | {public_key, onion, peer_onion, tor_auth, ready: {header: $r.header, slot: $r.slot, signature: $sig}}' \
        "$work/d$1/genesis.json"
}
add() { # N: on the record, and with the history of the first one
    local from
    mb send org.param.set - <<<"{\"name\":\"a\",\"value\":$1}" >/dev/null
    add_body "$1" >"$work/body"
    t "replica $1 is added" mb send org.replica.add "$work/body" --json
    from=$(jq .result.from "$work/t.out")
    full() { [ "$(slot)" -ge $((from - 1)) ]; }
    t 'the window is filled' wait_until 20 full
    rm -rf "$work/d$1/archive" "$work/d$1"/store.db*
    cp -a "$work/d1/archive" "$work/d$1/archive"
    cp "$work/d1/genesis.json" "$work/d$1/genesis.json"
    t "replica $1 starts" start_daemon "n$1" "$work/d$1"
}
held() { get "/v1/state?key=books/balance/$1/$(jq -rn --arg a "$2" '$a | @uri')" | jq -r '.value // 0'; }
has() { [ "$(held "$1" "$2")" = "$3" ]; }
state_of() { get "/v1/state?key=gov/proposal/$1" | jq -r .value.state; }
in_state() { [ "$(state_of "$1")" = "$2" ]; }
reason_of() { get "/v1/state?key=gov/proposal/$1" | jq -r .value.reason.code; }
post() { # ID MEMO, then ACCOUNT ASSET AMOUNT …
    local id=$1 memo=$2 entries=
    shift 2
    while [ $# -gt 0 ]; do
        entries+=${entries:+,}'{"account":"'$1'","asset":"'$2'","amount":'$3'}'
        shift 3
    done
    mb send books.post - --id "$id" <<<"{\"memo\":\"$memo\",\"entries\":[$entries]}"
}

section 'three machines'
mb id new >/dev/null
for who in bo cy; do mb id new $who >/dev/null; done
for i in 1 2 3; do
    found "$work/d$i" --module vcs --module books --module gov --module rules --epoch 15 \
        --rulebook "$top/conf/rulebooks/artists.lua"
    printf '[consensus]\nfolder = %s\nelection_ms = 1000\nrebuild_ms = 100\nheartbeat_ms = 50\nround_trip_ms = 20\n' \
        "$work/meet" >>"$work/d$i/magicbiz.conf"
done
org=$(sha256sum <"$work/d1/genesis.json" | cut -c 1-64)
at 1
t 'the first starts' start_daemon n1 "$work/d1"
t 'join' mb org join band "$(jq -r .join "$work/d1.json")"
add 2
add 3

section 'Ada founds a band, with Bo and Cy'
ada=key/$(fingerprint "$ids/default.pub") bo=key/$(fingerprint "$ids/bo.pub") cy=key/$(fingerprint "$ids/cy.pub")
t 'Bo and Cy are members' post default 'welcome' issue/member member -2 "$bo" member 1 "$cy" member 1
t 'money' mb send books.asset.create - <<<'{"asset":"coin","title":"Coins","transferable":1}'
t 'shares, which can be sold' mb send books.asset.create - <<<'{"asset":"share","title":"Shares","transferable":1}'
t 'votes, which cannot' mb send books.asset.create - <<<'{"asset":"vote","title":"Votes"}'
for account in treasury income; do
    t "$account" mb send books.account.open - <<<"{\"account\":\"org/$account\"}"
done
t 'the treasury has 500' post default 'savings' issue/coin coin -500 org/treasury coin 500
t 'a hundred shares' post default 'shares' issue/share share -100 "$ada" share 60 "$bo" share 25 "$cy" share 15
t 'how features are decided' mb send gov.procedure.set - <<<'{"name":"feature","sponsors":0,"sponsors_root":0,
    "review_s":1,"voting_s":10,"grace_s":1,"weight":"rules","quorum":[1,2],"commands":["vcs.merge","books.post:coin"]}'
t 'at the next epoch Ada has 60 votes' wait_until 40 has vote "$ada" 60
is 'Bo 25' "$(held vote "$bo")" 25
is 'Cy 15' "$(held vote "$cy")" 15

section 'the song'
g() { # ID REPLICA GIT-ARGUMENTS…
    TZ=UTC GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@acme.invalid GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@acme.invalid \
        timeout 60 git -c init.defaultBranch=main -c "http.proxy=socks5h://127.0.0.1:$(cat "$work/relay$2.out")" \
        -c gpg.format=ssh -c "user.signingKey=$ids/$1.pub" -c core.fsync=none "${@:3}"
}
for i in 1 2 3; do
    start "relay$i" "$relay" "$work/d$i/run/public.sock"
    wait_until 5 test -s "$work/relay$i.out"
done
url=http://$(get /v1/org | jq -r .onion.current)/song.git
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
exits 'nor to have another branch shown' 1 'rules\.denied' mb send vcs.repo.set - <<<'{"name":"song","default_branch":"mine"}'
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
is 'the votes were shares' "$(get /v1/state?key=gov/tally/2 | jq -c .value.counts)" '[60,15,0]'
t 'the drums passed, but main has moved' wait_until 30 in_state 3 failed
is 'says why' "$(reason_of 3)" vcs.ref_moved
is 'Cy is not paid' "$(held coin "$cy")" 0
base=$(tip bo)
t 'Cy plays to the bass' work_on cy drums
t 'and proposes again' g cy 1 -C "$work/cy" push -q --signed "$url" HEAD:refs/for/main

section 'shares are sold'
t 'Ada sells Bo 50' post default 'sold' "$ada" share -50 "$bo" share 50
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
t 'Bo plays it for 100' post bo 'a concert' "$bo" coin -100 org/income coin 100
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
