-- wrk: v2 requests on a thousand keys. Argument: put, get or quorum.
local requests = {}
function init(args)
  local mode = args[1]
  local head = { ["Content-Type"] = "application/x-www-form-urlencoded" }
  local body = "value=" .. string.rep("v", 256)
  for i = 1, 1000 do
    local path = string.format("/v2/keys/bench/k%06d", i)
    if mode == "put" then
      requests[i] = wrk.format("PUT", path, head, body)
    elseif mode == "quorum" then
      requests[i] = wrk.format("GET", path .. "?quorum=true")
    else
      requests[i] = wrk.format("GET", path)
    end
  end
end
function request()
  return requests[math.random(1000)]
end
function done(summary, latency, _)
  local e = summary.errors
  io.write(string.format('RESULT {"n":%d,"rps":%.1f,"p50_us":%d,"p99_us":%d,"errors":%d}\n',
    summary.requests, summary.requests / (summary.duration / 1e6), latency:percentile(50),
    latency:percentile(99), e.status + e.connect + e.read + e.write + e.timeout))
end
