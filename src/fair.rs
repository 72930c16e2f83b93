//! A limit on how many do something at once, and who is next when no place is free: of the namespaces that wait, the one with the fewest.
//! So a tenant with a thousand does not starve a tenant with one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

/// The places.
pub struct Fair {
    /// Every change under this lock leaves a consistent state.
    state: Mutex<State>,
    /// Whether anybody waits for a place.
    contended: watch::Sender<bool>,
}

struct State {
    limit: usize,
    taken: BTreeMap<String, Taken>,
    waiting: BTreeMap<String, VecDeque<oneshot::Sender<Place>>>,
}

/// What a namespace has.
#[derive(Default)]
struct Taken {
    places: usize,
    /// Those who stand aside; they are no part of `places`.
    aside: usize,
}

/// One place; given back when dropped.
pub struct Place {
    fair: Arc<Fair>,
    namespace: String,
    aside: bool,
}

/// Somebody's place in a line that is found out on the way, or the line to wait in.
#[derive(Default)]
pub struct Queued {
    pub place: Option<Place>,
    /// Set where a place is needed and none is free.
    pub line: Option<Arc<Fair>>,
}

impl Queued {
    /// Takes a place of this line if there is none yet. False: none is free.
    pub fn take_now(&mut self, line: Arc<Fair>, namespace: &str) -> bool {
        if self.place.is_none() {
            self.place = line.take_now(namespace);
            self.line = self.place.is_none().then_some(line);
        }
        self.place.is_some()
    }
}

impl Fair {
    /// `limit`: at least one.
    pub fn new(limit: usize) -> Arc<Self> {
        let state = State { limit: limit.max(1), taken: BTreeMap::new(), waiting: BTreeMap::new() };
        Arc::new(Self { state: Mutex::new(state), contended: watch::Sender::new(false) })
    }

    pub fn limit(&self) -> usize {
        self.state.lock().limit
    }

    /// At least one. Nobody loses a place.
    pub fn set_limit(self: &Arc<Self>, limit: usize) {
        let mut state = self.state.lock();
        state.limit = limit.max(1);
        self.assign(&mut state);
    }

    /// Whether anybody waits for a place: who does not need his own just now gives it back.
    pub fn contended(&self) -> watch::Receiver<bool> {
        self.contended.subscribe()
    }

    /// Resolves with a place when it is this namespace's turn.
    pub async fn take(self: &Arc<Self>, namespace: &str) -> Place {
        let (give, mut given) = oneshot::channel();
        {
            let mut state = self.state.lock();
            state.waiting.entry(namespace.to_owned()).or_default().push_back(give);
            self.assign(&mut state);
        }
        match (&mut given).await {
            Ok(place) => place,
            // Cannot happen: a sender is dropped only after it was used. Waiting is harmless.
            Err(_) => std::future::pending().await,
        }
    }

    /// A place, if one is free and nobody waits for one.
    pub fn take_now(self: &Arc<Self>, namespace: &str) -> Option<Place> {
        let mut state = self.state.lock();
        let free = state.waiting.is_empty() && state.places() < state.limit;
        free.then(|| self.place(&mut state, namespace))
    }

    /// A place, if nobody waits for one and at least half of them are free.
    pub fn take_spare(self: &Arc<Self>, namespace: &str) -> Option<Place> {
        let mut state = self.state.lock();
        let spare = state.waiting.is_empty() && 2 * state.places() < state.limit;
        spare.then(|| self.place(&mut state, namespace))
    }

    fn place(self: &Arc<Self>, state: &mut State, namespace: &str) -> Place {
        state.taken.entry(namespace.to_owned()).or_default().places += 1;
        Place { fair: Arc::clone(self), namespace: namespace.to_owned(), aside: false }
    }

    /// Gives free places to those who wait, in turn.
    fn assign(self: &Arc<Self>, state: &mut State) {
        // A place whose taker is gone is released by hand: dropping it would take this lock a second time.
        let mut returned = Vec::new();
        loop {
            state.forget_who_gave_up();
            let free = state.places() < state.limit;
            let has = |namespace: &String| state.taken.get(namespace).map_or(0, |taken| taken.places + taken.aside);
            let next = state.waiting.keys().min_by_key(|namespace| has(namespace)).cloned();
            let Some(namespace) = next.filter(|_| free) else { break };
            let Some(one) = state.waiting.get_mut(&namespace).and_then(VecDeque::pop_front) else { break };
            let place = self.place(state, &namespace);
            if let Err(unclaimed) = one.send(place) {
                returned.push(unclaimed);
            }
        }
        for place in returned {
            state.release(&place);
            std::mem::forget(place);
        }
        self.contended.send_if_modified(|contended| std::mem::replace(contended, !state.waiting.is_empty()) == state.waiting.is_empty());
    }
}

