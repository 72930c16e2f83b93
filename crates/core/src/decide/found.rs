//! What a look found, taken into what is seen: which record is whose, and who comes first.

use super::looks::Look;
use super::precedence;
use crate::{
    Activity, Cause, Committed, Desired, LogBounds, Now, Observation, Observed, OlderPipeline, OtherGroup, Quiet, RecordView, Request,
    RunState, Target, TopicPartition, Topics, words,
};
use jiff::Timestamp;
use std::collections::BTreeMap;
use stream_pipeline_api::{BackendIdentity, LagSample, OffsetResetRecord, Reason, RunStateBefore, StreamPipeline};

/// The answer to a [`Look`].
#[derive(Clone, Debug)]
pub enum Found {
    /// The records up to the first that could not be read, and why that one could not.
    OpenRecords(Vec<RecordView>, Option<Cause>),
    NeedingResume(Result<Vec<RecordView>, Cause>),
    Identity(Result<BackendIdentity, Cause>),
    Record {
        name: String,
        record: Result<Option<RecordView>, Cause>,
    },
    /// `quiet`: what the looks so far say, on platforms where a quiet period is watched.
    Activity {
        activity: Result<Activity, Cause>,
        committed: Result<Committed, Cause>,
        quiet: Option<Quiet>,
    },
    ActivityAlone(Result<Activity, Cause>),
    OlderPipeline(Result<Option<OlderPipeline>, Cause>),
    Elsewhere(Vec<String>),
    GroupRecords(Result<Vec<RecordView>, Cause>),
    Orphan(Option<RecordView>),
    NamespaceRecords(Result<Vec<RecordView>, Cause>),
    RunStateBefore(Result<RunStateBefore, Cause>),
    RunState(Result<RunState, Cause>),
    Sample(Option<LagSample>),
    /// `running`: since when the pipeline has been seen running, and the newest reading at that time.
    SampleAfterStart {
        sample: Option<LagSample>,
        running: (Now, Option<Timestamp>),
    },
    /// Its name.
    OtherReset(Result<Option<String>, Cause>),
    /// The text of the ConfigMap's key.
    File(Result<String, Cause>),
    /// The record that the target names. None: it is not there.
    NamedRecord(Result<Option<OffsetResetRecord>, Cause>),
    OtherGroup(Result<OtherGroup, Cause>),
    Topics(Result<Topics, Cause>),
    Committed(Result<Committed, Cause>),
    Logs(Result<BTreeMap<TopicPartition, LogBounds>, Cause>),
    Place(Result<BackendIdentity, Cause>),
    Live(Result<Option<StreamPipeline>, Cause>),
}

/// Adds what one look found to the observation.
pub fn note(seen: &mut Observation, desired: &Desired, look: &Look, found: Found) {
    seen.looked.insert(look.into());
    match found {
        Found::OpenRecords(records, failed) => match precedence::open_records(desired, records) {
            (_, Some(left)) => seen.supersede(left),
            (own, None) => match (failed, own) {
                (Some(cause), _) => seen.record = Observed::Unreadable(cause),
                (None, Some(own)) => seen.record = Observed::Read(Some(own)),
                (None, None) => {}
            },
        },
        Found::NeedingResume(found) => {
            let names = |records: Vec<RecordView>| records.iter().filter(|r| r.needs_resume()).map(|r| r.name().to_owned()).collect();
            seen.needing_resume = found.map(names).into();
        }
        Found::Identity(found) => seen.identity = found.into(),
        Found::Record { name, record } => match record {
            Ok(record) => match precedence::adopted(desired, record) {
                Err(next) => seen.record_name = Some(next),
                Ok(record) => (seen.record_name, seen.record) = (Some(name), Observed::Read(record)),
            },
            Err(cause) => (seen.record_name, seen.record) = (Some(name), Observed::Unreadable(cause)),
        },
        Found::Activity { activity, committed, quiet } => {
            seen.quiet = quiet.unwrap_or(seen.quiet);
            (seen.activity, seen.committed) = (activity.into(), committed.into());
        }
        Found::ActivityAlone(found) => *seen.subject_activity() = found.into(),
        Found::OlderPipeline(Ok(older)) => seen.older_pipeline = older,
        Found::OlderPipeline(Err(cause)) => seen.conflicting_records = Observed::Unreadable(cause),
        Found::Elsewhere(names) => seen.elsewhere = names,
        Found::GroupRecords(found) => {
            let own = seen.record.get().and_then(Option::as_ref);
            let found = found.map(|others| precedence::conflicting(others, own));
            let names = |others: &Vec<RecordView>| others.iter().map(named).collect();
            (seen.conflicting_records, seen.conflicts) =
                (found.as_ref().map(names).map_err(Clone::clone).into(), found.unwrap_or_default());
        }
        Found::Orphan(orphan) => {
            if let Some(orphan) = orphan {
                seen.supersede(orphan);
            }
        }
        Found::NamespaceRecords(found) => {
            let own = seen.record.get().and_then(Option::as_ref);
            seen.shared_workloads = found.map(|others| precedence::kept_stopped(&others, desired.backend.workloads(), own)).into();
        }
        Found::RunStateBefore(found) => seen.before = found.into(),
        Found::RunState(found) => *seen.subject_run_state() = found.into(),
        Found::Sample(sample) => {
            seen.reading = sample;
            let running = matches!(look, Look::Sample { running: true });
            seen.remembered = sample.filter(|_| running).or(seen.remembered);
        }
        Found::SampleAfterStart { sample, running } => {
            seen.reading = sample;
            if let Observed::Read(Some(record)) = &mut seen.record {
                record.calls.running = Some(running);
            }
        }
        Found::OtherReset(found) => seen.other_reset = found.into(),
        Found::File(found) => note_numbers(seen, desired, found, |text, place, _| Observed::Read(Target::of_csv(text, place))),
        Found::NamedRecord(found) => {
            note_numbers(seen, desired, found, |record, place, asked| asked.to.with_record(record.as_ref(), place, &asked.written));
        }
        Found::OtherGroup(found) => seen.other_group = found.into(),
        Found::Topics(found) => {
            seen.topics = found.into();
            note_leaderless(seen, desired);
        }
        Found::Committed(found) => *seen.subject_committed() = found.into(),
        Found::Logs(found) => {
            seen.log = found.into();
            seen.log_time = if let Look::Logs { time, .. } = look { *time } else { None };
        }
        Found::Place(found) => note_place(seen, found),
        Found::Live(found) => {
            let own = seen.record.get().and_then(Option::as_ref);
            let wanted = |live: Option<StreamPipeline>| own.is_some_and(|own| precedence::is_wanted(live.as_ref(), &desired.object, own));
            seen.wanted = found.map(wanted).into();
        }
    }
}

