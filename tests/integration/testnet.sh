#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# contrib/testnet: up in time, several side by side, onion services work, and
# nothing stays behind.  Runs from any directory; needs tor and curl.
set -u
testnet=$(realpath "$(dirname "$0")/../../contrib/testnet")
limit_s=45
tmp=$(mktemp -d /tmp/testnet-test.XXXXXX) || exit 1
passed=0 failed=0
unset MAGICBIZ_TESTNET

clean() {
  local d
  for d in "$tmp"/*/; do "$testnet" down "$d" >/dev/null 2>&1; done
  rm -rf "$tmp"
}
trap clean EXIT
trap 'exit 130' INT TERM

check() { # NAME STATUS
  if [ "$2" = 0 ]; then
    passed=$((passed + 1))
    echo "ok: $1"
  else
    failed=$((failed + 1))
    echo "FAILED: $1"
  fi
}
is() { # NAME COMMAND...
  local name=$1
  shift
  "$@"
  check "$name" $?
}
tors() { # those started from folder $1, by whoever
  local p
  local -a args
  for p in /proc/[0-9]*; do
    { mapfile -d '' -t args <"$p/cmdline"; } 2>/dev/null || continue
    case ${args[2]-} in "$1"/*/torrc) echo "${p#/proc/}" ;; esac
  done
}
gone() { # DIR: no process and no file
  [ -z "$(tors "$1")" ] && [ ! -e "$1" ]
}
pid_of() { sed -n "s/^$2 //p" "$1/pids"; }
wait_for() { # SECONDS COMMAND...
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.2
  done
}

# Speaks to a control socket by curl's telnet, which knows Unix sockets.
control() { # SOCKET LINE...
  local socket=$1 cookie
  cookie=$(od -An -v -tx1 "${socket%/*}/control_auth_cookie" | tr -d ' \n')
  shift
  { printf 'AUTHENTICATE %s\r\n' "$cookie"; printf '%s\r\n' "$@" QUIT; } |
    timeout 10 curl -s --unix-socket "$socket" telnet://tor 2>/dev/null | tr -d '\r'
}
fetched() { # HOST, through the client of network a; the service is tor's own
  curl -s --max-time 20 --proxy "socks5h://$MAGICBIZ_SOCKS" "http://$1/tor/status-vote/current/consensus" |
    grep -q '^network-status-version 3'
}

# What other tests rely on
start=$SECONDS
"$testnet" up "$tmp/a" >"$tmp/a.out" 2>"$tmp/a.err" &
a=$!
"$testnet" up "$tmp/b c" >"$tmp/b.out" 2>"$tmp/b.err" &
b=$!
wait $a
check 'first network is up' $?
wait $b
check 'second network, in a folder with a space, started with it, is up' $?
took=$((SECONDS - start))
echo "two networks at once: $took s"
is "both up within $limit_s s" [ $took -le $limit_s ]
is 'progress is told in plain lines when nobody watches' grep -q 'nodes are ready (7 of 7)' "$tmp/a.err"
is 'no control characters in them' bash -c '! grep -q "[[:cntrl:]]" "$1"' - "$tmp/a.err"
is 'status succeeds' "$testnet" status "$tmp/a"
eval "$("$testnet" env "$tmp/b c")"
is 'env survives a space' [ "$MAGICBIZ_CONTROL" = "$tmp/b c/client/control.sock" ]
is 'control socket is one' [ -S "$MAGICBIZ_CONTROL" ]
is 'SOCKS socket is one' [ -S "$MAGICBIZ_SOCKS_UNIX" ]
eval "$("$testnet" env "$tmp/a")"
"$testnet" up "$tmp/a" >/dev/null
check 'up twice is fine' $?
is 'and starts nothing' [ "$(tors "$tmp/a" | wc -l)" = 7 ]
"$testnet" down "$tmp/b c"
check 'down of the second' $?
is 'the second is gone' gone "$tmp/b c"
is 'the first is not' "$testnet" status "$tmp/a"

