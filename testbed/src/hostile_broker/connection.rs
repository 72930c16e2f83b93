//! One connection through a hostile broker.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use kafka_protocol::messages::ApiKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, sleep};

use super::Inner;
use super::attack::{Attack, Script, Strike};
use super::fields::Answer;
use super::spoil::spoiled;

/// How long it goes on sending what nobody asked for.
const FLOOD: Duration = Duration::from_secs(3);

/// A request whose answer is awaited, and what is done to that.
struct Flight {
    api: Option<ApiKey>,
    version: i16,
    strike: Option<Strike>,
}

struct Connection {
    inner: Arc<Inner>,
    number: u64,
    /// By correlation id.
    flights: Mutex<HashMap<[u8; 4], Flight>>,
}

pub async fn serve(inner: Arc<Inner>, number: u64, script: Script, client: TcpStream) {
    let mut honest = inner.honest.subscribe();
    let mut script = Some(script).filter(|_| !*honest.borrow_and_update());
    if script.as_mut().is_some_and(Script::refuses) {
        inner.note(number, Attack::ResetOnAccept, None);
        let _ = client.set_zero_linger();
        return;
    }
    let Ok(server) = TcpStream::connect(&inner.behind).await else { return };
    // A request would wait 40 ms for the acknowledgement of the one before.
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let connection = Connection { inner, number, flights: Mutex::default() };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let ended = tokio::select! {
        ended = connection.requests(&mut from_client, &mut to_server, script) => ended,
        ended = connection.answers(&mut from_server, &mut to_client) => ended,
        _ = honest.changed() => Ok(()),
    };
    if ended.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionReset) {
        let _ = from_client.as_ref().set_zero_linger();
    }
}

async fn frame(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let size = from.read_i32().await?;
    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    from.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn send(to: &mut OwnedWriteHalf, bytes: &[u8]) -> io::Result<()> {
    let size = i32::try_from(bytes.len()).map_err(io::Error::other)?;
    send_sized(to, size, bytes).await
}

async fn send_sized(to: &mut OwnedWriteHalf, size: i32, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&[&size.to_be_bytes(), bytes].concat()).await
}

