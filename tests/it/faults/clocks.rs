//! F22: a clock that is wrong.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use stream_pipeline_api::Stage;

use crate::support::proxied::ProxiedWorld;
use crate::support::status::{assert_has, reset};

/// Times may differ by so much: longer than a test takes, and much shorter than the clocks are apart.
const NEAR: Duration = Duration::from_secs(120);

/// The operator sees an API server whose clock is so many seconds ahead.
async fn apart(test: &str, ahead: i64) -> ProxiedWorld {
    let mut proxied = ProxiedWorld::without_operator(test).await;
    proxied.api.set_ahead(ahead);
    proxied.restart_with(&[]);
    proxied.fresh("p").await;
    // The quiet period and the send window last as long as ever.
    proxied.world.apply("p", &proxied.group, json!({ "id": "r1", "quietPeriod": "1s", "to": { "position": "Earliest" } })).await;
    proxied.verified().await;
    let status = proxied.world.verified("p", "r1").await;
    let server = Timestamp::now() + SignedDuration::from_secs(ahead);
    let record = proxied.world.record(&status).await;
    let times = [reset(&status).accepted_at, Some(record.spec.created_at), reset(&status).completed_at];
    for time in times {
        let off = time.expect("a time").duration_since(server).unsigned_abs();
        assert!(off < NEAR, "{time:?}, and the API server has {server}");
    }
    proxied
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_a_clock_ten_minutes_behind_is_warned_about_and_runs_nothing_that_has_expired() {
    let proxied = apart("f22a", 600).await;
    let note = proxied.world.warned("p", "ClockSkew").await;
    assert_has(note, &["s behind the API server's, whose time counts"]);
    // By the operator's clock it expires in five minutes; by the API server's it expired five minutes ago.
    let expires = Timestamp::now() + SignedDuration::from_mins(5);
    let ask = json!({ "id": "r2", "quietPeriod": "0s", "expiresAt": expires, "to": { "position": "Latest" } });
    proxied.world.apply("p", &proxied.group, ask).await;
    proxied.world.reaches("p", "r2", Stage::Failed, "Expired").await;
    assert_eq!(proxied.landed().await, [[0, 0, 0]], "commits that landed");
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_a_clock_ten_minutes_ahead_is_warned_about_and_runs_what_has_not_expired() {
    let proxied = apart("f22b", -600).await;
    let note = proxied.world.warned("p", "ClockSkew").await;
    assert_has(note, &["s ahead of the API server's, whose time counts"]);
    let expires = Timestamp::now() - SignedDuration::from_mins(5);
    let ask = json!({ "id": "r2", "quietPeriod": "0s", "expiresAt": expires, "to": { "position": "Latest" } });
    proxied.world.apply("p", &proxied.group, ask).await;
    proxied.world.verified("p", "r2").await;
    assert_eq!(proxied.landed().await, [[0, 0, 0], [10, 10, 10]]);
}

/// The clock jumps by ten minutes while a request waits, and back while the next one does. Waits are measured by a monotonic clock.
#[tokio::test(flavor = "multi_thread")]
async fn f22_a_clock_that_jumps_while_a_request_waits_changes_no_wait() {
    let mut proxied = ProxiedWorld::without_operator("f22c").await;
    proxied.restart_with(&[]);
    proxied.fresh("p").await;
    for (id, ahead, position, lands) in [("r1", 600, "Earliest", vec![Some(0); 3]), ("r2", 0, "Latest", vec![Some(10); 3])] {
        // The operator's earlier looks count for the quiet period, so the group is moved first to start it anew.
        let (sent, begun) = (proxied.commits(), std::time::Instant::now());
        proxied.world.move_group(&proxied.group, &proxied.topic, 5).await;
        proxied.world.apply("p", &proxied.group, json!({ "id": id, "quietPeriod": "6s", "to": { "position": position } })).await;
        let waits = proxied.world.wait("p", "it to wait", |s| s.offset_reset.as_ref().is_some_and(|r| r.id == id)).await;
        assert_eq!(reset(&waits).stage, Stage::Waiting, "{waits:?}");
        proxied.api.set_ahead(ahead);
        proxied.world.verified("p", id).await;
        assert!(begun.elapsed() >= Duration::from_secs(6), "{id}: the quiet period was waited for: {:?}", begun.elapsed());
        assert_eq!((proxied.commits(), proxied.offsets().await), (sent + 1, lands), "{id}: sent once");
    }
    assert!(proxied.world.warned("p", "ClockSkew").await.contains("s behind the API server's"));
}
