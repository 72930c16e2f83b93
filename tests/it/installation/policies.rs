//! The chart's admission policies, each alone, with users who have the right and who lack it.

use serde_json::{Value, json};
use testbed::eventually;

use super::pages::objects;
use super::release::{CHART, Release};
use crate::support::commands::{helm, succeeded};
use crate::support::requests::{ask, with};
use crate::support::status::assert_has;
use crate::support::world::{LIMIT, World};

/// A namespace with a release that has one policy, and people in it.
struct Guarded {
    // First, so that its rights end before its namespace.
    release: Release,
    world: World,
    /// May edit StreamPipelines and records, and has no verb of the policy.
    editor: String,
    /// Has the verb too.
    holder: String,
}

impl Guarded {
    async fn new(test: &str, policy: &str, verb: Option<&str>) -> Self {
        let world = World::without_operator(test).await;
        let namespace = world.namespace.name();
        let (release, notes) = Release::install(world.testbed, namespace, CHART, &[&format!("--set=policies.{policy}=true")]);
        let (editor, holder) = (format!("{namespace}-ed"), format!("{namespace}-hal"));
        let kubectl = |args: &[&str]| succeeded(&world.testbed.kubectl(&[args, &["-n", namespace]].concat()));
        let both = "streampipelines.streampipeline.io,offsetresetrecords.streampipeline.io,offsetresetrecords.streampipeline.io/status";
        kubectl(&["create", "role", "editor", "--verb=get,list,create,update,patch,delete", "--resource", both]);
        for user in [&editor, &holder] {
            kubectl(&["create", "rolebinding", user, "--role=editor", "--user", user]);
        }
        if let Some(verb) = verb {
            let role = release.unique(verb);
            assert_has(&notes, &[&format!("Who has the verb `{verb}`: bind the ClusterRole {role}")]);
            kubectl(&["create", "rolebinding", "holder", "--clusterrole", &role, "--user", &holder]);
        }
        Self { release, world, editor, holder }
    }

    fn manifest(&self, name: &str, request: Value) -> String {
        let spec = json!({ "kafka": { "bootstrapServers": self.world.servers(), "consumerGroup": "g" } });
        let metadata = json!({ "name": name, "namespace": self.release.name });
        let mut object =
            json!({ "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": metadata, "spec": spec });
        if !request.is_null() {
            object["spec"]["offsetReset"] = request;
        }
        object.to_string()
    }

    /// Waits until this manifest is answered with this, which takes a moment after the policy was made.
    async fn in_force(&self, manifest: &str, said: &str) {
        let probe = ["--dry-run=server", &format!("--as={}", self.editor)];
        eventually("the policy to be in force", LIMIT, async || match self.world.applies_with(manifest, &probe) {
            (_, answer) if answer.contains(said) => Ok(()),
            (_, answer) => Err(answer),
        })
        .await;
    }

    #[track_caller]
    fn refused(&self, what: &str, manifest: &str, said: &str) {
        let (taken, answer) = self.world.applies(manifest, Some(&self.editor));
        assert!(!taken && answer.contains(said), "{what}: {answer}");
    }

