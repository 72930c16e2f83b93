//! Limits the processes of Kafka clients, and says who is next when no slot is free: of the namespaces that wait, the one with the fewest
//! processes. So a tenant with a thousand clusters does not starve a tenant with one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

/// The slots for processes.
pub struct ProcessSlots {
    limit: usize,
    /// Every change under this lock leaves a consistent state.
    state: Mutex<State>,
    /// Whether anybody waits for a slot.
    contended: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    taken: BTreeMap<String, usize>,
    waiting: BTreeMap<String, VecDeque<oneshot::Sender<ProcessSlot>>>,
}

/// One slot; given back when dropped.
pub struct ProcessSlot {
    slots: Arc<ProcessSlots>,
    namespace: String,
}

impl ProcessSlots {
    /// `limit`: at least one.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), state: Mutex::default(), contended: watch::Sender::new(false) })
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether anybody waits for a slot: a client that does not need its own just now gives it back.
    pub fn contended(&self) -> watch::Receiver<bool> {
        self.contended.subscribe()
    }

    /// Resolves with a slot when it is this namespace's turn.
    pub async fn take(self: &Arc<Self>, namespace: &str) -> ProcessSlot {
        let (give, mut given) = oneshot::channel();
        {
            let mut state = self.state.lock();
            state.waiting.entry(namespace.to_owned()).or_default().push_back(give);
            self.assign(&mut state);
        }
        match (&mut given).await {
            Ok(slot) => slot,
            // Cannot happen: a sender is dropped only after it was used. Waiting is harmless.
            Err(_) => std::future::pending().await,
        }
    }

    /// Gives free slots to those who wait, in turn.
    fn assign(self: &Arc<Self>, state: &mut State) {
        // A slot whose taker is gone is released by hand: dropping it would take this lock a second time.
        let mut returned = Vec::new();
        loop {
            // Whoever gave up waiting is removed.
            state.waiting.retain(|_, line| {
                line.retain(|one| !one.is_closed());
                !line.is_empty()
            });
            let free = state.taken.values().sum::<usize>() < self.limit;
            let has = |namespace: &String| state.taken.get(namespace).copied().unwrap_or(0);
            let next = state.waiting.keys().min_by_key(|namespace| has(namespace)).cloned();
            let Some(namespace) = next.filter(|_| free) else { break };
            let Some(one) = state.waiting.get_mut(&namespace).and_then(VecDeque::pop_front) else { break };
            *state.taken.entry(namespace.clone()).or_default() += 1;
            if let Err(unclaimed) = one.send(ProcessSlot { slots: Arc::clone(self), namespace }) {
                returned.push(unclaimed);
            }
        }
        for slot in returned {
            Self::release(state, &slot.namespace);
            std::mem::forget(slot);
        }
        self.contended.send_replace(!state.waiting.is_empty());
    }

    fn release(state: &mut State, namespace: &str) {
        if let Some(count) = state.taken.get_mut(namespace) {
            *count -= 1;
            if *count == 0 {
                state.taken.remove(namespace);
            }
        }
    }
}

impl Drop for ProcessSlot {
    fn drop(&mut self) {
        let slots = Arc::clone(&self.slots);
        let mut state = slots.state.lock();
        ProcessSlots::release(&mut state, &self.namespace);
        slots.assign(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn the_namespace_with_the_fewest_is_next() {
        let slots = ProcessSlots::new(2);
        let first = slots.take("many").await;
        let second = slots.take("many").await;
        assert!(!*slots.contended().borrow());
        let mut third = Box::pin(slots.take("many"));
        let mut one = Box::pin(slots.take("one"));
        assert!((&mut third).now_or_never().is_none() && (&mut one).now_or_never().is_none());
        assert!(*slots.contended().borrow());
        drop(first);
        assert!((&mut third).now_or_never().is_none(), "it has one already");
        let one = (&mut one).now_or_never().expect("its turn");
        drop(second);
        let third = (&mut third).now_or_never().expect("now it");
        assert!(!*slots.contended().borrow());
        drop((one, third));
        assert!(slots.state.lock().taken.is_empty());
    }

    #[tokio::test]
    async fn who_gave_up_takes_no_slot() {
        let slots = ProcessSlots::new(1);
        let held = slots.take("a").await;
        let mut gone = Box::pin(slots.take("b"));
        assert!((&mut gone).now_or_never().is_none());
        drop(gone);
        drop(held);
        assert!(slots.take("c").now_or_never().is_some());
        assert!(slots.state.lock().taken.is_empty() && slots.state.lock().waiting.is_empty());
    }
}
