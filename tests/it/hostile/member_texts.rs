//! F18: texts that members of a group choose, in everything that people read.

use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use stream_pipeline_core::words::is_unseen;
use testbed::consumer::{Consumer, Member};

use crate::support::status::{assert_has, condition};
use crate::support::world::World;

/// Collects the texts of a JSON value that have characters nobody sees.
fn unclean(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains(is_unseen) => found.push(text.clone()),
        Value::Array(all) => all.iter().for_each(|v| unclean(v, found)),
        Value::Object(all) => all.values().for_each(|v| unclean(v, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f18_hostile_client_ids_are_told_cut_and_clean() {
    let mut world = World::new("f18").await;
    let topic = world.topic(&[10, 10, 10, 10]).await;
    let group = world.group(&topic, &[7, 7, 7, 7]).await;
    let long = format!("long-{}", "x".repeat(10_000));
    let ids = ["red-\u{1b}[31m", "forged\n2026-01-01 ERROR all is lost", "\u{202e}gnp.exe\u{2028}\u{200d}", long.as_str()];
    let mut members = Vec::new();
    for client_id in ids {
        let member = Member { group: &group, topic: &topic, client_id, kip848: false, instance_id: None };
        members.push(Consumer::member(&world.bootstrap, &member));
    }
    for member in &members {
        member.wait().await;
    }
    world.known("p", &group).await;
    world.apply("p", &group, json!({ "id": "r1", "quietPeriod": "1s", "to": { "position": "Earliest" } })).await;
    let status = world
        .wait("p", "all members to be told", |s| {
            let waits = s.offset_reset.as_ref().is_some_and(|r| r.stage == Stage::Waiting);
            waits && condition(s, "Ready").is_some_and(|c| c.reason == "GroupActive" && c.message.contains("4 members: "))
        })
        .await;
    let message = &condition(&status, "Ready").expect("it is there").message;
    assert_has(message, &["red- [31m (127.0.0.1)", "forged 2026-01-01", "gnp.exe"]);
    assert!(message.contains("long-xxx") && message.len() < 2100, "expected the long name to be cut: {message}");
    let mut found = Vec::new();
    unclean(&json!(status), &mut found);
    let note = world.event("p", "GroupActive").await;
    assert!(note.contains("members: ") && note.len() <= 1024, "expected the members, in a note of at most 1024 bytes: {note}");
    unclean(&json!(note), &mut found);
    assert!(found.is_empty(), "expected no characters that nobody sees: {found:?}");
    let log = world.operator().log();
    assert!(log.contains("red- [31m"), "expected the member in the log");
    assert!(
        !log.replace('\n', "").contains(is_unseen) && !log.contains("\n2026-01-01 ERROR"),
        "expected no control characters and no forged line in the log"
    );
}
