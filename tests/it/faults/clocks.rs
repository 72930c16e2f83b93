//! F22: a clock that is wrong.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;
use stream_pipeline_operator::api::Stage;
use testbed::eventually;

use crate::support::proxied::Wired;
use crate::support::world::{LIMIT, reset};

/// Much longer than a test takes, much less than the clocks are apart.
const NEAR: Duration = Duration::from_secs(120);

/// The operator sees an API server whose clock is so many seconds ahead.
async fn apart(test: &str, ahead: i64) -> Wired {
    let mut wired = Wired::without_operator(test).await;
    wired.api.set_ahead(ahead);
    wired.restart_with(&[]);
    wired.fresh("p").await;
    // The quiet period and the send window are waited for as ever.
    wired.world.apply("p", &wired.group, json!({ "id": "r1", "quietPeriod": "1s", "to": { "position": "Earliest" } })).await;
    wired.verified().await;
    let status = wired.world.verified("p", "r1").await;
    let server = Timestamp::now() + SignedDuration::from_secs(ahead);
    let record = wired.world.record(&status).await;
    let times = [reset(&status).accepted_at, Some(record.spec.created_at), reset(&status).completed_at];
    for time in times {
        let off = time.expect("a time").duration_since(server).unsigned_abs();
        assert!(off < NEAR, "{time:?}, and the API server has {server}");
    }
    wired
}

/// What a Warning event says of the clocks.
async fn warned(wired: &Wired) -> String {
    let events: Api<Event> = Api::namespaced(wired.world.client.clone(), wired.world.namespace.name());
    eventually("a warning", LIMIT, async || {
        let all = events.list(&ListParams::default()).await.map_err(|e| e.to_string())?.items;
        let found = all.iter().find(|e| e.reason.as_deref() == Some("ClockSkew") && e.type_.as_deref() == Some("Warning"));
        found.and_then(|e| e.note.clone()).ok_or_else(|| format!("{} others", all.len()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_a_clock_ten_minutes_behind_is_warned_about_and_runs_nothing_that_has_expired() {
    let wired = apart("f22a", 600).await;
    let note = warned(&wired).await;
    assert!(note.contains("s behind the API server's, whose time counts"), "{note}");
    // In five minutes by the operator's clock, five minutes ago by the API server's.
    let expires = Timestamp::now() + SignedDuration::from_mins(5);
    let ask = json!({ "id": "r2", "quietPeriod": "0s", "expiresAt": expires, "to": { "position": "Latest" } });
    wired.world.apply("p", &wired.group, ask).await;
    wired.world.reaches("p", "r2", Stage::Failed, "Expired").await;
    assert_eq!(wired.landed().await, [[0, 0, 0]], "nothing more was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_a_clock_ten_minutes_ahead_is_warned_about_and_runs_what_has_not_expired() {
    let wired = apart("f22b", -600).await;
    let note = warned(&wired).await;
    assert!(note.contains("s ahead of the API server's, whose time counts"), "{note}");
    let expires = Timestamp::now() - SignedDuration::from_mins(5);
    let ask = json!({ "id": "r2", "quietPeriod": "0s", "expiresAt": expires, "to": { "position": "Latest" } });
    wired.world.apply("p", &wired.group, ask).await;
    wired.world.verified("p", "r2").await;
    assert_eq!(wired.landed().await, [[0, 0, 0], [10, 10, 10]]);
}

/// Set back by ten minutes while a request waits, and right again while the next one does: what is waited for is measured by another.
#[tokio::test(flavor = "multi_thread")]
async fn f22_a_clock_that_jumps_while_a_request_waits_changes_no_wait() {
    let mut wired = Wired::without_operator("f22c").await;
    wired.restart_with(&[]);
    wired.fresh("p").await;
    for (id, ahead, position, lands) in [("r1", 600, "Earliest", vec![Some(0); 3]), ("r2", 0, "Latest", vec![Some(10); 3])] {
        // What was seen before counts, so the group moves first.
        let (sent, begun) = (wired.commits(), std::time::Instant::now());
        wired.world.moved(&wired.group, &wired.topic, 5).await;
        wired.world.apply("p", &wired.group, json!({ "id": id, "quietPeriod": "6s", "to": { "position": position } })).await;
        let waits = wired.world.wait("p", "it to wait", |s| s.offset_reset.as_ref().is_some_and(|r| r.id == id)).await;
        assert_eq!(reset(&waits).stage, Stage::Waiting, "{waits:?}");
        wired.api.set_ahead(ahead);
        wired.world.verified("p", id).await;
        assert!(begun.elapsed() >= Duration::from_secs(6), "{id}: the quiet period was waited for: {:?}", begun.elapsed());
        assert_eq!((wired.commits(), wired.offsets().await), (sent + 1, lands), "{id}: sent once");
    }
    assert!(warned(&wired).await.contains("s behind the API server's"));
}
