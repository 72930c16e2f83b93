//! What a user would otherwise run: `kafka-consumer-groups`, in a JVM that is started for it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testbed::Testbed;

use crate::counts;

/// Resets these groups on all their topics, and tells how long that took.
pub async fn reset(testbed: &Testbed, bootstrap: &str, groups: &[String], position: &str) -> Result<Duration> {
    let mut command = Command::new(testbed.kafka_bin().join("kafka-consumer-groups.sh"));
    let to = if position == "Earliest" { "--to-earliest" } else { "--to-latest" };
    command.args(["--bootstrap-server", bootstrap, "--reset-offsets", "--execute", "--all-topics", to, "--timeout", "60000"]);
    command.args(groups.iter().flat_map(|group| ["--group", group]));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let begun = Instant::now();
    let said = counts::run(command).await?;
    let took = begun.elapsed();
    // It says what went wrong, and ends as if nothing had.
    ensure!(!said.contains("Error"), "kafka-consumer-groups: {said}");
    let told = said.lines().filter(|line| groups.iter().any(|group| line.starts_with(group.as_str()))).count();
    ensure!(told >= groups.len(), "kafka-consumer-groups reset {told} partitions of {} groups: {said}", groups.len());
    Ok(took)
}
