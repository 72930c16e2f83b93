local reset = obj.spec.offsetReset
local last = nil
if obj.status ~= nil then
  last = obj.status.offsetReset
end
local current = reset ~= nil and last ~= nil and reset.id == last.id and obj.metadata.deletionTimestamp == nil

-- Only where it is not known whether the reset took effect, and it was not sent twice already.
local unknown = false
if current and last.stage == "Held" and last.error ~= nil then
  unknown = last.error.reason == "OutcomeUnknown" or last.error.reason == "AverageRateUnavailable"
end
local once = last ~= nil and (last.attempts == nil or last.attempts < 2)
local asked = reset ~= nil and reset.onUnknownOutcome == "Retry"

local actions = {}
actions["retry"] = { ["disabled"] = not (unknown and once and not asked) }
-- What is over needs no skipping.
local ended = { Verified = true, Planned = true, Sent = true, Skipped = true, Failed = true }
actions["skip"] = { ["disabled"] = not (current and not ended[last.stage]) }
return actions
