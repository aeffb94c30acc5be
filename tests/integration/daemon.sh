#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# magicbizd and magicbiz over Unix sockets, without Tor: founding, configuration, signals, what an
# organisation answers to bad input, and every command of the CLI.
. "$(dirname "$0")/lib.sh"
data=$work/data
key=$HOME/.config/magicbiz/ids/default

section 'founding'
timeout 10 magicbiz id new >/dev/null
founder=$(mb id show --public)
init() { timeout 20 magicbizd init "$@"; }
exits 'text: says how to join' 0 'magicbiz:[0-9a-f]{64}@[a-z2-7]{56}\.onion#0\.[0-9a-f]{64}' \
    init --name text --founder "$founder" --data "$work/text"
before=$(find "$work/text" -type f -exec sha256sum {} + | sort)
exits 'what exists is refused' 1 'exists already' init --name text --founder "$founder" --data "$work/text"
is 'and left as it was' "$(find "$work/text" -type f -exec sha256sum {} + | sort)" "$before"
exits 'a name with capitals' 1 'name' init --name Acme --founder "$founder" --data "$work/bad"
exits 'a name too long' 1 'name' init --name aaaaaaaaaabbbbbbbbbbccccccccccddd --founder "$founder" --data "$work/bad"
exits 'no name' 2 usage init --founder "$founder" --data "$work/bad"
exits 'a key of another kind' 1 'ssh-ed25519' init --name acme --founder "ssh-rsa AAAA" --data "$work/bad"
exits 'a key that is none' 1 'key' init --name acme --founder "ssh-ed25519 AAAA" --data "$work/bad"
exits 'a key file that is missing' 1 'No such file' init --name acme --founder "$work/nobody.pub" --data "$work/bad"
exits 'the same founder twice' 1 'founder' init --name acme --founder "$founder" --founder "$founder" --data "$work/bad"
exits 'a threshold above the founders' 1 'threshold' init --name acme --founder "$founder" --threshold 2 --data "$work/bad"
exits 'a threshold of zero' 1 'threshold' init --name acme --founder "$founder" --threshold 0 --data "$work/bad"
exits 'a threshold that is no number' 2 'no number' init --name acme --founder "$founder" --threshold x --data "$work/bad"
exits 'work bits that are no number' 2 'no number' init --name acme --founder "$founder" --work-bits 1x --data "$work/bad"
exits 'work bits that are too many' 1 'work_bits' init --name acme --founder "$founder" --work-bits 77 --data "$work/bad"
exits 'a way to use tor that there is not' 2 'child, running or none' init --name acme --founder "$founder" --tor maybe --data "$work/bad"
exits 'a module that is not there' 1 'nomodule' init --name acme --founder "$founder" --module nomodule --data "$work/bad"
[ ! -e "$work/bad" ]
ok $? 'what was refused left no folder behind'
t 'found with --json' found "$data"
is 'and its fields' "$(jq -c 'keys' "$data.json")" '["data","join","name","onion","org","replica"]'
org=$(jq -r .org "$data.json")
join=$(jq -r .join "$data.json")
is 'nobody else can read it' "$(find "$data" \( -type f ! -perm 600 -o -type d ! -perm 700 \) | wc -l)" 0

section 'configuration'
check() { timeout 10 magicbizd run --check --config "$work/conf"; }
exits 'a good one' 0 ': ok$' timeout 10 magicbizd run --check --config "$data/magicbiz.conf"
exits 'none given' 2 usage timeout 10 magicbizd run
exits 'a missing one' 1 'magicbizd init writes' timeout 10 magicbizd run --config "$work/nothing"
bad_config() { # NAME WORDS TEXT
    printf "$3" >"$work/conf"
    exits "$1" 1 "$2" check
}
bad_config 'an unknown section: file and line' 'conf:3:' '[daemon]\ndata = .\n[nope]\n'
bad_config 'an unknown option: file and line' 'conf:3:' '[daemon]\ndata = .\nnope = 1\n'
bad_config 'a number out of range: file and line' 'conf:3:' '[daemon]\ndata = .\nworker_threads = 0\n'
bad_config 'no number: file and line' 'conf:2:' '[http]\nconnections = many\n'
bad_config 'a choice that is none: file and line' 'conf:2:' '[tor]\nmode = maybe\n'
bad_config 'given twice: file and line' 'conf:3:' '[daemon]\ndata = .\ndata = .\n'
bad_config 'no section: file and line' 'conf:1:' 'data = .\n'
bad_config 'a log level that is none' 'log = shout' '[daemon]\ndata = .\nlog = shout\n'
bad_config 'a module that is not there' 'nomodule' '[daemon]\ndata = .\nmodules = nomodule\n'

