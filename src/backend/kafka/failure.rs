//! Kafka's errors in the terms that a person needs: what failed, and what to check. All messages are made here.

use std::collections::BTreeSet;

use super::admin::{AdminError, BrokerError, KafkaCode};
use super::connecting::{self, KnownFailure};
use super::security::{Login, Security};
use stream_pipeline_api::Reason;
use stream_pipeline_core::{Cause, KafkaGroup, TopicPartition, words};

/// The user that the brokers take this client for, as far as it is known.
pub struct Who {
    principal: Option<String>,
    ends_with_newline: bool,
}

impl Who {
    pub fn of(security: &Security) -> Self {
        let principal = match &security.sasl {
            Some(Login::Password { username, .. }) => Some(username.clone()),
            // The brokers map tokens and certificates to users.
            Some(Login::OAuth(_)) => None,
            None if security.tls.as_ref().is_some_and(|tls| tls.client.is_some()) => None,
            None => Some("ANONYMOUS".to_owned()),
        };
        Self { principal, ends_with_newline: security.ends_with_newline() }
    }

    /// The principal as the brokers name it, where it is known.
    pub fn principal(&self) -> Option<&str> {
        self.principal.as_deref()
    }

    /// The command that grants the right to read and describe this resource.
    fn acl(&self, resource: &str, name: &str) -> String {
        words::acl(self.principal.as_deref(), resource, name)
    }
}

/// Why a whole call failed. `last`: librdkafka's last complaint about the connection. `topics`: the topics of the call.
pub fn cause(error: &AdminError, last: Option<&BrokerError>, who: &Who, backend: &KafkaGroup, topics: &BTreeSet<&str>) -> Cause {
    if let AdminError::Config(_) = error {
        return unmade(error, who, backend);
    }
    match error {
        AdminError::ClientGone { .. } => return gone(error, backend),
        AdminError::TooManyProcesses { .. } => {
            return Cause::new(
                Reason::RateLimited,
                format!("{error}. If it stays, give the operator more --kafka-clients, and memory for them"),
            );
        }
        AdminError::NoProcess(_) => {
            let text =
                format!("{error}. If it stays, raise the limits of the operator's container (pids, memory) or lower --kafka-clients");
            return Cause::new(Reason::RateLimited, text);
        }
        _ => {}
    }
    let code = error.code();
    let with = |reason: Reason, message: String| Cause { backend_code: code.map(|c| c.0), ..Cause::new(reason, message) };
    match code {
        Some(code) if code.is_authorization() => {
            let what = match code.0 {
                29 if topics.is_empty() => format!(
                    "Read and Describe on the topics that the group reads, which kafka-consumer-groups --bootstrap-server … --describe --group {} \
                     names to whoever has the right",
                    words::shell(&backend.group)
                ),
                29 => {
                    let add = words::acl_of_topics(who.principal.as_deref(), topics);
                    format!("Read and Describe on one of these topics at least; add it: {add}")
                }
                30 => format!("Read and Describe on group {}; add it: {}", words::name(&backend.group), who.acl("--group", &backend.group)),
                _ => format!("Describe on the cluster; add it: {}", words::acl_of_cluster(who.principal.as_deref())),
            };
            with(Reason::PermissionMissing, format!("the brokers refuse it; this right is missing: {what} ({error})"))
        }
        _ if error.is_transport() || code.is_some_and(KafkaCode::coordinator_moved) => {
            let last = error.broker_error().or(last).map(ToString::to_string).unwrap_or_default();
            match connecting::find(&last) {
                Some(known) => with(known.reason, named(known, &last, who, backend)),
                None => with(Reason::BrokerUnreachable, unreachable(&last, backend, error)),
            }
        }
        _ => {
            let text = format!("the brokers answered with an error: {error}. It is asked again; if it stays, look into the brokers' logs");
            with(Reason::BackendError, text)
        }
    }
}

/// Why there is no client: others with these settings got no answer a moment ago, or none could be made. librdkafka's text does not quote
/// the settings' values.
pub fn unmade(error: &AdminError, who: &Who, backend: &KafkaGroup) -> Cause {
    if error.is_transport() || matches!(error, AdminError::TooManyProcesses { .. } | AdminError::NoProcess(_)) {
        return cause(error, None, who, backend, &BTreeSet::new());
    }
    let said = words::cut(&error.to_string(), 300);
    let (reason, check) = match () {
        () if said.contains("ssl.ca.pem") => (Reason::TlsFailed, "spec.kafka.tls.ca: it must hold certificates in PEM"),
        () if said.contains("ssl.key") || said.contains("ssl.certificate") => (
            Reason::TlsFailed,
            "spec.kafka.tls.clientCertificateSecretRef: a certificate and its own key in PEM, the key without a password",
        ),
        () if said.contains("sasl") => {
            (Reason::AuthenticationFailed, "the Secret of spec.kafka.sasl.credentialsSecretRef: a value may be empty")
        }
        () => (Reason::BackendError, "spec.kafka"),
    };
    Cause::new(reason, format!("no client can be made of what is given. Check {check} ({said})"))
}

