//! Checks of what the operator tells people, and the report of the test itself.

use std::collections::BTreeMap;
use std::time::Duration;

use stream_pipeline_api::{Reason, StreamPipelineStatus};
use stream_pipeline_core::words::is_unseen;
use testbed::Operator;
use testbed::hostile_broker::HostileBroker;

use crate::support::metrics::metrics;

/// Why a status is unfit to be read, where it is.
pub fn unfit(status: &StreamPipelineStatus) -> Option<String> {
    let of_error = status.offset_reset.as_ref().and_then(|r| r.error.as_ref()).map(|e| e.message.as_str());
    let messages = status.conditions.iter().map(|c| c.message.as_str()).chain(of_error);
    let raw = |text: &str| {
        ["Some(", "None)", "Ok(", "Err(", "\\u{", "\\x", "\\n", "panicked", "AdminError"].iter().any(|dump| text.contains(dump))
    };
    for message in messages {
        if message.is_empty() || message.len() > 8192 || message.contains(is_unseen) || raw(message) {
            return Some(format!("a message that is not fit to read: {message:?}"));
        }
    }
    let known = |reason: &str| reason.parse::<Reason>().is_ok_and(|known| known != Reason::OfAnotherVersion);
    status.conditions.iter().find(|c| !known(&c.reason)).map(|c| format!("a reason that nobody knows: {}", c.reason))
}

pub fn median_and_most(took: &[Duration]) -> String {
    let mut sorted = took.to_vec();
    sorted.sort();
    format!("{} resets, median {:.2?}, most {:.2?}", sorted.len(), sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}

pub fn listed<T: std::fmt::Display>(counts: &BTreeMap<T, usize>) -> String {
    counts.iter().map(|(what, n)| format!("{what} {n}")).collect::<Vec<_>>().join(", ")
}

pub fn attacks(hostile: &[HostileBroker]) -> String {
    let (mut by_attack, mut by_api, mut answers) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let struck: Vec<_> = hostile.iter().flat_map(HostileBroker::struck).collect();
    for one in &struck {
        *by_attack.entry(one.attack.to_string()).or_default() += 1;
        *by_api.entry(one.api.map_or_else(|| "a new connection".to_owned(), |api| format!("{api:?}"))).or_default() += 1;
    }
    for ((api, known), n) in hostile.iter().flat_map(HostileBroker::answers) {
        *answers.entry(api + if known { "" } else { " (unknown)" }).or_default() += n;
    }
    format!("{} attacks: {}\n  on {}\n  of answers {}", struck.len(), listed(&by_attack), listed(&by_api), listed(&answers))
}

/// How the processes of Kafka clients ended.
pub async fn client_ends(operator: &Operator) -> String {
    let metrics = metrics(operator).await;
    let ends: Vec<_> = metrics.lines().filter(|l| l.contains("kafka_client_ends") && !l.starts_with('#')).collect();
    if ends.is_empty() { "not counted".to_owned() } else { ends.join(", ") }
}
