//! One read for all who ask for the same thing at once.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock;
use stream_pipeline_core::Cause;

/// An answer this old is of use to nobody any more.
const KEPT: Duration = Duration::from_secs(5);

/// What was read, and when the read began.
type Answer<T> = Option<(Instant, Result<Arc<T>, Cause>)>;

/// Answers by name.
pub struct Shared<T>(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Answer<T>>>>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Shared<T> {
    /// What `read` answers now. All who ask while one read is under way share the next one, which also fails for all of them.
    ///
    /// # Errors
    /// Those of the read.
    pub async fn read(&self, name: &str, read: impl Future<Output = Result<T, Cause>>) -> Result<Arc<T>, Cause> {
        let asked = clock::mono();
        let slot = Arc::clone(self.0.lock().entry(name.to_owned()).or_default());
        let mut last = slot.lock().await;
        if let Some((begun, answer)) = last.as_ref()
            && *begun >= asked
        {
            return answer.clone();
        }
        // The old answer goes first: one that is given up in the middle leaves none.
        *last = None;
        let begun = clock::mono();
        let answer = read.await.map(Arc::new);
        *last = Some((begun, answer.clone()));
        answer
    }

    /// Forgets answers that nobody can use any more.
    pub fn sweep(&self, now: Instant) {
        let is_old = |answer: &Answer<T>| answer.as_ref().is_none_or(|(begun, _)| now.saturating_duration_since(*begun) >= KEPT);
        self.0.lock().retain(|_, slot| Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|answer| !is_old(&answer)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use stream_pipeline_api::Reason;

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_while_a_read_is_under_way_share_the_next_one() {
        let (shared, reads) = (Shared::default(), AtomicUsize::new(0));
        let one = |after: u64| {
            let (shared, reads) = (&shared, &reads);
            async move {
                tokio::time::sleep(Duration::from_millis(after)).await;
                let read = async {
                    let n = reads.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if n == 0 { Err(Cause::new(Reason::APIServerError, "no answer")) } else { Ok(n) }
                };
                shared.read("n", read).await
            }
        };
        let found = futures::future::join_all((0..200).map(one)).await;
        assert_eq!(reads.load(Ordering::Relaxed), 2, "the first, and one for all who came while it was under way");
        assert!(found[0].is_err() && found[1..].iter().all(|found| found.as_deref() == Ok(&1)));
        one(1).await.unwrap();
        assert_eq!(reads.load(Ordering::Relaxed), 3, "an answer from before is none");
        shared.sweep(clock::mono());
        assert_eq!(shared.0.lock().len(), 1);
        tokio::time::sleep(KEPT).await;
        shared.sweep(clock::mono() + KEPT);
        assert!(shared.0.lock().is_empty());
    }
}
