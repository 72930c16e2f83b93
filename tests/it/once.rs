//! O01 to O32, P01, P04: once per request, whatever is applied, deleted, restored or restarted; and dry runs.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use stream_pipeline_operator::api::{
    BACKEND_LABEL, BackendIdentity, OffsetResetRecord, OffsetResetRecordSpec, PIPELINE_LABEL, PipelineRef, PlanTotals, Reason, RecordPhase,
    RecordedPlan, Stage, StreamPipeline, StreamPipelineStatus, TopicPlan, Writer,
};
use stream_pipeline_operator::domain::Desired;
use stream_pipeline_operator::ledger::{backend_label, record_name};
use testbed::consumer::Consumer;
use testbed::proxy::ApiProxy;
use testbed::trap::Side;
use testbed::{Operator, RELEASE, SYSTEM_NAMESPACE, eventually, kafka};

use crate::world::{EXE, FAST, LIMIT, World, condition, reset, says};

/// One line of the log per look, also where nothing is new.
const CHATTY: &str = "--log-filter=info,stream_pipeline_operator=debug";

fn ask(id: &str, position: &str) -> Value {
    json!({ "id": id, "quietPeriod": "0s", "to": { "position": position } })
}

fn with(mut request: Value, field: &str, value: Value) -> Value {
    request[field] = value;
    request
}

fn from_now(seconds: i64) -> Value {
    json!(Timestamp::now().checked_add(SignedDuration::from_secs(seconds)).expect("a time").to_string())
}

impl World {
    /// A restart; the new process says each look.
    fn restart(&mut self) {
        self.kill_operator();
        self.start_operator_with(&[CHATTY]);
    }

    /// Waits until the operator, which was started by [`World::restart`], has looked so often since now and decided.
    async fn looks(&mut self, name: &str, more: usize) {
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
    fn writes(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.testbed.cluster.audit_log()).expect("the audit log is there");
        let user = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{RELEASE}");
        let ours = |line: &Value| line["user"]["username"] == json!(user) && line["objectRef"]["namespace"] == json!(self.namespace.name());
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(ours).map(|l| format!("{} {} {}", l["verb"], l["requestURI"], l["responseStatus"]["code"])).collect()
    }

    async fn version(&self, name: &str) -> Option<String> {
        self.pipelines().get(name).await.expect("the object is there").resource_version()
    }

    async fn delete(&self, name: &str) {
        self.pipelines().delete(name, &DeleteParams::default()).await.expect("it can be deleted");
        eventually("the object to be gone", LIMIT, async || match self.pipelines().get_opt(name).await {
            Ok(None) => Ok(()),
            other => Err(format!("{:?}", other.map(|p| p.map(|p| p.metadata)))),
        })
        .await;
    }

    /// Someone else moves the group.
    async fn moved(&self, group: &str, topic: &str, offset: i64) {
        kafka::commit(&self.bootstrap, group, &[(topic, 0, offset, "")]).await;
    }

    async fn at(&self, group: &str, topic: &str) -> Option<i64> {
        self.offsets(group, topic, 1).await[0]
    }

    async fn record_named(&self, name: &str) -> OffsetResetRecord {
        self.records().get(name).await.expect("the record is there")
    }

    async fn closed(&self, name: &str) -> (RecordPhase, Reason) {
        eventually("the record to be closed", LIMIT, async || {
            let record = self.record_named(name).await;
            record.status.as_ref().map(|s| (s.phase, s.reason)).ok_or_else(|| format!("{:?}", record.spec))
        })
        .await
    }

