//! The process of a Kafka client: what it may do, what it holds, and what its death costs.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use serde_json::json;
use stream_pipeline_operator::backend::kafka::process::SUBCOMMAND;
use stream_pipeline_operator::backend::kafka::process::wire::{self, FromProcess, ToProcess};
use testbed::eventually;

use crate::support::world::{EXE, LIMIT, World};

#[test]
fn a_client_process_opens_no_file_starts_no_program_and_signals_nobody() {
    let (mut ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let mut child = Command::new(EXE).arg(SUBCOMMAND).env_clear().stdin(Stdio::from(OwnedFd::from(theirs))).spawn().expect("it starts");
    let settings = vec![("bootstrap.servers".to_owned(), "127.0.0.1:1".to_owned()), ("group.id".to_owned(), "g".to_owned())];
    wire::write(&mut ours, &ToProcess::Open { settings }).expect("it listens");
    // Before that it also asks for the broker's address.
    let (made, open_doors) = loop {
        if let FromProcess::Opened { made, open_doors } = wire::read(&mut ours).expect("an answer") {
            break (made, open_doors);
        }
    };
    made.expect("a client");
    wire::write(&mut ours, &ToProcess::Try).expect("it listens");
    let could = loop {
        if let FromProcess::Could(could) = wire::read(&mut ours).expect("an answer") {
            break could;
        }
    };
    // The process names each restriction that this kernel cannot enforce. The others must hold.
    let files = open_doors.iter().any(|door| door.contains("open files"));
    assert!(files || could.is_empty(), "it could {could:?}; open: {open_doors:?}");
    drop(ours);
    child.wait().expect("it ends with its socket");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_process_holds_no_environment_and_no_file_of_the_operator() {
    let mut world = World::new("client").await;
    world.known_at_7_of_10("p").await;
    let children = world.operator().children();
    assert_eq!(children.len(), 1, "client processes for one cluster");
    let of = |what: &str| std::fs::read_to_string(format!("/proc/{}/{what}", children[0])).expect("this test may look");
    assert_eq!(of("environ").trim_end_matches('\0'), "MALLOC_ARENA_MAX=2");
    assert_eq!(of("cmdline").split('\0').collect::<Vec<_>>(), ["stream-pipeline-operator", SUBCOMMAND, ""]);
    assert!(of("status").contains("NoNewPrivs:\t1"), "{}", of("status"));
    assert!(
        of("limits").lines().any(|l| l.starts_with("Max core file size") && l.split_whitespace().nth(4) == Some("0")),
        "{}",
        of("limits")
    );
    for entry in std::fs::read_dir(format!("/proc/{}/fd", children[0])).expect("this test may look") {
        // A file that was closed in the meantime.
        let Ok(open) = std::fs::read_link(entry.expect("an entry").path()) else { continue };
        let open = open.to_string_lossy().into_owned();
        let own = ["socket:", "pipe:", "anon_inode:", "/dev/null"].iter().any(|kind| open.starts_with(kind));
        assert!(own, "expected nothing open but sockets and pipes: {open}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_process_that_dies_while_a_request_waits_costs_nothing_but_a_new_one() {
    let mut world = World::new("clientdies").await;
    let (_, group) = world.known_at_7_of_10("p").await;
    let (pid, first) = (world.operator().pid(), world.operator().children());
    world.apply("p", &group, json!({ "id": "r1", "quietPeriod": "3s", "to": { "position": "Earliest" } })).await;
    assert_eq!(world.operator().kill_children(), 1);
    world.verified("p", "r1").await;
    let operator = world.operator();
    eventually("another process", LIMIT, async || {
        let now = operator.children();
        if now.len() == 1 && now != first { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    assert_eq!(operator.pid(), pid);
    assert!(operator.log().contains("signal 9"), "the log must tell of the signal");
}
