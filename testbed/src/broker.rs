//! A Kafka broker (KRaft, one node) of its own.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::parts::Parts;
use crate::process::{Server, free_ports, retrying};
use crate::scratch::Scratch;

const TOOLS: [(&str, &str); 7] = [
    ("kafka-consumer-groups.sh", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    ("kafka-groups.sh", "org.apache.kafka.tools.GroupsCommand"),
    ("kafka-topics.sh", "org.apache.kafka.tools.TopicCommand"),
    ("kafka-console-producer.sh", "org.apache.kafka.tools.ConsoleProducer"),
    ("kafka-producer-perf-test.sh", "org.apache.kafka.tools.ProducerPerformance"),
    ("kafka-console-consumer.sh", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    ("kafka-console-share-consumer.sh", "org.apache.kafka.tools.consumer.ConsoleShareConsumer"),
];

/// A broker that ends with its owner.
pub struct Broker {
    server: Option<Server>,
    dir: Scratch,
    /// Of its cluster.
    id: String,
    jars: PathBuf,
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
    pub(crate) name: &'static str,
    /// PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
    pub(crate) protocol: &'static str,
    pub(crate) port: u16,
    /// What clients are told to connect to.
    pub(crate) advertised: String,
}

impl Broker {
    pub fn start(parts: &Parts) -> Result<Self> {
        Self::start_with(parts, |_| None)
    }

    /// `advertise` may give, for the port of a second listener, the address that one advertises.
    pub fn start_with(parts: &Parts, advertise: impl Fn(u16) -> Option<String>) -> Result<Self> {
        Self::start_extended(parts, 1, |ports| {
            let port = ports[0];
            let second = advertise(port).map(|advertised| Listener { name: "SECOND", protocol: "PLAINTEXT", port, advertised });
            Ok(Extra { listeners: second.into_iter().collect(), ..Extra::default() })
        })
    }

    /// `extra` is given so many free ports; it is asked again when one was taken in between.
    pub(crate) fn start_extended(parts: &Parts, ports: usize, extra: impl Fn(&[u16]) -> Result<Extra>) -> Result<Self> {
        retrying(|| {
            let dir = Scratch::new("kafka")?;
            let ports = free_ports(2 + ports)?;
            let (port, controller, extra) = (ports[0], ports[1], extra(&ports[2..])?);
            configure(dir.path(), port, controller, &extra)?;
            let id = format(dir.path(), &parts.jars)?;
            let mut broker = Self { server: None, dir, id, jars: parts.jars.clone(), port, extra };
            broker.run()?;
            Ok(broker)
        })
    }

    fn run(&mut self) -> Result<()> {
        let mut command = java(&self.jars);
        command.arg("-Xmx512m").args(&self.extra.jvm).arg("kafka.Kafka").arg(self.dir.path().join("server.properties"));
        let mut server = Server::start("kafka", command, &self.dir.path().join("kafka.log"))?;
        let (port, id) = (self.port, &self.id);
        // A request is answered, not only a connection taken, and by this broker and no other.
        let answers = || crate::kafka::ready(&format!("127.0.0.1:{port}"), id);
        server.wait(Duration::from_secs(90), || TcpStream::connect(("127.0.0.1", port)).is_ok() && answers())?;
        self.server = Some(server);
        Ok(())
    }

    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The second listener, as bound.
    pub fn second(&self) -> String {
        format!("127.0.0.1:{}", self.extra.listeners.first().map_or(0, |l| l.port))
    }

    /// What a listener of this name advertises.
    pub(crate) fn advertised(&self, name: &str) -> Option<&str> {
        self.extra.listeners.iter().find(|l| l.name == name).map(|l| l.advertised.as_str())
    }

    /// None while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// SIGSTOP: it keeps its connections and answers nothing.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Again, on the same port with the same data.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        self.run()
    }

    fn signal(&self, signal: i32) {
        if let Some(server) = &self.server {
            server.signal(signal);
        }
    }
}

pub fn java(jars: &Path) -> Command {
    let mut command = Command::new("java");
    command
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp"])
        .arg(format!("{}/*", jars.display()));
    command
}

fn configure(dir: &Path, port: u16, controller: u16, extra: &Extra) -> Result<()> {
    let plain = format!("PLAINTEXT://127.0.0.1:{port}");
    let (mut listeners, mut advertised, mut protocols) = (plain.clone(), plain, "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned());
    for Listener { name, protocol, port, advertised: address } in &extra.listeners {
        listeners += &format!(",{name}://127.0.0.1:{port}");
        advertised += &format!(",{name}://{address}");
        protocols += &format!(",{name}:{protocol}");
    }
    let data = dir.join("data");
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners={listeners},CONTROLLER://127.0.0.1:{controller}\nadvertised.listeners={advertised}\n\
         listener.security.protocol.map={protocols}\n\
         inter.broker.listener.name=PLAINTEXT\ncontroller.listener.names=CONTROLLER\nlog.dirs={}\n\
         offsets.topic.replication.factor=1\noffsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=2\n\
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

/// Returns the id of the cluster.
fn format(dir: &Path, jars: &Path) -> Result<String> {
    let id = java(jars).args(["kafka.tools.StorageTool", "random-uuid"]).output().context("starting java")?;
    let id = String::from_utf8_lossy(&id.stdout).trim().to_owned();
    let done = java(jars).args(["kafka.tools.StorageTool", "format", "-t", &id, "-c"]).arg(dir.join("server.properties")).output()?;
    ensure!(done.status.success(), "formatting Kafka's storage: {}", String::from_utf8_lossy(&done.stderr));
    Ok(id)
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
