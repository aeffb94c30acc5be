-- SPDX-License-Identifier: GPL-3.0-or-later
-- cooperative: one member, one vote; a treasury; salaries; periodic contributions.
--
-- Parameters (mb.params), each with what it is unless set:
--   currency             "coin"           the asset in which is paid
--   treasury             "org/treasury"   the account that pays, and is paid
--   contribution         0                what each member pays in, in the asset's smallest unit
--   contribution_epochs  1                how many epochs lie between two contributions
--   salary_epochs        1                how many epochs lie between two salaries
--
-- A salary is a role: whoever holds N of the asset "salary" is paid N of the currency. A proposal
-- issues it and takes it back; create it with "transferable": 0.
-- A member who cannot pay a contribution in full pays nothing at that time; where the asset
-- "arrears" exists, what is owed is issued to the member in it, and a proposal burns it.
-- A treasury that cannot pay all salaries in full pays each the same share of it, rounded down.
-- One epoch has room for 800 contributions and salaries together; with more, none is made, and the
-- ledger shows why.
-- Before anything is paid, assets and treasury must be there: proposals make them.

local ENTRIES = 100 -- of one posting

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

-- Postings of at most ENTRIES moves each: {{from, to, asset, amount} ...}.
local function postings(moves, memo)
  local commands = {}
  for first = 1, #moves, ENTRIES // 2 do
    local entries = {}
    for i = first, #moves do
      if i >= first + ENTRIES // 2 then break end
      local m = moves[i]
      table.insert(entries, {account = m.from, asset = m.asset, amount = -m.amount})
      table.insert(entries, {account = m.to, asset = m.asset, amount = m.amount})
    end
    table.insert(commands, {type = "books.post", body = {entries = entries, memo = memo}})
  end
  return commands
end

local function contributions()
  local amount, currency = param("contribution", 0), param("currency", "coin")
  local treasury, moves = param("treasury", "org/treasury"), {}
  if amount <= 0 then return moves end
  local owed = mb.get("books/asset/arrears") ~= nil
  for _, member in ipairs(holders("member")) do
    if balance(currency, member.account) >= amount then
      table.insert(moves, {from = member.account, to = treasury, asset = currency, amount = amount})
    elseif owed then
      table.insert(moves, {from = "issue/arrears", to = member.account, asset = "arrears",
        amount = amount})
    end
  end
  return moves
end

-- income: what the contributions of the same epoch bring.
local function salaries(income)
  local currency, treasury = param("currency", "coin"), param("treasury", "org/treasury")
  local paid, moves = holders("salary"), {}
  local amounts = shares(paid, balance(currency, treasury) + income)
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
  local commands, income = {}, 0
  if n % param("contribution_epochs", 1) == 0 then
    local moves = contributions()
    for _, m in ipairs(moves) do
      if m.asset == param("currency", "coin") then income = income + m.amount end
    end
    append(commands, postings(moves, "contribution of epoch " .. n))
  end
  if n % param("salary_epochs", 1) == 0 then
    append(commands, postings(salaries(income), "salaries of epoch " .. n))
  end
  return commands
end

-- One member, one vote.
function weight(member, procedure)
  return balance("member", "key/" .. member) > 0 and 1 or 0
end

-- What spends from the treasury is decided by the procedure treasury, or constitution.
function authorize(command, signer)
  if command.type ~= "gov.propose" then return true end
  local procedure = command.body.procedure
  if procedure == "treasury" or procedure == "constitution" then return true end
  if type(command.body.commands) ~= "table" then return true end
  for _, c in ipairs(command.body.commands) do
    local body = type(c) == "table" and c.body
    local entries = type(body) == "table" and body.entries
    if type(entries) == "table" then
      for _, e in ipairs(entries) do
        if type(e) == "table" and e.account == param("treasury", "org/treasury")
          and type(e.amount) == "number" and e.amount < 0 then
          return false, "spending from the treasury takes the procedure treasury"
        end
      end
    end
  end
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
  for i = 1, 51 do
    moves[i] = {from = "a", to = "b", asset = "coin", amount = i}
  end
  local made = postings(moves, "test")
  assert(#made == 2 and #made[1].body.entries == 100 and #made[2].body.entries == 2, "postings")
  local spends = {{type = "books.post", body = {entries = {
    {account = param("treasury", "org/treasury"), asset = "coin", amount = -1}}}}}
  assert(not authorize({type = "gov.propose", body = {procedure = "routine", commands = spends}}),
    "the treasury is not spent by routine")
  assert(authorize({type = "gov.propose", body = {procedure = "treasury", commands = spends}}),
    "the treasury is spent by treasury")
  return true
end
