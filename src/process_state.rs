//! What this process knows and nobody else: the plans it wrote, what it sent, how long things have looked the same.
//! Lost at a restart on purpose: whoever starts anew only looks (protocol.md).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::ResourceExt;
use parking_lot::{Mutex, MutexGuard};

use crate::api::{BackendIdentity, LagSample, OffsetResetRecord, RecordPhase, RecordedPlan, Writer};
use crate::domain::{Cause, Committed, Identity, Now, PlanState, Quiet, RecordView, RunStateCall, RunStateCalls, SendOutcome};

/// Looks further apart than this prove nothing about the time between them (promise 2; the usual quiet period).
const GAP: Duration = Duration::from_secs(10);

/// So many looks that found the same tell of the whole time between them, also where each came late.
const LATE_LOOKS: u32 = 5;

/// A running pipeline whose request waits is asked for its position so often.
const READING: Duration = Duration::from_secs(60);

/// A plan this old is past every window; its write was refused, or its record went away.
const KEPT: Duration = Duration::from_secs(3600);

/// A group that nobody has looked at this long is nobody's: whoever comes back begins anew anyway. Longer than the longest back-off.
const UNSEEN: Duration = Duration::from_secs(300);

/// See the module.
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
    looks: HashMap<(Identity, BackendIdentity), Look>,
    /// The generation that could not be reached, and how often in a row.
    failures: HashMap<Identity, (i64, u32)>,
    /// By uid of the record.
    calls: HashMap<String, RunStateCalls>,
    /// When a running pipeline was last asked for its position, and the answer.
    readings: HashMap<Identity, (Instant, LagSample)>,
    refusals: HashMap<String, u32>,
    /// How often in a row the finalizer of an object could not be put on or taken off, by its uid.
    unguarded: HashMap<String, u32>,
    /// What was last logged of an object, and when it was last true.
    told: HashMap<Identity, String>,
}

struct OurPlan {
    loaded_at: Instant,
    /// Shared by the chunks of one plan.
    written: Arc<RecordedPlan>,
    sent: Sent,
}

enum Sent {
    No,
    /// On its way: counts as unanswered until the answer is noted.
    Yes {
        tries: u32,
        answer: SendOutcome,
    },
    /// Given up: never sent, whatever the API server says later.
    Dead,
}

struct Look {
    committed: Committed,
    inactive: bool,
    /// The looks of the last while, oldest first.
    recent: Vec<Instant>,
    /// Since when every look has found the same, and how many did.
    same_since: Instant,
    same: u32,
    /// Since when no two of them were further apart than [`GAP`].
    watched_since: Instant,
    moved_at: Option<Instant>,
}

