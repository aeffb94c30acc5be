#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# An organisation on the private Tor network: reached, written to, pushed to, cloned from and audited
# by its onion address alone; and there again after its tor, and itself, were killed.
. "$(dirname "$0")/lib.sh"
use_network
data=$work/data

section 'found and reach'
t 'found' found "$data" --tor child --torrc "$MAGICBIZ_TORRC"
onion=$(jq -r .onion "$data.json")
t 'starts' start_daemon node "$data"
t 'its onion services are reachable' wait_until 120 reachable "$data"
t 'join through Tor' mb org join acme "$(jq -r .join "$data.json")"
t 'status' mb status
t 'send' mb send org.param.set - <<<'{"name":"greeting","value":"hello"}'
covered() { [ "$(timeout 60 magicbiz get org/params/greeting --timeout 20 2>>"$work/get.err")" = '"hello"' ]; }
# A client's tor that still has the old descriptor can take minutes to find a service whose tor was
# killed: ask it to forget, as "new identity" does.
cat >"$work/control.pl" <<'PERL'
use Socket; my ($path, $cookie) = @ARGV; open C, "<", $cookie or die "$cookie: $!"; binmode C; local $/; my $c = unpack "H*", <C>;
socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un($path)) or die;
alarm 20; syswrite(S, "AUTHENTICATE $c\r\nSIGNAL NEWNYM\r\nQUIT\r\n"); my $all = join "", <S>;
exit(($all =~ /^(250 OK\r\n){2}/) ? 0 : 1);
PERL
again() {
    : >"$work/get.err"
    local cookie=$(ls "${MAGICBIZ_CONTROL%/*}"/*cookie* | head -n 1) began=$SECONDS
    t 'the client forgets what it knew' perl "$work/control.pl" "$MAGICBIZ_CONTROL" "$cookie"
    wait_until 100 covered
    ok $? "get through Tor, after $((SECONDS - began)) s" "$work/get.err"
}
t 'get: proven' wait_until 30 covered
is 'the operator sees tor, and no alarm but that this tor is old' "$(mb status --json --socket "$data/run/operator.sock" |
    jq -c '[.health.tor.state, (.health.alarms | map(select(.code != "tor.warning")))]')" '["up",[]]'
answer=$(curl -s -i -m 60 --socks5-hostname "$MAGICBIZ_SOCKS" "http://$onion/v1/health")
is 'through the onion, health is unknown' "$(head -n 1 <<<"$answer" | cut -d ' ' -f 2)" 404
! grep -qiE '^(date|server|etag):' <<<"$answer"
ok $? 'and no Date, Server, ETag'
is 'a stranger by --trust-first' "$(mb org join bare "$onion" --trust-first --json | jq .verified)" true
mb org leave bare >/dev/null

section 'repositories'
mkdir "$work/site"
cd "$work/site" || exit 1
git init -q -b main
echo hello >README
git -c user.name=x -c user.email=x@example.org add README
t 'repo create' mb repo create site --title 'A site' --maintainer "$(mb id show --json | jq -r .fingerprint)"
t 'repo setup' mb repo setup --repo site
git commit -q -m one
t 'repo scrub' mb repo scrub
t 'push --signed to the onion' timeout 120 env TZ=UTC git -c http.proxy="socks5h://$MAGICBIZ_SOCKS" \
    push --signed "http://$onion/site.git" main
cd "$work" || exit 1
t 'clone magicbiz://, each ref proven' timeout 180 git clone -q magicbiz://acme/site "$work/clone"
is 'what came is what was pushed' "$(git -C "$work/clone" rev-parse HEAD)" "$(git -C "$work/site" rev-parse main)"
t 'clone by stock git' timeout 120 git -c http.proxy="socks5h://$MAGICBIZ_SOCKS" clone -q "http://$onion/site.git" "$work/stock"
exits 'audit of the whole ledger through Tor' 0 'everything holds' mb audit --full

section 'tor killed'
tor=$(tors_of "${pids[node]}")
is 'one tor' "$(wc -w <<<"$tor")" 1
kill -KILL "$tor"
another_tor() { [ -n "$(tors_of "${pids[node]}")" ] && [ "$(tors_of "${pids[node]}")" != "$tor" ]; }
t 'another one is started' wait_until 20 another_tor
t 'reachable again' wait_until 120 reachable "$data"
is 'counted' "$(health "$data" | jq '.tor.restarts')" 1
again

section 'the daemon killed'
tor=$(tors_of "${pids[node]}")
stop node KILL
t 'its tor ends with it' wait_until 30 sh -c "! kill -0 $tor"
t 'starts again' start_daemon node "$data"
t 'reachable' wait_until 120 reachable "$data"
is 'the same onion address' "$(health "$data" | jq -r '.tor.onions[] | select(.name == "organisation") | .onion')" "$onion"
again
tor=$(tors_of "${pids[node]}")
stop node
is 'stops' $? 0
! kill -0 "$tor" 2>/dev/null
ok $? 'and its tor has'
exits 'status 3: nobody answers there any more' 3 . mb get org/name --timeout 20
mb org leave acme >/dev/null

section 'a tor that runs already'
data=$work/two
t 'found' found "$data" --tor running
printf 'control = %s\nsocks = %s\n' "$MAGICBIZ_CONTROL" "$MAGICBIZ_SOCKS_UNIX" >>"$data/magicbiz.conf"
t 'starts' start_daemon two "$data"
t 'reachable' wait_until 120 reachable "$data"
t 'join through Tor' mb org join acme "$(jq -r .join "$data.json")"
t 'send' mb send org.param.set - <<<'{"name":"greeting","value":"hello"}'
stop two
is 'stops' $? 0
finish
