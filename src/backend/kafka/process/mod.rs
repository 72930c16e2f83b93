//! The process of one Kafka client: librdkafka, and nothing else. It parses what strangers send, so it has no account, no file and no other
//! tenant's secret, and if it fails it ends alone. The operator starts it from its own binary (`client::spawn`), tells it over a socket
//! what to ask the brokers, and keeps the deadlines; a client that is not needed any more is killed.

mod lockdown;
pub mod wire;

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;

use super::admin::{AdminError, BrokerError, KafkaCode};
use super::librdkafka::{AdminReply, Callbacks, Handle, Ticket, argument, cstring};
use wire::{AdminAnswer, AdminCall, FromProcess, ToProcess};

/// The first argument that makes this binary the process of a Kafka client.
pub const SUBCOMMAND: &str = "kafka-client";

/// How long librdkafka's threads wait for the operator to resolve a name or permit an address; it answers at once, or has ended.
const QUESTION: Duration = Duration::from_secs(30);

enum Msg {
    Call(u64, AdminCall),
    Token {
        value: String,
        expires: i64,
        principal: String,
    },
    NoToken(String),
    /// Events may have arrived in the queue.
    Wake,
    Listed(usize, Result<bool, KafkaCode>),
}

/// Runs until the operator closes the socket, which is standard input.
pub fn main() -> ExitCode {
    let open_doors = lockdown::lock_down();
    match serve(open_doors) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The operator reads this from the pipe.
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(open_doors: Vec<String>) -> io::Result<()> {
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let ToProcess::Open { settings } = wire::read(&mut socket)? else { return Err(io::Error::other("the first message is no Open")) };
    let (to_main, inbox) = channel();
    let link = Arc::new(Link { socket: Mutex::new(socket.try_clone()?), questions: Mutex::default() });
    let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let waker = to_main.clone();
    let (filter, names, throttled) = (Arc::clone(&link), Arc::clone(&link), Arc::clone(&link));
    let callbacks = Callbacks {
        may_connect: Box::new(move |host, address| filter.may_connect(host, address)),
        resolve: Box::new(move |host, port| names.resolve(host, port)),
        // If this cannot be sent, the operator is gone.
        throttled: Box::new(move |broker| drop(throttled.send(&FromProcess::Throttled(broker.to_owned())))),
    };
    let made = Handle::new(
        &settings,
        // Fails only if the main thread has ended.
        Box::new(move || drop(waker.send(Msg::Wake))),
        callbacks,
    );
    let (handle, made) = match made {
        Ok(handle) => (Some(handle), Ok(())),
        Err(error) => (None, Err(error)),
    };
    link.send(&FromProcess::Opened { made, open_doors })?;
    let Some(handle) = handle else { return Ok(()) };
    let (receiver_to_main, questions) = (to_main.clone(), Arc::clone(&link));
    std::thread::Builder::new().name("operator".into()).spawn(move || {
        // Without the operator there is nothing left to do, and what the kernel was not handed yet must not be sent.
        if receive(socket, &receiver_to_main, &questions).is_err() {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    })?;
    Process { handle, link, to_main, calls: HashMap::new() }.run(&inbox)
}

/// Passes the operator's messages on. Returns only with an error.
fn receive(mut socket: UnixStream, to_main: &Sender<Msg>, link: &Link) -> io::Result<()> {
    loop {
        let message = match wire::read(&mut socket)? {
            ToProcess::Call { id, call } => Msg::Call(id, call),
            ToProcess::Token { value, expires, principal } => Msg::Token { value, expires, principal },
            ToProcess::NoToken(why) => Msg::NoToken(why),
            ToProcess::Addresses { id, found } => {
                link.reply(id, Reply::Addresses(found));
                continue;
            }
            ToProcess::MayConnect { id, allowed } => {
                link.reply(id, Reply::MayConnect(allowed));
                continue;
            }
            #[cfg(debug_assertions)]
            ToProcess::Try => {
                link.send(&FromProcess::Could(lockdown::could()))?;
                continue;
            }
            ToProcess::Open { .. } => return Err(io::Error::other("a second Open")),
        };
        to_main.send(message).map_err(io::Error::other)?;
    }
}

enum Reply {
    Addresses(Option<Vec<SocketAddr>>),
    MayConnect(bool),
}

/// The connection to the operator, for every thread of this process.
struct Link {
    socket: Mutex<UnixStream>,
    questions: Mutex<Questions>,
}

#[derive(Default)]
struct Questions {
    last: u64,
    open: HashMap<u64, mpsc::SyncSender<Reply>>,
}

impl Link {
    fn send(&self, message: &FromProcess) -> io::Result<()> {
        // One write per frame, so that no half frame is left if this thread ends.
        let mut frame = Vec::new();
        wire::write(&mut frame, message)?;
        self.socket.lock().write_all(&frame)
    }

    fn ask(&self, question: impl FnOnce(u64) -> FromProcess) -> Option<Reply> {
        let (reply, answer) = mpsc::sync_channel(1);
        let id = {
            let mut questions = self.questions.lock();
            questions.last += 1;
            let id = questions.last;
            questions.open.insert(id, reply);
            id
        };
        let asked = self.send(&question(id));
        let found = asked.ok().and_then(|()| answer.recv_timeout(QUESTION).ok());
        self.questions.lock().open.remove(&id);
        found
    }

    fn reply(&self, id: u64, reply: Reply) {
        let waiting = self.questions.lock().open.remove(&id);
        // Whoever asked may have given up.
        let _ = waiting.map(|waiting| waiting.try_send(reply));
    }

    fn may_connect(&self, host: &str, address: SocketAddr) -> bool {
        matches!(self.ask(|id| FromProcess::MayConnect { id, host: host.to_owned(), address }), Some(Reply::MayConnect(true)))
    }

    fn resolve(&self, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
        match self.ask(|id| FromProcess::Resolve { id, host: host.to_owned(), port }) {
            Some(Reply::Addresses(found)) => found,
            _ => None,
        }
    }
}

struct Process {
    handle: Handle,
    link: Arc<Link>,
    to_main: Sender<Msg>,
    /// The call that an event with this id answers.
    calls: HashMap<usize, &'static str>,
}

impl Process {
    fn run(mut self, inbox: &mpsc::Receiver<Msg>) -> io::Result<()> {
        loop {
            match inbox.recv().map_err(io::Error::other)? {
                Msg::Call(id, call) => self.submit(id, &call)?,
                Msg::Listed(id, found) => self.answer(id, &AdminReply::Listed(found))?,
                Msg::Token { value, expires, principal } => {
                    if let Err(error) = self.handle.set_token(&value, expires, &principal) {
                        let why = error.to_string();
                        self.handle.no_token(&why);
                        self.link.send(&FromProcess::Complaint(BrokerError { code: KafkaCode::AUTHENTICATION, text: why }))?;
                    }
                }
                Msg::NoToken(why) => self.handle.no_token(&why),
                Msg::Wake => {}
            }
            while let Some(event) = self.handle.poll() {
                if event.asks_for_token() {
                    self.link.send(&FromProcess::WantsToken)?;
                } else if let Some(error) = event.broker_error() {
                    self.link.send(&FromProcess::Complaint(error))?;
                } else if let Some(call) = self.calls.get(&event.id()).copied() {
                    let id = event.id();
                    self.answer(id, &event.answer_to(call))?;
                }
            }
        }
    }

    fn submit(&mut self, id: u64, call: &AdminCall) -> io::Result<()> {
        // A call's number fits into a pointer and is never 0: the operator counts from 1.
        let ticket = Ticket { call: call.name(), id: usize::try_from(id).map_err(io::Error::other)? };
        match self.hand_over(&ticket, call) {
            Ok(()) => {
                self.calls.insert(ticket.id, ticket.call);
                Ok(())
            }
            Err(error) => self.link.send(&FromProcess::Answer { id, answer: Err(error), coordinator_moved: false }),
        }
    }

    fn hand_over(&self, ticket: &Ticket, call: &AdminCall) -> Result<(), AdminError> {
        let group = |name: &str| match name {
            // Brokers accept a group without a name, but nobody means one.
            "" => Err(argument(ticket.call, "a group without a name")),
            name => cstring(ticket.call, name),
        };
        match call {
            AdminCall::DescribeCluster => self.handle.describe_cluster(ticket),
            AdminCall::DescribeTopics(names) => {
                let names = names.iter().map(|name| cstring(ticket.call, name)).collect::<Result<Vec<_>, _>>()?;
                self.handle.describe_topics(ticket, &names)
            }
            AdminCall::DescribeConsumerGroup(name) => self.handle.describe_group(ticket, &group(name)?),
            AdminCall::ListGroups(name, left) => {
                let (inbox, id) = (self.to_main.clone(), ticket.id);
                // Fails only if the main thread has ended.
                self.handle.list_groups(ticket, group(name)?, *left, move |found| drop(inbox.send(Msg::Listed(id, found))))
            }
            AdminCall::ListConsumerGroupOffsets { group: name, partitions, require_stable } => {
                self.handle.list_committed(ticket, &group(name)?, partitions.as_deref(), *require_stable)
            }
            AdminCall::ListOffsets(wanted, isolation) => self.handle.list_offsets(ticket, wanted, *isolation),
            AdminCall::AlterConsumerGroupOffsets(name, offsets) => self.handle.alter_committed(ticket, &group(name)?, offsets),
            AdminCall::DeleteConsumerGroupOffsets(name, partitions) => self.handle.delete_committed(ticket, &group(name)?, partitions),
        }
    }

    fn answer(&mut self, id: usize, event: &AdminReply) -> io::Result<()> {
        let Some(call) = self.calls.remove(&id) else { return Ok(()) };
        let answer = match call {
            "DescribeCluster" => event.cluster().map(AdminAnswer::Cluster),
            "DescribeTopics" => event.topics().map(AdminAnswer::Topics),
            "DescribeConsumerGroups" => event.group().map(AdminAnswer::Group),
            "ListGroups" => event.is_listed().map(AdminAnswer::Listed),
            "ListConsumerGroupOffsets" => event.committed().map(|found| AdminAnswer::Committed(found.into_iter().collect())),
            "ListOffsets" => event.listed().map(|found| AdminAnswer::Offsets(found.into_iter().collect())),
            "DeleteConsumerGroupOffsets" => event.deleted().map(|found| AdminAnswer::Altered(found.into_iter().collect())),
            _ => event.altered().map(|found| AdminAnswer::Altered(found.into_iter().collect())),
        };
        let answer = answer.and_then(|answer| match answer.rows() {
            rows if rows > wire::MAX_ANSWER => Err(AdminError::TooLarge { call, rows }),
            _ => Ok(answer),
        });
        let (id, rows) = (id as u64, answer.as_ref().map_or(0, AdminAnswer::rows));
        let sent = self.link.send(&FromProcess::Answer { id, answer, coordinator_moved: event.coordinator_moved() });
        match sent {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let answer = Err(AdminError::TooLarge { call, rows });
                self.link.send(&FromProcess::Answer { id, answer, coordinator_moved: false })
            }
            sent => sent,
        }
    }
}
