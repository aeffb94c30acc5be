# SPDX-License-Identifier: GPL-3.0-or-later
# Three replicas on Unix sockets, for the tests that want them; sourced by bash, and brings lib.sh. Replica N
# has its folder in $work/dN and is the process nN; they meet in $work/meet.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
election_ms=${election_ms-1000} patience=${patience-60} # seconds
tor=(--tor none)

up() { start_daemon "n$1" "$work/d$1"; } # a script may have another
asked() { MAGICBIZ_SOCKET=$work/d$1/run/public.sock "${@:2}"; } # N COMMAND…
at() { MAGICBIZ_SOCKET=$work/d$1/run/public.sock; export MAGICBIZ_SOCKET; }
others() { case $1 in 1) echo 2 3 ;; 2) echo 1 3 ;; *) echo 1 2 ;; esac; }
# on N PATH: what its operator sees
on() { curl -s -m 5 --unix-socket "$work/d$1/run/operator.sock" "http://x$2"; }
metric() { on "$1" /metrics | awk -v m="magicbiz_$2" '$1 == m { print $2 }'; }
leader() { # a fourth may have joined
    local i
    for i in 1 2 3 4; do
        if [ "$(metric $i consensus_leader)" = $i ]; then
            echo $i
            return
        fi
    done
    return 1
}
followed() { # all that run follow one leader
    local l i
    l=$(leader) || return 1
    for i in 1 2 3 4; do running n$i && { [ "$(metric $i consensus_leader)" = "$l" ] || return 1; }; done
    return 0
}
has_slot() { [ "$(asked "$1" slot)" -ge "$2" ]; } # N SLOT
# agree N…: one header, which holds the state's root, at the newest slot that all of them have
agree() {
    local i s least= header headers=
    for i in "$@"; do
        s=$(asked "$i" slot)
        [ -n "$least" ] && [ "$least" -le "$s" ] || least=$s
    done
    for i in "$@"; do
        header=$(asked "$i" get "/v1/blocks?from=$least&limit=1" | jq -r .header)
        headers+=$header$'\n'
    done
    agreed="slot $least, state root ${header:296:64}"
    [ ${#header} = 488 ] && [ "$(printf %s "$headers" | sort -u | wc -l)" = 1 ]
}

mkdir "$work/meet"
settings() { # N: how it meets the others; a script may have another
    printf '\n[consensus]\nfolder = %s\nelection_ms = %d\nrebuild_ms = 100\nheartbeat_ms = 50\nround_trip_ms = 20\n' \
        "$work/meet" "$election_ms" >>"$work/d$1/magicbiz.conf"
}
votes() { on "$1" /v1/status | grep -qE '"role":"(replica|leader)"'; }
in_force() { ! get '/v1/state?key=core/config/next' | grep -q replicas; }
joins() { magicbizd join --invite "$2" --data "$work/d$1" "${tor[@]}" --socket "$MAGICBIZ_SOCKET"; } # N INVITE
made_a_replica() { # N, by its $request
    t 'asks to be a replica' mb replica request --socket "$work/d$1/run/operator.sock"
    request=$(tail -n 1 "$work/t.out")
    t 'is made one' mb replica add "$request"
    t 'votes' wait_until $patience votes "$1"
}
add() { # N
    t "machine $1 joins" joins "$1" "$invite"
    settings "$1"
    t 'starts' up "$1"
    made_a_replica "$1"
    t 'and is in force' wait_until $patience in_force
    sed -i '/^sockets = /d' "$work/d$1/magicbiz.conf" # once it starts again, it learns from its peers alone
}
# first [OPTIONS of found…]: an organisation of one replica, and an $invite for others
first() {
    t 'found' found "$work/d1" "${tor[@]}" "$@"
    settings 1
    org=$(jq -r .org "$work/d1.json") onion=$(jq -r .onion "$work/d1.json")
    at 1
    t 'the first starts' up 1
    t 'join' mb org join acme "$(jq -r .join "$work/d1.json")"
    t 'an invite' mb replica invite
    invite=$(tail -n 1 "$work/t.out")
}
# replicas [OPTIONS of found…]: one of three, asked at the first of them
replicas() {
    first "$@"
    add 2
    add 3
    t 'all follow one leader' wait_until $patience followed
}
# lose N: killed. From here on one of the others is asked, once they have a leader and it has all that N had.
lose() {
    local newest
    newest=$(slot)
    stop "n$1" KILL
    at "$(others "$1" | cut -d ' ' -f 1)"
    t "replica $1 is lost, and the others have a leader" wait_until $patience followed
    t 'nothing else is' wait_until $patience has_slot "$(others "$1" | cut -d ' ' -f 1)" "$newest"
}
back() { # N
    t "replica $1 is back" up "$1"
    t 'has what it missed' wait_until $patience has_slot "$1" "$(slot)"
    t 'and the state of all three has one root' agree 1 2 3
    echo "     $agreed"
}

# What git sends to replica N goes through a relay, for git speaks no Unix sockets.
relays() {
    local i
    for i in 1 2 3; do
        start "relay$i" "$build/tests/integration/relay" "$work/d$i/run/public.sock"
        wait_until 5 test -s "$work/relay$i.out"
    done
}
# g ID N GIT-ARGUMENTS…: as that identity, by replica N
g() {
    TZ=UTC GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@acme.invalid GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@acme.invalid \
        timeout "${MB_TIMEOUT:-60}" git -c init.defaultBranch=main -c "http.proxy=socks5h://127.0.0.1:$(cat "$work/relay$2.out")" \
        -c gpg.format=ssh -c "user.signingKey=$ids/$1.pub" -c core.fsync=none "${@:3}"
}
# $work/tree, whose newest commit is $tip, and the repository site at the replicas
commit() { # TEXT
    [ -d "$work/tree" ] || g default 1 init -q "$work/tree"
    echo "$1" >"$work/tree/file"
    head -c 20000 /dev/urandom | base64 >"$work/tree/more"
    g default 1 -C "$work/tree" add . && g default 1 -C "$work/tree" commit -qm "$1"
    tip=$(git -C "$work/tree" rev-parse HEAD)
}
push() { g default "$1" -C "$work/tree" push -q --signed "http://$onion/site.git" main; } # N
has_all() { # N
    curl -s -m 10 --unix-socket "$work/d$1/run/public.sock" "http://x/site.git/info/refs?service=git-upload-pack" >/dev/null
    [ "$(git -C "$work/d$1/vcs/site.git" rev-parse -q --verify 'main^{commit}' 2>/dev/null)" = "$tip" ] &&
        git -C "$work/d$1/vcs/site.git" rev-list --objects main >/dev/null 2>&1
}