# A fresh tor joins by the fragment and publishes an onion service; what it
# serves is the directory port of an authority.
mkdir -m 700 "$tmp/x"
cat >"$tmp/x/torrc" <<TORRC
%include "$MAGICBIZ_TORRC"
DataDirectory "$tmp/x"
SocksPort unix:"$tmp/x/socks.sock"
ControlPort unix:"$tmp/x/control.sock"
CookieAuthentication 1
TORRC
tor -f "$tmp/x/torrc" >"$tmp/x/log" 2>&1 &
x=$!
start=$SECONDS
is 'a fresh tor joins within 20 s' wait_for 20 grep -q 'Bootstrapped 100%' "$tmp/x/log"
echo "fresh tor: $((SECONDS - start)) s"
dirport=$(sed -n 's/^DirPort \([^ ]*\) .*/\1/p' "$tmp/a/auth1/torrc")
onion=$(control "$tmp/x/control.sock" "ADD_ONION NEW:ED25519-V3 Flags=Detach,DiscardPK Port=80,$dirport" | sed -n 's/^250-ServiceID=//p')
is 'it publishes an onion service' [ -n "$onion" ]
start=$SECONDS
is 'the client reaches it within 30 s' wait_for 30 fetched "$onion.onion"
echo "onion service reached: $((SECONDS - start)) s"
kill $x
wait $x 2>/dev/null

# Death of a node, and what down leaves
kill -9 "$(pid_of "$tmp/a" relay2)"
sleep 0.2
is 'status fails when a node is dead' bash -c '! "$1" status "$2" >/dev/null' - "$testnet" "$tmp/a"
"$testnet" down "$tmp/a"
check 'down of a damaged network' $?
is 'the first is gone' gone "$tmp/a"
"$testnet" down "$tmp/a"
check 'down twice is fine' $?
is 'env of none fails' bash -c '! "$1" env "$2" 2>/dev/null' - "$testnet" "$tmp/a"

"$testnet" up "$tmp/d" >/dev/null 2>"$tmp/d.err" &
d=$!
wait_for 40 grep -qs '^relay3' "$tmp/d/pids"
kill -9 "$(pid_of "$tmp/d" auth2)"
wait $d
is 'up fails when a node dies' [ $? = 1 ]
is 'it says which, and shows its log' bash -c 'grep -q "^testnet: auth2 died" "$1" && grep -q "^auth2: " "$1"' - "$tmp/d.err"
is 'and leaves nothing' gone "$tmp/d"

# Ctrl-C is SIGINT to the group; a shell without job control ignores it in "&"
for moment in pids auth1/keys/authority_certificate relay3/log; do
  (trap - INT; exec env --default-signal=INT "$testnet" up "$tmp/e") >/dev/null 2>&1 &
  e=$!
  wait_for 40 test -e "$tmp/e/$moment"
  kill -INT $e
  wait $e
  is "Ctrl-C once $moment exists: 130" [ $? = 130 ]
  is 'and nothing is left' gone "$tmp/e"
done

env --default-signal=INT "$testnet" up --foreground "$tmp/f" >"$tmp/f.out" 2>&1 &
f=$!
wait_for 120 grep -q 'takes it down' "$tmp/f.out"
check '--foreground says that it is up' $?
kill -INT $f
wait $f
is 'Ctrl-C ends it' [ $? = 130 ]
is 'with all of it' gone "$tmp/f"

# Refusals
mkdir "$tmp/bin"
for t in bash realpath; do ln -s "$(command -v $t)" "$tmp/bin/"; done
sed "s|^PATH=.*|PATH=$tmp/bin|" "$testnet" >"$tmp/testnet"
err=$(bash "$tmp/testnet" up "$tmp/g" 2>&1)
is 'without tor it fails' [ $? = 1 ]
is 'and says what to install' [ "${err#*tor is missing; on Debian: apt-get install tor}" != "$err" ]
long=$tmp/$(printf 'x%.0s' {1..90})
err=$("$testnet" up "$long" 2>&1)
is 'a name too long for sockets is refused' [ $? = 1 ]
is 'clearly' [ "${err#*too long for Unix sockets}" != "$err" ]
mkdir "$tmp/h" && touch "$tmp/h/mine"
is "somebody's folder is refused" bash -c '! "$1" up "$2" 2>/dev/null' - "$testnet" "$tmp/h"
"$testnet" down "$tmp/h"
is 'and left alone' [ -e "$tmp/h/mine" ]

echo "$passed passed, $failed failed"
[ $failed = 0 ]
