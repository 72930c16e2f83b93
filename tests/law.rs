//! The import law of the house: data flows one way, and each room touches only what it may.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("src can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Lines of code of a room, with the file they are in; tests and comments left out.
fn lines(room: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut lines = Vec::new();
    for file in files {
        let name = file.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("below src").display().to_string();
        if (name == format!("{room}.rs") || name.starts_with(&format!("{room}/"))) && !name.contains("tests") {
            let text = fs::read_to_string(&file).expect("a source file can be read");
            lines.extend(text.lines().filter(|l| !l.trim_start().starts_with("//")).map(|l| (name.clone(), l.to_owned())));
        }
    }
    assert!(!lines.is_empty(), "there is a room {room}");
    lines
}

fn forbid(room: &str, words: &[&str]) {
    for (file, line) in lines(room) {
        for word in words {
            assert!(!line.contains(word), "src/{file} must not mention {word}: {line}");
            // Several rooms in one line would hide which.
            assert!(!line.contains("use crate::{"), "src/{file} names the rooms it uses one a line: {line}");
        }
    }
}

#[test]
fn thought_holds_no_client_and_no_clock() {
    for room in ["domain", "decide"] {
        forbid(room, &["async ", ".await", "kube::Client", "rdkafka", "tokio", "Instant::now", "Timestamp::now", "SystemTime"]);
    }
    // The ports are right as long as thought does not know which platform it thinks about.
    forbid("decide", &["Backend::", "Identity::Kafka", "Identity::Enos", "Platform::Kafka", "Platform::Enos"]);
    forbid("report/status", &["async ", ".await", "Client", "Instant::now", "Timestamp::now"]);
}

#[test]
fn stages_never_import_each_other() {
    for (room, others) in [
        ("api", &["crate::domain", "crate::decide", "crate::backend", "crate::observe", "crate::perform", "crate::report"][..]),
        ("domain", &["crate::decide", "crate::backend", "crate::observe", "crate::perform", "crate::report"]),
        ("decide", &["crate::backend", "crate::observe", "crate::perform", "crate::report", "crate::ledger", "crate::memory"]),
        ("backend", &["crate::decide", "crate::observe", "crate::perform", "crate::report", "crate::ledger", "crate::reconcile"]),
        ("backend/kafka", &["backend::enos"]),
        ("backend/enos", &["backend::kafka"]),
        ("backend/http", &["backend::kafka", "backend::enos"]),
        (
            "kubernetes",
            &["crate::backend", "crate::decide", "crate::observe", "crate::perform", "crate::report", "crate::ledger", "crate::context"],
        ),
        ("observe", &["crate::decide", "crate::perform", "crate::report"]),
        ("perform", &["crate::decide", "crate::observe", "crate::report"]),
        ("report", &["crate::backend", "crate::decide", "crate::observe", "crate::perform"]),
    ] {
        forbid(room, others);
    }
}

#[test]
fn each_client_library_and_unsafe_code_are_in_one_room() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file can be read");
        let name = file.display().to_string();
        assert!(name.contains("backend/kafka") || !text.contains("rdkafka::"), "{name} mentions rdkafka");
        assert!(
            name.contains("backend/enos")
                || name.contains("backend/http")
                || name.ends_with("kafka/oauth.rs")
                || !text.contains("reqwest::"),
            "{name} mentions reqwest"
        );
        let unsafe_code = text
            .lines()
            .any(|l| !l.trim_start().starts_with("//") && (l.contains("unsafe {") || l.contains("unsafe fn") || l.contains("unsafe impl")));
        assert!(name.contains("backend/kafka/librdkafka/") || !unsafe_code, "{name} holds unsafe code");
    }
}

#[test]
fn the_testbed_never_reaches_the_product() {
    for room in ["main", "lib", "reconcile", "controller", "backend", "observe", "perform"] {
        forbid(room, &["testbed"]);
    }
}
