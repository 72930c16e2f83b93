//! The operator under test, as a process of its own under its own rights; and other programs that end with the test.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::Testbed;
use crate::process::{Server, tail};
use crate::scratch::Scratch;

/// A running operator that watches one namespace. When the test fails, its log is shown.
pub struct Operator {
    server: Server,
    dir: Scratch,
}

impl Operator {
    /// Starts `exe` under the ServiceAccount of the chart.
    pub fn start(testbed: &Testbed, exe: &Path, namespace: &str, args: &[&str]) -> Self {
        Self::start_with(&testbed.cluster.operator_kubeconfig(), exe, namespace, args)
    }

    pub fn start_with(kubeconfig: &Path, exe: &Path, namespace: &str, args: &[&str]) -> Self {
        Self::run(kubeconfig, exe, &[&["--watch-namespace", namespace], args].concat())
    }

    /// One that watches all namespaces, for servers of a test's own.
    pub fn start_everywhere(testbed: &Testbed, exe: &Path, args: &[&str]) -> Self {
        Self::run(&testbed.cluster.operator_kubeconfig(), exe, args)
    }

    fn run(kubeconfig: &Path, exe: &Path, args: &[&str]) -> Self {
        let dir = Scratch::new("operator").expect("a directory for the operator's log");
        let mut command = Command::new(program(exe));
        command
            .env("KUBECONFIG", kubeconfig)
            // The servers are on this machine; a flag of the test wins.
            .env("STREAM_PIPELINE_ALLOWED_ENDPOINTS", "127.0.0.1,::1")
            .args(["--listen", "127.0.0.1:0", "--log-format", "text"])
            .args(args);
        let server = Server::start("operator", command, &dir.path().join("log")).expect("the operator starts");
        Self { server, dir }
    }

    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Process ids of the processes that it started and that live.
    pub fn children(&self) -> Vec<u32> {
        self.children_of()()
    }

    /// The same, for whoever looks again and again.
    pub fn children_of(&self) -> impl Fn() -> Vec<u32> + Send + use<> {
        let operator = self.pid();
        let parent_of = |pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // After the name, which is in brackets: the state and the parent.
            let (_, rest) = stat.rsplit_once(") ")?;
            let mut fields = rest.split(' ');
            let state = fields.next()?;
            fields.next()?.parse::<u32>().ok().filter(|_| state != "Z")
        };
        move || {
            let all = std::fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
            all.filter(|pid| parent_of(*pid) == Some(operator)).collect()
        }
    }

    /// SIGKILL to the processes that it started; so many there were.
    pub fn kill_children(&self) -> usize {
        let children = self.children();
        for child in &children {
            // SAFETY: a plain call on numbers.
            unsafe { libc::kill(*child as i32, libc::SIGKILL) };
        }
        children.len()
    }

    pub fn is_running(&mut self) -> bool {
        self.ended().is_none()
    }

    /// None while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.server.ended()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    pub fn signal(&self, signal: i32) {
        self.server.signal(signal);
    }

    /// SIGTERM; waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.server.signal(libc::SIGTERM);
        let begun = Instant::now();
        loop {
            if let Some(status) = self.server.ended() {
                return status;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "the operator did not end within 60 s of SIGTERM");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the operator's log ---\n{}\n---", tail(&self.log_file(), 200));
        }
    }
}

/// What is run where the built operator is asked for: that, or what TESTBED_OPERATOR names, such as an image's
/// (testbed/image/confined.sh).
fn program(exe: &Path) -> PathBuf {
    let other = std::env::var_os("TESTBED_OPERATOR").filter(|_| exe.ends_with("stream-pipeline-operator"));
    other.map_or_else(|| exe.to_owned(), PathBuf::from)
}

/// Another program that ends with its handle.
pub struct Program {
    _server: Server,
    _dir: Scratch,
}

impl Program {
    pub fn start(name: &'static str, command: Command) -> Self {
        let dir = Scratch::new("program").expect("a directory for the program's log");
        let server = Server::start(name, command, &dir.path().join("log")).expect("the program starts");
        Self { _server: server, _dir: dir }
    }
}
