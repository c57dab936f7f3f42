-- Health of a KVCluster, read from the conditions that its operator keeps.
local status = obj.status or {}

local function condition(name)
  for _, found in ipairs(status.conditions or {}) do
    if found.type == name then
      return found
    end
  end
  return {}
end

local function health(name, message)
  return { status = name, message = message or "" }
end

local ready = condition("Ready")
local stalled = condition("Stalled")
local reconciling = condition("Reconciling")
local annotations = obj.metadata.annotations or {}

if obj.metadata.deletionTimestamp ~= nil then
  return health("Progressing", "being deleted")
end
if annotations["muster.dev/paused"] == "true" then
  return health("Suspended", "reconciling is paused by the annotation muster.dev/paused")
end
if ready.status == nil or status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "the operator has not seen this version yet")
end
if stalled.status == "True" then
  return health("Degraded", stalled.message)
end
if reconciling.status == "True" then
  return health("Progressing", reconciling.message)
end
if obj.spec.suspend then
  return health("Suspended", ready.message)
end
if ready.status == "True" then
  return health("Healthy", ready.message)
end
return health("Progressing", ready.message)