/// The client's process ended. A broker's answer may have caused that, and will cause it again.
fn gone(error: &AdminError, backend: &KafkaGroup) -> Cause {
    let given = backend.bootstrap.join(", ");
    let text = format!(
        "{error}; others are not affected, and a new one is started. If it stays, see what answers at {given}: an answer that is not as Kafka's \
         protocol says, or too large, ends it. The operator's log has its last words"
    );
    Cause::new(Reason::UnexpectedAnswer, text)
}

/// The message for a known failure, with librdkafka's text.
fn named(known: &KnownFailure, last: &str, who: &Who, backend: &KafkaGroup) -> String {
    let at = address(last).map_or_else(|| backend.bootstrap.join(", "), str::to_owned);
    let said = words::cut(last, 300);
    let broken = match known.reason {
        Reason::AuthenticationFailed if who.ends_with_newline => {
            ". In the Secret of spec.kafka.sasl.credentialsSecretRef the value ends with a line break, which counts as part of it"
        }
        _ => "",
    };
    format!("{at}: {}. Check {}{broken} ({said})", known.means, known.check)
}

/// The usual failure in plain words: the bootstrap address answers, but the address that the broker advertises does not.
fn unreachable(last: &str, backend: &KafkaGroup, error: &AdminError) -> String {
    let given = backend.bootstrap.join(", ");
    match address(last) {
        Some(address) if !backend.bootstrap.iter().any(|b| b == address) => format!(
            "the brokers at {given} answer, but one advertises {address}, which cannot be reached from here: check advertised.listeners and the network ({last})"
        ),
        _ if last.is_empty() => format!("no answer from {given}: check spec.kafka.bootstrapServers, the network and the brokers ({error})"),
        _ => format!("no answer from {given}: check spec.kafka.bootstrapServers, the network and the brokers ({last})"),
    }
}

/// The broker's address in librdkafka's "host:port/id: Connect to … failed" or "GroupCoordinator: host:port: Connect …".
fn address(last: &str) -> Option<&str> {
    let of_broker = |part: &'_ str| part.rsplit_once(':').is_some_and(|(host, port)| !host.contains(' ') && port.parse::<u16>().is_ok());
    last.split(": ")
        .map(|part| part.rsplit("//").next().unwrap_or(part))
        .map(|part| part.split('/').next().unwrap_or(part))
        .find(|part| of_broker(part))
}

/// One partition's committed offset could not be read.
pub fn of_partition(at: &TopicPartition, code: KafkaCode, who: &Who) -> Cause {
    of("the committed offset of", &at.to_string(), &at.topic, code, who)
}

/// One topic could not be described.
pub fn of_topic(topic: &str, code: KafkaCode, who: &Who) -> Cause {
    of("topic", topic, topic, code, who)
}

/// The brokers say beforehand that a commit would be refused there. `kind`: group or topic.
pub fn not_committable(kind: &str, name: &str, who: &Who) -> Cause {
    let (right, name) = (who.acl(&format!("--{kind}"), name), words::name(name));
    Cause::new(
        Reason::PermissionMissing,
        format!("offsets may not be committed for {kind} {name}; nothing was sent. Add the right: {right}"),
    )
}

/// The brokers say beforehand that deleting a commit would be refused.
pub fn not_deletable(group: &str, who: &Who) -> Cause {
    let (right, group) = (words::acl_to_delete(who.principal.as_deref(), group), words::name(group));
    Cause::new(
        Reason::PermissionMissing,
        format!(
            "this reset deletes commits that were not there before, and commits of group {group} may not be deleted; nothing was sent. Add \
             the right: {right}"
        ),
    )
}

/// One partition's log could not be read, so there is no rate either (61168).
pub fn of_log(at: &TopicPartition, code: KafkaCode, who: &Who) -> Cause {
    if code.is_authorization() {
        return of("the log of", &at.to_string(), &at.topic, code, who);
    }
    let text = format!(
        "the log of {at} could not be read ({code}), so its average input rate could not be had; nothing was written, it is tried again"
    );
    Cause { backend_code: Some(code.0), ..Cause::new(Reason::AverageRateUnavailable, text) }
}

fn of(what: &str, name: &str, topic: &str, code: KafkaCode, who: &Who) -> Cause {
    let (reason, text) = if code.is_authorization() {
        (Reason::PermissionMissing, format!("{what} {name} may not be read; add the right: {} ({code})", who.acl("--topic", topic)))
    } else {
        (Reason::BackendError, format!("{what} {name} could not be read: {code}"))
    };
    Cause { backend_code: Some(code.0), ..Cause::new(reason, text) }
}

