-- SPDX-License-Identifier: GPL-3.0-or-later
-- artists: shared ownership by tokens; what is published is elected; payment per feature.
--
-- Parameters (mb.params), each with what it is unless set:
--   currency     "coin"          the asset in which is paid
--   income       "org/income"    the organisation's account that earns
--   treasury     "org/treasury"  the one that pays for features
--   dividend     50              percent of the income that its owners share at each epoch
--   branch       "main"          the branch that is published: it moves by vote only
--   procedure    "feature"       the procedure that merges, and pays for what is merged
--   feature_max  0               the most that one such decision pays; 0: no limit
--
-- Who holds the asset "share" owns a part. Shares are sold and given freely, so votes do not weigh them
-- directly, or the same ones could be counted for two. At each epoch the holders are given as much of the
-- asset "vote", which is not transferable, as they have shares. A member's vote weighs the lesser of the
-- two: shares bought since count from the next epoch, shares sold count no more. Until there is the
-- asset "vote", each member weighs 1.
-- At each epoch the income is shared out: a dividend to all shares of keys, each rounded down, and the
-- rest to the treasury.
-- A feature is a proposal to the branch, by git push. A decision of the procedure "feature" has
-- vcs.merge, and with it, or not at all, what is paid from the treasury to the author of what it
-- merges. No other procedure but constitution merges, nobody merges or pushes to the branch alone, or
-- has another branch shown in its place (default_branch, which a routine vote sets), and the treasury
-- is spent otherwise by the procedure treasury.
-- Proposals make what this needs: the assets, both accounts, the procedure. Where an asset is missing,
-- its part rests.
-- One epoch has room for 1,000 owners; where there are more, nothing is shared out or counted in it, and
-- the ledger shows why.

