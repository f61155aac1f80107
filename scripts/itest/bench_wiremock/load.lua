-- The requests that wrk sends, one after the other, and what it measured, as one line of JSON. Latency is in microseconds.
local json = {["Content-Type"] = "application/json"}
local turns = {
  {"GET", "/v1/health"},
  {"GET", "/v1/payments/pay_17"},
  {"POST", "/v1/payments", json, '{"order": 4711, "amount": 1200, "currency": "EUR", "items": [{"sku": "MUG", "quantity": 2}]}'},
  {"GET", "/v1/account", {["Authorization"] = "Bearer 42"}},
}
local requests, turn = {}, 0

function init()
  for number, one in ipairs(turns) do
    requests[number] = wrk.format(unpack(one, 1, 4))
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local failed = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50": %d, "p99": %d, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    failed.connect + failed.read + failed.write + failed.status + failed.timeout
  ))
end