    #[track_caller]
    fn taken(&self, what: &str, manifest: &str, user: &str) {
        let (taken, answer) = self.world.applies(manifest, Some(user));
        assert!(taken, "{what}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_reset_verb_an_editor_without_it_edits_and_cannot_replay() {
    let guarded = Guarded::new("reset-verb", "resetVerb", Some("reset")).await;
    let said = "takes the verb reset";
    let asked = |id: &str| guarded.manifest("p", ask(id, "Earliest"));
    guarded.in_force(&guarded.manifest("probe", ask("r", "Earliest")), said).await;
    guarded.refused("a new object with a request", &asked("r1"), said);
    guarded.taken("a new object without one", &guarded.manifest("p", Value::Null), &guarded.editor);
    guarded.refused("a request", &asked("r1"), said);
    guarded.refused("a dry run", &guarded.manifest("p", with(ask("r1", "Earliest"), "dryRun", json!(true))), said);
    guarded.taken("a request of who has the verb", &asked("r1"), &guarded.holder);
    guarded.refused("another request", &asked("r2"), said);
    guarded.refused("another target", &guarded.manifest("p", ask("r1", "Latest")), said);
    let mut object: Value = serde_json::from_str(&asked("r1")).expect("JSON");
    object["spec"]["kafka"]["bootstrapServers"] = json!(["kafka.example.com:9092"]);
    guarded.taken("another field, with the request as it stands there", &object.to_string(), &guarded.editor);
    guarded.taken("the request taken away", &guarded.manifest("p", Value::Null), &guarded.editor);
    // It holds where the release works, and nowhere else.
    let (elsewhere, answer) = guarded.world.applies(&asked("r1").replace(&guarded.release.name, "default"), None);
    assert!(elsewhere, "{answer}");
    succeeded(&guarded.world.testbed.kubectl(&["delete", "streampipeline", "p", "-n", "default"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_approve_verb_an_editor_without_it_asks_for_dry_runs_only() {
    let guarded = Guarded::new("approve-verb", "approveVerb", Some("approve")).await;
    let said = "takes the verb approve";
    let request = |field: &str, value: Value| guarded.manifest("p", with(ask("r1", "Earliest"), field, value));
    guarded.in_force(&guarded.manifest("probe", ask("r", "Earliest")), said).await;
    guarded.taken("a dry run", &request("dryRun", json!(true)), &guarded.editor);
    guarded.refused("the dry run turned into a reset", &request("dryRun", json!(false)), said);
    guarded.refused("an approval", &request("approvedPlan", json!("p-1")), said);
    guarded.taken("an approval of who has the verb", &request("approvedPlan", json!("p-1")), &guarded.holder);
    // The page about targets has the policy for those without the chart; who changes one changes both.
    let page = objects("targets.md");
    let on_page = page.iter().find(|object| object.contains("kind: ValidatingAdmissionPolicy\n")).expect("the page has a policy");
    let on_page: Value = serde_saphyr::from_str(on_page).expect("YAML");
    let get = ["get", "validatingadmissionpolicy", &guarded.release.unique("approve-verb"), "-o", "json"];
    let rendered = helm(guarded.world.testbed, &["template", "r", CHART, "--set=policies.approveVerb=true"]);
    assert_has(succeeded(&guarded.world.testbed.kubectl(&get)), &["may-not-approve"]);
    let policy = |text: &&str| text.contains("kind: ValidatingAdmissionPolicy\n") && text.contains("may-not-approve");
    let rendered = succeeded(&rendered);
    let ours: Value = serde_saphyr::from_str(rendered.split("\n---").find(policy).expect("the chart has it")).expect("YAML");
    assert_eq!(ours["spec"], on_page["spec"]);
}

fn record(namespace: &str, name: &str, owner: Option<&str>) -> String {
    let mut metadata = json!({ "name": name, "namespace": namespace });
    if let Some(uid) = owner {
        metadata["ownerReferences"] = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid }]);
    }
    json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "OffsetResetRecord", "metadata": metadata,
        "spec": {
            "pipeline": { "name": "p", "uid": "u" }, "request": { "id": "r1" }, "backend": { "clusterID": "c", "consumerGroup": "g" },
            "createdAt": "2026-01-01T00:00:00Z", "deadline": "2026-01-02T00:00:00Z",
        },
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_protected_records_only_the_operator_and_a_restore_write_them_and_a_namespace_still_goes() {
    let guarded = Guarded::new("records", "protectRecords", Some("restore")).await;
    let namespace = guarded.release.name.clone();
    let said = "only the operator writes it";
    guarded.in_force(&record(&namespace, "probe", None), said).await;
    // The operator's own work goes on.
    let _operator = guarded.release.operator(&[]);
    let (_, _, own) = guarded.world.reset_once("done").await;
    let own = own.metadata.name.expect("a record has a name");
    let kubectl = |args: &[&str], user: Option<&str>| {
        let of = user.map(|user| format!("--as={user}"));
        guarded.world.testbed.kubectl(&[args, &["-n", &namespace], &of.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat())
    };
    guarded.taken("a record from a backup", &record(&namespace, "restored", None), &guarded.holder);
    let closed = json!({ "phase": "Abandoned", "attempt": 0, "reason": "Canceled", "message": "m", "completedAt": "2026-01-01T00:00:00Z" });
    let closed = json!({ "status": closed }).to_string();
    let editor = Some(guarded.editor.as_str());
    for args in [
        &["label", "osr", &own, "a=b"][..],
        &["patch", "osr", &own, "--type=merge", "-p", r#"{"spec":{"plan":null}}"#],
        &["patch", "osr", "restored", "--subresource=status", "--type=merge", "-p", &closed],
        &["delete", "osr", &own],
        &["delete", "osr", "--all"],
    ] {
        let output = kubectl(args, editor);
        let answer = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && answer.contains(said), "{args:?}: {answer}");
    }
    guarded.refused("a record", &record(&namespace, "made-up", None), said);
    succeeded(&kubectl(&["delete", "osr", "restored"], Some(&guarded.holder)));
    // Kubernetes' own controllers: the garbage collector …
    let made = kubectl(&["create", "configmap", "owner", "-o", "jsonpath={.metadata.uid}"], None);
    guarded.taken("one with an owner", &record(&namespace, "owned", Some(succeeded(&made).trim())), &guarded.holder);
    succeeded(&kubectl(&["delete", "configmap", "owner"], None));
    eventually("the record of an owner that is gone to be collected", LIMIT, async || {
        match kubectl(&["get", "osr", "owned"], None).status.success() {
            false => Ok(()),
            true => Err("still there".to_owned()),
        }
    })
    .await;
    // … and the end of a namespace.
    guarded.world.delete_namespace().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_warning_at_creation_the_one_who_creates_is_told_and_nothing_is_refused() {
    let guarded = Guarded::new("warn", "warnAtCreation", None).await;
    let warned = |request: Value, name: &str| guarded.world.applies(&guarded.manifest(name, request), Some(&guarded.editor));
    guarded.in_force(&guarded.manifest("probe", ask("r", "Earliest")), "Warning: ").await;
    let cases = [
        ("skipped", ask("r1", "Earliest"), "so it is skipped"),
        ("again", with(ask("r1", "Earliest"), "whenCreated", json!("Run")), "runs again wherever the same manifest is created anew"),
        ("git", with(ask("r1", "Earliest"), "expiresAt", json!("2030-01-01T00:00:00Z")), ""),
        ("look", with(ask("r1", "Earliest"), "dryRun", json!(true)), ""),
        ("none", Value::Null, ""),
    ];
    for (name, request, said) in cases {
        let (taken, answer) = warned(request, name);
        assert!(taken && answer.contains(said) && answer.contains("Warning: ") != said.is_empty(), "{name}: {answer}");
    }
    // It was there before: nothing is said of a change.
    let (taken, answer) = warned(ask("r2", "Earliest"), "none");
    assert!(taken && !answer.contains("Warning: "), "{answer}");
}
