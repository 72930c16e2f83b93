//! O15, O33 on EnOS: the object is deleted while the operator keeps its pipeline paused.

use kube::ResourceExt;
use testbed::enos::{Call, Fault, Kind, When};

use crate::support::enos::{EnosWorld, ID, pause};
use crate::support::status::assert_has;

#[tokio::test(flavor = "multi_thread")]
async fn o15_deleted_while_it_is_being_paused_is_gone_only_when_it_runs_again() {
    let enos = EnosWorld::running("o15a", &[]).await;
    let held = enos.sim.hold(Call::Pause, When::After);
    enos.apply("p", ID, pause("r1")).await;
    held.reached().await;
    enos.world.ask_to_delete("p").await;
    held.release();
    enos.is(ID, "RUNNING").await;
    enos.world.is_gone("p").await;
    let record = enos.world.only_record().await;
    assert!(record.status.is_some_and(|s| s.brought_back_at.is_some()));
    assert_eq!((enos.sim.status(ID).as_str(), enos.changes()), ("RUNNING", [1, 0, 1, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn o15_deleted_after_the_reset_is_gone_only_when_it_runs_again_also_after_a_crash() {
    let mut enos = EnosWorld::running("o15b", &[]).await;
    let held = enos.sim.hold(Call::Start, When::Before);
    enos.apply("p", ID, pause("r1")).await;
    held.reached().await;
    enos.world.kill_operator();
    enos.world.ask_to_delete("p").await;
    assert!(enos.world.pipelines().get_opt("p").await.expect("an answer").is_some(), "the object must be kept by its finalizer");
    // The call of the killed operator is dropped.
    drop(held);
    enos.start();
    enos.world.is_gone("p").await;
    let record = enos.world.brought_back(&enos.world.only_record().await.name_any()).await;
    assert!(record.status.is_some());
    assert_eq!((enos.sim.status(ID).as_str(), enos.reset_calls()), ("RUNNING", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn o33_without_its_secret_it_is_gone_by_the_deadline_and_that_is_told() {
    let mut enos = EnosWorld::running("o33", &["--finalizer-deadline=4s"]).await;
    enos.held().await;
    enos.world.kill_operator();
    enos.world.delete_secret("app").await;
    let begun = std::time::Instant::now();
    enos.world.ask_to_delete("p").await;
    enos.start();
    enos.world.is_gone("p").await;
    assert!(begun.elapsed() >= std::time::Duration::from_secs(3), "only then: {:?}", begun.elapsed());
    let note = enos.world.warned("p", "LeftPaused").await;
    assert_has(note, &[ID, "Secret app", "start it by hand", &enos.world.only_record().await.name_any()]);
    assert_eq!((enos.sim.status(ID).as_str(), enos.changes()), ("PAUSED", [1, 1, 0, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn o33_a_platform_that_is_back_before_the_deadline_gets_its_pipeline_back() {
    let enos = EnosWorld::running("o33b", &["--finalizer-deadline=60s"]).await;
    enos.held().await;
    enos.sim.fault(Fault::new(Call::Start, When::Before, Kind::Http(503, "no".to_owned())).times(3));
    enos.world.ask_to_delete("p").await;
    enos.world.is_gone("p").await;
    assert_eq!((enos.sim.status(ID).as_str(), enos.changes()), ("RUNNING", [1, 1, 4, 0]));
}
