//! Whether the watches show what the API server holds. If its etcd was restored from a snapshot, a watch that is ahead of it gets no events
//! until the server has caught up, and never those for what was written in between. So versions are compared now and then. Where they
//! differ, the watches are started anew, whichever side is right.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

/// How often the newest version is asked for: a list of one object.
const INTERVAL: Duration = Duration::from_secs(15);
/// In every this many rounds all versions are compared.
const ALL: u32 = 20;
const PAGE: u32 = 500;

/// Versions by namespace and name.
pub type Versions = BTreeMap<(String, String), String>;

/// A watched kind, and what its watch has shown.
pub struct Watched<'a> {
    list: Box<dyn Fn(ListParams) -> Listing + Send + Sync + 'a>,
    told: Box<dyn Fn() -> Versions + Send + Sync + 'a>,
}

type Listing = std::pin::Pin<Box<dyn Future<Output = kube::Result<Page>> + Send>>;

pub struct Page {
    newest: Option<u64>,
    versions: Versions,
    next: Option<String>,
}

impl<'a> Watched<'a> {
    pub fn new<K>(api: Api<K>, told: impl Fn() -> Versions + Send + Sync + 'a) -> Self
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let list = move |params: ListParams| -> Listing {
            let api = api.clone();
            Box::pin(async move {
                let listed = api.list_metadata(&params).await?;
                Ok(Page {
                    newest: listed.metadata.resource_version.as_deref().and_then(|v| v.parse().ok()),
                    versions: listed.items.iter().map(version).collect(),
                    next: listed.metadata.continue_.filter(|token| !token.is_empty()),
                })
            })
        };
        Self { list: Box::new(list), told: Box::new(told) }
    }
}

/// A name, and its version.
pub fn version(object: &impl ResourceExt) -> ((String, String), String) {
    ((object.namespace().unwrap_or_default(), object.name_any()), object.resource_version().unwrap_or_default())
}

/// Resolves once a watch is proven wrong, with the reason in words.
pub async fn disproven(watched: &[Watched<'_>], deadline: Duration) -> String {
    let mut comparisons: Vec<Comparison> = watched.iter().map(|_| Comparison::default()).collect();
    for round in 1_u32.. {
        tokio::time::sleep(INTERVAL).await;
        for (watched, comparison) in watched.iter().zip(&mut comparisons) {
            // Two rounds in a row: a difference that is still the same the second time is not just a late event.
            let whole = round >= ALL && round % ALL <= 1;
            let told = (watched.told)();
            // Listed after that, so that the list is at least as new.
            let Ok(Ok(live)) = tokio::time::timeout(deadline, all(watched, whole)).await else { continue };
            if let Some(why) = comparison.at(&told, live.newest, whole.then_some(&live.versions)) {
                return why;
            }
        }
    }
    std::future::pending().await
}

async fn all(watched: &Watched<'_>, whole: bool) -> kube::Result<Page> {
    let limit = if whole { PAGE } else { 1 };
    let mut page = (watched.list)(ListParams::default().limit(limit)).await?;
    while let Some(token) = page.next.take().filter(|_| whole) {
        let more = (watched.list)(ListParams::default().limit(limit).continue_token(&token)).await?;
        page.versions.extend(more.versions);
        page.next = more.next;
    }
    Ok(page)
}

/// What the comparisons of one kind have found so far.
#[derive(Default)]
struct Comparison {
    newest: u64,
    /// The differences of the last comparison, with the watch's and the list's versions: a watch may be a moment late.
    differ: BTreeMap<(String, String), [Option<String>; 2]>,
}

impl Comparison {
    fn at(&mut self, told: &Versions, newest: Option<u64>, live: Option<&Versions>) -> Option<String> {
        let ahead = told.values().filter_map(|v| v.parse().ok()).max().unwrap_or(0).max(self.newest);
        if let Some(newest) = newest {
            if newest < ahead {
                return Some(format!(
                    "the API server's newest version is {newest}, and {ahead} was seen before: it was set back to an earlier state. Requests \
                     that it has forgotten may come again; everything is listed anew"
                ));
            }
            self.newest = newest;
        }
        let live = live?;
        let of = |versions: &Versions, name: &(String, String)| versions.get(name).cloned();
        let names = told.keys().chain(live.keys());
        let differ: BTreeMap<_, _> =
            names.map(|name| (name.clone(), [of(told, name), of(live, name)])).filter(|(_, [told, live])| told != live).collect();
        let still = differ.iter().find(|(name, versions)| self.differ.get(name) == Some(versions));
        let why = still.map(|((namespace, name), _)| {
            format!(
                "{namespace}/{name} is another one on the API server than its watch has told for {} s; everything is listed anew",
                INTERVAL.as_secs()
            )
        });
        self.differ = differ;
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(of: &[(&str, u64)]) -> Versions {
        of.iter().map(|(name, version)| (("n".to_owned(), (*name).to_owned()), version.to_string())).collect()
    }

    #[test]
    fn a_version_that_went_back_is_told_at_once() {
        let mut comparison = Comparison::default();
        assert_eq!(comparison.at(&versions(&[("a", 5)]), Some(9), None), None);
        assert_eq!(comparison.at(&versions(&[("a", 5)]), Some(9), None), None, "at rest");
        assert!(
            comparison.at(&versions(&[("a", 5)]), Some(8), None).is_some_and(|why| why.contains("newest version is 8, and 9 was seen"))
        );
        assert!(Comparison::default().at(&versions(&[("a", 10)]), Some(9), None).is_some(), "what was told is newer");
        assert_eq!(Comparison::default().at(&versions(&[("a", 10)]), None, None), None, "versions of another make prove nothing");
    }

    #[test]
    fn what_differs_only_for_a_moment_is_no_reason() {
        let mut comparison = Comparison::default();
        let mut at = |told: &[(&str, u64)], live: &[(&str, u64)]| comparison.at(&versions(told), Some(20), Some(&versions(live)));
        assert_eq!(at(&[("a", 5)], &[("a", 6)]), None);
        assert_eq!(at(&[("a", 6)], &[("a", 7)]), None, "the watch goes on");
        assert_eq!(at(&[("a", 7)], &[("a", 7), ("b", 8)]), None);
        assert!(at(&[("a", 7)], &[("a", 7), ("b", 8)]).is_some_and(|why| why.contains("n/b")), "never told");
        assert_eq!(at(&[("a", 7), ("b", 8)], &[("a", 7), ("b", 8)]), None);
        assert_eq!(at(&[("a", 7), ("c", 9)], &[("a", 7)]), None);
        assert!(at(&[("a", 7), ("c", 9)], &[("a", 7)]).is_some(), "gone, and not told");
    }
}
