//! A record that is not closed: send, drop the plan, read back, wait or close. The same for the first run, after a restart
//! and for a second replica (protocol.md, steps 2 to 5).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::read_back::closing;
use super::{Action, Pass};
use crate::{
    Activity, Cause, Committed, Now, Observation, Observed, Plan, PlanState, PlatformFacts, RecordView, SendOutcome, Step, Timing,
    TopicPartition, target, words,
};
use stream_pipeline_api::{OffsetResetRecordStatus, Reason, RecordPhase};

/// What an open record is judged by: the commits of its partitions and, where it may still be sent, everything else that was seen.
pub(super) struct OpenRecord<'a> {
    pub record: &'a RecordView,
    pub committed: &'a Observed<Committed>,
    pub activity: &'a Observed<Activity>,
    pub facts: PlatformFacts,
    /// The user that the platform takes the operator for, where it is known.
    pub principal: Option<&'a str>,
    /// What else was seen in this pass. None: nobody asks for this record any more, so it is never sent.
    pub second_look: Option<&'a Observation>,
    pub timing: &'a Timing,
    pub now: Now,
}

impl<'a> Pass<'a> {
    pub(super) fn open_record(
        &self,
        record: &'a RecordView,
        committed: &'a Observed<Committed>,
        activity: &'a Observed<Activity>,
        second_look: Option<&'a Observation>,
    ) -> OpenRecord<'a> {
        OpenRecord {
            record,
            committed,
            activity,
            facts: self.facts(),
            principal: self.seen.principal.as_deref(),
            second_look,
            timing: self.timing,
            now: self.now,
        }
    }
}

/// Closes a record of which nothing was sent.
pub(super) fn abandon(record: &RecordView, cause: &Cause, now: Now) -> Action {
    Action::act(Step::Close(closing(record, RecordPhase::Abandoned, cause, now, None)), cause.clone())
}

