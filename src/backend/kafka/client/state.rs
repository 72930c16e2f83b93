//! What the driver and the callers of one client know of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::backend::kafka::admin::{AdminError, BrokerError, Failure, KafkaCode};
use crate::backend::kafka::connecting;
use crate::endpoints::EndpointNotAllowed;
use stream_pipeline_core::words;

/// For this long after a broker said that it throttles, a late answer is put down to that: by default a quota is measured over eleven
/// windows of one second.
const THROTTLED: Duration = Duration::from_secs(11);

/// How many refused hosts are remembered; brokers may advertise any number.
const MAX_REFUSED_HOSTS: usize = 64;

/// Longest name of a host or a broker that is kept, in bytes.
const HOST: usize = 256;

/// Longest text that is kept of what a client says about a connection, in bytes.
const COMPLAINT: usize = 2048;

#[derive(Default)]
pub(super) struct ClientState {
    retired: AtomicBool,
    /// A broker has answered a call, so it has accepted the credentials.
    answered: AtomicBool,
    failure: Mutex<Option<Failure>>,
    broker_error: Mutex<Option<BrokerError>>,
    /// The broker that last said that it throttles, and when.
    throttled: Mutex<Option<(String, Instant)>>,
    /// Hosts that may not be connected to, and why.
    refused_hosts: Mutex<Vec<(String, String)>>,
}

impl ClientState {
    pub(super) fn broker_error(&self) -> Option<BrokerError> {
        self.broker_error.lock().clone()
    }

    pub(super) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }

    pub(super) fn note_answer(&self) {
        self.answered.store(true, Ordering::Release);
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.lock().clone()
    }

    pub(super) fn throttled(&self, broker: &str) {
        let broker = words::cut(broker, HOST);
        *self.throttled.lock() = Some((broker, Instant::now()));
    }

    /// Why a call has had no answer for this long: a broker that throttles, or the last complaint about a connection.
    pub(super) fn delayed_by(&self, since: Duration) -> Option<BrokerError> {
        let last = self.broker_error();
        if last.as_ref().is_some_and(BrokerError::is_refusal) {
            return last;
        }
        let throttled = self.throttled.lock().clone();
        let lately = throttled.filter(|(_, at)| at.elapsed() <= since + THROTTLED);
        lately.map(|(broker, _)| connecting::throttled(&broker)).or(last)
    }

    pub(super) fn note_refused_host(&self, host: &str, why: &EndpointNotAllowed) {
        let host = words::cut(host, HOST);
        let mut refused_hosts = self.refused_hosts.lock();
        refused_hosts.retain(|(known, _)| *known != host);
        refused_hosts.truncate(MAX_REFUSED_HOSTS - 1);
        refused_hosts.insert(0, (host, why.to_string()));
    }

    /// librdkafka only says that permission was denied; this adds to which address, and why.
    fn with_reason(&self, complaint: String) -> String {
        if !complaint.contains("Permission denied") {
            return complaint;
        }
        let refused_hosts = self.refused_hosts.lock();
        match refused_hosts.iter().find(|(host, _)| complaint.contains(host.as_str())) {
            Some((_, why)) => format!("{complaint}: {why}"),
            None => complaint,
        }
    }

    /// Retires the client and keeps the reason. The first reason counts.
    pub(super) fn fail(&self, why: AdminError) {
        self.failure.lock().get_or_insert(Failure { at: Instant::now(), why });
        self.retire();
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Keeps the complaint that says most. A client that is refused before it got any answer is refused for good: waiting for the deadline
    /// would only repeat log-ins with a wrong password. True: it was refused for good.
    pub(super) fn note_complaint(&self, error: BrokerError) -> bool {
        let error = BrokerError { text: self.with_reason(connecting::normalize(&words::cut(&error.text, COMPLAINT))), ..error };
        let refused = error.is_refusal();
        let said = {
            let mut last = self.broker_error.lock();
            // "All brokers down" says less than the complaint before it, a lost connection less than a refusal, and the general
            // complaint about TLS less than what is wrong with the certificate.
            let says_all = |l: &BrokerError| l.is_refusal() && (!refused || l.text.contains("verification callback failed"));
            let says_less = error.code == KafkaCode::ALL_BROKERS_DOWN || last.as_ref().is_some_and(says_all);
            if !says_less || last.is_none() {
                *last = Some(error.clone());
            }
            last.clone().unwrap_or(error)
        };
        let for_good = refused && !self.has_answered();
        if for_good {
            self.fail(AdminError::Refused(said));
        }
        for_good
    }
}
