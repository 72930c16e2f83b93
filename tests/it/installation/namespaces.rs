//! An operator that watches a list of namespaces.

use std::path::Path;

use kube::Api;
use stream_pipeline_api::StreamPipeline;
use testbed::Operator;

use crate::support::requests::ask;
use crate::support::world::{EXE, World, flags};

#[tokio::test(flavor = "multi_thread")]
async fn those_that_are_named_are_served_as_one_and_others_are_left_alone() {
    let worlds =
        [World::without_operator("named-a").await, World::without_operator("named-b").await, World::without_operator("other").await];
    let [a, b, other] = &worlds;
    let topic = a.topic(&[10]).await;
    let group = a.group(&topic, &[7]).await;
    let named = format!("{},{}", a.namespace.name(), b.namespace.name());
    // There before the operator: it has lists to put together.
    other.apply("p", &group, ask("r1", "Earliest")).await;
    let object = b.apply("p", &group, serde_json::Value::Null).await;
    let operator = Operator::start(a.testbed, Path::new(EXE), &named, &flags(&[]));
    b.nothing_requested("p").await;
    b.apply("p", &group, ask("r1", "Earliest")).await;
    b.verified("p", "r1").await;
    assert_eq!(a.offsets(&group, &topic, 1).await, [Some(0)]);
    a.known("p", &group).await;
    a.apply("p", &group, ask("r1", "Latest")).await;
    a.verified("p", "r1").await;
    assert_eq!(a.offsets(&group, &topic, 1).await, [Some(10)]);
    // Deleted and made anew, it is another object.
    b.delete("p").await;
    let again = b.apply("p", &group, serde_json::Value::Null).await;
    assert_ne!(object.metadata.uid, again.metadata.uid);
    b.nothing_requested("p").await;
    let api: Api<StreamPipeline> = other.api();
    let status = api.get("p").await.expect("it is there").status.unwrap_or_default();
    assert!(status.conditions.is_empty() && !operator.log().contains(other.namespace.name()), "{status:?}");
}
