//! Which calls a reset makes, and how each of them can go wrong.

use std::time::Duration;

use stream_pipeline_api::FINALIZER;
use testbed::wire::{Fate, Passing};

/// A call, and how many writes of the reset had been made, itself included.
pub type Point = (usize, &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    CrashBefore,
    CrashAfter,
    Wire(Fate),
}

/// Which calls a reset makes: None for those that have nothing to do with one.
pub fn kind(call: &Passing) -> Option<&'static str> {
    let (path, body) = (call.path.as_str(), call.body.as_str());
    let named = |plural: &str| path.split(&format!("/{plural}/")).nth(1).is_some();
    Some(match (call.method.as_str(), path) {
        _ if call.query.contains("watch=") => return None,
        (_, p) if p.contains("/token/") => "token",
        ("GET", p) if p.ends_with("/streaming/pipelines") => "list",
        ("GET", p) if p.ends_with("/offset-lag") => "lag",
        ("POST", p) if p.ends_with("/offset") => "reset",
        ("POST", p) if p.contains("/streaming/pipeline/") && call.query.contains("action=pause") => "pause",
        ("POST", p) if p.contains("/streaming/pipeline/") && call.query.contains("action=start") => "start",
        ("GET", p) if p.contains("/secrets/") => "read Secret",
        ("POST", p) if p.contains("/events") => "event",
        ("POST", p) if p.ends_with("/offsetresetrecords") => "create record",
        ("GET", p) if p.ends_with("/offsetresetrecords") && call.query.contains("labelSelector") => "list records",
        ("GET", _) if named("offsetresetrecords") => "read record",
        ("PATCH", p) if named("offsetresetrecords") && p.ends_with("/status") && body.contains("\"phase\"") => "close",
        ("PATCH", p) if named("offsetresetrecords") && p.ends_with("/status") => "note brought back",
        ("PATCH", _) if named("offsetresetrecords") && body.contains("\"plan\":null") => "unload",
        ("PATCH", _) if named("offsetresetrecords") => "put plan",
        ("GET", _) if named("streampipelines") => "read object",
        ("PATCH", _) if named("streampipelines") && body.contains(FINALIZER) => "finalizer on",
        ("PATCH", _) if named("streampipelines") => "finalizer off",
        ("PUT", p) if p.ends_with("/status") => "status",
        _ => return None,
    })
}

/// Writes that move a reset on, each of them once where nothing goes wrong.
pub fn moves_on(kind: &str) -> bool {
    matches!(
        kind,
        "finalizer on"
            | "create record"
            | "pause"
            | "put plan"
            | "unload"
            | "reset"
            | "close"
            | "start"
            | "note brought back"
            | "finalizer off"
    )
}

pub fn writes(kind: &str) -> bool {
    moves_on(kind) || matches!(kind, "status" | "event" | "token")
}

/// Every way in which such a call can go wrong.
pub fn faults(kind: &str) -> Vec<Fault> {
    use Fate::*;
    if !writes(kind) {
        // A read has no effect to be before or after.
        return [Fault::CrashBefore].into_iter().chain([ErrorBefore, HangBefore, DropBefore, Stale].map(Fault::Wire)).collect();
    }
    let mut all = vec![Fault::CrashBefore, Fault::CrashAfter];
    all.extend([ErrorBefore, ErrorAfter, HangBefore, HangAfter, DropBefore, DropAfter, Late(Duration::from_millis(2300))].map(Fault::Wire));
    if kind != "reset" {
        // A network that repeats the reset itself would carry it out twice, which nobody can prevent.
        all.push(Fault::Wire(Twice));
    }
    all
}
