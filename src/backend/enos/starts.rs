//! Which pipeline of an organization this process is starting: the platform starts one at a time and refuses others (61121).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// After this time a start is no longer waited for, even if its end was not seen.
const LONGEST: Duration = Duration::from_secs(60);

/// See the module's own comment.
#[derive(Default)]
pub struct Starts {
    /// By endpoint and organization: the pipeline, and since when.
    under_way: Mutex<HashMap<(String, String), (String, Instant)>>,
}

impl Starts {
    /// Registers a start, of which one is allowed at a time.
    ///
    /// # Errors
    /// The pipeline that is being started already.
    pub fn begin(&self, endpoint: &str, org: &str, id: &str, now: Instant) -> Result<(), String> {
        let mut under_way = self.under_way.lock();
        under_way.retain(|_, (_, since)| now.saturating_duration_since(*since) < LONGEST);
        let place = under_way.entry((endpoint.to_owned(), org.to_owned())).or_insert_with(|| (id.to_owned(), now));
        if place.0 == id {
            place.1 = now;
            return Ok(());
        }
        Err(place.0.clone())
    }

    /// Removes the start: the pipeline runs, or its start was refused.
    pub fn ended(&self, endpoint: &str, org: &str, id: &str) {
        let mut under_way = self.under_way.lock();
        under_way.retain(|(e, o), (i, _)| !(e == endpoint && o == org && i == id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e10_one_start_at_a_time_per_organization() {
        let (starts, now) = (Starts::default(), Instant::now());
        assert_eq!(starts.begin("e", "o", "a", now), Ok(()));
        assert_eq!(starts.begin("e", "o", "a", now), Ok(()), "again, after a lost answer");
        assert_eq!(starts.begin("e", "o", "b", now), Err("a".to_owned()));
        assert_eq!(starts.begin("e", "other", "b", now), Ok(()));
        starts.ended("e", "o", "a");
        assert_eq!(starts.begin("e", "o", "b", now), Ok(()));
        assert_eq!(starts.begin("e", "o", "c", now + LONGEST), Ok(()), "a start that never ends blocks nobody for ever");
    }
}
