//! What a scenario sees: waits for states of an object and its records, and what the operator wrote and decided.

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use stream_pipeline_api::{OffsetResetRecord, Reason, RecordPhase, Stage, StreamPipelineStatus};
use testbed::{Operator, RELEASE, SYSTEM_NAMESPACE, eventually, kafka};

use crate::support::status::{has_reason, reset};
use crate::support::world::{LIMIT, World};

/// The status of an object.
impl World {
    /// Waits for a state of the status.
    pub async fn wait(&self, name: &str, what: &str, done: impl Fn(&StreamPipelineStatus) -> bool) -> StreamPipelineStatus {
        let api = self.pipelines();
        eventually(&format!("{what} ({name})"), LIMIT, async || {
            let status = api.get(name).await.map_err(|e| e.to_string())?.status.unwrap_or_default();
            if done(&status) { Ok(status) } else { Err(serde_json::to_string(&status).unwrap_or_default()) }
        })
        .await
    }

    /// Waits until a request stands at this stage for this reason.
    pub async fn reaches(&self, name: &str, id: &str, stage: Stage, reason: &str) -> StreamPipelineStatus {
        self.wait(name, &format!("request {id} to be {stage:?}/{reason}"), |s| {
            let at = s.offset_reset.as_ref().is_some_and(|r| r.id == id && r.stage == stage);
            at && has_reason(s, "Ready", reason)
        })
        .await
    }

    pub async fn verified(&self, name: &str, id: &str) -> StreamPipelineStatus {
        self.reaches(name, id, Stage::Verified, "ResetVerified").await
    }

    /// Waits until the operator has looked at the object for the first time.
    pub async fn is_seen(&self, name: &str) -> StreamPipelineStatus {
        self.wait(name, "the operator to see the object", |s| s.observed_uid.is_some()).await
    }

    /// Waits until the status says that no reset is requested.
    pub async fn nothing_requested(&self, name: &str) -> StreamPipelineStatus {
        self.wait(name, "nothing to be requested", |s| has_reason(s, "Ready", "NothingRequested")).await
    }

    pub async fn is_gone(&self, name: &str) {
        eventually(&format!("{name} to be gone"), LIMIT, async || match self.untyped().get_opt(name).await {
            Ok(None) => Ok(()),
            other => Err(format!("{:?}", other.map(|p| p.map(|p| (p.metadata, p.data))))),
        })
        .await;
    }

    pub async fn resource_version(&self, name: &str) -> Option<String> {
        self.pipelines().get(name).await.expect("the object is there").resource_version()
    }

    pub async fn finalizers(&self, name: &str) -> Vec<String> {
        self.pipelines().get(name).await.expect("the object is there").finalizers().to_vec()
    }

    /// Whether `kubectl wait` for the success of the reset returns: what people and pipelines of a deployment tool go by.
    pub fn is_green(&self, name: &str) -> bool {
        let waits = ["wait", &format!("sp/{name}"), "-n", self.namespace.name(), "--for=condition=OffsetsReset=True", "--timeout=2s"];
        self.testbed.kubectl(&waits).status.success()
    }
}

/// Records and events.
impl World {
    /// The record the status points to.
    pub async fn record(&self, status: &StreamPipelineStatus) -> OffsetResetRecord {
        let name = &reset(status).record_ref.as_ref().unwrap_or_else(|| panic!("expected a record to be named: {status:?}")).name;
        self.record_named(name).await
    }

    pub async fn record_named(&self, name: &str) -> OffsetResetRecord {
        self.records().get(name).await.unwrap_or_else(|e| panic!("expected the record {name}: {e}"))
    }

    pub async fn all_records(&self) -> Vec<OffsetResetRecord> {
        self.records().list(&ListParams::default()).await.expect("records can be listed").items
    }

    pub async fn only_record(&self) -> OffsetResetRecord {
        let mut all = self.all_records().await;
        assert_eq!(all.len(), 1, "expected one record: {all:?}");
        all.remove(0)
    }

    /// Records of one object.
    pub async fn records_of(&self, name: &str) -> Vec<OffsetResetRecord> {
        let of = ListParams::default().labels(&format!("streampipeline.io/pipeline={name}"));
        self.records().list(&of).await.expect("records can be listed").items
    }

    /// Waits until a record is closed.
    pub async fn closed(&self, record: &str) -> (RecordPhase, Reason) {
        eventually(&format!("the record {record} to be closed"), LIMIT, async || {
            let record = self.record_named(record).await;
            record.status.as_ref().map(|s| (s.phase, s.reason)).ok_or_else(|| format!("{:?}", record.spec))
        })
        .await
    }