section 'running'
cat >"$work/listen.pl" <<'PERL'
use Socket; socket(S, AF_UNIX, SOCK_DGRAM, 0); bind(S, pack_sockaddr_un($ARGV[0])) or die;
$| = 1; alarm 300; while (recv(S, $m, 4096, 0), length $m) { print "$m\n"; }
PERL
start listener perl "$work/listen.pl" "$work/notify"
wait_until 5 test -S "$work/notify"
t 'starts' start_daemon node "$data" env NOTIFY_SOCKET="$work/notify"
t 'says READY=1 to systemd' wait_until 5 grep -q READY=1 "$work/listener.out"
exits 'a second one on the same data is refused' 1 'another magicbizd' timeout 10 magicbizd run --config "$data/magicbiz.conf"
MAGICBIZ_SOCKET=$data/run/public.sock
export MAGICBIZ_SOCKET
t 'join' mb org join acme "$join"
t 'send' mb send org.param.set - <<<'{"name":"greeting","value":"hello"}'
t 'the newest block becomes a checkpoint' wait_until 15 settled
is 'get' "$(mb get org/params/greeting)" '"hello"'

section 'SIGHUP'
errors() { grep -c "$1" "$work/node.err"; }
cp "$data/magicbiz.conf" "$work/good.conf"
sed 's/^data = .*/&\nlog = debug/' "$work/good.conf" >"$data/magicbiz.conf"
kill -HUP "${pids[node]}"
t 'the configuration is read again' wait_until 5 grep -q 'daemon reloaded' "$work/node.err"
echo 'nonsense' >"$data/magicbiz.conf"
kill -HUP "${pids[node]}"
t 'a broken one is named' wait_until 5 grep -q 'not_reloaded.*magicbiz.conf:' "$work/node.err"
t 'and changes nothing' mb get org/params/greeting
cp "$work/good.conf" "$data/magicbiz.conf"
kill -HUP "${pids[node]}"
t 'a good one again' wait_until 5 sh -c "[ \$(grep -c 'daemon reloaded' '$work/node.err') = 2 ]"