impl State {
    fn places(&self) -> usize {
        self.taken.values().map(|taken| taken.places).sum()
    }

    fn release(&mut self, place: &Place) {
        let Some(taken) = self.taken.get_mut(&place.namespace) else { return };
        let count = if place.aside { &mut taken.aside } else { &mut taken.places };
        *count -= 1;
        if taken.places + taken.aside == 0 {
            self.taken.remove(&place.namespace);
        }
    }

    /// At the head of each line; who gave up further back is met there later.
    fn forget_who_gave_up(&mut self) {
        self.waiting.retain(|_, line| {
            while line.front().is_some_and(oneshot::Sender::is_closed) {
                line.pop_front();
            }
            !line.is_empty()
        });
    }
}

impl Place {
    /// From now on this one does not count for the limit, but still for its namespace.
    pub fn stand_aside(&mut self) {
        let fair = Arc::clone(&self.fair);
        let mut state = fair.state.lock();
        if !std::mem::replace(&mut self.aside, true)
            && let Some(taken) = state.taken.get_mut(&self.namespace)
        {
            taken.places -= 1;
            taken.aside += 1;
            fair.assign(&mut state);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let fair = Arc::clone(&self.fair);
        let mut state = fair.state.lock();
        state.release(self);
        fair.assign(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn the_namespace_with_the_fewest_is_next() {
        let fair = Fair::new(2);
        let first = fair.take("many").await;
        let second = fair.take("many").await;
        assert!(!*fair.contended().borrow());
        let mut third = Box::pin(fair.take("many"));
        let mut one = Box::pin(fair.take("one"));
        assert!((&mut third).now_or_never().is_none() && (&mut one).now_or_never().is_none());
        assert!(*fair.contended().borrow());
        drop(first);
        assert!((&mut third).now_or_never().is_none(), "it has one already");
        let one = (&mut one).now_or_never().expect("its turn");
        drop(second);
        let third = (&mut third).now_or_never().expect("now it");
        assert!(!*fair.contended().borrow());
        drop((one, third));
        assert!(fair.state.lock().taken.is_empty());
    }

    #[tokio::test]
    async fn who_gave_up_takes_no_place() {
        let fair = Fair::new(1);
        let held = fair.take("a").await;
        let mut gone = Box::pin(fair.take("b"));
        assert!((&mut gone).now_or_never().is_none());
        drop(gone);
        drop(held);
        assert!(fair.take("c").now_or_never().is_some());
        assert!(fair.state.lock().taken.is_empty() && fair.state.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn who_stands_aside_leaves_his_place_to_others_and_his_namespace_comes_after_them() {
        let fair = Fair::new(1);
        let mut slow = fair.take("slow").await;
        let mut again = Box::pin(fair.take("slow"));
        let mut other = Box::pin(fair.take("other"));
        assert!((&mut again).now_or_never().is_none() && (&mut other).now_or_never().is_none());
        slow.stand_aside();
        assert!((&mut again).now_or_never().is_none(), "one of it is still under way");
        let other = (&mut other).now_or_never().expect("the free place");
        drop(other);
        let again = (&mut again).now_or_never().expect("nobody else waits");
        slow.stand_aside();
        drop((slow, again));
        assert!(fair.state.lock().taken.is_empty());
    }

    #[tokio::test]
    async fn spare_places_are_those_that_nobody_misses() {
        let fair = Fair::new(4);
        let both = (fair.take_spare("a").expect("one of four"), fair.take_spare("a").expect("two of four"));
        assert!(fair.take_spare("a").is_none(), "the rest is kept for who asks");
        let asked = [fair.take("a").await, fair.take("a").await];
        let mut fifth = Box::pin(fair.take("a"));
        assert!((&mut fifth).now_or_never().is_none());
        fair.set_limit(9);
        assert!((&mut fifth).now_or_never().is_some(), "a raised limit is used at once");
        assert!(fair.take_now("b").is_some());
        drop((both, asked));
        let gone = (fair.take("a").await, fair.take_spare("b").is_some());
        assert!(gone.1);
    }
}