/// The request with the numbers of what was read.
fn note_numbers<T>(
    seen: &mut Observation,
    desired: &Desired,
    found: Result<T, Cause>,
    numbers: impl Fn(&T, &BackendIdentity, &Request) -> Observed<Result<Target, Cause>>,
) {
    let (Some(asked), Some(place)) = (desired.asked(), seen.identity.get()) else { return };
    seen.with_numbers = match found {
        // It is there, and it can mean nothing.
        Err(cause) if cause.reason == Reason::InvalidTarget => Observed::Read(Err(cause)),
        Err(cause) => Observed::Unreadable(cause),
        Ok(found) => numbers(&found, place, asked).map(|target| target.map(|to| Box::new(asked.with_numbers(to)))),
    };
}

/// A plan needs the log of each selected partition, and a partition without a leader cannot be asked for its log.
fn note_leaderless(seen: &mut Observation, desired: &Desired) {
    let planned = seen.record.get().and_then(Option::as_ref).is_none_or(|own| matches!(own.state, crate::PlanState::Absent));
    let (Some(request), Some(topics), true) = (desired.asked(), seen.topics.get(), planned) else { return };
    let request = seen.resolved(request);
    let led = |at: &TopicPartition| topics.get(&at.topic)?.as_ref()?.partitions.get(&at.partition).copied();
    let leaderless: Vec<_> = request.selected(topics).iter().filter(|at| led(at) == Some(false)).map(ToString::to_string).collect();
    if !leaderless.is_empty() {
        let text = format!(
            "no leader for {}: its log cannot be read and the average input rate cannot be had. Nothing was written; it is tried again",
            words::some_of(&leaderless)
        );
        seen.log = Observed::Unreadable(Cause::new(Reason::AverageRateUnavailable, text));
    }
}

/// Long after a send, another cluster may answer at the same address: then its offsets say nothing of what was sent.
fn note_place(seen: &mut Observation, found: Result<BackendIdentity, Cause>) {
    let Some(made) = seen.subject().map(|record| record.object.spec.backend.clone()) else { return };
    let cause = match found {
        Ok(found) if found == made => return,
        Ok(found) => {
            let text = format!(
                "the record is of {}, the backend now answers as {}: what was sent there cannot be looked at",
                made.parts().join("/"),
                found.parts().join("/")
            );
            Cause::new(Reason::ClusterChanged, text)
        }
        Err(cause) => cause,
    };
    *seen.subject_committed() = Observed::Unreadable(cause);
}

fn named(record: &RecordView) -> String {
    format!("{}/{}", record.object.metadata.namespace.as_deref().unwrap_or_default(), record.name())
}
