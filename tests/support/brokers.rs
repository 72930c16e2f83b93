//! Brokers of a test's own.

use std::sync::Arc;

use anyhow::Result;
use testbed::Broker;

use crate::support::world::World;

/// Starts servers on a thread that may be blocked.
pub async fn start<T: Send + 'static>(begin: impl FnOnce() -> Result<T> + Send + 'static) -> T {
    tokio::task::spawn_blocking(begin).await.expect("the start does not panic").expect("the servers start")
}

/// Kills a broker where it still runs, and starts it again with what it had.
pub async fn restart(broker: &Arc<Broker>) {
    let broker = Arc::clone(broker);
    start(move || broker.restart()).await;
}

/// A broker of the test's own, which its objects name from now on. `advertise` is the address that it tells its clients.
pub async fn own(world: &mut World, advertise: Option<String>) -> Arc<Broker> {
    let parts = &world.testbed.parts;
    let broker = start(move || Broker::start_with(parts, |_| advertise.clone())).await;
    world.bootstrap = broker.bootstrap();
    Arc::new(broker)
}
