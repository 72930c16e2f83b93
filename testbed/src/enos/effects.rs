//! What the calls do: transitions, refusals and texts as documented.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Inner;
use super::answer::{Answer, text};
use super::call::Call;
use super::design;
use super::options::{Application, NotRunning, OtherState};
use super::pipeline::Backing;
use super::request::Request;
use super::world::Page;
use crate::kafka;

/// A code, and the status or the organisation its text carries.
pub(super) struct Refused(pub(super) i64, pub(super) String);

impl From<i64> for Refused {
    fn from(code: i64) -> Self {
        Self(code, String::new())
    }
}

/// A business call. `caller` is None for the vendor's SDK.
pub(super) async fn act(sim: &Arc<Inner>, caller: Option<&Application>, request: &Request) -> Answer {
    let done = match permitted(sim, caller, request) {
        Err(refused) => Err(refused),
        Ok(()) => match request.call {
            Call::List => list(sim, request),
            Call::Details => details(sim, request),
            Call::Lag => lag(sim, request).await,
            Call::Reset => reset(sim, request).await,
            Call::Release | Call::Start | Call::Pause | Call::Stop => change(sim, request).await,
            Call::Save => design::save(sim, request),
            Call::StageStateGet | Call::StageStateDelete => design::stage_state(sim, request),
            Call::TokenGet | Call::TokenRefresh | Call::Other => Err(Refused::from(99404)),
        },
    };
    done.unwrap_or_else(|Refused(code, state)| Answer::business(sim.options.business_errors_http, code, &text(code, request.call, &state)))
}

fn permitted(sim: &Inner, caller: Option<&Application>, request: &Request) -> Result<(), Refused> {
    let org = request.org();
    if org.is_empty() {
        return Err(99400.into());
    }
    let authorised = caller.is_none_or(|a| a.organisations.iter().any(|o| o == org));
    if !authorised || !sim.options.organisations.iter().any(|o| o.id == org) {
        return Err(Refused(99403, org.to_owned()));
    }
    Ok(())
}

/// The vendor's client writes `False`.
fn flag(request: &Request, name: &str) -> Result<bool, Refused> {
    request.param(name).map_or(Ok(false), |text| text.to_ascii_lowercase().parse().map_err(|_| 99400.into()))
}

fn positive(request: &Request, name: &str, default: usize) -> Result<usize, Refused> {
    let Some(text) = request.param(name) else { return Ok(default) };
    let number: i64 = text.parse().map_err(|_| Refused::from(99400))?;
    usize::try_from(number).ok().filter(|n| *n > 0).ok_or(61176.into())
}

fn list(sim: &Inner, request: &Request) -> Result<Answer, Refused> {
    let page = Page {
        org: request.org().to_owned(),
        size: positive(request, "pageSize", 10)?,
        number: positive(request, "pageNo", 1)?,
        system: flag(request, "isSystem")?,
        released: flag(request, "ifReleased")?,
    };
    Ok(Answer::ok(wrapped(sim, sim.world().list(&page, &sim.options))))
}

/// In the documented or the sampled shape.
fn wrapped(sim: &Inner, data: Value) -> Value {
    if sim.options.data_as_list { json!([data]) } else { data }
}

fn details(sim: &Inner, request: &Request) -> Result<Answer, Refused> {
    let released = flag(request, "ifReleased")?;
    let mut world = sim.world();
    let entry = world.of(request.org(), request.pipeline()).filter(|e| e.pipeline.released == released);
    entry.map(|e| Answer::ok(wrapped(sim, e.details()))).ok_or(61108.into())
}

async fn lag(sim: &Inner, request: &Request) -> Result<Answer, Refused> {
    let (org, id) = (request.org(), request.pipeline());
    let running = sim.world().of(org, id).ok_or(61108)?.is("RUNNING");
    match sim.options.lag_when_not_running {
        NotRunning::Code if !running => return Err(99000.into()),
        _ if running && sim.options.lag_sample.is_zero() => sim.sample(id).await.map_err(|error| failed(id, &error))?,
        _ => {}
    }
    let mut world = sim.world();
    let entry = world.of(org, id).ok_or(61108)?;
    let number = |n: i64| if sim.options.lag_as_strings { json!(n.to_string()) } else { json!(n) };
    let points = entry.samples.iter().map(|s| json!({ "lag": number(s.lag), "offset": number(s.offset), "ts": s.ts }));
    let mut points: Vec<_> = if running { points.collect() } else { Vec::new() };
    if sim.options.shuffle_lag && points.len() > 1 {
        // The newest neither first nor, of three, last.
        points.rotate_right(1);
        if points.len() > 2 {
            points.swap(0, 1);
        }
    }
    let data = json!({ "pipelineId": id, "topicName": entry.topic(), "lagAndOffset": points });
    Ok(Answer::ok(wrapped(sim, data)))
}

