-- SPDX-License-Identifier: GPL-3.0-or-later
-- federation: nations, organisations and individuals; a currency on a schedule; weights of reputation and
-- savings; delegates; five branches with mandates and allowances; a raffle among voters; key figures.
--
-- Proposals make the assets, and open the accounts org/treasury, org/delegates and org/BRANCH. Where an asset is
-- missing, its part rests. All but the currency are not transferable, and the organisation issues them.
--   nation, organisation, individual   what a member is: who is none of them has no weight. Of several, the first.
--   coin        the currency, transferable
--   average     written by this: what a member held of the currency on average. At each epoch it moves by one
--               part in average_epochs towards the balance, rounded down. So it forgets as a mean of 30 days does,
--               not sharply at the 30th: 30 balances a member would be too many to keep.
--   reputation  its cap and its decay are its own: cap and half_life_epochs of books.asset.create
--   voted       written by this: the last epoch in which a member's latest vote counts as taking part
--   delegate    written by this: the last epoch of a delegate. Who pays delegate_fee into org/delegates in one
--               posting, and has the reputation, becomes one, or is one for longer.
--   seat-BRANCH BRANCH being assembly, executive, judiciary, finance or coordination: a seat, as many as epochs
--               are left of the mandate; this takes one at each epoch. The asset's cap is the longest mandate.
--               Elections are proposals, one option a candidate, of a procedure that may books.post:seat-BRANCH.
--               A procedure whose veto is seat-coordination can be vetoed by that branch.
--   allowance   written by this: what each account org/BRANCH may still spend in this epoch by a posting of
--               whoever has a seat, of nothing but the currency. Opened by proposals, filled by them too.
--   figure      what was measured of org/BRANCH in this period: issued and burnt by seats of judiciary. The
--               judiciary itself is not measured.
--   ticket-a, ticket-b   written by this: voters of the epoch, by turns
--
-- Parameters (mb.params), each with what it is unless set; for epochs of a day:
--   currency "coin", treasury "org/treasury"
--   inflation_ppm 54          of the supply, issued at each epoch; the treasury gets what is left after yields
--   inflation_step_ppm 0      by so much less after each
--   inflation_epochs 365      epochs,
--   inflation_floor_ppm 0     but not under this
--   yield_ppm 27              of their average, at each epoch, to members who voted or whose delegate did; where
--                             what is issued falls short, each gets the same share of it
--   voted_epochs 30           for so many epochs a vote counts as taking part
--   average_epochs 30
--   weight_cap_nation 1000000, weight_cap_organisation 100000, weight_cap_individual 10000
--   weight_a 10, weight_b 1, weight_limit 1000
--                             weight = min(cap, reputation*a + b*min(average, limit))
--   delegate_fee 100, delegate_reputation 20, delegate_cap 100 (delegations; the most), delegate_epochs 365
--   spend_BRANCH 0            the allowance of an epoch
--   target_BRANCH 0           of its figure; 0: it is not measured
--   figure_epochs 30          a period
--   figure_reward 5, figure_sanction 5   reputation of each who has a seat at its end: figure at target, or under
--   raffle_prize 0            in all, from the treasury, to
--   raffle_winners 1          members, at most 4
--
-- The raffle: votes in epoch m make its list, which is final when m+1 begins. It is drawn when m+2 begins, with
-- the beacon of m+1 (magicbiz-protocol(7), BEACON), 60 bits for each winner, and by nothing else. Where that
-- beacon is missing or "", it is put off by two epochs, and their voters join it: all replicas together can bring
-- that about, and a leader who keeps all reveals out of an epoch. The rulebook cannot hash: another draw from the
-- same beacon comes out alike unless it hashes. Without the organisation's parameter beacon nothing is drawn.
--
-- A delegation ends with its delegate's year, for it cannot be made for longer. A delegate whom reputation left
-- keeps the year that was paid. A delegation of all procedures counts as taking part.
-- Founders without a seat are not bound by allowances until they retire; passed proposals never are.
-- How many seats a branch has is for its elections to keep to. Who left and comes back has the average of then.
-- While reputation decays in several blocks (over 2,048 holders), an epoch's reward or sanction is refused.
--
-- One epoch has room for 400 members and 40 seats; where there are too many, nothing is done in it, and the
-- ledger shows why.

