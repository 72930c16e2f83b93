//! One pass for one object, when it is its turn. Few passes at a time are sooner done than many: they share one API server, and a plan that
//! waits in its queue for longer than the send window is dropped. So who is asked for something waits for a turn before anything is read or
//! written, the namespace with the fewest first; and objects at rest are looked at when nobody else needs the turn.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::context::Context;
use crate::fair::{Fair, Place, Queued};
use crate::kubernetes::call;
use crate::object::Object;
use crate::reconcile::reconcile;
use crate::unreadable;
use stream_pipeline_core::{LOOKS_A_SECOND, PriorStatus};

/// A pass that takes longer waits for somebody else's brokers or gateway, and makes room meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where calls to the API server take longer, fewer passes go at a time.
const SLOW: Duration = Duration::from_millis(100);

/// A request that waits in its platform's line is looked at this often: its own wait may end meanwhile.
const MEANWHILE: Duration = Duration::from_secs(20);

/// Who works, and who waits.
#[derive(Clone)]
pub struct Turns {
    /// How many at once while the API server is quick.
    most: usize,
    fair: Arc<Fair>,
    /// Objects at rest that found no turn, by uid: the next time they wait for one like the others.
    put_off: Arc<Mutex<HashSet<String>>>,
    /// Cancelled when nobody gets a turn any more.
    over: CancellationToken,
}

impl Turns {
    /// `most`: at least one. `over`: from then on nobody gets a turn.
    pub fn new(most: usize, over: CancellationToken) -> Self {
        Self { most, fair: Fair::new(most), put_off: Arc::default(), over }
    }

    /// As many as the API server bears: twice as slow, half as many.
    fn adapt(&self) {
        let limit = limit(self.most, call::pace());
        if limit != self.fair.limit() {
            self.fair.set_limit(limit);
        }
    }

    /// None: it rests, and is looked at a little later.
    async fn take(&self, object: &Object) -> Option<Place> {
        self.adapt();
        let namespace = object.namespace().unwrap_or_default();
        let uid = object.uid().unwrap_or_default();
        let asked = object.0.as_ref().is_ok_and(|pipeline| !PriorStatus::is_at_rest(pipeline));
        let put_off = self.put_off.lock().remove(&uid);
        if asked || put_off {
            return self.over.run_until_cancelled(self.fair.take(&namespace)).await;
        }
        let spare = self.fair.take_spare(&namespace);
        if spare.is_none() {
            self.put_off.lock().insert(uid);
        }
        spare
    }

    /// Forgets objects that are gone.
    pub fn forget(&self, alive: impl Fn(&str) -> bool) {
        self.put_off.lock().retain(|uid| alive(uid));
    }
}

fn limit(most: usize, pace: Duration) -> usize {
    let slower = pace.as_micros().div_ceil(SLOW.as_micros()).max(1);
    (most / usize::try_from(slower).unwrap_or(usize::MAX)).max(1)
}

/// Waits for the object's turn, then works on it.
///
/// # Errors
/// None.
pub async fn pass(turns: Turns, object: Arc<Object>, ctx: Arc<Context>) -> Result<Action, Infallible> {
    if !ctx.running.leads() {
        return Ok(Action::await_change());
    }
    let (uid, state) = (object.uid().unwrap_or_default(), &ctx.process_state);
    // The watch tells what this process itself has just written.
    if let Some(left) = state.told_by_itself(&uid, &object.resource_version().unwrap_or_default(), clock::mono()) {
        return Ok(Action::requeue(left));
    }
    let Some(mut turn) = turns.take(&object).await else {
        let seconds = ctx.pipelines.len().div_ceil(LOOKS_A_SECOND);
        return Ok(Action::requeue(ctx.jitter(Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)))));
    };
    // It may have changed while it waited.
    let mut object = ctx.pipelines.get(&ObjectRef::from_obj(object.as_ref())).unwrap_or(object);
    let (mut waiting, mut queued) = (None, Queued::default());
    let (begun, after) = loop {
        let begun = Instant::now();
        let mut work = Box::pin(work(&ctx, Arc::clone(&object), &mut queued));
        let after = loop {
            match tokio::time::timeout(PATIENCE, &mut work).await {
                Ok(after) => break after,
                // If it is the API server that is slow, more of them would only make it slower.
                Err(_) if call::pace() < SLOW => turn.stand_aside(),
                Err(_) => turns.adapt(),
            }
        };
        drop(work);
        queued.place = None;
        let Some(line) = queued.line.take() else { break (begun, after) };
        turn.stand_aside();
        let wait = Waiting::or_go_on(waiting.take(), line, &object);
        let Some(Some(found)) = turns.over.run_until_cancelled(wait.until_placed_or_due(&ctx, &object)).await else {
            return Ok(Action::await_change());
        };
        (waiting, queued.place, object) = found;
    };
    // Who waits asks no more, so it is noticed here that the API server is quick again.
    turns.adapt();
    drop(turn);
    if let Some(after) = after {
        state.note_next_look(&uid, clock::mono() + after);
    }
    ctx.running.metrics.reconciled(begun.elapsed());
    Ok(after.map_or_else(Action::await_change, Action::requeue))
}

/// A request's wait in its platform's line. It keeps its rank when its object changes.
struct Waiting {
    line: Arc<Fair>,
    place: BoxFuture<'static, Place>,
}

impl Waiting {
    fn or_go_on(before: Option<Self>, line: Arc<Fair>, object: &Object) -> Self {
        before.filter(|before| Arc::ptr_eq(&before.line, &line)).unwrap_or_else(|| {
            let (fair, namespace) = (Arc::clone(&line), object.namespace().unwrap_or_default());
            Self { line, place: Box::pin(async move { fair.take(&namespace).await }) }
        })
    }

    /// The object as it is by then, with a place, or with the wait that goes on: it was edited, or is to be looked at meanwhile. None: it
    /// is gone.
    async fn until_placed_or_due(mut self, ctx: &Context, object: &Arc<Object>) -> Option<(Option<Self>, Option<Place>, Arc<Object>)> {
        let (key, begun) = (ObjectRef::from_obj(object.as_ref()), Instant::now());
        loop {
            let place = tokio::time::timeout(PATIENCE, &mut self.place).await.ok();
            let now = ctx.pipelines.get(&key)?;
            match place {
                Some(place) => return Some((None, Some(place), now)),
                None if now.meta().generation != object.meta().generation || begun.elapsed() >= MEANWHILE => {
                    return Some((Some(self), None, now));
                }
                None => {}
            }
        }
    }
}

/// When to look again, if nothing changes before; None: only after a change.
async fn work(ctx: &Context, object: Arc<Object>, queued: &mut Queued) -> Option<Duration> {
    match Arc::unwrap_or_clone(object).0 {
        Ok(pipeline) if unreadable::is_done(&pipeline.metadata) => None,
        Ok(pipeline) => reconcile(ctx, &pipeline, queued).await,
        Err(invalid) => {
            let (namespace, name) = (invalid.metadata.namespace.unwrap_or_default(), invalid.metadata.name.unwrap_or_default());
            unreadable::serve(ctx, &namespace, &name, &invalid.error, queued).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_the_api_server_the_fewer_at_a_time() {
        let at = |milliseconds: u64| limit(32, Duration::from_millis(milliseconds));
        assert_eq!([at(0), at(100), at(101), at(300), at(10_000)], [32, 32, 16, 10, 1]);
        assert_eq!(limit(0, Duration::ZERO), 1);
    }
}
