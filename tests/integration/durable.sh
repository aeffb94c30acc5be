#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What was acknowledged stays: a daemon killed again and again under load, a store that is lost or
# altered, logs and archives that are damaged or gone, and a disk that is full.
. "$(dirname "$0")/lib.sh"
data=$work/data
MAGICBIZ_SOCKET=$data/run/public.sock
export MAGICBIZ_SOCKET
found "$data"
sed -i 's/^data = .*/&\nsnapshot_blocks = 20/' "$data/magicbiz.conf"
t 'starts' start_daemon node "$data"
t 'join' mb org join acme "$(jq -r .join "$data.json")"

section 'killed under load'
client() { # NUMBER
    local n=0 out
    while [ ! -e "$work/enough" ]; do
        n=$((n + 1))
        out=$(timeout 20 magicbiz send org.param.set - --timeout 10 \
            <<<"{\"name\":\"client$1.n$((n % 50))\",\"value\":$n}" 2>"$work/client$1.err")
        case $? in
        0) cut -d ' ' -f 1 <<<"$out" >>"$work/acknowledged.$1" ;;
        3 | 124) ;;
        *) tail -n 1 "$work/client$1.err" >>"$work/wrong" ;;
        esac
    done
}
clients=()
for i in 1 2 3; do
    client $i &
    clients+=($!)
done
kills=0 starts=0
end=$((SECONDS + 120))
while [ $kills -lt 32 ] && [ $SECONDS -lt $end ]; do
    sleep "0.$((RANDOM % 8 + 1))"
    stop node KILL
    kills=$((kills + 1))
    start_daemon node "$data" || break
    starts=$((starts + 1))
done
touch "$work/enough"
wait "${clients[@]}"
[ $kills -ge 30 ] && [ $starts = $kills ]
ok $? "started again after each of $kills kills" "$work/node.err"
[ ! -s "$work/wrong" ]
ok $? 'nobody was told anything but yes, or not reached' "$work/wrong"
cat "$work"/acknowledged.* | sort >"$work/acknowledged"
t 'the newest block is covered' wait_until 15 settled
all_ids() { mb log --json --limit 1000000 | jq -r '.results // [] | .[] | fromjson | .id // empty' | sort; }
all_ids >"$work/ids"
is 'no id is in the ledger twice' "$(uniq -d "$work/ids" | wc -l)" 0
is "each of $(wc -l <"$work/acknowledged") acknowledged ones is there" "$(comm -23 "$work/acknowledged" "$work/ids" | wc -l)" 0
[ "$(wc -l <"$work/acknowledged")" -ge 60 ]
ok $? 'and they are more than a few'
exits 'the whole ledger holds' 0 'everything holds' mb audit --full

section 'the store follows'
tip=$(standing)
again() { # NAME WORDS: starts, says WORDS, and stands where it stood
    t "$1: starts" start_daemon node "$data"
    is "$1: slot and root are the same" "$(standing)" "$tip"
    t "$1: the log says so" grep -qE "$2" "$work/node.err"
    stop node
    is "$1: stops" $? 0
}
wait_until 10 test -e "$data/snapshot/index.json"
ok $? 'there is a snapshot'
stop node
rm -f "$data"/store.db*
again 'store.db deleted' 'store snapshot slot=[1-9][0-9]* ok=1'
again 'nothing touched' 'ledger ready slot=[0-9]+ replayed=0'
sqlite3 "$data/store.db" "UPDATE state SET text='\"evil\"' WHERE key='org/name'"
again 'a value altered' 'store (wrong_root|rebuild)'
is 'a value altered: it is right again' "$(sqlite3 "$data/store.db" "SELECT text FROM state WHERE key='org/name'")" '"acme"'
sqlite3 "$data/store.db" "DELETE FROM state WHERE key='org/epoch_s'"
again 'a key removed' 'store (wrong_root|rebuild)'
for f in "$data"/snapshot/*; do
    case ${f##*/} in
    *.json) ;;
    *) printf 'X' | dd of="$f" bs=1 seek=100 conv=notrunc status=none ;;
    esac
done
rm -f "$data"/store.db*
again 'the snapshot damaged too: the archive has all' 'store snapshot slot=[1-9][0-9]* ok=0'
rm -rf "$data/snapshot" "$data"/store.db*
again 'no snapshot at all' 'store rebuild'
cp "$data/store.db" "$work/store.db"
rm -f "$data"/store.db-*
head -c 200000 /dev/urandom >"$data/store.db"
refuses 'store.db is garbage: refuses, and says what to do' 'store\.db.*(remove|delete|move)' "$data"
cp "$work/store.db" "$data/store.db"

