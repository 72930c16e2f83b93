//! Connections, and the way of a request: who calls, what goes wrong before, the effect, what goes wrong after.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use axum::http::header::CONTENT_TYPE;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::answer::{Answer, Payload};
use super::call::{Call, InFlight};
use super::fault::{Fault, Kind, When};
use super::request::Request;
use super::{Inner, control, effects, spoil};

const LARGEST: usize = 1 << 20;

/// Until the simulator ends; its connections end with it.
pub(super) async fn serve(sim: Arc<Inner>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = sim.ended() => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let (sim, tls) = (Arc::clone(&sim), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => connection(sim, stream).await,
                        Some(tls) => if let Ok(stream) = tls.accept(stream).await { connection(sim, stream).await },
                    }
                });
            }
        }
    }
}

async fn connection(sim: Arc<Inner>, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let sim = Arc::clone(&sim);
        async move {
            let (parts, body) = request.into_parts();
            let Ok(body) = axum::body::to_bytes(Body::new(body), LARGEST).await else {
                return respond(Answer::gateway(413, "Request size limit exceeded"));
            };
            let request = Request::new(parts, body.to_vec());
            // A task of its own: what a client gave up on goes on here.
            let answered = tokio::spawn(async move {
                tokio::select! {
                    () = sim.ended() => None,
                    answer = handle(&sim, &request) => Some(answer),
                }
            });
            respond(answered.await.ok().flatten().ok_or_else(closed)?)
        }
    });
    // It fails when a client goes away, and when a fault closes it.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn closed() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

fn respond(answer: Answer) -> io::Result<Response<Body>> {
    let mut response = Response::builder().status(answer.status_code()).header(CONTENT_TYPE, answer.content_type);
    if let Some((name, value)) = answer.header {
        response = response.header(name, value);
    }
    let body = match answer.body {
        Payload::Whole(bytes) => Body::from(bytes),
        Payload::Half(bytes) => Body::new(Half::new(&bytes)),
        Payload::Nothing => return Err(closed()),
    };
    response.body(body).map_err(io::Error::other)
}

async fn handle(sim: &Arc<Inner>, request: &Request) -> Answer {
    if let Some(path) = request.path.strip_prefix("/simulator/") {
        return control::answer(sim, request, path).await;
    }
    let log = sim.log.begin(request);
    let answer = answer(sim, request, &log).await;
    log.answered(&answer);
    answer
}

async fn answer(sim: &Arc<Inner>, request: &Request, log: &InFlight<'_>) -> Answer {
    if request.call == Call::Other {
        return Answer::gateway(404, "no Route matched with those values");
    }
    let caller = match request.call.is_token() {
        true => None,
        false => match sim.tokens.check(&sim.options, request) {
            Ok(caller) => caller,
            Err(refused) => return refused,
        },
    };
    if let Some(fault) = stopped(sim, When::Before, request).await {
        return spoil::spoil(sim, fault, request, None);
    }
    let right = match request.call.is_token() {
        true => sim.tokens.answer(&sim.options, request),
        false => effects::act(sim, caller, request).await,
    };
    if right.effect {
        log.took_effect();
    }
    match stopped(sim, When::After, request).await {
        Some(fault) => spoil::spoil(sim, fault, request, Some(right)),
        None => right,
    }
}

/// Waits as long as it is told to; gives a fault that makes another answer.
async fn stopped(sim: &Inner, when: When, request: &Request) -> Option<Fault> {
    sim.faults.pass(when, request).await;
    let fault = sim.faults.take(when, request)?;
    match fault.kind {
        Kind::Delay(time) => tokio::time::sleep(time).await,
        Kind::Hang => sim.faults.hang().await,
        _ => return Some(fault),
    }
    None
}

/// A body that ends in the middle.
struct Half {
    half: Option<Bytes>,
    announced: u64,
    wait: Pin<Box<tokio::time::Sleep>>,
}

impl Half {
    fn new(whole: &[u8]) -> Self {
        let half = Bytes::copy_from_slice(&whole[..whole.len() / 2]);
        // What was written must go out before the connection is closed.
        let wait = Box::pin(tokio::time::sleep(Duration::from_millis(50)));
        Self { half: Some(half), announced: whole.len() as u64, wait }
    }
}

impl HttpBody for Half {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        ready!(self.wait.as_mut().poll(context));
        Poll::Ready(Some(Err(closed())))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}
