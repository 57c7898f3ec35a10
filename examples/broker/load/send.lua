-- What wrk sends: messages to four agents in turn, on each connection with a pause of so many milliseconds after an answer (the first
-- argument). Counts answers that are not 201.
wrk.method = "POST"
wrk.body = string.rep("x", 200)

local number = 0
request = function()
  number = number + 1
  return wrk.format(nil, "/agents/agent-" .. number % 4 .. "/send")
end

local pause = 0
init = function(arguments)
  pause = tonumber(arguments[1] or "0")
end
delay = function()
  return pause
end

local threads = {}
setup = function(thread)
  table.insert(threads, thread)
end

refused = 0
response = function(status)
  if status ~= 201 then
    refused = refused + 1
  end
end

done = function(summary, latency)
  local all = 0
  for _, thread in ipairs(threads) do
    all = all + thread:get("refused")
  end
  local ms = function(percentile) return latency:percentile(percentile) / 1000 end
  print(string.format("sent %d in %.1f s, %.0f a second; p50 %.3f ms, p99 %.3f ms, p99.9 %.3f ms, max %.3f ms; not 201: %d, socket errors: %d",
    summary.requests, summary.duration / 1e6, summary.requests / (summary.duration / 1e6), ms(50), ms(99), ms(99.9), latency.max / 1000,
    all, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
  if all + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout > 0 then
    os.exit(1)
  end
end
