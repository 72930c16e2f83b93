//! A broker that is hostile: a proxy in front of a real one that changes its answers, withholds them, or floods whoever asks. What
//! it does is drawn by a seed, so that the n-th connection of a seed is attacked in the same way again.
//!
//! Requests are passed on as they are and at once, or not at all: what it says is false, what it does is the broker's own. So an
//! independent client, by another way, sees what is true, and whoever says that offsets were written can be proven wrong. Lies that
//! no client can see through are left out, because with them every client is wrong: a commit that is swallowed, answered as written
//! and read back as if it were; an answer of an earlier time in the place of the present one (offsets that were once in force);
//! and a request that is passed on long after (docs/how-it-stays-safe.md speaks of that). Offsets that are made up are therefore
//! far from any that a test has, and never the same for a commit and for an end of a log.

mod attack;
mod connection;
mod fields;
mod spoil;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use kafka_protocol::messages::ApiKey;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use attack::Attack;
use attack::Script;

/// How it chooses.
#[derive(Clone, Debug)]
pub struct Options {
    pub seed: u64,
    /// None but these attacks; empty for all.
    pub only: Vec<Attack>,
    /// After which its clients give up an answer.
    pub deadline: Duration,
}

/// An attack that was made.
#[derive(Clone, Copy, Debug)]
pub struct Struck {
    pub at: Instant,
    pub connection: u64,
    pub attack: Attack,
    /// None while a connection is made.
    pub api: Option<ApiKey>,
}

impl fmt::Display for Struck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.attack)?;
        match self.api {
            Some(api) => write!(f, " on {api:?}"),
            None => Ok(()),
        }
    }
}

/// In front of a broker, whose listener behind it advertises its address.
pub struct HostileBroker {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    behind: String,
    struck: Mutex<Vec<Struck>>,
    /// Answers, by API, and whether the schema that is known here is theirs.
    answers: Mutex<BTreeMap<(String, bool), usize>>,
    honest: watch::Sender<bool>,
}

impl Inner {
    fn note(&self, connection: u64, attack: Attack, api: Option<ApiKey>) {
        let struck = Struck { at: Instant::now(), connection, attack, api };
        self.struck.lock().expect("no panic under this lock").push(struck);
    }
}

impl HostileBroker {
    /// Takes connections from now on, honest or not.
    pub fn serve(socket: std::net::TcpListener, behind: String, options: Options, honest: bool) -> Result<Self> {
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket)?;
        let honest = watch::Sender::new(honest);
        let inner = Arc::new(Inner { options, behind, struck: Mutex::default(), answers: Mutex::default(), honest });
        let served = Arc::clone(&inner);
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok((client, _)) = listener.accept().await {
                let script = Script::new(served.options.seed, number, &served.options.only);
                tokio::spawn(connection::serve(Arc::clone(&served), number, script, client));
                // Those it treats well are none of the seed's.
                number += u64::from(!*served.honest.borrow());
            }
        });
        Ok(Self { inner })
    }

    /// As every other broker from now on, or no more. The connections it has end.
    pub fn set_honest(&self, honest: bool) {
        self.inner.honest.send_replace(honest);
    }

    /// Every attack, in order.
    pub fn struck(&self) -> Vec<Struck> {
        self.inner.struck.lock().expect("no panic under this lock").clone()
    }

    /// How many answers came from the broker behind, by API; and whether their schema was known, so that a field could be changed.
    pub fn answers(&self) -> BTreeMap<(String, bool), usize> {
        self.inner.answers.lock().expect("no panic under this lock").clone()
    }
}
