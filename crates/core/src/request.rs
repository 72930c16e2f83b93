//! What is asked, resolved once: defaults filled in, exactly one target, nothing unknown. The raw request is not read again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::target::{Policies, Target, default_no_committed_offset};
use super::{Cause, TopicPartition, Topics, target::Recorded};
use serde_json::Value;
use stream_pipeline_api::{self as api, MissingGroup, OffsetReset, OnUnknownOutcome, Reason, WhenActive, WhenCreated};

/// A request with its defaults resolved.
#[derive(Clone, Debug)]
pub struct Request {
    pub id: String,
    pub to: Target,
    /// What the target names itself, else what the request selects. None: every topic the group has commits for.
    pub topics: Option<Selection>,
    pub when_active: WhenActive,
    pub wait_timeout: Duration,
    pub quiet_period: Duration,
    pub when_created: WhenCreated,
    pub expires_at: Option<Timestamp>,
    pub policies: Policies,
    pub missing_group: MissingGroup,
    pub on_unknown_outcome: OnUnknownOutcome,
    pub dry_run: bool,
    /// As it was written, for the record.
    pub written: OffsetReset,
}

/// Topics by name; None: all partitions of the topic.
pub type Selection = BTreeMap<String, Option<Vec<i32>>>;

impl Request {
    /// # Errors
    /// `UnknownField` for a field that this version does not know, `InvalidTarget` for a target that is impossible.
    pub(crate) fn of(reset: &OffsetReset, platform_chooses: bool, now: Timestamp) -> Result<Self, Cause> {
        if let Some(field) = unknown_field(reset) {
            return Err(Cause::new(
                Reason::UnknownField,
                format!("spec.offsetReset.{field} is not a field of this version; nothing was sent. Correct or remove it, with a new id"),
            ));
        }
        let invalid = |message: String| Cause::new(Reason::InvalidTarget, message);
        let to = match &reset.to {
            None if platform_chooses => Target::Platform,
            Some(_) if platform_chooses => {
                return Err(invalid("spec.offsetReset.to cannot be chosen: the platform decides; remove it".to_owned()));
            }
            None => return Err(invalid(format!("spec.offsetReset.to is needed: {}", api::exactly_one()))),
            Some(to) => Target::of(to, now)?,
        };
        let to = reset.approved_plan.as_ref().map_or(to, |name| Target::Record(Recorded::approved(name)));
        let written = || reset.topics.as_ref().map(|ts| ts.iter().map(|t| (t.name.clone(), t.partitions.clone())).collect());
        let topics = to.names().or_else(written);
        Ok(Self {
            id: reset.id.clone(),
            to,
            topics,
            when_active: reset.when_active.unwrap_or_default(),
            wait_timeout: reset.wait_timeout.map_or(Duration::from_secs(24 * 3600), Duration::from),
            quiet_period: reset.quiet_period.map_or(Duration::from_secs(10), Duration::from),
            when_created: reset.when_created.unwrap_or(WhenCreated::Skip),
            expires_at: reset.expires_at,
            policies: policies(reset),
            missing_group: reset.missing_group.unwrap_or_default(),
            on_unknown_outcome: reset.on_unknown_outcome.unwrap_or_default(),
            dry_run: reset.is_dry_run(),
            written: reset.clone(),
        })
    }

    /// With the numbers that were read where the target says. A record tells by itself what becomes of a partition without a committed
    /// offset.
    #[must_use]
    pub(crate) fn with_numbers(&self, to: Target) -> Self {
        let policies = to.policies(self.policies);
        Self { topics: to.names(), to, policies, ..self.clone() }
    }

    /// Why the request would keep the pipeline stopped for too long. Admission refuses that, except in objects older than the rule.
    pub fn pauses_too_long(&self) -> Option<Cause> {
        if self.when_active != WhenActive::Pause {
            return None;
        }
        let hour = Duration::from_secs(3600);
        let of = |field: &str, value: Duration, hours: u32| {
            let text = || {
                format!(
                    "spec.offsetReset.{field} is {} s, and at most {hours}h with whenActive: Pause, which keeps the pipeline stopped meanwhile; \
                     nothing was sent. Shorten it, with a new id",
                    value.as_secs()
                )
            };
            (value > hour * hours).then(|| Cause::new(Reason::PauseTooLong, text()))
        };
        of("waitTimeout", self.wait_timeout, 24).or_else(|| of("quietPeriod", self.quiet_period, 1))
    }

    /// Whether the record of this id was made for the same reset.
    pub fn same_as(&self, recorded: &OffsetReset) -> bool {
        self.what() == what(recorded)
    }

    /// What would be reset, without when and how.
    pub fn what(&self) -> OffsetReset {
        what(&self.written)
    }

