-- Health of every Deployment, for Argo CD, where one that is paused for blue-green releases counts as any other.
-- It has to judge all Deployments, for Argo CD does not fall back on its own rules. Lua 5.1, no libraries.

local spec, status = obj.spec, obj.status or {}
local held = (obj.metadata.annotations or {})["resilience.dev/serving-template"] ~= nil

local function health(word, message)
  return { status = word, message = message }
end

if spec.paused and not held then
  return health("Suspended", "paused")
end
if (status.observedGeneration or 0) < obj.metadata.generation then
  return health("Progressing", "the newest specification has not been looked at yet")
end
for _, each in ipairs(status.conditions or {}) do
  if each.type == "Progressing" and each.reason == "ProgressDeadlineExceeded" then
    return health("Degraded", each.message)
  end
end

local wanted, updated = spec.replicas or 1, status.updatedReplicas or 0
local all, available = status.replicas or 0, status.availableReplicas or 0
if updated < wanted then
  return health("Progressing", updated .. " of " .. wanted .. " pods have the newest template")
end
if all > updated then
  return health("Progressing", "pods with an older template: " .. (all - updated))
end
if available < updated then
  return health("Progressing", available .. " of " .. updated .. " pods are available")
end
return health("Healthy", available .. " pods are available")
