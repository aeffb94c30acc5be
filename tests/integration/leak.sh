#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Nobody but tor talks to a network: system calls of the daemon, its git children, the CLI and its
# git children, from start to stop, while an organisation is reached, pushed to and cloned from.
. "$(dirname "$0")/lib.sh"
command -v strace >/dev/null || { echo 'strace is missing: apt-get install strace'; exit 1; }
use_network
data=$work/data
calls=%network,open,openat,execve,clone,clone3,fork,vfork
traced() { # NAME COMMAND…: one file for each process below $work/NAME
    local name=$1
    shift
    mkdir -p "$work/$name"
    strace -D -ff -qq -s 200 -o "$work/$name/t" -e trace="$calls" "$@"
}
# What a trace shows that must not be there, one line each. TCP: the address that may be connected
# to, or nothing. Processes that became tor, and what those started, are left out.
cat >"$work/judge.pl" <<'PERL'
my ($folder, $tcp) = @ARGV;
my (%parent, %tor, %lines);
for my $f (glob "$folder/t.*") {
    my ($pid) = $f =~ /\.(\d+)$/;
    open F, "<", $f or die;
    while (<F>) {
        push @{$lines{$pid}}, $_;
        $parent{$1} = [$pid, scalar @{$lines{$pid}}] if /^(?:clone3?|v?fork)\(.*= (\d+)$/;
        $tor{$pid} //= scalar @{$lines{$pid}} if m{^execve\("[^"]*/tor", .*= 0$};
    }
}
sub from { # the line from which a process belongs to tor
    my ($pid) = @_;
    return $tor{$pid} if defined $tor{$pid};
    my $p = $parent{$pid} or return 1e9;
    my $since = from($p->[0]);
    return $p->[1] > $since ? 0 : 1e9;
}
my ($seen, $tors) = (0, 0);
for my $pid (sort { $a <=> $b } keys %lines) {
    my ($n, $since) = (0, from($pid));
    $tors++ if $since < 1e9;
    for (@{$lines{$pid}}) {
        last if ++$n > $since;
        $seen++;
        my $what = "";
        $what = "name look-up" if m{"/etc/(resolv\.conf|hosts|host\.conf|gai\.conf)"} || m{libnss_(dns|resolve|mdns)};
        $what = "socket" if /^socket(pair)?\((AF_\w+)/ && $2 ne "AF_UNIX" && !($tcp && $2 eq "AF_INET");
        if (/^(connect|bind|sendto|sendmsg|sendmmsg|accept4?|getpeername|getsockname|recvfrom|recvmsg)\(/ && /sa_family=(AF_\w+)/ && $1 ne "AF_UNIX") {
            my ($family) = /sa_family=(AF_\w+)/;
            my ($port, $address) = /sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)/;
            my ($call) = /^(\w+)/;
            $what = "$call $family" unless $tcp && $family eq "AF_INET" && ("$address:$port" eq $tcp || $call eq "getsockname");
        }
        print "$pid: $what: $_" if $what;
    }
}
print "nothing was traced\n" if !$seen;
print "no tor was told apart\n" if $ENV{WANT_TOR} && !$tors;
PERL
clean() { # NAME FOLDER [TCP]
    perl "$work/judge.pl" "$work/$2" "${3-}" >"$work/leaks" 2>&1
    [ ! -s "$work/leaks" ]
    ok $? "$1" "$work/leaks"
}
timeout 10 magicbiz id new >/dev/null
t 'found' traced init timeout 20 magicbizd init --name acme --founder "$HOME/.config/magicbiz/ids/default.pub" \
    --data "$data" --torrc "$MAGICBIZ_TORRC" --json
grep -v '^strace' "$work/t.out" >"$data.json"
onion=$(jq -r .onion "$data.json")
t 'the daemon starts under strace' start_daemon node "$data" strace -D -ff -qq -s 200 -o "$work/daemon" -e trace="$calls"
t 'its onion services are reachable' wait_until 150 reachable "$data"

section 'the main job, the CLI under strace'
t 'join through Tor' traced join timeout 60 magicbiz org join acme "$(jq -r .join "$data.json")"
t 'send' traced send timeout 60 magicbiz send org.param.set - <<<'{"name":"greeting","value":"hello"}'
t 'repo create' traced create timeout 60 magicbiz repo create site --title Site --maintainer "$(mb id show --json | jq -r .fingerprint)"
mkdir "$work/site"
cd "$work/site" || exit 1
git init -q -b main
echo hello >README
git add README
mb repo setup --repo site >/dev/null
git commit -q -m one
t 'push' traced push timeout 120 env TZ=UTC git -c http.proxy="socks5h://$MAGICBIZ_SOCKS" push --signed "http://$onion/site.git" main
cd "$work" || exit 1
t 'repo clone' traced clone timeout 180 magicbiz repo clone site "$work/cloned"
# Where git does not know its user, it asks the resolver for the machine's name by itself.
t 'git clone magicbiz://' traced gitclone timeout 180 git -c user.name=x -c user.email=x@invalid clone -q magicbiz://acme/site "$work/cloned2"
t 'audit' traced audit timeout 60 magicbiz audit --full
stop node
is 'the daemon stops' $? 0
sleep 1 # strace, which is not our child with -D, ends
mkdir "$work/daemon.d"
for f in "$work"/daemon.[0-9]*; do mv "$f" "$work/daemon.d/t.${f##*.}"; done

section 'system calls'
traced direct curl -s -m 2 http://127.0.0.1:1/
traced lookup getent hosts localhost >/dev/null
sleep 0.5
for name in direct lookup; do
    perl "$work/judge.pl" "$work/$name" "$MAGICBIZ_SOCKS" | grep -qE 'connect|look-up'
    ok $? "a leak is noticed: $name"
done
clean 'magicbizd init: no network, no look-ups' init
if [ "$(id -u)" = 0 ]; then
    WANT_TOR=1 clean 'magicbizd and git below it: Unix sockets only, no look-ups' daemon.d
else
    echo 'skip what the daemon calls: its memory, and so the names in its calls, only root can read'
fi
is 'where git was among them' "$(cat "$work"/daemon.d/t.* | grep -cE '^execve\("[^"]*/git[^"]*", .*= 0$' | awk '{ print ($1 > 0) }')" 1
for name in join send create audit; do
    clean "magicbiz: to Tor's SOCKS port only: $name" $name "$MAGICBIZ_SOCKS"
done
for name in push clone gitclone; do
    clean "git: to Tor's SOCKS port only: $name" $name "$MAGICBIZ_SOCKS"
done

section 'fail closed'
dead=127.0.0.1:1
exits 'Tor is dead: status 3' 3 . traced dead timeout 30 magicbiz get org/name --socks $dead
exits 'Tor is dead: git clone fails' 128 . traced deadgit env MAGICBIZ_SOCKS=$dead timeout 60 git -c user.name=x -c user.email=x@invalid clone -q magicbiz://acme/site "$work/none"
sleep 0.5
clean 'and nothing else was tried' dead $dead
clean 'nor by git' deadgit $dead
cat "$work"/dead/t.* | grep -q 'connect(.*AF_INET'
ok $? 'where it was tried'
finish