/// How each way to fail is reported, with what leads to it: for the page of all messages.
#[cfg(test)]
pub(crate) fn messages() -> Vec<(String, Cause)> {
    use std::time::Duration;
    let group = KafkaGroup { bootstrap: vec!["b:9092".to_owned()], group: "g".to_owned(), tls: None, sasl: None, workloads: Vec::new() };
    let who = Who { principal: Some("alice".to_owned()), ends_with_newline: false };
    let silent = |text: &str| {
        let broker = (!text.is_empty()).then(|| BrokerError { code: KafkaCode::TRANSPORT, text: text.to_owned() });
        AdminError::DeadlineExceeded { call: "DescribeCluster", after: Duration::from_secs(10), handed_over: true, broker }
    };
    let refused = |code: i32| AdminError::Kafka { call: "DescribeConsumerGroups", code: KafkaCode(code), detail: String::new() };
    let none = BTreeSet::new();
    let mut all = vec![
        ("no broker answers, and librdkafka says nothing".to_owned(), cause(&silent(""), None, &who, &group, &none)),
        (
            "a broker advertises an address that cannot be reached".to_owned(),
            cause(
                &silent("kafka-0.internal:9092/1: Connect to ipv4#10.0.3.7:9092 failed: Connection refused (in state CONNECT)"),
                None,
                &who,
                &group,
                &none,
            ),
        ),
        ("no right on the group".to_owned(), cause(&refused(30), None, &who, &group, &none)),
        ("no right on a topic".to_owned(), cause(&refused(29), None, &who, &group, &BTreeSet::from(["t"]))),
        ("no right on the cluster".to_owned(), cause(&refused(31), None, &who, &group, &none)),
        ("an error without a name here".to_owned(), cause(&refused(42), None, &who, &group, &none)),
        ("the brokers say beforehand that a commit would be refused".to_owned(), not_committable("group", "g", &who)),
        ("the brokers say beforehand that deleting a commit would be refused".to_owned(), not_deletable("g", &who)),
        (
            "brokers answer with what ends the Kafka client".to_owned(),
            cause(&AdminError::ClientGone { call: "DescribeConsumerGroups", how: "signal 6".to_owned() }, None, &who, &group, &none),
        ),
        (
            "more Kafka clients are needed than there may be".to_owned(),
            cause(&AdminError::TooManyProcesses { most: 128 }, None, &who, &group, &none),
        ),
        (
            "the system gives no more processes".to_owned(),
            cause(&AdminError::NoProcess("Resource temporarily unavailable (os error 11)".to_owned()), None, &who, &group, &none),
        ),
        ("a CA that is none".to_owned(), unmade(&AdminError::Config("ssl.ca.pem failed: not in PEM format?".to_owned()), &who, &group)),
    ];
    for known in &connecting::KNOWN_FAILURES {
        let said = format!("b:9092/bootstrap: {}", known.said.join(" … "));
        all.push((format!("`{}`", known.said.join(" … ")), cause(&silent(&said), None, &who, &group, &none)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_that_a_call_lacks_is_told_with_the_topics_it_was_about() {
        let who = Who { principal: Some("turbine".to_owned()), ends_with_newline: false };
        let backend = KafkaGroup { bootstrap: vec!["b:9092".to_owned()], group: "g".to_owned(), tls: None, sasl: None, workloads: vec![] };
        let error = AdminError::Kafka { call: "ListOffsets", code: KafkaCode(29), detail: String::new() };
        let said = |topics: &[&str]| cause(&error, None, &who, &backend, &topics.iter().copied().collect()).message;
        let told = said(&["wind", "o'clock"]);
        let add =
            "kafka-acls --add --allow-principal User:turbine --operation Read --operation Describe --topic 'o'\\''clock' --topic wind";
        assert!(told.contains(add) && !told.contains('<'), "{told}");
        let many: Vec<String> = (0..500).map(|n| format!("{n:03}{}", "x".repeat(246))).collect();
        let told = said(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(told.matches("--topic ").count() == 12 && told.contains(" (and 488 more topics)") && told.len() < 4096, "{told}");
        assert!(!said(&[]).contains('<'));
    }

    #[test]
    fn the_address_is_found_in_what_librdkafka_says() {
        for (said, expected) in [
            (
                "10.0.3.7:9092/2: Connect to ipv4#10.0.3.7:9092 failed: Connection refused (after 0ms in state CONNECT)",
                Some("10.0.3.7:9092"),
            ),
            (
                "GroupCoordinator: kafka-0.internal:9092: Connect to ipv4#10.0.3.7:9092 failed: Connection refused",
                Some("kafka-0.internal:9092"),
            ),
            (
                "sasl_ssl://b.example.com:9093/bootstrap: Failed to resolve 'b.example.com:9093': Name or service not known",
                Some("b.example.com:9093"),
            ),
            ("1/1 brokers are down", None),
            ("", None),
        ] {
            assert_eq!(address(said), expected, "{said}");
        }
    }
}
