//! What is asked, resolved once: defaults filled in, exactly one target, nothing unknown. The raw request is not read again.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::target::{Policies, Target, default_no_committed_offset};
use super::{Cause, TopicPartition, Topics};
use stream_pipeline_api::{self as api, MissingGroup, OffsetReset, OnUnknownOutcome, Reason, WhenActive, WhenCreated};

/// A request with its defaults resolved.
#[derive(Clone, Debug)]
pub struct Request {
    pub id: String,
    pub to: Target,
    /// None: every topic the group has commits for.
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
        Ok(Self {
            id: reset.id.clone(),
            to,
            topics: reset.topics.as_ref().map(|ts| ts.iter().map(|t| (t.name.clone(), t.partitions.clone())).collect()),
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
    OffsetReset {
        id: reset.id.clone(),
        to: reset.to.clone(),
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
        note: None,
        unknown: reset.unknown.clone(),
    }
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
    (reset.unknown.keys().next().cloned())
        .or_else(|| reset.to.iter().flat_map(|to| to.unknown.keys()).next().map(|k| format!("to.{k}")))
        .or_else(|| topics.flat_map(|t| t.unknown.keys().map(move |k| format!("topics[{}].{k}", t.name))).next())
}
