//! O13: a commit that is accepted on some partitions and refused on others.

use serde_json::{Value, json};
use stream_pipeline_api::{OffsetResetRecord, Stage, StreamPipelineStatus};
use testbed::secured::{Acl, Operation, Resource};
use testbed::trap::Side;
use testbed::{eventually, kafka, offsets_topic};

use crate::support::calls::is_commit;
use crate::support::proxied::ProxiedWorld;
use crate::support::requests::{ask, with};
use crate::support::secured::{SecuredWorld, login};
use crate::support::status::{assert_has, says};
use crate::support::world::{LIMIT, PATIENT};

/// A group that reads two topics of two partitions each.
struct Two {
    proxied: ProxiedWorld,
    group: String,
    kept: String,
    lost: String,
}

impl Two {
    async fn on(proxied: ProxiedWorld) -> Self {
        let (kept, lost) = (proxied.world.topic(&[10, 10]).await, proxied.world.topic(&[10, 10]).await);
        let mut two = Self { group: String::new(), kept, lost, proxied };
        two.again().await;
        two
    }

    /// A group of its own.
    async fn again(&mut self) {
        self.group = self.proxied.world.unique("g");
        let (kept, lost) = (self.kept.as_str(), self.lost.as_str());
        kafka::commit(
            &self.proxied.world.bootstrap,
            &self.group,
            &[(kept, 0, 7, ""), (kept, 1, 8, ""), (lost, 0, 5, ""), (lost, 1, 6, "")],
        )
        .await;
    }

    async fn offsets(&self) -> [Vec<Option<i64>>; 2] {
        [self.proxied.world.offsets(&self.group, &self.kept, 2).await, self.proxied.world.offsets(&self.group, &self.lost, 2).await]
    }

    /// Held, with each refused partition in the status and in the record.
    async fn partly(&self, name: &str, code: i32, says_too: &str) -> (StreamPipelineStatus, OffsetResetRecord) {
        let status = self.proxied.world.reaches(name, "r1", Stage::Held, "PartlyApplied").await;
        assert_eq!((says(&status, "Stalled").0, says(&status, "OffsetsReset").0), ("True", "Unknown"));
        let message = says(&status, "Ready").2;
        for partition in 0..2 {
            assert_has(message, &[&format!("{}-{partition} (code {code}, ", self.lost)]);
        }
        assert_has(message, &["the broker refused 2 partitions", says_too]);
        assert!(!message.contains("onUnknownOutcome"), "expected no advice to retry: {message}");
        let record = self.proxied.world.record(&status).await;
        let failures = &record.status.as_ref().expect("it is closed").failures;
        let failed: Vec<_> = failures.iter().map(|f| (f.topic.as_str(), f.partition, f.code)).collect();
        assert_eq!(failed, [(self.lost.as_str(), 0, code), (self.lost.as_str(), 1, code)]);
        assert!(record.spec.plan.is_some() && record.spec.writer.as_ref().is_some_and(|w| (w.attempt, w.chunk) == (1, 1)));
        (status, record)
    }

    /// Offsets that landed after the first ones, by topic and partition.
    async fn landed(&self) -> Vec<(String, i32, Vec<i64>)> {
        let all = offsets_topic::landed(&self.proxied.world.bootstrap, &self.group).await;
        all.into_iter().map(|((topic, partition), offsets)| (topic, partition, offsets[1..].to_vec())).collect()
    }

