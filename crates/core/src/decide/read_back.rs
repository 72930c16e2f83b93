//! What happens after a send: it is read back, waited for or held (protocol.md, steps 3 to 5).

use std::collections::{BTreeMap, BTreeSet};

use super::Action;
use super::open_record::{OpenRecord, transaction_open, unread};
use crate::{
    Activity, Aim, Cause, Committed, Now, Observed, PartitionPlan, Plan, PlanState, ReadBack, ReadBackTime, RecordView, Refusal, Refused,
    SendOutcome, Step, TopicPartition, cost, target, words,
};
use stream_pipeline_api::{OffsetResetRecordStatus, PartitionFailure, Reason, RecordPhase, Undo, Verification};

/// How often partitions are sent in all within the window, if some are refused.
const TRIES: u32 = 3;
/// Most bytes of a record's message (`OffsetResetRecordStatus::message`), and of a group's name in it.
const MESSAGE: usize = 1024;
const GROUP: usize = 255;
/// Most bytes of the names of partitions that are not covered.
const NOT_COVERED: usize = 300;

impl OpenRecord<'_> {
    /// Step 3: a definite answer for every partition.
    pub(super) fn answered(&self, plan: &Plan, refused: &BTreeMap<TopicPartition, i32>, tries: u32, in_window: bool) -> Action {
        if self.facts.read_back == ReadBackTime::AfterStart {
            return self.accepted();
        }
        let chunk = self.record.chunk();
        let sent = plan.chunk(chunk).count();
        // In the order in which they were sent: what was refused first may have held back the rest.
        if let Some((row, &code)) = plan.changes().find_map(|row| Some((row, refused.get(&row.at)?)))
            && refused.len() == sent
            && tries == 1
            && self.record.is_first_send()
        {
            return self.drop_plan(self.all_refused(row, code, sent));
        }
        let committed = match self.stable() {
            Ok(committed) => committed,
            Err((cause, tried)) => return self.unreadable(cause, tried),
        };
        let found = plan.read_back(committed);
        if refused.is_empty() {
            if plan.misplaced(committed, chunk + 1, self.record.attempt() > 1).is_some() {
                let text = format!(
                    "the reset was accepted, then something else moved the group: {}. Nothing more is sent",
                    words::read_back(&found)
                );
                return self.hold(Reason::OffsetsMoved, &text, Some(&found), refused);
            }
            if chunk < plan.chunks() {
                let text = format!("{} was read back as planned; the next is announced", words::chunk(chunk, plan.chunks()));
                return Action::act(Step::StartChunk { chunk: chunk + 1 }, Cause::new(Reason::Sent, text));
            }
            return self.verified(&found);
        }
        let unmoved = |row: &&PartitionPlan| refused.contains_key(&row.at) && row.is_unchanged(committed.get(&row.at));
        let again: BTreeSet<_> = plan.changes().filter(unmoved).map(|row| row.at.clone()).collect();
        // Without the right the broker refuses by itself, and it may come back.
        let may_be_there = self.same_topics(plan).err().is_none_or(|cause| cause.reason == Reason::PermissionMissing);
        if in_window && tries < TRIES && again.len() == refused.len() && may_be_there {
            let text = format!("{} refused, sent again with the same numbers", words::partitions(again.len()));
            return Action::act(Step::Send { plan: plan.clone(), only: again }, Cause::new(Reason::Sent, text));
        }
        let named = |row: &PartitionPlan| {
            let code = *refused.get(&row.at)?;
            Some(format!("{} (code {code}, {})", row.at, self.refusal(row, code).meaning))
        };
        let names: Vec<_> = plan.changes().filter_map(named).collect();
        let text = format!(
            "the broker refused {}: {}; {}. Nothing more is sent",
            words::partitions(refused.len()),
            words::some_of(&names),
            words::read_back(&found)
        );
        self.hold(Reason::PartlyApplied, &text, Some(&found), refused)
    }

    fn refusal(&self, row: &PartitionPlan, code: i32) -> Refusal {
        let [_, group] = self.record.object.spec.backend.parts();
        let deletion = row.aim == Aim::Delete;
        (self.facts.refusal)(&Refused { at: &row.at, deletion, group, principal: self.principal, code })
    }

    /// Every partition was refused; the first of them says why.
    fn all_refused(&self, row: &PartitionPlan, code: i32, sent: usize) -> Cause {
        let (refusal, at) = (self.refusal(row, code), &row.at);
        let what = refusal.remedy.as_deref().unwrap_or(refusal.meaning);
        let text =
            format!("the broker refused all of {} with code {code} ({what}; first {at}); nothing was written", words::partitions(sent));
        Cause { backend_code: Some(code), ..Cause::new(refusal.reason, text) }
    }

    /// Accepted by a platform that cannot be read back yet: the state right after the call counts (promise 2), and the record says what was
    /// not seen.
    fn accepted(&self) -> Action {
        let activity = match self.activity {
            Observed::Read(activity) => activity,
            reading => return self.unreadable(unread(reading), reading.cause().is_some()),
        };
        match activity {
            Activity::Inactive(_, word) => {
                let text = format!(
                    "the platform accepted the reset while the pipeline was {word}; it shows the position only of running pipelines. \
                     Start it: its lag is then compared"
                );
                let cause = Cause::new(Reason::NoReadBackWhilePaused, text);
                Action::act(Step::Close(closing(self.record, RecordPhase::Sent, &cause, self.now, None)), cause)
            }
            other => {
                let seen = other.blocker().map_or("the pipeline is gone", |c| c.message.as_str());
                let text = format!(
                    "the platform accepted the reset, but right after it {seen}: it is not known whether it moved. Nothing more is sent"
                );
                self.hold(Reason::OutcomeUnknown, &text, None, &BTreeMap::new())
            }
        }
    }

    /// Step 4: only look where the group stands, and only once nothing can be on its way any more.
    pub(super) fn doubt(&self, plan: &Plan, since: std::time::Instant, why: Option<&Cause>) -> Action {
        let waited = self.now.mono.saturating_duration_since(since);
        if let Some(left) = self.timing.doubt().checked_sub(waited).filter(|left| !left.is_zero()) {
            let why = why.map_or_else(|| "another process wrote this plan and did not close it".to_owned(), |c| c.message.clone());
            let text = format!("{why}; what was sent may still land, so the group is looked at in {} s", left.as_secs() + 1);
            return Action::wait(Cause::new(Reason::Sent, text), left);
        }
        if self.facts.read_back == ReadBackTime::AfterStart {
            let text = why.map_or_else(|| "the operator was ended between plan and answer".to_owned(), |c| c.message.clone());
            let text = format!("{text}. It is not known whether the reset was carried out. Nothing more is sent");
            return self.hold_with(why.and_then(|c| c.code), Reason::OutcomeUnknown, &text, None, &BTreeMap::new());
        }
        let committed = match self.stable() {
            Ok(committed) => committed,
            Err((cause, tried)) => return self.unreadable(cause, tried),
        };
        let found = plan.read_back(committed);
        if target::renews(&self.record.object.spec.request) && plan.changes().all(|row| row.is_unchanged(committed.get(&row.at))) {
            let text = "it is not known whether the same offsets were committed once more, which cannot be seen. Nothing more is sent";
            return self.hold(Reason::OutcomeUnknown, text, Some(&found), &BTreeMap::new());
        }
        if found.as_before.is_empty() && found.elsewhere.is_empty() {
            return self.verified(&found);
        }
        let mut seen = words::read_back(&found);
        if plan.chunks() > 1 {
            seen = format!("{} was to be sent; {seen}", words::chunk(self.record.chunk(), plan.chunks()));
        }
        let (reason, text) = if found.elsewhere.is_empty() {
            (Reason::OutcomeUnknown, format!("it is not known whether the reset was sent: {seen}. Nothing more is sent"))
        } else {
            (
                Reason::OffsetsMoved,
                format!("it is not known what the reset did before something else moved the group: {seen}. Nothing more is sent"),
            )
        };
        self.hold(reason, &text, Some(&found), &BTreeMap::new())
    }

    /// What is committed, once no open transaction can change it. Else why that is not known, and whether the read was tried.
    fn stable(&self) -> Result<&Committed, (Cause, bool)> {
        let Some(committed) = self.committed.get() else {
            return Err((unread(self.committed), self.committed.cause().is_some()));
        };
        transaction_open(committed).map_or(Ok(committed), |cause| Err((cause, true)))
    }

    /// What was sent cannot be read back now. `failed`: reading was tried.
    fn unreadable(&self, cause: Cause, failed: bool) -> Action {
        let until = if self.now.wall >= self.record.object.spec.deadline {
            Some("until the deadline")
        } else if self.keeps_stopped_for_nobody() {
            Some("while nobody asks for it any more")
        } else {
            None
        };
        if let Some(until) = until.filter(|_| failed) {
            let text = format!("it could not be read back {until}: {}. Nothing more is sent", cause.message);
            return self.hold(Reason::OutcomeUnknown, &text, None, &BTreeMap::new());
        }
        Action::wait(
            Cause { message: format!("waiting to read back what was sent: {}", cause.message), ..cause },
            self.timing.recheck_waiting,
        )
    }

    /// A pipeline stopped for a withdrawn request must not stay stopped for as long as its platform cannot be read.
    fn keeps_stopped_for_nobody(&self) -> bool {
        let since = match &self.record.state {
            PlanState::InDoubt { since } => *since + self.timing.doubt(),
            PlanState::OursSent { answer: SendOutcome::Unanswered { ended, .. }, .. } => *ended + self.timing.doubt(),
            PlanState::OursSent { loaded_at, .. } => *loaded_at + self.timing.doubt(),
            _ => return false,
        };
        let patience = self.now.mono.saturating_duration_since(since) >= self.timing.max_backoff;
        patience && self.second_look.is_none() && self.record.pauses().is_some()
    }

    /// The platform's answer leaves open whether the reset happened, and says why.
    pub(super) fn hold_for(&self, cause: &Cause) -> Action {
        let reason = if cause.reason == Reason::AverageRateUnavailable { cause.reason } else { Reason::OutcomeUnknown };
        let text = format!("{}. It is not known whether the position moved. Nothing more is sent", cause.message);
        self.hold_with(cause.code, reason, &text, None, &BTreeMap::new())
    }

    fn verified(&self, found: &ReadBack) -> Action {
        let totals = self.record.object.spec.plan.as_ref().and_then(|p| p.totals.clone()).unwrap_or_default();
        let n = found.at_target.len();
        let (read, all) = (words::number(i64::try_from(n).unwrap_or(i64::MAX)), words::partitions(n));
        let added = self.not_covered();
        let without = if added.is_empty() {
            String::new()
        } else {
            let count = words::partitions(added.len());
            format!(
                "; not covered, since the topic got them after the plan: {count} ({})",
                words::cut(&words::some_of(&added), NOT_COVERED)
            )
        };
        let cost = cost::in_words(self.record.plan(), &totals, "will be");
        let text = format!("{read} of {all} read back as planned{without}; {cost}");
        let cause = Cause::new(Reason::ResetVerified, text);
        Action::act(Step::Close(closing(self.record, RecordPhase::Verified, &cause, self.now, Some(found))), cause)
    }

    /// Partitions that were created after the plan was made and would otherwise be in it.
    fn not_covered(&self) -> Vec<String> {
        let (Some(plan), Some(topics)) = (self.record.plan(), self.second_look.and_then(|seen| seen.topics.get())) else {
            return Vec::new();
        };
        let planned: BTreeSet<TopicPartition> = plan.partitions().into_iter().collect();
        let request = &self.record.object.spec.request;
        if target::names_partitions(request) {
            return Vec::new();
        }
        let named = request.topics.iter().flatten();
        let chosen_one_by_one: BTreeSet<&str> = named.filter(|t| t.partitions.is_some()).map(|t| t.name.as_str()).collect();
        let whole = topics.iter().filter(|(name, _)| !chosen_one_by_one.contains(name.as_str()));
        let now = whole.flat_map(|(name, topic)| topic.iter().flat_map(|t| t.partitions.keys().map(|p| TopicPartition::new(name, *p))));
        now.filter(|at| !planned.contains(at)).map(|at| at.to_string()).collect()
    }

    pub(super) fn hold(&self, reason: Reason, text: &str, found: Option<&ReadBack>, refused: &BTreeMap<TopicPartition, i32>) -> Action {
        self.hold_with(None, reason, text, found, refused)
    }

    fn hold_with(
        &self,
        code: Option<i32>,
        reason: Reason,
        text: &str,
        found: Option<&ReadBack>,
        refused: &BTreeMap<TopicPartition, i32>,
    ) -> Action {
        let unknown = matches!(reason, Reason::OutcomeUnknown | Reason::AverageRateUnavailable);
        let retry = if unknown && self.record.attempt() < 2 { "set onUnknownOutcome: Retry to send the same once more, or " } else { "" };
        let [_, what] = self.record.object.spec.backend.parts();
        let look = self.facts.look.replace("{}", &words::shell(&words::cut(what, GROUP)));
        let out = format!("{look}; then {retry}choose a new id, or remove spec.offsetReset to leave it");
        // However long the rest is, the advice at the end of the message is kept whole.
        let text = words::and(&words::cut(text, MESSAGE.saturating_sub(out.len() + 2)), &out);
        let cause = Cause { code, ..Cause::new(reason, text) };
        let mut status = closing(self.record, RecordPhase::Held, &cause, self.now, found);
        let failure =
            |(at, code): (&TopicPartition, &i32)| PartitionFailure { topic: at.topic.clone(), partition: at.partition, code: *code };
        status.failures = refused.iter().take(100).map(failure).collect();
        Action::act(Step::Close(status), cause)
    }
}

