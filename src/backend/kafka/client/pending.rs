//! The calls of one client that have no answer yet: each ends by its answer, by its deadline, or with the client.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::state::ClientState;
use crate::backend::kafka::admin::{AdminError, BrokerError, CallName};
use crate::backend::kafka::process::wire::{self, AdminAnswer, AdminCall, ToProcess};

/// A call as its caller hands it over.
pub(super) struct QueuedCall {
    pub(super) call: AdminCall,
    pub(super) after: Duration,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<AdminAnswer, AdminError>>,
}

struct Pending {
    name: CallName,
    /// None once it was handed to the process, so that a plan of thousands of partitions is not held twice.
    call: Option<AdminCall>,
    after: Duration,
    deadline: Instant,
    reply: oneshot::Sender<Result<AdminAnswer, AdminError>>,
}

impl Pending {
    fn handed_over(&self) -> bool {
        self.call.is_none()
    }

    fn missed(&self, broker: Option<BrokerError>) -> AdminError {
        AdminError::DeadlineExceeded { call: self.name, after: self.after, handed_over: self.handed_over(), broker }
    }
}

pub(super) struct PendingCalls {
    state: Arc<ClientState>,
    calls: HashMap<u64, Pending>,
    last_id: u64,
    idle_since: Instant,
}

impl PendingCalls {
    pub(super) fn new(state: Arc<ClientState>) -> Self {
        Self { state, calls: HashMap::new(), last_id: 0, idle_since: Instant::now() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Since when no call is pending.
    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since
    }

    /// The process was started: time before that does not count as idle.
    pub(super) fn note_start(&mut self) {
        self.idle_since = Instant::now();
    }

    /// In the order of arrival.
    pub(super) fn ids(&self) -> Vec<u64> {
        let mut ids: Vec<_> = self.calls.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// The call's id. None: the client takes no more calls, and the caller was told so.
    pub(super) fn add(&mut self, call: QueuedCall) -> Option<u64> {
        if self.state.is_retired() {
            let _ = call.reply.send(Err(AdminError::Retired));
            return None;
        }
        self.last_id += 1;
        let QueuedCall { call, after, deadline, reply } = call;
        self.calls.insert(self.last_id, Pending { name: call.name(), call: Some(call), after, deadline, reply });
        Some(self.last_id)
    }

    /// The message that hands a call to the process. None: it was handed over already, has no time left, or is too large.
    pub(super) fn message(&mut self, id: u64) -> Option<Vec<u8>> {
        let pending = self.calls.get_mut(&id)?;
        let left = pending.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.expire();
            return None;
        }
        // Counts as handed over before it is written, because a part of it may arrive.
        let mut call = pending.call.take()?;
        if let AdminCall::ListGroups(_, may_take) = &mut call {
            *may_take = left;
        }
        let message = wire::encode(&ToProcess::Call { id, call }).ok();
        if message.is_none() {
            self.refuse(id);
        }
        message
    }

    /// Refuses a call that is larger than a message may be.
    fn refuse(&mut self, id: u64) {
        let Some(pending) = self.calls.remove(&id) else { return };
        let reason = format!("a request of more than {} MiB; select fewer topics or partitions", wire::MAX_FRAME >> 20);
        let _ = pending.reply.send(Err(AdminError::Argument { call: pending.name, reason }));
    }

    pub(super) fn answer(&mut self, id: u64, answer: Result<AdminAnswer, AdminError>, coordinator_moved: bool) {
        let Some(pending) = self.calls.remove(&id) else { return };
        self.idle_since = Instant::now();
        self.state.note_answer();
        if coordinator_moved {
            self.state.retire();
        }
        // Fails only if the caller has gone.
        let _ = pending.reply.send(answer);
    }

    pub(super) fn next_deadline(&self) -> tokio::time::Instant {
        let far = || Instant::now() + Duration::from_secs(3600);
        self.calls.values().map(|p| p.deadline).min().unwrap_or_else(far).into()
    }

    /// Ends calls that are overdue before there is a process; the client itself goes on waiting for one of the `most` slots.
    pub(super) fn expire_unstarted(&mut self, most: usize) {
        let now = Instant::now();
        for (_, late) in self.calls.extract_if(|_, p| p.deadline <= now) {
            let _ = late.reply.send(Err(AdminError::TooManyProcesses { most }));
        }
    }

    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        let late: Vec<_> = self.calls.extract_if(|_, p| p.deadline <= now).map(|(_, p)| p).collect();
        for pending in late {
            tracing::debug!(call = pending.name, after = ?pending.after, "no answer: the Kafka client is retired");
            let missed = pending.missed(self.state.delayed_by(pending.after));
            if self.state.has_answered() {
                self.state.retire();
            } else {
                self.state.fail(missed.clone());
            }
            let _ = pending.reply.send(Err(missed));
        }
    }

    pub(super) fn fail(&mut self, why: &AdminError) {
        self.fail_all(|_| why.clone());
    }

    fn fail_all(&mut self, why: impl Fn(&Pending) -> AdminError) {
        for (_, pending) in std::mem::take(&mut self.calls) {
            let error = why(&pending);
            let _ = pending.reply.send(Err(error));
        }
    }

    /// The connection was refused for good: no pending call would get an answer.
    pub(super) fn fail_as_missed(&mut self) {
        let state = Arc::clone(&self.state);
        self.fail_all(|pending| pending.missed(state.delayed_by(pending.after)));
    }

    /// The process has ended. `how`: given if that was not requested.
    pub(super) fn end(&mut self, how: Option<&str>) {
        let (Some(how), Some(first)) = (how, self.calls.values().next().map(|pending| pending.name)) else {
            return self.fail_all(|_| AdminError::Retired);
        };
        let gone = |call| AdminError::ClientGone { call, how: how.to_owned() };
        self.state.fail(gone(first));
        self.fail_all(|pending| if pending.handed_over() { gone(pending.name) } else { AdminError::Retired });
    }
}