    /// A Warning event of this reason about this object.
    async fn warned(&self, name: &str, reason: &str) -> String {
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

fn is_skipped(status: &StreamPipelineStatus) {
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

#[tokio::test(flavor = "multi_thread")]
async fn o01_applied_again_or_restarted_nothing_moves_and_nothing_is_written() {
    let mut world = World::new("o01").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let status = world.verified("p", "r1").await;
    let record = world.record(&status).await;
    world.restart();
    world.looks("p", 2).await;
    world.kill_operator();
    // While no operator is there the group is moved elsewhere.
    world.moved(&group, &topic, 5).await;
    let (version, writes) = (world.version("p").await, world.writes());
    assert!(!writes.is_empty(), "the audit log shows the writes of the reset");
    for _ in 0..2 {
        world.restart();
        world.looks("p", 2).await;
        world.apply("p", &group, ask("r1", "Earliest")).await;
        world.looks("p", 3).await;
    }
    assert_eq!(world.at(&group, &topic).await, Some(5));
    assert_eq!(world.version("p").await, version, "a rest and an apply without a change write nothing");
    // A re-sync that touches the object, as Git tools do.
    let touched = Patch::Merge(json!({ "metadata": { "annotations": { "argocd.argoproj.io/refresh": "hard" } } }));
    world.pipelines().patch("p", &PatchParams::default(), &touched).await.expect("it can be touched");
    world.looks("p", 3).await;
    assert_eq!(world.writes(), writes, "no write at all");
    assert_eq!(world.at(&group, &topic).await, Some(5));
    let records = world.all_records().await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].resource_version(), record.resource_version());
    world.verified("p", "r1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o02_deleted_and_created_again_with_the_same_id_is_already_handled() {
    let world = World::new("o02").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let status = world.verified("p", "r1").await;
    let record = world.record(&status).await;
    let again = [
        ask("r1", "Earliest"),
        with(ask("r1", "Earliest"), "whenCreated", json!("Run")),
        with(ask("r1", "Earliest"), "expiresAt", from_now(3600)),
        with(ask("r1", "Latest"), "whenCreated", json!("Run")),
    ];
    for request in again {
        world.moved(&group, &topic, 5).await;
        world.delete("p").await;
        world.apply("p", &group, request.clone()).await;
        let status = world.reaches("p", "r1", Stage::Skipped, "AlreadyHandled").await;
        let (ready, _, message) = says(&status, "Ready");
        assert_eq!((ready, says(&status, "OffsetsReset").0), ("True", "False"), "{request}");
        assert!(message.contains(&record.name_any()) && message.contains("a new id asks again"), "{message}");
        assert_eq!(reset(&status).record_ref.as_ref().map(|r| r.name.clone()), Some(record.name_any()));
        world.passes("p").await;
        assert_eq!(world.at(&group, &topic).await, Some(5), "{request}");
    }
    assert!(world.warned("p", "AlreadyHandled").await.contains(&record.name_any()));
    let records = world.all_records().await;
    assert_eq!((records.len(), records[0].resource_version()), (1, record.resource_version()));
    // A new id on the new object runs.
    world.apply("p", &group, ask("r2", "Earliest")).await;
    world.verified("p", "r2").await;
    assert_eq!(world.at(&group, &topic).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn o04_a_changed_id_is_a_new_request_and_an_old_one_is_none() {
    let world = World::new("o04").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let first = world.verified("p", "r1").await;
    // The same target under another id: moved again.
    world.moved(&group, &topic, 5).await;
    world.apply("p", &group, ask("r2", "Earliest")).await;
    let second = world.verified("p", "r2").await;
    assert_eq!(world.at(&group, &topic).await, Some(0));
    assert_ne!(reset(&first).record_ref, reset(&second).record_ref);
    assert_eq!(world.record(&second).await.spec.plan.expect("a plan").topics[0].from, [5]);
    // A revert in Git: the first id again.
    world.moved(&group, &topic, 5).await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let back = world.verified("p", "r1").await;
    assert_eq!(reset(&back).record_ref, reset(&first).record_ref, "the result of then");
    assert_eq!(reset(&back).completed_at, reset(&first).completed_at);
    world.passes("p").await;
    assert_eq!(world.at(&group, &topic).await, Some(5));
    assert_eq!(world.all_records().await.len(), 2);
}

/// An operator whose calls to the API server can be stopped.
async fn wired(world: &World) -> (ApiProxy, Operator) {
    let api = ApiProxy::start(&world.testbed.cluster.operator_kubeconfig()).await.expect("a proxy starts");
    let args: Vec<&str> = FAST.iter().filter(|f| !f.starts_with("--listen") && !f.starts_with("--log-format")).copied().collect();
    let operator = Operator::start_with(&api.kubeconfig(), Path::new(EXE), world.namespace.name(), &args);
    (api, operator)
}

#[tokio::test(flavor = "multi_thread")]
async fn o05_an_id_changed_while_an_earlier_request_runs() {
    let world = World::without_operator("o05").await;
    let (api, _operator) = wired(&world).await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    // Before the plan is sent: its record is there, the answer to that is stopped.
    api.traps.arm(Side::After, |call| call.starts_with("POST") && call.ends_with("/offsetresetrecords"));
    world.apply("p", &group, ask("r1", "Earliest")).await;
    api.traps.sprung().await;
    let first = world.all_records().await.remove(0);
    assert!(first.spec.plan.is_some(), "written ahead");
    world.apply("p", &group, ask("r2", "Latest")).await;
    api.traps.disarm();
    let status = world.verified("p", "r2").await;
    assert_eq!(world.at(&group, &topic).await, Some(10));
    assert_eq!(world.record(&status).await.spec.plan.expect("a plan").topics[0].from, [7], "nothing of the first was sent");
    let first = world.record_named(&first.name_any()).await;
    let said = first.status.as_ref().expect("it is closed");
    assert_eq!((said.phase, said.reason, first.spec.plan), (RecordPhase::Abandoned, Reason::NoLongerRequested, None));
    assert!(said.message.contains("given up before anything was sent"), "{}", said.message);
    // After it was sent: the close is stopped. It is closed first, by looking, then the next one runs.
    api.traps.arm(Side::Before, |call| call.starts_with("PATCH") && call.contains("/offsetresetrecords/") && call.ends_with("/status"));
    world.apply("p", &group, ask("r3", "Earliest")).await;
    api.traps.sprung().await;
    assert_eq!(world.at(&group, &topic).await, Some(0), "sent");
    let third = world.all_records().await.into_iter().find(|r| r.spec.request.id == "r3").expect("its record");
    world.apply("p", &group, ask("r4", "Latest")).await;
    api.traps.disarm();
    let status = world.verified("p", "r4").await;
    assert_eq!(world.at(&group, &topic).await, Some(10));
    let (third, fourth) = (world.record_named(&third.name_any()).await, world.record(&status).await);
    let said = third.status.expect("it is closed");
    assert_eq!((said.phase, said.reason), (RecordPhase::Verified, Reason::ResetVerified));
    assert!(said.completed_at <= fourth.spec.created_at, "closed first");
    assert_eq!(fourth.spec.plan.expect("a plan").topics[0].from, [0]);
    // The dropped id is used up: it does not come back to life.
    world.apply("p", &group, ask("r1", "Earliest")).await;
    world.reaches("p", "r1", Stage::Failed, "AbandonedUnrun").await;
    world.passes("p").await;
    assert_eq!(world.at(&group, &topic).await, Some(10));
    assert_eq!(world.all_records().await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn o06_an_id_that_is_removed_runs_nothing_and_the_last_result_stays() {
    let mut world = World::new("o06").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let done = world.verified("p", "r1").await;
    world.moved(&group, &topic, 5).await;
    let nothing = |s: &StreamPipelineStatus| condition(s, "Ready").is_some_and(|c| c.status == "True" && c.reason == "NothingRequested");
    world.apply("p", &group, Value::Null).await;
    let status = world.wait("p", "nothing to be requested", nothing).await;
    assert_eq!(status.offset_reset, done.offset_reset, "the last result stays readable");
    assert_eq!((says(&status, "OffsetsReset").0, says(&status, "OffsetsReset").1), ("True", "ResetVerified"));
    assert!(condition(&status, "Stalled").is_none() && condition(&status, "Reconciling").is_none());
    assert_eq!(status.acknowledged_id, None);
    world.restart();
    world.looks("p", 3).await;
    // The same id again is not new.
    world.apply("p", &group, ask("r1", "Earliest")).await;
    world.verified("p", "r1").await;
    world.passes("p").await;
    assert_eq!(world.at(&group, &topic).await, Some(5));
    // Removed while it waits.
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "o06-member");
    member.wait().await;
    world.apply("p", &group, ask("r2", "Earliest")).await;
    world.reaches("p", "r2", Stage::Waiting, "GroupActive").await;
    world.apply("p", &group, Value::Null).await;
    let status = world.wait("p", "nothing to be requested", nothing).await;
    assert!(condition(&status, "Stalled").is_none() && condition(&status, "Reconciling").is_none());
    member.stop().await;
    world.passes("p").await;
    assert_eq!(world.at(&group, &topic).await, Some(5));
    assert_eq!(world.all_records().await.len(), 1);
    // Nobody waits any more, so nobody says so.
    let status = world.wait("p", "nothing to be requested", nothing).await;
    assert_ne!(status.offset_reset.as_ref().map(|r| r.stage), Some(Stage::Waiting), "column RESET");
    assert!(condition(&status, "OffsetsReset").is_none_or(|c| !c.message.contains("starts by itself")), "{:?}", status.conditions);
}

#[tokio::test(flavor = "multi_thread")]
async fn o07_a_target_edited_under_an_id_that_is_done_runs_nothing_and_says_so() {
    let mut world = World::new("o07").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    world.verified("p", "r1").await;
    // What may be said afterwards is no edit.
    world.apply("p", &group, with(ask("r1", "Earliest"), "note", json!("ticket 4711"))).await;
    world.passes("p").await;
    world.verified("p", "r1").await;
    world.apply("p", &group, ask("r1", "Latest")).await;
    let edited = async |world: &World| {
        let status = world.reaches("p", "r1", Stage::Verified, "RequestEditedWithoutNewId").await;
        let (ready, _, message) = says(&status, "Ready");
        assert_eq!(ready, "True");
        assert!(message.contains("Choose a new id to run it") && message.contains("1 of 1 partition read back as planned"), "{message}");
        assert_eq!((says(&status, "OffsetsReset").0, says(&status, "OffsetsReset").1), ("True", "ResetVerified"));
        assert!(condition(&status, "Stalled").is_none() && condition(&status, "Reconciling").is_none());
    };
    edited(&world).await;
    world.restart();
    world.looks("p", 3).await;
    world.passes("p").await;
    edited(&world).await;
    assert_eq!(world.at(&group, &topic).await, Some(0));
    assert_eq!(world.all_records().await.len(), 1);
    // Edited back, the note goes.
    world.apply("p", &group, ask("r1", "Earliest")).await;
    world.verified("p", "r1").await;
    world.apply("p", &group, ask("r2", "Latest")).await;
    world.verified("p", "r2").await;
    assert_eq!(world.at(&group, &topic).await, Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn o14_what_happens_to_a_group_after_its_reset_is_life() {
    let mut world = World::new("o14").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let status = world.verified("p", "r1").await;
    let record = world.record(&status).await;
    world.restart();
    for offset in [4, 9] {
        world.moved(&group, &topic, offset).await;
        world.looks("p", 3).await;
        world.passes("p").await;
        world.restart();
        world.looks("p", 2).await;
        let status = world.verified("p", "r1").await;
        assert_eq!((says(&status, "Ready").0, says(&status, "OffsetsReset").0), ("True", "True"));
        assert_eq!(world.at(&group, &topic).await, Some(offset));
    }
    // Neither do a consumer and new records arm it again.
    kafka::produce(&world.bootstrap, &topic, 0, 5, |n| crate::world::FIRST + n).await;
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "o14-member");
    member.wait().await;
    world.wait("p", "the member to be seen", |s| condition(s, "PipelineInactive").is_some_and(|c| c.reason == "GroupActive")).await;
    member.stop().await;
    world
        .wait("p", "the group to be seen at rest", |s| condition(s, "PipelineInactive").is_some_and(|c| c.reason == "GroupInactive"))
        .await;
    world.verified("p", "r1").await;
    assert_eq!(world.at(&group, &topic).await, Some(9));
    let records = world.all_records().await;
    assert_eq!((records.len(), records[0].resource_version()), (1, record.resource_version()));
}

#[tokio::test(flavor = "multi_thread")]
async fn o16_a_manifest_applied_to_a_namespace_made_anew_is_skipped_loudly() {
    let world = World::new("o16").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    world.verified("p", "r1").await;
    world.moved(&group, &topic, 5).await;
    // The namespace goes with all its records, and comes again.
    let name = world.namespace.name();
    for args in [["delete", "namespace", name], ["create", "namespace", name]] {
        let output = world.testbed.kubectl(&args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(world.all_records().await.is_empty(), "the ledger is lost");
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let status = world.reaches("p", "r1", Stage::Skipped, "SkippedAtCreation").await;
    is_skipped(&status);
    assert!(world.warned("p", "SkippedAtCreation").await.contains("a restored or copied manifest moves nothing"));
    // The id is used up, whatever is said about it now.
    world.apply("p", &group, with(ask("r1", "Latest"), "whenCreated", json!("Run"))).await;
    world.passes("p").await;
    world.apply("p", &group, with(ask("r1", "Latest"), "expiresAt", from_now(3600))).await;
    world.passes("p").await;
    is_skipped(&world.reaches("p", "r1", Stage::Skipped, "SkippedAtCreation").await);
    // An expiresAt that has passed lets nothing run.
    world.apply("late", &group, with(ask("r1", "Earliest"), "expiresAt", from_now(-1))).await;
    is_skipped(&world.reaches("late", "r1", Stage::Skipped, "SkippedAtCreation").await);
    world.delete("late").await;
    assert_eq!(world.at(&group, &topic).await, Some(5));
    assert!(world.all_records().await.is_empty());
    world.apply("p", &group, ask("r2", "Earliest")).await;
    world.verified("p", "r2").await;
    assert_eq!(world.at(&group, &topic).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn o18_created_with_when_created_run_or_before_it_expires_runs_once() {
    let mut world = World::new("o18").await;
    let topic = world.topic(&[10]).await;
    let requests = [
        ("run", with(ask("r1", "Earliest"), "whenCreated", json!("Run"))),
        ("soon", with(ask("r1", "Earliest"), "expiresAt", from_now(3600))),
    ];
    let mut groups = BTreeMap::new();
    for (name, request) in &requests {
        let group = world.group(&topic, &[7]).await;
        world.apply(name, &group, request.clone()).await;
        world.verified(name, "r1").await;
        assert_eq!(world.at(&group, &topic).await, Some(0), "{name}");
        world.moved(&group, &topic, 5).await;
        groups.insert(*name, group);
    }
    world.restart();
    for (name, request) in &requests {
        let group = &groups[name];
        world.looks(name, 2).await;
        world.apply(name, group, request.clone()).await;
        world.passes(name).await;
        world.verified(name, "r1").await;
        assert_eq!(world.at(group, &topic).await, Some(5), "{name}: once");
    }
    assert_eq!(world.all_records().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn o27_a_target_edited_while_it_waits_is_taken_and_the_clock_goes_on() {
    let world = World::new("o27").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "o27-member");
    member.wait().await;
    world.apply("p", &group, with(ask("r1", "Earliest"), "waitTimeout", json!("10m"))).await;
    let before = world.reaches("p", "r1", Stage::Waiting, "GroupActive").await;
    let edited = world.apply("p", &group, with(ask("r1", "Latest"), "waitTimeout", json!("10m"))).await;
    let after = world.wait("p", "the edit to be seen", |s| s.observed_generation == edited.metadata.generation).await;
    let clock = |s: &StreamPipelineStatus| (reset(s).stage, reset(s).accepted_at, reset(s).deadline);
    assert!(reset(&before).accepted_at.is_some() && reset(&before).deadline.is_some());
    assert_eq!(clock(&after), clock(&before));
    assert!(world.all_records().await.is_empty());
    member.stop().await;
    let done = world.verified("p", "r1").await;
    assert_eq!(world.at(&group, &topic).await, Some(10), "the spec as it was when it ran");
    assert_eq!((reset(&done).accepted_at, reset(&done).deadline), (reset(&before).accepted_at, reset(&before).deadline));
    let record = world.record(&done).await;
    assert_eq!(Some(record.spec.deadline), reset(&before).deadline);
    assert!(condition(&done, "Ready").is_some_and(|c| c.reason == "ResetVerified"), "no note of an edit");
    assert_eq!(world.all_records().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn o28_a_request_that_nobody_saw_being_made_is_present_at_creation() {
    let mut world = World::without_operator("o28").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    // Created with a request; and created without one, which was added before anybody had looked.
    world.apply("with", &group, ask("r1", "Earliest")).await;
    world.apply("added", &group, Value::Null).await;
    world.apply("added", &group, ask("r1", "Earliest")).await;
    world.restart();
    for name in ["with", "added"] {
        is_skipped(&world.reaches(name, "r1", Stage::Skipped, "SkippedAtCreation").await);
        assert!(!world.warned(name, "SkippedAtCreation").await.is_empty());
    }
    world.restart();
    world.looks("with", 2).await;
    world.looks("added", 2).await;
    assert_eq!(world.at(&group, &topic).await, Some(7));
    assert!(world.all_records().await.is_empty());
    // An object that was seen without the request: then it is new, also where nobody was there when it was asked.
    world.known("seen", &group).await;
    world.kill_operator();
    world.apply("seen", &group, ask("r1", "Earliest")).await;
    world.start_operator();
    world.verified("seen", "r1").await;
    assert_eq!(world.at(&group, &topic).await, Some(0));
}

/// A record as a backup tool puts it back: an hour old, without its status.
async fn restore(world: &World, pipeline: &StreamPipeline, cluster_id: &str, uid: &str, plan: Option<RecordedPlan>) -> String {
    let hour_ago = Timestamp::now().checked_sub(SignedDuration::from_hours(1)).expect("a time");
    let desired = Desired::of(pipeline, Timestamp::now());
    let request = desired.request.expect("it asks").expect("a request");
    let backend = BackendIdentity { cluster_id: cluster_id.to_owned(), consumer_group: desired.backend.group };
    let labels = [(PIPELINE_LABEL, desired.object.name.clone()), (BACKEND_LABEL, backend_label(&backend))];
    let name = record_name(&desired.object, &backend, &request);
    let spec = OffsetResetRecordSpec {
        pipeline: PipelineRef { name: desired.object.name, uid: uid.to_owned() },
        request: request.written,
        backend,
        created_at: hour_ago,
        deadline: Timestamp::now().checked_add(SignedDuration::from_hours(23)).expect("a time"),
        writer: plan.as_ref().map(|_| Writer { incarnation: "another".to_owned(), number: 1, attempt: 1 }),
        plan,
    };
    let mut record = OffsetResetRecord::new(&name, spec);
    record.metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), value)).into());
    world.records().create(&PostParams::default(), &record).await.expect("the record is put back");
    name
}

/// From 7 to 0 on partition 0.
fn plan(topic: &str) -> RecordedPlan {
    let rows = TopicPlan {
        name: topic.to_owned(),
        topic_id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        partition: vec![0],
        from: vec![7],
        to: vec![0],
        log_start: vec![0],
        log_end: vec![10],
        ..TopicPlan::default()
    };
    RecordedPlan {
        topics: vec![rows],
        totals: PlanTotals { partitions: 1, replayed: 7, lag_after: 10, ..PlanTotals::default() },
        warnings: vec![],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o30_a_record_restored_without_its_status_is_closed_and_nothing_is_sent() {
    let mut world = World::new("o30").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("own", &group).await;
    // A record of its own, closed: what it says is lost in a moment.
    world.apply("own", &group, ask("r1", "Earliest")).await;
    let status = world.verified("own", "r1").await;
    let cluster_id = status.cluster_id.clone().expect("the cluster's id");
    let real = world.record(&status).await;
    world.kill_operator();
    let own = world.pipelines().get("own").await.expect("it is there");
    world.records().delete(&real.name_any(), &DeleteParams::default()).await.expect("it can be deleted");
    let restored = restore(&world, &own, &cluster_id, &own.uid().expect("a uid"), real.spec.plan.clone()).await;
    assert_eq!(restored, real.name_any(), "named as the operator names it");
    world.moved(&group, &topic, 7).await;
    // Manifests and records put back together: the objects have other uids than the records know. With and without a plan.
    let mut put_back = vec![("own", group, restored)];
    for (name, plan, request) in [
        ("planned", Some(plan(&topic)), ask("r1", "Earliest")),
        ("bare", None, ask("r1", "Earliest")),
        ("planned-run", Some(plan(&topic)), with(ask("r1", "Earliest"), "whenCreated", json!("Run"))),
        ("bare-run", None, with(ask("r1", "Earliest"), "whenCreated", json!("Run"))),
    ] {
        let group = world.group(&topic, &[7]).await;
        let pipeline = world.apply(name, &group, request).await;
        let record = restore(&world, &pipeline, &cluster_id, "565c0114-0000-4372-86d1-000000000000", plan).await;
        put_back.push((name, group, record));
    }
    world.restart();
    for (name, group, record) in &put_back {
        assert_eq!(world.closed(record).await, (RecordPhase::Abandoned, Reason::Restored), "{name}");
        if *name != "own" {
            let status = world.reaches(name, "r1", Stage::Skipped, "AlreadyHandled").await;
            let (ready, _, message) = says(&status, "Ready");
            assert_eq!(ready, "True");
            assert!(message.contains(record), "{message}");
        }
        world.passes(name).await;
        assert_eq!(world.at(group, &topic).await, Some(7), "{name}: nothing is sent");
    }
    assert_eq!(world.all_records().await.len(), put_back.len());
    // A leftover of another id is closed too, and does not hinder a new request.
    world.kill_operator();
    let (name, group, _) = &put_back[1];
    let other = world.apply(name, group, ask("r0", "Earliest")).await;
    let record = restore(&world, &other, &cluster_id, &other.uid().expect("a uid"), Some(plan(&topic))).await;
    world.apply(name, group, ask("r2", "Latest")).await;
    world.restart();
    world.verified(name, "r2").await;
    assert_eq!(world.closed(&record).await, (RecordPhase::Abandoned, Reason::Restored));
    assert_eq!(world.at(group, &topic).await, Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn o30_a_restored_record_whose_pipeline_is_not_there_hinders_nobody() {
    let world = World::new("o30gone").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    let cluster_id = world.pipelines().get("p").await.expect("it is there").status.and_then(|s| s.cluster_id).expect("the cluster's id");
    let mut gone = world.apply("p", &group, ask("r0", "Earliest")).await;
    world.verified("p", "r0").await;
    gone.metadata.name = Some("gone".to_owned());
    restore(&world, &gone, &cluster_id, "565c0114-0000-4372-86d1-000000000000", Some(plan(&topic))).await;
    world.apply("p", &group, ask("r1", "Latest")).await;
    world.verified("p", "r1").await;
    assert_eq!(world.at(&group, &topic).await, Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn o32_nothing_of_the_parents_metadata_is_on_the_record() {
    let world = World::new("o32").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    let tracked = json!({ "metadata": {
        "labels": { "app.kubernetes.io/instance": "wind", "argocd.argoproj.io/instance": "wind", "kustomize.toolkit.fluxcd.io/name": "wind",
            "kustomize.toolkit.fluxcd.io/namespace": "flux-system", "helm.toolkit.fluxcd.io/name": "wind" },
        "annotations": { "argocd.argoproj.io/tracking-id": "wind:streampipeline.io/StreamPipeline:wind/p", "argocd.argoproj.io/sync-options": "Prune=true",
            "kubectl.kubernetes.io/last-applied-configuration": "{}", "meta.helm.sh/release-name": "wind" },
        "finalizers": []
    } });
    world.pipelines().patch("p", &PatchParams::default(), &Patch::Merge(tracked)).await.expect("it can be labelled");
    world.apply("p", &group, with(ask("r1", "Earliest"), "dryRun", json!(true))).await;
    let dry = world.record(&world.reaches("p", "r1", Stage::Planned, "PlanReady").await).await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let real = world.record(&world.verified("p", "r1").await).await;
    let ours = |record: &OffsetResetRecord| {
        assert!(record.annotations().is_empty() && record.finalizers().is_empty(), "{:?}", record.metadata);
        assert!(record.owner_references().is_empty(), "it outlives its StreamPipeline");
        record.labels().clone()
    };
    assert_eq!(ours(&dry), BTreeMap::from([(PIPELINE_LABEL.to_owned(), "p".to_owned())]));
    let backend = (BACKEND_LABEL.to_owned(), backend_label(&real.spec.backend));
    assert_eq!(ours(&real), BTreeMap::from([(PIPELINE_LABEL.to_owned(), "p".to_owned()), backend]));
    // It outlives the parent.
    world.delete("p").await;
    assert_eq!(world.record_named(&real.name_any()).await.resource_version(), real.resource_version());
}

#[tokio::test(flavor = "multi_thread")]
async fn p01_a_dry_run_is_one_record_and_the_same_id_runs_afterwards() {
    let mut world = World::new("p01").await;
    let topic = world.topic(&[10, 20, 30]).await;
    let group = world.group(&topic, &[7, 20, 0]).await;
    world.known("p", &group).await;
    let dry = with(ask("r1", "Earliest"), "dryRun", json!(true));
    world.apply("p", &group, dry.clone()).await;
    let status = world.reaches("p", "r1", Stage::Planned, "PlanReady").await;
    let (ready, _, message) = says(&status, "Ready");
    assert_eq!((ready, says(&status, "OffsetsReset").0), ("True", "False"));
    assert!(message.contains("3 partitions would move, 27 would be replayed, 0 skipped, lag after 60; nothing was sent"), "{message}");
    assert!(message.contains("Set dryRun: false"), "{message}");
    assert!(condition(&status, "Stalled").is_none() && condition(&status, "Reconciling").is_none());
    let totals = reset(&status).plan.clone().expect("totals");
    assert_eq!((totals.partitions, totals.replayed, totals.skipped, totals.lag_after), (3, 27, 0, 60));
    let record = world.record(&status).await;
    let shown = record.spec.plan.clone().expect("the plan");
    assert_eq!(
        (shown.topics[0].partition.as_slice(), shown.topics[0].from.as_slice(), shown.topics[0].to.as_slice()),
        ([0, 1, 2].as_slice(), [7, 20, 0].as_slice(), [0, 0, 0].as_slice())
    );
    assert_eq!(shown.topics[0].log_end, [10, 20, 30]);
    assert_eq!(shown.totals, totals);
    assert_eq!(world.closed(&record.name_any()).await, (RecordPhase::Planned, Reason::PlanReady));
    let record = world.record(&status).await;
    // However often it is looked at, and whoever looks: one record, nothing more.
    world.restart();
    world.looks("p", 3).await;
    let writes = world.writes();
    world.apply("p", &group, dry.clone()).await;
    world.looks("p", 3).await;
    world.restart();
    world.looks("p", 3).await;
    assert_eq!(world.writes(), writes, "at rest nothing is written");
    // The numbers of then stay, also where they would be others now.
    kafka::produce(&world.bootstrap, &topic, 0, 5, |n| crate::world::FIRST + n).await;
    world.passes("p").await;
    world.reaches("p", "r1", Stage::Planned, "PlanReady").await;
    let records = world.all_records().await;
    assert_eq!((records.len(), records[0].resource_version()), (1, record.resource_version()));
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(7), Some(20), Some(0)], "the backend is untouched");
    // Another spec under the same id is another plan.
    world.apply("p", &group, with(ask("r1", "Latest"), "dryRun", json!(true))).await;
    let other =
        world.wait("p", "the other plan", |s| s.offset_reset.as_ref().and_then(|r| r.plan.as_ref()).is_some_and(|p| p.skipped == 38)).await;
    assert_eq!((reset(&other).stage, reset(&other).record_ref == reset(&status).record_ref), (Stage::Planned, false));
    assert_eq!(world.all_records().await.len(), 2);
    // The id is not used up.
    world.apply("p", &group, with(ask("r1", "Earliest"), "dryRun", json!(false))).await;
    let done = world.verified("p", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(0), Some(0), Some(0)]);
    assert_ne!(reset(&done).record_ref, reset(&status).record_ref, "its record is named apart");
    let records = world.all_records().await;
    assert_eq!((records.len(), records.iter().filter(|r| r.spec.request.dry_run != Some(true)).count()), (3, 1));
    // Now it is.
    world.moved(&group, &topic, 5).await;
    world.apply("p", &group, dry).await;
    world.passes("p").await;
    world.apply("p", &group, with(ask("r1", "Earliest"), "dryRun", json!(false))).await;
    world.passes("p").await;
    world.verified("p", "r1").await;
    assert_eq!(world.at(&group, &topic).await, Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn p04_a_request_that_did_not_start_before_it_expired_never_runs() {
    let world = World::new("p04").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    let expired = async |id: &str| {
        let status = world.reaches("p", id, Stage::Failed, "Expired").await;
        let (stalled, _, message) = says(&status, "Stalled");
        assert_eq!((stalled, says(&status, "Ready").0, says(&status, "OffsetsReset").0), ("True", "False", "False"));
        assert!(message.contains("expiresAt passed before the reset could start; nothing was sent"), "{message}");
    };
    // Passed while it waited.
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "p04-member");
    member.wait().await;
    world.apply("p", &group, with(ask("r1", "Earliest"), "expiresAt", from_now(3))).await;
    expired("r1").await;
    member.stop().await;
    world.wait("p", "the group to be seen at rest", |s| condition(s, "PipelineInactive").is_some_and(|c| c.status == "True")).await;
    world.passes("p").await;
    expired("r1").await;
    // A later expiresAt does not bring it back.
    world.apply("p", &group, with(ask("r1", "Earliest"), "expiresAt", from_now(3600))).await;
    world.passes("p").await;
    expired("r1").await;
    // Passed before it was asked.
    world.apply("p", &group, with(ask("r2", "Earliest"), "expiresAt", from_now(-60))).await;
    expired("r2").await;
    world.passes("p").await;
    assert_eq!(world.at(&group, &topic).await, Some(7));
    assert!(world.all_records().await.is_empty());
    world.apply("p", &group, with(ask("r3", "Earliest"), "expiresAt", from_now(3600))).await;
    world.verified("p", "r3").await;
    assert_eq!(world.at(&group, &topic).await, Some(0));
}
