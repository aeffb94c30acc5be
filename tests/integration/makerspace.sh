#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A makerspace of three replicas founded with conf/rulebooks/makerspace.lua: Ann founds it, Tom trains at the laser,
# Bob learns. The laser has a key of its own, an extract of the state, and no network: it lets in whom it may, keeps
# what happened, and submits it once there is a network again, exactly once, though the replica that it spoke to is
# lost before it has answered. Then the certification ends by itself.
. "$(dirname "$0")/lib-replicas.sh"

section 'founded, on three machines'
replicas --module books --module gov --module rules --epoch 30 \
    --rulebook "$top/conf/rulebooks/makerspace.lua" --param rules.pass_price=10 --param rules.cert_epochs=3
declare -A key=([ann]=$(mb id show --json | jq -r .fingerprint))
for name in tom bob eve laser; do
    t "a key for $name" mb id new $name
    key[$name]=$(fingerprint "$ids/$name.pub")
done
of() { held "$1" "key/${key[$2]}"; } # ASSET WHO
issue() { mb books post "issue/$1" "-$2" "$1" "${key[$3]}" "$2" "$1" --id "${4-default}"; } # ASSET N WHO [BY]

section 'Ann sets it up'
t 'coins' mb send books.asset.create - <<<'{"asset":"coin","transferable":1}'
t 'a treasury' mb send books.account.open - <<<'{"account":"org/treasury"}'
for asset in pass cert-laser trainer-laser device-laser visit-laser; do
    t "the asset $asset" mb send books.asset.create - <<<"{\"asset\":\"$asset\"}"
done
t 'a checkpoint has them' wait_until 30 settled
for name in tom bob; do t "$name is a member" issue member 1 $name; done
t 'Tom trains' issue trainer-laser 1 tom
t 'the laser records who uses it' issue device-laser 1 laser
t 'Bob has 100 coins' issue coin 100 bob

section 'Bob pays for a pass, and learns'
t 'he pays 95, nine and a half times the price' mb books pay 95 coin org/treasury --id bob
[ "$(of pass bob)" -ge 8 ]
ok $? 'and has a pass for nine epochs'
exits 'he cannot certify himself' 1 'books\.post needs the role' issue cert-laser 1 bob bob
exits 'Tom cannot certify himself' 1 'nobody certifies their own key' issue cert-laser 1 tom tom
exits 'nor Eve, who is no member' 1 'only members are certified' issue cert-laser 1 eve tom
exits 'nor anybody for years' 1 '3 epochs ahead at most' issue cert-laser 400 bob tom
t 'Tom certifies Bob' issue cert-laser 3 bob tom
covered() { magicbiz get "books/balance/cert-laser/key/${key[bob]}"; }
t 'a checkpoint has it' wait_until 20 covered

section 'the laser gets its extract, and is taken off the network'
extract=$work/laser.extract queue=$work/laser.queue
t 'an extract' mb access extract --asset member --asset cert-laser --asset pass --out "$extract"
may() { mb access check --extract "$extract" --asset pass --asset cert-laser --key "${key[$1]}"; }
export MAGICBIZ_SOCKET=$work/none
exits 'there is no network' 3 '.' mb status
exits 'Bob may' 0 '^yes' may bob
exits 'Tom has no certification' 1 'holds no' may tom
exits 'nor has Eve' 1 'holds no' may eve
sed "s|${key[bob]//\//\\/}|${key[eve]//\//\\/}|g" "$extract" >"$work/false"
exits 'who writes another key into it is found out' 4 '.' \
    mb access check --extract "$work/false" --asset cert-laser --key "${key[eve]}"
jq -c '(.items[] | select(.key | contains("cert-laser")) | .text) = "99"' "$extract" >"$work/false"
exits 'so is who writes another number' 4 '.' \
    mb access check --extract "$work/false" --asset cert-laser --key "${key[bob]}"
jq -c '.checkpoints[].signatures = []' "$extract" >"$work/false"
exits 'without signatures it is nothing' 4 '.' \
    mb access check --extract "$work/false" --asset cert-laser --key "${key[bob]}"
head -c 500 "$extract" >"$work/false"
exits 'nor half of it' 1 'no extract' mb access check --extract "$work/false" --asset cert-laser --key "${key[bob]}"
sleep 2
exits 'an old one is refused' 4 'are the most' \
    mb access check --extract "$extract" --asset cert-laser --key "${key[bob]}" --max-age 1

section 'Bob uses the laser twice, Tom opens the door of it once'
visit() { # WHO [BY]
    mb access queue --id "${2-laser}" --extract "$extract" --queue "$queue" --asset visit-laser --key "${key[$1]}" --memo laser
}
for name in bob bob tom; do t "$name, queued" visit $name; done
is 'three wait' "$(wc -l <"$queue")" 3
cp "$queue" "$work/copy"
exits 'submitting fails' 3 '.' mb access submit --queue "$queue"
is 'and they still wait' "$(cmp "$queue" "$work/copy" && wc -l <"$queue")" 3

section 'the network returns'
door=$(others "$(leader)" | cut -d ' ' -f 1)
at "$door"
head -n 1 "$queue" >"$work/first"
post <"$work/first" >/dev/null
is 'one was sent before, the answer lost' "$(of visit-laser bob)" 1
lose "$door"
exits 'the queue is submitted to another' 0 '3 submitted, 0 refused' mb access submit --queue "$queue"
is 'each counts once' "$(of visit-laser bob) $(of visit-laser tom)" '2 1'
is 'nothing waits' "$(wc -c <"$queue")" 0
cp "$work/copy" "$queue"
exits 'a copy that was restored is submitted too' 0 '3 submitted' mb access submit --queue "$queue"
is 'and changes nothing' "$(of visit-laser bob) $(of visit-laser tom)" '2 1'
visits=()
for i in 1 2 3 4; do
    visit bob >/dev/null &
    visits+=($!)
done
wait "${visits[@]}"
is 'four at once are queued' "$(wc -l <"$queue")" 4
mb access submit --queue "$queue" >/dev/null & one=$!
mb access submit --queue "$queue" >/dev/null & two=$!
wait $one $two
mb access submit --queue "$queue" >/dev/null
is 'submitted twice at once, each counts once' "$(of visit-laser bob)" 6
t 'Bob writes an event himself' visit bob bob
exits 'which is refused' 1 'refused: command\.access|laser.queue.refused' mb access submit --queue "$queue"
is 'kept beside the queue' "$(wc -l <"$queue.refused") $(wc -c <"$queue")" '1 0'
is 'and counts nothing' "$(of visit-laser bob)" 6
back "$door"
is 'where Bob has as many' "$(at "$door"; of visit-laser bob)" 6

section 'it ends by itself'
ended() { [ "$(of cert-laser bob)" = 0 ]; }
t 'three epochs later Bob is not certified' wait_until 130 ended
gone() { ! magicbiz get "books/balance/cert-laser/key/${key[bob]}"; }
t 'a checkpoint has it' wait_until 60 gone
t 'a new extract' mb access extract --asset member --asset cert-laser --asset pass --out "$extract"
exits 'the laser does not let him in' 1 'holds no cert-laser' may bob
[ "$(of pass bob)" -gt 0 ]
ok $? 'though his pass goes on'
t 'what he did there is still known' [ "$(of visit-laser bob)" = 6 ]

section 'audit'
exits 'the whole ledger replays' 0 'everything holds' mb audit --full
t 'the three are at one' agree 1 2 3
for i in 1 2 3; do stop n$i; done
finish