    /// The selected partitions of these topics.
    pub fn selected(&self, topics: &Topics) -> Vec<TopicPartition> {
        let partitions = topics.iter().flat_map(|(name, topic)| {
            let numbers = topic.iter().flat_map(|topic| topic.partitions.keys());
            numbers.map(|partition| TopicPartition::new(name, *partition))
        });
        partitions.filter(|at| self.selects(at)).collect()
    }

    /// Whether this partition is selected, if it exists.
    pub fn selects(&self, at: &TopicPartition) -> bool {
        match self.topics.as_ref().map(|t| t.get(&at.topic)) {
            None => true,
            Some(None) => false,
            Some(Some(partitions)) => partitions.as_ref().is_none_or(|p| p.contains(&at.partition)),
        }
    }
}

/// What would be reset, in full, so that two requests that mean the same give equal values. When and how it is done, and what may be said
/// of it afterwards, do not count.
fn what(reset: &OffsetReset) -> OffsetReset {
    let policies = policies(reset);
    let mut topics = reset.topics.clone();
    for topic in topics.iter_mut().flatten() {
        topic.partitions.iter_mut().for_each(|partitions| partitions.sort_unstable());
    }
    topics.iter_mut().for_each(|topics| topics.sort_by(|a, b| a.name.cmp(&b.name)));
    let mut to = reset.to.clone();
    for offsets in to.iter_mut().flat_map(|to| &mut to.offsets) {
        offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    }
    OffsetReset {
        id: reset.id.clone(),
        to,
        topics,
        out_of_range: Some(policies.out_of_range),
        no_record_at_time: Some(policies.no_record_at_time),
        no_committed_offset: Some(policies.no_committed_offset),
        missing_group: Some(reset.missing_group.unwrap_or_default()),
        when_active: None,
        wait_timeout: None,
        quiet_period: None,
        when_created: None,
        expires_at: None,
        on_unknown_outcome: None,
        dry_run: None,
        approved_plan: reset.approved_plan.clone(),
        note: None,
        unknown: reset.unknown.clone(),
    }
}

/// The fields in which two requests ask for something else, but for their ids and for which plan is approved.
pub(crate) fn differing(one: &OffsetReset, other: &OffsetReset) -> Vec<String> {
    let fields = |reset: &OffsetReset| {
        let what = OffsetReset { id: String::new(), approved_plan: None, ..what(reset) };
        if let Ok(Value::Object(fields)) = serde_json::to_value(what) { fields } else { serde_json::Map::new() }
    };
    let (one, other) = (fields(one), fields(other));
    let named: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    named.into_iter().filter(|field| one.get(*field) != other.get(*field)).cloned().collect()
}

/// These partitions and no others.
pub(crate) fn selection_of<'a>(partitions: impl Iterator<Item = &'a TopicPartition>) -> Selection {
    let mut named = Selection::new();
    for at in partitions {
        named.entry(at.topic.clone()).or_insert_with(|| Some(Vec::new())).get_or_insert_default().push(at.partition);
    }
    named
}

/// The policies for single partitions, with the target's defaults.
fn policies(reset: &OffsetReset) -> Policies {
    Policies {
        out_of_range: reset.out_of_range.unwrap_or_default(),
        no_record_at_time: reset.no_record_at_time.unwrap_or_default(),
        no_committed_offset: reset.no_committed_offset.unwrap_or_else(|| default_no_committed_offset(reset.to.as_ref())),
    }
}

fn unknown_field(reset: &OffsetReset) -> Option<String> {
    let topics = reset.topics.iter().flatten();
    let offsets = reset.to.iter().flat_map(|to| to.offsets.iter().flatten());
    (reset.unknown.keys().next().cloned())
        .or_else(|| reset.to.iter().flat_map(|to| to.unknown.keys()).next().map(|k| format!("to.{k}")))
        .or_else(|| reset.to.iter().find_map(unknown_in_reference))
        .or_else(|| offsets.flat_map(|o| o.unknown.keys().map(move |k| format!("to.offsets[{}-{}].{k}", o.topic, o.partition))).next())
        .or_else(|| topics.flat_map(|t| t.unknown.keys().map(move |k| format!("topics[{}].{k}", t.name))).next())
}

fn unknown_in_reference(to: &api::Target) -> Option<String> {
    let undo = to.undo.iter().flat_map(|undo| undo.unknown.keys().map(|k| format!("to.undo.{k}")));
    let from = to.offsets_from.iter().flat_map(|from| {
        let inside = from.config_map_key_ref.unknown.keys().map(|k| format!("to.offsetsFrom.configMapKeyRef.{k}"));
        from.unknown.keys().map(|k| format!("to.offsetsFrom.{k}")).chain(inside)
    });
    undo.chain(from).next()
}
