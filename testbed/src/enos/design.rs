//! Save and stage state, which the vendor's client calls and the operator never does: as much as the manual says.

use serde_json::{Value, json};

use super::Inner;
use super::answer::Answer;
use super::call::Call;
use super::effects::Refused;
use super::pipeline::Pipeline;
use super::request::Request;
use super::world::Entry;

/// The most assets times points that one call may ask for.
const POINTS: usize = 100_000;

/// Of the design a name is kept; the id `null` creates one.
pub(super) fn save(sim: &Inner, request: &Request) -> Result<Answer, Refused> {
    let (org, id) = (request.org(), request.pipeline());
    let Ok(Value::Object(body)) = serde_json::from_slice(&request.body) else { return Err(61100.into()) };
    // By the table, or by the sample.
    let name = match body.get("name").or(body.get("pipelineName")) {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name.clone()),
        Some(_) => return Err(61100.into()),
    };
    let mut world = sim.world();
    let id = if id == "null" {
        let id = format!("565c0114-0000-4372-86d1-{:012}", 900_000_000_000 + world.entries.len());
        let created = Pipeline::new(org, &id, &name.unwrap_or_default(), "PUBLISHED").unreleased();
        world.entries.push(Entry::new(created));
        id
    } else {
        let entry = world.of(org, id).ok_or(61108)?;
        entry.pipeline.name = name.unwrap_or_else(|| entry.pipeline.name.clone());
        id.to_owned()
    };
    Ok(Answer { effect: true, ..Answer::ok(json!(id)) })
}

/// No operator of a simulated pipeline keeps any.
pub(super) fn stage_state(sim: &Inner, request: &Request) -> Result<Answer, Refused> {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let field = |name: &str| match body[name].as_str() {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(Refused(61102, name.to_owned())),
    };
    let (id, _) = (field("pipelineId")?, field("stageInstanceName")?);
    let (assets, points) = (field("assetIds")?.split(',').count(), field("pointIds")?.split(',').count());
    if assets.saturating_mul(points) > POINTS {
        return Err(61105.into());
    }
    let mut world = sim.world();
    let entry = world.of(request.org(), id).ok_or(61106)?;
    match request.call {
        Call::StageStateGet => Ok(Answer::ok(json!({ "items": [] }))),
        _ if entry.is("PAUSED") => Ok(Answer { effect: true, ..Answer::ok(json!(true)) }),
        _ => Err(Refused(61199, "the pipeline is not paused".to_owned())),
    }
}
