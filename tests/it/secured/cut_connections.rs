//! D8: connections that something on the way cuts.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::secured::{SecuredWorld, Way, tls};
use crate::support::status::{condition, says};

/// Ends a connection as a firewall does.
fn cut(stream: TcpStream) {
    stream.set_zero_linger().expect("the socket is open");
}

/// A relay to the broker that resets each connection after so many answers.
async fn firewall(broker: String, answers: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let broker = broker.clone();
            tokio::spawn(async move {
                let (mut question, mut answer, mut left) = (vec![0; 65536], vec![0; 65536], answers);
                let Ok(mut server) = TcpStream::connect(broker).await else { return };
                while let Ok(n) = client.read(&mut question).await {
                    if n == 0 {
                        return;
                    }
                    if left == 0 {
                        return cut(client);
                    }
                    left -= 1;
                    let led = async {
                        server.write_all(&question[..n]).await?;
                        let n = server.read(&mut answer).await?;
                        client.write_all(&answer[..n]).await
                    };
                    if led.await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn d8_a_connection_that_is_cut_on_the_way_is_not_told_as_a_listener_that_wants_something() {
    let locked = SecuredWorld::new("sd8", &["--call-deadline=2s"]).await;
    locked.let_in();
    let s = locked.secured;
    let (plain, ssl) = (s.plaintext(), s.ssl());
    for (name, at, tls) in [
        ("at-once", firewall(plain.clone(), 0).await, Value::Null),
        ("in-use", firewall(plain, 1).await, Value::Null),
        ("handshake", firewall(ssl, 0).await, tls()),
    ] {
        let (_, group) = locked.topic_and_group().await;
        locked.apply(name, &Way::new(name, at, tls, Value::Null), &group, Value::Null).await;
        let told = |message: &str| message.contains("is cut (reset)") && message.contains("firewalls, proxies and network policies");
        let status = locked
            .world
            .wait(name, "the cut connection to be told", |s| condition(s, "BackendReachable").is_some_and(|c| told(&c.message)))
            .await;
        let message = says(&status, "BackendReachable").2;
        println!("{name}: {message}");
        assert!(
            !message.contains("wants SASL") && !message.contains("the listener speaks TLS"),
            "expected no advice about SASL or TLS: {message}"
        );
    }
}
