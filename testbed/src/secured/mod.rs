//! A broker with TLS, SASL, OAuth and ACLs, the authority its certificates come from, and the service its tokens come from.
//!
//! One listener per way in and per mistake; see the methods of [`Secured`]. Clients are made from the settings that
//! [`Secured::client`] and its like give, with the ordinary helpers of [`crate::kafka`] or without.

mod acl;
mod admin;
mod certificates;
mod jwt;
mod listeners;
mod probe;
mod token_server;
mod tokens;
mod verdict;

use std::net::TcpListener;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rdkafka::config::ClientConfig;

pub use acl::{Acl, Operation, Pattern, Resource};
use certificates::{Authority, Validity};
use listeners::Authorities;
pub use probe::{Refusal, attempt, attempt_with_token, features, set_token};
pub use tokens::{AUDIENCE, CLIENT_ID, CLIENT_SECRET, ISSUER, Issued, TokenFault, TokenRequest, TokenService};
pub use verdict::{Verdict, verdicts};

use crate::broker::Broker;
use crate::kafka::client;
use crate::parts::Parts;

/// A user of PLAIN and of both kinds of SCRAM, with a password that wants quoting wherever something can be quoted.
pub const ALICE: &str = "alice";
pub const ALICE_PASSWORD: &str = "p@ss,w=rd \"x\" \\ 'y' ; größe";
/// What the certificate of [`Secured::other_host`] is for.
pub const OTHER_HOST: &str = "elsewhere.example";

/// Ends with its owner.
pub struct Secured {
    broker: Broker,
    ca: Authorities,
    tokens: TokenService,
    /// What the proxied listener advertises, until somebody serves it.
    proxied: Mutex<Option<TcpListener>>,
}

impl Secured {
    pub fn start(parts: &Parts) -> Result<Self> {
        let ca = Authorities {
            first: Authority::new("testbed authority")?,
            second: Authority::new("testbed second authority")?,
            unknown: Authority::new("testbed unknown authority")?,
        };
        let tokens = TokenService::start()?;
        let socket = TcpListener::bind("127.0.0.1:0")?;
        let proxied = socket.local_addr()?.to_string();
        let extra = |ports: &[u16]| listeners::extra(&ca, &tokens.jwks_url(), &proxied, ports);
        let broker = Broker::start_extended(parts, listeners::COUNT, extra)?;
        let secured = Self { broker, ca, tokens, proxied: Mutex::new(Some(socket)) };
        secured.set_scram_password(ALICE, ALICE_PASSWORD)?;
        Ok(secured)
    }

    /// Everybody is the super user here; the ordinary helpers of [`crate::kafka`] set things up through it.
    pub fn plaintext(&self) -> String {
        self.broker.bootstrap()
    }

    /// TLS; who sends no certificate is ANONYMOUS, the super user.
    pub fn ssl(&self) -> String {
        self.at(listeners::SSL)
    }

    /// TLS; the client's certificate is asked for, and its common name is the user.
    pub fn mtls(&self) -> String {
        self.at(listeners::MTLS)
    }

    /// SASL_SSL: SCRAM-SHA-512, SCRAM-SHA-256 and PLAIN.
    pub fn scram(&self) -> String {
        self.at(listeners::SASL)
    }

    /// The same without TLS.
    pub fn sasl_plaintext(&self) -> String {
        self.at(listeners::SASLPLAIN)
    }

    /// As [`Self::sasl_plaintext`], for one proxy: the socket that it serves, and the listener behind it.
    pub fn proxied(&self) -> Option<(TcpListener, String)> {
        let socket = self.proxied.lock().expect("no panic under this lock").take()?;
        Some((socket, self.broker.bound(listeners::PROXIED)?))
    }

    /// SASL_SSL: OAUTHBEARER with the tokens of [`Self::tokens`].
    pub fn oauth(&self) -> String {
        self.at(listeners::OAUTH)
    }

    /// TLS with a certificate that has expired; like the following, otherwise [`Self::ssl`].
    pub fn expired(&self) -> String {
        self.at(listeners::EXPIRED)
    }

    /// … that is not valid yet.
    pub fn not_yet_valid(&self) -> String {
        self.at(listeners::FUTURE)
    }

    /// … for [`OTHER_HOST`].
    pub fn other_host(&self) -> String {
        self.at(listeners::OTHERHOST)
    }

    /// … of an authority whose certificate nobody has.
    pub fn unknown_ca(&self) -> String {
        self.at(listeners::UNKNOWNCA)
    }

    /// … of the authority of [`Self::second_ca_pem`], as after a rotation.
    pub fn second_ca(&self) -> String {
        self.at(listeners::SECONDCA)
    }

