-- The colour of a StreamPipeline, by its conditions. The message is that of its condition Ready.
local health = { status = "Progressing", message = "the operator has not looked at this yet" }
if obj.status == nil or obj.status.conditions == nil then
  return health
end
local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end
local ready = conditions.Ready
if ready == nil or ready.observedGeneration ~= obj.metadata.generation then
  return health
end
local function is(kind, status)
  return conditions[kind] ~= nil and conditions[kind].status == status
end

health.message = ready.message
if is("Stalled", "True") then
  -- Nothing more happens until a person acts.
  health.status = "Degraded"
elseif obj.status.observedGeneration ~= obj.metadata.generation then
  -- What is said of the request is of an earlier version of the manifest.
  health.status = "Progressing"
elseif is("Reconciling", "True") then
  -- While a request waits for others to stop the pipeline, the operator has nothing to do.
  local reset = obj.status.offsetReset
  if reset ~= nil and reset.stage == "Waiting" and is("PipelineInactive", "False") then
    health.status = "Suspended"
  end
elseif ready.status == "True" then
  health.status = "Healthy"
end
return health
