//! O29: an operator on an API server whose CRDs are older than it is.

use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::consumer::Consumer;
use testbed::eventually;
use testbed::trap::Side;

use crate::support::calls::{closes_record, creates_record, is_commit};
use crate::support::commands::succeeded;
use crate::support::proxied::ProxiedWorld;
use crate::support::requests::{ask, with};
use crate::support::sockets::ports;
use crate::support::status::{assert_has, has_reason, is_over, reset, says};
use crate::support::world::{LIMIT, OwnServers, World};

pub const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
const SCHEMA: &str = "schema/openAPIV3Schema/properties";

/// Makes a CRD an older one, without these parts of its version.
fn older(world: &World, plural: &str, without: &[&str]) {
    let gone: Vec<_> = without.iter().map(|path| json!({ "op": "remove", "path": format!("/spec/versions/0/{path}") })).collect();
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
    let offset_reset = format!("{SCHEMA}/spec/properties/offsetReset");
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
    older(&world, "offsetresetrecords", &[&format!("{SCHEMA}/spec/properties/plan/properties/chunkSize")]);
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

/// Somebody puts older CRDs in place while a reset is under way, and the newer ones back after it.
#[tokio::test(flavor = "multi_thread")]
async fn o29_definitions_that_become_older_in_the_middle_of_a_reset_neither_repeat_nor_lose_it() {
    let (mut socket, addresses) = ports(1);
    let own = OwnServers::start(addresses).await;
    let world = World::on(own.0, "o29m").await;
    let mut proxied = ProxiedWorld::behind(world, vec![(socket.remove(0), own.0.broker.second())]).await;
    proxied.restart_with(&[]);
    proxied.fresh("first").await;
    proxied.ask().await;
    let status = proxied.world.verified("first", "r1").await;
    let record = reset(&status).record_ref.as_ref().expect("a record").name.clone();
    let gone = ["spec/properties/plan/properties/chunkSize", "status/properties/over"].map(|path| format!("{SCHEMA}/{path}"));
    let gone = [gone[0].as_str(), &gone[1], "selectableFields"];
    type Call = fn(&str) -> bool;
    let moments: [(Side, Call, &str); 6] = [
        (Side::Before, creates_record, "before the plan is recorded"),
        (Side::After, creates_record, "after the plan is recorded"),
        (Side::Before, is_commit, "before the commit"),
        (Side::After, is_commit, "after the commit"),
        (Side::Before, closes_record, "before the record is closed"),
        (Side::After, closes_record, "after the record is closed"),
    ];
    for (n, (side, call, moment)) in moments.into_iter().enumerate() {
        proxied.fresh(&format!("p{n}")).await;
        proxied.ask_and_stop(side, call).await;
        // What an older CRD does not know is left out of what is read, too.
        let served = async |newest: bool| {
            eventually("the API server to serve the other CRD", LIMIT, async || {
                match proxied.world.records().get(&record).await.expect("it can be read").status {
                    Some(status) if status.over == newest => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
        };
        older(&proxied.world, "offsetresetrecords", &gone);
        served(false).await;
        proxied.traps.release();
        let told = |status: &_| is_over(status) || has_reason(status, "Ready", "CRDOutdated");
        proxied.world.wait(&proxied.name, "an end, or the older CRD to be told", told).await;
        upgraded(&proxied.world);
        served(true).await;
        let stage = proxied.honest_end().await;
        println!("older CRDs {moment}: {stage:?}");
        proxied.world.decides_twice(&proxied.name).await;
        assert_eq!(proxied.honest_end().await, stage, "{moment}");
    }
    // Who starts anew reads them as they were written under the older CRDs.
    proxied.crash();
    proxied.fresh("last").await;
    proxied.ask().await;
    proxied.verified().await;
    assert_eq!(proxied.world.all_records().await.len(), moments.len() + 2, "records");
}
