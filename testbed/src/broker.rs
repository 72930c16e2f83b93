//! Kafka brokers (KRaft) of their own: one, or the nodes of one cluster.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;

use crate::parts::Parts;
use crate::process::{Server, free_ports, retrying};
use crate::scratch::Scratch;

const TOOLS: [(&str, &str); 10] = [
    ("kafka-acls.sh", "org.apache.kafka.tools.AclCommand"),
    ("kafka-transactions.sh", "org.apache.kafka.tools.TransactionsCommand"),
    ("kafka-consumer-groups.sh", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    ("kafka-groups.sh", "org.apache.kafka.tools.GroupsCommand"),
    ("kafka-topics.sh", "org.apache.kafka.tools.TopicCommand"),
    ("kafka-console-producer.sh", "org.apache.kafka.tools.ConsoleProducer"),
    ("kafka-producer-perf-test.sh", "org.apache.kafka.tools.ProducerPerformance"),
    ("kafka-console-consumer.sh", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    ("kafka-console-share-consumer.sh", "org.apache.kafka.tools.consumer.ConsoleShareConsumer"),
    ("kafka-configs.sh", "kafka.admin.ConfigCommand"),
];

/// A broker that ends with its owner.
pub struct Broker {
    server: Mutex<Option<Server>>,
    dir: Scratch,
    jars: PathBuf,
    node: Node,
}

/// One of the nodes of a cluster.
struct Node {
    id: usize,
    /// Of its cluster.
    cluster: String,
    /// The ports of all nodes' controllers.
    controllers: Vec<u16>,
    port: u16,
    extra: Extra,
}

/// What a broker has beside its plain listener and the settings of every broker.
#[derive(Default)]
pub(crate) struct Extra {
    pub(crate) listeners: Vec<Listener>,
    /// More lines of server.properties.
    pub(crate) properties: String,
    /// More options of its JVM.
    pub(crate) jvm: Vec<String>,
}

pub(crate) struct Listener {
    pub(crate) name: String,
    /// PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
    pub(crate) protocol: &'static str,
    pub(crate) port: u16,
    /// What clients are told to connect to.
    pub(crate) advertised: String,
}

impl Broker {
    pub fn start(parts: &Parts) -> Result<Self> {
        Self::start_behind(parts, &[])
    }

    /// `advertise` may give, for the port of a second listener, the address that one advertises.
    pub fn start_with(parts: &Parts, advertise: impl Fn(u16) -> Option<String>) -> Result<Self> {
        Self::start_extended(parts, 1, |ports| {
            let addresses: Vec<_> = advertise(ports[0]).into_iter().collect();
            Ok(Extra { listeners: behind(&addresses, ports), ..Extra::default() })
        })
    }

    /// With one more listener for each of these addresses, which that one advertises.
    pub fn start_behind(parts: &Parts, addresses: &[String]) -> Result<Self> {
        Self::start_extended(parts, addresses.len(), |ports| Ok(Extra { listeners: behind(addresses, ports), ..Extra::default() }))
    }

    /// For thousands of partitions: their files are small.
    pub fn start_wide(parts: &Parts) -> Result<Self> {
        let properties = "log.index.size.max.bytes=4096\n";
        Self::start_extended(parts, 0, |_| Ok(Extra { properties: properties.to_owned(), ..Extra::default() }))
    }

    /// `extra` is given so many free ports; it is asked again when one was taken in between.
    pub(crate) fn start_extended(parts: &Parts, ports: usize, extra: impl Fn(&[u16]) -> Result<Extra>) -> Result<Self> {
        retrying(|| {
            let ports = free_ports(2 + ports)?;
            let cluster = cluster_id();
            let broker =
                Self::prepare(parts, Node { id: 1, cluster, controllers: vec![ports[1]], port: ports[0], extra: extra(&ports[2..])? })?;
            broker.run()?;
            Ok(broker)
        })
    }

    /// The nodes of one cluster, each of them behind one of these addresses. Its own topics are on three of them; a node that
    /// says nothing for three seconds loses what it leads.
    pub fn start_cluster(parts: &Parts, addresses: &[String]) -> Result<Vec<Self>> {
        retrying(|| {
            let all = free_ports(3 * addresses.len())?;
            let (controllers, ports) = all.split_at(addresses.len());
            let cluster = cluster_id();
            let start = |(n, address): (usize, &String)| {
                let ports = &ports[2 * n..];
                let extra = Extra {
                    listeners: behind(std::slice::from_ref(address), &ports[1..]),
                    properties: "broker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500\n".to_owned(),
                    ..Extra::default()
                };
                let node = Node { id: n + 1, cluster: cluster.clone(), controllers: controllers.to_vec(), port: ports[0], extra };
                Self::prepare(parts, node).and_then(|broker| broker.run().map(|()| broker))
            };
            std::thread::scope(|scope| {
                let starts: Vec<_> = addresses.iter().enumerate().map(|at| scope.spawn(move || start(at))).collect();
                starts.into_iter().map(|started| started.join().expect("a broker's start does not panic")).collect()
            })
        })
    }

    fn prepare(parts: &Parts, node: Node) -> Result<Self> {
        let dir = Scratch::new("kafka")?;
        configure(dir.path(), &node)?;
        format(dir.path(), &parts.jars, &node.cluster)?;
        Ok(Self { server: Mutex::default(), dir, jars: parts.jars.clone(), node })
    }

    fn run(&self) -> Result<()> {
        let mut command = java(&self.jars);
        command.arg("-Xmx512m").args(&self.node.extra.jvm).arg("kafka.Kafka").arg(self.dir.path().join("server.properties"));
        let mut server = Server::start("kafka", command, &self.dir.path().join("kafka.log"))?;
        let (port, cluster) = (self.node.port, &self.node.cluster);
        // A request is answered, not only a connection taken, and by this broker and no other.
        let answers = || crate::kafka::ready(&format!("127.0.0.1:{port}"), cluster);
        server.wait(Duration::from_secs(90), || TcpStream::connect(("127.0.0.1", port)).is_ok() && answers())?;
        *self.server() = Some(server);
        Ok(())
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().expect("no panic under this lock")
    }

    /// Its id in its cluster.
    pub fn id(&self) -> usize {
        self.node.id
    }

    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.node.port)
    }

    /// The second listener, as bound.
    pub fn second(&self) -> String {
        self.behind(0)
    }

    /// The listener behind the n-th address, as bound.
    pub fn behind(&self, n: usize) -> String {
        format!("127.0.0.1:{}", self.node.extra.listeners.get(n).map_or(0, |l| l.port))
    }

    /// What a listener of this name advertises.
    pub(crate) fn advertised(&self, name: &str) -> Option<&str> {
        self.node.extra.listeners.iter().find(|l| l.name == name).map(|l| l.advertised.as_str())
    }

    /// Where a listener of this name is bound.
    pub(crate) fn bound(&self, name: &str) -> Option<String> {
        self.node.extra.listeners.iter().find(|l| l.name == name).map(|l| format!("127.0.0.1:{}", l.port))
    }

    /// None while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.server().as_ref().map(Server::pid)
    }

    /// SIGKILL.
    pub fn kill(&self) {
        *self.server() = None;
    }

    /// SIGSTOP: it keeps its connections and answers nothing.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Again, on the same port with the same data.
    pub fn restart(&self) -> Result<()> {
        self.kill();
        self.run()
    }

    /// Ends it and starts another on its ports: an empty one, of another cluster.
    pub fn replace(&mut self) -> Result<()> {
        self.kill();
        fs::remove_dir_all(self.dir.path().join("data")).context("removing the data")?;
        self.node.cluster = cluster_id();
        format(self.dir.path(), &self.jars, &self.node.cluster)?;
        self.run()
    }

    fn signal(&self, signal: i32) {
        if let Some(server) = self.server().as_ref() {
            server.signal(signal);
        }
    }
}

