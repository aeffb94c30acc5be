-- SPDX-License-Identifier: GPL-3.0-or-later
-- cooperative: one member, one vote; a treasury; salaries; periodic contributions.
--
-- Parameters (mb.params), each with what it is unless set:
--   currency             "coin"           the asset in which is paid
--   treasury             "org/treasury"   the organisation's account that pays, and is paid
--   contribution         0                what each member owes at a time, in the smallest unit
--   contribution_epochs  1                how many epochs lie between two contributions
--   salary_epochs        1                how many epochs lie between two salaries
--
-- Nobody but its owner takes from a member's account. So a contribution that falls due is issued to
-- each member in the asset "dues", which says what is owed; when a member pays into the treasury, as
-- much of it is burnt.
-- A salary is a role: whoever holds N of the asset "salary" is paid N of the currency. A proposal
-- issues it and takes it back. A treasury that cannot pay all salaries in full pays each the same
-- share of it, rounded down.
-- Proposals make what this needs: the currency, the treasury, and "dues" and "salary", which are not
-- transferable. Where an asset is missing, its part rests.
-- One epoch has room for 1,000 members and 100 salaries, or 900 and 500; where there are too many,
-- nothing is issued or paid in it, and the ledger shows why.

local MOVES = 200 -- of one posting

local function param(name, default)
  local value = mb.params[name]
  if value == nil then return default end
  return value
end

local function balance(asset, account)
  return mb.get("books/balance/" .. asset .. "/" .. account) or 0
end

