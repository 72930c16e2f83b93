//! D1: what a message tells people to do is taken from it word for word, done, and works. The ways out of a held reset are tried in
//! `workloads/held.rs`, connections in `secured/mistakes.rs`, upgrades in `installation/older_crds.rs`.

use std::path::Path;

use kube::CustomResourceExt;
use serde_json::{Value, json};
use stream_pipeline_api::{Stage, StreamPipeline, StreamPipelineStatus};
use testbed::kafka::{self, OpenTransaction};

use crate::installation::older_crds::CRDS;
use crate::support::commands::{command_in, kafka_shell, succeeded, word_after};
use crate::support::requests::{ask, from_now, with};
use crate::support::sockets::Relay;
use crate::support::status::{assert_has, has_reason, says};
use crate::support::world::{FIRST_RECORD_TIME, World, a_second_passes};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/messages.md");

/// Each setting `field: Value` of `spec.offsetReset` that a message names; both of "A or B".
fn settings(message: &str) -> Vec<(String, Value)> {
    let crd = serde_json::to_value(StreamPipeline::crd()).expect("JSON");
    let known = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["offsetReset"]["properties"];
    let words: Vec<&str> = message.split_whitespace().collect();
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    let mut found = Vec::new();
    for (n, word) in words.iter().enumerate() {
        let Some(field) = word.strip_suffix(':').map(bare).filter(|f| known.get(f).is_some()) else { continue };
        let value = |at: usize| words.get(at).map(|w| bare(w)).filter(|w| w.starts_with(char::is_uppercase) || w == "true" || w == "false");
        let typed = |w: String| w.parse::<bool>().map_or(json!(w), Value::from);
        found.extend(value(n + 1).map(|v| (field.clone(), typed(v))));
        if words.get(n + 2) == Some(&"or") && !words[n + 1].ends_with(',') {
            found.extend(value(n + 3).map(|v| (field.clone(), typed(v))));
        }
    }
    found
}

/// A request that ends so, with a message that names these settings; each of them makes it run.
struct Case {
    name: &'static str,
    reset: Value,
    stage: Stage,
    reason: &'static str,
    told: &'static [(&'static str, &'static str)],
}

