//! What a look of a process in the model finds.

use std::collections::BTreeMap;

use stream_pipeline_core::decide::{Found, Look};
use stream_pipeline_core::target::Source;
use stream_pipeline_core::{LogBounds, Observation, OlderPipeline, RecordView, Topic};

use crate::breaks::Break;
use crate::mind::{Beside, Mind, Sight};
use crate::objects::{activity, at, cluster, commit, now, pipeline, request_of, undone};
use crate::world::{END, Pipeline, PlanState, Record, START};

impl Mind {
    pub fn look(&self, look: &Look, sight: &Sight, seen: &Observation, read: &mut [bool; 2]) -> Found {
        let (offsets, member) = sight.group;
        let all = || (0..self.setting.partitions).map(at);
        let committed = || Ok(all().filter_map(|at| Some((at.clone(), commit(offsets[at.partition as usize])?))).collect());
        match look {
            Look::OpenRecords => {
                let open = |(_, record, _): &(u8, Record, PlanState)| record.pipeline == sight.name && !record.is_closed();
                let open: Vec<_> = self.records(sight).filter(|found| !sight.late && open(found)).collect();
                open.iter().for_each(|(request, ..)| read[usize::from(*request) - 1] = true);
                Found::OpenRecords(open.into_iter().map(|(request, record, state)| self.view(request, &record, state)).collect(), None)
            }
            Look::Record(names) => {
                // For a record that was left behind, the record of the next name is looked for; the model has none.
                let own = self.own(sight).filter(|_| seen.record_name.is_none());
                read[usize::from(sight.pipeline.request) - 1] |= own.is_some();
                Found::Record { name: names.name.clone(), record: Ok(own) }
            }
            Look::GroupRecords { live, .. } => {
                let is_hidden = if *live { self.is(Break::ToldOnly) } else { sight.late };
                let others = if is_hidden { Vec::new() } else { self.others(sight) };
                others.iter().for_each(|other| read[usize::from(request_of(&other.object)) - 1] = true);
                Found::GroupRecords(Ok(others))
            }
            Look::Orphan(others) => {
                let own = format!("p{}", sight.name);
                let is_there = |name: &str| if name == own { sight.live.exists } else { sight.beside.is_some_and(|b| b.live.exists) };
                let is_orphan = |other: &&RecordView| !is_there(&other.object.spec.pipeline.name) && !self.is(Break::OrphanLeft);
                Found::Orphan(others.iter().find(is_orphan).cloned())
            }
            Look::OlderPipeline => Found::OlderPipeline(Ok(self.older(sight, sight.pipeline, |beside| beside.copy))),
            Look::OlderPipelineLive => {
                let created = self.desired(sight).created.filter(|_| self.setting.in_turn && !self.is(Break::YoungActs));
                let young = created.and_then(|created| OlderPipeline::may_come(created, now().wall));
                let beside = || self.older(sight, sight.live, |beside| beside.live).filter(|_| !self.is(Break::CopiesOnly));
                Found::OlderPipeline(Ok(young.or_else(beside)))
            }
            Look::Live => Found::Live(Ok(sight.live.exists.then(|| pipeline(&self.asking(sight.name, sight.live))))),
            Look::Elsewhere => Found::Elsewhere(Vec::new()),
            Look::Identity { .. } => Found::Identity(Ok(cluster())),
            Look::Place => Found::Place(Ok(cluster())),
            Look::Activity { .. } => Found::Activity { activity: Ok(activity(member)), committed: committed(), quiet: None },
            Look::ActivityAlone => Found::ActivityAlone(Ok(activity(member))),
            Look::Committed(_) => Found::Committed(committed()),
            Look::Topics { .. } => {
                let topic =
                    Topic { id: "topic-id".to_owned(), partitions: (0..self.setting.partitions as i32).map(|p| (p, true)).collect() };
                Found::Topics(Ok(BTreeMap::from([("t".to_owned(), Some(topic))])))
            }
            Look::Logs { .. } => {
                let log = LogBounds { start: START.into(), end: END.into(), high_watermark: END.into(), ..LogBounds::default() };
                Found::Logs(Ok(all().map(|at| (at, log)).collect()))
            }
            Look::Numbers(Source::Record(_)) => Found::NamedRecord(Ok(Some(undone(&self.setting)))),
            other => panic!("a look the model does not know: {other:?}"),
        }
    }

    fn records<'a>(&self, sight: &'a Sight) -> impl Iterator<Item = (u8, Record, PlanState)> + 'a {
        (1..).zip(sight.records).filter_map(|(request, found)| found.map(|(record, state)| (request, record, state)))
    }

    pub fn own(&self, sight: &Sight) -> Option<RecordView> {
        let is_own = |(request, record, _): &(u8, Record, PlanState)| *request == sight.pipeline.request && record.pipeline == sight.name;
        self.records(sight).find(is_own).map(|(request, record, state)| self.view(request, &record, state))
    }

    /// The list of the group's records in the namespace, except this pipeline's own.
    fn others(&self, sight: &Sight) -> Vec<RecordView> {
        let is_other = |request: u8, record: &Record| request != sight.pipeline.request && self.setting.is_beside(sight.name, record);
        let others = self.records(sight).filter(|(request, record, _)| is_other(*request, record) && !self.is(Break::NotAlone));
        let counts = |state: PlanState| !(self.is(Break::EverybodyGoesAfter) && state == PlanState::Absent);
        let others = others.filter(|(.., state)| counts(*state));
        let taken_for = |state| if self.is(Break::PlanGoesAfter) && state != PlanState::Closed { PlanState::Absent } else { state };
        others.map(|(request, record, state)| self.view(request, &record, taken_for(state))).collect()
    }

    /// The StreamPipeline that goes before this one, judged by `own` for this one and by what `other` reads for the other.
    fn older(&self, sight: &Sight, own: Pipeline, other: fn(Beside) -> Pipeline) -> Option<OlderPipeline> {
        let other = sight.beside.map(other).filter(|_| self.setting.in_turn && !self.is(Break::NotInTurn))?;
        let mut objects = Vec::new();
        for (name, at) in [(sight.name, own), (1 - sight.name, other)] {
            objects.extend(at.exists.then(|| pipeline(&self.asking(name, at))));
        }
        if self.is(Break::TiesLost) {
            let made = objects.first_mut().and_then(|own| own.metadata.creation_timestamp.as_mut());
            made.into_iter().for_each(|made| made.0 += jiff::SignedDuration::from_secs(1));
        }
        let older = OlderPipeline::among(objects.iter(), &self.desired(sight).object, &cluster());
        older.filter(|older| !(self.is(Break::UnreadIsNone) && matches!(older, OlderPipeline::NotLookedAt(_))))
    }
}
