//! A gateway on a local socket that answers as instructed and remembers the requests.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::backend::enos::{Credentials, EnosClient, Settings};
use crate::backend::http::HttpPolicy;
use crate::clock::Clock;
use crate::endpoints::EndpointPolicy;

pub const KEY: &str = "access-key-0001";
pub const SECRET: &str = "secret-key-0001";
pub const TOKEN: &str = "token-value-0001";
pub const ORG: &str = "o15000000000001";
pub const ID: &str = "565c0114-0000-4372-86d1-000000000000";

/// What the gateway does with a request.
pub enum Do {
    /// Answers with this status and JSON body.
    Say(u16, String),
    /// Answers with these bytes, and closes the connection.
    Raw(Vec<u8>),
    /// Closes the connection without an answer.
    Close,
    /// Does not answer until the client goes away.
    Hang,
    /// Sends a body that does not end.
    Flood,
}

pub fn ok() -> Do {
    Do::Say(200, r#"{"code":0,"msg":"OK"}"#.into())
}

pub fn say(body: &str) -> Do {
    Do::Say(200, body.into())
}

#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Everything before the body.
    pub head: String,
    pub body: String,
    pub connection: usize,
    pub at: Instant,
}

impl Asked {
    pub fn is_token(&self) -> bool {
        self.target.starts_with("/apim-token-service/")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &'_ str| line.split_once(": ").is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        self.head.lines().find(|l| of(l)).and_then(|l| l.split_once(": ")).map(|(_, value)| value)
    }
}

pub struct Stub {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
}

impl Stub {
    /// Token calls get a fresh token each (`TOKEN-1`, ...); `answer` answers the other calls, numbered from 0.
    pub fn start(answer: impl Fn(usize, &Asked) -> Do + Send + Sync + 'static) -> Self {
        let (tokens, others) = (AtomicUsize::new(1), AtomicUsize::new(0));
        Self::bare(move |asked| {
            if asked.is_token() {
                let n = tokens.fetch_add(1, Ordering::SeqCst);
                return say(&format!(r#"{{"stauts":0,"msg":"SUCCESS","data":{{"accessToken":"{TOKEN}-{n}","expire":7200}}}}"#));
            }
            answer(others.fetch_add(1, Ordering::SeqCst), asked)
        })
    }

    pub fn bare(answer: impl Fn(&Asked) -> Do + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stub = Self { address: listener.local_addr().unwrap(), asked: Arc::default(), connections: Arc::default() };
        let (asked, connections, answer) = (Arc::clone(&stub.asked), Arc::clone(&stub.connections), Arc::new(answer));
        // The threads end with the test process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = connections.fetch_add(1, Ordering::SeqCst);
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                std::thread::spawn(move || while serve(&stream, connection, &asked, &*answer).is_some() {});
            }
        });
        stub
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The calls other than token calls.
    pub fn calls(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(|a| !a.is_token()).collect()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn settings(&self) -> Settings {
        settings(&format!("http://{}", self.address))
    }

    pub fn client(&self) -> EnosClient {
        EnosClient::new(self.settings()).unwrap()
    }
}

pub fn settings(endpoint: &str) -> Settings {
    Settings {
        endpoint: endpoint.to_owned(),
        credentials: Credentials::new(KEY, SECRET),
        ca_pem: None,
        policy: HttpPolicy { endpoints: Arc::new(EndpointPolicy::parse(&["127.0.0.0/8"], &[]).unwrap()), allow_plain_http: true },
        connect_deadline: Duration::from_millis(500),
        call_deadline: Duration::from_secs(2),
        clock: Clock::default(),
        transport: None,
    }
}

/// Long enough for any test.
pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

pub fn http(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body.as_bytes()].concat()
}

fn serve(mut stream: &TcpStream, connection: usize, asked: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked) -> Do) -> Option<()> {
    let request = read(stream, connection)?;
    asked.lock().unwrap().push(request.clone());
    match answer(&request) {
        Do::Say(status, body) => {
            let head = format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).ok()
        }
        Do::Raw(bytes) => stream.write_all(&bytes).ok().and(None),
        Do::Close => None,
        Do::Hang => {
            while stream.read(&mut [0; 64]).ok()? > 0 {}
            None
        }
        Do::Flood => {
            stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 10485760\r\n\r\n").ok()?;
            for _ in 0..160 {
                stream.write_all(&[b' '; 65_536]).ok()?;
            }
            None
        }
    }
}

fn read(mut stream: &TcpStream, connection: usize) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        let mut part = [0; 4096];
        let n = stream.read(&mut part).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&part[..n]);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut words = head.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut asked = Asked { method, target, head, body: String::new(), connection, at: Instant::now() };
    let length = asked.header("content-length").map_or(0, |l| l.trim().parse().unwrap());
    while bytes.len() < end + length {
        let mut part = [0; 4096];
        let n = stream.read(&mut part).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&part[..n]);
    }
    asked.body = String::from_utf8_lossy(&bytes[end..]).into_owned();
    Some(asked)
}