    fn at(&self, name: &str) -> String {
        self.broker.advertised(name).unwrap_or_default().to_owned()
    }

    /// The authority of all listeners whose certificate is good.
    pub fn ca_pem(&self) -> &str {
        self.ca.first.pem()
    }

    pub fn second_ca_pem(&self) -> &str {
        self.ca.second.pem()
    }

    /// Certificate and key (PKCS#8) of a client, in PEM.
    pub fn client_certificate(&self, cn: &str) -> Result<(String, String)> {
        client_certificate(&self.ca.first, cn, Validity::Now)
    }

    /// One that has expired.
    pub fn expired_client_certificate(&self, cn: &str) -> Result<(String, String)> {
        client_certificate(&self.ca.first, cn, Validity::Past)
    }

    /// One of an authority that the broker does not know.
    pub fn unknown_client_certificate(&self, cn: &str) -> Result<(String, String)> {
        client_certificate(&self.ca.unknown, cn, Validity::Now)
    }

    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    pub fn broker_mut(&mut self) -> &mut Broker {
        &mut self.broker
    }

    pub fn tokens(&self) -> &TokenService {
        &self.tokens
    }

    /// Settings of a client that trusts [`Self::ca_pem`].
    pub fn client(&self, bootstrap: &str) -> ClientConfig {
        client(bootstrap).set("security.protocol", "SSL").set("ssl.ca.pem", self.ca_pem()).clone()
    }

    /// … and shows a certificate.
    pub fn client_with_certificate(&self, bootstrap: &str, certificate: &(String, String)) -> ClientConfig {
        let (certificate, key) = certificate;
        self.client(bootstrap).set("ssl.certificate.pem", certificate).set("ssl.key.pem", key).clone()
    }

    /// … and logs in, at [`Self::scram`] or, without TLS, at [`Self::sasl_plaintext`].
    pub fn client_with_password(&self, bootstrap: &str, mechanism: &str, user: &str, password: &str) -> ClientConfig {
        let protocol = if bootstrap == self.sasl_plaintext() { "SASL_PLAINTEXT" } else { "SASL_SSL" };
        let mut config = self.client(bootstrap);
        config.set("security.protocol", protocol).set("sasl.mechanism", mechanism);
        config.set("sasl.username", user).set("sasl.password", password).clone()
    }

    /// Settings for a client that is given its token with [`set_token`].
    pub fn client_with_token(&self) -> ClientConfig {
        self.client(&self.oauth()).set("security.protocol", "SASL_SSL").set("sasl.mechanism", "OAUTHBEARER").clone()
    }

    /// Adds a user of both kinds of SCRAM or changes the password, and returns when the broker takes it.
    pub fn set_scram_password(&self, user: &str, password: &str) -> Result<()> {
        admin::alter_scram(&self.plaintext(), user, Some(password))?;
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let config = self.client_with_password(&self.sasl_plaintext(), mechanism, user, password);
            let begun = Instant::now();
            while let Err(refused) = attempt(&config, Duration::from_secs(2)) {
                if begun.elapsed() > Duration::from_secs(20) {
                    bail!("the broker does not take the new password of {user}: {refused}");
                }
            }
        }
        Ok(())
    }

    /// Of both kinds of SCRAM.
    pub fn remove_scram_user(&self, user: &str) -> Result<()> {
        admin::alter_scram(&self.plaintext(), user, None)
    }

    /// In force when it returns, as is what [`Self::revoke`] does.
    pub fn grant(&self, acls: &[Acl]) -> Result<()> {
        admin::create_acls(&self.plaintext(), acls)?;
        self.until(|now| acls.iter().all(|acl| now.contains(acl)))
    }

    pub fn revoke(&self, acls: &[Acl]) -> Result<()> {
        admin::delete_acls(&self.plaintext(), acls)?;
        self.until(|now| !acls.iter().any(|acl| now.contains(acl)))
    }

    pub fn acls(&self) -> Result<Vec<Acl>> {
        admin::describe_acls(&self.plaintext())
    }

    /// The broker's authorizer learns of a change a moment after the controller has answered.
    fn until(&self, done: impl Fn(&[Acl]) -> bool) -> Result<()> {
        let begun = Instant::now();
        while !done(&self.acls()?) {
            if begun.elapsed() > Duration::from_secs(20) {
                bail!("the broker does not show the changed ACLs");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

fn client_certificate(authority: &Authority, cn: &str, validity: Validity) -> Result<(String, String)> {
    let leaf = authority.client(cn, validity)?;
    Ok((leaf.certificate.pem(), leaf.key.serialize_pem()))
}
