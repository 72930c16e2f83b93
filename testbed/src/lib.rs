//! The real servers behind the demo and the tests: a Kubernetes API server and a Kafka broker, started by the process
//! that needs them and ended with it. No container, no root, no mock; and, of the platform that cannot be run here, a simulator.

mod broker;
mod cluster;
pub mod consumer;
pub mod enos;
pub mod hostile_broker;
pub mod kafka;
mod kept_port;
pub mod offsets_topic;
mod operator;
mod parts;
pub mod pods;
mod process;
pub mod proxy;
pub mod reference_tool;
mod rights;
mod scratch;
pub mod secured;
pub mod trap;
pub mod wire;

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub use broker::Broker;
pub use cluster::{Cluster, RELEASE, SYSTEM_NAMESPACE};
pub use kept_port::KeptPort;
pub use operator::{Operator, Program};
pub use parts::{Parts, ensure, ensure_node};
pub use process::{spawn, tie_to_parent};
pub use scratch::{Scratch, base};

/// A control plane and a broker.
pub struct Testbed {
    /// For the shell only: tests start their own. It ends before the broker that its consumers read from.
    enos: Option<enos::Simulator>,
    pub cluster: Cluster,
    pub broker: Broker,
    pub parts: Parts,
    tools: Scratch,
}

/// The testbed of this process, started at the first call.
///
/// # Panics
/// When it cannot be started; the message says which server, and shows the end of its log.
pub async fn start() -> &'static Testbed {
    static TESTBED: OnceLock<Result<Testbed, String>> = OnceLock::new();
    // A failure is kept too: it is tried once, not once a test.
    let started = tokio::task::spawn_blocking(|| TESTBED.get_or_init(|| Testbed::start().map_err(|e| format!("{e:#}"))));
    match started.await.expect("the start does not panic") {
        Ok(testbed) => testbed,
        Err(error) => panic!("the testbed did not start: {error}"),
    }
}

impl Testbed {
    pub fn start() -> Result<Self> {
        Self::start_behind(&[])
    }

    /// With a broker as of [`Broker::start_behind`].
    pub fn start_behind(addresses: &[String]) -> Result<Self> {
        let parts = ensure()?;
        let (cluster, broker) = std::thread::scope(|scope| {
            let broker = scope.spawn(|| Broker::start_behind(&parts, addresses));
            let cluster = Cluster::start(&parts).and_then(|cluster| cluster.install().map(|()| cluster));
            (cluster, broker.join().expect("the broker's start does not panic"))
        });
        let tools = Scratch::new("tools")?;
        broker::write_tools(tools.path(), &parts)?;
        Ok(Self { cluster: cluster?, broker: broker?, parts, enos: None, tools })
    }

    /// Ends its servers, for who shares it.
    pub fn stop(&self) {
        self.cluster.stop();
        self.broker.kill();
    }

    /// With a simulated EnOS beside it, whose pipelines may be backed by groups of the broker. Its keys are made up: those
    /// of the caller's environment may be real, and these are written to a file.
    pub fn with_enos(mut self) -> Result<Self> {
        let options = enos::Options { bootstrap: Some(self.bootstrap()), ..enos::Options::default() };
        self.enos = Some(enos::standalone(options)?);
        Ok(self)
    }

    pub fn bootstrap(&self) -> String {
        self.broker.bootstrap()
    }

    /// A client of its own: a client belongs to the runtime it was made on.
    pub async fn client(&self) -> kube::Client {
        let config = kube::config::Kubeconfig::read_from(self.cluster.kubeconfig()).expect("the kubeconfig was written");
        let config = kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default())
            .await
            .expect("the kubeconfig is whole");
        kube::Client::try_from(config).expect("a client is made")
    }

    /// A fresh namespace, `<test>-<number>`.
    pub fn namespace(&self, test: &str) -> Namespace<'_> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}-{}", test.replace('_', "-"), std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let output = self.kubectl(&["create", "namespace", &name]);
        assert!(output.status.success(), "creating namespace {name}: {}", String::from_utf8_lossy(&output.stderr));
        Namespace { testbed: self, name }
    }

    pub fn kubectl(&self, args: &[&str]) -> Output {
        self.cluster.kubectl(args).expect("kubectl is there")
    }

    /// Kafka's command-line tools.
    pub fn kafka_bin(&self) -> &Path {
        self.tools.path()
    }

    pub fn kafka_consumer_groups(&self, args: &[&str]) -> String {
        let tool = self.tools.path().join("kafka-consumer-groups.sh");
        let output = Command::new(tool).args(["--bootstrap-server", &self.bootstrap()]).args(args).output().expect("the tool is there");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// All groups of every type.
    pub fn kafka_groups(&self) -> String {
        let tool = self.tools.path().join("kafka-groups.sh");
        let output = Command::new(tool).args(["--bootstrap-server", &self.bootstrap(), "--list"]).output().expect("the tool is there");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A Kafka Streams application that uses the streams group protocol (KIP-1071).
    pub fn streams_application(&self, id: &str, topic: &str) -> Command {
        let mut command = broker::java(&self.parts.jars);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/StreamsApp.java")).args([&self.bootstrap(), id, topic]);
        command
    }

    /// What a shell needs to work with it.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let path = std::env::var("PATH").unwrap_or_default();
        let show = |p: &Path| p.display().to_string();
        let mut env = vec![
            ("KUBECONFIG", show(&self.cluster.kubeconfig())),
            ("OPERATOR_KUBECONFIG", show(&self.cluster.operator_kubeconfig())),
            ("KAFKA_BOOTSTRAP", self.bootstrap()),
            ("KAFKA_BIN", show(self.kafka_bin())),
            ("PATH", format!("{}:{}:{path}", show(&self.parts.bin), show(self.kafka_bin()))),
        ];
        env.extend(self.enos.iter().flat_map(enos::Simulator::env));
        env
    }

    pub fn write_env(&self, to: &Path) -> Result<PathBuf> {
        fs::create_dir_all(to)?;
        let lines: Vec<_> = self.env().into_iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
        let file = to.join("env");
        fs::write(&file, lines.concat()).context("writing the env file")?;
        Ok(file)
    }
}

/// A namespace that is deleted when the test ends.
pub struct Namespace<'a> {
    testbed: &'a Testbed,
    name: String,
}

impl Namespace<'_> {
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        let _ = self.testbed.cluster.kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
        // Nobody else ends the pods of a node that is not there, and the namespace would wait for them.
        if pods::played(&self.name) {
            let args = ["delete", "pods", "--all", "--namespace", &self.name, "--force", "--grace-period=0", "--wait=false"];
            let _ = self.testbed.cluster.kubectl(&args);
        }
    }
}

/// Waits for a condition, and says what it waited for when it does not come.
///
/// # Panics
/// After `limit`, with `what` and the last thing seen.
pub async fn eventually<T, F, Fut>(what: &str, limit: Duration, mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let begun = Instant::now();
    loop {
        // A look that hangs is a thing seen, too.
        let seen = tokio::time::timeout(limit, look()).await;
        match seen.unwrap_or_else(|_| Err(format!("no answer within {limit:?}"))) {
            Ok(value) => return value,
            Err(seen) if begun.elapsed() > limit => panic!("waited {limit:?} for {what}; last seen: {seen}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// The raw answer to one HTTP GET.
///
/// # Panics
/// When nobody answers.
pub async fn http_get(address: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("somebody listens");
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.expect("a request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}
