-- SPDX-License-Identifier: GPL-3.0-or-later
-- makerspace: passes that members pay for, certifications that end by themselves, machines and doors.
--
-- Parameters (mb.params), each with what it is unless set:
--   currency      "coin"           the asset in which is paid
--   treasury      "org/treasury"   the organisation's account that is paid
--   pass_price    0                what a pass costs for an epoch, in the smallest unit; 0: none is sold
--   pass_epochs   12               for how many epochs ahead a pass is sold at most
--   cert_epochs   52               for how many epochs ahead a trainer certifies at most
--
-- Assets that proposals or founders make, none of them transferable or decaying, the organisation their
-- issuer:
--   pass          whoever holds N may come in for this epoch and N - 1 more
--   cert-X        whoever holds N is certified for the machine X for as long
--   trainer-X     whoever holds it, and is a member, certifies others for X, and takes that back
--   device-X      the key of the machine or door X holds it, and records who used it
--   visit-X       how often a key used X
-- Where an asset is missing, its part rests.
--
-- Each epoch takes one of pass and of each cert-X from whoever holds some. One epoch has room for 3,000
-- holdings: a trainer begins no more than these. Where proposals or founders issued more, nothing is taken
-- in that epoch, and the ledger shows why.
-- A member who pays into the treasury gets a pass for as many whole epochs as that pays for; a payment for
-- more than pass_epochs ahead buys up to that, and the rest is a gift.
-- A trainer certifies by a posting of one member and one asset alone, from issue/cert-X; nobody certifies
-- their own key. A device records a visit by a posting of 1 from issue/visit-X. It is not refused where the
-- pass or the certification ended meanwhile: it tells what happened.
-- The door itself decides by `magicbiz access check`, without a network: see magicbiz(1).

local HOLDINGS = 3000
local ENTRIES = 256 -- of one posting

local function param(name, default)
  local value = mb.params[name]
  if value == nil then return default end
  return value
end

local function balance(asset, account)
  return mb.get("books/balance/" .. asset .. "/" .. account) or 0
end

-- The organisation alone issues it and takes it back.
local function is_ours(asset)
  local a = mb.get("books/asset/" .. asset)
  return a and a.issuer == "org" and a.transferable == 0 and a.half_life_epochs == 0
end

-- The names of the assets that end by themselves.
local function expiring()
  local names = {}
  if is_ours("pass") then table.insert(names, "pass") end
  for _, item in ipairs(mb.scan("books/asset/cert-")) do
    local name = string.sub(item.key, string.len("books/asset/") + 1)
    if is_ours(name) then table.insert(names, name) end
  end
  return names
end

