//! O29: an operator on an API server whose CRDs are older than it is.

use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::consumer::Consumer;
use testbed::eventually;

use crate::support::commands::succeeded;
use crate::support::requests::{ask, with};
use crate::support::status::{assert_has, reset, says};
use crate::support::world::{LIMIT, OwnServers, World};

pub const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema/properties";

/// Makes a CRD an older one, without these fields.
fn older(world: &World, plural: &str, without: &[&str]) {
    let gone: Vec<_> = without.iter().map(|path| json!({ "op": "remove", "path": format!("{SCHEMA}/{path}") })).collect();
    succeeded(&world.testbed.kubectl(&[
        "patch",
        "crd",
        &format!("{plural}.streampipeline.io"),
        "--type=json",
        "-p",
        &json!(gone).to_string(),
    ]));
}

fn upgraded(world: &World) {
    succeeded(&world.testbed.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", CRDS]));
}

/// Writes an object as a client that does not validate strictly: unknown fields are dropped without a word.
async fn put(world: &World, name: &str, group: &str, request: &Value, dry_run: bool) -> Value {
    let spec = json!({ "kafka": { "bootstrapServers": [world.bootstrap], "consumerGroup": group }, "offsetReset": request });
    let object =
        json!({ "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": { "name": name }, "spec": spec });
    let api = world.untyped();
    let there = api.get_opt(name).await.expect("it can be read").is_some();
    let found = if there {
        api.patch(name, &PatchParams { dry_run, ..PatchParams::default() }, &Patch::Merge(object)).await
    } else {
        let object = serde_json::from_value(object).expect("an object");
        api.create(&PostParams { dry_run, ..PostParams::default() }, &object).await
    };
    found.expect("it is taken").data["spec"]["offsetReset"].clone()
}

/// The request as the API server would store it.
async fn kept(world: &World, group: &str, request: &Value) -> Value {
    put(world, "probe", group, request, true).await
}

async fn has_all(world: &mut World) {
    let operator = &*world.operator();
    eventually("the operator to see the upgrade", LIMIT, async || match operator.log() {
        log if log.contains("The installed CRDs have all that this operator needs now") => Ok(()),
        log => Err(log.lines().last().unwrap_or_default().to_owned()),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o29_an_operator_on_older_definitions_takes_no_step_and_says_how_to_upgrade_them() {
    let own = OwnServers::start(Vec::new()).await;
    let mut world = World::on(own.0, "o29").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.restart();
    world.known("p", &group).await;
    world.kill_operator();

    // An older CRD drops fields of a request without a word: a dry run would become a real reset.
    let offset_reset = "spec/properties/offsetReset";
    let gone = [format!("{offset_reset}/properties/dryRun"), format!("{offset_reset}/x-kubernetes-preserve-unknown-fields")];
    older(&world, "streampipelines", &[&gone[0], &gone[1]]);
    let dry = |id: &str| with(ask(id, "Earliest"), "dryRun", json!(true));
    eventually("the API server to drop what it does not know", LIMIT, async || match kept(&world, &group, &dry("r1")).await {
        request if request["dryRun"].is_null() => Ok(()),
        request => Err(request.to_string()),
    })
    .await;
    world.restart();
    let before = world.writes().len();
    let stored = put(&world, "p", &group, &dry("r1"), false).await;
    assert!(stored["dryRun"].is_null() && stored["id"] == "r1", "as it is stored it is a real one: {stored}");
    put(&world, "created", &group, &with(dry("r1"), "whenCreated", json!("Run")), false).await;
    for name in ["p", "created"] {
        let status = world.reaches(name, "r1", Stage::Failed, "CRDOutdated").await;
        let (stalled, _, message) = says(&status, "Stalled");
        assert_eq!((stalled, says(&status, "OffsetsReset").0), ("True", "False"));
        assert_has(
            message,
            &[
                "streampipelines.streampipeline.io is older",
                "spec.offsetReset.",
                "helm upgrade",
                "kubectl apply --server-side -f crds/",
                "a new id",
            ],
        );
        world.decides_twice(name).await;
    }
    let writes = world.writes().split_off(before);
    assert!(writes.iter().all(|w| w.contains("/status") || w.contains("/events")), "{writes:#?}");
    assert!(!writes.is_empty() && world.all_records().await.is_empty());
    // The CRD is upgraded under the running operator: the old requests stay failed, a new one is stored whole.
    upgraded(&world);
    has_all(&mut world).await;
    for name in ["p", "created"] {
        world.decides_twice(name).await;
        world.reaches(name, "r1", Stage::Failed, "CRDOutdated").await;
    }
    assert_eq!(world.offset(&group, &topic).await, Some(7));
    world.delete("created").await;
    eventually("the API server to keep it", LIMIT, async || match kept(&world, &group, &dry("r2")).await {
        request if request["dryRun"] == json!(true) => Ok(()),
        request => Err(request.to_string()),
    })
    .await;
    world.apply("p", &group, dry("r2")).await;
    world.reaches("p", "r2", Stage::Planned, "PlanReady").await;
    assert_eq!(world.offset(&group, &topic).await, Some(7));

    // Where only the CRD of the records is older, a request waits and starts by itself after the upgrade.
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "o29-member");
    member.wait().await;
    world.apply("p", &group, ask("r3", "Earliest")).await;
    let waits = world.reaches("p", "r3", Stage::Waiting, "GroupActive").await;
    world.kill_operator();
    older(&world, "offsetresetrecords", &["spec/properties/plan/properties/chunkSize"]);
    world.restart();
    let status = world.reaches("p", "r3", Stage::Waiting, "CRDOutdated").await;
    assert_has(says(&status, "Ready").2, &["offsetresetrecords.streampipeline.io is older"]);
    assert_has(says(&status, "Ready").2, &["spec.plan.chunkSize"]);
    member.stop().await;
    world.decides_twice("p").await;
    assert_eq!(
        (world.offset(&group, &topic).await, world.all_records().await.len()),
        (Some(7), 1),
        "the offset, and the record of the dry run"
    );
    upgraded(&world);
    let done = world.verified("p", "r3").await;
    assert_eq!(reset(&done).deadline, reset(&waits).deadline, "the deadline must stay the same");
    assert_eq!(world.offset(&group, &topic).await, Some(0));
}
