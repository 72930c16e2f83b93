//! The operator's side of one client's process: it starts the process, hands over calls, takes the answers, keeps the deadlines, answers
//! what the process asks, and ends it. A client is retired when a call missed its deadline or went to the wrong coordinator: it takes no
//! new calls, and its process is killed once the last call in flight is answered or overdue. Nothing that the process says is trusted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use secrecy::ExposeSecret;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::sleep_until;

use super::connection::{Connection, EndReason, Ended, stuck};
use super::pending::{PendingCalls, QueuedCall};
use super::processes::Processes;
use super::state::ClientState;
use crate::backend::kafka::admin::{AdminError, BrokerError, KafkaCode};
use crate::backend::kafka::oauth::{NoToken, Token, TokenSource};
use crate::backend::kafka::process::wire::{self, FromProcess, MAX_ADDRESSES, ToProcess};

/// How many names are looked up at once for one process, and how many may wait: each broker of a cluster may need a look-up.
const LOOKUPS: usize = 8;
const WAITING_LOOKUPS: usize = 1024;

/// After this long without a call, a process gives up its slot if others wait for one.
const IDLE_WHEN_CONTENDED: Duration = Duration::from_secs(1);

pub(super) enum Command {
    Call(QueuedCall),
    /// The client was retired: see whether its process is still needed.
    Wake,
}

/// What a client is made from.
pub(super) struct ClientConfig {
    pub(super) namespace: String,
    pub(super) settings: Vec<(String, String)>,
    pub(super) tokens: Option<TokenSource>,
    pub(super) processes: Arc<Processes>,
}

pub(super) struct Driver {
    config: ClientConfig,
    state: Arc<ClientState>,
    pending: PendingCalls,
}

/// `alive` is dropped last: whoever waits for that knows that the process has ended.
pub(super) async fn drive(
    config: ClientConfig,
    state: Arc<ClientState>,
    commands: mpsc::UnboundedReceiver<Command>,
    alive: watch::Sender<()>,
) {
    let driver = Driver { config, pending: PendingCalls::new(Arc::clone(&state)), state };
    driver.run(commands).await;
    drop(alive);
}

