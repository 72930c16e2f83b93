//! The rights of the operator's account, verb by verb, each with the test that fails without it (`docs/rights.md`).

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use parking_lot::Mutex;
use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::consumer::Consumer;
use testbed::pods::{self, annotated};
use testbed::{Operator, RELEASE, SYSTEM_NAMESPACE, eventually};

use super::release::CHART;
use crate::support::commands::{both_streams, helm, succeeded};
use crate::support::requests::{ask, with};
use crate::support::workloads::{QUICK, WorkloadWorld, wait};
use crate::support::world::{EXE, LIMIT, World, flags};

/// Tests that run beside each other, each with servers of its own.
const AT_ONCE: usize = 3;

/// Each row of the table: a right, and the test that fails without it.
fn table() -> Vec<(String, String)> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rights.md")).expect("the page can be read");
    let code = |cell: &str| cell.split('`').nth(1).unwrap_or_default().to_owned();
    let row = |line: &str| {
        let cells: Vec<_> = line.strip_prefix("| `")?.split('|').collect();
        let [right, _, test, _] = cells[..] else { panic!("a row of four columns: {line}") };
        Some((right.trim().trim_end_matches('`').to_owned(), code(test)))
    };
    page.lines().filter_map(row).collect()
}

/// The tests of this binary.
fn tests() -> String {
    let own = std::env::current_exe().expect("this binary has a path");
    succeeded(&Command::new(own).arg("--list").output().expect("it runs"))
}

#[tokio::test]
async fn every_right_of_the_chart_is_in_the_table_with_its_test_and_no_other() {
    let testbed = testbed::start().await;
    let args = ["template", RELEASE, CHART, "-n", SYSTEM_NAMESPACE, "--show-only", "templates/rbac.yaml"];
    let rendered = succeeded(&helm(testbed, &args));
    let mut rights = BTreeSet::new();
    for role in rendered.split("\n---").map(|text| text.trim_start_matches("---")) {
        let role: Value = serde_saphyr::from_str(role).expect("YAML");
        let people = role["metadata"]["labels"].as_object().is_some_and(|all| all.keys().any(|name| name.contains("aggregate-to")));
        let words = |list: &Value| -> Vec<String> {
            list.as_array().cloned().unwrap_or_default().iter().map(|w| w.as_str().unwrap_or_default().to_owned()).collect()
        };
        for rule in role["rules"].as_array().into_iter().flatten().filter(|_| !people) {
            let [groups, resources, verbs]: [Vec<String>; 3] = ["apiGroups", "resources", "verbs"].map(|field| words(&rule[field]));
            for (group, resource) in groups.iter().flat_map(|group| resources.iter().map(move |resource| (group, resource))) {
                let of = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
                rights.extend(verbs.iter().map(|verb| format!("{verb} {of}")));
            }
        }
    }
    let table = table();
    assert_eq!(rights, table.iter().map(|(right, _)| right.clone()).collect::<BTreeSet<_>>(), "the chart, and the page");
    let known = tests();
    for (right, test) in table {
        assert!(known.lines().any(|line| line == format!("{test}: test")), "{right}: {test:?} is no test");
    }
}

/// Takes each right away and runs its test, which has to fail. `RIGHTS=secrets` tries those that have this in them.
#[test]
#[ignore = "long: make rights"]
fn each_right_that_is_taken_away_fails_its_test() {
    let wanted = std::env::var("RIGHTS").unwrap_or_default();
    let own = std::env::current_exe().expect("this binary has a path");
    let is_needed = |(right, test): (String, String)| {
        let run = Command::new(&own).args([test.as_str(), "--exact"]).env("TESTBED_WITHOUT_RIGHT", &right).output().expect("it runs");
        let said = both_streams(&run);
        assert!(said.contains("running 1 test"), "{right}: {said}");
        let failed = said.contains("test result: FAILED. 0 passed; 1 failed") && !said.contains("the testbed did not start");
        println!("{} {right}: {test}", if failed { "needed  " } else { "needless" });
        (!failed).then_some(right)
    };
    let rest = Mutex::new(table().into_iter().filter(|(right, _)| right.contains(&wanted)));
    // What a test without its right does is wait, for the most part.
    let needless: Vec<_> = std::thread::scope(|scope| {
        let one_after_the_other = || std::iter::from_fn(|| rest.lock().next()).filter_map(is_needed).collect::<Vec<_>>();
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(one_after_the_other)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it ran")).collect()
    });
    assert!(needless.is_empty(), "no test fails without {needless:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_happens_again_is_counted_and_not_written_anew() {
    let world = World::new("again").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    for n in 1..=2 {
        let member = Consumer::classic(&world.bootstrap, &group, &topic, &format!("again-{n}"));
        member.wait().await;
        // Between the two it waits for the quiet period.
        world.apply("p", &group, with(ask("r1", "Earliest"), "quietPeriod", json!("1h"))).await;
        world.reaches("p", "r1", Stage::Waiting, "GroupActive").await;
        member.stop().await;
        world.wait("p", "another reason", |s| !format!("{:?}", s.conditions).contains("GroupActive")).await;
    }
    eventually("the event to be counted", LIMIT, async || {
        let counts: Vec<_> = world.events().await.into_iter().filter(|e| e.reason.as_deref() == Some("GroupActive")).collect();
        match &counts[..] {
            [one] if one.series.as_ref().is_some_and(|series| series.count == 2) => Ok(()),
            _ => Err(format!("{counts:?}")),
        }
    })
    .await;
}

/// With the account and the Lease of the testbed's own release, which no other test uses.
#[tokio::test(flavor = "multi_thread")]
async fn the_lease_that_the_chart_names_is_taken_renewed_and_given_back() {
    let world = World::without_operator("own-lease").await;
    let election = format!("--leader-election={SYSTEM_NAMESPACE}/{RELEASE}");
    let mut operator = Operator::start(world.testbed, Path::new(EXE), world.namespace.name(), &flags(&[&election, "--lease-duration=3s"]));
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), SYSTEM_NAMESPACE);
    eventually("the Lease to be renewed", LIMIT, async || {
        let spec = leases.get(RELEASE).await.map_err(|e| e.to_string())?.spec.unwrap_or_default();
        (spec.holder_identity.is_some() && spec.renew_time > spec.acquire_time).then_some(()).ok_or_else(|| format!("{spec:?}"))
    })
    .await;
    assert!(operator.terminate().success(), "{}", operator.log());
    let left = leases.get(RELEASE).await.expect("the Lease").spec.and_then(|spec| spec.holder_identity);
    assert_eq!(left, None, "who holds it: {}", operator.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a17_pods_of_a_stateful_set_that_crash_are_named() {
    let crash = |group: &str, topic: &str| vec![annotated(pods::stateful_set("s", 1, group, topic), "crash-loop", "true")];
    let mut scaled = WorkloadWorld::without_operator("a17s", crash).await;
    scaled.world.start_operator_with(&QUICK);
    scaled.apply("p", Value::Null).await;
    scaled.world.is_seen("p").await;
    scaled.apply("p", wait("r1")).await;
    let named = "StatefulSet s (1 replicas, none ready: it starts, or crash-loops)";
    scaled.world.wait("p", "the crash loop to be named", |s| format!("{:?}", s.conditions).contains(named)).await;
}
