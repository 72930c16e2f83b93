//! A watch of StreamPipelines, as `kubectl wait` has it: when was a request seen to have succeeded?

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, pin_mut};
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use stream_pipeline_api::{Stage, StreamPipeline};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot::channel;
use tokio::task::JoinHandle;

/// How long the first list may take.
const LISTED: Duration = Duration::from_secs(60);

/// An object, its request, and how that stands.
struct Seen {
    at: Instant,
    name: String,
    id: String,
    /// The condition OffsetsReset is True for this id; or the platform has accepted the reset, and shows it at the next start only.
    done: bool,
    why_not: Option<String>,
}

pub struct Watching {
    seen: UnboundedReceiver<Seen>,
    task: JoinHandle<()>,
}

impl Watching {
    /// Everything of the namespace from now on. Returns once it was listed, so that the list takes nobody's time.
    pub async fn start(api: Api<StreamPipeline>) -> Self {
        Self::as_configured(api, watcher::Config::default()).await
    }

    /// As [`Self::start`], of one object.
    pub async fn of_one(api: Api<StreamPipeline>, name: &str) -> Self {
        Self::as_configured(api, watcher::Config::default().fields(&format!("metadata.name={name}"))).await
    }

    async fn as_configured(api: Api<StreamPipeline>, config: watcher::Config) -> Self {
        let (tell, seen) = unbounded_channel();
        let (is_listed, listed) = channel();
        let task = tokio::spawn(async move {
            let mut is_listed = Some(is_listed);
            let events = watcher::watcher(api, config);
            pin_mut!(events);
            while let Some(event) = events.next().await {
                let at = Instant::now();
                let told = match event {
                    Ok(Event::Apply(object) | Event::InitApply(object)) => stand(at, &object),
                    Ok(Event::InitDone) => {
                        if let Some(tell) = is_listed.take() {
                            // Fails only if nobody waits any more.
                            let _ = tell.send(());
                        }
                        None
                    }
                    // The watcher tries again by itself.
                    Ok(_) | Err(_) => None,
                };
                if told.is_some_and(|seen| tell.send(seen).is_err()) {
                    return;
                }
            }
        });
        // Without a list nothing is seen, which is told where something is waited for.
        let _ = tokio::time::timeout(LISTED, listed).await;
        Self { seen, task }
    }

    /// When this request was seen to have succeeded.
    pub async fn succeeded(&mut self, name: &str, id: &str) -> Result<Instant> {
        let done = self.all_succeeded(&HashMap::from([(name.to_owned(), id.to_owned())]), Duration::from_secs(60)).await?;
        done.into_iter().next().map(|(_, at)| at).context("one was waited for")
    }

    /// When each of these requests, by the names of their objects, was seen to have succeeded.
    pub async fn all_succeeded(&mut self, asked: &HashMap<String, String>, limit: Duration) -> Result<HashMap<String, Instant>> {
        let mut done = HashMap::with_capacity(asked.len());
        let mut last = HashMap::new();
        let deadline = tokio::time::Instant::now() + limit;
        while done.len() < asked.len() {
            let Ok(seen) = tokio::time::timeout_at(deadline, self.seen.recv()).await else {
                let open = asked.keys().find(|name| !done.contains_key(*name)).cloned().unwrap_or_default();
                bail!("{} of {} requests succeeded within {limit:?}; {open}: {:?}", done.len(), asked.len(), last.get(&open));
            };
            let seen = seen.context("the watch has ended")?;
            if asked.get(&seen.name) != Some(&seen.id) {
                continue;
            }
            match seen.why_not {
                _ if seen.done => drop(done.entry(seen.name).or_insert(seen.at)),
                why => drop(last.insert(seen.name, why)),
            }
        }
        Ok(done)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn stand(at: Instant, object: &StreamPipeline) -> Option<Seen> {
    let status = object.status.as_ref()?;
    let reset = status.offset_reset.as_ref()?;
    let name = object.metadata.name.clone()?;
    let condition = |kind: &str| status.conditions.iter().find(|c| c.type_ == kind);
    let done = condition("OffsetsReset").is_some_and(|c| c.status == "True") || reset.stage == Stage::Sent;
    let why_not = condition("Ready").map(|c| format!("{}: {}", c.reason, c.message));
    Some(Seen { at, name, id: reset.id.clone(), done, why_not })
}
