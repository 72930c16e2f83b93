//! The thread that owns one librdkafka handle. It hands calls over, takes the answers, keeps the deadlines and finally destroys the
//! handle; other threads only send it messages. A client whose call missed its deadline, or that asked the wrong coordinator, is
//! retired: it takes no new calls and ends when the last one in flight is answered or overdue.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::backend::endpoints::{EndpointNotAllowed, EndpointPolicy};
use crate::backend::kafka::admin::{Answer, Native, Ticket};
use crate::backend::kafka::admin_types::{AdminError, BrokerError, Failure, KafkaCode};
use crate::backend::kafka::connecting;
use crate::backend::kafka::oauth::{NoToken, Token, TokenSource};

/// The other side of a thread: what both see, its inbox, and a channel that closes when the handle has been destroyed.
type Started = (Arc<Shared>, Sender<Msg>, watch::Receiver<()>);

/// Starts a thread with a handle of this configuration. It runs until it is retired.
pub(super) fn start(settings: &[(&str, &str)], tokens: Option<TokenSource>, policy: Arc<EndpointPolicy>) -> Result<Started, AdminError> {
    let (calls, inbox) = channel();
    let waker = calls.clone();
    let tokens = tokens.map(|source| Tokens { source, runtime: Handle::current(), to: calls.clone() });
    let shared = Arc::new(Shared::default());
    let barred = Arc::clone(&shared);
    let gate = Box::new(move |host: &str, address| match policy.permits(Some(host), address) {
        Ok(()) => true,
        Err(why) => {
            barred.bar(host, &why);
            false
        }
    });
    let told = Arc::clone(&shared);
    let throttled = Box::new(move |broker: &str| told.throttled(broker));
    // The wake-up fails only where the thread is ending.
    let native = Native::new(settings, Box::new(move || drop(waker.send(Msg::Wake))), gate, throttled)?;
    let (keep, alive) = watch::channel(());
    let poller = Poller { shared: Arc::clone(&shared), pending: HashMap::new(), next_id: 1, tokens, native, inbox, _alive: keep };
    std::thread::Builder::new()
        .name("kafka-admin".into())
        .spawn(move || poller.run())
        .map_err(|e| AdminError::Config(format!("no thread: {e}")))?;
    Ok((shared, calls, alive))
}

/// What both sides see.
#[derive(Default)]
pub(super) struct Shared {
    retired: AtomicBool,
    /// A broker has answered a call: it took us for who we are.
    answered: AtomicBool,
    failure: Mutex<Option<Failure>>,
    broker_error: Mutex<Option<BrokerError>>,
    /// The broker that said last that it throttles, and when.
    throttled: Mutex<Option<(String, Instant)>>,
    /// Hosts that may not be connected to, and why.
    barred: Mutex<Vec<(String, String)>>,
}

/// A quota delays what follows by no more than its window, a second; the default has ten more.
const THROTTLED: Duration = Duration::from_secs(11);

/// Hosts whose refusal is remembered; brokers may advertise any number.
const BARRED: usize = 64;

impl Shared {
    pub(super) fn broker_error(&self) -> Option<BrokerError> {
        self.broker_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn throttled(&self, broker: &str) {
        *self.throttled.lock().unwrap_or_else(PoisonError::into_inner) = Some((broker.to_owned(), Instant::now()));
    }

    /// What made a call wait that has had no answer for so long: a broker that said it throttles, or what was last said of a connection.
    fn hindered(&self, since: Duration) -> Option<BrokerError> {
        let last = self.broker_error();
        if last.as_ref().is_some_and(BrokerError::is_refusal) {
            return last;
        }
        let throttled = self.throttled.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lately = throttled.filter(|(_, at)| at.elapsed() <= since + THROTTLED);
        lately.map(|(broker, _)| connecting::throttled(&broker)).or(last)
    }

    fn bar(&self, host: &str, why: &EndpointNotAllowed) {
        let mut barred = self.barred.lock().unwrap_or_else(PoisonError::into_inner);
        barred.retain(|(known, _)| known != host);
        barred.truncate(BARRED - 1);
        barred.insert(0, (host.to_owned(), why.to_string()));
    }

    /// librdkafka knows only that there is no permission; here it is said which address has none, and why.
    fn with_why(&self, complaint: String) -> String {
        if !complaint.contains("Permission denied") {
            return complaint;
        }
        let barred = self.barred.lock().unwrap_or_else(PoisonError::into_inner);
        match barred.iter().find(|(host, _)| complaint.contains(host.as_str())) {
            Some((_, why)) => format!("{complaint}: {why}"),
            None => complaint,
        }
    }

    /// Retires a client that no broker has answered. The first reason counts.
    fn fail(&self, why: AdminError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(Failure { at: Instant::now(), why });
        self.retire();
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }
}

pub(super) enum Msg {
    Call(Call),
    /// Look at the queue and at the flag.
    Wake,
    /// The answer of the one call that has no event.
    Listed(usize, Result<bool, KafkaCode>),
    /// What the token endpoint said.
    Token(Result<Token, NoToken>),
}

/// Where tokens come from, and the way back.
struct Tokens {
    source: TokenSource,
    runtime: Handle,
    to: Sender<Msg>,
}

type Submit = Box<dyn FnOnce(&mut Native, &Ticket) -> Result<(), AdminError> + Send>;
type Finish = Box<dyn FnOnce(Result<&Answer, AdminError>, &Shared) + Send>;

pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) after: Duration,
    pub(super) deadline: Instant,
    pub(super) submit: Submit,
    pub(super) finish: Finish,
}

struct Pending {
    ticket: Ticket,
    after: Duration,
    finish: Finish,
}