section 'bad HTTP'
# raw: standard input to the socket as it is, and what comes back until the end.
cat >"$work/raw.pl" <<'PERL'
use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un($ARGV[0])) or die;
$SIG{PIPE} = 'IGNORE'; alarm($ARGV[1] // 8); local $/; $d = <STDIN>; syswrite(S, $d);
while (sysread(S, $b, 65536)) { syswrite(STDOUT, $b); }
PERL
raw() { perl "$work/raw.pl" "$MAGICBIZ_SOCKET" "${1-8}"; }
held() { exec perl -e 'use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un($ARGV[0])) or die;
    syswrite(S, "POST /v1/commands HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"); sleep 300' "$1"; }
before=$(standing)
start hang held "$MAGICBIZ_SOCKET"
mkfifo "$work/pipe"
start other perl -e 'use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un($ARGV[0])) or die; $| = 1;
    sub ask { syswrite(S, "GET /v1/checkpoint HTTP/1.1\r\nHost: x\r\n\r\n"); sysread(S, $b, 65536); print substr($b, 0, 15), "\n"; }
    ask(); open(P, "<", $ARGV[1]); <P>; ask();' "$MAGICBIZ_SOCKET" "$work/pipe"
status_of() { head -n 1 | tr -d '\r' | cut -d ' ' -f 2; }
bad_http() { # NAME STATUS FORMAT
    is "$1" "$(printf "$3" | raw | status_of)" "$2"
}
end='Host: x\r\nConnection: close\r\n\r\n'
bad_http 'no request line: closed without a byte' '' 'hello\r\n\r\n'
bad_http 'a version that is none: closed without a byte' '' "GET / HTTP/9\r\n$end"
bad_http 'no Host: not looked at' 200 'GET /v1/org HTTP/1.1\r\nConnection: close\r\n\r\n'
bad_http 'two Hosts: not looked at' 200 "GET /v1/org HTTP/1.1\r\nHost: y\r\n$end"
bad_http 'a NUL in the path' 404 "GET /v1/\0org HTTP/1.1\r\n$end"
bad_http 'a broken escape' 404 "GET /v1/%%zz HTTP/1.1\r\n$end"
bad_http 'two lengths that differ' 400 "POST /v1/commands HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n$end{}}"
bad_http 'a length that is none: closed without a byte' '' "POST /v1/commands HTTP/1.1\r\nContent-Length: -1\r\n$end"
bad_http 'a length and chunks: closed without a byte' '' "POST /v1/commands HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n$end"
is 'a header too long: closed without a byte' "$({ printf 'GET /v1/org HTTP/1.1\r\nX: '; head -c 100000 /dev/zero | tr '\0' a; printf "\r\n$end"; } | raw | status_of)" ''
bad_http 'a method that does not exist here' 404 "DELETE /v1/org HTTP/1.1\r\n$end"
unknown=$(printf "GET /nothing HTTP/1.1\r\n$end" | raw)
same() { is "$1: byte for byte like what is unknown" "$(printf "$2" | raw)" "$unknown"; }
same 'health' "GET /v1/health HTTP/1.1\r\n$end"
same 'metrics' "GET /metrics HTTP/1.1\r\n$end"
same 'another Host' 'GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
same 'dots' "GET /../../etc/passwd HTTP/1.1\r\n$end"
is 'another Host on a known path changes nothing' \
    "$(printf 'GET /v1/checkpoint HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\r\n' | raw)" \
    "$(printf "GET /v1/checkpoint HTTP/1.1\r\n$end" | raw)"
is 'X-Forwarded-For changes nothing' \
    "$(printf "GET /v1/checkpoint HTTP/1.1\r\nX-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\n$end" | raw)" \
    "$(printf "GET /v1/checkpoint HTTP/1.1\r\n$end" | raw)"
headers=$(for p in /v1/org /nothing /v1/blocks; do curl -s -i -m 10 --unix-socket "$MAGICBIZ_SOCKET" "http://x$p" | sed '/^\r$/q'; done)
! grep -qiE '^(date|server|etag|last-modified|via|x-|age|set-cookie)' <<<"$headers"
ok $? 'no Date, Server, ETag'
is 'the operator sees health' "$(curl -s --unix-socket "$data/run/operator.sock" http://x/v1/health | jq -c '[.ready, .alarms]')" '[true,[]]'
curl -s --unix-socket "$data/run/operator.sock" http://x/metrics | tail -n 1 | grep -q '^# EOF$'
ok $? 'and metrics'

section 'bad commands'
body='{"name":"never","value":1}'
refused() { # NAME STATUS CODE: standard input is posted
    local got
    got=$(curl -s -m 20 -w '\n%{http_code}' --unix-socket "$MAGICBIZ_SOCKET" -H 'Expect:' --data-binary @- http://x/v1/commands)
    is "$1" "$(tail -n 1 <<<"$got") $(head -n 1 <<<"$got" | jq -r '.error.code' 2>/dev/null)" "$2 $3"
}
text() { command_text "$key" org.param.set "$body" "$@"; }
good=$(envelope "$key" "$(text)")
deep=$(printf '[%.0s' {1..40})$(printf ']%.0s' {1..40})
printf '' | refused 'nothing' 400 envelope.invalid
printf 'hello' | refused 'no JSON' 400 envelope.invalid
printf '%s' "${good%\}}" | refused 'JSON cut short' 400 envelope.invalid
printf '%s x' "$good" | refused 'more behind it' 400 envelope.invalid
printf '\xef\xbb\xbf%s' "$good" | refused 'a byte order mark' 400 envelope.invalid
printf '{"command":"\xff","signature":""}' | refused 'no UTF-8' 400 envelope.invalid
printf '{"command":"a","command":"b","signature":""}' | refused 'a key twice' 400 envelope.invalid
printf '%s' "$deep" | refused 'too deep' 400 envelope.invalid
printf '[]' | refused 'no object' 400 envelope.invalid
printf '{"command":"x"}' | refused 'no signature' 400 envelope.invalid
printf '{"command":1,"signature":"x"}' | refused 'a command that is no text' 400 envelope.invalid
jq -c '.more = 1' <<<"$good" | refused 'a field too many' 400 envelope.invalid
jq -c '.signature = "!!"' <<<"$good" | refused 'a signature that is no base64' 400 envelope.invalid
jq -c '.signature = "AAAA"' <<<"$good" | refused 'a signature that is none' 409 signature.invalid
jq -c '.signature |= (.[0:-8] + "AAAAAAA=")' <<<"$good" | refused 'a signature cut and patched' 409 signature.invalid
jq -c '.command |= sub("never"; "ever")' <<<"$good" | refused 'a command that was altered' 409 signature.false
other=$work/other
ssh-keygen -q -t ed25519 -N '' -C '' -f "$other"
jq -nc --arg c "$(text)" --arg s "$(sign "$other" "$(text)")" '{command: $c, signature: $s}' | refused "somebody else's signature" 409 signature.false
t1=$(text)
jq -nc --arg c "$t1" --arg s "$(sign "$key" "$t1" magicbiz-block)" '{command: $c, signature: $s}' | refused 'a signature for another purpose' 409 signature.namespace
envelope "$key" "$(text $(($(date +%s) - 60)))" | refused 'expired' 409 command.expired
envelope "$key" "$(text $(($(date +%s) + 700000)))" | refused 'expires too late' 409 command.expires_late
envelope "$key" "$(text 99999999999999999999)" | refused 'a number beyond 64 bits' 409 command.invalid
envelope "$key" "$(text 1.5e9)" | refused 'a number with a fraction' 409 command.invalid
envelope "$key" "$(text '' "$(printf '%064d' 7)")" | refused 'of another organisation' 409 command.org
envelope "$key" "$(text | sed 's/"body"/"extra":1,"body"/')" | refused 'a field that is unknown' 409 command.invalid
envelope "$key" "$(text | sed 's/"nonce":"./"nonce":"X/')" | refused 'a nonce that is none' 409 command.invalid
envelope "$key" "$(command_text "$key" org.nothing '{}')" | refused 'an unknown verb' 409 command.type
envelope "$key" "$(command_text "$key" nomodule.verb '{}')" | refused 'an unknown module' 409 command.type
envelope "$other" "$(command_text "$other" org.param.set "$body")" | refused 'who may not' 403 command.access
envelope "$key" "$(command_text "$key" org.param.set '{"name":"Bad Name","value":1}')" | refused 'a body that does not fit' 409 org.param_name
envelope "$key" "$(command_text "$key" org.param.set '{"value":1}')" | refused 'a body that lacks a field' 409 body.invalid
big=$(head -c 600000 /dev/zero | tr '\0' a)
printf '{"command":"%s","signature":"AAAA"}' "$big" | refused 'a command of 600,000 bytes' 413 command.too_large
head -c 3000000 /dev/zero | tr '\0' a | refused 'a body of 3,000,000 bytes' 413 limit.body
is 'slot and state are as they were' "$(standing)" "$before"
echo >"$work/pipe"
t 'another connection was not touched' wait_until 5 sh -c "[ \$(grep -c '^HTTP/1.1 200' '$work/other.out') = 2 ]"
printf '%s' "$good" | post >"$work/first"
printf '%s' "$good" | post >"$work/second"
is 'a repeated one gets the first result' "$(jq -c 'del(.message)' "$work/second")" "$(jq -c 'del(.message)' "$work/first")"
id=$(jq -r .id "$work/first")
is 'and is there once' "$(get "/v1/blocks?from=1" | jq -r '.results[] | fromjson | .id' | grep -c "$id")" 1
is 'its result later' "$(get "/v1/commands/$id" | jq -r .slot)" "$(jq .slot "$work/first")"
is 'an id that is none' "$(get /v1/commands/xyz | jq -r .error.code)" command.id
is 'an unknown id' "$(get "/v1/commands/$(printf '%064d' 1)" | jq -r .error.code)" command.unknown
for q in 'key=' 'prefix=' 'key=a&prefix=b' '' 'prefix=a&limit=0' 'prefix=a&limit=99999' 'prefix=a&limit=x'; do
    is "state?$q" "$(get "/v1/state?$q" | jq -r .error.code)" query.invalid
done

section 'the programs'
while read -r command; do
    # shellcheck disable=SC2086
    exits "magicbiz $command --help, with an example" 0 '^    .*(magicbiz|git) ' mb $command --help
done < <(mb --help | sed -nE 's/^  ([a-z]+( [a-z]+)?)  +.*/\1/p')
exits 'the commands of a noun' 0 'repo scrub' mb repo --help
exits 'help is --help' 0 'usage: magicbiz repo create' mb help repo create
exits 'an option before the command' 1 'no organisation nope' mb --org nope status
exits 'status 2: wrong usage' 2 'help' mb get
exits 'status 2: unknown option' 2 'no such option' mb get x --nope
exits 'status 2: unknown command' 2 . mb frobnicate
exits 'status 2: a timeout that is none' 2 'number from' mb get x --timeout never
mb id new guest >/dev/null
echo "$body" >"$work/body"
echo '[1' >"$work/broken"
exits 'status 1: refused, with code and words' 1 'command\.access: .+' mb send org.param.set "$work/body" --id guest
exits 'status 1: an identity that there is not' 1 'magicbiz id new nobody' mb send org.param.set "$work/body" --id nobody
exits 'status 1: a body that is no JSON' 1 . mb send org.param.set "$work/broken"
exits 'status 1: proven absent' 1 'proven absent' mb get org/params/nothing
exits 'status 3: nobody there' 3 . mb status --socket "$work/no.sock"
exits 'status 3: repo clone, nobody there' 3 . mb repo clone acme/site "$work/cloned" --socket "$work/no.sock"
exits 'status 3: no Tor' 3 . env -u MAGICBIZ_SOCKET timeout 20 magicbiz status --socks 127.0.0.1:1
exits 'id new: an identity is never replaced' 1 'already' mb id new guest
json() { # NAME COMMAND…
    local name=$1
    shift
    "$@" 2>"$work/t.err" | jq -e . >/dev/null
    ok $? "--json: $name" "$work/t.err"
}
json id mb id list --json
json id mb id show --json
json public mb id show --public --json
json org mb org list --json
json join mb org show --join --json
json completion mb completion bash --json
json manual mb manual --json
json org mb org show --json
json status mb status --json
json replica mb replica list --json
json get mb get org/name --json
json list mb list org/ --json
json log mb log --json
json audit mb audit --full --json
json dry-run mb send org.param.set "$work/body" --dry-run
json send mb send org.param.set - --json <<<'{"name":"one","value":1}'
is 'replica list: one, that signed, and no change waits' \
    "$(mb replica list --json | jq -c '[(.replicas | map([.number, .signed])), .next]')" '[[[1,true]],null]'
exits 'replica list' 0 '^1 +SHA256:.{43}  .*\.onion  signed$' mb replica list
exits 'replica remove: the last one stays' 1 'org\.replica_last: .+' mb replica remove 1
exits 'replica remove: there is no such' 1 'org\.replica_unknown: .+' mb replica remove 2
exits 'replica remove: no number' 1 'replica list' mb replica remove x
exits 'replica remove: founders only' 1 'command\.access: .+' mb replica remove 1 --id guest
is 'the pin follows: the organisation, then its replicas' "$(tr '@,#' '\n' <"$HOME/.config/magicbiz/orgs/acme" | grep -c onion)" 2
exits 'org show: who signed' 0 'signed by replica 1 of 1$' mb org show
is 'no handovers yet' "$(get /v1/handovers | jq -c .)" '{"handovers":[]}'
is 'list: proven complete' "$(mb list org/params/ --json | jq -c '[.proven, (.items | length > 0)]')" '[true,true]'
exits 'org join: a bare onion is refused' 1 'trust-first' mb org join other "$(jq -r .onion "$data.json")"
t 'org join: unless trusted once' mb org join other "$(jq -r .onion "$data.json")" --trust-first
t 'and it holds' mb status --org other
exits 'two organisations: say which' 1 '\-\-org' mb status
t 'org leave' mb org leave other
exits 'org join: a text that is none' 1 'magicbiz:ORGID@ONION' mb org join other magicbiz:nothing
exits 'org join: twice under one name' 1 'already' mb org join acme "$join"
start follow timeout 60 magicbiz log --follow
wait_until 10 grep -q 'org.param.set by SHA256:' "$work/follow.out"
ok $? 'log --follow shows commands'
stop follow INT
! running follow
ok $? 'and ends by a signal'
t 'completion: bash takes it' bash -c 'eval "$(magicbiz completion bash)" && complete -p magicbiz && bash -n <(magicbiz completion bash)'

section 'who lies'
fork() { # NAME CODE: status 4
    exits "$1" 4 "$2" mb get org/name
}
seen=$HOME/.local/state/magicbiz/$org
cp "$seen" "$work/seen"
at=$(cut -d ' ' -f 1 "$work/seen")
echo "$at $(printf '%064d' 1)" >"$seen"
fork 'the header seen before was another one' 'forked'
echo "$((at + 1000)) $(printf '%064d' 1)" >"$seen"
fork 'a newer header was seen before' 'older'
cp "$work/seen" "$seen"
sed -i "s/#0\.[0-9a-f]*/#0.$(printf '%064d' 1)/" "$HOME/.config/magicbiz/orgs/acme"
rm -f "$seen"
fork 'the pin names another history' 'forked'
echo "${join/:$org/:$(printf '%064d' 1)}" >"$HOME/.config/magicbiz/orgs/acme"
fork 'another organisation answers' 'another organisation'
echo "$join" >"$HOME/.config/magicbiz/orgs/acme"
t 'and the right one again' mb get org/name
# A server between that alters the state's text.
cat >"$work/liar.pl" <<'PERL'
use Socket; $SIG{PIPE} = 'IGNORE'; $SIG{CHLD} = 'IGNORE'; my ($from, $to, $was, $is) = @ARGV;
socket(L, AF_UNIX, SOCK_STREAM, 0); bind(L, pack_sockaddr_un($from)) or die; listen(L, 8);
while (accept(C, L)) {
    next if fork;
    socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un($to)) or die;
    my $r = ''; my $both = '';
    vec($r, fileno(C), 1) = 1; vec($r, fileno(S), 1) = 1;
    while (select($both = $r, undef, undef, 60) > 0) {
        if (vec($both, fileno(C), 1)) { sysread(C, my $b, 65536) or exit; syswrite(S, $b); }
        if (vec($both, fileno(S), 1)) { sysread(S, my $b, 65536) or exit; $b =~ s/$was/$is/g; syswrite(C, $b); }
    }
    exit;
}
PERL
start liar perl "$work/liar.pl" "$work/liar.sock" "$data/run/public.sock" '"text":"\\"acme' '"text":"\"evil'
wait_until 5 test -S "$work/liar.sock"
exits 'status 4: a value that was altered' 4 'proof' mb get org/name --socket "$work/liar.sock"
stop liar KILL
rm -f "$work/liar.sock"
start liar perl "$work/liar.pl" "$work/liar.sock" "$data/run/public.sock" '"text":"\\"hello' '"text":"\"jello'
wait_until 5 test -S "$work/liar.sock"
exits 'status 4: a list with an altered value' 4 'proof|root' mb list org/ --socket "$work/liar.sock"
stop liar KILL

section 'the log'
onion=$(jq -r .onion "$data.json")
! grep -qE "[a-z2-7]{56}|SHA256:|127\.0\.0\.1|$onion|$org" "$work/node.err"
ok $? 'no onion address, key or address in it' "$work/node.err"

section 'stopping'
began=$(date +%s%N)
stop node
is 'SIGTERM: status 0, with a client that hangs' $? 0
took=$((($(date +%s%N) - began) / 1000000))
[ $took -lt 5000 ]
ok $? "within 5 s ($took ms)"
t 'says STOPPING=1 to systemd' grep -q STOPPING=1 "$work/listener.out"
stop hang KILL
stop listener KILL
t 'starts again' start_daemon node "$data"
t 'and covers the newest block' wait_until 15 settled
t 'with what it had' mb get org/params/one
stop node
is 'and stops' $? 0
[ ! -e "$data/run/public.sock" ]
ok $? 'its sockets are gone'

section 'two founders'
mb id new second >/dev/null
both=$work/both
t 'threshold 2, work 12 bits' found "$both" --founder "$HOME/.config/magicbiz/ids/second.pub" --threshold 2 --work-bits 12
t 'starts' start_daemon both "$both"
MAGICBIZ_SOCKET=$both/run/public.sock
mb org leave acme >/dev/null
org=$(jq -r .org "$both.json")
t 'join' mb org join both "$(jq -r .join "$both.json")"
answer=$(mb send org.param.set - --json <<<'{"name":"greeting","value":"hi"}')
is 'one founder is not enough' "$(jq -c .result <<<"$answer")" '{"pending":1}'
is 'nothing is set yet' "$(get '/v1/state?key=org/params/greeting' | jq -r .error.code)" state.unknown
approve="{\"id\":\"$(jq -r .id <<<"$answer")\"}"
exits 'the same one again does not count' 1 'org.approved' bash -c "timeout 20 magicbiz send org.approve - <<<'$approve'"
exits 'a stranger may not' 1 'command.access' bash -c "timeout 20 magicbiz send org.approve --id guest - <<<'$approve'"
is 'the second one completes it' "$(mb send org.approve --id second - --json <<<"$approve" | jq -c .result)" '{"pending":0}'
is 'and it is set' "$(get '/v1/state?key=org/params/greeting' | jq -r .value)" hi

section 'keys'
# replace KEYFILE ID: the body by which identity ID puts KEYFILE in its place
replace() {
    local new old message
    new=$(cut -d ' ' -f 1,2 "$1.pub")
    old=$(mb id show "$2" --json | jq -r .fingerprint)
    message="{\"new\":\"$new\",\"old\":\"$old\",\"org\":\"$org\"}"
    jq -nc --arg n "$new" --arg p "$(sign "$1" "$message" magicbiz-key)" '{new: $n, proof: $p}'
}
ssh-keygen -q -t ed25519 -N '' -C '' -f "$work/newkey"
replace "$work/newkey" guest >"$work/replace"
answer=$(command_text "$HOME/.config/magicbiz/ids/guest" org.key.replace "$(cat "$work/replace")")
is 'a key without a role has to bring work' \
    "$(envelope "$HOME/.config/magicbiz/ids/guest" "$answer" | post | jq -c '[.error.code, .error.args[0]]')" '["command.work",12]'
jq -c '.proof |= .[0:-8] + "AAAAAAA="' "$work/replace" >"$work/forged"
exits 'a proof by another key is refused' 1 'org.key_proof' mb send org.key.replace "$work/forged" --id guest
t 'magicbiz brings the work by itself' mb send org.key.replace "$work/replace" --id guest
exits 'the old key is worth nothing any more' 1 'command.key' mb send org.key.replace "$work/replace" --id guest
cp "$work/newkey" "$HOME/.config/magicbiz/ids/guest2"
cp "$work/newkey.pub" "$HOME/.config/magicbiz/ids/guest2.pub"
exits 'the new one speaks for it' 1 'command.access' mb send org.param.set "$work/body" --id guest2
ids=$HOME/.config/magicbiz/ids
ssh-keygen -q -p -P '' -N secret -f "$ids/second" >/dev/null
eval "$(ssh-agent -a "$work/agent")" >/dev/null
printf '#!/bin/sh\necho secret\n' >"$work/askpass"
chmod +x "$work/askpass"
SSH_ASKPASS=$work/askpass SSH_ASKPASS_REQUIRE=force timeout 10 ssh-add -q "$ids/second" </dev/null
answer=$(mb send org.param.set - --json --id second <<<'{"name":"agent","value":1}')
is 'a key with a passphrase signs by ssh-agent' "$(jq -c .result <<<"$answer")" '{"pending":1}'
mv "$ids/second" "$work/second.away"
answer=$(mb send org.param.set - --json --id second <<<'{"name":"agent2","value":1}')
is 'also where only its public half is here' "$(jq -c .result <<<"$answer")" '{"pending":1}'
mv "$work/second.away" "$ids/second"
ssh-agent -k >/dev/null
unset SSH_AUTH_SOCK SSH_AGENT_PID
answer=$(SSH_ASKPASS=$work/askpass SSH_ASKPASS_REQUIRE=force mb send org.param.set - --json --id second <<<'{"name":"ask","value":1}')
is 'and by its passphrase' "$(jq -c .result <<<"$answer")" '{"pending":1}'
wait_until 15 settled
exits 'the whole ledger holds' 0 'everything holds' mb audit --full
stop both
is 'stops' $? 0

section 'the beacon'
draws=$work/draws
t 'found, with epochs of 8 s' found "$draws" --epoch 8
t 'starts' start_daemon draws "$draws"
MAGICBIZ_SOCKET=$draws/run/public.sock
mb org leave both >/dev/null
t 'join' mb org join draws "$(jq -r .join "$draws.json")"
# A genesis tells no more of the time than its hour, so there are epochs to make up for.
caught_up() { [ $((($(date +%s) - $(get /v1/org | jq '.genesis | fromjson.created')) / 8)) = "$(get '/v1/state?key=core/epoch' | jq .value)" ]; }
t 'the epochs since its hour began have passed' wait_until 90 caught_up
is 'unless it is wanted there is none' "$(get '/v1/state?prefix=org/beacon/' | jq -c .items)" '[]'
t 'it is wanted' mb send org.param.set - <<<'{"name":"beacon","value":1}'
# beacons FILTER: of the list of beacons, as [epoch, value]
beacons() { get '/v1/state?prefix=org/beacon/&limit=1000' | jq -c "[.items[] | [(.key | sub(\".*/\"; \"\") | tonumber), .value]] | sort | $1"; }
# drawn COUNT: so many are closed, with a value, and nobody missing
drawn() { [ "$(beacons 'map(select(.[1].missing == [] and (.[1].value | test("^[0-9a-f]{64}$")))) | length')" -ge "$1" ]; }
t 'it closes with a value' wait_until 60 drawn 2
is 'another one each time' "$(beacons 'map(.[1].value // empty) | length == (unique | length)')" true
fresh() { next=$(beacons 'map(select(.[1].commits["1"] and .[1].reveals == {}) | .[0]) | last // empty') && [ -n "$next" ]; }
t 'one is committed to and not revealed' wait_until 30 fresh
stop draws
t 'a restart between commit and reveal' start_daemon draws "$draws"
t 'and it is revealed' wait_until 40 eval '[ "$(beacons "map(select(.[0] == $next))[0][1].missing")" = "[]" ]'
is 'as it was committed to' "$(beacons "map(select(.[0] == $next))[0][1].value | length")" 64
t 'it is wanted no longer' mb send org.param.set - <<<'{"name":"beacon","value":0}'
wait_until 30 eval '[ "$(beacons "map(select(.[1].commits)) | length")" = 0 ]'
ok $? 'and there is no new one'
exits 'replicas only' 1 'command.access' bash -c "timeout 20 magicbiz send org.beacon.reveal - <<<'{\"epoch\":1,\"value\":\"$(printf '%064d' 1)\"}'"
wait_until 15 settled
exits 'the whole ledger holds' 0 'everything holds' mb audit --full
stop draws
is 'stops' $? 0
finish
