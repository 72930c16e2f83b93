//! What can break on the way, and what is then certain about a reset.

use crate::backend::enos::operation::Operation;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testbed::KeptPort;

use super::stub::*;
use crate::backend::enos::failure::Effect;
use crate::backend::enos::{EnosClient, Failure, FailureKind, Settings};
use crate::backend::http::HttpPolicy;
use crate::endpoints::EndpointPolicy;

async fn reset(client: &EnosClient) -> Failure {
    client.reset(ORG, ID, soon()).await.unwrap_err()
}

/// Sends a reset that gets `answer`: its failure, and how often the reset was sent.
async fn met(answer: impl Fn() -> Do + Send + Sync + 'static) -> (FailureKind, Effect, usize) {
    let stub = Stub::start(move |_, _| answer());
    let failure = reset(&stub.client()).await;
    (failure.kind, failure.effect, stub.calls().len())
}

#[tokio::test]
async fn a_connection_that_is_refused_is_not_sent() {
    let kept = KeptPort::new().unwrap();
    let failure = reset(&EnosClient::new(settings(&format!("http://{}", kept.address))).unwrap()).await;
    assert_eq!((failure.call, failure.kind, failure.effect), (Operation::GetToken, FailureKind::Connect, Effect::NotSent));
    assert!(failure.text.contains("refused"), "{failure}");
}

/// The client has a token, and then the gateway goes away.
#[tokio::test]
async fn a_reset_that_finds_no_connection_is_not_sent() {
    let token = format!(r#"{{"status":0,"data":{{"accessToken":"{TOKEN}","expire":7200}}}}"#);
    let kept = KeptPort::new().unwrap();
    let address = kept.address.clone();
    let listener = TcpListener::bind(&address).unwrap();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut first, _) = listener.accept().unwrap();
        drop(listener);
        let _ = first.read(&mut [0; 4096]).unwrap();
        first.write_all(&http(200, "", &token)).unwrap();
    });
    let failure = reset(&EnosClient::new(settings(&format!("http://{address}"))).unwrap()).await;
    assert_eq!((failure.call, failure.kind, failure.effect), (Operation::Reset, FailureKind::Connect, Effect::NotSent));
}

#[tokio::test]
async fn whatever_breaks_after_the_request_is_unknown_and_sent_once() {
    for (answer, kind) in [
        ((|| Do::Close) as fn() -> Do, FailureKind::ConnectionLost),
        (|| Do::Raw(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n{\"code\":0".to_vec()), FailureKind::ConnectionLost),
        (|| Do::Raw(b"no http at all\r\n\r\n".to_vec()), FailureKind::ConnectionLost),
        (|| Do::Flood, FailureKind::TooLarge),
        (|| Do::Hang, FailureKind::Timeout),
        (|| Do::Raw(http(200, "Content-Type: text/html\r\n", "<html>Sign in</html>")), FailureKind::NotJson),
        (|| Do::Raw(http(200, "", "")), FailureKind::NotJson),
        (|| Do::Raw(http(204, "", "")), FailureKind::NotJson),
        (|| say("[0]"), FailureKind::NotJson),
        (|| say("{}"), FailureKind::BadAnswer),
        (|| say(&format!("{{\"code\":0,\"data\":{}", "[".repeat(500_000))), FailureKind::NotJson),
        (|| Do::Raw(http(502, "", "<html>Bad gateway</html>")), FailureKind::Http),
        (|| Do::Raw(http(503, "", "{\"message\":\"Service unavailable\"}")), FailureKind::Http),
        (|| Do::Raw(http(408, "", "")), FailureKind::Http),
        (|| say("{\"code\":61168,\"msg\":\"Failed to get the Kafka average rate.\"}"), FailureKind::Platform),
        (|| say("{\"code\":424242}"), FailureKind::Platform),
    ] {
        let met = met(answer).await;
        assert_eq!(met, (kind, Effect::Unknown, 1), "{kind:?}");
    }
}

#[tokio::test]
async fn a_connection_closed_before_the_request_is_read_is_unknown() {
    // Only the token call is read; the next connection is closed at once.
    let token = format!(r#"{{"status":0,"data":{{"accessToken":"{TOKEN}"}}}}"#);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut first, _) = listener.accept().unwrap();
        let _ = first.read(&mut [0; 4096]).unwrap();
        first.write_all(&http(200, "", &token)).unwrap();
        drop(first);
        drop(listener.accept().unwrap());
    });
    let failure = reset(&EnosClient::new(settings(&format!("http://{address}"))).unwrap()).await;
    assert_eq!((failure.call, failure.kind, failure.effect), (Operation::Reset, FailureKind::ConnectionLost, Effect::Unknown));
}

