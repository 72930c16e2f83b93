//! The operator's own HTTP endpoint, which tests find by its log.

use testbed::{Operator, http_get};
use tokio::time::timeout;

use crate::support::world::LIMIT;

/// Where probes and metrics are served.
pub fn address(operator: &Operator) -> String {
    let log = operator.log();
    let address = log.lines().find_map(|line| line.split("probes and metrics address=").nth(1));
    address.unwrap_or_else(|| panic!("expected the log to tell the address of the metrics: {log}")).trim().to_owned()
}

/// The answer to this path, with its head.
pub async fn get(operator: &Operator, path: &str) -> String {
    timeout(LIMIT, http_get(&address(operator), path)).await.unwrap_or_else(|_| panic!("expected an answer to {path} within {LIMIT:?}"))
}

pub async fn metrics(operator: &Operator) -> String {
    get(operator, "/metrics").await
}
