//! The process of one client, as the driver uses it: writing to it, reading from it, ending it.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use futures::SinkExt as _;
use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr};
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::memory_watch::WatchedProcess;
use crate::backend::kafka::process::wire::{self, ToProcess};
use crate::fair::Place;

/// A process that does not read its input for this long is ended.
const STUCK: Duration = Duration::from_secs(3);

/// How many bytes of a process's error output are kept.
const LAST_WORDS: u64 = 4096;

/// Why a process is ended.
pub(super) enum EndReason {
    /// Nobody needs it any more.
    Unneeded,
    /// It has closed the connection, because it has ended or is about to.
    Closed,
    /// It broke the rules; the text says how.
    Misbehaved(String),
}

pub(super) struct Connection {
    child: Child,
    stderr: Option<ChildStderr>,
    pub(super) frames: Framed<UnixStream, LengthDelimitedCodec>,
    pub(super) watched: WatchedProcess,
    _slot: Place,
}

/// How a process ended, if that was not requested.
pub(super) struct Ended {
    /// The end in words.
    pub(super) how: String,
    /// The exit status, if it ended by itself.
    pub(super) status: Option<ExitStatus>,
    pub(super) last_words: String,
}

impl Connection {
    pub(super) fn new(mut child: Child, socket: UnixStream, watched: WatchedProcess, slot: Place) -> Self {
        let stderr = child.stderr.take();
        let codec = LengthDelimitedCodec::builder().max_frame_length(wire::MAX_FRAME).new_codec();
        Self { child, stderr, frames: Framed::new(socket, codec), watched, _slot: slot }
    }

    /// # Errors
    /// The message is larger than a frame; or the process is gone, or takes nothing ([`stuck`]).
    pub(super) async fn send(&mut self, message: &ToProcess) -> io::Result<()> {
        self.write(wire::encode(message)?).await
    }

    /// The time is limited: a process that reads nothing must not block the driver, which keeps the deadlines of all calls.
    ///
    /// # Errors
    /// The process is gone, or takes nothing ([`stuck`]).
    pub(super) async fn write(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        tokio::time::timeout(STUCK, self.frames.send(Bytes::from(bytes))).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Kills the process and waits until it is gone. None: the end was requested.
    pub(super) async fn end(mut self, reason: EndReason) -> Option<Ended> {
        let status = match reason {
            // The process is ending by itself: its exit status is there in a moment.
            EndReason::Closed => tokio::time::timeout(Duration::from_secs(1), self.child.wait()).await.ok().and_then(Result::ok),
            EndReason::Unneeded | EndReason::Misbehaved(_) => None,
        };
        let killed = self.child.start_kill();
        if let Err(error) = self.child.wait().await {
            tracing::warn!(%error, ?killed, "The process of a Kafka client cannot be waited for");
        }
        let how = match (reason, status) {
            (EndReason::Unneeded, _) => return None,
            (EndReason::Misbehaved(what), _) => what,
            (EndReason::Closed, Some(status)) => describe(status),
            (EndReason::Closed, None) => "it hung up".to_owned(),
        };
        let mut last_words = Vec::new();
        if let Some(stderr) = self.stderr.take() {
            // The pipe ends when the process does.
            let _ = BufReader::new(stderr).take(LAST_WORDS).read_to_end(&mut last_words).await;
        }
        Some(Ended { how, status, last_words: String::from_utf8_lossy(&last_words).trim().to_owned() })
    }
}

/// "signal 6", "exit code 1".
fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => status.to_string(),
    }
}

/// Why a process that reads nothing is ended. If writing failed because the process has ended, the next read says so.
pub(super) fn stuck(sent: io::Result<()>) -> Option<EndReason> {
    let error = sent.err()?;
    (error.kind() == io::ErrorKind::TimedOut).then(|| EndReason::Misbehaved(format!("it took nothing for {} s", STUCK.as_secs())))
}
