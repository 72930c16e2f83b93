//! What goes wrong while connecting to brokers, as librdkafka and OpenSSL say it, and what a person checks. One table; it is the
//! source of `docs/connecting-to-kafka.md`.

use super::admin::{BrokerError, KafkaCode};
use crate::endpoints::API_SERVER;
use stream_pipeline_api::Reason;

/// One known failure.
pub struct KnownFailure {
    /// All of these occur in librdkafka's text.
    pub said: &'static [&'static str],
    pub reason: Reason,
    pub means: &'static str,
    pub check: &'static str,
}

const fn row(said: &'static [&'static str], reason: Reason, means: &'static str, check: &'static str) -> KnownFailure {
    KnownFailure { said, reason, means, check }
}

use Reason::{
    AuthenticationFailed as Auth, BrokerUnreachable as Gone, EndpointNotAllowed as Barred, RateLimited as Limited, TlsFailed as Tls,
};

/// Part of the text that [`throttled`] makes.
const THROTTLES: &str = "throttles this client by a quota";

/// librdkafka reports throttling by a callback and not as a complaint, so the complaint is made here.
pub fn throttled(broker: &str) -> BrokerError {
    BrokerError { code: KafkaCode::TRANSPORT, text: format!("{broker}: the broker {THROTTLES}") }
}

/// The first row that matches counts.
#[rustfmt::skip] // One row, one line.
pub const KNOWN_FAILURES: [KnownFailure; 30] = [
    row(&[THROTTLES], Limited, "a quota of the brokers throttles the operator, and an answer took longer than --call-deadline", "the quotas of its principal and of the client id stream-pipeline-operator (kafka-configs --describe --entity-type users, or clients)"),
    row(&["Failed to connect to broker", "Permission denied", API_SERVER], Barred, "this is the Kubernetes API server, which the operator connects to for no StreamPipeline", "bootstrapServers and advertised.listeners; not a byte was sent"),
    row(&["Failed to connect to broker", "Permission denied"], Barred, "the operator may not connect to this address", "bootstrapServers and advertised.listeners, and the operator's --allowed-endpoints; not a byte was sent"),
    row(&["verification callback failed", "expired"], Tls, "the broker's certificate has expired", "the broker's certificate: it has to be renewed"),
    row(&["verification callback failed", "not yet valid"], Tls, "the broker's certificate is not valid yet", "the broker's certificate, and the operator's clock"),
    row(&["verification callback failed", "hostname mismatch"], Tls, "the broker's certificate is for another host name", "bootstrapServers and advertised.listeners against the names in the certificate"),
    row(&["verification callback failed", "IP address mismatch"], Tls, "the broker's certificate is for another address", "bootstrapServers and advertised.listeners against the names in the certificate"),
    row(&["verification callback failed"], Tls, "the broker's certificate is of a CA that is not trusted", "spec.kafka.tls.ca: it must hold the CA that signed the broker's certificate"),
    row(&["certificate verify failed"], Tls, "the broker's certificate does not verify", "spec.kafka.tls.ca, and the broker's certificate"),
    row(&["onnection reset by peer", "SSL_HANDSHAKE"], Tls, "the connection is cut (reset) in the TLS handshake: the listener speaks plain text, not TLS, or something on the way cuts it", "the port in bootstrapServers, or leave spec.kafka.tls out; then firewalls, proxies and network policies"),
    row(&["PLAINTEXT broker listener"], Tls, "the listener speaks plain text, not TLS", "the port in bootstrapServers, or leave spec.kafka.tls out"),
    row(&["alert bad certificate"], Tls, "the broker wants a client certificate, or does not trust the one shown", "spec.kafka.tls.clientCertificateSecretRef"),
    row(&["alert certificate required"], Tls, "the broker wants a client certificate", "spec.kafka.tls.clientCertificateSecretRef"),
    row(&["alert certificate unknown"], Tls, "the broker does not accept the client certificate: it has expired, or is of another CA", "the certificate in spec.kafka.tls.clientCertificateSecretRef"),
    row(&["alert unknown ca"], Tls, "the broker does not trust the CA of the client certificate", "the certificate in spec.kafka.tls.clientCertificateSecretRef"),
    row(&["SSL handshake failed"], Tls, "no TLS connection could be made", "whether the port in bootstrapServers speaks TLS"),
    row(&["Unsupported SASL mechanism"], Auth, "the listener does not offer this SASL mechanism", "spec.kafka.sasl.mechanism against those that the message names"),
    row(&["not valid in current SASL state"], Auth, "the listener does not use SASL", "the port in bootstrapServers, or leave spec.kafka.sasl out"),
    row(&["token endpoint", "is not one the operator may connect to", API_SERVER], Barred, "the token endpoint is the Kubernetes API server, which the operator connects to for no StreamPipeline", "spec.kafka.sasl.tokenEndpoint"),
    row(&["token endpoint", "is not one the operator may connect to"], Barred, "the operator may not connect to the token endpoint", "spec.kafka.sasl.tokenEndpoint, and the operator's --allowed-endpoints"),
    row(&["token endpoint"], Auth, "there is no token", "spec.kafka.sasl: tokenEndpoint, clientID, scope and the clientSecret in the Secret"),
    row(&["invalid_token"], Auth, "the broker refuses the token: audience, issuer, key or scope are not what it expects", "spec.kafka.sasl.clientID and scope, and the broker's settings for OAUTHBEARER"),
    row(&["SASL authentication error"], Auth, "wrong user or password", "username and password in the Secret of spec.kafka.sasl.credentialsSecretRef"),
    row(&["SASL", "handshake failed"], Auth, "the SASL handshake failed", "spec.kafka.sasl.mechanism"),
    row(&["onnection reset by peer"], Gone, "the connection is cut (reset), by the broker or by something between", "firewalls, proxies and network policies on the way to the broker; then the port in bootstrapServers, spec.kafka.tls and .sasl"),
    row(&["SSL connection closed by peer", "SSL_HANDSHAKE"], Tls, "the broker hangs up in the TLS handshake: the listener speaks plain text, not TLS", "the port in bootstrapServers, or leave spec.kafka.tls out"),
    row(&["SSL connection closed by peer"], Auth, "the broker hangs up after the TLS handshake: the listener wants SASL", "spec.kafka.sasl, or the port in bootstrapServers"),
    row(&["Disconnected", "APIVERSION_QUERY"], Gone, "the broker hangs up on plain text: the listener speaks TLS", "spec.kafka.tls, or the port in bootstrapServers"),
    row(&["Failed to resolve"], Gone, "the host name has no address", "bootstrapServers, advertised.listeners and DNS"),
    row(&["Disconnected", "in state UP"], Gone, "the broker hangs up: the listener wants SASL, or it is shutting down", "spec.kafka.sasl, or the port in bootstrapServers"),
];