#[tokio::test]
async fn refusals_are_refused() {
    for (answer, kind) in [
        ((|| Do::Raw(http(403, "", "{\"message\":\"Your IP address is not allowed\"}"))) as fn() -> Do, FailureKind::Forbidden),
        (|| Do::Raw(http(404, "", "<html>")), FailureKind::Http),
        (|| Do::Raw(http(429, "", "")), FailureKind::RateLimited),
        (|| say("{\"code\":61108,\"msg\":\"Stream processing job does not exit.\"}"), FailureKind::Platform),
        (|| say("{\"code\":\"99403\"}"), FailureKind::Forbidden),
    ] {
        assert_eq!(met(answer).await, (kind, Effect::Refused, 1), "{kind:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Stub::start(|_, _| ok());
    for status in [301, 302, 303, 307, 308] {
        let to = format!("Location: http://{}/x\r\n", elsewhere.address);
        let stub = Stub::start(move |_, _| Do::Raw(http(status, &to, "")));
        let failure = reset(&stub.client()).await;
        assert_eq!((failure.kind, failure.effect, failure.http), (FailureKind::Redirected, Effect::Unknown, Some(status)));
        assert_eq!(stub.calls().len(), 1);
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn nothing_is_sent_to_an_address_that_is_not_allowed() {
    let stub = Stub::start(|_, _| ok());
    let policy = |rules: &[&str], forbidden: &[IpAddr]| HttpPolicy {
        endpoints: Arc::new(EndpointPolicy::parse(rules, forbidden).unwrap()),
        allow_plain_http: true,
    };
    let port = stub.address.port();
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0.0.0.0"] {
        let settings = Settings { policy: policy(&[], &[]), ..settings(&format!("http://{host}:{port}")) };
        assert_eq!(EnosClient::new(settings).unwrap_err().kind, FailureKind::EndpointNotAllowed, "{host}");
    }
    // Whether a name is allowed is only known once it is resolved.
    for rules in [&[][..], &["localhost"], &["10.0.0.0/8"]] {
        let settings = Settings { policy: policy(rules, &[]), ..settings(&format!("http://localhost:{port}")) };
        let failure = reset(&EnosClient::new(settings).unwrap()).await;
        assert_eq!((failure.kind, failure.effect), (FailureKind::EndpointNotAllowed, Effect::NotSent), "{failure}");
    }
    assert_eq!(stub.connections(), 0);
    let allowed = Settings { policy: policy(&["127.0.0.0/8", "::1"], &[]), ..settings(&format!("http://localhost:{port}")) };
    assert!(EnosClient::new(allowed).unwrap().reset(ORG, ID, soon()).await.is_ok());
}

#[tokio::test]
async fn nothing_is_sent_after_its_time() {
    let stub = Stub::start(|_, _| ok());
    let client = stub.client();
    let failure = client.reset(ORG, ID, Instant::now()).await.unwrap_err();
    assert_eq!((failure.kind, failure.effect), (FailureKind::WindowPassed, Effect::NotSent));
    assert_eq!(stub.calls().len(), 0);
    client.reset(ORG, ID, soon()).await.unwrap();
    assert_eq!(stub.calls().len(), 1);
}

/// The token comes too late; or the connection does.
#[tokio::test]
async fn the_time_is_looked_at_after_the_token() {
    let stub = Stub::bare(|asked| {
        std::thread::sleep(Duration::from_millis(if asked.is_token() { 300 } else { 0 }));
        say(r#"{"code":0,"data":{"accessToken":"t"}}"#)
    });
    let failure = stub.client().reset(ORG, ID, Instant::now() + Duration::from_millis(150)).await.unwrap_err();
    assert_eq!((failure.kind, failure.effect), (FailureKind::WindowPassed, Effect::NotSent));
    assert_eq!(stub.calls().len(), 0);
}

#[tokio::test]
async fn a_change_has_a_connection_of_its_own() {
    let stub = Stub::start(|_, _| ok());
    let client = stub.client();
    for _ in 0..3 {
        client.reset(ORG, ID, soon()).await.unwrap();
    }
    let mut used: Vec<_> = stub.asked().iter().map(|a| a.connection).collect();
    used.dedup();
    assert_eq!(used.len(), 4, "one for the token and one for each reset");
}

#[tokio::test]
async fn endpoints_that_cannot_be_one() {
    for (endpoint, kind) in [
        ("", FailureKind::BadEndpoint),
        ("gateway", FailureKind::BadEndpoint),
        ("ftp://gateway", FailureKind::BadEndpoint),
        ("https://", FailureKind::BadEndpoint),
        ("https://user@gateway", FailureKind::BadEndpoint),
        ("https://user:pass@gateway", FailureKind::BadEndpoint),
        ("https://gateway?x=1", FailureKind::BadEndpoint),
        ("https://gateway#x", FailureKind::BadEndpoint),
        ("https://gateway:0", FailureKind::BadEndpoint),
        ("http://gateway", FailureKind::PlainHttpNotAllowed),
    ] {
        let policy = HttpPolicy { endpoints: Arc::default(), allow_plain_http: false };
        let failure = EnosClient::new(Settings { policy, ..settings(endpoint) }).unwrap_err();
        assert_eq!((failure.kind, failure.effect), (kind, Effect::NotSent), "{endpoint}");
        assert!(!failure.text.contains("pass@"), "{failure}");
    }
    for pem in ["", "no pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let settings = Settings { ca_pem: Some(pem.into()), ..settings("https://127.0.0.1") };
        assert_eq!(EnosClient::new(settings).unwrap_err().kind, FailureKind::BadCa, "{pem}");
    }
}

/// Serves TLS connections one by one, each answering one request with `{"code":0}` and a token. From the second connection on, the
/// handshake begins later by this much. Returns the port, and the number of requests read.
fn tls_gateway(certificate: &rcgen::CertifiedKey<rcgen::KeyPair>, later: Duration) -> (u16, Arc<AtomicUsize>) {
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key.into())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for (n, stream) in listener.incoming().flatten().enumerate() {
            std::thread::sleep(later * n.min(1) as u32);
            let mut tls = rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            if tls.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = tls.write_all(&http(200, "", r#"{"code":0,"data":{"accessToken":"t"}}"#));
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        }
    });
    (port, requests)
}

fn tls_settings(port: u16, ca: &rcgen::CertifiedKey<rcgen::KeyPair>) -> Settings {
    Settings { ca_pem: Some(ca.cert.pem().into_bytes()), ..settings(&format!("https://127.0.0.1:{port}")) }
}

fn tls_client(port: u16, ca: &rcgen::CertifiedKey<rcgen::KeyPair>) -> EnosClient {
    EnosClient::new(tls_settings(port, ca)).unwrap()
}

/// The handshake ends after the time to send, after the deadline to connect, or after the deadline of the whole call: in each case the
/// gateway sees a token call and nothing else.
#[tokio::test]
async fn the_time_is_looked_at_after_the_handshake() {
    let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let ms = Duration::from_millis;
    for (later, window, connect, call, kind) in [
        (300, 150, 1000, 2000, FailureKind::WindowPassed),
        (1200, 5000, 500, 2000, FailureKind::Connect),
        (1200, 5000, 2000, 500, FailureKind::Timeout),
    ] {
        let (port, requests) = tls_gateway(&certificate, ms(later));
        let settings = tls_settings(port, &certificate);
        let client = EnosClient::new(Settings { connect_deadline: ms(connect), call_deadline: ms(call), ..settings }).unwrap();
        let failure = client.reset(ORG, ID, Instant::now() + ms(window)).await.unwrap_err();
        assert_eq!((failure.call, failure.kind, failure.effect), (Operation::Reset, kind, Effect::NotSent), "{failure}");
        tokio::time::sleep(ms(later)).await;
        assert_eq!(requests.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_verify_is_not_sent_to() {
    let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let other_name = rcgen::generate_simple_self_signed(["gateway.example.com".to_owned()]).unwrap();
    let (port, _) = tls_gateway(&certificate, Duration::ZERO);
    tls_client(port, &certificate).reset(ORG, ID, soon()).await.unwrap();
    let bad = reset(&tls_client(port, &stranger)).await;
    assert_eq!((bad.kind, bad.effect), (FailureKind::Tls, Effect::NotSent), "{bad}");
    let bad = reset(&tls_client(tls_gateway(&other_name, Duration::ZERO).0, &other_name)).await;
    assert_eq!((bad.kind, bad.effect), (FailureKind::Tls, Effect::NotSent), "{bad}");
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::Write;
        plain.accept().unwrap().0.write_all(&http(400, "", "<html>")).unwrap();
    });
    let bad = reset(&tls_client(port, &certificate)).await;
    assert_eq!((bad.kind, bad.effect), (FailureKind::Tls, Effect::NotSent), "{bad}");
}
