//! The contract in `docs/design/scenarios.md`: its column of tests, and whether every row has a test and every numbered test a row.
//!
//! A test belongs to the rows whose numbers its name begins with: `k03_…` to K03, `a08_o35_…` to A08 and O35.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

pub const PAGE: &str = "docs/design/scenarios.md";

/// Where tests are.
const ROOMS: [&str; 4] = ["src", "crates", "tests", "testbed"];

/// Rows that nothing does yet. Whoever builds one takes it out.
const NOT_BUILT: &[&str] = &[];

/// What the last column says of a row of [`NOT_BUILT`].
const NOT_BUILT_YET: &str = "not built yet";

/// The page as it has to be, and what is wrong with it whatever the column says.
#[derive(Debug)]
pub struct Scenarios {
    pub text: String,
    pub complaints: Vec<String>,
}

pub fn render(root: &Path) -> Result<Scenarios> {
    let page = fs::read_to_string(root.join(PAGE)).with_context(|| format!("reading {PAGE}"))?;
    let mut names = BTreeSet::new();
    for room in ROOMS.iter().map(|room| root.join(room)).filter(|room| room.is_dir()) {
        tests_below(&room, &mut names)?;
    }
    Ok(fill(&page, &names, NOT_BUILT))
}

fn tests_below(dir: &Path, names: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            tests_below(&path, names)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            names.extend(tests(&fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?));
        }
    }
    Ok(())
}

/// The names of the tests in a source file.
fn tests(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(rest) = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "))
            && std::mem::take(&mut marked)
        {
            found.extend(rest.split(['(', '<']).next().map(str::to_owned));
        }
    }
    found
}

/// The rows a test belongs to.
fn numbers(test: &str) -> impl Iterator<Item = String> {
    test.split('_').take_while(|word| is_number(word)).map(str::to_uppercase)
}

/// A letter and one or two digits.
fn is_number(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic()) && (1..=2).contains(&chars.clone().count()) && chars.all(|c| c.is_ascii_digit())
}

fn fill(page: &str, names: &BTreeSet<String>, not_built: &[&str]) -> Scenarios {
    let mut by_number: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in names {
        numbers(name).for_each(|number| by_number.entry(number).or_default().push(name));
    }
    let (mut text, mut complaints, mut rows) = (String::new(), Vec::new(), BTreeSet::new());
    for line in page.lines() {
        let Some((number, given_and_then)) = row(line) else {
            text.extend([line, "\n"]);
            continue;
        };
        if !rows.insert(number.to_owned()) {
            complaints.push(format!("{PAGE} has two rows {number}"));
        }
        let tests = by_number.get(number).map(Vec::as_slice).unwrap_or_default();
        let cell = match (tests, not_built.contains(&number)) {
            ([], true) => NOT_BUILT_YET.to_owned(),
            ([], false) => {
                let prefix = number.to_lowercase();
                complaints.push(format!("{PAGE}: no test has the number of row {number}: name one {prefix}_…"));
                String::new()
            }
            (tests, expected_none) => {
                if expected_none {
                    complaints.push(format!("row {number} has a test ({}): take it out of NOT_BUILT in xtask", tests[0]));
                }
                tests.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join("<br>")
            }
        };
        text.push_str(&format!("| {number} |{given_and_then}| {cell} |\n"));
    }
    for (number, tests) in by_number.iter().filter(|(number, _)| !rows.contains(*number)) {
        complaints.push(format!("{PAGE} has no row {number}, which {} names", tests.join(", ")));
    }
    for number in not_built.iter().filter(|number| !rows.contains(**number)) {
        complaints.push(format!("{PAGE} has no row {number}, which NOT_BUILT in xtask names"));
    }
    Scenarios { text, complaints }
}