local MOVES = 255 -- of one posting, beside the account that they are against
local PPM = 1000000
local HIGHEST = 1000000000 -- weight, so that all together fit
local KINDS = {"nation", "organisation", "individual"}
local BRANCHES = {"assembly", "executive", "judiciary", "finance", "coordination"}
local DEFAULTS = {
  inflation_ppm = 54, inflation_step_ppm = 0, inflation_epochs = 365, inflation_floor_ppm = 0, yield_ppm = 27,
  voted_epochs = 30, average_epochs = 30,
  weight_cap_nation = 1000000, weight_cap_organisation = 100000, weight_cap_individual = 10000,
  weight_a = 10, weight_b = 1, weight_limit = 1000,
  delegate_fee = 100, delegate_reputation = 20, delegate_cap = 100, delegate_epochs = 365,
  figure_epochs = 30, figure_reward = 5, figure_sanction = 5, raffle_prize = 0, raffle_winners = 1,
}
local LOWEST = { -- others 0
  inflation_epochs = 1, voted_epochs = 1, average_epochs = 1, delegate_fee = 1, delegate_epochs = 1,
  figure_epochs = 1, raffle_winners = 1,
}
local MOST = {
  inflation_ppm = PPM, inflation_step_ppm = PPM, inflation_floor_ppm = PPM, yield_ppm = PPM,
  weight_cap_nation = HIGHEST, weight_cap_organisation = HIGHEST, weight_cap_individual = HIGHEST,
  delegate_cap = 100, raffle_winners = 4,
}

local function param(name) return mb.params[name] or DEFAULTS[name] or 0 end
local function currency() return mb.params.currency or "coin" end
local function treasury() return mb.params.treasury or "org/treasury" end

local function balance(asset, account)
  return mb.get("books/balance/" .. asset .. "/" .. account) or 0
end

local function exists(asset) return mb.get("books/asset/" .. asset) ~= nil end

local function least(a, b) return a < b and a or b end