section 'log and archive decide'
sums() { find "$data/log" "$data/archive" -type f -exec sha256sum {} + | sort; }
flip() { # FILE OFFSET
    perl -e 'open F, "+<", $ARGV[0] or die; binmode F; seek F, $ARGV[1], 0; read F, $b, 1; seek F, $ARGV[1], 0; print F chr(ord($b) ^ 16);' "$1" "$2"
}
cp -a "$data/log" "$data/archive" "$work/"
restore() {
    rm -rf "$data/log" "$data/archive"
    cp -a "$work/log" "$work/archive" "$data/"
    rm -f "$data"/store.db*
    cp "$work/store.db" "$data/"
}
log=$(ls "$data"/log/log-* | head -n 1)
archive=$(ls "$data"/archive/archive-*[0-9] | head -n 1)
size=$(stat -c %s "$archive")
damaged() { # FILE OFFSET
    flip "$1" "$2"
    local before
    before=$(sums)
    refuses "a bit flipped at $2 of ${1#"$data"/}: refused, and the file named" "${1##*/}" "$data"
    is 'and nothing was cut off' "$(sums)" "$before"
    restore
}
# In the header, in the first batch's, and in the records of the first batch that has some.
record=$(perl -e 'open F, "<", $ARGV[0]; binmode F; while (read F, my $b, 4096) { next if !$n++;
    if (unpack("N", substr($b, 32, 4)) > 100) { print(($n - 1) * 4096 + 120); exit } }' "$log")
for at in 3 20 4100 4130 "$record"; do damaged "$log" $at; done
rm -f "$data"/store.db* # all of the archive is read then
for at in 3 20 60 $((size / 4)) $((size / 2)) $((size * 3 / 4)); do
    rm -f "$data"/store.db*
    damaged "$archive" "$at"
done
mv "$data/log" "$work/log.away"
refuses 'the log is gone: refused' 'the log in .* is missing.*[Pp]ut the folder back' "$data"
mkdir "$data/log"
refuses 'the log is empty: refused' 'the log in .* is missing' "$data"
restore
rm -rf "$data/archive"
refuses 'the archive is gone: refused' 'archive is missing' "$data"
restore
again 'all put back' 'ledger ready'

section 'a torn tail'
cp -a "$data" "$work/before"
t 'starts' start_daemon node "$data"
t 'one more command' mb send org.param.set - <<<'{"name":"torn","value":1}'
stop node KILL
# The log as if the machine had died while it wrote that; the rest as it was before, and so is the
# file that names the last durable batch.
cp -a "$work/before/log/tail" "$work/tail"
rm -rf "$work/before/log"
cp -a "$data/log" "$work/before/log"
cp -a "$work/tail" "$work/before/log/tail"
perl -e 'my ($last, $name); for my $f (@ARGV) { open F, "+<", $f; binmode F; my $n = 0;
    while (read F, my $b, 4096) { ($last, $name) = ($n, $f) if substr($b, 0, 4) ne "\0\0\0\0"; $n++; } }
    open F, "+<", $name; seek F, $last * 4096 + 120, 0; print F "\0" x 3900;' "$work"/before/log/log-*
rm -rf "$data"
mv "$work/before" "$data"
t 'starts' start_daemon node "$data"
t 'and says so' grep -qi 'torn' "$work/node.err"
t 'it goes on' mb send org.param.set - <<<'{"name":"torn","value":2}'
stop node
is 'stops' $? 0

section 'a full disk'
mounted=$work/small
mkdir -p "$mounted"
if mount -t tmpfs -o size=48m tmpfs "$mounted" 2>/dev/null; then
    mb org leave acme >/dev/null
    data=$mounted/data
    MAGICBIZ_SOCKET=$data/run/public.sock
    found "$data"
    mv "$data.json" "$work/small.json"
    t 'starts' start_daemon small "$data"
    t 'join' mb org join acme "$(jq -r .join "$work/small.json")"
    t 'send' mb send org.param.set - <<<'{"name":"a","value":1}'
    dd if=/dev/zero of="$mounted/fill" bs=1M status=none 2>/dev/null
    dd if=/dev/zero of="$mounted/fill2" bs=4k status=none 2>/dev/null
    : >"$work/kept"
    for n in $(seq 1 200); do
        out=$(timeout 20 magicbiz send org.param.set - --timeout 5 \
            <<<"{\"name\":\"n$n\",\"value\":\"$(head -c 900 /dev/zero | tr '\0' x)\"}" 2>>"$work/full.err") || break
        cut -d ' ' -f 1 <<<"$out" >>"$work/kept"
    done
    wait_until 10 sh -c "! kill -0 ${pids[small]}"
    ok $? 'it stops' "$work/full.err"
    t 'and says why' grep -qiE 'no space|full' "$work/small.err"
    stop small
    rm -f "$mounted"/fill*
    t 'runs again once there is space' start_daemon small "$data"
    wait_until 15 settled
    all_ids >"$work/ids"
    is "each of $(wc -l <"$work/kept") acknowledged ones is there" "$(sort "$work/kept" | comm -23 - "$work/ids" | wc -l)" 0
    t 'and more are taken' mb send org.param.set - <<<'{"name":"b","value":1}'
    wait_until 15 settled
    exits 'the whole ledger holds' 0 'everything holds' mb audit --full
    stop small
    is 'stops' $? 0
    umount "$mounted"
else
    echo 'skip a full disk: no right to mount a tmpfs'
fi
mounted=
finish