impl Look {
    /// How long it is known to have rested: since when no two looks were further apart than the period asked for, nor than
    /// [`GAP`]; or a quarter of the time over which many looks found the same, however late they came. Committed offsets are
    /// compared over any gap; what comes and goes within one without a commit is not seen.
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
    pub fn new(incarnation: String) -> Self {
        Self { incarnation, plans_written: AtomicI64::new(0), inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change below is complete in itself: also a panic under this lock leaves a consistent state.
        self.inner.lock()
    }

    /// Names the next plan of this process, and counts its window from now: call it just before the write.
    pub fn register_plan(&self, attempt: i32, plan: &RecordedPlan, now: Instant) -> Writer {
        self.register_chunk(attempt, 1, Arc::new(plan.clone()), now)
    }

    /// Names the next chunk of a plan of this process, with a window of its own. None: it is not of this process.
    pub fn start_chunk(&self, before: &Writer, chunk: i32, now: Instant) -> Option<Writer> {
        let plan = self.inner().ours.get(before).map(|ours| Arc::clone(&ours.written))?;
        Some(self.register_chunk(before.attempt, chunk, plan, now))
    }

    fn register_chunk(&self, attempt: i32, chunk: i32, written: Arc<RecordedPlan>, now: Instant) -> Writer {
        let number = self.plans_written.fetch_add(1, Ordering::Relaxed) + 1;
        let writer = Writer { incarnation: self.incarnation.clone(), number, attempt, chunk };
        let mut inner = self.inner();
        // Forgetting is always safe: what is not known to be ours is only looked at.
        inner.ours.retain(|_, ours| now.saturating_duration_since(ours.loaded_at) < KEPT);
        inner.ours.insert(writer.clone(), OurPlan { loaded_at: now, written, sent: Sent::No });
        writer
    }

    /// Takes the one right to send this plan. False: it was taken, or given up.
    pub fn begin_send(&self, writer: &Writer, pending: SendOutcome) -> bool {
        let mut inner = self.inner();
        let Some(ours) = inner.ours.get_mut(writer) else { return false };
        let tries = match &ours.sent {
            Sent::No => 1,
            Sent::Yes { tries, answer: SendOutcome::Answered { refused } } if !refused.is_empty() => tries + 1,
            Sent::Yes { .. } | Sent::Dead => return false,
        };
        ours.sent = Sent::Yes { tries, answer: pending };
        true
    }

    /// Notes the backend's answer.
    pub fn note_answer(&self, writer: &Writer, new: SendOutcome) {
        if let Some(OurPlan { sent: Sent::Yes { answer, .. }, .. }) = self.inner().ours.get_mut(writer) {
            *answer = new;
        }
    }

    /// A plan of which nothing was sent is dead in this process from now on.
    pub fn abandon_plan(&self, writer: &Writer) {
        if let Some(ours) = self.inner().ours.get_mut(writer).filter(|o| matches!(o.sent, Sent::No)) {
            ours.sent = Sent::Dead;
        }
    }

    /// How long the window has been open.
    pub fn loaded_at(&self, writer: &Writer) -> Option<Instant> {
        self.inner().ours.get(writer).map(|o| o.loaded_at)
    }

    /// A record, with what this process knows of it. What is over is forgotten.
    pub fn look(&self, record: OffsetResetRecord, now: Instant) -> RecordView {
        let state = self.state_of(&record, now);
        let mut inner = self.inner();
        let uid = record.uid().unwrap_or_default();
        let calls = match record.spec.run_state_before {
            None => RunStateCalls::default(),
            Some(_) => {
                let known = inner.calls.entry(uid.clone()).or_default();
                known.first_seen.get_or_insert(now);
                known.clone()
            }
        };
        let look = RecordView::new(record, state, calls);
        if look.is_over() {
            inner.closed.insert((uid.clone(), look.object.resource_version().unwrap_or_default()));
            inner.refusals.remove(&uid);
            if !look.object.status.as_ref().is_some_and(|s| s.phase == RecordPhase::Sent) {
                inner.calls.remove(&uid);
            }
        }
        look
    }

    fn state_of(&self, record: &OffsetResetRecord, now: Instant) -> PlanState {
        let mut inner = self.inner();
        let uid = record.uid().unwrap_or_default();
        let writer = record.spec.writer.clone();
        if is_closed(record) {
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
                PlanState::OursUnsent { loaded_at: ours.loaded_at, intact: *ours.written == *plan, dead: matches!(ours.sent, Sent::Dead) }
            }
            Sent::Yes { tries, answer } => PlanState::OursSent { loaded_at: ours.loaded_at, tries: *tries, answer: answer.clone() },
        }
    }

    /// Whether a record of this version is known to be closed, so that it need not be read.
    pub fn known_closed(&self, uid: &str, resource_version: &str) -> bool {
        self.inner().closed.contains(&(uid.to_owned(), resource_version.to_owned()))
    }

    /// After the API server was set back a version may come again, of something else.
    pub fn forget_closed(&self) {
        self.inner().closed.clear();
    }

