#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Three replicas on the private Tor network, each with a tor of its own: they meet over peer onions that
# only they find, hand over the key of the organisation's onion, and the onion moves with the lease when
# the leader's machine is gone. Then one is removed, and the onion changes.
patience=120
. "$(dirname "$0")/lib-replicas.sh"
use_network
tor=(--tor child --torrc "$MAGICBIZ_TORRC")
data=$work/d1
settings() {
    sed -i 's/^\[tor\]$/&\npublish_jitter = 0/' "$work/d$1/magicbiz.conf"
    printf '\n[consensus]\nelection_ms = 3000\nrebuild_ms = 1000\n' >>"$work/d$1/magicbiz.conf"
}
up() { start_daemon "n$1" "$work/d$1" setsid; } # in a process group of its own, as a machine that can be lost

leader_is_not() { [ "$(metric "$1" consensus_leader)" -gt 0 ] && [ "$(metric "$1" consensus_leader)" != "$2" ]; }
holds() { [ "$(metric "$1" tor_organisation)" = 1 ]; }
has_onion() { on "$1" /v1/health | jq -e --arg n "$2" 'any(.tor.onions[]; .name == $n and .reachable)'; }
has_key() { cmp -s "$data/keys/organisation.onion" "$work/d$1/keys/organisation.onion"; }
ask() { curl -s -m "${2-4}" --socks5-hostname "$MAGICBIZ_SOCKS" "http://$1/v1/org"; }
answers() { [ "$(ask "$1" | jq -r .org)" = "$org" ]; }
send_by_onion() {
    envelope "$ids/default" "$(command_text "$ids/default" org.param.set '{"name":"c","value":3}')" |
        curl -s -m 20 --socks5-hostname "$MAGICBIZ_SOCKS" -H 'Content-Type: application/json' --data-binary @- "http://$onion/v1/commands" |
        jq -e '.slot > 0'
}
# A client's tor can hang for minutes on what it knew of a service whose tor was killed: it is asked to
# forget, as "new identity" does.
cat >"$work/control.pl" <<'PERL'
use Socket; my ($path, $cookie) = @ARGV; open C, "<", $cookie or die "$cookie: $!"; binmode C; local $/; my $c = unpack "H*", <C>;
socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un($path)) or die;
alarm 20; syswrite(S, "AUTHENTICATE $c\r\nSIGNAL NEWNYM\r\nQUIT\r\n"); my $all = join "", <S>;
exit(($all =~ /^(250 OK\r\n){2}/) ? 0 : 1);
PERL
forget() { perl "$work/control.pl" "$MAGICBIZ_CONTROL" "$(ls "${MAGICBIZ_CONTROL%/*}"/*cookie* | head -n 1)"; }
again() { # ONION SECONDS
    local end=$((SECONDS + $2)) next=$SECONDS
    until answers "$1"; do
        [ $SECONDS -lt $end ] || return 1
        if [ $SECONDS -ge $next ]; then
            forget
            next=$((SECONDS + 10)) # tor does it no more often
        fi
        sleep 0.2
    done
}
began() { began=$(date +%s%N); }
seconds() { local ms=$((($(date +%s%N) - began) / 1000000)); printf '%d.%01d' $((ms / 1000)) $((ms % 1000 / 100)); }
lose() { # N: and its tor with it
    kill -KILL -- "-${pids[n$1]}"
    stop "n$1" KILL
}

section 'three replicas'
first
t 'the organisation'\''s onion is published by the only replica' wait_until 60 has_onion 1 organisation
add 2
t 'two agree over their peer onions' mb send org.param.set - <<<'{"name":"b","value":2}'
add 3
for i in 2 3; do t "replica $i was handed the key of the organisation's onion" wait_until 30 has_key $i; done
is 'in a file of its owner alone' "$(stat -c %a "$work/d2/keys/organisation.onion")" 600
t 'a command through the onion' wait_until 60 send_by_onion
is 'only the leader publishes it' "$(for i in 1 2 3; do metric $i tor_organisation; done | sort -n | tr '\n' ' ')" '0 0 1 '
t 'the peer onions are published' wait_until 30 has_onion 3 peer
! ask "$(jq -r '.replicas[0].peer_onion' "$work/d3/genesis.json")" 20
ok $? 'and who has no key does not find them'

knows_all() { [ "$(mb org show --join | tr -cd , | wc -c)" = 3 ]; } # the organisation's and each replica's
t 'magicbiz has learnt of all three, whoever is lost next' wait_until 30 knows_all

section 'the leader is lost'
old=$(metric 2 consensus_leader)
left=$((old % 3 + 1))
MAGICBIZ_SOCKET=$work/d$left/run/public.sock
lose "$old"
began
forget
t 'another one leads' wait_until 60 leader_is_not "$left" "$old"
echo "the lease has moved after $(seconds) s"
began
t 'magicbiz goes on through Tor, by another replica if its tor waits for the lost one' \
    env -u MAGICBIZ_SOCKET timeout 120 magicbiz send org.param.set - <<<'{"name":"d","value":4}'
echo "after $(seconds) s"
again "$onion" 60 # how long a client's tor keeps trying what is gone varies: a figure, not a limit
ok $? "the organisation's onion answers"
echo "after $(seconds) s"
t 'and takes commands' wait_until 30 send_by_onion
new=$(metric "$left" consensus_leader)
t 'from the new leader' holds "$new"

section 'it is removed'
t 'removed' mb send org.replica.remove - <<<"{\"number\":$old}"
began
rotated() { [ "$(get /v1/org | jq -r .onion.current)" != "$onion" ]; }
t 'the others agree on another onion' wait_until 30 rotated
is 'the old one is revoked' "$(get /v1/org | jq -r '.onion.revoked[]')" "$onion"
next=$(get /v1/org | jq -r .onion.current)
t 'which answers' again "$next" 30
echo "after $(seconds) s"
other=$((6 - old - new))
same_key() { cmp -s "$work/d$new/keys/organisation.onion" "$work/d$other/keys/organisation.onion"; }
t 'both have its key' wait_until 10 same_key
! cmp -s "$work/d$new/keys/organisation.onion" "$work/d$old/keys/organisation.onion"
ok $? 'and the removed one has not'
is 'the old one is published no more' "$(on "$new" /v1/health | jq -c --arg o "$onion" '.tor.onions | map(.onion == $o) | any')" false
is 'no key is left over' "$(ls "$work"/d*/keys | grep -c next)" 0
for i in 1 2 3; do grep -hE 'consensus leader|lease ' "$work/n$i.err" | sed "s/^/replica $i: /"; done
finish
