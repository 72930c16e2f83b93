//! How brokers are reached and logged in to: certificates and credentials, read from the Secrets that the spec names.

use super::oauth::TokenSource;
use super::security::{Certificates, Login, Security};
use crate::backend::{Platforms, http};
use crate::kubernetes::secrets::text;
use stream_pipeline_api::{Mechanism, Reason, Sasl};
use stream_pipeline_core::{Cause, KafkaGroup};

impl Platforms {
    /// Certificates and credentials for the brokers, read from the Secrets that the spec names.
    pub(in crate::backend) async fn security(&self, namespace: &str, kafka: &KafkaGroup) -> Result<Security, Cause> {
        let tls = match &kafka.tls {
            None => None,
            Some(tls) => {
                let ca = match &tls.ca {
                    Some(source) => Some(self.secrets.ca(namespace, "spec.kafka.tls.ca", source).await?),
                    None if http::has_system_cas() => None,
                    None => return Err(no_system_cas()),
                };
                let client = match &tls.client_certificate_secret_ref {
                    Some(at) => {
                        let field = "spec.kafka.tls.clientCertificateSecretRef";
                        let [certificate, key] = self.secrets.certificate(namespace, field, &at.name).await?;
                        Some((certificate, key.into()))
                    }
                    None => None,
                };
                Some(Certificates { ca, client })
            }
        };
        let sasl = match &kafka.sasl {
            None => None,
            // Refused before the Secret is read.
            Some(sasl) if tls.is_none() && shows_secrets(sasl) && !self.kafka.allows_plain_sasl() => return Err(plain_sasl(sasl)),
            Some(sasl) => Some(self.login(namespace, sasl).await?),
        };
        Ok(Security { tls, sasl })
    }

    async fn login(&self, namespace: &str, sasl: &Sasl) -> Result<Login, Cause> {
        let name = &sasl.credentials_secret_ref.name;
        let mechanism = sasl.mechanism.parse().map_err(|_| {
            Cause::new(
                Reason::InvalidObject,
                "spec.kafka.sasl.mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER are supported",
            )
        })?;
        if let (Mechanism::OAuthBearer, Some(endpoint), Some(client_id)) = (mechanism, &sasl.token_endpoint, &sasl.client_id) {
            let [secret] = self.secrets.secret(namespace, name, ["clientSecret"]).await?;
            let ca_pem = match &sasl.ca {
                Some(source) => Some(self.secrets.ca(namespace, "spec.kafka.sasl.ca", source).await?.into_bytes()),
                None => None,
            };
            return Ok(Login::OAuth(TokenSource {
                endpoint: endpoint.clone(),
                client_id: client_id.clone(),
                client_secret: text(name, "clientSecret", secret)?.into(),
                scope: sasl.scope.clone(),
                ca_pem,
                policy: self.http.clone(),
                // Shorter than the deadline of the call that waits for the token, so that the reason is known when that call ends.
                deadline: self.deadline * 3 / 4,
            }));
        }
        let [username, password] = self.secrets.secret(namespace, name, ["username", "password"]).await?;
        Ok(Login::Password { mechanism, username: text(name, "username", username)?, password: text(name, "password", password)?.into() })
    }
}

/// Whether the log-in sends the secret itself: SCRAM only proves that the client knows the password.
fn shows_secrets(sasl: &Sasl) -> bool {
    !matches!(sasl.mechanism.parse(), Ok(Mechanism::ScramSha256 | Mechanism::ScramSha512))
}

fn plain_sasl(sasl: &Sasl) -> Cause {
    let mechanism = &sasl.mechanism;
    let what = if mechanism == "OAUTHBEARER" { "the token" } else { "the password" };
    let text = format!(
        "spec.kafka.sasl: {mechanism} without spec.kafka.tls would show {what} to everybody on the way; not a byte was sent. Use a TLS listener and \
         spec.kafka.tls, or SCRAM. (The operator can be started with --allow-plain-sasl.)"
    );
    Cause::new(Reason::EndpointNotAllowed, text)
}

fn no_system_cas() -> Cause {
    let text = "spec.kafka.tls names no CA, and the system that the operator runs on has none: no certificate could be verified. Name the CA in spec.kafka.tls.ca";
    Cause::new(Reason::TlsFailed, text)
}