pub(super) fn closing(
    record: &RecordView,
    phase: RecordPhase,
    cause: &Cause,
    now: Now,
    found: Option<&ReadBack>,
) -> OffsetResetRecordStatus {
    let count = |set: &BTreeSet<TopicPartition>| i64::try_from(set.len()).unwrap_or(i64::MAX);
    OffsetResetRecordStatus {
        phase,
        attempt: record.attempt(),
        reason: cause.reason,
        message: words::cut(&cause.message, MESSAGE),
        completed_at: now.wall,
        verification: found.map(|s| Verification {
            at_target: count(&s.at_target),
            as_before: count(&s.as_before),
            elsewhere: count(&s.elsewhere),
        }),
        code: cause.code,
        totals: record.object.spec.plan.as_ref().and_then(|plan| plan.totals.clone()),
        undo: undo(record, phase),
        plan_digest: record.object.spec.plan.as_ref().map(|plan| plan.digest()),
        ..record.object.status.clone().unwrap_or_else(|| OffsetResetRecordStatus::new(phase, cause.reason, now.wall))
    }
}

/// Whether the reset can be undone: where something may have been sent, and the record says where each partition was.
fn undo(record: &RecordView, phase: RecordPhase) -> Option<Undo> {
    let plan = record.plan().filter(|_| matches!(phase, RecordPhase::Verified | RecordPhase::Sent | RecordPhase::Held))?;
    Some(if plan.call.is_none() { Undo::Possible } else { Undo::Impossible })
}