-- All keys that hold an asset, in the order of their accounts: {{account, amount} ...}.
local function holders(asset)
  local prefix, found, after = "books/balance/" .. asset .. "/", {}, nil
  while true do
    local page = mb.scan(prefix .. "key/", after)
    for _, item in ipairs(page) do
      local account = string.sub(item.key, string.len(prefix) + 1)
      if item.value > 0 then
        table.insert(found, {account = account, amount = item.value})
      end
    end
    if #page < 1000 then return found end
    after = page[#page].key
  end
end

-- What each is paid of what there is: all in full, or each its share of it.
local function shares(salaries, available)
  local total, paid = 0, {}
  for _, s in ipairs(salaries) do total = total + s.amount end
  for i, s in ipairs(salaries) do
    paid[i] = total <= available and s.amount or mb.muldiv(s.amount, available, total)
  end
  return paid
end

-- Postings of at most MOVES each: {{from, to, asset, amount} ...}. An account stands once for an asset.
local function postings(moves, memo)
  local commands = {}
  for first = 1, #moves, MOVES do
    local entries, place = {}, {}
    local function add(account, asset, amount)
      local name = asset .. " " .. account
      if not place[name] then
        table.insert(entries, {account = account, asset = asset, amount = 0})
        place[name] = #entries
      end
      local e = entries[place[name]]
      e.amount = e.amount + amount
    end
    for i = first, first + MOVES - 1 do
      local m = moves[i]
      if not m then break end
      add(m.from, m.asset, -m.amount)
      add(m.to, m.asset, m.amount)
    end
    table.insert(commands, {type = "books.post", body = {entries = entries, memo = memo}})
  end
  return commands
end

local function contributions()
  local amount, moves = param("contribution", 0), {}
  if amount <= 0 or not mb.get("books/asset/dues") then return moves end
  for _, member in ipairs(holders("member")) do
    table.insert(moves, {from = "issue/dues", to = member.account, asset = "dues", amount = amount})
  end
  return moves
end

local function salaries()
  local currency, treasury = param("currency", "coin"), param("treasury", "org/treasury")
  local paid, moves = holders("salary"), {}
  local amounts = shares(paid, balance(currency, treasury))
  for i, s in ipairs(paid) do
    if amounts[i] > 0 then
      table.insert(moves, {from = treasury, to = s.account, asset = currency, amount = amounts[i]})
    end
  end
  return moves
end

local function append(to, from)
  for _, item in ipairs(from) do table.insert(to, item) end
end

function on_epoch(n)
  local commands = {}
  if n % param("contribution_epochs", 1) == 0 then
    append(commands, postings(contributions(), "contribution of epoch " .. n))
  end
  if n % param("salary_epochs", 1) == 0 then
    append(commands, postings(salaries(), "salaries of epoch " .. n))
  end
  return commands
end

-- What the signer of a posting paid into the treasury from an account of its own.
local function paid_in(entries, account)
  local out, in_ = 0, 0
  for _, e in ipairs(entries) do
    if e.asset == param("currency", "coin") then
      if e.account == account and e.amount < 0 then out = out - e.amount end
      if e.account == param("treasury", "org/treasury") and e.amount > 0 then in_ = in_ + e.amount end
    end
  end
  return out < in_ and out or in_
end

function on_applied(command, result)
  if not result.ok or command.type ~= "books.post" then return end
  local account = "key/" .. command.signer
  local paid, owed = paid_in(command.body.entries, account), balance("dues", account)
  local settled = paid < owed and paid or owed
  if settled <= 0 then return end
  return postings({{from = account, to = "issue/dues", asset = "dues", amount = settled}}, "paid")
end

-- One member, one vote.
function weight(member, procedure)
  return balance("member", "key/" .. member) > 0 and 1 or 0
end

-- Whether commands take anything, however little, from the treasury.
local function spends(commands)
  if type(commands) ~= "table" then return false end
  for _, c in ipairs(commands) do
    local body = type(c) == "table" and c.body
    local entries = type(body) == "table" and body.entries
    if type(entries) == "table" then
      for _, e in ipairs(entries) do
        if type(e) == "table" and e.account == param("treasury", "org/treasury")
          and type(e.amount) == "number" and e.amount < 0 then
          return true
        end
      end
    end
  end
  return false
end

-- What spends from the treasury is decided by the procedure treasury, or constitution.
function authorize(command, signer)
  local body = command.body
  if command.type ~= "gov.propose" then return true end
  if body.procedure == "treasury" or body.procedure == "constitution" then return true end
  local spending = spends(body.commands)
  if type(body.options) == "table" then
    for _, option in ipairs(body.options) do
      spending = spending or type(option) == "table" and spends(option.commands)
    end
  end
  if spending then return false, "spending from the treasury takes the procedure treasury" end
  return true
end

function selftest()
  for _, name in ipairs({"contribution_epochs", "salary_epochs"}) do
    if param(name, 1) < 1 then return false, name .. " is at least 1" end
  end
  if param("contribution", 0) < 0 then return false, "contribution is at least 0" end
  local two = {{account = "a", amount = 30}, {account = "b", amount = 10}}
  local full, part = shares(two, 40), shares(two, 21)
  assert(full[1] == 30 and full[2] == 10, "salaries in full")
  assert(part[1] == 15 and part[2] == 5, "salaries by their share")
  local moves = {}
  for i = 1, MOVES + 1 do
    moves[i] = {from = "a", to = "b" .. i, asset = "coin", amount = 2}
  end
  local made = postings(moves, "test")
  assert(#made == 2 and #made[1].body.entries == MOVES + 1 and #made[2].body.entries == 2, "postings")
  assert(made[1].body.entries[1].amount == -2 * MOVES, "one entry for the account that pays all")
  local entries = {{account = "key/a", asset = param("currency", "coin"), amount = -9},
    {account = "key/b", asset = param("currency", "coin"), amount = 2},
    {account = param("treasury", "org/treasury"), asset = param("currency", "coin"), amount = 7}}
  assert(paid_in(entries, "key/a") == 7 and paid_in(entries, "key/b") == 0, "dues paid")
  local spends = {{type = "books.post", body = {entries = {
    {account = param("treasury", "org/treasury"), asset = "coin", amount = -1}}}}}
  assert(not authorize({type = "gov.propose", body = {procedure = "routine", commands = spends}}),
    "the treasury is not spent by routine")
  assert(authorize({type = "gov.propose", body = {procedure = "treasury", commands = spends}}),
    "the treasury is spent by treasury")
  return true
end
