//! Starts the processes of Kafka clients: this binary again, with a socket as its standard input, and without our files and environment.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc::{Sender, channel};

use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::backend::kafka::process::SUBCOMMAND;

type Started = io::Result<(Child, UnixStream)>;

/// A thread that starts processes. Linux tells a process that its parent died when the thread that started it ends. So all are started by
/// this one, which lives as long as the operator's process.
pub struct Spawner {
    to: Sender<oneshot::Sender<Started>>,
}

impl Spawner {
    /// `program`: the operator's own binary. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn new(program: PathBuf) -> io::Result<Self> {
        let (to, asked) = channel::<oneshot::Sender<Started>>();
        let runtime = Handle::current();
        std::thread::Builder::new().name("kafka-spawner".into()).spawn(move || {
            let _inside = runtime.enter();
            for reply in asked {
                // If the caller has gone, the process is killed when its handle is dropped.
                let _ = reply.send(spawn(&program));
            }
        })?;
        Ok(Self { to })
    }

    /// A new process and the socket to it.
    ///
    /// # Errors
    /// The process cannot be started.
    pub async fn spawn(&self) -> Started {
        let (reply, started) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts processes has ended");
        self.to.send(reply).map_err(|_| gone())?;
        started.await.map_err(|_| gone())?
    }
}

fn spawn(program: &PathBuf) -> Started {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let child = Command::new(program)
        .arg0("stream-pipeline-operator")
        .arg(SUBCOMMAND)
        .env_clear()
        // The process has few threads, so few heaps are enough, and each heap keeps memory.
        .env("MALLOC_ARENA_MAX", "2")
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    Ok((child, UnixStream::from_std(ours)?))
}