impl Driver {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let connection = self.start(&mut commands).await;
        if let Some((mut connection, began)) = connection {
            let reason = match stuck(began) {
                Some(stuck) => stuck,
                None => self.serve(&mut commands, &mut connection).await,
            };
            self.state.retire();
            let how = self.end(connection, reason).await;
            self.pending.end(how.as_deref());
        }
        self.state.retire();
        commands.close();
        while let Ok(command) = commands.try_recv() {
            if let Command::Call(call) = command {
                let _ = call.reply.send(Err(AdminError::Retired));
            }
        }
    }

    /// Waits for a slot, starts the process, and hands over the waiting calls as far as it takes them. None: the process is not needed any
    /// more, or could not be started.
    async fn start(&mut self, commands: &mut mpsc::UnboundedReceiver<Command>) -> Option<(Connection, io::Result<()>)> {
        let processes = Arc::clone(&self.config.processes);
        let namespace = self.config.namespace.clone();
        let start = async move {
            let slot = processes.slots.take(&namespace).await;
            let (child, socket) = processes.spawner.spawn().await?;
            let watched = processes.memory.watch(child.id().unwrap_or_default());
            Ok::<_, io::Error>(Connection::new(child, socket, watched, slot))
        };
        tokio::pin!(start);
        let mut connection = loop {
            tokio::select! {
                started = &mut start => match started {
                    Ok(connection) => break connection,
                    Err(error) => {
                        let why = AdminError::NoProcess(error.to_string());
                        self.state.fail(why.clone());
                        self.pending.fail(&why);
                        return None;
                    }
                },
                command = commands.recv() => match command {
                    Some(Command::Call(call)) => {
                        self.pending.add(call);
                    }
                    Some(Command::Wake) => {}
                    None => return None,
                },
                () = sleep_until(self.pending.next_deadline()) => self.pending.expire_unstarted(self.config.processes.slots.limit()),
            }
            if self.state.is_retired() && self.pending.is_empty() {
                return None;
            }
        };
        let open = ToProcess::Open { settings: std::mem::take(&mut self.config.settings) };
        let mut sent = connection.send(&open).await;
        for id in self.pending.ids() {
            if sent.is_ok() {
                sent = self.hand_over(&mut connection, id).await;
            }
        }
        Some((connection, sent))
    }

    /// Runs until the process is to be ended; returns why.
    async fn serve(&mut self, commands: &mut mpsc::UnboundedReceiver<Command>, connection: &mut Connection) -> EndReason {
        let (mut lookups, turns) = (FuturesUnordered::new(), Arc::new(Semaphore::new(LOOKUPS)));
        let (tokens_to, mut tokens) = mpsc::channel::<Result<Token, NoToken>>(1);
        let mut fetching = false;
        let mut contended = self.config.processes.slots.contended();
        let mut open = true;
        self.pending.note_start();
        loop {
            if self.pending.is_empty() && (self.state.is_retired() || !open) {
                return EndReason::Unneeded;
            }
            let idle = self.pending.is_empty();
            let gives_way = sleep_until((self.pending.idle_since() + IDLE_WHEN_CONTENDED).into());
            let message = tokio::select! {
                frame = connection.frames.next() => match frame {
                    Some(Ok(bytes)) => match wire::decode::<FromProcess>(&bytes) {
                        Ok(message) => message,
                        Err(error) => return EndReason::Misbehaved(format!("it said something that is no message: {error}")),
                    },
                    Some(Err(error)) if error.kind() == io::ErrorKind::InvalidData => return EndReason::Misbehaved(error.to_string()),
                    // A process that dies before it has read all its input resets the connection.
                    Some(Err(_)) | None => return EndReason::Closed,
                },
                command = commands.recv(), if open => {
                    match command {
                        Some(Command::Call(call)) => {
                            if let Some(id) = self.pending.add(call)
                                && let Some(stuck) = stuck(self.hand_over(connection, id).await)
                            {
                                return stuck;
                            }
                        }
                        Some(Command::Wake) => {}
                        None => open = false,
                    }
                    continue;
                }
                Some((id, found)) = lookups.next(), if !lookups.is_empty() => {
                    if let Some(stuck) = stuck(connection.send(&ToProcess::Addresses { id, found }).await) {
                        return stuck;
                    }
                    continue;
                }
                Some(token) = tokens.recv() => {
                    fetching = false;
                    let message = self.token(token);
                    if let Some(stuck) = stuck(connection.send(&message).await) {
                        return stuck;
                    }
                    continue;
                }
                () = sleep_until(self.pending.next_deadline()) => {
                    self.pending.expire();
                    continue;
                }
                heavy = connection.watched.over_limit() => return EndReason::Misbehaved(heavy),
                () = gives_way, if idle && *contended.borrow() => return EndReason::Unneeded,
                _ = contended.changed(), if idle => continue,
            };
            match message {
                FromProcess::Opened { made, open_doors } => {
                    self.config.processes.note_open_doors(&open_doors);
                    if let Err(error) = made {
                        let why = unmade(error);
                        self.state.fail(why.clone());
                        self.pending.fail(&why);
                        return EndReason::Unneeded;
                    }
                }
                FromProcess::Answer { id, answer, coordinator_moved } => self.pending.answer(id, answer, coordinator_moved),
                FromProcess::Complaint(error) => {
                    if self.state.note_complaint(error) {
                        self.pending.fail_as_missed();
                    }
                }
                #[cfg(debug_assertions)]
                FromProcess::Could(_) => {}
                FromProcess::Throttled(broker) => self.state.throttled(&broker),
                FromProcess::WantsToken => {
                    if let (Some(source), false) = (self.config.tokens.clone(), fetching) {
                        fetching = true;
                        let to = tokens_to.clone();
                        tokio::spawn(async move { drop(to.send(source.fetch().await).await) });
                    }
                }
                FromProcess::Resolve { id, host, port } => {
                    let turn = (lookups.len() < WAITING_LOOKUPS).then(|| Arc::clone(&turns));
                    lookups.push(async move {
                        let Some(turn) = turn else { return (id, None) };
                        // The semaphore is never closed.
                        let _turn = turn.acquire_owned().await.ok();
                        (id, resolve(&host, port).await)
                    });
                }
                FromProcess::MayConnect { id, host, address } => {
                    let permitted = self.config.processes.policy.permits(Some(&host), address);
                    let allowed = permitted.map_err(|why| self.state.note_refused_host(&host, &why)).is_ok();
                    if let Some(stuck) = stuck(connection.send(&ToProcess::MayConnect { id, allowed }).await) {
                        return stuck;
                    }
                }
            }
        }
    }

    async fn hand_over(&mut self, connection: &mut Connection, id: u64) -> io::Result<()> {
        match self.pending.message(id) {
            Some(bytes) => connection.write(bytes).await,
            None => Ok(()),
        }
    }

    fn token(&self, token: Result<Token, NoToken>) -> ToProcess {
        match token {
            Ok(token) => {
                let life = i64::try_from(token.life.as_millis()).unwrap_or(i64::MAX);
                let expires = jiff::Timestamp::now().as_millisecond().saturating_add(life);
                ToProcess::Token { value: token.value.expose_secret().to_owned(), expires, principal: token.principal }
            }
            Err(why) => {
                self.state.note_complaint(BrokerError { code: KafkaCode::AUTHENTICATION, text: why.to_string() });
                ToProcess::NoToken(why.to_string())
            }
        }
    }

    /// Ends the process; says how it ended if that was not requested.
    async fn end(&mut self, connection: Connection, reason: EndReason) -> Option<String> {
        let Ended { how, status, last_words } = connection.end(reason).await?;
        self.config.processes.note_end(status);
        tracing::warn!(
            namespace = self.config.namespace,
            how,
            last_words,
            "The process of a Kafka client ended; a new one is made when it is needed"
        );
        Some(how)
    }
}

/// Why no client could be made: because of its settings, or because the system has no thread left.
fn unmade(error: AdminError) -> AdminError {
    let text = match error {
        AdminError::Config(text) => text,
        other => other.to_string(),
    };
    // librdkafka's "Failed to create thread: …".
    if text.contains("create thread") { AdminError::NoProcess(text) } else { AdminError::Config(text) }
}

async fn resolve(host: &str, port: u16) -> Option<Vec<std::net::SocketAddr>> {
    let found = tokio::net::lookup_host((host, port)).await.ok()?;
    Some(found.take(MAX_ADDRESSES).collect::<Vec<_>>()).filter(|found| !found.is_empty())
}

#[cfg(test)]
mod tests;
