//! How a client proves who it is and whom it trusts: what librdkafka is configured with. Nothing here can be printed, and nothing
//! switches the verification of certificates or host names off.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use super::oauth::TokenSource;
use stream_pipeline_api::Mechanism;
use stream_pipeline_core::digest;

/// TLS and SASL of one client. Compared by digest, so rotated credentials make another client.
#[derive(Clone, Default)]
pub struct Security {
    pub tls: Option<Certificates>,
    pub sasl: Option<Login>,
}

/// PEM; None: the system's CAs, no client certificate.
#[derive(Clone, Default)]
pub struct Certificates {
    pub ca: Option<String>,
    pub client: Option<(String, SecretString)>,
}

#[derive(Clone)]
pub enum Login {
    Password {
        mechanism: Mechanism,
        username: String,
        password: SecretString,
    },
    /// The operator fetches tokens and hands them to the client.
    OAuth(TokenSource),
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Security({})", self.protocol())
    }
}

impl Security {
    /// librdkafka's `security.protocol`.
    pub fn protocol(&self) -> &'static str {
        match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        }
    }

    pub fn token_source(&self) -> Option<&TokenSource> {
        match &self.sasl {
            Some(Login::OAuth(source)) => Some(source),
            _ => None,
        }
    }

    /// Whether a value ends with a line break: the usual mistake in a Secret made from a file.
    pub fn ends_with_newline(&self) -> bool {
        let broken = |value: &str| value.ends_with(['\n', '\r']);
        match &self.sasl {
            Some(Login::Password { username, password, .. }) => broken(username) || broken(password.expose_secret()),
            Some(Login::OAuth(source)) => source.ends_with_newline(),
            None => false,
        }
    }

    /// librdkafka's settings, secrets included.
    pub(super) fn settings(&self) -> Vec<(&'static str, SecretString)> {
        let mut settings = vec![("security.protocol", self.protocol().into())];
        let mut set = |key, value: &str| settings.push((key, SecretString::from(value.to_owned())));
        if let Some(tls) = &self.tls {
            set("enable.ssl.certificate.verification", "true");
            set("ssl.endpoint.identification.algorithm", "https");
            match &tls.ca {
                Some(pem) => set("ssl.ca.pem", pem),
                None => set("ssl.ca.location", "probe"),
            }
            if let Some((certificate, key)) = &tls.client {
                set("ssl.certificate.pem", certificate);
                set("ssl.key.pem", key.expose_secret());
            }
        }
        match &self.sasl {
            Some(Login::Password { mechanism, username, password }) => {
                set("sasl.mechanisms", (*mechanism).into());
                set("sasl.username", username);
                set("sasl.password", password.expose_secret());
            }
            Some(Login::OAuth(_)) => set("sasl.mechanisms", Mechanism::OAuthBearer.into()),
            None => {}
        }
        settings
    }

    /// Distinguishes credentials; not for showing.
    pub fn digest(&self) -> [u8; 32] {
        let settings = self.settings().into_iter().flat_map(|(key, value)| [SecretString::from(key), value]);
        let parts: Vec<_> = settings.chain(self.token_source().into_iter().flat_map(TokenSource::parts)).collect();
        digest::of_parts(parts.iter().map(ExposeSecret::expose_secret))
    }
}