fn failed(id: &str, error: &str) -> Refused {
    eprintln!("simulator: pipeline {id}: {error}");
    99000.into()
}

async fn reset(sim: &Inner, request: &Request) -> Result<Answer, Refused> {
    let (org, id) = (request.org(), request.pipeline());
    let turn = Arc::clone(&sim.world().of(org, id).ok_or(61108)?.turn);
    let _turn = turn.lock().await;
    let (backing, to) = {
        let mut world = sim.world();
        let entry = world.of(org, id).ok_or(61108)?;
        let idle = (entry.is("PAUSED") || entry.is("STOPPED")) && entry.becoming != Some("RUNNING");
        if let (false, OtherState::Code(code)) = (idle, sim.options.reset_in_other_state) {
            entry.refused_resets += 1;
            return Err(Refused(code, entry.pipeline.status.clone()));
        }
        (entry.pipeline.backing.clone(), entry.pipeline.reset_to)
    };
    if let (Backing::Group { group, topic }, Some(bootstrap)) = (&backing, &sim.options.bootstrap) {
        let moved = kafka::move_offsets(bootstrap, group, topic, to == super::ResetTo::Latest).await;
        moved.map_err(|error| failed(id, &error))?;
    }
    let mut world = sim.world();
    let entry = world.of(org, id).ok_or(61108)?;
    entry.settle();
    entry.series.reset(to);
    entry.resets += 1;
    Ok(Answer::done())
}

/// The body of a start, where it is one.
fn start_body(body: &[u8]) -> Option<Value> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let mode = body.get("executionMode")?.as_i64()?;
    body.get("kafkaRate")?.as_u64().filter(|rate| (1..=u64::from(u32::MAX)).contains(rate))?;
    // The vendor's client writes `null` where none is given.
    let config = match (mode, body.get("resourceConfig").filter(|config| !config.is_null())) {
        (0 | 1, None) => true,
        // The page shows a number, the vendor's code types it as a map.
        (0, Some(config)) => config.is_object() || config.is_number(),
        (1, Some(config)) => config.is_object(),
        _ => false,
    };
    config.then_some(body)
}

async fn change(sim: &Arc<Inner>, request: &Request) -> Result<Answer, Refused> {
    let (org, id) = (request.org(), request.pipeline());
    let turn = Arc::clone(&sim.world().of(org, id).ok_or(61108)?.turn);
    let _turn = turn.lock().await;
    let body = match request.call {
        Call::Start => start_body(&request.body).ok_or(61100)?,
        _ => Value::Null,
    };
    let (to, ticket) = {
        let mut world = sim.world();
        let starting = world.is_starting(org);
        let entry = world.of(org, id).ok_or(61108)?;
        let wrong = |code| Err(Refused(code, entry.pipeline.status.clone()));
        let resources = sim.options.organisations.iter().any(|o| o.id == org && o.resources);
        let to = match request.call {
            Call::Start if !resources => return wrong(61128),
            Call::Start if starting => return wrong(61121),
            Call::Start if !entry.pipeline.released => return wrong(61165),
            Call::Start if !(entry.is("PUBLISHED") || entry.is("PAUSED") || entry.is("STOPPED")) => return wrong(61165),
            Call::Start => "RUNNING",
            Call::Pause if !entry.is("RUNNING") => return wrong(61152),
            Call::Pause => "PAUSED",
            Call::Stop if !(entry.is("RUNNING") || entry.is("PAUSED")) => return wrong(61152),
            Call::Stop => "STOPPED",
            _ if entry.pipeline.released && !(entry.is("PAUSED") || entry.is("STOPPED")) => return wrong(61169),
            _ => "PUBLISHED",
        };
        match request.call {
            Call::Start => entry.started(&body),
            Call::Release => entry.pipeline.released = true,
            _ => {}
        }
        entry.change += 1;
        entry.becoming = Some(to);
        (to, entry.change)
    };
    if sim.options.transition.is_zero() || request.call == Call::Release {
        sim.arrive(id, to, ticket).await;
    } else {
        let (sim, id) = (Arc::clone(sim), id.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(sim.options.transition).await;
            sim.arrive(&id, to, ticket).await;
        });
    }
    Ok(Answer { effect: true, ..Answer::ok(json!("")) })
}
