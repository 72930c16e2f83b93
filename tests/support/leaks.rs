//! Where a secret could be shown, and the search for it.

use kube::api::ListParams;
use serde_json::json;

use crate::support::metrics::metrics;
use crate::support::world::World;

/// As a Secret shows it.
pub fn base64(bytes: &[u8]) -> String {
    let value = serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())).expect("a string");
    value.as_str().expect("a string").to_owned()
}

/// As a URL shows it.
pub fn percent(text: &str) -> String {
    let escape = |b: u8| if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(escape).collect()
}

/// All that the operator shows to people, each with its name: its log, its metrics, and what it writes to the API server.
pub async fn places(world: &mut World) -> [(&'static str, String); 5] {
    let (log, metrics) = (world.operator().log(), metrics(world.operator()).await);
    let pipelines = world.pipelines().list(&ListParams::default()).await.expect("pipelines can be listed").items;
    [
        ("log", log),
        ("metrics", metrics),
        ("pipelines", json!(pipelines).to_string()),
        ("records", json!(world.all_records().await).to_string()),
        ("events", json!(world.events().await).to_string()),
    ]
}

/// Where one of these secrets is shown, in whatever way it can be written, in capitals or not.
pub fn shown(places: &[(&str, String)], secrets: &[String]) -> Vec<String> {
    let mut shown = Vec::new();
    for (place, text) in places {
        let lower = text.to_lowercase();
        for secret in secrets {
            let quoted = json!(secret).to_string();
            let forms = [
                secret.clone(),
                base64(secret.as_bytes()),
                percent(secret),
                quoted.trim_matches('"').to_owned(),
                format!("{secret:?}").trim_matches('"').to_owned(),
            ];
            for form in forms {
                if let Some(at) = lower.find(&form.to_lowercase()) {
                    let around: String = lower[..at].chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
                    shown.push(format!("{place}: {form}: after {around}"));
                }
            }
        }
    }
    shown.dedup();
    shown
}
