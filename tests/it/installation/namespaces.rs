//! An operator that watches a list of namespaces.

use std::path::Path;

use kube::Api;
use stream_pipeline_api::StreamPipeline;
use testbed::Operator;

use super::life::is_ready;
use super::release::{CHART, Release};
use crate::support::commands::succeeded;
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

/// With it goes its Role, so that an operator that starts later may not even list what is there no more.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_deleted_holds_up_none_of_the_others_also_not_after_a_restart() {
    let worlds = [World::without_operator("stays").await, World::without_operator("goes").await];
    let [stays, goes] = &worlds;
    let named = format!("{},{}", stays.namespace.name(), goes.namespace.name());
    let (release, _) = Release::install(stays.testbed, stays.namespace.name(), CHART, &[&format!("--set=watchNamespaces={{{named}}}")]);
    let mut operator = release.operator_of(&named, &[]);
    is_ready(&operator).await;
    let topic = stays.topic(&[10]).await;
    let group = stays.group(&topic, &[7]).await;
    for world in &worlds {
        world.known("p", &group).await;
    }
    let deleted = ["delete", "namespace", goes.namespace.name(), "--timeout=60s"];
    tokio::task::block_in_place(|| succeeded(&stays.testbed.kubectl(&deleted)));
    stays.apply("p", &group, ask("r1", "Earliest")).await;
    stays.verified("p", "r1").await;
    assert!(operator.terminate().success(), "{}", operator.log());
    let again = release.operator_of(&named, &[]);
    is_ready(&again).await;
    assert!(again.log().contains("cannot list resource"), "it may not list in the other one: {}", again.log());
    stays.apply("p", &group, ask("r2", "Latest")).await;
    stays.verified("p", "r2").await;
}
