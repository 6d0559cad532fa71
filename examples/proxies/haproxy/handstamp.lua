-- Asks Handstamp whether a request may pass, and goes by its answer: who it is, in headers for the application, or the
-- refusal as Handstamp words it.

local HANDSTAMP = "http://127.0.0.1:7412/v1/forward-auth"
local TIMEOUT = 2000 -- milliseconds

-- What Handstamp is shown of the client's request, and what the application is told.
local SHOWN = {
  "cookie", "authorization", "session", "user-agent", "accept", "sec-fetch-mode", "sec-fetch-site", "origin",
  "x-xsrf-token", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
}
local TOLD = { "x-session-id", "x-session-user", "x-session-tags", "x-session-groups", "x-session-data" }
-- What the client is told of an answer that lets its request pass: header, and the variable that haproxy.cfg reads.
local DELIVERED = {
  ["set-cookie"] = "txn.handstamp_cookie",
  ["x-ratelimit-limit"] = "txn.handstamp_limit",
  ["x-ratelimit-remaining"] = "txn.handstamp_remaining",
  ["x-ratelimit-reset"] = "txn.handstamp_reset",
}
-- What belongs to the connection between HAProxy and Handstamp, and not to the client's.
local HOPS = { ["connection"] = true, ["keep-alive"] = true, ["transfer-encoding"] = true, ["content-length"] = true }

local function refuse(txn, status, headers, body)
  local reply = txn:reply({ status = status, body = body })
  for name, values in pairs(headers or {}) do
    for _, value in pairs(values) do
      if not HOPS[name] then reply:add_header(name, value) end
    end
  end
  txn:done(reply)
end

core.register_action("handstamp", { "http-req" }, function(txn, parameters)
  local sent = txn.http:req_get_headers()
  local shown = {}
  for _, name in ipairs(SHOWN) do
    if sent[name] then
      shown[name] = {}
      for _, value in pairs(sent[name]) do table.insert(shown[name], value) end
    end
  end
  shown["x-forwarded-method"] = { txn.sf:method() }
  shown["x-forwarded-uri"] = { txn.sf:pathq() }

  local answer = core.httpclient():get({ url = HANDSTAMP .. parameters, headers = shown, timeout = TIMEOUT })
  if answer == nil or answer.status == nil or answer.status == 0 then
    -- Nobody passes whom Handstamp could not be asked about.
    return refuse(txn, 503, {}, "")
  end
  if answer.status ~= 200 then
    return refuse(txn, answer.status, answer.headers, answer.body)
  end
  for _, name in ipairs(TOLD) do
    local value = answer.headers[name] and answer.headers[name][0] or ""
    txn.http:req_set_header(name, value)
  end
  for name, variable in pairs(DELIVERED) do
    local values = answer.headers[name]
    if values then txn:set_var(variable, values[0]) end
  end
end, 1)
