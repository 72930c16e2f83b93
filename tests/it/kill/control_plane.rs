//! F07: the API server is killed and restarted in the middle of a reset, etcd is, and writes are refused for a while.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testbed::proxy::OFFSET_COMMIT;
use testbed::trap::Side;
use testbed::wire::{Fate, Passing, Wire};
use testbed::{Operator, Testbed, eventually};

use crate::support::proxied::ProxiedWorld;
use crate::support::settings;
use crate::support::sockets::ports;
use crate::support::world::{EXE, LIMIT, OwnServers, World, flags};

/// Name, API key, which request of it, and which side. ConsumerGroupDescribe (69) is made once at each look.
const MOMENTS: [(&str, &str, usize, Side); 4] = [
    ("before the plan", "69", 1, Side::Before),
    ("at the second look", "69", 2, Side::Before),
    ("before the commit", OFFSET_COMMIT, 1, Side::Before),
    ("after the commit", OFFSET_COMMIT, 1, Side::After),
];

/// Kills a part of the control plane at each moment; the operator goes on without it until it is back.
async fn killed(test: &str, kill: impl Fn(&Testbed), start: impl Fn(&'static Testbed) + Copy + Send + 'static) {
    let (mut socket, addresses) = ports(1);
    let own = OwnServers::start(addresses).await;
    let testbed = own.0;
    let world = World::on(testbed, test).await;
    let mut proxied = ProxiedWorld::behind(world, vec![(socket.remove(0), testbed.broker.second())]).await;
    // No proxy between it and the API server: it sees the connections break. It looks for the request alone: a look at rest could be the one
    // at which the API server is killed, and the request would not have reached it yet.
    let flags = flags(&["--recheck-idle=60s"]);
    proxied.operator = Some(Operator::start(testbed, Path::new(EXE), proxied.world.namespace.name(), &flags));
    for (n, (moment, call, nth, side)) in MOMENTS.into_iter().enumerate() {
        proxied.fresh(&format!("p{n}")).await;
        let mut had = 0;
        proxied.traps.arm_by(move |at, seen| {
            had += usize::from(at == side && seen == call);
            at == side && seen == call && had == nth
        });
        proxied.ask().await;
        proxied.traps.sprung().await;
        let operator = proxied.operator.as_ref().expect("an operator");
        let had = operator.log().len();
        kill(testbed);
        proxied.traps.release();
        eventually("the operator to miss the API server", LIMIT, async || match &operator.log()[had..] {
            log if log.contains("Not told: writing the status") || log.contains("Step not done") => Ok(()),
            log => Err(log.to_owned()),
        })
        .await;
        tokio::task::spawn_blocking(move || start(testbed)).await.expect("it starts again");
        let status = proxied.world.verified(&proxied.name, "r1").await;
        assert_eq!(proxied.landed().await, [[0, 0, 0]], "{test}: killed {moment}");
        let attempt = proxied.world.record(&status).await.spec.writer.map(|w| (w.number, w.attempt));
        println!("{test}: killed {moment}: Verified, one commit, plan and attempt {attempt:?}");
    }
    let count = proxied.world.all_records().await.len();
    assert_eq!(count, MOMENTS.len(), "records");
    assert!(proxied.operator.as_mut().expect("an operator").is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn f07_the_api_server_is_killed_and_restarted_in_the_middle_of_a_reset() {
    let start = |testbed: &'static Testbed| testbed.cluster.start_api_server().expect("the API server starts again");
    killed("f07a", |testbed| testbed.cluster.kill_api_server(), start).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f07_etcd_is_killed_and_restarted_in_the_middle_of_a_reset() {
    let start = |testbed: &'static Testbed| testbed.cluster.start_etcd().expect("etcd starts again");
    killed("f07e", |testbed| testbed.cluster.kill_etcd(), start).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f07_an_api_server_that_refuses_writes_for_a_while_loses_nothing() {
    let mut proxied = ProxiedWorld::without_operator("f07w").await;
    let refusing = Arc::new(AtomicBool::new(false));
    let script = {
        let refusing = Arc::clone(&refusing);
        move |call: &Passing| {
            let refused = refusing.load(Ordering::Acquire) && call.method.as_str() != "GET";
            (if refused { Fate::ErrorBefore } else { Fate::Pass }, 0)
        }
    };
    let kubeconfig = proxied.world.testbed.cluster.operator_kubeconfig();
    let wire = Wire::to_api_server(&kubeconfig, Arc::new(script)).await.expect("a proxy starts");
    proxied.operator = Some(Operator::start_with(&wire.kubeconfig(), Path::new(EXE), proxied.world.namespace.name(), &flags(&[])));
    let a_while = Duration::from_secs(if settings::long() { 60 } else { 8 });
    // Refused from before the plan on, nothing is sent; refused from the commit on, the record is closed as soon as it can be.
    for (name, call, sent) in [("plan", "69", false), ("close", OFFSET_COMMIT, true)] {
        proxied.fresh(name).await;
        proxied.ask_and_stop(Side::Before, move |seen| seen == call).await;
        refusing.store(true, Ordering::Release);
        proxied.traps.release();
        let (begun, operator) = (Instant::now(), proxied.operator.as_ref().expect("an operator"));
        let had = operator.log().len();
        eventually("writes to have been refused for a while", LIMIT, async || {
            let tries = operator.log()[had..].lines().filter(|l| l.contains("Step not done")).count();
            if begun.elapsed() >= a_while && tries >= 2 { Ok(()) } else { Err(format!("{tries} tries")) }
        })
        .await;
        assert_eq!(proxied.landed().await.len(), usize::from(sent), "{name}");
        refusing.store(false, Ordering::Release);
        proxied.world.verified(name, "r1").await;
        assert_eq!(proxied.landed().await, [[0, 0, 0]], "{name}");
    }
    assert_eq!(proxied.world.all_records().await.len(), 2);
}
