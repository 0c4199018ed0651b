-- Health of a ResilientService, for Argo CD. Must do with Lua 5.1 and no libraries: Argo CD offers no more.

local status = obj.status or {}

local function condition(kind)
  for _, each in ipairs(status.conditions or {}) do
    if each.type == kind then
      return each
    end
  end
  return {}
end

local function health(word, message)
  return { status = word, message = message }
end

local ready, stalled = condition("Ready"), condition("Stalled")

-- First of all: what was said about an older specification does not hold for this one.
if status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "the operator has not looked at this specification yet")
end
if stalled.status == "True" then
  return health("Degraded", stalled.message)
end
-- Before Ready: while suspended a service may run well, but nobody looks after it.
if obj.spec.suspend or status.phase == "Suspended" or ready.reason == "AwaitingPromotion" then
  return health("Suspended", status.explanation)
end
if ready.status == "True" then
  return health("Healthy", ready.message)
end
return health("Progressing", status.explanation)
