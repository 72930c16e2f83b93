//! Two replicas under a Lease: how soon the second works once the first has left, or was killed.

use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testbed::{RELEASE, SYSTEM_NAMESPACE};

use crate::bed::{Bed, Running};
use crate::report::Row;
use crate::say;
use crate::stats::Spread;

pub const NAME: &str = "hand-over";
/// How often each; a killed one's Lease has to run out first.
const TIMES: usize = 10;
const LIMIT: Duration = Duration::from_secs(60);
/// How exact: its metrics are asked for this often.
const BETWEEN: Duration = Duration::from_millis(10);

pub async fn run(bed: &Bed) -> Result<Vec<Row>> {
    let namespace = bed.namespace("bench-lease");
    let (verbs, account) = ("--verb=get,create,update", format!("--serviceaccount={SYSTEM_NAMESPACE}:{RELEASE}"));
    done(&bed.testbed.kubectl(&["create", "role", "lease", verbs, "--resource=leases.coordination.k8s.io", "-n", &namespace]))?;
    done(&bed.testbed.kubectl(&["create", "rolebinding", "lease", "--role=lease", &account, "-n", &namespace]))?;
    let lease = format!("--leader-election={namespace}/bench");
    let mut works = bed.operator(&[&namespace], &[&lease]).await?;
    leads(&works, Instant::now()).await?;
    let (mut left, mut killed) = (Vec::new(), Vec::new());
    for (leaves, taken) in [(true, &mut left), (false, &mut killed)] {
        say(&format!("{NAME}: {TIMES} times, {}", if leaves { "SIGTERM" } else { "SIGKILL" }));
        for _ in 0..TIMES {
            let next = bed.operator(&[&namespace], &[&lease]).await?;
            let begun = Instant::now();
            if leaves {
                works.operator.signal(libc::SIGTERM);
            } else {
                works.operator.kill();
            }
            taken.push(leads(&next, begun).await?.as_secs_f64());
            works = next;
        }
    }
    Ok(vec![
        Row::new(format!("{NAME}: after SIGTERM"), "s", Spread::of(&left)).at_most(2.0),
        Row::new(format!("{NAME}: after SIGKILL"), "s", Spread::of(&killed))
            .note("a Lease of 15 s runs out first, and is looked at now and then"),
    ])
}

/// Until this replica works.
async fn leads(replica: &Running, begun: Instant) -> Result<Duration> {
    while replica.metric("streampipeline_leader").await < 1.0 {
        ensure!(begun.elapsed() < LIMIT, "the other replica does not work after {LIMIT:?}");
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(begun.elapsed())
}

fn done(output: &Output) -> Result<()> {
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
