//! How long a group has looked the same: the looks that count towards a quiet period.

use std::time::{Duration, Instant};

use super::ProcessState;
use stream_pipeline_api::BackendIdentity;
use stream_pipeline_core::{Committed, Identity, Quiet, digest};

/// Looks further apart than this prove nothing about the time between them (promise 2; the usual quiet period).
const GAP: Duration = Duration::from_secs(10);

/// After this many equal looks, a part of the time between them counts as quiet, even if each look came late.
const LATE_LOOKS: u32 = 5;

pub(super) struct Look {
    /// A digest: it is only compared, and there are many.
    committed: [u8; 32],
    inactive: bool,
    /// The most recent looks, oldest first.
    pub(super) recent: Vec<Instant>,
    /// Since when every look has found the same, and how many looks that were.
    same_since: Instant,
    same: u32,
    /// Since when no two looks were further apart than [`GAP`].
    watched_since: Instant,
    moved_at: Option<Instant>,
}

impl Look {
    /// How long the group is known to be quiet: since when no two looks were further apart than `period` and [`GAP`]; or a quarter of the
    /// time over which many looks found the same, however late they came. Committed offsets are compared over any gap. A member that comes
    /// and goes between two looks without a commit is not seen.
    fn rested(&self, period: Duration, now: Instant) -> Duration {
        let ago = |t: Instant| now.saturating_duration_since(t);
        let all_late = if self.same >= LATE_LOOKS { ago(self.same_since) / 4 } else { Duration::ZERO };
        ago(self.watched_since(period)).max(all_late)
    }

    fn watched_since(&self, period: Duration) -> Instant {
        if period >= GAP {
            return self.watched_since;
        }
        let mut since = None;
        for look in self.recent.iter().rev() {
            if since.is_some_and(|later: Instant| later.saturating_duration_since(*look) > period) {
                break;
            }
            since = Some(*look);
        }
        since.unwrap_or(self.watched_since)
    }
}

impl ProcessState {
    /// Notes a look at the group. Returns how long it is known to be quiet, for a quiet period of this length and from this object's looks
    /// only: another principal may see other partitions.
    pub fn note_look(
        &self,
        object: &Identity,
        backend: &BackendIdentity,
        inactive: bool,
        committed: &Committed,
        period: Duration,
        now: Instant,
    ) -> Quiet {
        let committed = digest::of_parts(committed.iter().map(|one| format!("{one:?}")));
        let mut inner = self.inner();
        let fresh = || Look { committed, inactive, recent: Vec::new(), same_since: now, same: 0, watched_since: now, moved_at: None };
        let look = inner.looks.entry((backend.clone(), object.clone())).or_insert_with(fresh);
        let moved = look.committed != committed;
        let unwatched = look.recent.last().is_some_and(|last| now.saturating_duration_since(*last) > GAP);
        if unwatched {
            look.watched_since = now;
        }
        if moved || !inactive || !look.inactive {
            if moved && inactive && look.inactive {
                look.moved_at = Some(now);
            }
            (look.same_since, look.same, look.watched_since) = (now, 0, now);
            look.inactive = inactive;
            look.committed = committed;
        }
        let ago = |t: Instant| now.saturating_duration_since(t);
        if look.watched_since == now {
            look.recent.clear();
        }
        look.recent.retain(|t| ago(*t) <= 2 * GAP);
        look.recent.push(now);
        look.same = look.same.saturating_add(1);
        Quiet { since: inactive.then(|| look.rested(period, now)), moved: look.moved_at.map(ago) }
    }

    /// The operator's own commits are not movement, so the looks of all objects of the namespace start anew. Those of other namespaces do
    /// not, or whoever resets there could keep a group from ever being quiet here.
    pub fn forget_looks(&self, namespace: &str, backend: &BackendIdentity) {
        let looks = &mut self.inner().looks;
        let first = Identity { namespace: namespace.to_owned(), name: String::new(), uid: String::new() };
        let of_them = looks.range((backend.clone(), first)..).map(|(of, _)| of);
        let of_them = of_them.take_while(|(at, object)| at == backend && object.namespace == namespace);
        for of in of_them.cloned().collect::<Vec<_>>() {
            looks.remove(&of);
        }
    }
}
