//! The examples as they are shipped: each request runs where its object is new, today and in years, and its text says what that means.

use jiff::{SignedDuration, Timestamp};

use super::super::accept::{Acceptance, accept};
use super::*;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The examples by name, as text and as an object that somebody has just created.
fn examples() -> Vec<(String, String, StreamPipeline)> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        // What it needs comes before it.
        let last = text.rsplit("\n---\n").next().unwrap();
        let mut object: StreamPipeline = serde_saphyr::from_str(last).unwrap();
        (object.metadata.uid, object.metadata.namespace) = (Some("u".to_owned()), Some("n".to_owned()));
        (path.file_name().unwrap().to_string_lossy().into_owned(), text, object)
    };
    let mut all: Vec<_> = std::fs::read_dir(format!("{ROOT}/examples")).unwrap().map(read).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(all.len() >= 11, "{} examples", all.len());
    all
}

#[test]
fn d4_every_example_runs_as_it_is_shipped_also_in_years() {
    for years in [0, 25] {
        let wall = Timestamp::now() + SignedDuration::from_hours(years * 365 * 24);
        for (name, _, object) in examples() {
            let desired = Desired::of(&object, crate::facts_of, wall).unwrap();
            let request = desired.request.as_ref().unwrap_or_else(|| panic!("{name} asks for nothing"));
            let request = request.as_ref().unwrap_or_else(|cause| panic!("{name}: {cause:?}"));
            let accepted = accept(request, &PriorStatus::of(&object), None, false, Now { wall, ..now() });
            assert_eq!(accepted, Acceptance::Run { accepted_at: wall }, "{name}");
        }
    }
}

#[test]
fn d4_no_example_stands_in_the_way_of_another() {
    let mut names = std::collections::BTreeSet::new();
    for (file, _, object) in examples() {
        let what = [object.metadata.name.clone().unwrap(), Desired::of(&object, crate::facts_of, now().wall).unwrap().backend.named()];
        for name in what {
            assert!(names.insert(name.clone()), "{file}: {name} is in another example too");
        }
    }
}

#[test]
fn o18_beside_when_created_run_stands_what_it_means_and_what_to_use_in_git() {
    for (name, text, object) in examples() {
        let runs = object.spec.offset_reset.unwrap().when_created.is_some();
        let lines: Vec<_> = text.lines().collect();
        let at = lines.iter().position(|line| line.trim() == "whenCreated: Run");
        assert_eq!(at.is_some(), runs, "{name}");
        if let Some(at) = at {
            let before = lines[at - 1];
            assert!(before.contains("created again without its record") && before.contains("git.yaml"), "{name}: {before}");
        }
    }
    for (page, parts) in [
        ("README.md", ["runs again in a namespace that was made\nanew", "[`expiresAt`](examples/git.yaml)"]),
        ("docs/how-a-reset-works.md", ["(a namespace made anew, a copy, a rebuilt cluster)", "In Git use `expiresAt`"]),
        ("docs/enos.md", ["in another namespace, or in one made anew", "[git.yaml](../examples/git.yaml)"]),
        ("docs/fields.md", ["(another namespace, or one made anew)", "In Git: expiresAt"]),
        (
            "charts/stream-pipeline-operator/templates/NOTES.txt",
            ["in another namespace, or in one made anew", "an expiresAt in the future (in Git)"],
        ),
    ] {
        let text = std::fs::read_to_string(format!("{ROOT}/{page}")).unwrap();
        let missing: Vec<_> = parts.iter().filter(|part| !text.contains(**part)).collect();
        assert!(missing.is_empty(), "{page} lacks {missing:?}");
    }
}
