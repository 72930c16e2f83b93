//! What can happen, and how a history words it.

use std::fmt;

use crate::world::{CHANGE_ID, DELETE, Edits, Parts, REMOVE_ID, RETRY, What};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    Tick,
    Pass { process: u8, pipeline: u8, late: bool },
    LookApi { process: u8 },
    LookGroup { process: u8 },
    Fire { process: u8 },
    Watch { process: u8 },
    Report { process: u8, pipeline: u8 },
    WriteLands { request: u8, what: What, applied: bool },
    WriteLost { request: u8 },
    WriteGivenUp { request: u8 },
    CommitLands { request: u8, refused: Parts, told: bool },
    CommitLost { request: u8 },
    CommitGivenUp { process: u8 },
    Crash { process: u8 },
    Join,
    Leave,
    Move { partition: u8, to: u8 },
    Edit(Edits),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |process: &u8| if *process == 0 { 'A' } else { 'B' };
        match self {
            Event::Tick => write!(f, "a tick passes"),
            Event::Pass { process, pipeline, late } => {
                let late = if *late { ", not knowing of the other record" } else { "" };
                write!(f, "{} makes a pass for pipeline {pipeline}{late}", who(process))
            }
            Event::LookApi { process } => write!(f, "{} reads StreamPipeline and list", who(process)),
            Event::LookGroup { process } => write!(f, "{} reads the group", who(process)),
            Event::Fire { process } => write!(f, "{} decides on its second look", who(process)),
            Event::Watch { process } => write!(f, "{}'s watch delivers the StreamPipeline", who(process)),
            Event::Report { process, pipeline } => write!(f, "{} writes the status of pipeline {pipeline}", who(process)),
            Event::WriteLands { request, what, applied } => {
                let what = match what {
                    What::Create(_) => "the record with its plan",
                    What::Put { .. } => "the plan",
                    What::DropPlan => "the plan's drop",
                    What::Retry { .. } => "the retry",
                    What::Close(word, _) => return write!(f, "request {request}: closed as {word:?}: {}", landed(*applied)),
                };
                write!(f, "request {request}: {what}: {}", landed(*applied))
            }
            Event::WriteLost { request } => write!(f, "request {request}: a write to the record is lost"),
            Event::WriteGivenUp { request } => write!(f, "request {request}: a write to the record is given up and still under way"),
            Event::CommitLands { request, refused, told } => {
                let told = if *told { "" } else { ", nobody is told" };
                write!(f, "request {request}: the commit lands (refused: {refused:02b}){told}")
            }
            Event::CommitLost { request } => write!(f, "request {request}: the commit is lost"),
            Event::CommitGivenUp { process } => write!(f, "{} gives the commit up", who(process)),
            Event::Crash { process } => write!(f, "{} crashes and starts again", who(process)),
            Event::Join => write!(f, "a consumer joins"),
            Event::Leave => write!(f, "the consumer leaves"),
            Event::Move { partition, to } => write!(f, "somebody else moves partition {partition} to {to}"),
            Event::Edit(edit) => write!(
                f,
                "the user {}",
                match *edit {
                    CHANGE_ID => "changes the id",
                    REMOVE_ID => "removes the id",
                    RETRY => "sets Retry",
                    DELETE => "deletes the StreamPipeline",
                    _ => "creates it again",
                }
            ),
        }
    }
}

fn landed(applied: bool) -> &'static str {
    if applied { "written" } else { "refused, it is not the newest" }
}