/// The fields are dropped in this order: whoever waits for `_alive` to end knows that the handle has been destroyed.
struct Poller {
    shared: Arc<Shared>,
    pending: HashMap<usize, Pending>,
    next_id: usize,
    tokens: Option<Tokens>,
    native: Native,
    inbox: Receiver<Msg>,
    _alive: watch::Sender<()>,
}

impl Poller {
    fn run(mut self) {
        while !(self.shared.is_retired() && self.pending.is_empty()) {
            let next = self.pending.values().map(|p| p.ticket.deadline).min();
            let received = match next {
                Some(at) => self.inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => self.inbox.recv().map_err(RecvTimeoutError::from),
            };
            match received {
                Ok(Msg::Call(call)) => self.submit(call),
                Ok(Msg::Listed(id, found)) => self.finish(id, &Answer::Listed(found)),
                Ok(Msg::Token(token)) => self.token(token),
                Ok(Msg::Wake) | Err(RecvTimeoutError::Timeout) => {}
                // Cannot be: `native` holds a sender. No reason to spin if it were.
                Err(RecvTimeoutError::Disconnected) => self.shared.retire(),
            }
            self.drain();
            self.expire();
        }
        while let Ok(message) = self.inbox.try_recv() {
            if let Msg::Call(call) = message {
                (call.finish)(Err(AdminError::Retired), &self.shared);
            }
        }
    }

    fn submit(&mut self, call: Call) {
        if self.shared.is_retired() {
            return (call.finish)(Err(AdminError::Retired), &self.shared);
        }
        let ticket = Ticket { call: call.name, id: self.next_id, deadline: call.deadline };
        if ticket.deadline <= Instant::now() {
            let missed = self.missed(&ticket, call.after, false);
            return (call.finish)(Err(missed), &self.shared);
        }
        self.next_id += 1;
        if let Err(error) = (call.submit)(&mut self.native, &ticket) {
            return (call.finish)(Err(error), &self.shared);
        }
        let pending = Pending { after: call.after, finish: call.finish, ticket };
        self.pending.insert(pending.ticket.id, pending);
    }

    fn drain(&mut self) {
        while let Some(event) = self.native.poll() {
            if event.asks_for_token() {
                self.fetch_token();
            } else if let Some(error) = event.broker_error() {
                self.complain(error);
            } else if let Some(Pending { ticket, .. }) = self.pending.get(&event.id()) {
                self.finish(ticket.id, &event.answer_to(ticket.call));
            }
        }
    }

    /// Keeps what says most. Who is refused before anything was answered is refused for good: waiting for the deadline would only
    /// be more tries with a wrong password.
    fn complain(&mut self, error: BrokerError) {
        let error = BrokerError { text: self.shared.with_why(connecting::steady(&error.text)), ..error };
        let refused = error.is_refusal();
        let said = {
            let mut last = (self.shared.broker_error.lock()).unwrap_or_else(PoisonError::into_inner);
            // "All brokers down" says less than the complaint before it, a lost connection less than a refusal, and the general
            // complaint about TLS less than what is wrong with the certificate.
            let says_all = |l: &BrokerError| l.is_refusal() && (!refused || l.text.contains("verification callback failed"));
            let says_less = error.code == KafkaCode::ALL_BROKERS_DOWN || last.as_ref().is_some_and(says_all);
            if !says_less || last.is_none() {
                *last = Some(error.clone());
            }
            last.clone().unwrap_or(error)
        };
        if refused && !self.shared.has_answered() {
            self.shared.fail(AdminError::Refused(said));
            for Pending { ticket, after, finish } in self.pending.drain().map(|(_, p)| p).collect::<Vec<_>>() {
                finish(Err(self.missed(&ticket, after, true)), &self.shared);
            }
        }
    }

    fn fetch_token(&self) {
        let Some(Tokens { source, runtime, to }) = &self.tokens else { return };
        let (source, to) = (source.clone(), to.clone());
        // Fails only where this thread is ending.
        runtime.spawn(async move { drop(to.send(Msg::Token(source.fetch().await))) });
    }

    fn token(&mut self, token: Result<Token, NoToken>) {
        let set = token.map_err(|e| e.to_string()).and_then(|token| {
            let expires = jiff::Timestamp::now().as_millisecond().saturating_add(i64::try_from(token.life.as_millis()).unwrap_or(i64::MAX));
            self.native.set_token(token.value.expose_secret(), expires, &token.principal).map_err(|e| e.to_string())
        });
        if let Err(why) = set {
            self.native.no_token(&why);
            self.complain(BrokerError { code: KafkaCode::AUTHENTICATION, text: why });
        }
    }

    fn finish(&mut self, id: usize, answer: &Answer) {
        self.shared.answered.store(true, Ordering::Release);
        if let Some(pending) = self.pending.remove(&id) {
            (pending.finish)(Ok(answer), &self.shared);
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        let late: Vec<_> = (self.pending).extract_if(|_, p| p.ticket.deadline <= now).map(|(_, p)| p).collect();
        for Pending { ticket, after, finish } in late {
            tracing::debug!(call = ticket.call, ?after, "no answer: the Kafka client is retired");
            let missed = self.missed(&ticket, after, true);
            if self.shared.has_answered() {
                self.shared.retire();
            } else {
                self.shared.fail(missed.clone());
            }
            finish(Err(missed), &self.shared);
        }
    }

    fn missed(&self, ticket: &Ticket, after: Duration, handed_over: bool) -> AdminError {
        AdminError::DeadlineExceeded { call: ticket.call, after, handed_over, broker: self.shared.hindered(after) }
    }
}