impl OpenRecord<'_> {
    pub fn action(&self) -> Action {
        if self.record.is_restored() {
            let text = "this record was restored from a backup, not made here: nothing is sent from it. A new id asks again";
            return abandon(self.record, &Cause::new(Reason::Restored, text), self.now);
        }
        let Some(plan) = self.record.plan() else {
            let text = "given up before anything was sent: the request was withdrawn or replaced";
            return abandon(self.record, &Cause::new(Reason::NoLongerRequested, text), self.now);
        };
        match &self.record.state {
            PlanState::OursUnsent { dead: true, .. } => {
                self.drop_plan(Cause::new(Reason::PlanRecorded, "the plan was given up before it was sent"))
            }
            PlanState::OursUnsent { loaded_at, intact, .. } => {
                let in_window = self.now.mono.saturating_duration_since(*loaded_at) < self.timing.send_window;
                match self.may_send(plan, in_window, *intact) {
                    Ok(only) => Action::act(
                        Step::Send { plan: plan.clone(), only },
                        Cause::new(Reason::PlanRecorded, "the plan is recorded and is sent now"),
                    ),
                    // The plan's basis is gone, or the record would look restored after a restart: the request ends.
                    Err(cause) if cause.reason.is_terminal() && self.record.is_first_send() => abandon(self.record, &cause, self.now),
                    Err(cause) => self.drop_plan(cause),
                }
            }
            PlanState::OursSent { loaded_at, tries, answer: SendOutcome::Answered { refused } } => {
                let in_window = self.now.mono.saturating_duration_since(*loaded_at) < self.timing.send_window;
                self.answered(plan, refused, *tries, in_window)
            }
            // Refused before anything was done: the same as not sent.
            PlanState::OursSent { answer: SendOutcome::NotApplied(cause), .. }
                if cause.reason.is_terminal() && self.record.is_first_send() =>
            {
                abandon(self.record, cause, self.now)
            }
            PlanState::OursSent { answer: SendOutcome::NotApplied(cause), .. } => self.drop_plan(cause.clone()),
            PlanState::OursSent { answer: SendOutcome::Ambiguous(cause), .. } => self.hold_for(cause),
            PlanState::OursSent { answer: SendOutcome::Unanswered { ended, cause }, .. } => self.doubt(plan, *ended, Some(cause)),
            PlanState::InDoubt { since } => self.doubt(plan, *since, None),
            PlanState::Absent | PlanState::Closed => {
                Action::wait(Cause::new(Reason::PlanRecorded, "the record changed while it was read"), Duration::from_millis(200))
            }
        }
    }

    /// The second look (step 2): everything again, live. Ok holds the partitions to send.
    fn may_send(&self, plan: &Plan, in_window: bool, intact: bool) -> Result<BTreeSet<TopicPartition>, Cause> {
        let no = |reason: Reason, text: &str| Err(Cause::new(reason, text));
        let Some(seen) = self.second_look else { return no(Reason::NoLongerRequested, "the request was withdrawn or replaced") };
        if !intact {
            return no(
                Reason::CRDOutdated,
                "the API server did not keep the record as it was written: the installed CRDs are older than the operator; upgrade them",
            );
        }
        if self.record.is_skewed() {
            let text = format!(
                "the clocks of operator and API server are {} s apart; after a restart this record would be taken for a restored one, \
                 so nothing was sent. Correct the clock, then choose a new id",
                self.record.clock_gap()
            );
            return no(Reason::ClockSkew, &text);
        }
        match &seen.wanted {
            Observed::Read(true) => {}
            Observed::Unreadable(cause) => return Err(cause.clone()),
            _ => return no(Reason::NoLongerRequested, "the request was withdrawn or replaced"),
        }
        match &seen.conflicting_records {
            Observed::Read(names) if names.is_empty() => {}
            Observed::Read(names) => return Err(another_open(names)),
            reading => return Err(unread(reading)),
        }
        if self.now.wall >= self.record.object.spec.deadline {
            return no(Reason::WaitTimedOut, "the deadline of the request passed before the plan was sent");
        }
        match &seen.identity {
            Observed::Read(id) if *id == self.record.object.spec.backend => {}
            Observed::Read(id) => {
                return Err(Cause::new(Reason::ClusterChanged, format!("the backend now answers as {}", id.parts().join("/"))));
            }
            reading => return Err(unread(reading)),
        }
        let Some(activity) = self.activity.get() else { return Err(unread(self.activity)) };
        if let Some(cause) = activity.blocker() {
            return Err(cause.clone());
        }
        let Some(committed) = self.committed.get() else { return Err(unread(self.committed)) };
        if let Some(cause) = transaction_open(committed) {
            return Err(cause);
        }
        self.same_topics(plan)?;
        // The window is checked last here, and once more right before the socket.
        if !in_window {
            return no(Reason::PlanRecorded, &words::too_slow(self.timing.send_window));
        }
        let (chunk, retry) = (self.record.chunk(), self.record.attempt() > 1);
        let misplaced = plan.misplaced(committed, chunk, retry).or_else(|| plan.not_left_alone(committed).filter(|_| !retry));
        if let Some(at) = misplaced {
            return Err(moved(at));
        }
        // A retry sends only the partitions that still stand as before; of a renewal all do that nobody moved.
        let renews = target::renews(&self.record.object.spec.request);
        let unmoved = plan.changes().filter(|row| renews && row.is_unchanged(committed.get(&row.at))).map(|row| row.at.clone());
        let left: BTreeSet<_> = plan.read_back(committed).as_before.into_iter().chain(unmoved).collect();
        Ok(plan.chunk(chunk).filter(|at| !retry || left.contains(at)).cloned().collect())
    }

    /// The plan's numbers are of topics that are there still.
    ///
    /// # Errors
    /// One is gone or another one, or they could not be looked at.
    pub(super) fn same_topics(&self, plan: &Plan) -> Result<(), Cause> {
        let topics = match self.second_look.map(|seen| &seen.topics) {
            Some(Observed::Read(topics)) => topics,
            reading => return Err(unread(reading.unwrap_or(&Observed::Unread))),
        };
        let same = |(name, id): &(&String, &String)| topics.get(*name).and_then(|t| t.as_ref()).is_some_and(|t| t.id == **id);
        plan.topic_ids.iter().find(|topic| !same(topic)).map_or(Ok(()), |(name, _)| {
            let text = format!("topic {name} was deleted or made anew since the plan; nothing was sent. A new id asks again");
            Err(Cause::new(Reason::TopicRecreated, text))
        })
    }

    /// Step 2': nothing of the plan was sent. A later chunk or a retry is never dropped: something was sent before it.
    pub(super) fn drop_plan(&self, cause: Cause) -> Action {
        if self.record.is_first_send() {
            let wanted = self.second_look.is_some() && cause.reason != Reason::NoLongerRequested;
            let next = if wanted { ", and made again by itself" } else { "" };
            let message = format!("{}. Nothing was moved: the plan is dropped{next}", cause.message.trim_end_matches('.'));
            return Action { step: Some(Step::DropPlan), cause: Cause { message, ..cause }, recheck: Duration::from_secs(1) };
        }
        let none = Plan::default();
        let plan = self.record.plan().unwrap_or(&none);
        let found = self.committed.get().filter(|_| !plan.rows.is_empty()).map(|committed| plan.read_back(committed));
        let seen = found.as_ref().map(|s| format!("; {}", words::read_back(s))).unwrap_or_default();
        let (reason, what) = match self.record.chunk() {
            1 => (Reason::OutcomeUnknown, "the retry was".to_owned()),
            chunk => {
                (Reason::PartlyApplied, format!("the chunks before were read back as planned, {} was", words::chunk(chunk, plan.chunks())))
            }
        };
        self.hold(reason, &format!("{what} not sent: {}{seen}. Nothing more is sent", cause.message), found.as_ref(), &BTreeMap::new())
    }
}

/// The status of a dry run's record.
pub fn planned(record: &RecordView, now: Now) -> OffsetResetRecordStatus {
    closing(record, RecordPhase::Planned, &Cause::new(Reason::PlanReady, "a dry run: nothing was sent"), now, None)
}

pub fn another_open(names: &[String]) -> Cause {
    let text = format!(
        "another reset of this group is not closed yet: {} (kubectl get osr). It is dealt with first; this one starts by itself",
        words::some_of(names)
    );
    Cause::new(Reason::AnotherResetOpen, text)
}

/// Committed offsets that are not known before a transaction ends.
pub fn transaction_open(committed: &Committed) -> Option<Cause> {
    let held: Vec<_> = committed.iter().filter(|(_, commit)| commit.pending).map(|(at, _)| at.to_string()).collect();
    let text = format!(
        "an open transaction holds the offset of {}; it is waited for. It ends when its producer commits or aborts it, at the latest at that \
         producer's transaction.timeout.ms. One that is left over is shown by kafka-transactions list (Ongoing), and ended by \
         kafka-transactions forceTerminateTransaction --transactionalId <id>",
        words::some_of(&held)
    );
    (!held.is_empty()).then(|| Cause::new(Reason::TransactionOpen, text))
}

fn moved(at: &TopicPartition) -> Cause {
    Cause::new(Reason::OffsetsMoving, format!("the committed offset of {at} moved after the plan was made"))
}

pub(super) fn unread<T>(reading: &Observed<T>) -> Cause {
    reading.cause().cloned().unwrap_or_else(|| Cause::new(Reason::BackendError, "not read in this pass"))
}
