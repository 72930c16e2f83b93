//! O15, O33 on EnOS: the object is deleted while the operator keeps its pipeline paused.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};
use testbed::enos::{Call, Fault, Kind, When};
use testbed::eventually;

use crate::support::enos::{Enos, ID, pause};
use crate::support::world::LIMIT;

impl Enos {
    async fn ask_to_delete(&self) {
        self.world.pipelines().delete("p", &DeleteParams::default()).await.expect("it can be deleted");
    }

    async fn gone(&self) {
        eventually("the object to be gone", LIMIT, async || match self.world.pipelines().get_opt("p").await {
            Ok(None) => Ok(()),
            other => Err(format!("{:?}", other.map(|p| p.map(|p| p.metadata)))),
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o15_deleted_while_it_is_being_paused_is_gone_only_when_it_runs_again() {
    let enos = Enos::running("o15a", &[]).await;
    let held = enos.sim.hold(Call::Pause, When::After);
    enos.apply("p", ID, pause("r1")).await;
    held.reached().await;
    enos.ask_to_delete().await;
    held.release();
    enos.is(ID, "RUNNING").await;
    enos.gone().await;
    let record = enos.record().await;
    assert!(record.status.is_some_and(|s| s.brought_back_at.is_some()));
    assert_eq!((enos.sim.status(ID).as_str(), enos.changes()), ("RUNNING", [1, 0, 1, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn o15_deleted_after_the_reset_is_gone_only_when_it_runs_again_also_after_a_crash() {
    let mut enos = Enos::running("o15b", &[]).await;
    let held = enos.sim.hold(Call::Start, When::Before);
    enos.apply("p", ID, pause("r1")).await;
    held.reached().await;
    enos.world.kill_operator();
    enos.ask_to_delete().await;
    assert!(enos.world.pipelines().get_opt("p").await.expect("an answer").is_some(), "the finalizer keeps it");
    // What the dead operator had sent is lost.
    drop(held);
    enos.start();
    enos.gone().await;
    let record = enos.world.brought_back(&enos.record().await.name_any()).await;
    assert!(record.status.is_some());
    assert_eq!((enos.sim.status(ID).as_str(), enos.reset_calls()), ("RUNNING", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn o33_without_its_secret_it_is_gone_by_the_deadline_and_that_is_told() {
    let mut enos = Enos::running("o33", &["--finalizer-deadline=4s"]).await;
    enos.held().await;
    enos.world.kill_operator();
    let secrets: Api<Secret> = Api::namespaced(enos.world.client.clone(), enos.world.namespace.name());
    secrets.delete("app", &DeleteParams::default()).await.expect("it can be deleted");
    let begun = std::time::Instant::now();
    enos.ask_to_delete().await;
    enos.start();
    enos.gone().await;
    assert!(begun.elapsed() >= std::time::Duration::from_secs(3), "only then: {:?}", begun.elapsed());
    let note = enos.world.warned("p", "LeftPaused").await;
    assert!(
        note.contains(ID)
            && note.contains("Secret app")
            && note.contains("start it by hand")
            && note.contains(&enos.record().await.name_any()),
        "{note}"
    );
    assert_eq!((enos.sim.status(ID).as_str(), enos.changes()), ("PAUSED", [1, 1, 0, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn o33_a_platform_that_is_back_before_the_deadline_gets_its_pipeline_back() {
    let enos = Enos::running("o33b", &["--finalizer-deadline=60s"]).await;
    enos.held().await;
    enos.sim.fault(Fault::new(Call::Start, When::Before, Kind::Http(503, "no".to_owned())).times(3));
    enos.ask_to_delete().await;
    enos.gone().await;
    assert_eq!((enos.sim.status(ID).as_str(), enos.changes()), ("RUNNING", [1, 1, 4, 0]));
}
