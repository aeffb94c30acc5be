#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What must never leak (the table in HACKING.md), as far as one daemon without tor shows it: founding
# time, push nonces, keys, files, core dumps, answers of two daemons, and what git sends through
# magicbiz://.
set -u
srcdir=${srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
builddir=${builddir:-$srcdir/build}
export MAGICBIZ_MODULE_DIR=$builddir/modules/.libs PATH=$builddir:$PATH GIT_CONFIG_NOSYSTEM=1
unset MAGICBIZ_ORG MAGICBIZ_SOCKET MAGICBIZ_SOCKS XDG_CONFIG_HOME XDG_STATE_HOME
work=$(mktemp -d /tmp/magicbiz-anonymity.XXXXXX)
passed=0 failed=0 pids=()
leave() {
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null
    wait 2>/dev/null
    rm -rf "$work"
}
trap leave EXIT
trap 'exit 130' INT TERM

# ok NAME COMMAND…: the command must succeed.
ok() {
    local name=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
        head -c 2000 "$work/out"
    fi
}
not() { ! "$@"; }
field() { sed -n 's/.*"'"$2"'":"\{0,1\}\([^",}]*\).*/\1/p' "$1"; }
get() { curl -s --max-time 20 --unix-socket "$work/$1/run/public.sock" "http://x$2"; }

export HOME=$work/home
mkdir -p "$HOME"
magicbiz id new >/dev/null
for org in one two; do
    magicbizd init --name "$org" --founder "$(magicbiz id show --public)" --data "$work/$org" \
        --tor none --json >"$work/$org.json" || exit 1
    magicbizd run --config "$work/$org/magicbiz.conf" 2>"$work/$org.log" &
    pids+=($!)
done
for org in one two; do
    for _ in $(seq 100); do [ -S "$work/$org/run/public.sock" ] && break; sleep 0.1; done
done

# 8. Clock.
created=$(field "$work/one/genesis.json" created)
ok "the founding time is a full hour" test $((created % 3600)) -eq 0
# 10. Nothing is shared between two instances.
for key in organisation.onion replica.onion peer.onion replica tor_auth; do
    ok "keys/$key is fresh for each" not cmp -s "$work/one/keys/$key" "$work/two/keys/$key"
done
# 7, 11. Two daemons answer alike.
for path in / /nope /v1/health /metrics /none.git/info/refs?service=git-upload-pack '/v1/state?key='; do
    ok "$path is answered alike" cmp \
        <(curl -si --unix-socket "$work/one/run/public.sock" -H 'Host: a.onion' "http://x$path") \
        <(curl -si --unix-socket "$work/two/run/public.sock" -H 'X-Forwarded-For: 127.0.0.1' "http://y$path")
done
# 16. What is not there, and what is there and for others: answered alike, in the same time. Both are
# asked for in turn over one connection; their medians may differ by what a busy machine adds.
cat >"$work/timing.pl" <<'PERL'
use Socket; use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);
my ($socket, @paths) = @ARGV;
my (%took, %said);
alarm 60;
socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un($socket)) or die "$socket: $!";
sub ask {
    my ($path) = @_;
    my $all = "";
    my $began = clock_gettime(CLOCK_MONOTONIC);
    syswrite(S, "GET $path HTTP/1.1\r\nHost: x\r\n\r\n");
    until ($all =~ /^(.*?\r\n)\r\n(.*)$/s && length $2 >= ($1 =~ /^Content-Length: (\d+)/mi)[0]) {
        sysread(S, $all, 65536, length $all) or die "$path: the connection was closed\n";
    }
    push @{$took{$path}}, (clock_gettime(CLOCK_MONOTONIC) - $began) * 1e6;
    $said{$all}++;
}
for my $round (1 .. 400) { ask($_) for $round % 2 ? @paths : reverse @paths; }
my ($a, $b) = map { (sort { $a <=> $b } @{$took{$_}})[200] } @paths;
my $room = 0.2 * ($a > $b ? $a : $b);
$room = 100 if $room < 100;
printf "%s %.0f us, %s %.0f us, %d answers\n", $paths[0], $a, $paths[1], $b, scalar keys %said;
exit(abs($a - $b) <= $room && keys %said == 1 ? 0 : 1);
PERL
alike_in_time() { # NOT-THERE FORBIDDEN
    ok "$2 takes the time of $1" env LC_ALL=C perl "$work/timing.pl" "$work/one/run/public.sock" "$1" "$2"
}
alike_in_time /v1/nobody /v1/health
alike_in_time /nobody /metrics
# 18. Files, core dumps, the log.
ok "no file is for others" not grep -q . <(find "$work/one" -perm /077 ! -type l)
ok "core dumps are off" grep -qE '^Max core file size +0 +0 ' "/proc/${pids[0]}/limits"
ok "memory cannot be dumped by the user" not test -O "/proc/${pids[0]}/mem" -a "$(id -u)" -ne 0
# 4. Nothing but Unix sockets.
inodes=$(ls -l "/proc/${pids[0]}/fd" 2>/dev/null | sed -n 's/.*socket:\[\([0-9]*\)\].*/\1/p')
[ -n "$inodes" ] || echo "skip what sockets the daemon has: it lets nobody but root look"
for i in $inodes; do
    ok "socket $i is a Unix socket" not grep -qE " $i( |$)" /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6
