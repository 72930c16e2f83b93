//! The stream processing API of EnOS, as its manual describes it, served by this process.
//!
//! It shares nothing with the operator's client: routes, envelopes and the check of signatures are its own reading of the
//! manual. Where the manual is silent, [`Options`] choose.

mod answer;
mod auth;
mod call;
mod control;
mod design;
mod effects;
mod fault;
mod inner;
mod options;
mod pipeline;
mod request;
mod server;
mod spoil;
mod standalone;
mod tls;
mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use auth::{encryption, signature};
pub use call::{Call, Received};
pub use fault::{Fault, Held, Kind, When};
use inner::{Inner, Status};
pub use options::{
    ACCESS_KEY, Application, Certificate, ExpiredToken, NotRunning, ORGANISATION, Options, Organisation, OtherState, SECRET_KEY,
};
pub use pipeline::{Backing, Pipeline, ResetTo};
pub use standalone::{standalone, standalone_options};

/// A platform that answers on a port of this machine. Dropping it ends it.
pub struct Simulator {
    inner: Arc<Inner>,
    endpoint: String,
    ca_pem: String,
    server: Option<JoinHandle<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Simulator {
    /// On this runtime.
    ///
    /// # Panics
    /// When the port is taken.
    pub async fn start(options: Options) -> Self {
        Self::try_start(options).await.expect("the simulator starts")
    }

    pub async fn try_start(options: Options) -> Result<Self> {
        let listener = listen(options.port.unwrap_or_default()).await?;
        let port = listener.local_addr()?.port();
        let tls = if options.tls { Some(tls::acceptor(options.certificate)?) } else { None };
        let endpoint = match tls {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://127.0.0.1:{port}"),
        };
        let (acceptor, ca_pem) = tls.unzip();
        let inner = Arc::new(Inner::new(options));
        let server = tokio::spawn(server::serve(Arc::clone(&inner), listener, acceptor));
        tokio::spawn(inner::sample_regularly(Arc::clone(&inner)));
        Ok(Self { inner, endpoint, ca_pem: ca_pem.unwrap_or_default(), server: Some(server), thread: None })
    }

    /// On a runtime and a thread of its own.
    pub fn start_in_thread(options: Options) -> Result<Self> {
        let (started, result) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error.into()))),
            };
            let simulator = runtime.block_on(Self::try_start(options));
            let inner = simulator.as_ref().ok().map(|s| Arc::clone(&s.inner));
            // Its starter waits for this.
            let _ = started.send(simulator);
            if let Some(inner) = inner {
                runtime.block_on(inner.ended());
            }
            // A broker that is gone may hold a call up.
            runtime.shutdown_timeout(Duration::from_secs(1));
        });
        let mut simulator = result.recv().context("the simulator's thread")??;
        simulator.thread = Some(thread);
        Ok(simulator)
    }

    /// Ends it and waits until nobody listens any more.
    pub async fn end(mut self) {
        self.inner.end();
        if let Some(server) = self.server.take() {
            let _ = server.await;
        }
    }

    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// The authority to trust; empty without TLS.
    pub fn ca_pem(&self) -> String {
        self.ca_pem.clone()
    }

    /// What a shell needs to call it, as the first application of the first organisation.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let options = &self.inner.options;
        let mut env = vec![("ENOS_ENDPOINT", self.endpoint())];
        env.extend(options.organisations.first().map(|o| ("ENOS_ORG", o.id.clone())));
        if let Some(application) = options.applications.first() {
            env.push(("ENOS_ACCESS_KEY", application.access_key.clone()));
            env.push(("ENOS_SECRET_KEY", application.secret_key.clone()));
        }
        env
    }

    /// # Panics
    /// When there is one of this id, or its group has no broker.
    pub fn add(&self, pipeline: Pipeline) {
        self.inner.add(pipeline).expect("the pipeline can be added");
    }

    pub fn remove(&self, id: &str) {
        self.inner.remove(id);
    }

    /// # Panics
    /// When there is none of this id; so do the following.
    pub fn status(&self, id: &str) -> String {
        self.look(id).status
    }

    /// Something happened on the platform. A consumer runs from here on if, and only if, the status is `RUNNING`.
    pub fn set_status(&self, id: &str, status: &str) {
        self.look(id);
        self.inner.set_status(id, status);
    }

    /// Resets that took effect.
    pub fn resets(&self, id: &str) -> u64 {
        self.look(id).resets
    }

    /// Resets that found the pipeline neither paused nor stopped, and were refused.
    pub fn refused_resets(&self, id: &str) -> u64 {
        self.look(id).refused_resets
    }

    /// The bodies of the starts that took effect.
    pub fn starts(&self, id: &str) -> Vec<Value> {
        self.look(id).starts
    }

    /// Lets so many records arrive in the log of a series.
    pub fn produce(&self, id: &str, count: i64) {
        self.look(id);
        self.inner.produce(id, count);
    }

    /// Offset and lag, in whatever state.
    pub async fn position(&self, id: &str) -> (i64, i64) {
        self.inner.position(id).await.expect("the position can be read")
    }

    /// Takes a point of offset-lag now, beside those of [`Options::lag_sample`].
    pub async fn sample(&self, id: &str) {
        self.inner.sample(id).await.expect("the position can be read");
    }

    fn look(&self, id: &str) -> Status {
        self.inner.status(id).expect("there is a pipeline of this id")
    }

    pub fn fault(&self, fault: Fault) {
        self.inner.faults.add(fault);
    }

    pub fn clear_faults(&self) {
        self.inner.faults.clear();
    }

    /// Stops the next such call until it is let go.
    pub fn hold(&self, call: Call, when: When) -> Held {
        self.inner.faults.hold(call, when, None)
    }

    pub fn hold_pipeline(&self, call: Call, when: When, pipeline: &str) -> Held {
        self.inner.faults.hold(call, when, Some(pipeline))
    }

    /// Lets all go on that [`Kind::Hang`] has stopped.
    pub fn release_hangs(&self) {
        self.inner.faults.release_hangs();
    }

    /// So many calls hang.
    pub fn hanging(&self) -> usize {
        self.inner.faults.hanging()
    }

    /// From now on every token given so far has expired.
    pub fn expire_tokens(&self) {
        self.inner.tokens.expire();
    }

    /// From now on nobody knows the tokens given so far.
    pub fn revoke_tokens(&self) {
        self.inner.tokens.revoke();
    }

    /// Every call that came, in order.
    pub fn calls(&self) -> Vec<Received> {
        self.inner.log.calls()
    }

    pub fn count(&self, call: Call) -> usize {
        self.calls().iter().filter(|r| r.call == call).count()
    }

    pub fn clear_calls(&self) {
        self.inner.log.clear();
    }

    /// The most calls that were being answered at once.
    pub fn max_in_flight(&self) -> usize {
        self.inner.log.max_in_flight()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.inner.end();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// On a given port, the one before may still be ending.
async fn listen(port: u16) -> Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let begun = Instant::now();
    loop {
        match TcpListener::bind(address).await {
            Err(error) if port != 0 && error.kind() == std::io::ErrorKind::AddrInUse && begun.elapsed() < Duration::from_secs(2) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            bound => return bound.with_context(|| format!("listening on {address}")),
        }
    }
}