-- All keys that hold an asset, in the order of their accounts: {{account, amount} ...}.
local function holders(asset)
  local prefix, found, after = "books/balance/" .. asset .. "/", {}, nil
  while true do
    local page = mb.scan(prefix .. "key/", after)
    for _, item in ipairs(page) do
      table.insert(found, {account = string.sub(item.key, string.len(prefix) + 1), amount = item.value})
    end
    if #page < 1000 then return found end
    after = page[#page].key
  end
end

-- Postings -------------------------------------------------------------------------------------------

-- One posting of entries of one asset, from first to last, against an account that is in none of them.
local function entries_against(against, moves, first, last)
  local entries, total = {}, 0
  for i = first, last do
    entries[i - first + 1] = moves[i]
    total = total + moves[i].amount
  end
  table.insert(entries, {account = against, asset = moves[first].asset, amount = -total})
  return entries
end

-- Add postings of at most MOVES entries {account, asset, amount}, each against the same account.
local function post(commands, against, moves, memo)
  for first = 1, #moves, MOVES do
    local entries = entries_against(against, moves, first, least(first + MOVES - 1, #moves))
    table.insert(commands, {type = "books.post", body = {entries = entries, memo = memo}})
  end
end

-- What is issued and what is burnt, apart: one posting does not do both with what is not transferable.
local function change(up, down, asset, account, by)
  if by ~= 0 then table.insert(by > 0 and up or down, {account = account, asset = asset, amount = by}) end
end

-- Formulas -------------------------------------------------------------------------------------------

-- x * y, but not over most, for x, y and most from 0.
local function product(x, y, most)
  if y > 0 and x > most // y then return most end
  return x * y
end

local function weight_of(cap, reputation, a, average, limit, b)
  return least(cap, product(reputation, a, cap) + product(least(average, limit), b, cap))
end

-- What epoch n issues, in parts of a million of the supply.
local function inflation_at(n, start, step, epochs, floor)
  local rate = start - product(n // epochs, step, PPM)
  return rate > floor and rate or floor
end

-- What each gets of what is issued, by their averages; and what is left.
local function yields(averages, issued, ppm)
  local total, paid, left = 0, {}, issued
  for i, average in ipairs(averages) do
    paid[i] = mb.muldiv(average, ppm, PPM)
    total = total + paid[i]
  end
  for i, amount in ipairs(paid) do
    if total > issued then paid[i] = mb.muldiv(amount, issued, total) end
    left = left - paid[i]
  end
  return paid, left
end

local function next_average(average, now, epochs) return average + (now - average) // epochs end

-- 60 bits of a hex text: the 15 digits from first on.
local function digits(hex, first)
  local number = 0
  for i = first, first + 14 do
    local c = string.byte(hex, i)
    number = number * 16 + (c >= 97 and c - 87 or c - 48)
  end
  return number
end

-- Those of a list whom the beacon's value draws, nobody twice.
local function draw(value, list, winners)
  local left, drawn = {}, {}
  for i, item in ipairs(list) do left[i] = item end
  for k = 0, least(winners, #list) - 1 do
    table.insert(drawn, table.remove(left, digits(value, 15 * k + 1) % #left + 1))
  end
  return drawn
end

-- Who takes part ------------------------------------------------------------------------------------

-- Tickets of an epoch's voters: of one asset while those of the epoch before are final in the other.
local function ticket(epoch) return epoch % 2 == 0 and "ticket-a" or "ticket-b" end

local function takes_part(account, n)
  if balance("voted", account) >= n then return true end
  local d = mb.get("gov/delegation/" .. string.sub(account, 5) .. "/*")
  return d ~= nil and d["until"] > mb.time and balance("voted", "key/" .. d.to) >= n
end

local function savings_and_yields(n, commands)
  local up, down, active, averages = {}, {}, {}, {}
  local asset, notes, votes, epochs = currency(), exists("average"), exists("voted"), param("average_epochs")
  for _, member in ipairs(holders("member")) do
    local account = member.account
    local average = balance("average", account)
    if notes then
      change(up, down, "average", account, next_average(average, balance(asset, account), epochs) - average)
    end
    if votes and average > 0 and takes_part(account, n) then
      table.insert(active, account)
      table.insert(averages, average)
    end
  end
  post(commands, "issue/average", down, "averages of epoch " .. n)
  post(commands, "issue/average", up, "averages of epoch " .. n)
  if not exists(asset) then return end
  local rate = inflation_at(n, param("inflation_ppm"), param("inflation_step_ppm"), param("inflation_epochs"),
    param("inflation_floor_ppm"))
  local issued = mb.muldiv(-balance(asset, "issue/" .. asset), rate, PPM)
  local paid, left = yields(averages, issued, param("yield_ppm"))
  local moves = {}
  for i, account in ipairs(active) do change(moves, moves, asset, account, paid[i]) end
  change(moves, moves, asset, treasury(), left)
  post(commands, "issue/" .. asset, moves, "inflation and yields of epoch " .. n)
end

local function raffle(n, commands)
  local asset, beacon, winners, moves, burnt = ticket(n), mb.get("org/beacon/" .. n - 1), {}, {}, {}
  if not exists(asset) or not beacon or not beacon.value or beacon.value == "" then return end
  local list = holders(asset)
  local prize = least(param("raffle_prize"), balance(currency(), treasury()))
  if prize > 0 then winners = draw(beacon.value, list, param("raffle_winners")) end
  for _, w in ipairs(winners) do
    change(moves, moves, currency(), w.account, prize // #winners)
  end
  for _, t in ipairs(list) do change(burnt, burnt, asset, t.account, -t.amount) end
  post(commands, treasury(), moves, "raffle of epoch " .. n - 2 .. ", beacon " .. n - 1)
  post(commands, "issue/" .. asset, burnt, "tickets of epoch " .. n - 2)
end

-- The branches ---------------------------------------------------------------------------------------

-- What reputation comes to: not under 0, nor over the asset's cap.
local function rewarded(reputation, by, cap)
  local sum = reputation + by
  if cap > 0 and sum > cap then return reputation > cap and reputation or cap end
  return sum > 0 and sum or 0
end

-- At the end of a period: reputation up or down for who has a seat, and figures begin anew.
local function measure(seats, commands)
  local reputation = mb.get("books/asset/reputation")
  if not exists("figure") or not reputation then return end
  local first, sum, order, up, down, burnt = {}, {}, {}, {}, {}, {}
  for _, branch in ipairs(BRANCHES) do
    local target, figure = param("target_" .. branch), balance("figure", "org/" .. branch)
    if target > 0 and branch ~= "judiciary" then
      local by = figure >= target and param("figure_reward") or -param("figure_sanction")
      for _, s in ipairs(seats[branch]) do
        if not first[s.account] then
          first[s.account] = balance("reputation", s.account)
          sum[s.account] = first[s.account]
          table.insert(order, s.account)
        end
        sum[s.account] = rewarded(sum[s.account], by, reputation.cap)
      end
    end
    change(burnt, burnt, "figure", "org/" .. branch, -figure)
  end
  for _, account in ipairs(order) do
    change(up, down, "reputation", account, sum[account] - first[account])
  end
  post(commands, "issue/reputation", up, "key figures: reward")
  post(commands, "issue/reputation", down, "key figures: sanction")
  post(commands, "issue/figure", burnt, "key figures: a new period")
end

local function branches(n, commands)
  local seats, ended, up, down = {}, {}, {}, {} -- ended: entries of one posting, of five assets
  local allows = exists("allowance")
  for _, branch in ipairs(BRANCHES) do
    local account = "org/" .. branch
    seats[branch] = holders("seat-" .. branch)
    for _, s in ipairs(seats[branch]) do change(ended, ended, "seat-" .. branch, s.account, -1) end
    change(ended, ended, "seat-" .. branch, "issue/seat-" .. branch, #seats[branch])
    if allows and mb.get("books/account/" .. account) then
      change(up, down, "allowance", account, param("spend_" .. branch) - balance("allowance", account))
    end
  end
  if n % param("figure_epochs") == 0 then measure(seats, commands) end
  if #ended > 0 then
    table.insert(commands, {type = "books.post", body = {entries = ended, memo = "mandates of epoch " .. n}})
  end
  post(commands, "issue/allowance", up, "allowances of epoch " .. n)
  post(commands, "issue/allowance", down, "allowances of epoch " .. n)
end

function on_epoch(n)
  local commands = {}
  savings_and_yields(n, commands)
  raffle(n, commands)
  branches(n, commands)
  return commands
end

-- Postings that are signed ---------------------------------------------------------------------------

-- Whether entries are what a posting has: accounts, assets and amounts.
local function readable(entries)
  if type(entries) ~= "table" then return false end
  for _, e in ipairs(entries) do
    if type(e) ~= "table" or type(e.account) ~= "string" or type(e.asset) ~= "string"
      or type(e.amount) ~= "number" then return false end
  end
  return true
end

-- What entries take from an account in the currency; and whether they do nothing else but pay that out.
local function spent(entries, account)
  local out, pure = 0, true
  for _, e in ipairs(entries) do
    if e.asset ~= currency() then pure = false
    elseif e.amount < 0 and e.account == account then out = out - e.amount
    elseif e.amount < 0 then pure = false end
  end
  return out, pure
end

-- The branch whose account is debited, and with how much; whether nothing else is.
local function branch_payment(entries)
  for _, branch in ipairs(BRANCHES) do
    local out, pure = spent(entries, "org/" .. branch)
    if out ~= 0 then return branch, out, pure end
  end
end

local function is_measurement(entries)
  local measured = {["issue/figure"] = true}
  for _, branch in ipairs(BRANCHES) do measured["org/" .. branch] = branch ~= "judiciary" end
  for _, e in ipairs(entries) do
    if e.asset ~= "figure" or not measured[e.account] then return false end
  end
  return true
end

-- What the signer pays to be a delegate.
local function delegate_payment(entries, signer)
  local out, into = spent(entries, "key/" .. signer), 0
  for _, e in ipairs(entries) do
    if e.asset == currency() and e.account == "org/delegates" and e.amount > 0 then into = into + e.amount end
  end
  return least(out, into)
end

local function may_enter(signer, paid)
  local account, fee, threshold = "key/" .. signer, param("delegate_fee"), param("delegate_reputation")
  if balance("member", account) == 0 then return false, "delegates are members" end
  if paid < fee then return false, "a delegate pays " .. fee .. ", not " .. paid end
  local reputation = balance("reputation", account)
  if reputation < threshold then
    return false, "a delegate has a reputation of " .. threshold .. ", not " .. reputation
  end
  return true
end

local function may_post(entries, signer)
  if not readable(entries) then return true end -- books refuses it
  local branch, out, pure = branch_payment(entries)
  if branch and pure and balance("seat-" .. branch, "key/" .. signer) > 0 then
    local left = balance("allowance", "org/" .. branch)
    if out < 0 or out > left then
      return false, "the " .. branch .. " may spend " .. left .. " more in this epoch, not " .. out
    end
    return "grant"
  end
  if is_measurement(entries) and balance("seat-judiciary", "key/" .. signer) > 0 then return "grant" end
  local paid = delegate_payment(entries, signer)
  if paid > 0 and exists("delegate") then return may_enter(signer, paid) end
  return true
end

-- Not to nobody's delegate, nor for longer than its year, nor over its cap; one that is renewed counts once.
local function may_delegate(body, signer)
  if type(body.to) ~= "string" or type(body["until"]) ~= "number" or not exists("delegate") then return true end
  local n, last = mb.get("core/epoch"), balance("delegate", "key/" .. body.to)
  if last < n then return false, "no delegate" end
  local ends = mb.time + (last - n + 1) * mb.get("org/epoch_s")
  if body["until"] > ends then return false, "the delegate is one until " .. ends .. ", not " .. body["until"] end
  local count, cap, prefix = 0, param("delegate_cap"), "gov/delegator/" .. body.to .. "/"
  local own = prefix .. (body.scope or "*") .. "/" .. signer
  for _, item in ipairs(mb.scan(prefix)) do
    if item.value > mb.time and item.key ~= own then count = count + 1 end
  end
  if count >= cap then return false, "the delegate has " .. count .. " delegations, and " .. cap .. " is the most" end
  return true
end

function authorize(command, signer)
  if command.type == "books.post" then return may_post(command.body.entries, signer) end
  if command.type == "gov.delegate" then return may_delegate(command.body, signer) end
  return true
end

-- Have an account hold so much of an asset that this writes.
local function set(commands, asset, account, to, memo)
  local moves = {}
  if not exists(asset) then return end
  change(moves, moves, asset, account, to - balance(asset, account))
  post(commands, "issue/" .. asset, moves, memo)
end

function on_applied(command, result)
  if not result.ok then return end
  local commands, account, n = {}, "key/" .. command.signer, mb.get("core/epoch")
  if command.type == "gov.vote" then
    set(commands, "voted", account, n + param("voted_epochs"), "voted")
    set(commands, ticket(n), account, 1, "ticket of epoch " .. n)
  elseif command.type == "books.post" then
    local branch, out = branch_payment(command.body.entries)
    if branch then
      local left = balance("allowance", "org/" .. branch)
      set(commands, "allowance", "org/" .. branch, left - least(left, out), "spent")
    end
    if exists("delegate") and delegate_payment(command.body.entries, command.signer) >= param("delegate_fee") then
      set(commands, "delegate", account, n + param("delegate_epochs") - 1, "delegate")
    end
  end
  return commands
end

function weight(member, procedure)
  local account = "key/" .. member
  for _, kind in ipairs(KINDS) do
    if balance(kind, account) > 0 then
      return weight_of(param("weight_cap_" .. kind), balance("reputation", account), param("weight_a"),
        balance("average", account), param("weight_limit"), param("weight_b"))
    end
  end
  return 0
end

-- The test of its own --------------------------------------------------------------------------------

local function test_params()
  for name, default in pairs(DEFAULTS) do
    local value, lowest = mb.params[name] or default, LOWEST[name] or 0
    if type(value) ~= "number" or value < lowest or MOST[name] and value > MOST[name] then
      return false, name .. " is at least " .. lowest .. (MOST[name] and ", at most " .. MOST[name] or "")
    end
  end
  for _, branch in ipairs(BRANCHES) do
    for _, name in ipairs({"spend_" .. branch, "target_" .. branch}) do
      if type(param(name)) ~= "number" or param(name) < 0 then return false, name .. " is at least 0" end
    end
  end
  if type(currency()) ~= "string" or type(treasury()) ~= "string" then
    return false, "currency and treasury are texts"
  end
  return true
end

local function test_formulas()
  local huge = 9223372036854775807
  assert(weight_of(1000, 7, 10, 500, 100, 2) == 270, "weight")
  assert(weight_of(269, 7, 10, 500, 100, 2) == 269 and weight_of(9, huge, huge, huge, huge, huge) == 9, "its cap")
  assert(weight_of(1000, 0, 10, 30, 100, 0) == 0, "no reputation, savings do not count")
  assert(inflation_at(9, 50, 20, 10, 5) == 50 and inflation_at(10, 50, 20, 10, 5) == 30, "inflation falls")
  assert(inflation_at(29, 50, 20, 10, 5) == 10 and inflation_at(huge, 50, 20, 10, 5) == 5, "to its floor")
  local paid, left = yields({3000000, 1000000, 9}, 100, 10)
  assert(paid[1] == 30 and paid[2] == 10 and paid[3] == 0 and left == 60, "yields in full")
  paid, left = yields({3000000, 1000000}, 21, 10)
  assert(paid[1] == 15 and paid[2] == 5 and left == 1, "yields by their share")
  assert(next_average(0, 3000, 30) == 100 and next_average(100, 0, 30) == 96, "the average follows")
  assert(next_average(5, 5, 30) == 5 and next_average(1, 0, 30) == 0, "and arrives")
  assert(rewarded(98, 5, 100) == 100 and rewarded(98, 5, 0) == 103 and rewarded(3, -5, 100) == 0, "reputation")
end

local function test_raffle()
  local value = string.rep("0", 14) .. "1" .. string.rep("0", 13) .. "1f" .. string.rep("f", 34)
  assert(digits(value, 1) == 1 and digits(value, 16) == 31 and digits(value, 50) == 1152921504606846975, "digits")
  local drawn = draw(value, {"a", "b", "c", "d"}, 2)
  assert(#drawn == 2 and drawn[1] == "b" and drawn[2] == "c", "who is drawn, and nobody twice")
  assert(#draw(value, {"a"}, 4) == 1 and #draw(value, {}, 1) == 0, "no more than there are")
  assert(ticket(4) == ticket(6) and ticket(4) ~= ticket(5), "tickets by turns")
end

local function test_postings()
  local coin, moves, made = currency(), {}, {}
  for i = 1, MOVES + 1 do change(moves, moves, "x", "a" .. i, 2) end
  post(made, "issue/x", moves, "test")
  assert(#made == 2 and #made[1].body.entries == MOVES + 1 and #made[2].body.entries == 2, "postings")
  assert(made[1].body.entries[MOVES + 1].amount == -2 * MOVES, "against one account")
  local entries = {{account = "org/finance", asset = coin, amount = -9}, {account = "key/a", asset = coin, amount = 9}}
  local branch, out, pure = branch_payment(entries)
  assert(branch == "finance" and out == 9 and pure, "a branch pays")
  table.insert(entries, {account = "key/b", asset = "seat-finance", amount = 1})
  branch, out, pure = branch_payment(entries)
  assert(branch == "finance" and out == 9 and not pure, "nothing but the currency")
  assert(not is_measurement(entries) and not readable({{account = 1}}) and not readable(nil), "readable")
  assert(is_measurement({{account = "issue/figure", asset = "figure"}, {account = "org/finance", asset = "figure"}}))
  assert(not is_measurement({{account = "org/judiciary", asset = "figure"}}), "nobody measures itself")
  assert(delegate_payment({{account = "key/a", asset = coin, amount = -9},
    {account = "org/delegates", asset = coin, amount = 7}}, "a") == 7, "a delegate pays")
end

function selftest()
  local good, reason = test_params()
  if not good then return false, reason end
  test_formulas()
  test_raffle()
  test_postings()
  return true
end
