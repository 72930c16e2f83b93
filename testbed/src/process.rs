//! Child processes that end with this process, in whatever way it ends.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::TcpListener;
use std::ops::Range;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;

type Job = (Command, Sender<std::io::Result<Child>>);

/// Starts a command that the kernel kills when this process dies.
///
/// The death signal follows the *thread* that forked, and test threads end early: one thread that lives as long as the
/// process forks for all.
pub fn spawn(mut command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, inbox) = channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(jobs)
    });
    command.stdin(Stdio::null());
    let parent = std::process::id();
    // SAFETY: both calls are async-signal-safe and touch only the child.
    unsafe {
        command.pre_exec(move || {
            tie_to_parent()?;
            // The parent may have died before the tie was made.
            if libc::getppid().unsigned_abs() == parent { Ok(()) } else { Err(std::io::ErrorKind::BrokenPipe.into()) }
        });
    }
    let (reply, answer) = channel();
    spawner.lock().send((command, reply)).expect("the spawner lives as long as the process");
    answer.recv().expect("the spawner answers each job")
}

/// From now on the kernel kills this process when the thread that started it ends.
pub fn tie_to_parent() -> std::io::Result<()> {
    // SAFETY: prctl takes plain numbers and changes an attribute of this process only.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// A server with its log. Dropping it kills it.
pub struct Server {
    name: &'static str,
    child: Child,
    log: std::path::PathBuf,
    ended: Option<ExitStatus>,
}

impl Server {
    pub fn start(name: &'static str, mut command: Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log).with_context(|| format!("opening {}", log.display()))?;
        command.stdout(file.try_clone()?).stderr(file);
        let child = spawn(command).with_context(|| format!("starting {name}"))?;
        Ok(Self { name, child, log: log.to_owned(), ended: None })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready`; says what was waited for, and the end of the server's log, when it ends or takes too long.
    pub fn wait(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let begun = Instant::now();
        while !ready() {
            self.check()?;
            if begun.elapsed() > limit {
                bail!("{} was not ready within {limit:?}; the end of its log:\n{}", self.name, tail(&self.log, 25));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        // Somebody else may answer on its port.
        self.check()
    }

    /// Fails when it has ended, with the end of its log.
    pub fn check(&mut self) -> Result<()> {
        match self.ended() {
            Some(status) => bail!("{} ended with {status}; the end of its log:\n{}", self.name, tail(&self.log, 25)),
            None => Ok(()),
        }
    }

    pub fn signal(&self, signal: i32) {
        if self.ended.is_none() {
            // SAFETY: the child has not been waited for, so the pid is still its own.
            unsafe { libc::kill(self.child.id() as i32, signal) };
        }
    }

    pub fn kill(&mut self) -> ExitStatus {
        let _ = self.child.kill();
        *self.ended.insert(self.child.wait().unwrap_or(ExitStatus::from_raw(0)))
    }

    /// None while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.ended = self.child.try_wait().ok().flatten();
        self.ended
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn tail(log: &Path, lines: usize) -> String {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Below the ports that Linux gives to outgoing connections and to whoever asks for any (32768 and up): a server that was killed finds
/// its own still free when it starts again.
const PORTS: Range<u16> = 15_000..30_000;

/// Ports that were free a moment ago. None of them is given twice by this process.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock();
    let mut found = Vec::with_capacity(count);
    for _ in 0..10 * PORTS.len() {
        if found.len() == count {
            return Ok(found);
        }
        let port = fastrand::u16(PORTS);
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            found.push(port);
        }
    }
    bail!("{count} ports were wanted, and no more than {} of {PORTS:?} are free", found.len())
}

/// Runs a start that may lose the race for its ports, up to three times.
pub fn retrying<T>(mut start: impl FnMut() -> Result<T>) -> Result<T> {
    let mut last = None;
    for _ in 0..3 {
        match start() {
            Ok(value) => return Ok(value),
            Err(error) if format!("{error:#}").to_lowercase().contains("address already in use") => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.expect("three tries, three errors"))
}
