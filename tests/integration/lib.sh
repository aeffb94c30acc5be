# SPDX-License-Identifier: GPL-3.0-or-later
# What the tests with real programs share; sourced by bash. $work is removed at the end, and every
# process that start or start_daemon began is ended.
set -u
PATH=$PATH:/usr/sbin:/sbin
LC_ALL=C
export LC_ALL
umask 077

top=${srcdir:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
top=$(cd "$top" && pwd)
build=$(cd "${builddir:-$top/build}" && pwd) || exit 1
[ -x "$build/magicbizd" ] || { echo "$build/magicbizd is missing: make"; exit 1; }
# The programs themselves, not libtool's scripts, which cost more than what they start.
if [ -x "$build/.libs/magicbizd" ]; then
    PATH=$build/.libs:$PATH
    LD_LIBRARY_PATH=$build/.libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LD_LIBRARY_PATH
else
    PATH=$build:$PATH
fi
MAGICBIZ_MODULE_DIR=$build/modules/.libs
[ -d "$MAGICBIZ_MODULE_DIR" ] || MAGICBIZ_MODULE_DIR=$build/modules
export MAGICBIZ_MODULE_DIR
work=$(mktemp -d /tmp/mb-test-XXXXXX) || exit 1
unset XDG_CONFIG_HOME XDG_STATE_HOME MAGICBIZ_ORG MAGICBIZ_SOCKET SSH_AUTH_SOCK DISPLAY
HOME=$work/home
export HOME GIT_CONFIG_NOSYSTEM=1
ids=$HOME/.config/magicbiz/ids
mkdir -p "$HOME"
passed=0 failed=0
declare -A pids=()

# ok STATUS NAME [FILE]: count it; the end of FILE shows why it failed.
ok() {
    if [ "$1" = 0 ]; then
        passed=$((passed + 1))
        echo "ok   $2"
    else
        failed=$((failed + 1))
        echo "FAIL $2"
        if [ -n "${3-}" ]; then tail -n 5 "$3" | cut -c 1-300 | sed 's/^/     /'; fi
    fi
}
# t NAME COMMAND…: it succeeds.
t() {
    local name=$1
    shift
    "$@" >"$work/t.out" 2>&1
    ok $? "$name" "$work/t.out"
}
# is NAME GOT WANTED
is() {
    [ "$2" = "$3" ]
    local status=$?
    ok $status "$1"
    [ $status = 0 ] || printf '     got    %s\n     wanted %s\n' "${2:0:300}" "${3:0:300}"
}
# exits NAME STATUS WORDS COMMAND…: its exit status, and words (extended expression) in what it said.
exits() {
    local name=$1 status=$2 words=$3 got
    shift 3
    "$@" >"$work/t.out" 2>&1 </dev/null
    got=$?
    [ $got = "$status" ] && grep -qE -- "$words" "$work/t.out"
    local good=$?
    ok $good "$name" "$work/t.out"
    [ $good = 0 ] || echo "     status $got, wanted $status and: $words"
}
section() { printf '== %s\n' "$*"; }

# wait_until SECONDS COMMAND…
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

# start NAME COMMAND…; its output is in $work/NAME.out and .err
start() {
    local name=$1
    shift
    "$@" >"$work/$name.out" 2>"$work/$name.err" </dev/null &
    pids[$name]=$!
}
stop() { # NAME [SIGNAL]: its exit status
    [ -n "${pids[$1]-}" ] || return 0
    kill "-${2-TERM}" "${pids[$1]}" 2>/dev/null
    wait "${pids[$1]}" 2>/dev/null
    local status=$?
    unset "pids[$1]"
    return $status
}
running() { [ -n "${pids[$1]-}" ] && kill -0 "${pids[$1]}" 2>/dev/null; }

# found FOLDER [OPTIONS…]: an organisation of the default identity, answering on Unix sockets only.
found() {
    local data=$1
    shift
    [ -e "$ids/default" ] || timeout 10 magicbiz id new >/dev/null
    timeout 20 magicbizd init --name acme --founder "$ids/default.pub" --data "$data" \
        --tor none --epoch 604800 --json "$@" >"$data.json"
}
# start_daemon NAME DATA [COMMAND…]: return once it serves, or fail once it has ended.
start_daemon() {
    local name=$1 data=$2
    shift 2
    start "$name" "$@" magicbizd run --config "$data/magicbiz.conf"
    local end=$((SECONDS + 60))
    until curl -s -m 5 -o /dev/null --unix-socket "$data/run/operator.sock" http://x/v1/health; do
        if ! running "$name" || [ $SECONDS -ge $end ]; then
            return 1
        fi
        sleep 0.05
    done
}
# refuses NAME WORDS DATA: the daemon does not start on it, and says so.
refuses() {
    timeout 60 magicbizd run --config "$3/magicbiz.conf" >"$work/refused" 2>&1
    [ $? = 1 ] && grep -qE -- "$2" "$work/refused"
    ok $? "$1" "$work/refused"
}
mb() { timeout "${MB_TIMEOUT:-60}" magicbiz "$@"; }
# get PATH: from the socket that the programs use
get() { curl -s -m 20 --unix-socket "$MAGICBIZ_SOCKET" "http://x$1"; }
post() { curl -s -m 70 --unix-socket "$MAGICBIZ_SOCKET" -H 'Content-Type: application/json' --data-binary @- "http://x${1:-/v1/commands}"; }
slot() { get /v1/org | jq .slot; }
# No more empty blocks for ten minutes: the newest block is a checkpoint.
settled() { [ "$(get /v1/org | jq '.slot == .checkpoint.slot and .slot > 0')" = true ]; }
# What must not change: the newest slot and its header, with the state's root.
standing() { get /v1/checkpoint | jq -c '[.slot, .header]'; }

# sign KEY TEXT: base64 of the SSHSIG
sign() {
    printf %s "$2" | ssh-keygen -q -Y sign -n "${3:-magicbiz}" -f "$1" 2>/dev/null | sed /^-----/d | tr -d '\n'
}
fingerprint() { ssh-keygen -l -f "$1" | cut -d ' ' -f 2; }
# envelope KEY TEXT
envelope() { jq -nc --arg c "$2" --arg s "$(sign "$1" "$2")" '{command: $c, signature: $s}'; }
nonce() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }
# command KEY TYPE BODY [EXPIRES] [ORG] [NONCE]: the text to sign
command_text() {
    printf '{"org":"%s","key":"%s","type":"%s","nonce":"%s","expires":%s,"body":%s}' "${5:-$org}" \
        "$(fingerprint "$1.pub")" "$2" "${6:-$(nonce)}" "${4:-$(($(date +%s) + 7200))}" "$3"
}