done
# 15. The daemon fetches nothing that a user names: modules have no client, and the daemon's own asks
# onions of its invite and of the replicas alone.
ok "modules call no client" not grep -qE ' (mb_http_(get|post|client)|curl_|connect$|getaddrinfo)' \
    <(nm -D --undefined-only "$MAGICBIZ_MODULE_DIR/vcs.so")
ok "the daemon calls no client but ours" not grep -qE ' (curl_|connect$|getaddrinfo)' \
    <(nm -D --undefined-only "$builddir/.libs/magicbizd")

# 9. Git: what is sent through magicbiz://, byte by byte.
export TZ=Asia/Tokyo LANG=de_DE.UTF-8 LANGUAGE=de USER=jane LOGNAME=jane
mkfifo "$work/port"
"$builddir/tests/integration/relay" --record "$work/sent" "$work/one/run/public.sock" >"$work/port" &
pids+=($!)
read -r port <"$work/port"
export MAGICBIZ_SOCKS=127.0.0.1:$port
join=$(field "$work/one.json" join)
ok "join" magicbiz org join one "$join"
onion=$(field "$work/one.json" onion)
magicbiz repo create site >/dev/null
alike_in_time /none.git/info/refs /site.git/info/refs
alike_in_time /none.git/config /site.git/config
nonce=$(get one '/site.git/info/refs?service=git-receive-pack' | tr -d '\0' |
    sed -n 's/.*push-cert=[0-9a-f]*-[0-9a-f]*-\([0-9]*\)-.*/\1/p')
now=$(date +%s)
ok "a push nonce is a full minute or ledger time" test $((nonce % 60)) -eq 0 -o \
    "$nonce" -eq "$(get one '/v1/state?key=core/time' | sed 's/.*"value":\([0-9]*\).*/\1/')"
ok "and not the clock's second alone" test "$nonce" -le $((now + 1))
git init -q -b main "$work/copy"
cd "$work/copy" || exit 1
git config --global user.name "Jane Doe"
git config --global user.email "jane@$(hostname 2>/dev/null || echo host).example.org"
magicbiz repo setup --repo site >/dev/null
echo text >file
git add file
git commit -q -m "A change"
ok "a push through magicbiz://" git push --signed origin main
git clone -q magicbiz://one/site "$work/clone" >/dev/null 2>&1
ok "a clone through magicbiz://" test -f "$work/clone/file"
for word in "$(uname -n)" "Jane" "jane" "example.org" "+0900" "de_DE" "Accept-Language" \
    "$(git version | sed 's/.* //')" "$(uname -r)"; do
    [ ${#word} -gt 3 ] || continue # packs are random bytes: a short word is in them by chance
    ok "nothing sent holds $word" not grep -aqF -- "$word" "$work/sent"
done
ok "the certificate has zone +0000" grep -aqE 'pusher .* \+0000$' "$work/sent"
ok "the commit's author is a pseudonym" test "$(git log -1 --format=%ae%ce | grep -c 'one.invalid')" -eq 1
ok "the commit's zone is +0000" test "$(git log -1 --format=%ad%cd | grep -o '+0000' | wc -l)" -eq 2
# The policy is the server's too: what was not scrubbed is refused, and scrub repairs it.
for bad in "author" "zone" "committer"; do
    case $bad in
    author) GIT_AUTHOR_EMAIL=jane@example.org git commit-tree HEAD^{tree} -p HEAD -m bad ;;
    zone) GIT_AUTHOR_DATE="1700000000 +0900" git commit-tree HEAD^{tree} -p HEAD -m bad ;;
    committer) TZ=UTC GIT_COMMITTER_EMAIL=jane@example.org git commit-tree HEAD^{tree} -p HEAD -m bad ;;
    esac >"$work/id"
    git branch -f bad "$(cat "$work/id")"
    git push --signed origin bad >"$work/push" 2>&1
    ok "a commit that tells its $bad is refused" grep -q vcs.metadata "$work/push"
    git checkout -q bad
    magicbiz repo scrub >/dev/null
    ok "scrub repairs its $bad" git push --signed origin "bad:refs/heads/was-$bad"
    git checkout -q main
done
# The log says nothing of its users.
ok "the log holds no address" not grep -qE '[a-z2-7]{56}|SHA256:' "$work/one.log"

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
