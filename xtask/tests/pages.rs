//! Every link within the pages leads somewhere, and nothing in the tree mentions a document that is not in it.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Templates become pages of this directory, so their links are relative to it.
const TEMPLATES: (&str, &str) = ("xtask/templates", "docs");

/// Where a document that is mentioned by its bare name may be.
const SHELVES: [&str; 5] = ["", "docs", "docs/design", "docs/design/decisions", "charts/stream-pipeline-operator"];

fn root() -> &'static Path {
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

fn with_extension(wanted: &[&str]) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    files(Path::new(""), &mut all);
    let is = |path: &PathBuf| {
        path.extension().or(path.file_name()).and_then(|e| e.to_str()).is_some_and(|extension| wanted.contains(&extension))
    };
    let read = |path: PathBuf| fs::read_to_string(root().join(&path)).ok().map(|text| (path, text));
    all.into_iter().filter(is).filter_map(read).collect()
}

/// Where what a file names is looked for first.
fn home(file: &Path) -> &Path {
    if file.starts_with(TEMPLATES.0) { Path::new(TEMPLATES.1) } else { file.parent().unwrap_or(Path::new("")) }
}

/// `a/b/../c` is `a/c`; None where it leads out of the tree.
fn normal(path: &Path) -> Option<PathBuf> {
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

fn in_the_tree(path: &Path) -> bool {
    normal(path).is_some_and(|path| root().join(path).exists())
}

/// The text without fenced blocks and code, in which brackets are no links.
fn prose(text: &str) -> String {
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

/// The targets of the links of a page.
fn links(text: &str) -> Vec<String> {
    prose(text).split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// The anchors of a page, as a forge makes them of its headings.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

/// Names of documents in a text of any kind: words that end in `.md`.
fn documents(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || "._-/*:".contains(c)));
    let words = words.map(|word| word.trim_end_matches(['.', ':', ',']));
    // Addresses and patterns name nothing of the tree.
    words.filter(|word| word.ends_with(".md") && !word.contains("://") && !word.contains('*') && !word.ends_with("/.md") && *word != ".md")
}

#[test]
fn every_link_within_the_pages_leads_somewhere() {
    let pages = with_extension(&["md"]);
    assert!(pages.len() > 10, "there are pages");
    for (page, text) in &pages {
        for link in links(text).iter().filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { home(page).join(path) };
            assert!(in_the_tree(&target), "{}: the link {link} leads nowhere", page.display());
            let target = normal(&target).expect("it is in the tree");
            if let Some((_, text)) = pages.iter().find(|(page, _)| *page == target && !anchor.is_empty()) {
                assert!(anchors(text).iter().any(|a| a == anchor), "{}: {} has no heading #{anchor}", page.display(), target.display());
            }
        }
    }
}

#[test]
fn no_file_mentions_a_document_that_is_not_in_the_tree() {
    for (file, text) in with_extension(&["md", "rs", "toml", "yaml", "sh", "tpl", "txt", "yml", "Makefile", "run"]) {
        for document in documents(&text) {
            // In code a path often begins at a crate.
            let bare = document.trim_start_matches(['.', '/']);
            let known = in_the_tree(&home(&file).join(document)) || SHELVES.iter().any(|shelf| in_the_tree(&Path::new(shelf).join(bare)));
            assert!(known, "{} mentions {document}, which is not in the tree", file.display());
        }
        // Taken apart, or this file would be the first.
        for outside in [concat!("/wo", "rk/"), concat!("../sha", "red")] {
            assert!(!text.contains(outside), "{} refers to something outside of the tree ({outside})", file.display());
        }
    }
}

/// The numbers of scenarios and promises that comments of the code name: `K03`, `promise 5`.
fn numbers_in_comments(source: &str) -> Vec<String> {
    let comments = source.lines().filter_map(|line| Some(line.split_once("//")?.1));
    let words: Vec<_> = comments.flat_map(|c| c.split(|c: char| !c.is_alphanumeric())).collect();
    let digits = |word: &str| (1..=2).contains(&word.len()) && word.chars().all(|c| c.is_ascii_digit());
    let scenarios =
        words.iter().filter(|word| word.starts_with(|c| "ABCDEFKOP".contains(c)) && digits(&word[1..])).map(|word| (*word).to_owned());
    let promises = words.windows(2).filter(|pair| pair[0] == "promise" && digits(pair[1])).map(|pair| pair.join(" "));
    scenarios.chain(promises).collect()
}

#[test]
fn the_scenarios_and_promises_that_comments_name_are_in_the_contract() {
    let contract = |page: &str| fs::read_to_string(root().join("docs/design").join(page)).expect("a page of the contract");
    let (scenarios, promises) = (contract("scenarios.md"), contract("product.md"));
    for (file, source) in with_extension(&["rs"]) {
        for number in numbers_in_comments(&source) {
            let known = match number.strip_prefix("promise ") {
                Some(promise) => promises.contains(&format!("\n{promise}. **")),
                None => scenarios.contains(&format!("\n| {number} | ")),
            };
            assert!(known, "{} names {number}, which is not in docs/design", file.display());
        }
    }
}

#[test]
fn numbers_are_found_in_comments_only() {
    let source = "/// K03, O33: as promise 5 says (UTF8, A123, 61108)\nlet a1 = \"K04\"; // B2";
    assert_eq!(numbers_in_comments(source), ["K03", "O33", "B2", "promise 5"]);
}

#[test]
fn links_in_code_are_none_and_anchors_are_made_as_a_forge_makes_them() {
    let page = "# A page: `x`, and more\nsee [a](b.rs#c), `[no](no)`\n```\n[no](no)\n```\n[d](e)";
    assert_eq!(links(page), ["b.rs#c", "e"]);
    assert_eq!(anchors(page), ["a-page-x-and-more"]);
    assert_eq!(normal(Path::new("a/../../b")), None);
}

#[test]
fn a_document_is_found_in_prose_and_addresses_and_patterns_are_none() {
    let name = ["gone", "md"].join(".");
    let text = format!("(see {name}, step 2; docs/{name}). https://example.com/{name} */*.md `.md`");
    assert_eq!(documents(&text).collect::<Vec<_>>(), [name.as_str(), &format!("docs/{name}")]);
}
