//! A driver against processes that do not behave: programs of a few lines in place of the operator's own binary.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::kafka::admin::*;
use crate::backend::kafka::client::{AdminClient, Bounds, Processes};
use crate::backend::kafka::process::wire::{self, AdminAnswer, FromProcess};
use crate::backend::kafka::security::Security;
use crate::endpoints::EndpointPolicy;
use crate::metrics::Metrics;

/// A program in a temporary folder, which is removed when this is dropped.
struct Program(PathBuf);

impl Program {
    /// A process that writes `said` at once, before it is asked anything, and then does `rest`.
    fn saying(name: &str, said: &[u8], rest: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("stream-pipeline-operator-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("said"), said).unwrap();
        let script = format!("#!/bin/sh\ncat {}/said >&0\n{rest}\n", folder.display());
        // Written by another process: a file that this process, or a child that another test is just forking, has open for writing cannot
        // be executed.
        let mut writer = Command::new("/bin/sh");
        let writer = writer.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(folder.join("program")).stdin(Stdio::piped());
        let mut writer = writer.spawn().unwrap();
        writer.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
        Self(folder)
    }

    fn client(&self) -> (AdminClient, Arc<Metrics>) {
        let policy = Arc::new(EndpointPolicy::parse(&["127.0.0.0/8"], &[]).unwrap());
        let metrics = Arc::new(Metrics::default());
        let bounds = Bounds { most: 1, memory: None };
        let processes = Processes::new(self.0.join("program"), bounds, policy, Arc::clone(&metrics)).unwrap();
        let client = AdminClient::new(("n", &["127.0.0.1:1".to_owned()]), "g", "test", &Security::default(), processes).unwrap();
        (client, metrics)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const DEADLINE: Duration = Duration::from_secs(20);

/// Reads its input and writes nothing more.
const LISTENS: &str = "exec cat <&0 >/dev/null";

fn frames(messages: &[FromProcess]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        wire::write(&mut bytes, message).unwrap();
    }
    bytes
}

fn opened() -> FromProcess {
    FromProcess::Opened { made: Ok(()), open_doors: Vec::new() }
}

fn cluster(id: u64, name: &str) -> FromProcess {
    let found = ClusterDescription { cluster_id: name.to_owned() };
    FromProcess::Answer { id, answer: Ok(AdminAnswer::Cluster(found)), coordinator_moved: false }
}

async fn how_it_ended(client: &AdminClient) -> String {
    match client.describe_cluster(DEADLINE).await {
        Err(AdminError::ClientGone { how, .. }) => how,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_that_comes_twice_or_unasked_answers_nothing_else() {
    let said = frames(&[opened(), cluster(1, "one"), cluster(1, "another"), cluster(99, "unasked"), cluster(2, "two")]);
    let program = Program::saying("twice", &said, LISTENS);
    let (client, _) = program.client();
    assert_eq!(client.describe_cluster(DEADLINE).await.unwrap().cluster_id, "one");
    // The answer came before the question, so it does not count, and the deadline passes.
    let late = client.describe_cluster(Duration::from_millis(300)).await;
    assert!(matches!(late, Err(AdminError::DeadlineExceeded { handed_over: true, .. })), "{late:?}");
}

#[tokio::test]
async fn a_process_that_hangs_is_killed_after_the_first_deadline() {
    let program = Program::saying("hangs", &frames(&[opened(), cluster(1, "one")]), LISTENS);
    let (client, metrics) = program.client();
    client.describe_cluster(DEADLINE).await.unwrap();
    let begun = Instant::now();
    let late = client.describe_cluster(Duration::from_millis(200)).await;
    assert!(matches!(late, Err(AdminError::DeadlineExceeded { handed_over: true, .. })), "{late:?}");
    client.process_ended().await;
    assert!(begun.elapsed() < DEADLINE, "it is killed, not waited for");
    assert!(matches!(client.describe_cluster(DEADLINE).await, Err(AdminError::Retired)));
    assert!(!metrics.text().contains("kafka_client_ends_total{"), "this end was wanted");
}

#[tokio::test]
async fn a_process_that_says_what_is_no_message_is_ended_and_this_is_told() {
    let huge = u32::MAX.to_be_bytes().to_vec();
    let noise = [4_u32.to_be_bytes().to_vec(), vec![0xff; 4]].concat();
    for (name, said, told) in [("huge", huge, "frame size too big"), ("noise", noise, "no message")] {
        let program = Program::saying(name, &[frames(&[opened()]), said].concat(), LISTENS);
        let (client, metrics) = program.client();
        let how = how_it_ended(&client).await;
        assert!(how.contains(told), "{name}: {how}");
        client.process_ended().await;
        assert!(metrics.text().contains("kafka_client_ends_total{how=\"killed\"} 1"), "{}", metrics.text());
    }
}

#[tokio::test]
async fn a_process_that_dies_is_told_with_what_it_died_of() {
    for (rest, told) in [("kill -SEGV $$", "signal 11"), ("kill -ABRT $$", "signal 6"), ("exit 3", "exit code 3")] {
        // It ends only after it was asked, so that a call is left without an answer.
        let program = Program::saying("dies", &frames(&[opened()]), &format!("head -c 5 <&0 >/dev/null\n{rest}"));
        let (client, _) = program.client();
        assert_eq!(how_it_ended(&client).await, told);
        client.process_ended().await;
    }
}

#[tokio::test]
async fn a_process_that_takes_nothing_is_ended() {
    let program = Program::saying("stuck", &frames(&[opened()]), "exec sleep 600");
    let (client, _) = program.client();
    // More than a socket's buffer holds.
    let topics: Vec<_> = (0..20_000).map(|n| format!("{n}{}", "x".repeat(200))).collect();
    match client.describe_topics(&topics, DEADLINE).await {
        Err(AdminError::ClientGone { how, .. }) => assert_eq!(how, "it took nothing for 3 s"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_told() {
    let program = Program(Path::new("/nonexistent").to_owned());
    let (client, _) = program.client();
    match client.describe_cluster(DEADLINE).await {
        Err(AdminError::NoProcess(why)) => assert!(why.contains("No such file"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_broker_of_a_large_cluster_has_its_name_looked_up() {
    let asked: Vec<_> = (1..=200).map(|id| FromProcess::Resolve { id, host: "localhost".to_owned(), port: 9092 }).collect();
    let said = [frames(&[opened()]), frames(&asked)].concat();
    // The process ends once it has read more bytes than two hundred answers without an address take.
    let program = Program::saying("names", &said, "head -c 3000 <&0 >/dev/null\nexit 3");
    let (client, _) = program.client();
    assert_eq!(how_it_ended(&client).await, "exit code 3");
}
