//! SIGTERM: the operator ends in order, with nothing left half done.

use stream_pipeline_api::RecordPhase;
use testbed::trap::Side;

use crate::support::calls::is_commit;
use crate::support::metrics;
use crate::support::proxied::ProxiedWorld;
use crate::support::requests::ask;
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_operator_in_order_and_probes_tell_the_truth() {
    let mut world = World::new("sigterm").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    for (path, expected) in [("/livez", "ok"), ("/readyz", "ok"), ("/metrics", "streampipeline_reconcile_time_seconds")] {
        let body = metrics::get(world.operator(), path).await;
        assert!(body.starts_with("HTTP/1.1 200") && body.contains(expected), "{path}: {body}");
    }
    let status = world.operator().terminate();
    assert!(status.success(), "expected the operator to end with success: {status}");
    // An operator that was asked to end starts nothing new; the next one does.
    world.apply("p", &group, ask("r1", "Earliest")).await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(7)]);
    world.start_operator();
    world.verified("p", "r1").await;
}

const SIGTERM: i32 = 15;

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_after_the_send_reads_back_and_closes_before_the_end() {
    let mut proxied = ProxiedWorld::new("drain").await;
    proxied.restart_with(&["--call-deadline=60s"]);
    proxied.ask_and_stop(Side::After, is_commit).await;
    let operator = proxied.operator.as_mut().expect("an operator");
    operator.signal(SIGTERM);
    proxied.traps.release();
    let status = tokio::task::block_in_place(|| operator.terminate());
    assert!(status.success(), "expected the operator to end with success: {status}");
    // The operator has ended, and the record is closed.
    let records = proxied.world.all_records().await;
    assert_eq!(records[0].status.as_ref().map(|s| s.phase), Some(RecordPhase::Verified));
    assert_eq!(proxied.commits(), 1);
}