local MOVES = 250 -- of one posting

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
      table.insert(found, {account = account, amount = item.value})
    end
    if #page < 1000 then return found end
    after = page[#page].key
  end
end

-- Postings that move an asset between one account and at most MOVES others each.
local function postings(one, asset, moves, memo)
  local commands = {}
  for first = 1, #moves, MOVES do
    local own = {account = one, asset = asset, amount = 0}
    local entries = {own}
    for i = first, first + MOVES - 1 do
      local m = moves[i]
      if not m then break end
      own.amount = own.amount - m.amount
      table.insert(entries, {account = m.account, asset = asset, amount = m.amount})
    end
    table.insert(commands, {type = "books.post", body = {entries = entries, memo = memo}})
  end
  return commands
end

local function append(to, from)
  for _, item in ipairs(from) do table.insert(to, item) end
end

-- What is issued and what is burnt, for votes to be as many as shares; both in the order of accounts.
local function differences(shares, votes)
  local less, more, i, k = {}, {}, 1, 1
  while shares[i] or votes[k] do
    local s, v, by = shares[i], votes[k], 0
    local account = (not v or s and s.account < v.account) and s.account or v.account
    if s and s.account == account then by, i = s.amount, i + 1 end
    if v and v.account == account then by, k = by - v.amount, k + 1 end
    if by ~= 0 then table.insert(by > 0 and more or less, {account = account, amount = by}) end
  end
  return less, more
end

-- What each owner gets of an income, and what is left for the treasury.
local function dividends(shares, income)
  local total, moves, left = 0, {}, income
  for _, s in ipairs(shares) do total = total + s.amount end
  local pool = mb.muldiv(income, param("dividend", 50), 100)
  for _, s in ipairs(shares) do
    local amount = mb.muldiv(pool, s.amount, total)
    if amount > 0 then
      table.insert(moves, {account = s.account, amount = amount})
      left = left - amount
    end
  end
  return moves, left
end

function on_epoch(n)
  local commands, shares = {}, holders("share")
  local currency, income = param("currency", "coin"), param("income", "org/income")
  local earned = balance(currency, income)
  if earned > 0 then
    local moves, left = dividends(shares, earned)
    if left > 0 then
      table.insert(moves, {account = param("treasury", "org/treasury"), amount = left})
    end
    append(commands, postings(income, currency, moves, "income of epoch " .. n))
  end
  if mb.get("books/asset/vote") then
    local less, more = differences(shares, holders("vote"))
    append(commands, postings("issue/vote", "vote", less, "shares sold"))
    append(commands, postings("issue/vote", "vote", more, "shares bought"))
  end
  return commands
end

function weight(member, procedure)
  local account = "key/" .. member
  if not mb.get("books/asset/vote") then return 1 end
  local shares, votes = balance("share", account), balance("vote", account)
  return shares < votes and shares or votes
end

-- The author of the proposal that a vcs.merge is about, or nil.
local function author_of(body)
  if type(body.repo) ~= "string" or type(body.proposal) ~= "number" or body.proposal < 0 then
    return nil
  end
  local digits = tostring(body.proposal)
  local number = string.rep("0", 10 - string.len(digits)) .. digits
  local proposal = mb.get("vcs/proposal/" .. body.repo .. "/" .. number)
  return proposal and proposal.author
end

local function entries_of(command)
  local entries = command.body.entries
  return command.type == "books.post" and type(entries) == "table" and entries or {}
end

-- One decision: merges, and payments to the authors of what is merged.
local function check_feature(commands, author)
  local authors, merged, paid = {}, false, 0
  for _, c in ipairs(commands) do
    if c.type == "vcs.merge" then
      local who = author(c.body)
      if not who then return false, "there is no such proposal to merge" end
      merged, authors["key/" .. who] = true, true
    elseif c.type ~= "books.post" then
      return false, "a feature is merged and paid for, no more"
    end
  end
  if not merged then return false, "only what is merged is paid for" end
  for _, c in ipairs(commands) do
    for _, e in ipairs(entries_of(c)) do
      if e.asset ~= param("currency", "coin") then
        return false, "a feature is paid in " .. param("currency", "coin")
      elseif e.amount < 0 and e.account ~= param("treasury", "org/treasury") then
        return false, "a feature is paid from " .. param("treasury", "org/treasury")
      elseif e.amount > 0 and not authors[e.account] then
        return false, "a feature is paid to its author"
      end
      if e.amount > 0 then paid = paid + e.amount end
    end
  end
  local most = param("feature_max", 0)
  if most > 0 and paid > most then
    return false, "a feature is paid " .. paid .. ", over feature_max, " .. most
  end
  return true
end

-- What other procedures do not decide.
local function check_other(commands, procedure)
  for _, c in ipairs(commands) do
    if c.type == "vcs.merge" then
      return false, "merging takes the procedure " .. param("procedure", "feature")
    end
    for _, e in ipairs(entries_of(c)) do
      if procedure ~= "treasury" and e.account == param("treasury", "org/treasury") and e.amount < 0 then
        return false, "spending from the treasury takes the procedure treasury"
      end
    end
  end
  return true
end

-- Lists of commands, of whatever form: those of a proposal, and those of each of its options.
local function well_formed(commands)
  if type(commands) ~= "table" then return false end
  for _, c in ipairs(commands) do
    if type(c) ~= "table" or type(c.body) ~= "table" then return false end
    for _, e in ipairs(entries_of(c)) do
      if type(e) ~= "table" or type(e.amount) ~= "number" then return false end
    end
  end
  return true
end

local function check_decision(body, commands, author)
  if not well_formed(commands) then return false, "these are no commands" end
  if #commands == 0 then return true end
  if body.procedure == param("procedure", "feature") then return check_feature(commands, author) end
  return check_other(commands, body.procedure)
end

local function check_proposal(body, author)
  local good, why = check_decision(body, body.commands or {}, author)
  for _, option in ipairs(type(body.options) == "table" and body.options or {}) do
    if not good then break end
    good, why = check_decision(body, type(option) == "table" and option.commands or {}, author)
  end
  return good, why
end

-- Whether a push moves the branch that is published, which it may only make.
local function moves_branch(certificate)
  local branch = string.gsub(param("branch", "main"), "%W", "%%%0")
  local old = string.match(certificate, "\n(%x+) %x+ refs/heads/" .. branch .. "\n")
  return old ~= nil and string.find(old, "[^0]") ~= nil
end

function authorize(command, signer)
  local body = command.body
  if command.type == "gov.propose" then return check_proposal(body, author_of) end
  if command.type == "vcs.merge" then return false, "what is merged is voted on" end
  if command.type == "vcs.repo.set" and body.default_branch ~= nil then
    return false, "which branch is shown is voted on"
  end
  if command.type == "vcs.push" and body.certificate and moves_branch(body.certificate) then
    return false, param("branch", "main") .. " moves by vote: propose it to refs/for/" ..
      param("branch", "main")
  end
  return true
end

local function check_params()
  local dividend = param("dividend", 50)
  if dividend < 0 or dividend > 100 then return false, "dividend is 0 to 100" end
  if param("feature_max", 0) < 0 then return false, "feature_max is at least 0" end
  if param("procedure", "feature") == "constitution" then
    return false, "procedure is another than constitution"
  end
  return true
end

local function test_shares()
  local shares = {{account = "key/a", amount = 60}, {account = "key/b", amount = 30},
    {account = "key/c", amount = 5}}
  local votes = {{account = "key/b", amount = 40}, {account = "key/c", amount = 5},
    {account = "key/d", amount = 7}}
  local less, more = differences(shares, votes)
  assert(#more == 1 and more[1].account == "key/a" and more[1].amount == 60, "votes given")
  assert(#less == 2 and less[1].amount == -10 and less[2].amount == -7, "votes taken")
  local moves, left = dividends(shares, 1000)
  local sum = left
  for _, m in ipairs(moves) do sum = sum + m.amount end
  assert(sum == 1000, "the income is shared out, all of it")
  moves, left = dividends({}, 9)
  assert(#moves == 0 and left == 9, "without owners the treasury has it")
  local many = {}
  for i = 1, MOVES + 1 do many[i] = {account = "key/" .. i, amount = 2} end
  local made = postings("org/x", "coin", many, "test")
  assert(#made == 2 and made[1].body.entries[1].amount == -2 * MOVES and
    #made[2].body.entries == 2, "postings")
end

local function test_decisions()
  local currency, treasury = param("currency", "coin"), param("treasury", "org/treasury")
  local merge = {type = "vcs.merge", body = {repo = "r", proposal = 1}}
  local function pays(to, amount)
    return {type = "books.post", body = {entries = {
      {account = treasury, asset = currency, amount = -amount},
      {account = to, asset = currency, amount = amount}}}}
  end
  local function author(body) return body.proposal == 1 and "a" or nil end
  local function allowed(procedure, commands)
    return (check_proposal({procedure = procedure, commands = commands}, author))
  end
  local feature = param("procedure", "feature")
  assert(allowed(feature, {merge, pays("key/a", 1)}), "a feature is merged and paid for")
  assert(allowed(feature, {merge}), "or given")
  assert(not allowed(feature, {pays("key/a", 1)}), "no merge, no pay")
  assert(not allowed(feature, {merge, pays("key/b", 1)}), "only its author is paid")
  assert(not allowed("routine", {merge}), "merging takes its procedure")
  assert(not allowed("routine", {pays("key/b", 1)}), "routine does not spend")
  assert(not check_proposal({procedure = feature, options = {{commands = {merge}},
    {commands = {pays("key/a", 1)}}}}, author), "each option is a feature")
end

function selftest()
  local good, why = check_params()
  if not good then return false, why end
  test_shares()
  test_decisions()
  local line = " 22ff refs/heads/" .. param("branch", "main") .. "\n"
  local other = {type = "vcs.repo.set", body = {name = "r", default_branch = "mine"}}
  local title = {type = "vcs.repo.set", body = {name = "r", title = "R"}}
  assert(not authorize(other, "a") and authorize(title, "a"), "the branch that is shown")
  assert(moves_branch("nonce x\n\n11ff" .. line) and not moves_branch("\n0000" .. line), "the branch")
  return true
end
