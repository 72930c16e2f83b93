//! The listeners of a secured broker: their names, and their lines of server.properties.

use anyhow::Result;

use super::certificates::{Authority, Leaf, Validity};
use super::{ALICE, ALICE_PASSWORD, AUDIENCE, ISSUER, OTHER_HOST};
use crate::broker::{Extra, Listener};

pub(super) const SSL: &str = "SSL";
pub(super) const MTLS: &str = "MTLS";
pub(super) const SASL: &str = "SASL";
pub(super) const SASLPLAIN: &str = "SASLPLAIN";
pub(super) const PROXIED: &str = "PROXIED";
pub(super) const OAUTH: &str = "OAUTH";
pub(super) const EXPIRED: &str = "EXPIRED";
pub(super) const FUTURE: &str = "FUTURE";
pub(super) const OTHERHOST: &str = "OTHERHOST";
pub(super) const UNKNOWNCA: &str = "UNKNOWNCA";
pub(super) const SECONDCA: &str = "SECONDCA";

const PACKAGE: &str = "org.apache.kafka.common.security";

pub(super) struct Authorities {
    pub(super) first: Authority,
    pub(super) second: Authority,
    pub(super) unknown: Authority,
}

/// How many there are.
pub(super) const COUNT: usize = 11;

/// Beside the plain listener of every broker. `proxied`: what [`PROXIED`] advertises.
pub(super) fn extra(ca: &Authorities, jwks: &str, proxied: &str, ports: &[u16]) -> Result<Extra> {
    let mut extra = Extra::default();
    // Kafka fetches keys from nowhere but the addresses of this property.
    extra.jvm.push(format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={jwks}"));
    // Who sends no certificate is ANONYMOUS on a TLS listener too, hence also the super user there.
    extra.properties += "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
        allow.everyone.if.no.acl.found=false\nsuper.users=User:ANONYMOUS\n";
    let good = || ca.first.server(None, Validity::Now);
    let listeners: [_; COUNT] = [
        (SSL, "SSL", Some(good()?)),
        (MTLS, "SSL", Some(good()?)),
        (SASL, "SASL_SSL", Some(good()?)),
        (SASLPLAIN, "SASL_PLAINTEXT", None),
        (PROXIED, "SASL_PLAINTEXT", None),
        (OAUTH, "SASL_SSL", Some(good()?)),
        (EXPIRED, "SSL", Some(ca.first.server(None, Validity::Past)?)),
        (FUTURE, "SSL", Some(ca.first.server(None, Validity::Future)?)),
        (OTHERHOST, "SSL", Some(ca.first.server(Some(OTHER_HOST), Validity::Now)?)),
        (UNKNOWNCA, "SSL", Some(ca.unknown.server(None, Validity::Now)?)),
        (SECONDCA, "SSL", Some(ca.second.server(None, Validity::Now)?)),
    ];
    for ((name, protocol, leaf), &port) in listeners.into_iter().zip(ports) {
        let host = if leaf.is_some() { "localhost" } else { "127.0.0.1" };
        let advertised = if name == PROXIED { proxied.to_owned() } else { format!("{host}:{port}") };
        extra.listeners.push(Listener { name: name.to_owned(), protocol, port, advertised });
        let mut set = |key: &str, value: &str| {
            extra.properties += &format!("listener.name.{}.{key}={}\n", name.to_lowercase(), escaped(value));
        };
        if let Some(Leaf { certificate, key }) = leaf {
            set("ssl.keystore.type", "PEM");
            set("ssl.keystore.certificate.chain", &certificate.pem());
            set("ssl.keystore.key", &key.serialize_pem());
        }
        match name {
            MTLS => {
                set("ssl.client.auth", "required");
                set("ssl.truststore.type", "PEM");
                set("ssl.truststore.certificates", &format!("{}{}", ca.first.pem(), ca.second.pem()));
                set("ssl.principal.mapping.rules", "RULE:^.*?CN=([^,]+).*$/$1/,DEFAULT");
            }
            SASL | SASLPLAIN | PROXIED => {
                set("sasl.enabled.mechanisms", "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN");
                set("scram-sha-512.sasl.jaas.config", &format!("{PACKAGE}.scram.ScramLoginModule required;"));
                set("scram-sha-256.sasl.jaas.config", &format!("{PACKAGE}.scram.ScramLoginModule required;"));
                let password = ALICE_PASSWORD.replace('\\', "\\\\").replace('"', "\\\"");
                let users = format!("{PACKAGE}.plain.PlainLoginModule required user_{ALICE}=\"{password}\";");
                set("plain.sasl.jaas.config", &users);
            }
            OAUTH => {
                set("sasl.enabled.mechanisms", "OAUTHBEARER");
                set("oauthbearer.sasl.jaas.config", &format!("{PACKAGE}.oauthbearer.OAuthBearerLoginModule required;"));
                let handler = format!("{PACKAGE}.oauthbearer.OAuthBearerValidatorCallbackHandler");
                set("oauthbearer.sasl.server.callback.handler.class", &handler);
                set("sasl.oauthbearer.jwks.endpoint.url", jwks);
                set("sasl.oauthbearer.expected.audience", AUDIENCE);
                set("sasl.oauthbearer.expected.issuer", ISSUER);
                // Half a minute by default: a token of a few seconds would hardly ever be too old.
                set("sasl.oauthbearer.clock.skew.seconds", "0");
                // A connection ends with its token, unless the client shows a new one before.
                set("oauthbearer.connections.max.reauth.ms", "3600000");
            }
            _ => {}
        }
    }
    Ok(extra)
}

/// As a value in a file of properties, which Kafka reads as Latin-1.
fn escaped(value: &str) -> String {
    let of = |c: char| match c {
        '\n' => "\\n".to_owned(),
        '\\' => "\\\\".to_owned(),
        ' '..='~' => c.to_string(),
        _ => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    value.chars().map(of).collect()
}
