//! How a process makes its calls: to the API server as the service behind a `kube::Client`, to the brokers as the Kafka backend's port.

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http;
use futures::future::BoxFuture;
use kube::client::Body;
use serde_json::Value;
use stream_pipeline_operator::backend::kafka::admin::Admin;
use stream_pipeline_operator::backend::kafka::admin::*;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use crate::api_server::{Request, failure};
use crate::breaks::Break;
use crate::faults::Twist;
use crate::world::{Link, World, lock};

/// The API server.
pub struct ToApiServer(pub Link);

impl tower::Service<http::Request<Body>> for ToApiServer {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let link = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect_bytes().await.expect("a body in memory");
            let accept = parts.headers.get("accept").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
            let request = Request {
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                accept,
                called_at: lock(&link.world).at(),
                body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            };
            let process = Arc::clone(&link.process);
            let unavailable = |_| failure(500, "InternalError", "etcdserver: request timed out");
            let serve = move |world: &mut World, _| world.serve(&process, &request);
            let name = serve_name(&parts.method, parts.uri.path());
            let (code, body) = match link.carry(name, serve, unavailable, None).await {
                Ok(reply) => reply,
                Err(_) => pending().await,
            };
            let response = http::Response::builder().status(code).header("content-type", "application/json");
            Ok(response.body(Body::from(serde_json::to_vec(&body).expect("JSON"))).expect("a response"))
        })
    }
}

fn serve_name(method: &http::Method, path: &str) -> String {
    Request {
        method: method.to_string(),
        path: path.to_owned(),
        query: String::new(),
        accept: String::new(),
        called_at: Duration::ZERO,
        body: Value::Null,
    }
    .named()
}

/// One client of the brokers, as disposable as those with librdkafka.
pub struct ToBrokers {
    link: Link,
    shared: Arc<Handle>,
}

#[derive(Default)]
struct Handle {
    /// A break: a call in it is delivered however long ago it was given up.
    outlives_its_deadlines: bool,
    retired: AtomicBool,
    in_flight: AtomicUsize,
    ended: Notify,
}

impl Handle {
    /// Resolves when no call of this client can be sent any more.
    async fn given_up(self: Arc<Self>) {
        if self.outlives_its_deadlines {
            pending::<()>().await;
        }
        self.destroyed().await;
    }

    fn is_destroyed(&self) -> bool {
        self.retired.load(Ordering::Relaxed) && self.in_flight.load(Ordering::Relaxed) == 0
    }

    async fn destroyed(self: Arc<Self>) {
        loop {
            let ended = self.ended.notified();
            if self.is_destroyed() {
                return;
            }
            ended.await;
        }
    }

    fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.ended.notify_waiters();
    }
}

impl ToBrokers {
    pub fn new(link: Link) -> Self {
        let outlives_its_deadlines = lock(&link.world).breaks == Some(Break::ClientOutlivesItsDeadline);
        let shared = Arc::new(Handle { outlives_its_deadlines, ..Handle::default() });
        Self { link: Link { connection: Arc::default(), ..link }, shared }
    }

    fn call<T: Send + 'static>(
        &self,
        call: &'static str,
        deadline: Duration,
        serve: impl Fn(&mut World, Twist) -> Result<T, AdminError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, AdminError>> {
        let shared = Arc::clone(&self.shared);
        if shared.retired.load(Ordering::Relaxed) {
            return Box::pin(async { Err(AdminError::Retired) });
        }
        shared.in_flight.fetch_add(1, Ordering::Relaxed);
        let lost = move |_| Err(AdminError::Kafka { call, code: KafkaCode::TRANSPORT, detail: "connection lost".to_owned() });
        let given_up = Box::pin(Arc::clone(&shared).given_up());
        let answer = self.link.carry(format!("kafka {call}"), serve, lost, Some(given_up));
        let (tx, rx) = oneshot::channel();
        let (connection, gone) = (Arc::clone(&self.link.connection), self.gone(call));
        // Runs as the client's own task: it keeps the deadline even if nobody waits for the answer any more.
        tokio::spawn(async move {
            let answer = async {
                match answer.await {
                    Ok(answer) => answer,
                    Err(_) => pending().await,
                }
            };
            let result = tokio::select! {
                biased;
                () = connection.died() => Ok(Err(gone)),
                result = timeout(deadline, answer) => result,
            };
            if !matches!(result, Ok(Ok(_) | Err(AdminError::Kafka { .. }))) {
                shared.retired.store(true, Ordering::Relaxed);
            }
            shared.in_flight.fetch_sub(1, Ordering::Relaxed);
            shared.ended.notify_waiters();
            let late = Err(AdminError::DeadlineExceeded { call, after: deadline, handed_over: true, broker: None });
            // Fails only if the caller has gone.
            let _ = tx.send(result.unwrap_or(late));
        });
        Box::pin(async move { rx.await.unwrap_or(Err(AdminError::ClientGone { call, how: "dropped".to_owned() })) })
    }
}

impl ToBrokers {
    fn gone(&self, call: &'static str) -> AdminError {
        match lock(&self.link.world).breaks {
            Some(Break::DeadClientTakenForSilent) => AdminError::Retired,
            _ => AdminError::ClientGone { call, how: "signal 9".to_owned() },
        }
    }
}

impl Drop for ToBrokers {
    fn drop(&mut self) {
        self.shared.retire();
    }
}

