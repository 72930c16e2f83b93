//! F02, O26: the broker is killed and restarted, or stopped and continued, while a commit is under way.

use std::sync::Arc;

use stream_pipeline_operator::api::{RecordPhase, Stage, StreamPipelineStatus};
use testbed::proxy::OFFSET_COMMIT;
use testbed::trap::Side;
use testbed::{Broker, eventually};

use crate::support::proxied::Wired;
use crate::support::world::{LIMIT, condition, says};

pub async fn restart(broker: &Arc<Broker>) {
    let broker = Arc::clone(broker);
    tokio::task::spawn_blocking(move || broker.restart()).await.expect("no panic").expect("the broker starts again");
}

fn is_commit(call: &str) -> bool {
    call == OFFSET_COMMIT
}

/// Waits for the end, which must be what the broker's log says: Verified by one commit, or held without one.
pub async fn honest_end(wired: &Wired) -> Stage {
    let over = |s: &StreamPipelineStatus| s.offset_reset.as_ref().is_some_and(|r| matches!(r.stage, Stage::Verified | Stage::Held));
    let status = wired.world.wait(&wired.name, "the reset to end", over).await;
    let stage = status.offset_reset.as_ref().expect("a request").stage;
    let landed = wired.landed().await;
    let reason = says(&status, "Ready").1;
    match stage {
        Stage::Verified => assert_eq!((landed.as_slice(), reason), (&[vec![0; 3]][..], "ResetVerified")),
        _ => assert!(landed.len() <= 1 && reason == "OutcomeUnknown", "{landed:?} {status:?}"),
    }
    let phase = if stage == Stage::Verified { RecordPhase::Verified } else { RecordPhase::Held };
    assert_eq!(wired.world.record(&status).await.status.map(|s| s.phase), Some(phase));
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn f02_the_broker_is_killed_during_the_commit_and_restarted() {
    let (mut wired, broker) = Wired::with_broker("f02").await;
    wired.restart_with(&[]);
    // Done and not answered; lost before it was done; at the same moment, whichever comes first.
    for (name, side, at_once) in [("done", Side::After, false), ("lost", Side::Before, false), ("race", Side::Before, true)] {
        wired.fresh(name).await;
        wired.traps.arm(side, is_commit);
        wired.ask().await;
        wired.traps.sprung().await;
        if at_once {
            wired.traps.release();
        }
        broker.kill();
        wired.traps.disarm();
        restart(&broker).await;
        let end = honest_end(&wired).await;
        println!("f02: killed during the commit, {name}: {end:?}, {} landed", wired.landed().await.len());
        match name {
            "done" => assert_eq!(end, Stage::Verified),
            "lost" => assert_eq!((end, wired.landed().await.len()), (Stage::Held, 0)),
            // Whoever saw no answer looked only when nothing could be on its way any more.
            _ => assert_eq!(wired.landed().await.len(), usize::from(end == Stage::Verified)),
        }
    }
}

/// The broker is stopped, the commit lies in its socket, and the operator has given up waiting.
async fn under_a_stopped_broker(wired: &mut Wired, broker: &Broker, name: &str) {
    wired.fresh(name).await;
    wired.traps.arm(Side::Before, is_commit);
    wired.ask().await;
    wired.traps.sprung().await;
    broker.pause();
    wired.traps.release();
    let operator = wired.operator.as_ref().expect("an operator");
    let gave_up = format!("name=\"{name}\" id=\"r1\" deleted=false stage=\"Sending\" reason=Sent");
    eventually("the operator to give up waiting for the answer", LIMIT, async || {
        let log = operator.log();
        if log.contains(&gave_up) { Ok(()) } else { Err(log.lines().last().unwrap_or_default().to_owned()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o26_a_commit_that_timed_out_and_lands_late_is_found_and_never_made_again() {
    let (mut wired, broker) = Wired::with_broker("o26").await;
    wired.restart_with(&[]);
    // Continued before the wait is over: it lands, and is found by the judging.
    under_a_stopped_broker(&mut wired, &broker, "within").await;
    broker.resume();
    let landed = async || match wired.landed().await {
        none if none.is_empty() => Err("nothing landed".to_owned()),
        some => Ok(some),
    };
    assert_eq!(eventually("the late commit to land", LIMIT, landed).await, [[0, 0, 0]]);
    assert_eq!(honest_end(&wired).await, Stage::Verified);
    // Continued after the wait is over: it is looked at as soon as it can be, and what is said is what was seen then.
    under_a_stopped_broker(&mut wired, &broker, "after").await;
    wired
        .world
        .wait("after", "the wait to be over and the broker not to answer", |s| {
            condition(s, "BackendReachable").is_some_and(|c| c.status == "False")
                && !condition(s, "Ready").is_some_and(|c| c.message.contains("is looked at in"))
        })
        .await;
    broker.resume();
    let end = honest_end(&wired).await;
    println!("o26: continued after the wait: {end:?}");
    // Landed or not by then: the request is over, and once.
    wired.world.passes("after").await;
    assert!(wired.landed().await.len() <= 1);
    assert_eq!(wired.commits(), 2, "one for each request");
}
