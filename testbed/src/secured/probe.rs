//! A client that tries once, and tells in librdkafka's words why it was refused.

use std::ffi::{CString, c_char};
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::bindings;
use rdkafka::client::Client;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;

use super::tokens::Issued;

/// Why a client got nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The errors that librdkafka reported: the code's name and the text.
    pub errors: Vec<(String, String)>,
    /// What it logged, which may be more: a connection that is closed at once is an error only to the log.
    pub logs: Vec<String>,
}

impl Refusal {
    /// An error that tells more than that no broker is there.
    fn reason(&self) -> Option<&(String, String)> {
        self.errors.iter().find(|(code, _)| code != "AllBrokersDown")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason().or(self.errors.first()) {
            Some((code, text)) => write!(f, "{code}: {text}")?,
            None => f.write_str("no error")?,
        }
        // An error repeats what is logged; the log has more where no error was made of it.
        let more = |line: &&String| self.reason().is_none() || !line.starts_with("FAIL:");
        match self.logs.iter().find(more) {
            Some(line) => write!(f, "; log {line}"),
            None => Ok(()),
        }
    }
}

#[derive(Default)]
struct Recording(Mutex<Refusal>);

impl Recording {
    fn with<T>(&self, look: impl FnOnce(&mut Refusal) -> T) -> T {
        look(&mut self.0.lock())
    }
}

impl ClientContext for Recording {
    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| format!("{code:?}"));
        self.with(|seen| seen.errors.push((code, reason.to_owned())));
    }

    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        self.with(|seen| seen.logs.push(format!("{facility}: {text}")));
    }
}

impl ConsumerContext for Recording {}

/// What this librdkafka was built with.
pub fn features() -> String {
    ClientConfig::new().create_native_config().and_then(|c| c.get("builtin.features")).unwrap_or_default()
}

/// Names of the topics that the broker shows.
pub fn attempt(config: &ClientConfig, limit: Duration) -> Result<Vec<String>, Refusal> {
    run(config, None, limit)
}

/// The same with a token.
pub fn attempt_with_token(config: &ClientConfig, token: &Issued, limit: Duration) -> Result<Vec<String>, Refusal> {
    run(config, Some(token), limit)
}

fn run(config: &ClientConfig, token: Option<&Issued>, limit: Duration) -> Result<Vec<String>, Refusal> {
    let made = |text: String| Refusal { errors: vec![("configuration".to_owned(), text)], logs: Vec::new() };
    let mut config = config.clone();
    config.set_log_level(RDKafkaLogLevel::Info);
    let consumer: BaseConsumer<Recording> = config.create_with_context(Recording::default()).map_err(|e| made(e.to_string()))?;
    if let Some(token) = token {
        set_token(consumer.client(), token).map_err(|e| made(e.to_string()))?;
    }
    let begun = Instant::now();
    loop {
        if let Ok(metadata) = consumer.fetch_metadata(None, Duration::from_millis(500)) {
            return Ok(metadata.topics().iter().map(|t| t.name().to_owned()).collect());
        }
        // Errors arrive here.
        let _ = consumer.poll(Duration::from_millis(20));
        let seen = consumer.context().with(|seen| seen.clone());
        // It tries for ever.
        if begun.elapsed() > limit || seen.reason().is_some() || seen.errors.len() > 1 {
            return Err(seen);
        }
    }
}

/// Gives a client the token of its next log-in.
pub fn set_token<C: ClientContext>(client: &Client<C>, token: &Issued) -> Result<()> {
    let (value, principal) = (CString::new(token.token.as_str())?, CString::new(token.subject.as_str())?);
    let expires = token.expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut why = [0 as c_char; 512];
    // SAFETY: the strings are copied; `why` is as long as said and terminated by librdkafka; the client outlives the call.
    let code = unsafe {
        bindings::rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
            value.as_ptr(),
            i64::try_from(expires)?,
            principal.as_ptr(),
            std::ptr::null_mut(),
            0,
            why.as_mut_ptr(),
            why.len(),
        )
    };
    let why = String::from_utf8_lossy(&why.map(|c| c as u8)).trim_end_matches('\0').to_owned();
    ensure!(code == bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR, "{why}");
    Ok(())
}
