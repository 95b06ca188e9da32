-- Tables, closures, strings, patterns, coroutines, errors, metatables, floats; the argument repeats it all.
local function sieve(n)
  local composite, count = {}, 0
  for i = 2, n do
    if not composite[i] then
      count = count + 1
      for j = i * i, n, i do composite[j] = true end
    end
  end
  return count
end

local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end

local function words()
  local text, seen, order = string.rep("the quick brown fox, jumps over the lazy dog; ", 200), {}, {}
  for word in text:gmatch("%a+") do
    if not seen[word] then order[#order + 1] = word end
    seen[word] = (seen[word] or 0) + 1
  end
  table.sort(order, function(a, b) return seen[a] > seen[b] or seen[a] == seen[b] and a < b end)
  return table.concat(order, " ") .. text:gsub("%a+", string.upper):sub(1, 30)
end

local function errors()
  local caught = 0
  for i = 1, 300 do
    local ok, message = pcall(function()
      if i % 3 == 0 then error({ code = i }) elseif i % 3 == 1 then local t = nil; return t.x end
      return i
    end)
    if not ok then caught = caught + (type(message) == "table" and message.code or #message) end
  end
  return caught
end

local function generator(n)
  return coroutine.wrap(function() for i = 1, n do coroutine.yield(i * i % 97) end end)
end

local vector = {}
vector.__index = vector
vector.__add = function(a, b) return setmetatable({ x = a.x + b.x, y = a.y + b.y }, vector) end

for round = 1, tonumber(arg[1] or 1) do
  print(sieve(30000), fib(21), words(), errors())
  local sum, point = 0, setmetatable({ x = 0, y = 0 }, vector)
  for value in generator(3000) do
    sum = sum + value
    point = point + setmetatable({ x = value, y = value / 3 }, vector)
  end
  print(sum, string.format("%.6f %.6f %d", point.x, point.y, #tostring(point.y)))
  local rows = {}
  for i = 1, 3000 do rows[i] = { (i * 7919) % 3001, tostring(i):reverse() } end
  table.sort(rows, function(a, b) return a[1] < b[1] end)
  print(rows[1][2], rows[1500][2], math.floor(math.sin(round) * 1e9), string.pack("<i4d", round, 0.5):byte(1, -1))
  print(select("#", table.unpack(rows, 1, 200)), load("return 6 * 7")(), utf8.char(228, 8364), collectgarbage("count") > 0)
end