#[tokio::test(flavor = "multi_thread")]
async fn d1_each_setting_that_a_message_names_runs_the_request() {
    let world = World::new("d1s").await;
    let topic = world.topic(&[10, 10]).await;
    // A record that is later than all the others.
    kafka::produce(&world.bootstrap, &topic, 1, 1, |_| FIRST_RECORD_TIME + 3_600_000).await;
    let after = json!("2026-01-01T00:30:00Z");
    let late = json!({ "id": "r1", "quietPeriod": "0s", "noRecordAtTime": "Fail", "to": { "timestamp": after } });
    let shift = |by: i64| json!({ "id": "r1", "quietPeriod": "0s", "to": { "shiftBy": by } });
    let missing = with(ask("r1", "Earliest"), "topics", json!([{ "name": topic }]));
    let failed = Stage::Failed;
    let cases = [
        Case { name: "range", reset: shift(1000), stage: failed, reason: "OutOfRange", told: &[("outOfRange", "Clamp")] },
        Case { name: "commit", reset: shift(-1), stage: failed, reason: "NoCommittedOffset", told: &[("noCommittedOffset", "Skip")] },
        Case {
            name: "time",
            reset: late,
            stage: failed,
            reason: "NoRecordAtTime",
            told: &[("noRecordAtTime", "Latest"), ("noRecordAtTime", "Skip")],
        },
        Case { name: "missing", reset: missing, stage: failed, reason: "PipelineNotFound", told: &[("missingGroup", "Create")] },
        Case {
            name: "dry",
            reset: with(ask("r1", "Earliest"), "dryRun", json!(true)),
            stage: Stage::Planned,
            reason: "PlanReady",
            told: &[("dryRun", "false")],
        },
    ];
    for Case { name, reset, stage, reason, told } in cases {
        let group = match name {
            "missing" => world.unique("g"),
            // The second partition has no commit.
            "commit" => world.group(&topic, &[7]).await,
            _ => world.group(&topic, &[7, 8]).await,
        };
        let reset = if name == "commit" { with(reset, "topics", json!([{ "name": topic }])) } else { reset };
        world.known(name, &group).await;
        world.apply(name, &group, reset.clone()).await;
        let message = says(&world.reaches(name, "r1", stage, reason).await, "Ready").2.to_owned();
        let found = settings(&message);
        let shown: Vec<_> = found.iter().map(|(f, v)| (f.as_str(), v.as_str().map_or_else(|| v.to_string(), str::to_owned))).collect();
        assert_eq!(shown.iter().map(|(f, v)| (*f, v.as_str())).collect::<Vec<_>>(), told, "{message}");
        for (n, (field, value)) in found.into_iter().enumerate() {
            let id = if message.contains("new id") { format!("again-{n}") } else { "r1".to_owned() };
            let edited = with(with(reset.clone(), &field, value), "id", json!(id));
            world.apply(name, &group, edited).await;
            world.verified(name, &id).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d1_a_new_id_runs_wherever_a_message_says_that_it_does() {
    let world = World::new("d1n").await;
    let topic = world.topic(&[10]).await;
    let earliest = || ask("r1", "Earliest");
    let expired = with(earliest(), "expiresAt", from_now(-60));
    let unknown = with(earliest(), "dryrun", json!(true));
    let late = with(with(earliest(), "waitTimeout", json!("2s")), "topics", json!([{ "name": topic }]));
    for (name, reset, stage, reason) in [
        ("expired", expired, Stage::Failed, "Expired"),
        ("unknown", unknown, Stage::Failed, "UnknownField"),
        ("edited", earliest(), Stage::Verified, "RequestEditedWithoutNewId"),
        ("late", late, Stage::Failed, "WaitTimedOut"),
    ] {
        let group = world.group(&topic, &[7]).await;
        world.known(name, &group).await;
        let open = if name == "late" { Some(OpenTransaction::holding(&world.bootstrap, &group, &[(&topic, 0, 5)]).await) } else { None };
        world.apply(name, &group, reset).await;
        if name == "edited" {
            world.verified(name, "r1").await;
            world.move_group(&group, &topic, 5).await;
            world.apply(name, &group, ask("r1", "Latest")).await;
        }
        let message = says(&world.reaches(name, "r1", stage, reason).await, "Ready").2.to_owned();
        assert_has(&message, &["new id"]);
        if let Some(open) = open {
            open.abort().await;
        }
        // The message names the wrong field.
        if name == "unknown" {
            assert_eq!(word_after(&message, "spec.offsetReset."), "dryrun", "{message}");
        }
        world.apply(name, &group, ask("r2", "Earliest")).await;
        world.verified(name, "r2").await;
        assert_eq!(world.offset(&group, &topic).await, Some(0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d1_each_way_out_of_a_skipped_request_runs_it() {
    let world = World::new("d1c").await;
    let topic = world.topic(&[10]).await;
    for way in ["id", "whenCreated", "expiresAt"] {
        let group = world.group(&topic, &[7]).await;
        let name = way.to_lowercase();
        world.apply(&name, &group, ask("r1", "Earliest")).await;
        let status = world.reaches(&name, "r1", Stage::Skipped, "SkippedAtCreation").await;
        let message = says(&status, "Ready").2;
        let id = if way == "id" {
            assert_has(message, &["set a new spec.offsetReset.id on the existing object"]);
            world.apply(&name, &group, ask("r2", "Earliest")).await;
            "r2"
        } else {
            world.delete(&name).await;
            let set = if way == "expiresAt" {
                assert_has(message, &["with an expiresAt in the future"]);
                (way.to_owned(), from_now(600))
            } else {
                settings(message).into_iter().find(|(field, _)| field == way).unwrap_or_else(|| panic!("{message}"))
            };
            world.apply(&name, &group, with(ask("r1", "Earliest"), &set.0, set.1)).await;
            "r1"
        };
        world.verified(&name, id).await;
        assert_eq!(world.offset(&group, &topic).await, Some(0), "{way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d1_the_object_that_a_message_names_is_the_one_that_is_in_the_way() {
    let world = World::new("d1o").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("z-old", &group).await;
    a_second_passes().await;
    world.known("a-young", &group).await;
    world.apply("a-young", &group, ask("r1", "Earliest")).await;
    let status = world.reaches("a-young", "r1", Stage::Waiting, "DuplicateGroup").await;
    let message = says(&status, "Ready").2;
    assert_has(message, &["this request starts once the older is gone"]);
    let (namespace, name) = word_after(message, "StreamPipeline ").split_once('/').unwrap_or_else(|| panic!("{message}"));
    succeeded(&world.testbed.kubectl(&["delete", "sp", name, "-n", namespace]));
    world.verified("a-young", "r1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d1_a_transaction_that_is_left_over_is_found_and_ended_as_the_message_says() {
    let world = World::new("d1t").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    let _open = OpenTransaction::holding(&world.bootstrap, &group, &[(&topic, 0, 5)]).await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let message = says(&world.reaches("p", "r1", Stage::Waiting, "TransactionOpen").await, "Ready").2.to_owned();
    assert_has(&message, &["kafka-transactions"]);
    let run = |what: &str| kafka_shell(world.testbed, &world.bootstrap, what);
    assert_has(&message, &["kafka-transactions list", "kafka-transactions forceTerminateTransaction --transactionalId "]);
    let listed = succeeded(&run(command_in(&message, "kafka-transactions list")));
    let open = listed.lines().find(|l| l.contains(&format!("tx-{group}"))).unwrap_or_else(|| panic!("{listed}"));
    let id = open.split_whitespace().next().expect("an id");
    assert_has(open, &["Ongoing"]);
    let ends = command_in(&message, "kafka-transactions forceTerminateTransaction").replace("<id>", id);
    succeeded(&run(&ends));
    world.verified("p", "r1").await;
    assert_eq!(world.offset(&group, &topic).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn d1_the_flag_that_a_message_names_lets_the_operator_through() {
    let mut world = World::without_operator("d1f").await;
    world.start_operator_with(&["--allowed-endpoints=10.0.0.0/8"]);
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    // Not 127.0.0.1, where the API server is, which has a rule of its own.
    let relay = Relay::at("127.0.0.2", &world.bootstrap).await;
    world.named = Some(vec![relay.address.clone()]);
    world.apply("p", &group, with(ask("r1", "Earliest"), "whenCreated", json!("Run"))).await;
    let refused = |s: &StreamPipelineStatus| has_reason(s, "Ready", "EndpointNotAllowed");
    let status = world.wait("p", "the address to be refused", refused).await;
    let message = says(&status, "Ready").2;
    let flag = format!("--{}", word_after(message, "the operator's --"));
    assert_eq!(flag, "--allowed-endpoints", "{message}");
    world.kill_operator();
    world.start_operator_with(&[&format!("{flag}=127.0.0.1,127.0.0.2,::1")]);
    world.verified("p", "r1").await;
}

/// Every command on the page of all messages runs as it is written, on the real servers.
#[tokio::test(flavor = "multi_thread")]
async fn d1_every_command_on_the_page_of_messages_runs_as_it_stands() {
    let world = World::without_operator("d1p").await;
    kafka::create_topic(&world.bootstrap, &world.unique("t"), 1, &[]).await;
    let mut commands: Vec<&str> = Vec::new();
    let page = std::fs::read_to_string(PAGE).expect("the page is there");
    for line in page.lines().filter(|l| l.starts_with('|')) {
        let message = line.rsplit(" | ").next().unwrap_or_default();
        for (at, _) in message.match_indices("kubectl ").chain(message.match_indices("kafka-")) {
            let command = command_in(&message[at..], "k");
            // A command, not a word that only begins like one.
            if command.contains(' ') && command.contains("--") || command.starts_with("kubectl") {
                commands.push(command);
            }
        }
    }
    commands.sort_unstable();
    commands.dedup();
    println!("{commands:#?}");
    assert!(
        commands.len() >= 5 && commands.iter().any(|c| c.starts_with("kubectl")),
        "expected at least five commands, some of kubectl: {commands:?}"
    );
    for command in commands {
        if let Some(rest) = command.strip_prefix("kubectl ") {
            let args: Vec<&str> = rest.split(' ').map(|word| if word == "crds/" { CRDS } else { word }).collect();
            let args = if args[0] == "apply" { [&args[..], &["--dry-run=server", "--force-conflicts"]].concat() } else { args };
            succeeded(&world.testbed.kubectl(&args));
        } else if !command.contains("kafka-acls") {
            // `kafka-acls` needs a broker with ACLs: `secured/advice.rs`.
            let said = kafka_shell(world.testbed, &world.bootstrap, &command.replace("<id>", "nobodys"));
            let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
            let unknown = ["is not a recognized option", "unrecognized arguments", "usage:", "Missing required", "invalid choice"];
            assert!(!unknown.iter().any(|part| text.contains(part)), "{command}: {text}");
        }
    }
    assert!(Path::new(CRDS).is_dir());
}
