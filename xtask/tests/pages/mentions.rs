//! What the tree mentions is in it: documents, paths, scenarios, promises, tests.

use std::fs;
use std::path::Path;

use crate::tree::{home, in_the_tree, root, with_extension};

/// Where a document that is mentioned by its bare name may be.
const SHELVES: [&str; 5] = ["", "docs", "docs/design", "docs/design/decisions", "charts/stream-pipeline-operator"];

/// What a path of the tree begins with.
const ROOMS: [&str; 9] = ["charts", "crates", "crds", "docs", "examples", "src", "testbed", "tests", "xtask"];

/// Names of documents in a text of any kind: words that end in `.md`.
fn documents(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || "._-/*:".contains(c)));
    let words = words.map(|word| word.trim_end_matches(['.', ':', ',']));
    // Addresses and patterns name nothing of the tree.
    words.filter(|word| word.ends_with(".md") && !word.contains("://") && !word.contains('*') && !word.ends_with("/.md") && *word != ".md")
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
fn a_document_is_found_in_prose_and_addresses_and_patterns_are_none() {
    let name = ["gone", "md"].join(".");
    let text = format!("(see {name}, step 2; docs/{name}). https://example.com/{name} */*.md `.md`");
    assert_eq!(documents(&text).collect::<Vec<_>>(), [name.as_str(), &format!("docs/{name}")]);
}

/// Paths of the tree in the inline code of a page.
fn paths(page: &str) -> impl Iterator<Item = &str> {
    let code = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    code.flat_map(str::split_whitespace).filter(|word| {
        let plain = word.chars().all(|c| c.is_alphanumeric() || "._-/".contains(c));
        plain && word.split_once('/').is_some_and(|(room, _)| ROOMS.contains(&room))
    })
}

#[test]
fn every_path_that_a_page_names_is_in_the_tree() {
    for (page, text) in with_extension(&["md"]) {
        for path in paths(&text) {
            // A module may be a directory or a file.
            let known = in_the_tree(Path::new(path)) || in_the_tree(Path::new(&format!("{path}.rs")));
            assert!(known, "{} names {path}, which is not in the tree", page.display());
        }
    }
}

/// What `cargo test` is told to run of a test target: the target and its filters.
fn runs(page: &str) -> Vec<(&str, Vec<&str>)> {
    let commands = page.split("cargo test --test ").skip(1).map(|rest| rest.split(['`', '\n', '#']).next().unwrap_or_default());
    let parts = commands.map(|command| command.split_whitespace().filter(|word| !word.starts_with("--")));
    parts.filter_map(|mut words| Some((words.next()?, words.collect()))).collect()
}

#[test]
fn every_run_of_tests_that_a_page_names_runs_some() {
    let sources = with_extension(&["rs"]);
    for (page, text) in with_extension(&["md"]) {
        for (target, filters) in runs(&text) {
            let room = Path::new("tests").join(target);
            let tests: Vec<_> = sources.iter().filter(|(file, _)| file.starts_with(&room)).collect();
            for filter in filters {
                let named = |(file, source): &&&(std::path::PathBuf, String)| {
                    let module = file.with_extension("").display().to_string().replace("/mod", "").replace('/', "::") + "::";
                    module.contains(filter) || source.lines().any(|line| line.contains("fn ") && line.contains(filter))
                };
                assert!(tests.iter().any(|test| named(&test)), "{}: {filter} is no test of {target}", page.display());
            }
        }
    }
}

#[test]
fn paths_and_runs_are_read_from_a_page() {
    let page = "see `src/a.rs`, `docs/` and src/b.rs; `cargo test --test it -- kill:: o10_ --nocapture`\ncargo test --test it k03  # one";
    assert_eq!(paths(page).collect::<Vec<_>>(), ["src/a.rs", "docs/"]);
    assert_eq!(runs(page), [("it", vec!["kill::", "o10_"]), ("it", vec!["k03"])]);
}