/// The client is told by a reset.
fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl Connection {
    /// A request begins with API key, version and correlation id.
    async fn requests(&self, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, mut script: Option<Script>) -> io::Result<()> {
        loop {
            let bytes = frame(from).await?;
            let Some([k0, k1, v0, v1, id @ ..]) = bytes.first_chunk::<8>() else { return Ok(()) };
            let (api, version) = (ApiKey::try_from(i16::from_be_bytes([*k0, *k1])).ok(), i16::from_be_bytes([*v0, *v1]));
            let strike = api.and_then(|api| script.as_mut()?.next(api));
            let end = strike.as_ref().map(|strike| strike.attack).filter(|a| matches!(a, Attack::ResetBefore | Attack::ResetAfter));
            if let Some(attack) = end {
                self.inner.note(self.number, attack, api);
                if attack == Attack::ResetAfter {
                    send(to, &bytes).await?;
                    // Else the broker may not read it any more.
                    sleep(Duration::from_millis(20)).await;
                }
                return Err(reset());
            }
            self.flights.lock().expect("no panic under this lock").insert(*id, Flight { api, version, strike });
            send(to, &bytes).await?;
        }
    }

    /// An answer begins with the correlation id.
    async fn answers(&self, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> io::Result<()> {
        loop {
            let bytes = frame(from).await?;
            let id = bytes.first_chunk::<4>();
            let flight = id.and_then(|id| self.flights.lock().expect("no panic under this lock").remove(id));
            let Some(Flight { api: Some(api), version, strike }) = flight else {
                send(to, &bytes).await?;
                continue;
            };
            let (head, body) = bytes.split_at(if api.response_header_version(version) > 0 { 5 } else { 4 }.min(bytes.len()));
            self.know(api, version, body);
            match strike {
                None => send(to, &bytes).await?,
                Some(strike) => self.strike(strike, (api, version), head, body, to).await?,
            }
        }
    }

    fn know(&self, api: ApiKey, version: i16, body: &[u8]) {
        let known = Answer::decode(api, version, body).is_some_and(|answer| answer.encode(version).as_deref() == Some(body));
        *self.inner.answers.lock().expect("no panic under this lock").entry((format!("{api:?}"), known)).or_default() += 1;
    }

    async fn strike(&self, strike: Strike, of: (ApiKey, i16), head: &[u8], body: &[u8], to: &mut OwnedWriteHalf) -> io::Result<()> {
        let Strike { attack, mut rng } = strike;
        let ((api, version), rng) = (of, &mut rng);
        let whole = [head, body].concat();
        let size = i32::try_from(whole.len()).map_err(io::Error::other)?;
        let note = || self.inner.note(self.number, attack, Some(api));
        match attack {
            Attack::Stall => {
                note();
                if rng.bool() {
                    std::future::pending().await
                }
                Ok(())
            }
            Attack::Late => {
                note();
                sleep(self.inner.options.deadline.mul_f64(rng.f64() * 0.4 + 0.9)).await;
                send(to, &whole).await
            }
            Attack::Twice => {
                note();
                send(to, &whole).await?;
                let again = if rng.bool() { whole.clone() } else { answering_another(&whole, rng) };
                send(to, &again).await
            }
            Attack::OtherCorrelationId => {
                note();
                send(to, &answering_another(&whole, rng)).await
            }
            Attack::WrongSize => {
                note();
                let sizes = [-1, i32::MIN, 0, 3, 4, size - 1, size + 1, size + 1000];
                send_sized(to, sizes[rng.usize(..sizes.len())], &whole).await
            }
            Attack::ResetMidAnswer => {
                note();
                to.write_all(&[&size.to_be_bytes(), whole.as_slice()].concat()[..rng.usize(..whole.len() + 4)]).await?;
                // What is not read yet would be lost with the reset.
                sleep(Duration::from_millis(20)).await;
                Err(reset())
            }
            Attack::Flood => {
                note();
                flood(&whole, rng, to).await
            }
            Attack::Gigabyte => {
                note();
                gigabyte(head, rng, to).await
            }
            _ => match spoiled(attack, api, version, body, rng) {
                None => send(to, &whole).await,
                Some(body) => {
                    note();
                    send(to, &[head, &body].concat()).await
                }
            },
        }
    }
}

/// The same for another question: an earlier, a later, or none.
fn answering_another(whole: &[u8], rng: &mut Rng) -> Vec<u8> {
    let (id, rest) = whole.split_first_chunk::<4>().unwrap_or((&[0; 4], whole));
    let id = i32::from_be_bytes(*id);
    let ids = [id.wrapping_add(1), id.wrapping_sub(1), id.wrapping_add(2), 0, -1, i32::MIN, rng.i32(..)];
    [&ids[rng.usize(..ids.len())].to_be_bytes(), rest].concat()
}

async fn flood(whole: &[u8], rng: &mut Rng, to: &mut OwnedWriteHalf) -> io::Result<()> {
    let began = Instant::now();
    let whole_ones = rng.bool();
    while began.elapsed() < FLOOD {
        let mut bytes = Vec::new();
        while bytes.len() < 1 << 16 {
            let made_up: Vec<u8> = (0..rng.usize(4..64)).map(|_| rng.u8(..)).collect();
            let frame = if whole_ones { answering_another(whole, rng) } else { made_up };
            bytes.extend(i32::try_from(frame.len()).map_err(io::Error::other)?.to_be_bytes());
            bytes.extend(frame);
        }
        to.write_all(&bytes).await?;
    }
    Err(reset())
}

/// More than a client takes (100 MB as librdkafka has it), or about as much.
async fn gigabyte(head: &[u8], rng: &mut Rng, to: &mut OwnedWriteHalf) -> io::Result<()> {
    let size = [1 << 30, i32::MAX, 99_999_000, 50_000_000][rng.usize(..4)];
    send_sized(to, size, head).await?;
    let mut left = usize::try_from(size).map_err(io::Error::other)?.saturating_sub(head.len());
    let zeros = vec![0; 1 << 16];
    while left > 0 {
        let sent = left.min(zeros.len());
        to.write_all(&zeros[..sent]).await?;
        left -= sent;
    }
    Ok(())
}