    fn once(&self, lost: &[i64]) -> Vec<(String, i32, Vec<i64>)> {
        let rows = |topic: &String, offsets: &[i64]| (0..2).map(|p| (topic.clone(), p, offsets.to_vec())).collect::<Vec<_>>();
        let mut all = [rows(&self.kept, &[0]), rows(&self.lost, lost)].concat();
        all.sort();
        all
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o13_a_topic_that_goes_under_the_commit_leaves_it_partly_applied_and_the_rest_is_never_planned_anew() {
    let mut proxied = ProxiedWorld::without_operator("o13").await;
    proxied.restart_with(&PATIENT);
    let two = Two::on(proxied).await;
    let Two { proxied, group, lost, .. } = &two;
    proxied.world.known("p", group).await;
    proxied.traps.arm(Side::Before, is_commit);
    proxied.world.apply("p", group, with(ask("r1", "Earliest"), "onUnknownOutcome", json!("Retry"))).await;
    proxied.traps.sprung().await;
    kafka::delete_topic(&proxied.world.bootstrap, lost).await;
    // Its commits go with it, once the broker knows.
    eventually("the topic to be gone for its groups", LIMIT, async || match two.offsets().await {
        [_, none] if none == [None, None] => Ok(()),
        offsets => Err(format!("{offsets:?}")),
    })
    .await;
    proxied.traps.release();
    two.partly("p", 3, "2 of 4 partitions at their target, 0 as before, 2 elsewhere").await;
    assert_eq!(proxied.commits(), 1, "commits, where the rest is not sent again");
    // The topic comes back, with the old offsets: nothing more is sent.
    proxied.world.decides_twice("p").await;
    kafka::create_topic(&proxied.world.bootstrap, lost, 2, &[]).await;
    kafka::commit(&proxied.world.bootstrap, group, &[(lost.as_str(), 0, 5, ""), (lost.as_str(), 1, 6, "")]).await;
    proxied.world.decides_twice("p").await;
    two.partly("p", 3, "2 elsewhere").await;
    assert_eq!((proxied.commits(), two.offsets().await), (1, [vec![Some(0), Some(0)], vec![Some(5), Some(6)]]));
    assert_eq!(proxied.world.all_records().await.len(), 1);
}

/// The operator logs in as alice, through a proxy, and loses a right under the commit.
#[tokio::test(flavor = "multi_thread")]
async fn o13_a_right_revoked_under_the_commit_is_tried_with_the_same_numbers_and_then_held() {
    let locked = SecuredWorld::without_operator("o13r").await;
    let secured = locked.secured;
    let line = secured.proxied().expect("nobody else serves it");
    let mut proxied = ProxiedWorld::behind(locked.world, vec![line]).await;
    proxied.restart_with(&PATIENT);
    let mut two = Two::on(proxied).await;
    let right = |kind, name: &str| Acl::allow(testbed::secured::ALICE, Operation::Read, kind, name);
    let describe = Acl::allow(testbed::secured::ALICE, Operation::Describe, Resource::Topic, &two.lost);
    let may_commit = [right(Resource::Topic, &two.lost)];
    tokio::task::block_in_place(|| secured.grant(&[right(Resource::Topic, &two.kept), may_commit[0].clone(), describe])).expect("granted");
    let revoke = || tokio::task::block_in_place(|| secured.revoke(&may_commit)).expect("revoked");
    let grant = || tokio::task::block_in_place(|| secured.grant(&may_commit)).expect("granted");
    let apply = async |two: &Two, name: &str, reset: Value| {
        let servers = two.proxied.world.named.as_deref().expect("a proxy");
        let mut spec =
            json!({ "kafka": { "bootstrapServers": servers, "consumerGroup": two.group, "sasl": login("SCRAM-SHA-512", "login") } });
        if !reset.is_null() {
            spec["offsetReset"] = reset;
        }
        two.proxied.world.apply_spec(name, spec).await.expect("the API server takes it");
    };
    for (name, comes_back) in [("held", false), ("back", true)] {
        two.again().await;
        tokio::task::block_in_place(|| secured.grant(&[right(Resource::Group, &two.group)])).expect("granted");
        let before = two.proxied.commits();
        apply(&two, name, Value::Null).await;
        two.proxied.world.is_seen(name).await;
        two.proxied.traps.arm(Side::Before, is_commit);
        apply(&two, name, ask("r1", "Earliest")).await;
        two.proxied.traps.sprung().await;
        // After the second look, at which the right was there.
        revoke();
        // The operator's second try is stopped too.
        two.proxied.traps.arm(Side::Before, is_commit);
        two.proxied.traps.let_go();
        two.proxied.traps.sprung().await;
        assert_eq!((two.proxied.commits() - before, two.landed().await), (2, two.once(&[])), "{name}: accepted on some, refused on others");
        if comes_back {
            grant();
        }
        two.proxied.traps.release();
        if comes_back {
            two.proxied.world.verified(name, "r1").await;
            assert_eq!((two.proxied.commits() - before, two.landed().await), (2, two.once(&[0])), "{name}: the same numbers, once");
            continue;
        }
        two.partly(name, 29, "2 of 4 partitions at their target, 2 as before, 0 elsewhere").await;
        assert_eq!(two.proxied.commits() - before, 3, "commits that were sent");
        // The right is there again: the rest is not planned anew.
        grant();
        let other = two.proxied.world.unique("note");
        apply(&two, name, with(ask("r1", "Earliest"), "note", json!(other))).await;
        let touched = two.proxied.world.pipelines().get(name).await.expect("it is there").metadata.generation;
        two.proxied.world.wait(name, "the operator to look at an edit", |s| s.observed_generation == touched).await;
        two.partly(name, 29, "2 as before").await;
        assert_eq!((two.proxied.commits() - before, two.landed().await), (3, two.once(&[])));
    }
    assert_eq!(two.proxied.world.all_records().await.len(), 2);
}