    /// Waits until a record says that what was stopped for it runs again.
    pub async fn brought_back(&self, record: &str) -> OffsetResetRecord {
        eventually(&format!("the record {record} to say that the pipeline runs again"), LIMIT, async || {
            let record = self.record_named(record).await;
            let back = record.status.as_ref().is_some_and(|s| s.brought_back_at.is_some());
            if back { Ok(record) } else { Err(format!("{:?}", record.status)) }
        })
        .await
    }

    /// Waits until no finalizer holds the object, or it is gone.
    pub async fn is_let_go(&self, name: &str) {
        eventually(&format!("the finalizer of {name} to go"), LIMIT, async || match self.pipelines().get_opt(name).await {
            Ok(Some(object)) if !object.finalizers().is_empty() => Err(format!("{:?}", object.finalizers())),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        })
        .await;
    }

    pub async fn events(&self) -> Vec<Event> {
        self.api::<Event>().list(&ListParams::default()).await.expect("events can be listed").items
    }

    /// Waits for an event of this reason about this object, where `type_` is given of that type.
    async fn event_of(&self, name: &str, reason: &str, type_: Option<&str>) -> String {
        eventually(&format!("an event {reason} about {name}"), LIMIT, async || {
            let all = self.events().await;
            let about = |e: &&Event| e.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some(name);
            let of_type = |e: &&Event| type_.is_none_or(|t| e.type_.as_deref() == Some(t)) && e.reason.as_deref() == Some(reason);
            let found = all.iter().filter(about).find(of_type).and_then(|e| e.note.clone());
            found.ok_or_else(|| format!("{} other events", all.len()))
        })
        .await
    }

    /// Waits for an event of this reason about this object, and returns what it says.
    pub async fn event(&self, name: &str, reason: &str) -> String {
        self.event_of(name, reason, None).await
    }

    /// The same for a Warning.
    pub async fn warned(&self, name: &str, reason: &str) -> String {
        self.event_of(name, reason, Some("Warning")).await
    }
}

/// Offsets.
impl World {
    pub async fn offsets(&self, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
        kafka::offsets(&self.bootstrap, group, topic, partitions).await
    }

    /// Of partition 0.
    pub async fn offset(&self, group: &str, topic: &str) -> Option<i64> {
        self.offsets(group, topic, 1).await[0]
    }
}

/// What the operator did.
impl World {
    /// Waits until the operator has decided anew, twice, since now: what it did not do by then it does not do.
    pub async fn decides_twice(&self, name: &str) {
        let (touch, servers) = (self.unique("touch"), self.servers());
        let port = servers[0].rsplit(':').next().expect("an address has a port");
        let another = servers.iter().cloned().chain([format!("localhost:{port}")]).collect::<Vec<_>>();
        for servers in [another.as_slice(), servers] {
            let patch =
                json!({ "metadata": { "annotations": { "test/touch": touch } }, "spec": { "kafka": { "bootstrapServers": servers } } });
            let touched =
                self.pipelines().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("the object can be edited");
            // By any condition: the status as a whole may still be of an earlier generation.
            self.wait(name, "the operator to look at an edit", |s| {
                s.conditions.iter().any(|c| c.observed_generation == touched.metadata.generation)
            })
            .await;
        }
    }

    /// Waits until the operator has looked so often since now, and decided. It must log each look.
    pub async fn looks(&mut self, name: &str, more: usize) {
        let operator: &Operator = self.operator();
        let named = format!("name=\"{name}\"");
        let count = || operator.log().lines().filter(|l| l.contains("Decided: ") && l.contains(&named)).count();
        let had = count();
        eventually(&format!("the operator to look at {name} again"), LIMIT, async || match count() {
            n if n >= had + more => Ok(()),
            n => Err(format!("{} looks of {more}", n - had)),
        })
        .await;
    }

    /// Its requests in this namespace as the API server's audit log has them, oldest first.
    fn audited(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(self.testbed.cluster.audit_log()).expect("the audit log is there");
        let user = json!(format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{RELEASE}"));
        let here = json!(self.namespace.name());
        let ours = |line: &Value| line["user"]["username"] == user && line["objectRef"]["namespace"] == here;
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(ours).collect()
    }

    /// What it has written: verb, address and HTTP status.
    pub fn writes(&self) -> Vec<String> {
        self.audited().iter().map(|l| format!("{} {} {}", l["verb"], l["requestURI"], l["responseStatus"]["code"])).collect()
    }

    /// When its writes to the object at this path were refused.
    pub fn refused_at(&self, path: &str) -> Vec<Timestamp> {
        let refused = |line: &&Value| {
            let at = line["requestURI"].as_str().and_then(|uri| uri.split('?').next());
            at.is_some_and(|at| at.ends_with(path)) && line["responseStatus"]["code"].as_i64() >= Some(400)
        };
        let all = self.audited();
        all.iter().filter(refused).filter_map(|line| line["requestReceivedTimestamp"].as_str()?.parse().ok()).collect()
    }
}
