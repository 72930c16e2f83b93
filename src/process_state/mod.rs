//! What only this process knows: the plans it wrote, what it sent, how long things have looked the same. It is lost at a restart on
//! purpose: a new process only looks (protocol.md).

mod consumption;
mod plans;
mod quiet;
mod run_state_calls;
#[cfg(test)]
mod tests;

pub use plans::is_closed;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};

use kube::ResourceExt;
use parking_lot::{Mutex, MutexGuard};

use consumption::Consumption;
use plans::OurPlan;
use quiet::Look;
use stream_pipeline_api::{BackendIdentity, LagSample, OffsetResetRecord, Writer};
use stream_pipeline_core::{Identity, RunStateCalls, digest};

/// How often a running pipeline is asked for its position while its request waits.
const READING: Duration = Duration::from_secs(60);

/// A plan this old is past every window; its write was refused, or its record is gone.
const KEPT: Duration = Duration::from_secs(3600);

/// What is known of a record that the watch does not show is forgotten after this long.
const UNSEEN: Duration = Duration::from_secs(300);

/// Looks at a group are forgotten after this long without one. Where there are many objects, one at rest is looked at seldom.
const UNWATCHED: Duration = Duration::from_secs(2 * 3600);

/// See the module's own comment.
pub struct ProcessState {
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
    /// In this order, so that those of a place lie beside each other.
    looks: BTreeMap<(BackendIdentity, Identity), Look>,
    /// By uid of the object.
    consumption: HashMap<String, Consumption>,
    /// The generation whose backend could not be reached, and how often in a row.
    failures: HashMap<Identity, (i64, u32)>,
    /// By uid of the record.
    calls: HashMap<String, RunStateCalls>,
    /// When a running pipeline was last asked for its position, and the answer.
    readings: HashMap<Identity, (Instant, LagSample)>,
    refusals: HashMap<String, u32>,
    /// How often in a row the finalizer of an object could not be set or removed, by the object's uid.
    unguarded: HashMap<String, u32>,
    /// Uids of objects before which none comes, by a live list of a time when none could come any more.
    first: HashSet<String>,
    /// A digest of what was last logged of an object, by its uid.
    told: HashMap<String, [u8; 32]>,
    /// By uid of an object: the version of it that this process has made, and when it is to be looked at next.
    own_versions: HashMap<String, (String, Option<Instant>)>,
}

impl ProcessState {
    pub fn new(incarnation: String) -> Self {
        Self { incarnation, plans_written: AtomicI64::new(0), inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change below is complete in itself: even a panic under this lock leaves a consistent state.
        self.inner.lock()
    }

    pub fn reading_is_due(&self, object: &Identity, now: Instant) -> bool {
        self.inner().readings.get(object).is_none_or(|(at, _)| now.saturating_duration_since(*at) >= READING)
    }

    pub fn note_reading(&self, object: &Identity, reading: LagSample, now: Instant) {
        self.inner().readings.insert(object.clone(), (now, reading));
    }

    pub fn reading(&self, object: &Identity) -> Option<LagSample> {
        self.inner().readings.get(object).map(|(_, reading)| *reading)
    }

    /// Counts how often the backend refused this record's plan as a whole.
    pub fn note_refusal(&self, record: &OffsetResetRecord) -> u32 {
        let mut inner = self.inner();
        let refusals = inner.refusals.entry(record.uid().unwrap_or_default()).or_default();
        *refusals = refusals.saturating_add(1);
        *refusals
    }

    /// Counts how often in a row our finalizer could not be put on this object, or taken off it.
    pub fn note_finalizer(&self, object: &Identity, done: bool) -> u32 {
        let mut inner = self.inner();
        if done {
            inner.unguarded.remove(&object.uid);
            return 0;
        }
        let failures = inner.unguarded.entry(object.uid.clone()).or_default();
        *failures = failures.saturating_add(1);
        *failures
    }

    /// Notes that no object comes before these, and none can come any more.
    pub fn note_first(&self, uids: impl IntoIterator<Item = String>) {
        self.inner().first.extend(uids);
    }

    pub fn is_first(&self, object: &Identity) -> bool {
        self.inner().first.contains(&object.uid)
    }

    /// Notes the version of an object that this process has made by writing its status.
    pub fn note_own_version(&self, object: &Identity, version: String) {
        self.inner().own_versions.insert(object.uid.clone(), (version, None));
    }

    /// Notes when the object is to be looked at next, where nobody but this process changes it before.
    pub fn note_next_look(&self, uid: &str, at: Instant) {
        if let Some((_, next)) = self.inner().own_versions.get_mut(uid) {
            *next = Some(at);
        }
    }

    /// How long until the next look at this version of an object, if it is just the one that this process has made; None: it is due.
    pub fn told_by_itself(&self, uid: &str, version: &str, now: Instant) -> Option<Duration> {
        let inner = self.inner();
        let (_, next) = inner.own_versions.get(uid).filter(|(own, _)| own == version)?;
        next.map(|next| next.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Forgets objects and records that are gone, as far as nothing depends on them: `alive` says which uids still exist.
    pub fn forget(&self, alive: impl Fn(&str) -> bool, now: Instant) {
        let ago = |t: Instant| now.saturating_duration_since(t);
        let mut inner = self.inner();
        inner.failures.retain(|object, _| alive(&object.uid));
        inner.readings.retain(|object, _| alive(&object.uid));
        inner.consumption.retain(|object, _| alive(object));
        inner.closed.retain(|(record, _)| alive(record));
        inner.looks.retain(|(_, object), look| alive(&object.uid) && look.recent.last().is_some_and(|last| ago(*last) < UNWATCHED));
        inner.ours.retain(|_, ours| ago(ours.loaded_at) < KEPT);
        inner.first.retain(|object| alive(object));
        inner.unguarded.retain(|object, _| alive(object));
        inner.refusals.retain(|record, _| alive(record));
        // A record that was just created may not be known as alive yet.
        inner.first_seen.retain(|(record, _), since| alive(record) || ago(*since) < UNSEEN);
        inner.calls.retain(|record, known| alive(record) || known.first_seen.is_none_or(|since| ago(since) < UNSEEN));
        // Maps do not shrink by themselves.
        inner.failures.shrink_to_fit();
        inner.readings.shrink_to_fit();
        inner.consumption.shrink_to_fit();
        inner.closed.shrink_to_fit();
        inner.told.retain(|object, _| alive(object));
        inner.own_versions.retain(|object, _| alive(object));
        inner.told.shrink_to_fit();
        inner.first_seen.shrink_to_fit();
        inner.calls.shrink_to_fit();
        inner.first.shrink_to_fit();
    }

    /// Whether this differs from what was last logged of this object.
    pub fn is_news(&self, object: &Identity, said: &str) -> bool {
        let said = digest::of_parts([said]);
        self.inner().told.insert(object.uid.clone(), said).is_none_or(|last| last != said)
    }

    /// Counts the passes in a row that could not reach the backend. Failures of an earlier generation do not count.
    pub fn note_reached(&self, object: &Identity, generation: i64, reached: bool) -> u32 {
        let mut inner = self.inner();
        if reached {
            inner.failures.remove(object);
            return 0;
        }
        let (counted, failures) = inner.failures.entry(object.clone()).or_default();
        *failures = if *counted == generation { failures.saturating_add(1) } else { 1 };
        *counted = generation;
        *failures
    }
}
