//! The list poll that all callers of one client and organization share, and how a list is read that may change meanwhile.
//!
//! A poll runs in a task of its own, so a caller that goes away does not end it. A caller joins a poll only if the poll's first request
//! began late enough, so nobody gets a status older than they asked for.

use super::operation::Operation;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::failure::{Effect, Failure, FailureKind};
use super::wire::answers::{Item, Page};
use crate::clock::mono;

pub(super) const PAGE_SIZE: usize = 50;

/// 10,000 pipelines; the vendor allows at most 50 in an organization.
const MAX_PAGES: usize = 200;

/// How often at most a list is read that changes while it is read.
const MAX_PASSES: usize = 3;

/// The longest a poll may take, however slowly pages come.
const POLL_DEADLINE: Duration = Duration::from_secs(60);

/// The released pipelines of an organization that are not the system's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipelines {
    /// By pipeline id.
    pub items: BTreeMap<String, Item>,
    /// When the first request was about to be sent: no status is older than this.
    pub read_from: Instant,
    /// False if the list changed each time it was read: a pipeline may then be missing from it.
    pub settled: bool,
}

/// When the first request of a poll began; set right before it is sent.
pub(super) type Began = Arc<OnceLock<Instant>>;

type Outcome = Result<Arc<Pipelines>, Failure>;

#[derive(Clone)]
struct Running {
    began: Began,
    outcome: watch::Receiver<Option<Outcome>>,
}

#[derive(Default)]
struct Org {
    last: Option<Arc<Pipelines>>,
    running: Option<Running>,
}

#[derive(Default)]
pub(super) struct Polls {
    orgs: Mutex<HashMap<String, Org>>,
}

/// What a caller waits for, and whether its outcome answers the caller's question.
enum Next {
    Have(Arc<Pipelines>),
    Join(Running),
    Outwait(Running),
}

impl Polls {
    /// A list read at or after `since`. `read` starts a poll, and sets the instant that it is given.
    pub(super) async fn get<F, R>(self: &Arc<Self>, org: &str, since: Instant, read: F) -> Outcome
    where
        F: Fn(Began) -> R,
        R: Future<Output = Result<Pipelines, Failure>> + Send + 'static,
    {
        let since = since.min(mono());
        loop {
            let (mut running, joined) = match self.next(org, since, &read) {
                Next::Have(list) => return Ok(list),
                Next::Join(running) => (running, true),
                Next::Outwait(running) => (running, false),
            };
            let ended = running.outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
            match ended {
                Some(outcome) if joined => return outcome,
                Some(_) => {}
                None => {
                    self.forget(org, &running);
                    if joined {
                        return Err(Failure::new(Operation::List, FailureKind::Interrupted, Effect::Unknown, ""));
                    }
                }
            }
        }
    }

    fn next<R>(self: &Arc<Self>, org: &str, since: Instant, read: impl Fn(Began) -> R) -> Next
    where
        R: Future<Output = Result<Pipelines, Failure>> + Send + 'static,
    {
        let mut orgs = self.orgs.lock();
        let of_org = orgs.entry(org.to_owned()).or_default();
        if let Some(list) = of_org.last.as_ref().filter(|list| list.read_from >= since) {
            return Next::Have(Arc::clone(list));
        }
        match &of_org.running {
            // A poll that has not begun yet will read everything late enough.
            Some(running) if running.began.get().is_none_or(|began| *began >= since) => Next::Join(running.clone()),
            Some(running) => Next::Outwait(running.clone()),
            None => {
                let began = Began::default();
                let (tell, outcome) = watch::channel(None);
                let running = Running { began: Arc::clone(&began), outcome };
                of_org.running = Some(running.clone());
                let (polls, org, reading) = (Arc::clone(self), org.to_owned(), read(began));
                tokio::spawn(async move {
                    let late = |_| {
                        Err(Failure::new(
                            Operation::List,
                            FailureKind::Timeout,
                            Effect::Unknown,
                            format!("not read within {POLL_DEADLINE:?}"),
                        ))
                    };
                    let outcome = tokio::time::timeout(POLL_DEADLINE, reading).await.unwrap_or_else(late).map(Arc::new);
                    let mut orgs = polls.orgs.lock();
                    let of_org = orgs.entry(org).or_default();
                    of_org.running = None;
                    if let Ok(list) = &outcome {
                        of_org.last = Some(Arc::clone(list));
                    }
                    drop(orgs);
                    // Fails only if no caller waits any more.
                    let _ = tell.send(Some(outcome));
                });
                Next::Join(running)
            }
        }
    }

    fn forget(&self, org: &str, ended: &Running) {
        if let Some(of_org) = self.orgs.lock().get_mut(org)
            && of_org.running.as_ref().is_some_and(|r| r.outcome.same_channel(&ended.outcome))
        {
            of_org.running = None;
        }
    }
}

/// Reads pages from 1 on. The manual does not say what `count` counts, and the server may cap the page size. So it reads until a page
/// brings nothing new, or as many are known as `count` says if that exceeds the page and is therefore a total. A list that changed
/// meanwhile is read again, and the results are merged: a deleted pipeline may still be listed, but none is missed.
pub(super) async fn read_all<R>(began: &OnceLock<Instant>, mut fetch: impl FnMut(usize) -> R) -> Result<Pipelines, Failure>
where
    R: Future<Output = Result<Page, Failure>>,
{
    let mut items = BTreeMap::new();
    let mut settled = false;
    for _ in 0..MAX_PASSES {
        let (mut seen, mut total, mut moved) = (BTreeMap::new(), None, false);
        for number in 1.. {
            if number > MAX_PAGES {
                let text = format!("the list does not end within {MAX_PAGES} pages of {PAGE_SIZE}");
                return Err(Failure::new(Operation::List, FailureKind::TooManyPages, Effect::Unknown, text));
            }
            let page = fetch(number).await?;
            let known = seen.len();
            let length = page.items.len();
            seen.extend(page.items);
            let fresh = seen.len() - known;
            let is_total = page.count.and_then(|c| usize::try_from(c).ok()).filter(|c| *c > length);
            if fresh == 0 {
                break;
            }
            // The sign that the list did not change: no id comes twice, and the total stays the same.
            moved |= fresh < length || is_total.zip(total).is_some_and(|(now, before)| now != before);
            total = is_total.or(total);
            if is_total.is_some_and(|total| seen.len() >= total) {
                break;
            }
        }
        moved |= total.is_some_and(|total| seen.len() != total);
        items.extend(seen);
        if !moved {
            settled = true;
            break;
        }
    }
    let read_from = began.get().copied().unwrap_or_else(mono);
    Ok(Pipelines { items, read_from, settled })
}
