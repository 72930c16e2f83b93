//! What the tests about "once" ask of the world: restarts, looks counted, writes counted, events and records.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};
use stream_pipeline_operator::api::{OffsetResetRecord, Reason, RecordPhase, StreamPipelineStatus};
use testbed::{Operator, RELEASE, SYSTEM_NAMESPACE, eventually, kafka};

use crate::support::world::{LIMIT, World, condition, says};

/// One line of the log per look, also where nothing is new.
pub const CHATTY: &str = "--log-filter=info,stream_pipeline_operator=debug";

pub fn ask(id: &str, position: &str) -> Value {
    json!({ "id": id, "quietPeriod": "0s", "to": { "position": position } })
}

pub fn with(mut request: Value, field: &str, value: Value) -> Value {
    request[field] = value;
    request
}

pub fn from_now(seconds: i64) -> Value {
    json!(Timestamp::now().checked_add(SignedDuration::from_secs(seconds)).expect("a time").to_string())
}

impl World {
    /// A restart; the new process says each look.
    pub fn restart(&mut self) {
        self.kill_operator();
        self.start_operator_with(&[CHATTY]);
    }

    /// Waits until the operator, which was started by [`World::restart`], has looked so often since now and decided.
    pub async fn looks(&mut self, name: &str, more: usize) {
        let operator: &Operator = self.operator();
        let named = format!("name=\"{name}\"");
        let count = || operator.log().lines().filter(|l| l.contains("Decided: ") && l.contains(&named)).count();
        let had = count();
        eventually("the operator to look again", LIMIT, async || match count() {
            n if n >= had + more => Ok(()),
            n => Err(format!("{} looks of {more}", n - had)),
        })
        .await;
    }

    /// What the operator has written in this namespace, by the API server's own audit log.
    pub fn writes(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.testbed.cluster.audit_log()).expect("the audit log is there");
        let user = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{RELEASE}");
        let ours = |line: &Value| line["user"]["username"] == json!(user) && line["objectRef"]["namespace"] == json!(self.namespace.name());
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(ours).map(|l| format!("{} {} {}", l["verb"], l["requestURI"], l["responseStatus"]["code"])).collect()
    }

    /// When its patches of what is named so were refused, oldest first.
    pub fn refused_at(&self, path: &str) -> Vec<Timestamp> {
        let log = std::fs::read_to_string(self.testbed.cluster.audit_log()).expect("the audit log is there");
        let user = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{RELEASE}");
        let uri = |line: &Value| line["requestURI"].as_str().unwrap_or_default().to_owned();
        let ours = |line: &Value| {
            let here = uri(line).contains(self.namespace.name()) && uri(line).split('?').next().is_some_and(|at| at.ends_with(path));
            line["user"]["username"] == json!(user) && here && line["responseStatus"]["code"].as_i64() >= Some(400)
        };
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(ours);
        lines.filter_map(|line| line["requestReceivedTimestamp"].as_str()?.parse().ok()).collect()
    }

    pub async fn version(&self, name: &str) -> Option<String> {
        self.pipelines().get(name).await.expect("the object is there").resource_version()
    }

    /// What a person is told who waits for success.
    pub fn is_green(&self, name: &str) -> bool {
        let waits = ["wait", &format!("sp/{name}"), "-n", self.namespace.name(), "--for=condition=OffsetsReset=True", "--timeout=2s"];
        self.testbed.kubectl(&waits).status.success()
    }

    pub async fn delete(&self, name: &str) {
        self.pipelines().delete(name, &DeleteParams::default()).await.expect("it can be deleted");
        eventually("the object to be gone", LIMIT, async || match self.pipelines().get_opt(name).await {
            Ok(None) => Ok(()),
            other => Err(format!("{:?}", other.map(|p| p.map(|p| p.metadata)))),
        })
        .await;
    }

    /// Someone else moves the group.
    pub async fn moved(&self, group: &str, topic: &str, offset: i64) {
        kafka::commit(&self.bootstrap, group, &[(topic, 0, offset, "")]).await;
    }

    pub async fn at(&self, group: &str, topic: &str) -> Option<i64> {
        self.offsets(group, topic, 1).await[0]
    }

    pub async fn record_named(&self, name: &str) -> OffsetResetRecord {
        self.records().get(name).await.expect("the record is there")
    }

    pub async fn closed(&self, name: &str) -> (RecordPhase, Reason) {
        eventually("the record to be closed", LIMIT, async || {
            let record = self.record_named(name).await;
            record.status.as_ref().map(|s| (s.phase, s.reason)).ok_or_else(|| format!("{:?}", record.spec))
        })
        .await
    }

    /// A Warning event of this reason about this object.
    pub async fn warned(&self, name: &str, reason: &str) -> String {
        let events: Api<Event> = Api::namespaced(self.client.clone(), self.namespace.name());
        eventually(&format!("a warning {reason} about {name}"), LIMIT, async || {
            let all = events.list(&ListParams::default()).await.map_err(|e| e.to_string())?.items;
            let about =
                |e: &&Event| e.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some(name) && e.reason.as_deref() == Some(reason);
            let found = all.iter().find(|e| about(e) && e.type_.as_deref() == Some("Warning"));
            found.and_then(|e| e.note.clone()).ok_or_else(|| format!("{} other events", all.len()))
        })
        .await
    }
}

pub fn is_skipped(status: &StreamPipelineStatus) {
    let (ready, reason, message) = says(status, "Ready");
    assert_eq!((ready, reason), ("True", "SkippedAtCreation"));
    let (reset, why, _) = says(status, "OffsetsReset");
    assert_eq!((reset, why), ("False", "SkippedAtCreation"));
    assert!(condition(status, "Stalled").is_none() && condition(status, "Reconciling").is_none(), "{:?}", status.conditions);
    assert!(
        message.contains("set a new spec.offsetReset.id") && message.contains("whenCreated: Run") && message.contains("expiresAt"),
        "{message}"
    );
    assert!(status.offset_reset.as_ref().is_some_and(|r| r.record_ref.is_none()));
}

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
