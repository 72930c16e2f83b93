//! Nothing stays behind a testbed whose owner was killed: no process, no directory.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Command lines of all processes that name `word`.
fn processes(word: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").expect("/proc is there").flatten();
    let lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(word)).collect()
}

fn directories(prefix: &str) -> Vec<String> {
    let all = fs::read_dir(testbed::base()).into_iter().flatten().flatten();
    all.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|name| name.starts_with(prefix)).collect()
}

#[test]
fn a_killed_owner_leaves_no_server_and_no_directory() {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(["exec", "sh", "-c", "echo ready; exec sleep 600"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the testbed starts");
    let mut line = String::new();
    BufReader::new(owner.stdout.take().expect("it was piped")).read_line(&mut line).expect("its command runs");
    assert_eq!(line, "ready\n");
    let mine = format!("tmp-{}-", owner.id());
    assert_eq!(directories(&mine).len(), 3, "control plane, broker, tools");
    assert_eq!(processes(&mine).len(), 4, "etcd, API server, controller manager, broker");
    owner.kill().expect("it still runs");
    owner.wait().expect("it ends");
    let begun = Instant::now();
    loop {
        let left = [processes(&mine), directories(&mine)].concat();
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "still there: {left:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