impl Admin for ToBrokers {
    fn is_retired(&self) -> bool {
        self.shared.retired.load(Ordering::Relaxed)
    }

    fn failure(&self) -> Option<Failure> {
        None
    }

    fn has_answered(&self) -> bool {
        true
    }

    fn retire(&self) {
        self.shared.retire();
    }

    fn last_broker_error(&self) -> Option<BrokerError> {
        None
    }

    fn process_ended(&self) -> BoxFuture<'static, ()> {
        Box::pin(Arc::clone(&self.shared).destroyed())
    }

    fn describe_cluster(&self, deadline: Duration) -> BoxFuture<'_, Result<ClusterDescription, AdminError>> {
        self.call("DescribeCluster", deadline, |world, _| Ok(ClusterDescription { cluster_id: world.broker.cluster.clone() }))
    }

    fn describe_topics<'a>(&'a self, topics: &'a [String], deadline: Duration) -> BoxFuture<'a, Result<Vec<TopicDescription>, AdminError>> {
        if topics.is_empty() {
            return Box::pin(async { Ok(Vec::new()) });
        }
        let (topics, process) = (topics.to_vec(), Arc::clone(&self.link.process));
        self.call("DescribeTopics", deadline, move |world, _| {
            let described = world.broker.describe_topics(&topics);
            world.saw_topics(&process, &described);
            Ok(described)
        })
    }

    fn identify_group<'a>(&'a self, group: &'a str, deadline: Duration) -> BoxFuture<'a, Result<GroupIdentity, AdminError>> {
        let group = group.to_owned();
        self.call("DescribeConsumerGroups", deadline, move |world, _| Ok(world.broker.identify_group(&group)))
    }

    fn list_consumer_group_offsets<'a>(
        &'a self,
        group: &'a str,
        partitions: Option<&'a [TopicPartition]>,
        require_stable: bool,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<BTreeMap<TopicPartition, CommittedOffset>, AdminError>> {
        if partitions.is_some_and(<[_]>::is_empty) {
            return Box::pin(async { Ok(BTreeMap::new()) });
        }
        let (group, partitions, process) = (group.to_owned(), partitions.map(<[_]>::to_vec), Arc::clone(&self.link.process));
        self.call("ListConsumerGroupOffsets", deadline, move |world, _| {
            let found = world.broker.committed(&group, partitions.as_deref(), require_stable);
            world.saw_offsets(&process, &group, partitions.as_deref().unwrap_or_default());
            Ok(found)
        })
    }

    fn list_offsets<'a>(
        &'a self,
        wanted: &'a [(TopicPartition, OffsetSpec)],
        _: IsolationLevel,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<PerPartition<ListedOffset>, AdminError>> {
        let wanted = wanted.to_vec();
        self.call("ListOffsets", deadline, move |world, _| Ok(world.broker.list_offsets(&wanted)))
    }

    fn alter_consumer_group_offsets<'a>(
        &'a self,
        group: &'a str,
        offsets: &'a [OffsetCommit],
        deadline: Duration,
    ) -> BoxFuture<'a, Result<PerPartition<()>, AdminError>> {
        if self.is_retired() {
            return Box::pin(async { Err(AdminError::Retired) });
        }
        let changes: Vec<_> = offsets.iter().map(|c| (TopicPartition::new(&c.topic, c.partition), Some(c.offset))).collect();
        if lock(&self.link.world).holds_back(&self.link.process, &changes) {
            return Box::pin(async { Ok(changes.into_iter().map(|(at, _)| (at, Ok(()))).collect()) });
        }
        let send = lock(&self.link.world).sends(&self.link.process, group, &changes);
        let (group, offsets) = (group.to_owned(), offsets.to_vec());
        self.call("AlterConsumerGroupOffsets", deadline, move |world, twist| {
            let mut taken = offsets.clone();
            let refused = if matches!(twist, Twist::RefuseLast) { taken.pop() } else { None };
            let mut results = world.lands(send, &group, |broker| broker.alter(&group, &taken));
            // TOPIC_AUTHORIZATION_FAILED.
            results.extend(refused.map(|c| (TopicPartition::new(&c.topic, c.partition), Err(KafkaCode(29)))));
            Ok(results)
        })
    }

    fn delete_consumer_group_offsets<'a>(
        &'a self,
        group: &'a str,
        partitions: &'a [TopicPartition],
        deadline: Duration,
    ) -> BoxFuture<'a, Result<PerPartition<()>, AdminError>> {
        if self.is_retired() {
            return Box::pin(async { Err(AdminError::Retired) });
        }
        let changes: Vec<_> = partitions.iter().map(|at| (at.clone(), None)).collect();
        let send = lock(&self.link.world).sends(&self.link.process, group, &changes);
        let (group, partitions) = (group.to_owned(), partitions.to_vec());
        let call = "DeleteConsumerGroupOffsets";
        self.call(call, deadline, move |world, twist| {
            let mut taken = partitions.clone();
            let refused = if matches!(twist, Twist::RefuseLast) { taken.pop() } else { None };
            let mut missing = None;
            let mut results = world.lands(send, &group, |broker| match broker.delete(&group, &taken) {
                Ok(results) => results,
                Err(code) => {
                    missing = Some(code);
                    Vec::new()
                }
            });
            if let Some(code) = missing {
                return Err(AdminError::Kafka { call, code, detail: String::new() });
            }
            results.extend(refused.map(|at| (at, Err(KafkaCode(29)))));
            Ok(results)
        })
    }
}
