//! Every dependency holds to `deny.toml`: its licence, where it comes from, what is banned. From `cargo metadata`, which downloads what only
//! other platforms need.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use toml_edit::{Document, Item};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above this crate")
}

fn rules() -> Document<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    Document::parse(text).expect("deny.toml is TOML")
}

fn words(list: &Item) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|word| word.as_str().expect("a text")).collect()
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

fn text<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field].as_str().unwrap_or_default()
}

/// Whether an SPDX expression is satisfied by the licences that are allowed. `/` is an old way to write OR.
fn allowed(expression: &str, allow: &[&str]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest, allow) && rest.is_empty()
}

fn any(rest: &mut &[&str], allow: &[&str]) -> bool {
    let mut good = all(rest, allow);
    while let [first, tail @ ..] = *rest
        && *first == "OR"
    {
        *rest = tail;
        good |= all(rest, allow);
    }
    good
}

fn all(rest: &mut &[&str], allow: &[&str]) -> bool {
    let mut good = one(rest, allow);
    while let [first, tail @ ..] = *rest
        && *first == "AND"
    {
        *rest = tail;
        good &= one(rest, allow);
    }
    good
}

fn one(rest: &mut &[&str], allow: &[&str]) -> bool {
    match **rest {
        ["(", ref tail @ ..] => {
            *rest = tail;
            let good = any(rest, allow);
            let [")", tail @ ..] = *rest else { return false };
            *rest = tail;
            good
        }
        [licence, "WITH", exception, ref tail @ ..] => {
            *rest = tail;
            allow.contains(&format!("{licence} WITH {exception}").as_str())
        }
        [licence, ref tail @ ..] => {
            *rest = tail;
            allow.contains(&licence)
        }
        [] => false,
    }
}

#[test]
fn every_licence_is_allowed() {
    let rules = rules();
    let allow = words(&rules["licenses"]["allow"]);
    for package in packages() {
        let licence = text(&package, "license");
        assert!(allowed(licence, &allow), "{} {}: {licence:?} is not allowed by deny.toml", package["name"], package["version"]);
    }
}

#[test]
fn every_dependency_is_from_the_registry_or_from_this_tree() {
    let rules = rules();
    let registries = words(&rules["sources"]["allow-registry"]);
    for package in packages() {
        let Some(source) = package["source"].as_str() else {
            assert!(Path::new(text(&package, "manifest_path")).starts_with(root()), "{package}");
            continue;
        };
        let known = source.strip_prefix("registry+").is_some_and(|registry| registries.contains(&registry));
        assert!(known, "{} comes from {source}, which deny.toml does not allow", package["name"]);
    }
}

#[test]
fn nothing_banned_is_there_and_our_own_versions_are_bounded() {
    let rules = rules();
    let banned: Vec<_> =
        rules["bans"]["deny"].as_array().expect("a list").iter().filter_map(|ban| ban.as_inline_table()?.get("crate")?.as_str()).collect();
    assert!(!banned.is_empty(), "deny.toml bans something");
    for package in packages() {
        let name = text(&package, "name");
        assert!(!banned.contains(&name), "{name} is banned by deny.toml");
        if package["source"].is_string() {
            continue;
        }
        for dependency in package["dependencies"].as_array().expect("a list") {
            assert!(dependency["path"].is_string() || dependency["req"] != "*", "{name}: {} has no version", dependency["name"]);
        }
    }
}

#[test]
fn expressions_of_licences_are_read_as_spdx_reads_them() {
    let allow = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"];
    for (expression, good) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND ISC", true),
        ("(MIT OR ISC) AND GPL-3.0", false),
        ("GPL-3.0 AND MIT OR ISC", true),
        ("ISC OR MIT AND GPL-3.0", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("(MIT", false),
        ("MIT MIT", false),
    ] {
        assert_eq!(allowed(expression, &allow), good, "{expression}");
    }
}
