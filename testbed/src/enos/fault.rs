//! What goes wrong on demand, and calls that are stopped until a test lets them go.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use tokio::sync::watch;

use super::call::Call;
use super::request::Request;

/// Before: instead of the effect. After: the effect is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    Before,
    After,
}

/// What happens to calls that were signed rightly.
#[derive(Clone, Debug, Deserialize)]
pub struct Fault {
    pub call: Call,
    pub when: When,
    pub kind: Kind,
    /// To so many calls.
    #[serde(default = "once")]
    pub times: u32,
    /// None: of every organisation.
    pub org: Option<String>,
    /// None: of every pipeline. For [`Kind::OddStatus`]: the one shown so.
    pub pipeline: Option<String>,
}

fn once() -> u32 {
    1
}

impl Fault {
    pub fn new(call: Call, when: When, kind: Kind) -> Self {
        Self { call, when, kind, times: 1, org: None, pipeline: None }
    }

    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    pub fn org(mut self, org: &str) -> Self {
        self.org = Some(org.to_owned());
        self
    }

    pub fn pipeline(mut self, pipeline: &str) -> Self {
        self.pipeline = Some(pipeline.to_owned());
        self
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The call goes on after this time.
    Delay(#[serde(deserialize_with = "millis")] Duration),
    /// The call goes on after [`super::Simulator::release_hangs`].
    Hang,
    /// The connection is closed without an answer.
    Drop,
    /// The connection is closed after half of the body.
    CutBody,
    /// A code, with its documented text or another.
    Code(i64, Option<String>),
    /// An HTTP status and the message of the gateway.
    Http(u16, String),
    /// 429 and so many seconds in `Retry-After`.
    RetryAfter(u64),
    /// A page instead of JSON, with this HTTP status.
    Html(u16),
    /// 10 MiB of JSON.
    BigBody,
    /// JSON, 10,000 deep.
    DeepJson,
    /// 307 to there: it keeps method and body.
    Redirect(String),
    /// 4011 or 4012 in an answer with HTTP status 200.
    ApimStatus(i64),
    /// The list shows this as a status.
    OddStatus(String),
    /// After this page of the list its first pipeline goes to the end: one moves over each border behind.
    ShiftPages,
}

impl Kind {
    /// These change what the list says, whenever.
    fn is_of_the_list(&self) -> bool {
        matches!(self, Self::OddStatus(_) | Self::ShiftPages)
    }
}

fn millis<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_millis)
}

struct Trap {
    call: Call,
    when: When,
    pipeline: Option<String>,
    reached: watch::Sender<bool>,
    go: watch::Receiver<bool>,
}

/// A call that is stopped where it was told to; [`Held::release`] or a drop lets it go.
pub struct Held {
    reached: watch::Receiver<bool>,
    go: watch::Sender<bool>,
}

impl Held {
    /// Waits until the call is there.
    ///
    /// # Panics
    /// When none came within 60 s.
    pub async fn reached(&self) {
        let mut reached = self.reached.clone();
        let wait = reached.wait_for(|reached| *reached);
        tokio::time::timeout(Duration::from_secs(60), wait)
            .await
            .expect("a call to be stopped within 60 s")
            .expect("the simulator lives as long as its test");
    }

    pub fn release(self) {
        self.go.send_replace(true);
    }
}

#[derive(Default)]
pub(super) struct Faults {
    faults: Mutex<Vec<Fault>>,
    traps: Mutex<Vec<Trap>>,
    /// Counts the times that hanging calls were let go.
    released: watch::Sender<u64>,
    hanging: AtomicUsize,
}

fn fits(wanted: &Option<String>, found: Option<&str>) -> bool {
    wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
}

impl Faults {
    pub fn add(&self, fault: Fault) {
        self.faults.lock().expect("no panic under this lock").push(fault);
    }

    pub fn clear(&self) {
        self.faults.lock().expect("no panic under this lock").clear();
    }

    pub fn release_hangs(&self) {
        self.released.send_modify(|n| *n += 1);
    }

    pub async fn hang(&self) {
        let mut released = self.released.subscribe();
        self.hanging.fetch_add(1, Ordering::AcqRel);
        // The sender lives as long as this.
        let _ = released.changed().await;
        self.hanging.fetch_sub(1, Ordering::AcqRel);
    }

    pub fn hanging(&self) -> usize {
        self.hanging.load(Ordering::Acquire)
    }

    /// The fault of this call here, used up by one.
    pub fn take(&self, when: When, request: &Request) -> Option<Fault> {
        let mut faults = self.faults.lock().expect("no panic under this lock");
        let of = |f: &Fault| {
            let list = f.kind.is_of_the_list();
            let side = if list { when == When::After } else { f.when == when };
            let pipeline = list || fits(&f.pipeline, request.pipeline.as_deref());
            f.call == request.call && side && pipeline && fits(&f.org, request.param("orgId"))
        };
        let at = faults.iter().position(|f| f.times > 0 && of(f))?;
        faults[at].times -= 1;
        let taken = faults[at].clone();
        faults.retain(|f| f.times > 0);
        Some(taken)
    }

    pub fn hold(&self, call: Call, when: When, pipeline: Option<&str>) -> Held {
        let (reached, seen) = watch::channel(false);
        let (release, go) = watch::channel(false);
        let trap = Trap { call, when, pipeline: pipeline.map(str::to_owned), reached, go };
        self.traps.lock().expect("no panic under this lock").push(trap);
        Held { reached: seen, go: release }
    }

    /// Returns at once, or, where the call is to be stopped here, when it is let go.
    pub async fn pass(&self, when: When, request: &Request) {
        let trap = {
            let mut traps = self.traps.lock().expect("no panic under this lock");
            // One whose test has let go of it stops nothing.
            traps.retain(|t| t.go.has_changed().is_ok_and(|released| !released));
            let at = traps.iter().position(|t| t.call == request.call && t.when == when && fits(&t.pipeline, request.pipeline.as_deref()));
            at.map(|at| traps.remove(at))
        };
        if let Some(mut trap) = trap {
            trap.reached.send_replace(true);
            // Without a sender the test is over.
            let _ = trap.go.wait_for(|go| *go).await;
        }
    }
}