# key_of KEY: its value in the newest state, whether a checkpoint covers it or not
key_of() { curl -s -m 20 --unix-socket "$MAGICBIZ_SOCKET" -G http://x/v1/state --data-urlencode "key=$1" | jq -c .value; }
held() { key_of "books/balance/$1/$2" | sed 's/null/0/'; } # ASSET ACCOUNT
epoch() { key_of core/epoch; }
next_epoch() { # SECONDS
    local now
    now=$(epoch)
    later() { [ "$(epoch)" -gt "$now" ]; }
    wait_until "$1" later
}
state_of() { key_of "gov/proposal/$1" | jq -r .state; }
in_state() { [ "$(state_of "$1")" = "$2" ]; }
# posting ID MEMO, then ACCOUNT ASSET AMOUNT …
posting() {
    local id=$1 memo=$2 entries=
    shift 2
    while [ $# -gt 0 ]; do
        entries+=${entries:+,}'{"account":"'$1'","asset":"'$2'","amount":'$3'}'
        shift 3
    done
    mb send books.post - --id "$id" <<<"{\"memo\":\"$memo\",\"entries\":[$entries]}"
}
# audited: a checkpoint covers what is there now, and the whole ledger replays
audited() {
    local newest
    newest=$(slot)
    covered() { [ "$(mb audit --json | jq .checkpoint)" -ge "$newest" ]; }
    t 'a checkpoint covers it' wait_until 30 covered
    exits 'the whole ledger replays' 0 'everything holds' mb audit --full
}

# The private Tor network of the environment, or one of our own.
use_network() {
    command -v tor >/dev/null || { echo 'tor is missing: apt-get install tor'; exit 1; }
    if [ -z "${MAGICBIZ_TESTNET-}" ] || ! "$top/contrib/testnet" status "$MAGICBIZ_TESTNET" >/dev/null 2>&1; then
        network=$work/net
        timeout 200 "$top/contrib/testnet" up "$network" 2>"$work/net.err" || { cat "$work/net.err"; exit 1; }
        eval "$("$top/contrib/testnet" env "$network")"
    else
        eval "$("$top/contrib/testnet" env "$MAGICBIZ_TESTNET")"
    fi
    export MAGICBIZ_TESTNET MAGICBIZ_TORRC MAGICBIZ_SOCKS
}
health() { curl -s -m 10 --unix-socket "$1/run/operator.sock" http://x/v1/health; }
# reachable DATA: all its onion services, as the daemon itself found out
reachable() { [ "$(health "$1" | jq '.tor.onions | length > 0 and all(.reachable)')" = true ]; }
# The tor processes that PID started.
tors_of() {
    local s
    for s in /proc/[0-9]*/status; do
        awk -v parent="$1" '$1 == "Name:" { name = $2 } $1 == "Pid:" { pid = $2 }
            $1 == "PPid:" && $2 == parent && name == "tor" { print pid }' "$s" 2>/dev/null
    done
}

clean_up() {
    local n
    for n in "${!pids[@]}"; do stop "$n" KILL; done
    if [ -n "${network-}" ]; then "$top/contrib/testnet" down "$network"; fi
    if [ -n "${mounted-}" ]; then umount "$mounted" 2>/dev/null; fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

finish() {
    echo "$passed passed, $failed failed"
    [ $failed = 0 ] && [ $passed -gt 0 ]
}
