//! How many processes of Kafka clients there may be at once, and whose turn it is when there are no more: of the namespaces that
//! wait, the one that has the fewest. So a tenant with a thousand clusters does not starve one with one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{oneshot, watch};

/// The places that there are.
pub struct Places {
    most: usize,
    state: Mutex<State>,
    /// Whether anybody waits.
    crowded: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    taken: BTreeMap<String, usize>,
    waiting: BTreeMap<String, VecDeque<oneshot::Sender<Place>>>,
}

/// One place; given back when dropped.
pub struct Place {
    places: Arc<Places>,
    namespace: String,
}

impl Places {
    /// `most`: at least one.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), state: Mutex::default(), crowded: watch::Sender::new(false) })
    }

    pub fn most(&self) -> usize {
        self.most
    }

    /// Whether anybody waits for a place: who needs none just now gives it back.
    pub fn crowded(&self) -> watch::Receiver<bool> {
        self.crowded.subscribe()
    }

    /// Resolves when it is this namespace's turn.
    pub async fn take(self: &Arc<Self>, namespace: &str) -> Place {
        let (give, mut given) = oneshot::channel();
        {
            let mut state = self.lock();
            state.waiting.entry(namespace.to_owned()).or_default().push_back(give);
            self.hand_out(&mut state);
        }
        match (&mut given).await {
            Ok(place) => place,
            // Senders are dropped only after they were used, so this cannot be; waiting on is harmless.
            Err(_) => std::future::pending().await,
        }
    }

    /// Gives what is free to those who wait, in their turn.
    fn hand_out(self: &Arc<Self>, state: &mut State) {
        // A place whose taker is gone comes back when it is dropped, which takes the same lock: after this.
        let mut returned = Vec::new();
        loop {
            // Who gave up does not stand in line.
            state.waiting.retain(|_, line| {
                line.retain(|one| !one.is_closed());
                !line.is_empty()
            });
            let free = state.taken.values().sum::<usize>() < self.most;
            let has = |namespace: &String| state.taken.get(namespace).copied().unwrap_or(0);
            let next = state.waiting.keys().min_by_key(|namespace| has(namespace)).cloned();
            let Some(namespace) = next.filter(|_| free) else { break };
            let Some(one) = state.waiting.get_mut(&namespace).and_then(VecDeque::pop_front) else { break };
            *state.taken.entry(namespace.clone()).or_default() += 1;
            if let Err(unclaimed) = one.send(Place { places: Arc::clone(self), namespace }) {
                returned.push(unclaimed);
            }
        }
        for place in returned {
            Self::forget(state, &place.namespace);
            std::mem::forget(place);
        }
        self.crowded.send_replace(!state.waiting.is_empty());
    }

    fn forget(state: &mut State, namespace: &str) {
        if let Some(count) = state.taken.get_mut(namespace) {
            *count -= 1;
            if *count == 0 {
                state.taken.remove(namespace);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under this lock is complete in itself.
        self.state.lock()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let places = Arc::clone(&self.places);
        let mut state = places.lock();
        Places::forget(&mut state, &self.namespace);
        places.hand_out(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn the_namespace_with_the_fewest_is_next() {
        let places = Places::new(2);
        let first = places.take("many").await;
        let second = places.take("many").await;
        assert!(!*places.crowded().borrow());
        let mut third = Box::pin(places.take("many"));
        let mut one = Box::pin(places.take("one"));
        assert!((&mut third).now_or_never().is_none() && (&mut one).now_or_never().is_none());
        assert!(*places.crowded().borrow());
        drop(first);
        assert!((&mut third).now_or_never().is_none(), "it has one already");
        let one = (&mut one).now_or_never().expect("its turn");
        drop(second);
        let third = (&mut third).now_or_never().expect("now it");
        assert!(!*places.crowded().borrow());
        drop((one, third));
        assert!(places.lock().taken.is_empty());
    }

    #[tokio::test]
    async fn who_gave_up_takes_no_place() {
        let places = Places::new(1);
        let held = places.take("a").await;
        let mut gone = Box::pin(places.take("b"));
        assert!((&mut gone).now_or_never().is_none());
        drop(gone);
        drop(held);
        assert!(places.take("c").now_or_never().is_some());
        assert!(places.lock().taken.is_empty() && places.lock().waiting.is_empty());
    }
}
