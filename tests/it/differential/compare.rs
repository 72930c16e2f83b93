//! Whether two plans of one case agree, but for what differs on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use stream_pipeline_api::RecordedPlan;
use stream_pipeline_core::{Plan, TopicPartition};

use super::Offsets;
use super::cases::{Case, Target};

/// What a case came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Same,
    /// Nothing could be done, and both said so.
    BothRefuse,
    /// In some partitions the two differ, as the page says.
    OnPurpose,
}

/// The tool moves a partition without a commit to the end of its log for `--to-current`, and leaves a commit outside of the log as it is.
/// Here there is nothing to commit once more in the first case, and the second is clamped.
pub fn differs_on_purpose(case: &Case, at: &TopicPartition) -> bool {
    case.target == Target::Current && case.is_meant(at) && (!case.commits.contains_key(at) || !case.is_inside(at))
}

pub fn compare(case: &Case, theirs: Option<&Offsets>, ours: Result<&RecordedPlan, &String>) -> Result<Expected, String> {
    let ours: Offsets = match (theirs, ours) {
        (None, Err(_)) => return Ok(Expected::BothRefuse),
        // Nothing has a commit, so nothing is committed once more.
        (Some(theirs), Err(_)) if theirs.keys().all(|at| differs_on_purpose(case, at) && !case.commits.contains_key(at)) => {
            return Ok(Expected::OnPurpose);
        }
        (Some(_), Err(told)) => return Err(format!("refused here: {told}")),
        (_, Ok(plan)) => Plan::of_record(plan).changes().filter_map(|row| Some((row.at.clone(), row.aim.offset()?))).collect(),
    };
    let theirs = theirs.ok_or("refused by the tool, and planned here")?;
    let all: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    let differs: Vec<_> = all.into_iter().filter(|at| theirs.get(at) != ours.get(at)).collect();
    match differs.iter().find(|at| !differs_on_purpose(case, at)) {
        Some(at) => Err(format!("{at}: {:?} by the tool, {:?} here", theirs.get(at), ours.get(at))),
        None if differs.is_empty() => Ok(Expected::Same),
        None => Ok(Expected::OnPurpose),
    }
}

/// By target: the same, refused by both, different on purpose, wrong; and how many were carried out and undone.
#[derive(Default)]
pub struct Counts {
    by_target: BTreeMap<&'static str, [u32; 4]>,
    carried_out: u32,
}

impl Counts {
    pub fn note(&mut self, case: &Case, came_to: &Result<Expected, String>) {
        let column = match came_to {
            Ok(Expected::Same) => 0,
            Ok(Expected::BothRefuse) => 1,
            Ok(Expected::OnPurpose) => 2,
            Err(_) => 3,
        };
        self.by_target.entry(case.kind()).or_default()[column] += 1;
        self.carried_out += u32::from(case.carried_out && !matches!(came_to, Ok(Expected::BothRefuse)));
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, [same, refused, on_purpose, wrong]) in &self.by_target {
            write!(f, "{kind} {same} the same, {refused} refused by both, {on_purpose} differ on purpose, {wrong} wrong; ")?;
        }
        write!(f, "{} carried out by both and undone", self.carried_out)
    }
}
