#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# src/tor and src/peer on a private Tor network: onion services that stay up whatever happens to tor,
# a tor that must not be used being refused, and replicas that lose nothing when theirs is killed. Uses the network whose torrc $MAGICBIZ_TORRC names, or brings
# up one of its own.
set -u
PATH=$PATH:/usr/sbin:/sbin
LC_ALL=C
export LC_ALL
umask 077

top=${srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${builddir:-$top/build}
keeper=$build/tests/integration/tor-keeper
tor=$(command -v tor) || { echo "tor is missing: apt-get install tor"; exit 1; }
[ -x "$keeper" ] || { echo "$keeper is missing: make check"; exit 1; }
# The program itself, not libtool's script: bash looks up its user where SHELL is not set, and strace
# would see that.
if [ -x "${keeper%/*}/.libs/tor-keeper" ]; then
  keeper=${keeper%/*}/.libs/tor-keeper
  export LD_LIBRARY_PATH="$build/.libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi
work=$(mktemp -d /tmp/mb-tor-XXXXXX) || exit 1
passed=0 failed=0 network=
declare -A pids=()

ok() { # NAME, after a command: its status decides
  if [ "$1" = 0 ]; then
    passed=$((passed + 1))
    echo "ok   $2"
  else
    failed=$((failed + 1))
    echo "FAIL $2"
    if [ -n "${3-}" ]; then tail -n 3 "$3" | sed 's/^/     /'; fi
  fi
}
check() { # NAME LOG COMMAND...
  local name=$1 log=$2
  shift 2
  "$@"
  ok $? "$name" "$log"
}

start() { # NAME COMMAND...; its output is in $work/NAME.out
  local name=$1
  shift
  "$@" >"$work/$name.out" 2>"$work/$name.err" </dev/null &
  pids[$name]=$!
}
stop() { # NAME [SIGNAL]
  [ -n "${pids[$1]-}" ] || return 0
  kill "-${2-TERM}" "${pids[$1]}" 2>/dev/null
  wait "${pids[$1]}" 2>/dev/null
  local status=$?
  unset "pids[$1]"
  return $status
}
clean_up() {
  local n
  for n in "${!pids[@]}"; do stop "$n" KILL; done
  if [ -n "$network" ]; then "$top/contrib/testnet" down "$network"; fi
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# A line of FILE, behind the first FROM ones, that matches
await() { # FILE PATTERN SECONDS [FROM]
  local end=$((SECONDS + $3))
  while ! tail -n "+$((${4-0} + 1))" "$1" 2>/dev/null | grep -qE -- "$2"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.1
  done
}
lines() { wc -l <"$1"; }
field() { # FILE NAME: in its last line
  tail -n 1 "$1" | grep -oE "(^| )$2=[^ ]*" | cut -d = -f 2
}
# Milliseconds from a tor being usable to its onion being published, behind line FROM
put_back_ms() { # FILE FROM
  tail -n "+$(($2 + 1))" "$1" | tr -d '"' | awk '
    { split($1, ms, "="); for (i = 2; i <= NF; i++) if (split($i, kv, "=") == 2 && !((NR, kv[1]) in v)) v[NR, kv[1]] = kv[2] }
    v[NR, "published"] == 0 { gone = 1 }
    gone && v[NR, "published"] == 1 && !pub { pub = ms[2] }
    gone && v[NR, "state"] == "up" && !up { up = ms[2] }
    END { if (!pub || !up) print 999999; else print (pub > up ? pub - up : 0) }'
}
within_5_s() { # NAME FILE FROM
  local ms
  ms=$(put_back_ms "$2" "$3")
  [ "$ms" -le 5000 ]
  ok $? "$1 ($((ms / 1000)).$(printf %03d $((ms % 1000))) s after tor was usable)" "$2"
}
tor_of() { # TORRC: the pid of the tor that runs with it
  local p args
  for p in /proc/[0-9]*; do
    args=()
    { mapfile -d '' -t args <"$p/cmdline"; } 2>/dev/null
    if [ "${args[1]-} ${args[2]-}" = "-f $1" ]; then echo "${p#/proc/}"; fi
  done
}
gone() { # TORRC SECONDS
  local end=$((SECONDS + $2))
  while [ -n "$(tor_of "$1")" ]; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.1
  done
}
no_tcp_listener() { # PID
  local inode
  for inode in $(awk '$4 == "0A" { print $10 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null); do
    # shellcheck disable=SC2012
    ls -l "/proc/$1/fd" 2>/dev/null | grep -q "socket:\[$inode\]" && return 1
  done
  return 0
}
unix_sockets_only() { # STRACE; what else there is goes to $work/leaks
  {
    grep -E '^[0-9 ]*(socket|socketpair|connect|bind)\(' "$1" | grep -v 'AF_UNIX'
    grep -E 'resolv\.conf|nsswitch|/etc/hosts' "$1"
    grep -q 'connect(.*sun_path' "$1" || echo 'nothing was traced'
  } >"$work/leaks" 2>&1
  [ ! -s "$work/leaks" ]
}
seed() { printf '%064d' "$1"; }
keep() { # NAME ARGUMENTS...
  local name=$1
  shift
  start "$name" "$keeper" keep "target=$work/$name.web" "$@"
}
write_torrc() { # NAME LINES
  mkdir -p "$work/$1"
  {
    printf '%%include "%s"\nDataDirectory %s\n' "$MAGICBIZ_TORRC" "$work/$1/data"
    printf 'Log notice file %s\n' "$work/$1/log"
    printf '%s\n' "$2"
  } >"$work/$1/torrc"
}
run_tor() { # NAME
  : >"$work/empty"
  start "$1" "$tor" -f "$work/$1/torrc" --defaults-torrc "$work/empty"
}

if [ -z "${MAGICBIZ_TORRC-}" ]; then
  network=$work/net
  "$top/contrib/testnet" up "$network" || exit 1
  eval "$("$top/contrib/testnet" env "$network")"
fi

echo '== a tor of its own'
child="$work/a child"
keep one mode=child dir="$child" binary="$tor" include="$MAGICBIZ_TORRC" seed="$(seed 1)"
out=$work/one.out
check 'published and reachable' "$out" await "$out" 'published=1 reachable=1' 60
check 'with proof of work' "$out" await "$out" 'pow=1' 1
modes=$(stat -c %a "$child" "$child/data" "$child/torrc" "$child/tor.log" "$child/cookie" | tr '\n' ' ')
[ "$modes" = '700 700 600 600 600 ' ]
ok $? "its files are private ($modes)"
pid=$(tor_of "$child/torrc")
if ls "/proc/$pid/fd" >/dev/null 2>&1; then
  check 'it listens on Unix sockets only' '' no_tcp_listener "$pid"
else
  echo 'skip it listens on Unix sockets only: tor lets nobody but root look'
fi
onion=$(field "$out" onion) socks=$child/socks
answer=$("$keeper" get "$socks" "$onion" 80)
[ "$answer" = 'HTTP/1.1 404 Not Found' ]
ok $? "a client gets an answer ($answer)"
answer=$("$keeper" get "$socks" example.com 80)
[[ $answer = error=socks.clearnet* ]]
ok $? 'a name that is no onion is refused'

from=$(lines "$out")
kill -9 "$pid"
check 'tor killed: noticed' "$out" await "$out" 'state=down .*code=tor.ended' 5 "$from"
check 'tor killed: reachable again' "$out" await "$out" 'published=1 reachable=1.*restarts=1' 60 "$from"
within_5_s 'tor killed: put back' "$out" "$from"
before=$SECONDS
stop one
ok $? 'SIGTERM ends it'
[ $((SECONDS - before)) -le 5 ]
ok $? 'within 5 s'
check 'and its tor' '' gone "$child/torrc" 3
answer=$("$keeper" get "$socks" "$onion" 80)
[[ $answer = error=socks.proxy* ]]
ok $? 'without tor nothing is dialled'

long=$work/$(printf 'long-%.0s' {1..20})
keep long mode=child dir="$long" binary="$tor" include="$MAGICBIZ_TORRC" seed="$(seed 2)"
check 'a folder too long for sockets' "$work/long.out" await "$work/long.out" 'state=up' 60
short=$(field "$work/long.out" socks)
stop long KILL
check 'kill -9 takes its tor along' '' gone "$long/torrc" 5
rm -rf "${short%/socks}"

printf '%%include "%s"\nSocksPort 127.0.0.1:auto\n' "$MAGICBIZ_TORRC" >"$work/tcp.torrc"
keep tcp mode=child dir="$work/tcp" binary="$tor" include="$work/tcp.torrc" seed="$(seed 3)"
check 'an included torrc that listens on TCP is refused' "$work/tcp.out" \
  await "$work/tcp.out" 'state=refused .*code=tor.listeners' 20
stop tcp
printf 'HiddenServiceSingleHopMode 1\n' >"$work/hop.torrc"
keep hop mode=child dir="$work/hop" binary="$tor" include="$work/hop.torrc" seed="$(seed 3)"
check 'an included torrc with single hops is refused' "$work/hop.out" await "$work/hop.out" 'error=tor.options' 5
stop hop
printf 'NoSuchOption 1\n' >"$work/bad.torrc"
keep bad mode=child dir="$work/bad" binary="$tor" include="$work/bad.torrc" seed="$(seed 3)"
check "tor that does not start: its own words are in the status" "$work/bad.out" \
  await "$work/bad.out" 'state=down .*code=tor.ended .*NoSuchOption' 20
stop bad
keep none mode=child dir="$work/none" binary=/nowhere/tor seed="$(seed 3)"
check 'no tor at all: said so' "$work/none.out" await "$work/none.out" 'code=child.spawn' 5
stop none

echo '== a tor that runs'
write_torrc mine "ControlPort unix:\"$work/mine/control\"
ControlPort 127.0.0.1:auto
ControlPortWriteToFile $work/mine/port
CookieAuthentication 1
HashedControlPassword $("$tor" --hash-password secret | tail -n 1)
SocksPort unix:\"$work/mine/socks\""
run_tor mine
check 'it has started' "$work/mine/log" await "$work/mine/log" 'Bootstrapped 100%' 60
control=$work/mine/control

start relay "$keeper" relay "$work/relay" "$control"
sleep 0.3
keep two mode=running control="$work/relay" seed="$(seed 4)"
out=$work/two.out
check 'cookie: reachable' "$out" await "$out" 'published=1 reachable=1' 60
from=$(lines "$out")
kill -USR1 "${pids[relay]}"
check 'control connection lost: noticed' "$out" await "$out" 'state=down .*code=tor.closed' 5 "$from"
check 'control connection lost: reachable again' "$out" await "$out" 'published=1 reachable=1' 60 "$from"
within_5_s 'control connection lost: put back' "$out" "$from"
from=$(lines "$out")
stop mine KILL
check 'tor killed: noticed' "$out" await "$out" 'state=down' 5 "$from"
run_tor mine
check 'tor restarted: reachable again' "$out" await "$out" 'published=1 reachable=1' 60 "$from"
within_5_s 'tor restarted: put back' "$out" "$from"
stop two
ok $? 'SIGTERM ends it, and leaves tor alone'
[ -n "$(tor_of "$work/mine/torrc")" ]
ok $? 'which still runs'

echo '== restricted discovery'
client=$(seed 1234)
gets() { # SECONDS: until the restricted onion answers through tor `mine`
  local end=$((SECONDS + $1))
  while [ "$("$keeper" get "$work/mine/socks" "$onion" 80)" != 'HTTP/1.1 404 Not Found' ]; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.5
  done
}
keep shut mode=child dir="$work/shut" binary="$tor" include="$MAGICBIZ_TORRC" seed="$(seed 7)" client="$client"
out=$work/shut.out
check 'a restricted onion is published' "$out" await "$out" 'published=1 reachable=1' 60
onion=$(field "$out" onion)
sleep 3
for socks in "$work/mine/socks" "$work/shut/socks"; do
  answer=$("$keeper" get "$socks" "$onion" 80)
  [[ $answer = error=socks.unreachable* ]]
  ok $? "without the key nobody finds it ($answer)"
done
keep false mode=running control="$control" seed="$(seed 8)" auth="$(seed 4321)" onion="$onion"
await "$work/false.out" 'state=up' 30
answer=$("$keeper" get "$work/mine/socks" "$onion" 80)
[[ $answer = error=socks.unreachable* ]]
ok $? "nor with another key ($answer)"
stop false
keep with mode=running control="$control" seed="$(seed 8)" auth="$client" onion="$onion"
check 'with the key it answers' "$work/with.out" gets 60
from=$(lines "$work/with.out")
stop mine KILL
await "$work/with.out" 'state=down' 5 "$from"
run_tor mine
check 'and does again after a restart of tor' "$work/with.out" gets 90
stop with
stop shut

echo secret >"$work/password"
echo wrong >"$work/wrong"
head -c 32 /dev/urandom >"$work/cookie"
port=127.0.0.1:$(sed -n 's/^PORT=127.0.0.1://p' "$work/mine/port")
try() { # NAME PATTERN ARGUMENTS...
  local name=$1 pattern=$2
  shift 2
  keep try mode=running seed="$(seed 5)" "$@"
  check "$name" "$work/try.out" await "$work/try.out" "$pattern" 30
  stop try
}
try 'password' 'state=up' control="$control" password="$work/password"
try 'wrong password: refused' 'state=refused .*code=tor.auth .*password' control="$control" password="$work/wrong"
try 'wrong cookie: refused' 'state=refused .*code=tor.auth .*cookie' control="$control" cookie="$work/cookie"
try 'a cookie of another length is not shown' 'state=refused .*code=tor.auth .*32 bytes' control="$control" cookie="$work/password"
try 'TCP unless allowed: refused' 'error=tor.options' control="$port"
try 'TCP where allowed' 'state=up' control="$port" tcp=1
try 'no tor there: said so' 'state=down .*code=tor.connect .*debian-tor' control="$work/nobody"

fake() { # NAME PATTERN VERSION METHODS
  start fake "$keeper" fake "$work/fake" "$3" "$4" "$work/cookie"
  sleep 0.3
  try "$1" "$2" control="$work/fake" socks="$work/nobody"
  stop fake
}
fake 'tor 0.4.7: refused, with the reason' 'state=refused .*code=tor.old .*0\.4\.7\.16 is too old' 0.4.7.16 COOKIE,SAFECOOKIE
fake 'a control port without authentication: refused' 'state=refused .*code=tor.open' 0.4.9.14 NULL
[ ! -s "$work/fake.out" ]
ok $? 'and nothing more was said to it' "$work/fake.out"
fake 'a server that does not know the cookie never sees it' 'state=refused .*code=tor.auth' 0.4.9.14 SAFECOOKIE
grep -q AUTHCHALLENGE "$work/fake.out" && ! grep -q AUTHENTICATE "$work/fake.out"
ok $? 'it was asked for proof first' "$work/fake.out"
write_torrc hops "ControlPort unix:\"$work/hops/control\"
CookieAuthentication 1
SocksPort 0
HiddenServiceSingleHopMode 1
HiddenServiceNonAnonymousMode 1"
run_tor hops
await "$work/hops/log" 'Opened Control listener' 10
try 'a tor that does not hide its services: refused' 'state=refused .*code=tor.anonymity' control="$work/hops/control" socks="$work/nobody"
try 'a tor without SOCKS socket: refused' 'state=refused .*code=tor.(socks|anonymity)' control="$work/hops/control"
stop hops

echo '== two replicas'
start pair "$build/tests/integration/peer-pair" "$work/pair" "$tor" "$MAGICBIZ_TORRC"
out=$work/pair.out
check 'their streams come up over onions that only they find' "$out" await "$out" 'up=1111' 120
check 'and carry bodies' "$out" await "$out" 'up=1111 .*asks=[1-9]' 60
from=$(lines "$out")
kill -9 "$(tor_of "$work/pair/torrc")"
check 'tor killed: the streams go' "$out" await "$out" 'up=0000' 20 "$from"
from=$(lines "$out")
check 'and come back' "$out" await "$out" 'up=1111' 120 "$from"
kill "${pids[pair]}"
check 'nothing was lost, doubled or out of order' "$out" await "$out" '^done .*missing=0 wrong=0 .*dropped=0' 60
stop pair
tail -n 1 "$out"

echo '== system calls'
if command -v strace >/dev/null; then
  start traced strace -D -q -s 256 -o "$work/trace" -e trace=%network,openat,open \
    "$keeper" keep target="$work/traced.web" mode=child dir="$work/traced" binary="$tor" include="$MAGICBIZ_TORRC" seed="$(seed 6)"
  await "$work/traced.out" 'reachable=1' 60
  ok $? 'reachable under strace' "$work/traced.out"
  stop traced
  await "$work/trace" '^\+\+\+ exited' 10 # strace, which is not our child with -D, has written all
  check 'only Unix sockets, and no look-ups' "$work/leaks" unix_sockets_only "$work/trace"
else
  ok 1 'strace is missing: apt-get install strace'
fi

echo "$passed passed, $failed failed"
[ $failed = 0 ]