-- Calls f(asset, account) for each holding that ends by itself.
local function each_holding(f)
  for _, asset in ipairs(expiring()) do
    local prefix, after = "books/balance/" .. asset .. "/", nil
    while true do
      local page = mb.scan(prefix .. "key/", after)
      for _, item in ipairs(page) do f(asset, string.sub(item.key, string.len(prefix) + 1)) end
      if #page < 1000 then break end
      after = page[#page].key
    end
  end
end

function on_epoch(n)
  local commands, count, entries, totals = {}, 0, nil, nil
  each_holding(function(asset, account)
    count = count + 1
    if not entries or #entries + 2 > ENTRIES then
      entries, totals = {}, {}
      table.insert(commands, {type = "books.post", body = {entries = entries, memo = "epoch " .. n}})
    end
    if not totals[asset] then
      totals[asset] = {account = "issue/" .. asset, asset = asset, amount = 0}
      table.insert(entries, totals[asset])
    end
    totals[asset].amount = totals[asset].amount + 1
    table.insert(entries, {account = account, asset = asset, amount = -1})
  end)
  if count > HOLDINGS then error("too many holdings that end by themselves: " .. count) end
  return commands
end

local function issue(asset, account, amount, memo)
  return {type = "books.post", body = {memo = memo, entries = {
    {account = "issue/" .. asset, asset = asset, amount = -amount},
    {account = account, asset = asset, amount = amount},
  }}}
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
  local price = param("pass_price", 0)
  if not result.ok or command.type ~= "books.post" or price <= 0 or not is_ours("pass") then return end
  local account = "key/" .. command.signer
  if balance("member", account) == 0 then return end
  local epochs = paid_in(command.body.entries, account) // price
  local room = param("pass_epochs", 12) - balance("pass", account)
  if epochs > room then epochs = room end
  if epochs > 0 then return {issue("pass", account, epochs, "pass")} end
end

-- Of a posting that is one issue to, or one burn from, one account: its asset, account and amount.
local function issued(entries)
  if type(entries) ~= "table" or #entries ~= 2 then return end
  local from, to = entries[1], entries[2]
  if type(from) ~= "table" or type(to) ~= "table" then return end
  if type(from.account) == "string" and string.sub(from.account, 1, 6) ~= "issue/" then
    from, to = to, from
  end
  local asset = from.asset
  if type(asset) ~= "string" or to.asset ~= asset or from.account ~= "issue/" .. asset then return end
  if type(to.account) ~= "string" or type(to.amount) ~= "number" or type(from.amount) ~= "number" then
    return
  end
  if from.amount + to.amount ~= 0 then return end
  return asset, to.account, to.amount
end

local function certify(asset, account, amount, signer)
  if account == "key/" .. signer then return false, "nobody certifies their own key" end
  if amount < 0 then return "grant" end
  if balance("member", account) == 0 then return false, "only members are certified" end
  local most, has = param("cert_epochs", 52), balance(asset, account)
  if amount > most - has then
    return false, "certified for " .. most .. " epochs ahead at most, and " .. has .. " are there"
  end
  local count = 0
  if has == 0 then each_holding(function() count = count + 1 end) end
  if count >= HOLDINGS then return false, "there is room for " .. HOLDINGS .. " holdings" end
  return "grant"
end

function authorize(command, signer)
  if command.type ~= "books.post" then return true end
  local asset, account, amount = issued(command.body.entries)
  if not asset then return true end
  local kind, name = string.match(asset, "^(%l+)%-(.+)$")
  local own = "key/" .. signer
  if kind == "cert" and balance("trainer-" .. name, own) > 0 and balance("member", own) > 0 and
    is_ours(asset) then
    return certify(asset, account, amount, signer)
  end
  if kind == "visit" and amount == 1 and balance("device-" .. name, own) > 0 and is_ours(asset) then
    return "grant"
  end
  return true
end

-- One member, one vote.
function weight(member, procedure)
  return balance("member", "key/" .. member) > 0 and 1 or 0
end

function selftest()
  if param("pass_price", 0) < 0 then return false, "pass_price is at least 0" end
  for _, name in ipairs({"pass_epochs", "cert_epochs"}) do
    if param(name, 1) < 1 then return false, name .. " is at least 1" end
  end
  local made = issue("cert-x", "key/a", 3, "").body.entries
  local asset, account, amount = issued(made)
  assert(asset == "cert-x" and account == "key/a" and amount == 3, "an issue is seen")
  asset, account, amount = issued({made[2], made[1]})
  assert(asset == "cert-x" and account == "key/a" and amount == 3, "in any order")
  assert(not issued({made[1]}) and not issued({made[1], made[1], made[2]}) and not issued(nil),
    "and nothing else")
  assert(not issued({made[1], {account = "key/a", asset = "coin", amount = 3}}), "of one asset")
  local currency, treasury = param("currency", "coin"), param("treasury", "org/treasury")
  local entries = {{account = "key/a", asset = currency, amount = -9},
    {account = "key/b", asset = currency, amount = 2}, {account = treasury, asset = currency, amount = 7}}
  assert(paid_in(entries, "key/a") == 7 and paid_in(entries, "key/b") == 0, "what was paid in")
  return true
end
