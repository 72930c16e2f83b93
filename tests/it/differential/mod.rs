//! The same numbers as `kafka-consumer-groups`: random groups over random logs, every target, each case planned by both, and one in ten
//! carried out by both. What differs on purpose is listed in docs/coming-from-kafka-consumer-groups.md, and nothing else may differ.

mod cases;
mod compare;

use std::collections::BTreeMap;

use futures::StreamExt;
use serde_json::json;
use stream_pipeline_api::{RecordedPlan, Stage, StreamPipelineStatus};
use stream_pipeline_core::{Plan, TopicPartition};
use testbed::Scratch;
use testbed::reference_tool::ReferenceTool;
use tokio::sync::Mutex;

use crate::support::requests::with;
use crate::support::settings;
use crate::support::status::{reset, says};
use crate::support::world::World;
use cases::{Case, Logs};
use compare::{Counts, Expected, compare};

/// How many cases are planned side by side.
const SIDE_BY_SIDE: usize = 4;

/// Offsets by partition.
type Offsets = BTreeMap<TopicPartition, i64>;

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_are_those_of_kafka_consumer_groups() {
    let (cases, seed) = (settings::number("CASES", 100), settings::number("SEED", 7));
    let world = World::new("differential").await;
    let mut random = fastrand::Rng::with_seed(seed);
    let logs = Logs::make(&world, &mut random).await;
    let tool = tokio::task::block_in_place(|| ReferenceTool::start(world.testbed)).expect("a JVM");
    let tool = Tool { tool: Mutex::new(tool), files: Scratch::new("csv").expect("a directory") };
    let cases: Vec<Case> = (0..cases).map(|number| Case::new(number, &logs, &mut random, &world)).collect();
    let counts = Mutex::new(Counts::default());
    let (world, tool, counted) = (&world, &tool, &counts);
    let run = async |case: &Case| {
        let wrong = one(world, tool, case).await;
        counted.lock().await.note(case, &wrong);
        wrong.err().map(|wrong| format!("case {}: {wrong}\n    {case:?}", case.number))
    };
    let wrong: Vec<_> =
        futures::stream::iter(&cases).map(run).buffer_unordered(SIDE_BY_SIDE).filter_map(async |wrong| wrong).collect().await;
    println!("differential: seed {seed}: {}", counts.lock().await);
    assert!(wrong.is_empty(), "{} of {} cases differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Plans a case with both, and compares; then carries it out with both, where it is one of those.
async fn one(world: &World, tool: &Tool, case: &Case) -> Result<Expected, String> {
    case.prepare(world).await;
    let said = tool.ask(case, &case.group, &["--dry-run", "--export"]).await;
    let theirs = exported(&said);
    let request = with(case.request(), "dryRun", json!(true));
    world.apply(&case.name, &case.group, request).await;
    let status = ended(world, case).await;
    let ours = match reset(&status).stage {
        Stage::Planned => Ok(world.record(&status).await.spec.plan.expect("a plan")),
        _ => Err(says(&status, "Ready").2.to_owned()),
    };
    let expected = compare(case, theirs.as_ref(), ours.as_ref()).map_err(|wrong| format!("{wrong}; the tool said: {said}"))?;
    if let (true, Ok(plan)) = (case.carried_out, ours) {
        carry_out(world, tool, case, &plan).await?;
    }
    Ok(expected)
}

/// The tool moves a copy of the group.
async fn carry_out(world: &World, tool: &Tool, case: &Case, planned: &RecordedPlan) -> Result<(), String> {
    let copy = world.unique("copy");
    case.commit(world, &copy).await;
    let before = case.committed(world, &case.group).await;
    let said = tool.ask(case, &copy, &["--execute"]).await;
    world.apply(&case.name, &case.group, case.request()).await;
    let status = ended(world, case).await;
    if reset(&status).stage != Stage::Verified {
        return Err(format!("planned, and then not done: {}", says(&status, "Ready").2));
    }
    let offsets = |found: BTreeMap<TopicPartition, (i64, String)>| found.into_iter().map(|(at, (to, _))| (at, to)).collect::<Offsets>();
    let (theirs, ours) = (offsets(case.committed(world, &copy).await), offsets(case.committed(world, &case.group).await));
    let same = |at: &TopicPartition| compare::differs_on_purpose(case, at) || theirs.get(at) == ours.get(at);
    if let Some(at) = theirs.keys().chain(ours.keys()).find(|at| !same(at)) {
        return Err(format!("carried out, {at} is at {:?} by the tool and at {:?} here; it said: {said}", theirs.get(at), ours.get(at)));
    }
    for row in Plan::of_record(planned).changes() {
        if ours.get(&row.at).copied() != row.aim.offset() {
            return Err(format!("{} was planned to be at {:?} and is at {:?}", row.at, row.aim.offset(), ours.get(&row.at)));
        }
    }
    // And back.
    let record = reset(&status).record_ref.clone().expect("a record").name;
    let undo = json!({ "id": "undo", "quietPeriod": "0s", "to": { "undo": { "name": record } }, "outOfRange": "Clamp" });
    world.apply(&case.name, &case.group, with(undo, "missingGroup", json!("Create"))).await;
    let status =
        world.wait(&case.name, "the undo to end", |s| s.offset_reset.as_ref().is_some_and(|r| r.id == "undo" && r.stage.is_final()));
    let status = status.await;
    if reset(&status).stage != Stage::Verified {
        return Err(format!("not undone: {}", says(&status, "Ready").2));
    }
    let after = case.committed(world, &case.group).await;
    let inside = |at: &TopicPartition| case.is_inside(at);
    match before.keys().chain(after.keys()).find(|at| inside(at) && before.get(at) != after.get(at)) {
        Some(at) => Err(format!("undone, {at} is {:?} and was {:?}", after.get(at), before.get(at))),
        None => Ok(()),
    }
}

async fn ended(world: &World, case: &Case) -> StreamPipelineStatus {
    let dry_run = async || world.pipelines().get(&case.name).await.ok().and_then(|p| p.spec.offset_reset).is_some_and(|r| r.is_dry_run());
    let stage = if dry_run().await { Stage::Planned } else { Stage::Verified };
    let over = |s: &StreamPipelineStatus| {
        let of_case = s.offset_reset.as_ref().filter(|r| r.id == case.id());
        of_case.is_some_and(|r| r.stage == stage || r.stage == Stage::Failed || r.stage == Stage::Held)
    };
    world.wait(&case.name, "the end of the case", over).await
}

/// The tool, and where its files of offsets are.
struct Tool {
    tool: Mutex<ReferenceTool>,
    files: Scratch,
}

impl Tool {
    /// What it says of a case, for this group.
    async fn ask(&self, case: &Case, group: &str, how: &[&str]) -> String {
        let arguments = case.arguments(group, how, self.files.path());
        let mut tool = self.tool.lock().await;
        tokio::task::block_in_place(|| tool.run(&arguments)).expect("the tool answers")
    }
}

/// The tool's CSV; None: it refused.
fn exported(said: &str) -> Option<Offsets> {
    let row = |line: &str| {
        let mut fields = line.split(',').map(|field| field.trim_matches('"'));
        let (topic, partition, offset) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        fields.next().is_none().then(|| (TopicPartition::new(topic, partition), offset))
    };
    let rows: Offsets = said.lines().filter_map(row).collect();
    (!rows.is_empty()).then_some(rows)
}
