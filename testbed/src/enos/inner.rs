//! What the connections, the test and the passing of time share.

use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Result, ensure};
use serde_json::Value;
use tokio::sync::watch;

use super::auth::Tokens;
use super::call::Log;
use super::fault::Faults;
use super::options::Options;
use super::pipeline::{Backing, Pipeline, ResetTo};
use super::world::{Entry, World};
use crate::kafka;

pub(super) struct Inner {
    pub options: Options,
    pub tokens: Tokens,
    pub faults: Faults,
    pub log: Log,
    world: Mutex<World>,
    ended: watch::Sender<bool>,
}

/// What is known of a pipeline.
pub(super) struct Status {
    pub status: String,
    pub resets: u64,
    pub refused_resets: u64,
    pub starts: Vec<Value>,
}

impl Inner {
    pub fn new(options: Options) -> Self {
        Self {
            options,
            tokens: Tokens::default(),
            faults: Faults::default(),
            log: Log::default(),
            world: Mutex::default(),
            ended: watch::Sender::new(false),
        }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no panic under this lock")
    }

    /// Ends the tasks and the consumers.
    pub fn end(&self) {
        let consumers: Vec<_> = {
            let mut world = self.world();
            self.ended.send_replace(true);
            world.entries.iter_mut().filter_map(|e| e.consumer.take()).collect()
        };
        drop(consumers);
    }

    pub async fn ended(&self) {
        // The sender lives as long as this.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// The broker, for as long as consumers may run on it.
    fn bootstrap(&self) -> Option<&str> {
        self.options.bootstrap.as_deref().filter(|_| !*self.ended.borrow())
    }

    pub fn add(&self, pipeline: Pipeline) -> Result<()> {
        let backed = matches!(pipeline.backing, Backing::Series { .. }) || self.options.bootstrap.is_some();
        ensure!(backed, "pipeline {} has a group, but the simulator has no broker", pipeline.id);
        let mut world = self.world();
        ensure!(world.get(&pipeline.id).is_none(), "there is a pipeline {} already", pipeline.id);
        let status = pipeline.status.clone();
        let mut entry = Entry::new(pipeline);
        entry.become_status(&status, self.bootstrap());
        world.entries.push(entry);
        Ok(())
    }

    pub fn remove(&self, id: &str) {
        let mut world = self.world();
        let at = world.entries.iter().position(|e| e.pipeline.id == id);
        let removed = at.map(|at| world.entries.remove(at));
        drop(world);
        // Waits for its consumer.
        drop(removed);
    }

    pub fn status(&self, id: &str) -> Option<Status> {
        let mut world = self.world();
        let entry = world.get(id)?;
        Some(Status {
            status: entry.pipeline.status.clone(),
            resets: entry.resets,
            refused_resets: entry.refused_resets,
            starts: entry.starts.clone(),
        })
    }

    pub fn set_status(&self, id: &str, status: &str) {
        let ended = self.world().get(id).and_then(|e| e.become_status(status, self.bootstrap()));
        drop(ended);
    }

    pub fn produce(&self, id: &str, count: i64) {
        if let Some(entry) = self.world().get(id) {
            entry.settle();
            entry.series.produce(count);
        }
    }

    /// The end of a transition, unless another has begun meanwhile.
    pub async fn arrive(&self, id: &str, status: &str, ticket: u64) {
        if status != "RUNNING" {
            let consumer = self.world().get(id).filter(|e| e.change == ticket).and_then(|e| e.consumer.take());
            if let Some(consumer) = consumer {
                // The group is empty before the list says so.
                consumer.stop().await;
            }
        }
        if let Some(entry) = self.world().get(id).filter(|e| e.change == ticket) {
            entry.become_status(status, self.bootstrap());
        }
    }

    /// Offset and lag.
    pub async fn position(&self, id: &str) -> Result<(i64, i64), String> {
        let (backing, to) = {
            let mut world = self.world();
            let entry = world.get(id).ok_or("there is no such pipeline")?;
            entry.settle();
            match &entry.pipeline.backing {
                Backing::Series { .. } => return Ok(entry.series.position()),
                Backing::Group { group, topic } => ((group.clone(), topic.clone()), entry.pipeline.reset_to),
            }
        };
        let bootstrap = self.options.bootstrap.as_deref().ok_or("there is no broker")?;
        let positions = kafka::positions(bootstrap, &backing.0, &backing.1).await?;
        // Without a commit its consumer begins there.
        let none = |p: &kafka::Position| if to == ResetTo::Latest { p.end } else { p.start };
        let offset: i64 = positions.iter().map(|p| p.committed.unwrap_or_else(|| none(p))).sum();
        let end: i64 = positions.iter().map(|p| p.end).sum();
        Ok((offset, end - offset))
    }

    pub async fn sample(&self, id: &str) -> Result<(), String> {
        let (offset, lag) = self.position(id).await?;
        if let Some(entry) = self.world().get(id) {
            entry.sampled(offset, lag);
        }
        Ok(())
    }
}

/// The points of offset-lag, where they are not taken at each question.
pub(super) async fn sample_regularly(sim: Arc<Inner>) {
    let period = sim.options.lag_sample;
    if period.is_zero() {
        return;
    }
    loop {
        tokio::select! {
            () = sim.ended() => return,
            () = tokio::time::sleep(period) => {}
        }
        let running = sim.world().running();
        for id in running {
            if let Err(error) = sim.sample(&id).await {
                eprintln!("simulator: pipeline {id}: {error}");
            }
        }
    }
}
