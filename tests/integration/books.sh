#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The books of a running organisation: assets, accounts and postings by the command line, and the journal
# that hledger reads, every balance compared.
. "$(dirname "$0")/lib.sh"
data=$work/data

section 'an organisation with books'
t 'found' found "$data" --module vcs --module books
t 'starts' start_daemon node "$data"
MAGICBIZ_SOCKET=$data/run/public.sock
export MAGICBIZ_SOCKET
t 'join' mb org join acme "$(jq -r .join "$data.json")"
t 'another key' mb id new ann
boss=$(fingerprint "$HOME/.config/magicbiz/ids/default.pub")
ann=$(fingerprint "$HOME/.config/magicbiz/ids/ann.pub")
is 'its founder is a member' "$(mb books balance --json | jq -c '.balances | map([.asset, .amount])')" '[["member",1]]'

section 'assets and accounts'
t 'an asset with decimals' mb send books.asset.create - <<<'{"asset":"eur","scale":2,"transferable":1,"title":"Euro"}'
t 'one with 18' mb send books.asset.create - <<<'{"asset":"fine-coin","scale":18,"transferable":1}'
exits 'none that looks like another' 1 'e-ur looks like the asset eur' mb send books.asset.create <(echo '{"asset":"e-ur"}')
t 'an account' mb send books.account.open - <<<'{"account":"org/treasury","title":"Treasury"}'
t 'a checkpoint' wait_until 20 settled
exits 'assets are listed' 0 'eur .*scale 2, issuer org .*Euro' mb books assets
exits 'accounts too' 0 'org/treasury .*controller org' mb books accounts

section 'postings'
t 'issued' mb books post issue/eur -92233720368547758.07 eur org/treasury 92233720368547758.07 eur
t 'a salary' mb books post org/treasury -1234.05 eur "$ann" 1234.05 eur --memo salary
t 'paid by its holder' mb books pay 34.06 eur org/treasury --id ann
t 'to a key' mb books pay 0.01 eur "$boss" --id ann
t 'a coin of the smallest unit' mb books post issue/fine-coin -9.223372036854775807 fine-coin org 9.223372036854775807 fine-coin
t 'moves' mb books post org -0.000000000000000001 fine-coin "$ann" 0.000000000000000001 fine-coin
exits 'not more than there is' 1 '119998 eur of 119999 needed' mb books pay 1199.99 eur org --id ann
exits 'not more decimals than there are' 1 'at most 2 decimals' mb books pay 1.001 eur org --id ann
exits 'not what another holds' 1 'books\.post needs the role' mb books pay 0.01 eur org --from "$boss" --id ann
t 'a checkpoint' wait_until 20 settled
is 'what she holds' "$(mb books balance "$ann" --json | jq -c '.balances | map([.asset, .amount])')" '[["eur",119998],["fine-coin",1]]'

section 'the journal'
mb books export --format ledger >"$work/journal"
is 'says what it is' "$(head -c 40 "$work/journal" | grep -c '^; acme, balances proven at slot ')" 1
# ASSET ACCOUNT BALANCE, by hledger; and as the organisation has it.
hledger -f "$work/journal" balance --flat --empty --no-total -O csv --layout=bare |
    tail -n +2 | tr -d '"' | awk -F, '{print $2, $1, $3}' | sort >"$work/hledger"
mb books balance --all --json | jq -r '.balances[] | [.asset, .account] | join(" ")' | sort >"$work/pairs"
while read -r asset account; do
    raw=$(get "/v1/state?key=books/balance/$asset/$(jq -rn --arg a "$account" '$a | @uri')" | grep -o '"value":-\?[0-9]*' | cut -d : -f 2)
    scale=$(mb books assets --json | jq --arg k "books/asset/$asset" '.items[] | select(.key == $k) | .value.scale')
    perl -Mbigint -e '
        my ($asset, $account, $raw, $scale) = @ARGV;
        my $sign = $raw =~ s/^-// ? "-" : "";
        $raw = ("0" x ($scale + 1 - length $raw)) . $raw if length $raw <= $scale;
        substr($raw, -$scale, 0) = "." if $scale > 0;
        my $n = 3 + 1 + 50;
        if ($account =~ m{^key/}) { my $rest = substr $account, $n; $rest =~ tr{/}{:}; $account = "key:" . substr($account, 4, 50) . $rest }
        else { $account =~ tr{/}{:} }
        print "$asset $account $sign$raw\n"' "$asset" "$account" "$raw" "$scale"
done <"$work/pairs" | sort >"$work/own"
is 'hledger has every balance to the last unit' "$(cat "$work/hledger")" "$(cat "$work/own")"
is 'as many as there are' "$(wc -l <"$work/own")" 9
t 'hledger finds it balanced' hledger -f "$work/journal" check
t 'the whole ledger holds' mb audit --full
stop node
finish
