//! A world on the broker with TLS, SASL, OAuth and ACLs, which all tests share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use serde_json::{Value, json};
use testbed::secured::{ALICE, ALICE_PASSWORD, Acl, CLIENT_ID, CLIENT_SECRET, Issued, Operation, Resource, Secured};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::world::World;

/// Lets the operator reach the token service of this machine.
pub const LOCAL: [&str; 2] = ["--allow-plain-http", "--allowed-endpoints=127.0.0.1,::1"];

fn start() -> &'static Secured {
    static SECURED: OnceLock<Result<Secured, String>> = OnceLock::new();
    // A failure is kept too: it is tried once, not once a test.
    let started = SECURED.get_or_init(|| testbed::ensure().and_then(|parts| Secured::start(&parts)).map_err(|e| format!("{e:#}")));
    started.as_ref().unwrap_or_else(|error| panic!("the broker did not start: {error}"))
}

/// A way to the broker: a listener, and `spec.kafka.tls` and `spec.kafka.sasl` for it.
#[derive(Clone)]
pub struct Way {
    pub name: String,
    pub at: String,
    pub tls: Value,
    pub sasl: Value,
}

impl Way {
    pub fn new(name: &str, at: String, tls: Value, sasl: Value) -> Self {
        Self { name: name.to_owned(), at, tls, sasl }
    }
}

/// `spec.kafka.tls` that trusts the CA of the Secret `ca`.
pub fn tls() -> Value {
    json!({ "ca": { "secretKeyRef": { "name": "ca" } } })
}

pub fn with_certificate(secret: &str) -> Value {
    json!({ "ca": { "secretKeyRef": { "name": "ca" } }, "clientCertificateSecretRef": { "name": secret } })
}

pub fn login(mechanism: &str, secret: &str) -> Value {
    json!({ "mechanism": mechanism, "credentialsSecretRef": { "name": secret } })
}

pub fn oauth(endpoint: &str, secret: &str) -> Value {
    json!({ "mechanism": "OAUTHBEARER", "credentialsSecretRef": { "name": secret }, "tokenEndpoint": endpoint, "clientID": CLIENT_ID })
}

/// A namespace with the Secrets of alice and of the client of the token service, and the broker.
pub struct SecuredWorld {
    pub world: World,
    pub secured: &'static Secured,
    test: String,
}

impl SecuredWorld {
    /// With an operator.
    pub async fn new(test: &str, extra: &[&str]) -> Self {
        let mut locked = Self::without_operator(test).await;
        locked.start(extra);
        locked
    }

    pub async fn without_operator(test: &str) -> Self {
        let secured = tokio::task::spawn_blocking(start).await.expect("the start does not panic");
        let mut world = World::without_operator(test).await;
        world.bootstrap = secured.plaintext();
        let locked = Self { world, secured, test: test.to_owned() };
        locked.world.secret("ca", json!({ "ca.crt": secured.ca_pem() })).await;
        locked.world.secret("login", json!({ "username": ALICE, "password": ALICE_PASSWORD })).await;
        locked.world.secret("token-client", json!({ "clientSecret": CLIENT_SECRET })).await;
        locked.certificate("user", secured.client_certificate(ALICE)).await;
        locked
    }

    pub fn start(&mut self, extra: &[&str]) {
        let flags = [&LOCAL, extra].concat();
        self.world.start_operator_with(&flags);
    }

    /// A Secret with the keys of type `kubernetes.io/tls`.
    pub async fn certificate(&self, name: &str, made: anyhow::Result<(String, String)>) {
        let (certificate, key) = made.expect("a certificate");
        self.world.secret(name, json!({ "tls.crt": certificate, "tls.key": key })).await;
    }

    /// Runs work on the broker that blocks the thread.
    pub fn block<T>(&self, work: impl FnOnce(&Secured) -> anyhow::Result<T>) -> T {
        tokio::task::block_in_place(|| work(self.secured)).expect("the broker does it")
    }

    /// Grants all that a reset needs to every user of [`SecuredWorld::ways`], on the topics and groups of this test.
    pub fn let_in(&self) {
        for user in [ALICE, CLIENT_ID] {
            self.let_user_in(user, &format!("{}-", self.test));
        }
    }

    /// Every listener with a right log-in.
    pub fn ways(&self) -> Vec<Way> {
        let s = self.secured;
        vec![
            Way::new("tls", s.ssl(), tls(), Value::Null),
            Way::new("mtls", s.mtls(), with_certificate("user"), Value::Null),
            Way::new("scram-512", s.scram(), tls(), login("SCRAM-SHA-512", "login")),
            Way::new("scram-256", s.scram(), tls(), login("SCRAM-SHA-256", "login")),
            Way::new("plain", s.scram(), tls(), login("PLAIN", "login")),
            Way::new("sasl-plaintext", s.sasl_plaintext(), Value::Null, login("SCRAM-SHA-512", "login")),
            Way::new("oauth", s.oauth(), tls(), oauth(&s.tokens().url(), "token-client")),
        ]
    }

    /// Makes a SCRAM user with this password, and a Secret for the log-in.
    pub async fn user(&self, user: &str, password: &str, secret: &str) {
        self.block(|s| s.set_scram_password(user, password));
        self.world.secret(secret, json!({ "username": user, "password": password })).await;
    }

    /// Grants all that a reset needs to this user, on the topics and groups whose names begin so.
    pub fn let_user_in(&self, user: &str, prefix: &str) {
        let acls = [Resource::Topic, Resource::Group].map(|kind| Acl::allow(user, Operation::Read, kind, prefix).prefixed());
        self.block(|s| s.grant(&acls));
    }

    /// A topic of ten records, and a group that is at 7.
    pub async fn topic_and_group(&self) -> (String, String) {
        let topic = self.world.topic(&[10]).await;
        let group = self.world.group(&topic, &[7]).await;
        (topic, group)
    }

    pub async fn apply(&self, name: &str, way: &Way, group: &str, reset: Value) {
        let mut kafka = json!({ "bootstrapServers": [way.at], "consumerGroup": group });
        for (field, value) in [("tls", &way.tls), ("sasl", &way.sasl)] {
            if !value.is_null() {
                kafka[field] = value.clone();
            }
        }
        self.world.apply_with(name, json!({ "kafka": kafka }), reset).await;
    }
}

/// A request that runs at once.
pub fn run(id: &str) -> Value {
    json!({ "id": id, "quietPeriod": "0s", "whenCreated": "Run", "to": { "position": "Earliest" } })
}

/// A token service of a test's own, with tokens that are signed like those of the shared one; and how many it gave.
pub async fn mint(secured: &'static Secured, make: fn(&Secured) -> anyhow::Result<Issued>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/token", listener.local_addr().expect("an address"));
    let given = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                // All of the request, as far as the secret, which is last in it.
                let (mut request, mut part) = (Vec::new(), [0; 4096]);
                while !String::from_utf8_lossy(&request).contains("client_secret=") {
                    match stream.read(&mut part).await {
                        Ok(n) if n > 0 => request.extend_from_slice(&part[..n]),
                        _ => return,
                    }
                }
                let issued = make(secured).expect("a token");
                let life = issued.expires.duration_since(SystemTime::now()).unwrap_or_default().as_secs().max(1);
                let body = json!({ "access_token": issued.token, "token_type": "Bearer", "expires_in": life }).to_string();
                let length = body.len();
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                // Fails only where the operator has gone.
                let _ = stream.write_all((head + &body).as_bytes()).await;
                count.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    (url, given)
}