/// Listeners that advertise these addresses.
fn behind(addresses: &[String], ports: &[u16]) -> Vec<Listener> {
    let listener = |(n, (address, &port)): (usize, (&String, &u16))| Listener {
        name: format!("BEHIND{n}"),
        protocol: "PLAINTEXT",
        port,
        advertised: address.clone(),
    };
    addresses.iter().zip(ports).enumerate().map(listener).collect()
}

pub fn java(jars: &Path) -> Command {
    let mut command = Command::new("java");
    command
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp"])
        .arg(format!("{}/*", jars.display()));
    command
}

fn configure(dir: &Path, node: &Node) -> Result<()> {
    let Node { id, controllers, port, extra, .. } = node;
    let controller = controllers[id - 1];
    let voters: Vec<_> = controllers.iter().enumerate().map(|(n, port)| format!("{}@127.0.0.1:{port}", n + 1)).collect();
    let voters = voters.join(",");
    let copies = controllers.len().min(3);
    let in_sync = copies.min(2);
    let plain = format!("PLAINTEXT://127.0.0.1:{port}");
    let (mut listeners, mut advertised, mut protocols) = (plain.clone(), plain, "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned());
    for Listener { name, protocol, port, advertised: address } in &extra.listeners {
        listeners += &format!(",{name}://127.0.0.1:{port}");
        advertised += &format!(",{name}://{address}");
        protocols += &format!(",{name}:{protocol}");
    }
    let data = dir.join("data");
    let text = format!(
        "process.roles=broker,controller\nnode.id={id}\ncontroller.quorum.voters={voters}\n\
         listeners={listeners},CONTROLLER://127.0.0.1:{controller}\nadvertised.listeners={advertised}\n\
         listener.security.protocol.map={protocols}\n\
         inter.broker.listener.name=PLAINTEXT\ncontroller.listener.names=CONTROLLER\nlog.dirs={}\n\
         default.replication.factor={copies}\nmin.insync.replicas={in_sync}\n\
         offsets.topic.replication.factor={copies}\noffsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor={copies}\ntransaction.state.log.min.isr={in_sync}\ntransaction.state.log.num.partitions=2\n\
         share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\nshare.coordinator.state.topic.num.partitions=1\n\
         group.initial.rebalance.delay.ms=0\ngroup.min.session.timeout.ms=1000\ngroup.consumer.min.session.timeout.ms=1000\n\
         group.consumer.min.heartbeat.interval.ms=500\ngroup.consumer.heartbeat.interval.ms=500\n\
         auto.create.topics.enable=false\nlog.retention.ms=-1\nlog.message.timestamp.after.max.ms=9223372036854775807\n\
         num.network.threads=2\nnum.io.threads=4\n{}",
        data.display(),
        extra.properties
    );
    fs::write(dir.join("server.properties"), text).context("writing server.properties")
}

/// As `kafka-storage random-uuid` makes it, without the start of a JVM: 16 bytes in URL-safe base64, which tools would take for an option if it
/// began with a dash.
fn cluster_id() -> String {
    loop {
        let id = URL_SAFE_NO_PAD.encode(fastrand::u128(..).to_be_bytes());
        if !id.starts_with('-') {
            return id;
        }
    }
}

fn format(dir: &Path, jars: &Path, cluster: &str) -> Result<()> {
    let done = java(jars).args(["kafka.tools.StorageTool", "format", "-t", cluster, "-c"]).arg(dir.join("server.properties")).output()?;
    ensure!(done.status.success(), "formatting Kafka's storage: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// Writes Kafka's command-line tools as scripts.
pub fn write_tools(dir: &Path, parts: &Parts) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(dir)?;
    for (name, class) in TOOLS {
        let path = dir.join(name);
        let text = format!(
            "#!/bin/sh\nexec java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp '{}/*' {class} \"$@\"\n",
            parts.jars.display()
        );
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
