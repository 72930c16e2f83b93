//! The files of the tree, and how a page names them.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Templates become pages of this directory, so their links are relative to it.
const TEMPLATES: (&str, &str) = ("xtask/templates", "docs");

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above this crate")
}

/// Files of the tree, as paths below its root.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root().join(dir)).expect("a directory of the tree").flatten() {
        let path = dir.join(entry.file_name());
        let kind = entry.file_type().expect("an entry has a type");
        if kind.is_dir() && !["target", ".git"].map(Path::new).contains(&path.as_path()) {
            files(&path, found);
        } else if kind.is_file() {
            found.push(path);
        }
    }
}

pub fn with_extension(wanted: &[&str]) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    files(Path::new(""), &mut all);
    let is = |path: &PathBuf| {
        path.extension().or(path.file_name()).and_then(|e| e.to_str()).is_some_and(|extension| wanted.contains(&extension))
    };
    let read = |path: PathBuf| fs::read_to_string(root().join(&path)).ok().map(|text| (path, text));
    all.into_iter().filter(is).filter_map(read).collect()
}

/// Where what a file names is looked for first.
pub fn home(file: &Path) -> &Path {
    if file.starts_with(TEMPLATES.0) { Path::new(TEMPLATES.1) } else { file.parent().unwrap_or(Path::new("")) }
}

/// `a/b/../c` is `a/c`; None where it leads out of the tree.
pub fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => normal.pop().then_some(())?,
            Component::Normal(name) => normal.push(name),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(normal)
}

pub fn in_the_tree(path: &Path) -> bool {
    normal(path).is_some_and(|path| root().join(path).exists())
}

/// The text without fenced blocks and code, in which brackets are no links.
pub fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.extend(line.split('`').step_by(2));
            prose.push('\n');
        }
    }
    prose
}