/// librdkafka's text without the parts that differ each time, so that an unchanged status is not written again.
pub fn normalize(said: &str) -> String {
    // "[thrd:host:port/bootstrap]: " repeats the name that follows it.
    let said = said.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")).map_or(said, |(_, rest)| rest);
    // This prefix only introduces what librdkafka was told about a token.
    let said = said.strip_prefix("Failed to acquire SASL OAUTHBEARER token: ").unwrap_or(said);
    let Some((text, counts)) = said.rsplit_once(" (after ") else { return said.to_owned() };
    match counts.split_once("ms in state ").map(|(_, state)| state.split([',', ')']).next().unwrap_or(state)) {
        Some(state) => format!("{text} (in state {state})"),
        None => said.to_owned(),
    }
}

/// The known failure that this complaint shows.
pub fn find(said: &str) -> Option<&'static KnownFailure> {
    KNOWN_FAILURES.iter().find(|known| known.said.iter().all(|part| said.contains(part)))
}

#[cfg(test)]
mod tests {
    use super::{find, normalize};

    #[test]
    fn d8_what_librdkafka_says_is_told_as_what_it_is() {
        for (said, means) in [
            (
                "ssl://b:9093/bootstrap: SSL handshake failed: Disconnected: connection reset by peer: connecting to a PLAINTEXT broker listener? (in state SSL_HANDSHAKE)",
                "in the TLS handshake",
            ),
            ("ssl://b:9093/bootstrap: Disconnected: connection reset by peer (in state SSL_HANDSHAKE)", "in the TLS handshake"),
            ("ssl://b:9093/bootstrap: Disconnected: SSL connection closed by peer (in state SSL_HANDSHAKE)", "speaks plain text, not TLS"),
            ("ssl://b:9093/bootstrap: Disconnected: SSL connection closed by peer (in state UP)", "the listener wants SASL"),
            ("b:9092/bootstrap: Disconnected: connection reset by peer (in state APIVERSION_QUERY)", "is cut (reset), by the broker or"),
            ("b:9092/1: Disconnected: connection reset by peer (in state UP)", "is cut (reset), by the broker or"),
            ("b:9092/1: Disconnected: connection closed by peer: receive 0 after POLLIN (in state UP)", "the listener wants SASL"),
            ("the token endpoint https://t does not answer: Connection reset by peer (os error 104)", "there is no token"),
            (
                "b:1/bootstrap: Failed to connect to broker at b:1: Permission denied (in state CONNECT): b (10.0.0.5) is not allowed: it is the Kubernetes API server",
                "this is the Kubernetes API server",
            ),
            (
                "b:1/bootstrap: Failed to connect to broker at b:1: Permission denied (in state CONNECT): b (127.0.0.1) is not allowed: it is a loopback address",
                "may not connect to this address",
            ),
        ] {
            let found = find(said).map(|known| known.means).unwrap_or_default();
            assert!(found.contains(means), "{said}: {found}");
        }
    }

    #[test]
    fn what_changes_from_time_to_time_is_left_out() {
        for (said, expected) in [
            (
                "[thrd:b:9093/bootstrap]: b:9093/bootstrap: Disconnected: receive 0 (after 4ms in state APIVERSION_QUERY, 1 identical error(s) suppressed)",
                "b:9093/bootstrap: Disconnected: receive 0 (in state APIVERSION_QUERY)",
            ),
            (
                "b:9093/1: SASL authentication error: no (after 126ms in state AUTH_REQ)",
                "b:9093/1: SASL authentication error: no (in state AUTH_REQ)",
            ),
            ("1/1 brokers are down", "1/1 brokers are down"),
            ("waited (after all)", "waited (after all)"),
        ] {
            assert_eq!(normalize(said), expected);
        }
    }
}
