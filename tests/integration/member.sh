#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A replica joins an organisation of one, over Unix sockets: the command, the window, the handover, and
# what clients and an audit make of it, also after the daemon and its store were lost.
. "$(dirname "$0")/lib.sh"
data=$work/data

section 'an organisation of one, and a newcomer'
t 'found' found "$data"
t 'keys and onions of another machine' found "$work/new"
org=$(sha256sum <"$data/genesis.json" | cut -c 1-64)
t 'starts' start_daemon node "$data"
MAGICBIZ_SOCKET=$data/run/public.sock
export MAGICBIZ_SOCKET
t 'join' mb org join acme "$(jq -r .join "$data.json")"

section 'the change'
# header SLOT: the hash of its header
header() {
    get "/v1/blocks?from=$1&limit=1" | jq -r .header | perl -ne 'chomp; print pack "H*", $_' | sha256sum | cut -c 1-64
}
# add_body KEY: ready at the newest slot, signed by this key
add_body() {
    local at ready
    at=$(slot)
    ready=$(jq -cS --arg h "$(header "$at")" --arg o "$org" --argjson s "$at" \
        '.replicas[0] | {header: $h, onion, org: $o, peer_onion, slot: $s, tor_auth}' "$work/new/genesis.json")
    jq -c --argjson r "$ready" --arg sig "$(sign "$1" "$ready" magicbiz-replica)" \
        '.replicas[0] | {public_key, onion, peer_onion, tor_auth, ready: {header: $r.header, slot: $r.slot, signature: $sig}}' \
        "$work/new/genesis.json"
}
mb send org.param.set - <<<'{"name":"a","value":1}' >/dev/null
add_body "$HOME/.config/magicbiz/ids/default" >"$work/body"
exits 'not by another key than its own' 1 'org\.ready_proof' mb send org.replica.add "$work/body"
add_body "$work/new/keys/replica" >"$work/body"
t 'replica.add, ready signed by ssh-keygen' mb send org.replica.add "$work/body" --json
added=$(cat "$work/t.out")
is 'in force 64 slots later' "$(jq -c '[.result.from - .slot, .result.number, .result.version]' <<<"$added")" '[64,2,2]'
from=$(jq .result.from <<<"$added")
exits 'not twice' 1 'org\.replica_known' mb send org.replica.add "$work/body"
# The leader fills the window at once: an idle organisation does not wait.
full() { [ "$(slot)" -ge $((from - 1)) ]; }
t 'the window is filled at once' wait_until 10 full

section 'the handover'
handed() { [ "$(get /v1/handovers | jq '.handovers | length')" = 1 ]; }
t 'is a checkpoint' wait_until 20 handed
is 'of the slot before, by the one replica of then' \
    "$(get /v1/handovers | jq -c '.handovers[0] | [.checkpoint.slot, (.checkpoint.signatures | length), .config.from, .config.version]')" \
    "[$((from - 1)),1,$from,2]"
is 'nothing later yet' "$(get '/v1/handovers?from=3' | jq -c .)" '{"handovers":[]}'
exits 'org show: who signed, and who is in force' 0 'signed by replica 1 of 1' mb org show
is 'replica list' "$(mb replica list --json | jq -c '[(.replicas | map(.number)), .next]')" '[[1,2],null]'
is 'the new onion is one to ask' "$(mb org show --join | tr '@,#' '\n' | grep -cxF "$(jq -r '.replicas[0].onion' "$work/new/genesis.json")")" 1
exits 'the whole ledger holds' 0 '1 handover' mb audit --full
rm "$HOME/.local/state/magicbiz/$org.replicas"
t 'a client that forgot walks again' mb org show

section 'after losses'
stop node KILL
rm "$data"/store.db*
t 'starts again without its store' start_daemon node "$data"
t 'and shows the handover still' handed
t 'to a client too' mb replica list
stop node
finish