/// A row's number, and what stands between that and the last column.
fn row(line: &str) -> Option<(&str, &str)> {
    let (number, rest) = line.strip_prefix("| ")?.split_once(" |")?;
    let (given_and_then, _tests) = rest.strip_suffix('|')?.rsplit_once('|')?;
    (is_number(number) && number.starts_with(|c: char| c.is_ascii_uppercase())).then_some((number, given_and_then))
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    const PAGE_TEXT: &str = "# T\n\n| # | given | then | tests |\n| --- | --- | --- | --- |\n| K01 | a | b | stale |\n| K07 | c | d | |\n";

    fn filled(names: &[&str], not_built: &[&str]) -> Scenarios {
        fill(PAGE_TEXT, &names.iter().map(|n| (*n).to_owned()).collect(), not_built)
    }

    #[test]
    fn the_column_names_the_tests_of_each_row_and_nothing_else_changes() {
        let page = filled(&["k01_one", "k01_two", "k07_three", "plain"], &[]);
        assert!(page.complaints.is_empty(), "{:?}", page.complaints);
        let expected = PAGE_TEXT.replace("| stale |", "| `k01_one`<br>`k01_two` |").replace("| d | |", "| d | `k07_three` |");
        assert_eq!(page.text, expected);
        assert_eq!(fill(&page.text, &BTreeSet::from(["k01_one".into(), "k01_two".into(), "k07_three".into()]), &[]).text, expected);
    }

    #[test]
    fn a_test_with_two_numbers_is_in_both_rows() {
        let page = filled(&["k01_k07_both_61108_times"], &[]);
        assert!(page.complaints.is_empty(), "{:?}", page.complaints);
        assert_eq!(page.text.matches("`k01_k07_both_61108_times`").count(), 2);
    }

    #[test]
    fn a_row_without_a_test_is_told_with_its_number() {
        let page = filled(&["k01_one"], &[]);
        assert_eq!(page.complaints, [format!("{PAGE}: no test has the number of row K07: name one k07_…")]);
    }

    #[test]
    fn a_row_that_is_not_built_yet_says_so_and_has_no_test() {
        let page = filled(&["k01_one"], &["K07"]);
        assert!(page.complaints.is_empty(), "{:?}", page.complaints);
        assert!(page.text.contains("| K07 | c | d | not built yet |"), "{}", page.text);
        let page = filled(&["k01_one", "k07_it_is_there"], &["K07"]);
        assert_eq!(page.complaints, ["row K07 has a test (k07_it_is_there): take it out of NOT_BUILT in xtask"]);
    }

    #[test]
    fn a_test_without_a_row_is_told_and_so_is_a_number_of_the_list_without_one() {
        let page = filled(&["k01_one", "k07_two", "z99_three"], &["P02"]);
        assert_eq!(
            page.complaints,
            [format!("{PAGE} has no row Z99, which z99_three names"), format!("{PAGE} has no row P02, which NOT_BUILT in xtask names")]
        );
    }

    #[test]
    fn two_rows_of_one_number_are_told() {
        let page = fill(&PAGE_TEXT.replace("K07", "K01"), &BTreeSet::from(["k01_one".to_owned()]), &[]);
        assert_eq!(page.complaints, [format!("{PAGE} has two rows K01")]);
    }

    #[test]
    fn tests_are_found_under_either_attribute_and_helpers_are_not() {
        let source = "
            #[test]
            fn k01_plain() {}
            fn k02_helper() {}
            #[tokio::test(flavor = \"multi_thread\")]
            #[ignore = \"long\"]
            async fn k03_async<T>() {}
            // #[test]
            fn k04_commented_out() {}
        ";
        assert_eq!(tests(source), ["k01_plain", "k03_async"]);
    }

    #[test]
    fn a_number_is_a_letter_and_one_or_two_digits() {
        for (word, is) in [("k01", true), ("a5", true), ("a", false), ("61108", false), ("k001", false), ("two", false), ("1a", false)] {
            assert_eq!(is_number(word), is, "{word}");
        }
    }
}
