//! F20: a quota of the brokers that throttles the operator.

use stream_pipeline_api::Stage;

use crate::support::secured::{SecuredWorld, Way, login, run, tls};
use crate::support::status::{assert_has, says};

/// Sets the quota of a user, or takes it away, by Kafka's own tool.
fn quota(locked: &SecuredWorld, user: &str, percentage: Option<&str>) {
    let change = match percentage {
        Some(percentage) => ["--add-config".to_owned(), format!("request_percentage={percentage}")],
        None => ["--delete-config".to_owned(), "request_percentage".to_owned()],
    };
    let mut tool = std::process::Command::new(locked.world.testbed.kafka_bin().join("kafka-configs.sh"));
    tool.args(["--bootstrap-server", &locked.secured.plaintext(), "--alter", "--entity-type", "users", "--entity-name", user]).args(change);
    let output = tokio::task::block_in_place(|| tool.output()).expect("the tool is there");
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn f20_a_quota_that_throttles_is_said_and_a_reset_goes_through_it() {
    // A shorter deadline than the second for which the broker mutes the connection.
    let mut locked = SecuredWorld::new("sf20q", &["--call-deadline=500ms"]).await;
    let user = "sf20q-dave";
    locked.user(user, "pass", "dave").await;
    locked.let_user_in(user, "sf20q-");
    quota(&locked, user, Some("0.01"));
    let (topic, group) = locked.topic_and_group().await;
    let way = Way::new("p", locked.secured.scram(), tls(), login("SCRAM-SHA-512", "dave"));
    locked.apply("p", &way, &group, run("r1")).await;
    let status = locked.world.reaches("p", "r1", Stage::Waiting, "RateLimited").await;
    let message = says(&status, "Ready").2;
    println!("{message}");
    assert_has(
        message,
        &["a quota of the brokers throttles the operator", "--call-deadline", "stream-pipeline-operator", "kafka-configs --describe"],
    );
    assert_eq!(locked.world.offset(&group, &topic).await, Some(7), "the offset, where nothing was moved");
    // With a longer deadline it works, slowly.
    locked.world.kill_operator();
    locked.start(&["--call-deadline=30s", "--send-window=30s"]);
    locked.world.verified("p", "r1").await;
    assert_eq!(locked.world.offset(&group, &topic).await, Some(0));
    quota(&locked, user, None);
}