    /// Notes a look at the group and says how long it has looked the same, as far as a quiet period of this length can be
    /// told from the looks of this object: another principal may see other partitions.
    pub fn note_look(
        &self,
        object: &Identity,
        backend: &BackendIdentity,
        inactive: bool,
        committed: &Committed,
        period: Duration,
        now: Instant,
    ) -> Quiet {
        let mut inner = self.inner();
        let fresh = || Look {
            committed: committed.clone(),
            inactive,
            recent: Vec::new(),
            same_since: now,
            same: 0,
            watched_since: now,
            moved_at: None,
        };
        let look = inner.looks.entry((object.clone(), backend.clone())).or_insert_with(fresh);
        let moved = look.committed != *committed;
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
            look.committed.clone_from(committed);
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

    /// What this operator itself wrote is no movement: the looks begin anew, of all objects of the namespace. Another namespace's
    /// are its own, or whoever resets there could keep a group from being quiet here.
    pub fn forget_looks(&self, namespace: &str, backend: &BackendIdentity) {
        self.inner().looks.retain(|(object, of), _| object.namespace != namespace || of != backend);
    }

    /// Notes that the pipeline of this record is stopped (`start: false`) or started, just before the call.
    pub fn note_switch(&self, record: &OffsetResetRecord, start: bool, now: Instant) {
        let mut inner = self.inner();
        let known = inner.calls.entry(record.uid().unwrap_or_default()).or_default();
        let switch = if start { &mut known.start } else { &mut known.stop };
        let (tries, failure) = switch.as_ref().map_or((0, None), |s| (s.tries, s.failure.clone()));
        // Until its answer is noted, and for ever where an earlier one had none.
        *switch = Some(RunStateCall { last: now, tries: tries.saturating_add(1), under_way: true, failure });
    }

    /// Notes how that call ended. `under_way`: it was not answered, and may land later.
    pub fn note_switched(&self, record: &OffsetResetRecord, start: bool, under_way: bool, failed: Option<Cause>) {
        let mut inner = self.inner();
        let Some(known) = inner.calls.get_mut(&record.uid().unwrap_or_default()) else { return };
        if let Some(switch) = if start { known.start.as_mut() } else { known.stop.as_mut() } {
            switch.failure = failed;
            switch.under_way = under_way;
        }
    }

    /// The pipeline of this record was seen down after it was to be stopped.
    pub fn note_down(&self, record: &OffsetResetRecord) {
        self.inner().calls.entry(record.uid().unwrap_or_default()).or_default().was_down = true;
    }

    /// Since when the pipeline of this closed record has been seen running, with the newest reading there was then.
    pub fn note_running(&self, record: &OffsetResetRecord, now: Now, newest: Option<Timestamp>) -> (Now, Option<Timestamp>) {
        let mut inner = self.inner();
        *inner.calls.entry(record.uid().unwrap_or_default()).or_default().running.get_or_insert((now, newest))
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

    /// Lets go of what concerned objects and records that are gone, as far as nothing depends on it: `alive` says which uids are left.
    pub fn forget(&self, alive: impl Fn(&str) -> bool, now: Instant) {
        let ago = |t: Instant| now.saturating_duration_since(t);
        let mut inner = self.inner();
        inner.failures.retain(|object, _| alive(&object.uid));
        inner.readings.retain(|object, _| alive(&object.uid));
        inner.closed.retain(|(record, _)| alive(record));
        inner.looks.retain(|(object, _), look| alive(&object.uid) && look.recent.last().is_some_and(|last| ago(*last) < UNSEEN));
        inner.ours.retain(|_, ours| ago(ours.loaded_at) < KEPT);
        inner.unguarded.retain(|object, _| alive(object));
        inner.refusals.retain(|record, _| alive(record));
        // A record that was just made may not be known as alive yet.
        inner.first_seen.retain(|(record, _), since| alive(record) || ago(*since) < UNSEEN);
        inner.calls.retain(|record, known| alive(record) || known.first_seen.is_none_or(|since| ago(since) < UNSEEN));
        // The tables stay as large as they once were.
        inner.failures.shrink_to_fit();
        inner.readings.shrink_to_fit();
        inner.closed.shrink_to_fit();
        inner.looks.shrink_to_fit();
        inner.told.retain(|object, _| alive(&object.uid));
        inner.told.shrink_to_fit();
        inner.first_seen.shrink_to_fit();
        inner.calls.shrink_to_fit();
    }

    /// Whether this differs from what was last said of this object.
    pub fn is_news(&self, object: &Identity, said: String) -> bool {
        let mut inner = self.inner();
        inner.told.insert(object.clone(), said.clone()).is_none_or(|last| last != said)
    }

    /// Counts consecutive passes that could not reach the backend. What failed for an earlier generation says nothing of this one.
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

/// A record is closed when its status closes the attempt that wrote last.
pub fn is_closed(record: &OffsetResetRecord) -> bool {
    let attempt = record.spec.writer.as_ref().map_or(0, |w| w.attempt);
    record.status.as_ref().is_some_and(|s| s.attempt >= attempt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Commit, TopicPartition};

    fn group() -> BackendIdentity {
        BackendIdentity::Kafka { cluster_id: "c".to_owned(), consumer_group: "g".to_owned() }
    }

    fn object(name: &str) -> Identity {
        Identity { namespace: "n".to_owned(), name: name.to_owned(), uid: name.to_owned() }
    }

    #[test]
    fn what_one_principal_sees_is_no_movement_to_another() {
        let (process_state, start) = (ProcessState::new("i".to_owned()), Instant::now());
        let at = |topic: &str| (TopicPartition::new(topic, 0), Commit { offset: 7, ..Commit::default() });
        let (all, some) = (Committed::from([at("a"), at("b")]), Committed::from([at("a")]));
        let look = |name: &str, sees: &Committed, second: u64| {
            process_state.note_look(&object(name), &group(), true, sees, Duration::from_secs(10), start + Duration::from_secs(second))
        };
        for second in (0..12).step_by(4) {
            look("p", &all, second);
            look("q", &some, second + 1);
        }
        for quiet in [look("p", &all, 12), look("q", &some, 13)] {
            assert_eq!((quiet.since, quiet.moved), (Some(Duration::from_secs(12)), None));
        }
        // What was written by this operator is movement to neither.
        process_state.forget_looks("n", &group());
        assert_eq!((look("p", &some, 14).moved, look("q", &all, 14).moved), (None, None));
    }

    /// Looks at these seconds of an Empty group that never moves; how long it is known to be quiet at the last of them.
    fn quiet(period: u64, looks: &[u64]) -> u64 {
        let (process_state, start) = (ProcessState::new("i".to_owned()), Instant::now());
        let (backend, object) = (group(), object("p"));
        let look = |at: &u64| {
            process_state.note_look(
                &object,
                &backend,
                true,
                &Committed::new(),
                Duration::from_secs(period),
                start + Duration::from_secs(*at),
            )
        };
        looks.iter().map(look).last().and_then(|q| q.since).map_or(0, |since| since.as_secs())
    }

    #[test]
    fn c1_what_is_remembered_of_objects_that_are_gone_is_let_go() {
        let (process_state, start) = (ProcessState::new("i".to_owned()), Instant::now());
        let object = |n: usize| Identity { namespace: "n".to_owned(), name: format!("p{n}"), uid: format!("uid-{n}") };
        let closed = |n: usize| -> OffsetResetRecord {
            let record = serde_json::json!({
                "apiVersion": "streampipeline.io/v1alpha1", "kind": "OffsetResetRecord",
                "metadata": { "name": "r", "uid": format!("record-{n}"), "resourceVersion": "1" },
                "spec": {
                    "pipeline": { "name": "p", "uid": "u" }, "request": { "id": "r1" }, "backend": { "clusterID": "c", "consumerGroup": "g" },
                    "createdAt": "2026-01-01T00:00:00Z", "deadline": "2026-01-02T00:00:00Z",
                },
                "status": { "phase": "Verified", "attempt": 1, "reason": "ResetVerified", "message": "", "completedAt": "2026-01-01T00:00:00Z" },
            });
            serde_json::from_value(record).unwrap()
        };
        // Of a request that stops its pipeline, with a plan that another process wrote.
        let open = |n: usize| -> OffsetResetRecord {
            let mut record = closed(n);
            record.metadata.uid = Some(format!("open-{n}"));
            record.status = None;
            record.spec.run_state_before = Some(crate::api::RunStateBefore { running: true, ..Default::default() });
            record.spec.plan = Some(crate::domain::Plan::default().to_record());
            record.spec.writer = Some(Writer { incarnation: "another".to_owned(), number: 1, attempt: 1, chunk: 1 });
            record
        };
        let committed: Committed =
            (0..1000).map(|n| (crate::domain::TopicPartition::new("t", n), crate::domain::Commit::default())).collect();
        let look = |n: usize, at: Instant| {
            let backend = BackendIdentity::Kafka { cluster_id: "c".to_owned(), consumer_group: format!("g{n}") };
            process_state.note_look(&object(n), &backend, true, &committed, Duration::from_secs(4), at)
        };
        for n in 0..60 {
            process_state.note_reached(&object(n), 1, false);
            process_state.note_finalizer(&object(n), false);
            process_state.note_refusal(&open(n));
            process_state.note_switch(&open(n), false, start);
            process_state.look(open(n), start);
            process_state.note_reading(&object(n), LagSample { offset: 1, lag: 1, at: Timestamp::UNIX_EPOCH }, start);
            assert!(process_state.look(closed(n), start).is_over());
            look(n, start);
        }
        let held = |process_state: &ProcessState| {
            let inner = process_state.inner();
            let of_objects = [inner.failures.len(), inner.readings.len(), inner.looks.len(), inner.unguarded.len()];
            let of_records = [inner.closed.len(), inner.refusals.len(), inner.calls.len(), inner.first_seen.len()];
            [of_objects, of_records]
        };
        assert_eq!(held(&process_state), [[60; 4]; 2]);
        process_state.forget(|_| true, start);
        assert_eq!(held(&process_state), [[60; 4]; 2], "what is there is remembered");
        process_state.forget(|_| false, start);
        let of_records = held(&process_state)[1];
        assert_eq!([of_records[2], of_records[3]], [60; 2], "a record that was made a moment ago may not be known yet");
        for n in 0..60 {
            process_state.note_reached(&object(n), 1, false);
            process_state.note_finalizer(&object(n), false);
            process_state.note_refusal(&open(n));
            process_state.note_reading(&object(n), LagSample { offset: 1, lag: 1, at: Timestamp::UNIX_EPOCH }, start);
            assert!(process_state.look(closed(n), start).is_over());
            look(n, start);
        }
        look(7, start + Duration::from_secs(4));
        let later = start + UNSEEN;
        process_state.forget(|uid| ["uid-7", "record-7", "open-7"].contains(&uid), later);
        assert_eq!(held(&process_state), [[1; 4]; 2]);
        assert_eq!(process_state.note_finalizer(&object(7), false), 2, "it goes on counting");
        assert_eq!(process_state.note_finalizer(&object(7), true), 0);
        assert_eq!(process_state.note_finalizer(&object(7), false), 1);
        assert!(process_state.known_closed("record-7", "1") && !process_state.known_closed("record-8", "1"));
        assert_eq!(process_state.note_reached(&object(7), 1, false), 2, "it goes on counting");
        assert_eq!(process_state.note_reached(&object(7), 2, false), 1, "an edit begins anew");
        assert_eq!(process_state.note_reached(&object(7), 2, false), 2, "and only once");
    }

    #[test]
    fn a15_only_looks_close_to_each_other_count() {
        for (period, looks, expected) in [
            (10, &[0, 4, 8, 12][..], 12),
            (10, &[0, 11][..], 0),
            (10, &[0, 11, 15][..], 4),
            (5, &[0, 8, 10][..], 2),
            (5, &[0, 4, 8, 12][..], 12),
            (60, &[0, 9, 18, 27][..], 27),
            (0, &[0][..], 0),
            // Each too late: only many of them, over four times the period, tell as much.
            (10, &[0, 11, 22, 33][..], 0),
            (10, &[0, 11, 22, 33, 44][..], 11),
            (2, &[0, 3, 6, 9][..], 0),
            (2, &[0, 3, 6, 9, 12][..], 3),
        ] {
            assert_eq!(quiet(period, looks), expected, "period {period}, looks {looks:?}");
        }
    }

    /// A look that comes late by less than three quarters of the period costs no more than itself.
    #[test]
    fn b1_the_next_look_comes_well_within_the_period_that_it_must_prove() {
        let (ms, usual) = (Duration::from_millis, Duration::from_secs(3));
        for period in [500, 1_000, 2_000, 3_000, 10_000, 60_000].map(ms) {
            for rested in (0..10).map(|tenths| period * tenths / 10) {
                let next = crate::decide::next_look(period, rested, usual);
                assert!(next <= (period / 4).max(ms(100)) && next <= usual, "period {period:?}, rested {rested:?}: {next:?}");
            }
        }
        assert_eq!(crate::decide::next_look(ms(10_000), ms(9_000), usual), ms(1_000), "when it is over, and not later");
    }

    /// Each next look is set as `decide` sets it, and comes late by as much as the machine is loaded.
    #[test]
    fn however_late_looks_come_a_quiet_period_ends() {
        let mut seed = 7_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let backend = BackendIdentity::Kafka { cluster_id: "c".to_owned(), consumer_group: "g".to_owned() };
        let object = Identity { namespace: "n".to_owned(), name: "p".to_owned(), uid: "u".to_owned() };
        for history in 0..2000 {
            let period = Duration::from_millis(100 + random(15_000));
            let latest = [60, 200, 1_000, 4_000, 30_000][usize::try_from(history % 5).expect("small")];
            let (process_state, start) = (ProcessState::new("i".to_owned()), Instant::now());
            let (mut at, mut looks) = (Duration::ZERO, 0);
            loop {
                let quiet = process_state.note_look(&object, &backend, true, &Committed::new(), period, start + at);
                looks += 1;
                if quiet.is_enough(period) {
                    break;
                }
                let most = 5 * period + 6 * Duration::from_millis(latest + 50);
                assert!(at < most, "period {period:?}, up to {latest} ms late: not over after {looks} looks in {at:?}");
                at += crate::decide::next_look(period, quiet.since.unwrap_or_default(), Duration::from_secs(3));
                at += Duration::from_millis(50 + random(latest));
            }
            assert!(at >= period, "never before it has passed");
        }
    }
}
