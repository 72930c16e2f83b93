//! F02, O26: the broker is killed and restarted, or stopped and continued, while a commit is under way.

use stream_pipeline_api::Stage;
use testbed::trap::Side;
use testbed::{Broker, eventually};

use crate::support::brokers;
use crate::support::calls::is_commit;
use crate::support::proxied::ProxiedWorld;
use crate::support::status::{condition, is};
use crate::support::world::LIMIT;

#[tokio::test(flavor = "multi_thread")]
async fn f02_the_broker_is_killed_during_the_commit_and_restarted() {
    let (mut proxied, broker) = ProxiedWorld::with_broker("f02").await;
    proxied.restart_with(&[]);
    // The commit is done and not answered; it is lost; or broker and commit race.
    for (name, side, at_once) in [("done", Side::After, false), ("lost", Side::Before, false), ("race", Side::Before, true)] {
        proxied.fresh(name).await;
        proxied.ask_and_stop(side, is_commit).await;
        if at_once {
            proxied.traps.release();
        }
        broker.kill();
        proxied.traps.disarm();
        brokers::restart(&broker).await;
        let end = proxied.honest_end().await;
        println!("f02: killed during the commit, {name}: {end:?}, {} landed", proxied.landed().await.len());
        match name {
            "done" => assert_eq!(end, Stage::Verified),
            "lost" => assert_eq!((end, proxied.landed().await.len()), (Stage::Held, 0)),
            // Without an answer, the operator looked only once no commit could be on its way any more.
            _ => assert_eq!(proxied.landed().await.len(), usize::from(end == Stage::Verified)),
        }
    }
}

/// Stops the broker with the commit in its socket, until the operator has given up waiting for the answer.
async fn under_a_stopped_broker(proxied: &mut ProxiedWorld, broker: &Broker, name: &str) {
    proxied.fresh(name).await;
    proxied.ask_and_stop(Side::Before, is_commit).await;
    broker.pause();
    proxied.traps.release();
    let operator = proxied.operator.as_ref().expect("an operator");
    let gave_up = format!("name=\"{name}\" id=\"r1\" deleted=false stage=\"Sending\" reason=Sent");
    eventually("the operator to give up waiting for the answer", LIMIT, async || {
        let log = operator.log();
        if log.contains(&gave_up) { Ok(()) } else { Err(log.lines().last().unwrap_or_default().to_owned()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o26_a_commit_that_timed_out_and_lands_late_is_found_and_never_made_again() {
    let (mut proxied, broker) = ProxiedWorld::with_broker("o26").await;
    proxied.restart_with(&[]);
    // The broker goes on before the late bound is over: the commit lands, and the read-back finds it.
    under_a_stopped_broker(&mut proxied, &broker, "within").await;
    broker.resume();
    let landed = async || match proxied.landed().await {
        none if none.is_empty() => Err("nothing landed".to_owned()),
        some => Ok(some),
    };
    assert_eq!(eventually("the late commit to land", LIMIT, landed).await, [[0, 0, 0]]);
    assert_eq!(proxied.honest_end().await, Stage::Verified);
    // The broker goes on after the late bound: the status says what the first read-back sees.
    under_a_stopped_broker(&mut proxied, &broker, "after").await;
    proxied
        .world
        .wait("after", "the wait to be over and the broker not to answer", |s| {
            is(s, "BackendReachable", "False") && !condition(s, "Ready").is_some_and(|c| c.message.contains("is looked at in"))
        })
        .await;
    broker.resume();
    let end = proxied.honest_end().await;
    println!("o26: continued after the wait: {end:?}");
    // Whether it has landed or not by then: the request is over, and no second commit follows.
    proxied.world.decides_twice("after").await;
    assert!(proxied.landed().await.len() <= 1);
    assert_eq!(proxied.commits(), 2, "commits for two requests");
}
