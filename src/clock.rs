//! Where the path of a pass takes its time from. Waits are measured on tokio's clock, which is the system's monotonic clock
//! wherever time is not paused; times that people see come from whatever the process was given.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use crate::domain::Now;

/// See the module.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Clock {
    pub fn new(wall: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { wall: Arc::new(wall) }
    }

    pub fn now(&self) -> Now {
        Now { mono: mono(), wall: self.wall() }
    }

    pub fn wall(&self) -> Timestamp {
        (self.wall)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(Timestamp::now)
    }
}

pub fn mono() -> Instant {
    tokio::time::Instant::now().into_std()
}
