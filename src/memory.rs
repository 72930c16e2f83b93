//! What this process knows and nobody else: the plans it wrote, what it sent, how long things have looked the same.
//! Lost at a restart on purpose: whoever starts anew only looks (protocol.md).

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;

use crate::api::{OffsetResetRecord, RecordedPlan, Writer};
use crate::domain::{Answer, Backend, Committed, Group, Identity, PlanState, Quiet};

/// A plan this old is past every window; its write was refused, or its record went away.
const KEPT: Duration = Duration::from_secs(3600);

/// See the module.
pub struct Memory {
    incarnation: String,
    plans_written: AtomicI64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    ours: HashMap<Writer, OurPlan>,
    first_seen: HashMap<(String, Option<Writer>), Instant>,
    /// (uid, resourceVersion) of records known to be closed.
    closed: HashSet<(String, String)>,
    looks: HashMap<(String, Backend), Look>,
    failures: HashMap<Identity, u32>,
}

struct OurPlan {
    loaded_at: Instant,
    written: RecordedPlan,
    sent: Sent,
}

enum Sent {
    No,
    /// On its way: counts as unanswered until the answer is noted.
    Yes {
        tries: u32,
        answer: Answer,
    },
    /// Given up: never sent, whatever the API server says later.
    Dead,
}

struct Look {
    committed: Committed,
    inactive: bool,
    same_since: Instant,
    moved_at: Option<Instant>,
}

impl Memory {
    pub fn new(incarnation: String) -> Self {
        Self { incarnation, plans_written: AtomicI64::new(0), inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change below is complete in itself, so a poisoned lock still guards a consistent state.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names the next plan of this process, and counts its window from now: call it just before the write.
    pub fn load(&self, attempt: i32, plan: &RecordedPlan, now: Instant) -> Writer {
        let number = self.plans_written.fetch_add(1, Ordering::Relaxed) + 1;
        let writer = Writer { incarnation: self.incarnation.clone(), number, attempt };
        let mut inner = self.inner();
        // Forgetting is always safe: what is not known to be ours is only looked at.
        inner.ours.retain(|_, ours| now.saturating_duration_since(ours.loaded_at) < KEPT);
        inner.ours.insert(writer.clone(), OurPlan { loaded_at: now, written: plan.clone(), sent: Sent::No });
        writer
    }

    /// Takes the one right to send this plan. False: it was taken, or given up.
    pub fn begin_send(&self, writer: &Writer, pending: Answer) -> bool {
        let mut inner = self.inner();
        let Some(ours) = inner.ours.get_mut(writer) else { return false };
        let tries = match &ours.sent {
            Sent::No => 1,
            Sent::Yes { tries, answer: Answer::Definite { refused } } if !refused.is_empty() => tries + 1,
            Sent::Yes { .. } | Sent::Dead => return false,
        };
        ours.sent = Sent::Yes { tries, answer: pending };
        true
    }

    /// Notes the backend's answer.
    pub fn note_answer(&self, writer: &Writer, new: Answer) {
        if let Some(OurPlan { sent: Sent::Yes { answer, .. }, .. }) = self.inner().ours.get_mut(writer) {
            *answer = new;
        }
    }

    /// A plan of which nothing was sent is dead in this process from now on.
    pub fn bury(&self, writer: &Writer) {
        if let Some(ours) = self.inner().ours.get_mut(writer).filter(|o| matches!(o.sent, Sent::No)) {
            ours.sent = Sent::Dead;
        }
    }

    /// How long the window has been open.
    pub fn loaded_at(&self, writer: &Writer) -> Option<Instant> {
        self.inner().ours.get(writer).map(|o| o.loaded_at)
    }

    /// What this process knows of a record's plan. Forgets it when the record is closed.
    pub fn state_of(&self, record: &OffsetResetRecord, now: Instant) -> PlanState {
        let mut inner = self.inner();
        let uid = record.uid().unwrap_or_default();
        let writer = record.spec.writer.clone();
        if is_closed(record) {
            inner.closed.insert((uid.clone(), record.resource_version().unwrap_or_default()));
            inner.first_seen.retain(|(u, _), _| *u != uid);
            if let Some(writer) = &writer {
                inner.ours.remove(writer);
            }
            return PlanState::Closed;
        }
        let (Some(plan), Some(writer)) = (&record.spec.plan, writer) else { return PlanState::Absent };
        let since = *inner.first_seen.entry((uid, Some(writer.clone()))).or_insert(now);
        let Some(ours) = inner.ours.get(&writer) else { return PlanState::InDoubt { since } };
        match &ours.sent {
            Sent::No | Sent::Dead => {
                PlanState::OursUnsent { loaded_at: ours.loaded_at, intact: ours.written == *plan, dead: matches!(ours.sent, Sent::Dead) }
            }
            Sent::Yes { tries, answer } => PlanState::OursSent { loaded_at: ours.loaded_at, tries: *tries, answer: answer.clone() },
        }
    }

    /// Whether a record of this version is known to be closed, so that it need not be read.
    pub fn known_closed(&self, uid: &str, resource_version: &str) -> bool {
        self.inner().closed.contains(&(uid.to_owned(), resource_version.to_owned()))
    }

    /// Notes a look at the group and says how long it has looked the same. `namespace` keeps tenants apart.
    pub fn note_look(&self, namespace: &str, backend: &Backend, group: &Group, committed: &Committed, now: Instant) -> Quiet {
        let mut inner = self.inner();
        let inactive = group.is_inactive();
        let fresh = || Look { committed: committed.clone(), inactive, same_since: now, moved_at: None };
        let look = inner.looks.entry((namespace.to_owned(), backend.clone())).or_insert_with(fresh);
        let moved = look.committed != *committed;
        if moved || !inactive || !look.inactive {
            if moved && inactive && look.inactive {
                look.moved_at = Some(now);
            }
            look.same_since = now;
            look.inactive = inactive;
            look.committed.clone_from(committed);
        }
        let ago = |t: Instant| now.saturating_duration_since(t);
        Quiet { since: inactive.then(|| ago(look.same_since)), moved: look.moved_at.map(ago) }
    }

    /// What this operator itself wrote is no movement: the looks begin anew.
    pub fn forget_looks(&self, namespace: &str, backend: &Backend) {
        self.inner().looks.remove(&(namespace.to_owned(), backend.clone()));
    }

    /// Counts consecutive passes that could not reach the backend.
    pub fn note_reached(&self, object: &Identity, reached: bool) -> u32 {
        let mut inner = self.inner();
        if reached {
            inner.failures.remove(object);
            return 0;
        }
        let failures = inner.failures.entry(object.clone()).or_default();
        *failures = failures.saturating_add(1);
        *failures
    }
}

/// A record is closed when its status closes the attempt that wrote last.
pub fn is_closed(record: &OffsetResetRecord) -> bool {
    let attempt = record.spec.writer.as_ref().map_or(0, |w| w.attempt);
    record.status.as_ref().is_some_and(|s| s.attempt >= attempt)
}
