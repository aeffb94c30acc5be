-- SPDX-License-Identifier: GPL-3.0-or-later
-- For tests/agree: a rulebook that has much of the cage at work in every call.

local function balance(asset, account)
  return mb.get("books/balance/" .. asset .. "/" .. account) or 0
end

-- A number from a text: polynomial, with integers that wrap around.
local function digest(text)
  local sum = 7
  for i = 1, string.len(text) do sum = sum * 1000003 + string.byte(text, i) end
  return sum & 0x7fffffff
end

-- Keys and values in pairs() order, whatever they are.
local function flat(value, depth)
  if type(value) ~= "table" then return tostring(value) end
  if depth == 0 then return "..." end
  local parts = {}
  for k, v in pairs(value) do table.insert(parts, tostring(k) .. "=" .. flat(v, depth - 1)) end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function memo(command)
  local text = command.body.memo
  return type(text) == "string" and text or ""
end

function authorize(command, signer)
  local text = memo(command)
  if string.find(text, "^no ") then return false, string.format("%s: %d", text, #text) end
  if text == "loop" then while true do end end
  if text == "grow" then
    local t = {}
    while true do t[#t + 1] = string.rep(text, #t + 1) end
  end
  if text == "fail" then error(text .. signer) end
  if text == "odd" then return balance end
  if command.type == "toy.org" and balance("rep", "key/" .. signer) > 0 then return "grant" end
  return true
end

function weight(member, procedure)
  local stake = balance("coin", "key/" .. member)
  local w = mb.muldiv(balance("rep", "key/" .. member), 7, 3) + mb.muldiv(stake, stake, stake + 1000)
  if procedure == "ranked" then w = w + digest(member) % 5 end
  return w < 1000 and w or 1000
end

local function holders()
  local found = {}
  for _, item in ipairs(mb.scan("books/balance/coin/key/")) do
    table.insert(found, {name = string.gsub(item.key, "^books/balance/coin/", ""), amount = item.value})
  end
  table.sort(found, function(a, b) return a.amount > b.amount end)
  return found
end

-- Interest for the twenty richest, and a note of what the state was.
function on_epoch(n)
  local rich, entries, sum, commands = holders(), {}, 0, {}
  for i = 1, #rich < 20 and #rich or 20 do
    local interest = mb.muldiv(rich[i].amount, mb.params.fee or 1, 100) + 1
    if interest > 0 then
      sum = sum + interest
      table.insert(entries, {account = rich[i].name, asset = "coin", amount = interest})
    end
  end
  if sum > 0 then
    table.insert(entries, {account = "issue/coin", asset = "coin", amount = -sum})
    table.insert(commands, {type = "books.post", body = {entries = entries, memo = "interest " .. n}})
  end
  local seen = flat(mb.scan("books/asset/", nil, 10), 3) .. flat(mb.scan("gov/proposal/", nil, 5), 4)
  table.insert(commands, {type = "toy.put", body = {key = "epoch" .. n % 8, value = {
    digest = digest(seen), text = string.format("%08x %s", digest(seen), string.upper(string.sub(seen, 1, 40)))}}})
  return commands
end

-- Counts results by type and code.
function on_applied(command, result)
  local code = result.ok and "ok" or result.error.code
  local words = {}
  for word in string.gmatch(command.type .. "." .. code, "[%a_]+") do table.insert(words, word) end
  table.sort(words)
  local key = "count/" .. table.concat(words, "/")
  if digest(command.id) % 4 ~= 0 then return end
  local was = mb.get("toy/" .. key)
  return {{type = "toy.put", body = {key = key,
    value = {n = (was and was.n or 0) + 1, body = digest(flat(command.body, 4)), of = mb.slot}}}}
end

function selftest()
  local t = {}
  for i = 1, 200 do t[i] = digest("x" .. i) end
  table.sort(t)
  for i = 2, #t do assert(t[i - 1] <= t[i]) end
  assert(mb.muldiv(9223372036854775807, 3, 9223372036854775807) == 3)
  return type(mb.params.fee or 1) == "number"
end
