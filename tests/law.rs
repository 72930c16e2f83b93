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
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    ["src", "crates"].iter().for_each(|dir| sources(&root.join(dir), &mut files));
    let mut lines = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).expect("below the root").display().to_string();
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
            assert!(!line.contains(word), "{file} must not mention {word}: {line}");
            // Several rooms in one line would hide which.
            let hides = file.starts_with("src/") && line.contains("use crate::{");
            assert!(!hides, "{file} names the rooms it uses one a line: {line}");
        }
    }
}

#[test]
fn thought_holds_no_clock_and_no_platform() {
    // What it could only have from a dependency is kept by its manifest.
    forbid("crates/core/src", &["Instant::now", "Timestamp::now", "SystemTime"]);
    // The ports are right as long as thought does not know which platform it thinks about.
    forbid("crates/core/src/decide", &["Backend::", "Identity::Kafka", "Identity::Enos"]);
}

#[test]
fn stages_never_import_each_other() {
    for (room, others) in [
        (
            "src/backend",
            &["core::decide", "crate::observe", "crate::perform", "crate::report", "crate::record_store", "crate::reconcile"][..],
        ),
        ("src/backend/kafka", &["backend::enos"]),
        ("src/backend/enos", &["backend::kafka"]),
        ("src/backend/http", &["backend::kafka", "backend::enos"]),
        (
            "src/kubernetes",
            &[
                "crate::backend",
                "core::decide",
                "crate::observe",
                "crate::perform",
                "crate::report",
                "crate::record_store",
                "crate::context",
            ],
        ),
        // It makes the looks that decide asks for, and has no say in what follows.
        ("src/observe", &["decide::decide", "crate::perform", "crate::report"]),
        ("src/perform", &["core::decide", "crate::observe", "crate::report"]),
        ("src/report", &["crate::backend", "core::decide", "crate::observe", "crate::perform"]),
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

/// Of several tasks that wait for one store to be filled, kube wakes only the one that asked last: the others would wait for ever.
#[test]
fn one_task_waits_for_each_store_and_tells_the_others() {
    let waits: Vec<_> = lines("src").into_iter().filter(|(_, line)| line.contains(".wait_until_ready()")).collect();
    assert_eq!(waits.len(), 1, "one for the StreamPipelines; who waits for the records has a token that wakes all: {waits:?}");
}
