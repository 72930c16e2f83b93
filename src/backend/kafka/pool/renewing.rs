//! A client that replaces itself. Another caller may retire a shared client between two of our calls. That says nothing about the brokers,
//! and nothing was sent of a call that a retired client refuses: it is made on a new client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::{ClientPool, PoolKey};
use crate::backend::kafka::admin::*;
use crate::backend::kafka::security::Security;
use crate::clock::mono;

/// How many clients one call tries at most: if each is retired at once, something else is wrong.
const RENEWALS: u32 = 3;

pub struct RenewingClient {
    current: Mutex<Arc<dyn Admin>>,
    clients: Arc<ClientPool>,
    key: PoolKey,
    group: String,
    security: Security,
}

impl RenewingClient {
    /// # Errors
    /// As [`ClientPool::get`].
    pub fn new(
        clients: &Arc<ClientPool>,
        key: PoolKey,
        group: &str,
        security: &Security,
        now: std::time::Instant,
    ) -> Result<Self, AdminError> {
        let current = Mutex::new(clients.get(&key, group, security, now)?);
        Ok(Self { current, clients: Arc::clone(clients), key, group: group.to_owned(), security: security.clone() })
    }

    fn current(&self) -> Arc<dyn Admin> {
        Arc::clone(&self.current.lock())
    }

    fn renew(&self) -> Result<Arc<dyn Admin>, AdminError> {
        let fresh = self.clients.get(&self.key, &self.group, &self.security, mono())?;
        *self.current.lock() = Arc::clone(&fresh);
        Ok(fresh)
    }
}

macro_rules! on_one_that_takes_it {
    ($self:ident, $client:ident => $call:expr) => {
        Box::pin(async move {
            let mut $client = $self.current();
            for _ in 0..RENEWALS {
                match $call.await {
                    Err(AdminError::Retired) => $client = $self.renew()?,
                    answer => return answer,
                }
            }
            $call.await
        })
    };
}

impl Admin for RenewingClient {
    fn is_retired(&self) -> bool {
        self.current().is_retired()
    }

    fn failure(&self) -> Option<Failure> {
        self.current().failure()
    }

    fn has_answered(&self) -> bool {
        self.current().has_answered()
    }

    fn retire(&self) {
        self.current().retire();
    }

    fn last_broker_error(&self) -> Option<BrokerError> {
        self.current().last_broker_error()
    }

    fn process_ended(&self) -> BoxFuture<'static, ()> {
        self.current().process_ended()
    }

    fn describe_cluster(&self, deadline: Duration) -> AdminFuture<'_, ClusterDescription> {
        on_one_that_takes_it!(self, client => client.describe_cluster(deadline))
    }

    fn describe_topics<'a>(&'a self, topics: &'a [String], deadline: Duration) -> AdminFuture<'a, Vec<TopicDescription>> {
        on_one_that_takes_it!(self, client => client.describe_topics(topics, deadline))
    }

    fn identify_group<'a>(&'a self, group: &'a str, deadline: Duration) -> AdminFuture<'a, GroupIdentity> {
        on_one_that_takes_it!(self, client => client.identify_group(group, deadline))
    }

    fn list_consumer_group_offsets<'a>(
        &'a self,
        group: &'a str,
        partitions: Option<&'a [TopicPartition]>,
        require_stable: bool,
        deadline: Duration,
    ) -> AdminFuture<'a, BTreeMap<TopicPartition, CommittedOffset>> {
        on_one_that_takes_it!(self, client => client.list_consumer_group_offsets(group, partitions, require_stable, deadline))
    }

    fn list_offsets<'a>(
        &'a self,
        wanted: &'a [(TopicPartition, OffsetSpec)],
        isolation: IsolationLevel,
        deadline: Duration,
    ) -> AdminFuture<'a, PerPartition<ListedOffset>> {
        on_one_that_takes_it!(self, client => client.list_offsets(wanted, isolation, deadline))
    }

    fn alter_consumer_group_offsets<'a>(
        &'a self,
        group: &'a str,
        offsets: &'a [OffsetCommit],
        deadline: Duration,
    ) -> AdminFuture<'a, PerPartition<()>> {
        // Not renewed: the sender waits for the end of exactly the client that it sent with (see `Admin::process_ended`).
        let client = self.current();
        Box::pin(async move { client.alter_consumer_group_offsets(group, offsets, deadline).await })
    }

    fn delete_consumer_group_offsets<'a>(
        &'a self,
        group: &'a str,
        partitions: &'a [TopicPartition],
        deadline: Duration,
    ) -> AdminFuture<'a, PerPartition<()>> {
        let client = self.current();
        Box::pin(async move { client.delete_consumer_group_offsets(group, partitions, deadline).await })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::backend::kafka::Kafka;
    use crate::backend::kafka::client::{AdminClient, Bounds, Processes};
    use crate::endpoints::EndpointPolicy;
    use stream_pipeline_api::Reason;
    use stream_pipeline_core::KafkaGroup;

    #[tokio::test]
    async fn d4_that_somebody_elses_call_retired_the_client_is_never_told_as_a_cause() {
        let (nobody, security) = (vec!["127.0.0.1:1".to_owned()], Security::default());
        let policy = Arc::new(EndpointPolicy::parse(&["127.0.0.0/8"], &[]).unwrap());
        // This program answers nothing: what counts is that the call was made on a new client.
        let processes = Processes::new("/bin/false".into(), Bounds { most: 8, memory: None }, policy, Arc::default()).unwrap();
        let made = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&made);
        let open = move |at: (&str, &[String]), group: &str, security: &Security| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(Arc::new(AdminClient::new(at, group, "test", security, Arc::clone(&processes))?) as Arc<dyn Admin>)
        };
        let clients = Arc::new(ClientPool::opened_by(Box::new(open), Duration::from_secs(1)));
        let group = KafkaGroup { bootstrap: nobody.clone(), group: "g".to_owned(), tls: None, sasl: None, workloads: Vec::new() };
        let kafka = Kafka::connect(&clients, "n", &group, &security, Duration::from_millis(300), mono()).unwrap();
        let key = PoolKey::new("n", &nobody, &security);
        clients.get(&key, "g", &security, mono()).unwrap().retire();
        let cause = kafka.activity().await.unwrap_err();
        assert_eq!(cause.reason, Reason::UnexpectedAnswer, "{}", cause.message);
        assert!(cause.message.starts_with("the process of the Kafka client ended (exit code 1)"), "{}", cause.message);
        assert_eq!(made.load(Ordering::Relaxed), 2, "it is asked on a new one");
    }
}
