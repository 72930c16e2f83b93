//! Every link within the pages leads somewhere.

use std::path::Path;

use crate::tree::{home, in_the_tree, normal, prose, with_extension};

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
fn links_in_code_are_none_and_anchors_are_made_as_a_forge_makes_them() {
    let page = "# A page: `x`, and more\nsee [a](b.rs#c), `[no](no)`\n```\n[no](no)\n```\n[d](e)";
    assert_eq!(links(page), ["b.rs#c", "e"]);
    assert_eq!(anchors(page), ["a-page-x-and-more"]);
    assert_eq!(normal(Path::new("a/../../b")), None);
}
