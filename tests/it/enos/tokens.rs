//! E07, E09: tokens that cannot be had, expire or are revoked.

use std::time::Duration;

use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::enos::{Call, ExpiredToken, Fault, Kind, Options, Simulator, When};
use testbed::eventually;

use crate::support::enos::{EnosWorld, ID, SOON, id, pipeline};
use crate::support::sockets::Relay;
use crate::support::status::{message, reset, says};
use crate::support::world::LIMIT;

#[tokio::test(flavor = "multi_thread")]
async fn e07_a_token_service_that_fails_is_waited_for_and_the_reset_is_sent_once() {
    let enos = EnosWorld::with_flags("e07c", Options::default(), &SOON).await;
    for (n, kind) in [
        Kind::Code(1005, None),
        Kind::Http(503, "Service unavailable".to_owned()),
        Kind::Drop,
        Kind::Hang,
        Kind::CutBody,
        Kind::Html(200),
        Kind::BigBody,
        Kind::DeepJson,
    ]
    .into_iter()
    .enumerate()
    {
        // Each case has a platform of its own, for which there is no token yet.
        let sim = Simulator::start(Options::default()).await;
        sim.add(pipeline(n, "cleaning", "PAUSED"));
        sim.fault(Fault::new(Call::TokenGet, When::Before, kind.clone()).times(u32::MAX));
        let name = format!("p{n}");
        enos.run(&name, enos.spec_at(&id(n), &sim.endpoint()), Value::Null).await;
        let waits =
            enos.world.wait(&name, "the token service to be missed", |s| s.offset_reset.as_ref().is_some_and(|r| r.error.is_some())).await;
        assert_eq!(reset(&waits).stage, Stage::Waiting, "{kind:?}");
        assert!(message(&waits).contains("the token service (get)"), "{kind:?}: {}", message(&waits));
        assert!(sim.calls().iter().all(|c| c.call == Call::TokenGet), "{kind:?}: nothing without a token");
        sim.clear_faults();
        sim.release_hangs();
        enos.sent(&name, "r1").await;
        assert_eq!((sim.count(Call::Reset), sim.resets(&id(n))), (1, 1), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e09_an_expired_or_revoked_token_is_renewed_once_and_the_reset_repeated_once() {
    for (test, expired) in [
        ("e09a", Some(ExpiredToken::Http401)),
        ("e09b", Some(ExpiredToken::Code1203)),
        ("e09c", Some(ExpiredToken::ApimStatus(4011))),
        ("e09d", Some(ExpiredToken::ApimStatus(4012))),
        ("e09e", None),
    ] {
        let options = Options { expired_token: expired.unwrap_or(ExpiredToken::Http401), ..Options::default() };
        let enos = EnosWorld::new(test, options).await;
        enos.sim.add(pipeline(1, "cleaning", "PAUSED"));
        enos.known("p").await;
        enos.world.wait("p", "the phase", |s| s.phase.is_some()).await;
        // The last call before the reset is stopped.
        let reset_call = enos.sim.hold(Call::Lag, When::Before);
        enos.apply("p", ID, json!({ "id": "r1" })).await;
        reset_call.reached().await;
        match expired {
            Some(_) => enos.sim.expire_tokens(),
            None => enos.sim.revoke_tokens(),
        }
        enos.sim.clear_calls();
        reset_call.release();
        enos.sent("p", "r1").await;
        let refused =
            enos.sim.calls().iter().filter(|c| !matches!(c.call, Call::TokenGet) && (c.status == Some(401) || c.code != Some(0))).count();
        let lag = enos.sim.calls().iter().filter(|c| c.call == Call::Lag).count();
        assert_eq!((enos.sim.resets(ID), enos.sim.count(Call::TokenGet)), (1, 1), "{test}: one new token");
        assert!(refused <= 1 + lag, "{test}: one repeat: {:?}", enos.sim.calls());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e09_a_reset_refused_for_its_token_is_repeated_once_with_a_new_one() {
    let enos = EnosWorld::with_flags("e09r", Options::default(), &SOON).await;
    for (n, kind) in [
        Kind::Http(401, "Invalid authentication credentials".to_owned()),
        Kind::Code(1203, None),
        Kind::ApimStatus(4011),
        Kind::ApimStatus(4012),
    ]
    .into_iter()
    .enumerate()
    {
        let sim = Simulator::start(Options::default()).await;
        sim.add(pipeline(n, "cleaning", "PAUSED"));
        sim.fault(Fault::new(Call::Reset, When::Before, kind.clone()));
        let name = format!("p{n}");
        enos.run(&name, enos.spec_at(&id(n), &sim.endpoint()), Value::Null).await;
        let sent = enos.sent(&name, "r1").await;
        assert_eq!((sim.count(Call::Reset), sim.resets(&id(n)), reset(&sent).attempts), (2, 1, Some(1)), "{kind:?}");
        // The platform gives the same token again as long as it is valid.
        assert_eq!(sim.count(Call::TokenGet), 2, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e09_tokens_that_live_shortly_are_refreshed_also_where_that_kills_the_old_one() {
    let options = Options { token_life: Duration::from_secs(3), refresh_kills_old: true, ..Options::default() };
    let enos = EnosWorld::new("e09k", options).await;
    enos.sim.add(pipeline(1, "cleaning", "PAUSED"));
    // A second endpoint has a token of its own, although the key is the same.
    let relay = Relay::start(enos.sim.endpoint().trim_start_matches("http://")).await;
    enos.known("p").await;
    enos.apply_spec("q", enos.spec_at(ID, &relay.url()), Value::Null).await;
    for n in 0..3 {
        let id = format!("r{n}");
        enos.apply("p", ID, json!({ "id": id })).await;
        enos.sent("p", &id).await;
        let tokens = enos.sim.count(Call::TokenGet) + enos.sim.count(Call::TokenRefresh);
        eventually("more tokens", LIMIT, async || {
            let now = enos.sim.count(Call::TokenGet) + enos.sim.count(Call::TokenRefresh);
            if now > tokens { Ok(()) } else { Err(now.to_string()) }
        })
        .await;
    }
    assert_eq!(enos.sim.resets(ID), 3);
    assert!(enos.sim.count(Call::TokenRefresh) > 0, "expected tokens to be refreshed");
    let q = enos.world.wait("q", "the other holder to read", |s| says(s, "BackendReachable").0 == "True").await;
    assert!(q.phase.is_some());
}
