//! The guards between a request and its plan, each named for what it found. The first that fails gives the reason.

use super::{Pass, open_record};
use crate::target::{Snapshot, resolve};
use crate::{Activity, Cause, InternalTopics, Observed, OlderPipeline, Plan, RecordView, Request, TopicPartition, Topics, words};
use stream_pipeline_api::{MissingGroup, PlatformCall, Reason, WhenActive};

/// Most bytes of plan and request as JSON, so that their record stays below 1 MiB.
const OBJECT: usize = 1_040_000;

/// Why there is no plan.
pub(super) enum Blocked {
    /// Goes away by itself: the request waits.
    Transient(Cause),
    /// The request ends. Nothing was sent; a new id asks again.
    Terminal(Cause),
}

impl Pass<'_> {
    /// The guards between a request and its plan.
    pub(super) fn plan(&self, request: &Request) -> Result<Plan, Blocked> {
        use Blocked::{Terminal, Transient};
        if let Some(cause) = self.seen.identity.cause().filter(|cause| cause.reason.is_terminal()) {
            return Err(Terminal(cause.clone()));
        }
        let (Observed::Read(identity), Observed::Read(_)) = (&self.seen.identity, &self.seen.record) else {
            return Err(Transient(self.unread()));
        };
        let own = self.seen.record.get().and_then(Option::as_ref);
        if let Some(own) = own.filter(|own| own.object.spec.backend != *identity) {
            return Err(Transient(self.elsewhere(own)));
        }
        if let Some(first) = self.prior.pinned_elsewhere(identity) {
            let text = format!(
                "bootstrapServers lead to cluster {}, not to {first} as before; nothing is sent. Correct them, or delete and create this object to accept it",
                identity.parts()[0]
            );
            return Err(Transient(Cause::new(Reason::ClusterChanged, text)));
        }
        self.eldest().map_err(Transient)?;
        // Before anything is stopped for a request that names what is not there.
        match &self.seen.with_numbers {
            Observed::Read(Err(cause)) => return Err(Terminal(cause.clone())),
            Observed::Unreadable(cause) => return Err(Transient(cause.clone())),
            Observed::Read(Ok(_)) | Observed::Unread => {}
        }
        let (Observed::Read(activity), Observed::Read(committed)) = (&self.seen.activity, &self.seen.committed) else {
            return Err(Transient(self.unread()));
        };
        match activity {
            Activity::Unsupported(cause) => return Err(Terminal(cause.clone())),
            Activity::Missing(cause) if request.missing_group == MissingGroup::Fail => return Err(Terminal(cause.clone())),
            _ => {}
        }
        if !request.dry_run {
            self.inactive(request).map_err(|mut cause| {
                let active = matches!(cause.reason, Reason::GroupActive | Reason::OffsetsMoving | Reason::PipelineActive);
                if active && request.when_active == WhenActive::Fail {
                    cause.message += ". whenActive is Fail: nothing was sent; stop it and choose a new id";
                    return Terminal(cause);
                }
                Transient(cause)
            })?;
            self.alone().map_err(Transient)?;
        }
        if let Some(cause) = &self.seen.in_line {
            return Err(Transient(cause.clone()));
        }
        if let Some(operation) = self.facts().call {
            return Ok(self.warned(self.call(operation, activity)));
        }
        let request = self.seen.resolved(request);
        if request.to.source().is_some() {
            return Err(Transient(self.unread()));
        }
        let Observed::Read(topics) = &self.seen.topics else { return Err(Transient(self.unread())) };
        self.selection(request, topics).map_err(Terminal)?;
        let Observed::Read(log) = &self.seen.log else { return Err(Transient(self.unread())) };
        let other = self.seen.other_group.get();
        if request.to.other_group().is_some() && other.is_none() {
            return Err(Transient(self.unread()));
        }
        // What a transaction holds is not known, so nothing can be planned from it, nor shown.
        let copied = other.map(|other| &other.committed);
        if let Some(cause) = copied.into_iter().chain([committed]).find_map(open_record::transaction_open) {
            return Err(Transient(cause));
        }
        let seen = Snapshot { topics, committed, log, time: self.seen.log_time, other, consumed: self.seen.consumed };
        let plan = resolve(request, &seen, self.now.wall).map_err(Terminal)?;
        let topic = plan.changes().map(|row| row.at.topic.len()).max().unwrap_or_default();
        let most = (self.facts().max_rows)(identity.parts()[1].len(), topic);
        let plan = self.warned(plan).in_chunks(self.timing.chunk_size.min(most));
        let object = serde_json::to_vec(&(&request.written, plan.to_record())).map_or(usize::MAX, |json| json.len());
        if object > OBJECT {
            let text = format!(
                "the plan has {}, more than fit in one record; nothing was sent. Select fewer topics or partitions, with a new id",
                words::partitions(plan.changes().count())
            );
            return Err(Terminal(Cause::new(Reason::PlanTooLarge, text)));
        }
        Ok(plan)
    }

    /// The record of this id is for another cluster than the one that answers.
    pub(super) fn elsewhere(&self, record: &RecordView) -> Cause {
        let found = self.seen.identity.get().map_or_else(String::new, |id| id.parts().join("/"));
        let text = format!(
            "the record of this id is of {}, and {found} answers now; nothing is sent. Correct the address, or choose a new id",
            record.object.spec.backend.parts().join("/")
        );
        Cause::new(Reason::ClusterChanged, text)
    }

    /// Other namespaces may reset the same group: the plan warns of them, but their records are not waited for.
    fn warned(&self, mut plan: Plan) -> Plan {
        if !self.seen.elsewhere.is_empty() {
            let others = words::some_of(&self.seen.elsewhere);
            let text = format!(
                "of other namespaces name the same {}: what they do is seen only as what moves: {others}",
                self.desired.backend.named()
            );
            plan.warnings.push(words::cut(&format!("StreamPipelines {text}"), 500));
        }
        plan
    }

    /// Where the platform chooses the target, the call is the plan.
    fn call(&self, operation: &str, activity: &Activity) -> Plan {
        let state = match activity {
            Activity::Inactive(_, word) => word.clone(),
            other => other.blocker().map(|c| c.message.clone()).unwrap_or_default(),
        };
        let own = self.seen.record.get().and_then(Option::as_ref);
        let settled = self.seen.reading.filter(|_| activity.is_inactive());
        let before = settled.or_else(|| own.and_then(|r| r.pauses()).and_then(|b| b.reading)).or(self.seen.remembered);
        let call =
            PlatformCall { operation: operation.to_owned(), state, undo: false, before, before_was_read_while_inactive: settled.is_some() };
        Plan { call: Some(call), ..Plan::default() }
    }

    /// Promise 2: the group is described as Empty or Dead, has no open transaction, and was quiet for as long as asked.
    pub(super) fn inactive(&self, request: &Request) -> Result<(), Cause> {
        let (Observed::Read(activity), Observed::Read(committed)) = (&self.seen.activity, &self.seen.committed) else {
            return Err(self.unread());
        };
        if let Activity::Missing(cause) = activity
            && request.missing_group == MissingGroup::Fail
        {
            return Err(cause.clone());
        }
        if let Some(cause) = activity.blocker() {
            return Err(cause.clone());
        }
        let quiet = self.seen.quiet;
        if self.facts().quiet && !quiet.is_enough(request.quiet_period) {
            if quiet.moved.is_some_and(|m| m < request.quiet_period) {
                let text = "committed offsets move although the group has no members: a consumer that uses assign(), or another tool";
                return Err(Cause::new(Reason::OffsetsMoving, text));
            }
            let text = format!(
                "the group is Empty; watching for {} s that it stays so and that its offsets do not move",
                request.quiet_period.as_secs_f32()
            );
            return Err(Cause::new(Reason::QuietPeriod, text));
        }
        open_record::transaction_open(committed).map_or(Ok(()), Err)
    }

    /// Of a namespace's StreamPipelines for one group only the oldest that has read the group acts.
    fn eldest(&self) -> Result<(), Cause> {
        let what = self.desired.backend.named();
        let text = match &self.seen.older_pipeline {
            None => return Ok(()),
            Some(OlderPipeline::Acts(older_pipeline)) => {
                format!(
                    "StreamPipeline {older_pipeline} is older and names the same {what}; only the oldest resets it. Nothing was sent; this request \
                 starts once the older is gone"
                )
            }
            Some(OlderPipeline::NotLookedAt(older_pipeline)) => format!(
                "StreamPipeline {older_pipeline} is older and names the same {what}; the operator has not looked at it yet, so it is not known which \
                 of them resets it. Nothing was sent; this request goes on by itself"
            ),
            Some(OlderPipeline::MayCome(_)) => {
                format!("this object is so new that an older one of the same {what} may still come. It goes on by itself")
            }
        };
        Err(Cause::new(Reason::DuplicateGroup, text))
    }

    pub(super) fn alone(&self) -> Result<(), Cause> {
        self.eldest()?;
        match &self.seen.conflicting_records {
            Observed::Read(names) if names.is_empty() => Ok(()),
            Observed::Read(names) => Err(open_record::another_open(names)),
            _ => Err(self.unread()),
        }
    }

    /// A workload that another reset keeps stopped would look inactive, and would be stopped twice: the two resets take turns.
    pub(super) fn unshared(&self, request: &Request) -> Option<Cause> {
        if request.when_active != WhenActive::Pause || request.dry_run || !self.facts().run_state {
            return None;
        }
        match &self.seen.shared_workloads {
            Observed::Read(held) if !held.is_empty() => {
                let text = format!(
                    "another reset keeps stopped what this one would stop: {}. This one takes its turn once that is brought back",
                    words::some_of(held)
                );
                Some(Cause::new(Reason::AnotherResetOpen, text))
            }
            other => other.cause().cloned(),
        }
    }

    /// The selected topics, either named or those the group has commits for, must all exist.
    fn selection(&self, request: &Request, topics: &Topics) -> Result<(), Cause> {
        if topics.is_empty() {
            return Err(Cause::new(
                Reason::InvalidTarget,
                "the group has no committed offsets, or none of topics that the operator may Describe, so it is not known which topics it reads; add that right, or name them in spec.offsetReset.topics, with a new id",
            ));
        }
        let group = self.seen.identity.get().map_or("", |id| id.parts()[1]);
        let InternalTopics { is, of } = self.facts().internal_topics;
        let internal: Vec<_> = topics.keys().filter(|name| is(group, name)).collect();
        if request.topics.is_none() && !internal.is_empty() {
            let text = format!(
                "{of}: it also reads its internal topics ({}), which must not be moved alone. Name the input topics in spec.offsetReset.topics, with a new id",
                words::some_of(&internal)
            );
            return Err(Cause::new(Reason::InvalidTarget, text));
        }
        if let Some(cause) = request.to.made_anew(topics) {
            return Err(cause);
        }
        let mut missing: Vec<_> = topics.iter().filter(|(_, t)| t.is_none()).map(|(name, _)| (name.clone(), None)).collect();
        for (name, wanted) in request.topics.iter().flatten() {
            if let (Some(Some(topic)), Some(wanted)) = (topics.get(name), wanted) {
                let absent = wanted.iter().filter(|p| !topic.partitions.contains_key(p)).map(|p| TopicPartition::new(name, *p));
                missing.extend(absent.map(|at| (at.to_string(), Some(at))));
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(request.to.without(&missing)) }
    }

    /// The first thing that could not be read.
    pub(super) fn unread(&self) -> Cause {
        let s = self.seen;
        let causes = [
            s.identity.cause(),
            s.activity.cause(),
            s.committed.cause(),
            s.record.cause(),
            s.conflicting_records.cause(),
            s.with_numbers.cause(),
            s.other_group.cause(),
            s.topics.cause(),
            s.log.cause(),
        ];
        causes.into_iter().flatten().next().cloned().unwrap_or_else(|| Cause::new(Reason::BackendError, "not everything could be read"))
    }
}
