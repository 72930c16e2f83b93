//! Credentials: missing, wrong, rotated, and never shown (F05, F06, F15); and what somebody new to it gets wrong.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};
use stream_pipeline_operator::api::{Stage, StreamPipelineStatus};
use testbed::enos::{
    ACCESS_KEY, Application, Call, Certificate, Fault, Kind, ORGANISATION, Options, Pipeline, SECRET_KEY, Simulator, When,
};
use testbed::http_get;

use crate::support::enos::{Enos, ID, id};
use crate::support::observing::{base64, percent};
use crate::support::world::{is_over, reset, says};

fn pipeline(n: usize, status: &str) -> Pipeline {
    Pipeline::new(ORGANISATION, &id(n), &format!("p{n}"), status).series(400_000, 1_000_000)
}

fn with_secret(enos: &Enos, id: &str, secret: &str) -> Value {
    let mut spec = enos.spec(id);
    spec["credentialsSecretRef"] = json!({ "name": secret });
    spec
}

fn message(status: &StreamPipelineStatus) -> &str {
    says(status, "Ready").2
}

/// What is wrong with a Secret, what is said of it, and that it goes on by itself when it is put right.
async fn put_right(test: &str, secret: Value, reason: &str, said: &[&str]) {
    let enos = Enos::with(test, "PAUSED").await;
    if !secret.is_null() {
        enos.secret("tenant", secret).await;
    }
    enos.run("p", with_secret(&enos, ID, "tenant"), Value::Null).await;
    let waits = enos.world.reaches("p", "r1", Stage::Waiting, reason).await;
    for part in said {
        assert!(message(&waits).contains(part), "{part}: {}", message(&waits));
    }
    assert_eq!((says(&waits, "BackendReachable").0, says(&waits, "BackendReachable").1), ("False", reason));
    assert!(reset(&waits).error.as_ref().is_some_and(|e| e.retryable));
    assert!(enos.sim.calls().iter().all(|c| c.call == Call::TokenGet), "nothing but a token is asked for");
    enos.secret("tenant", json!({ "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY })).await;
    let sent = enos.sent("p", "r1").await;
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID), says(&sent, "BackendReachable").0), (1, 1, "True"), "without a restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn f05_a_missing_secret_is_named_and_picked_up() {
    put_right("f05a", Value::Null, "SecretNotFound", &["Secret tenant is not in this namespace", "create it"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f05_a_secret_without_a_key_is_named_and_picked_up() {
    let secret = json!({ "accessKey": ACCESS_KEY, "secret": SECRET_KEY });
    put_right("f05b", secret, "SecretNotFound", &["Secret tenant has no key secretKey", "it has accessKey, secret", "add it"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f05_a_wrong_secret_key_is_named_and_picked_up() {
    let secret = json!({ "accessKey": ACCESS_KEY, "secretKey": "wrong" });
    put_right("f05c", secret, "AuthenticationFailed", &["1003: ", "Correct secretKey in the Secret", "clock"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f05_an_unknown_access_key_is_named_and_picked_up() {
    let secret = json!({ "accessKey": "wrong", "secretKey": SECRET_KEY });
    put_right("f05d", secret, "AuthenticationFailed", &["1002: ", "Correct accessKey in the Secret"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f05_a_value_that_ends_with_a_line_break_is_named_and_picked_up() {
    let secret = json!({ "accessKey": ACCESS_KEY, "secretKey": format!("{SECRET_KEY}\n") });
    put_right("f05e", secret, "AuthenticationFailed", &["1003: ", "A value in Secret tenant ends with a line break"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f05_an_empty_value_is_named_and_picked_up() {
    let secret = json!({ "accessKey": ACCESS_KEY, "secretKey": "" });
    put_right("f05f", secret, "AuthenticationFailed", &["Secret tenant cannot be used", "empty"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f05_a_rotated_secret_is_used_without_a_restart_and_a_deleted_one_is_missed() {
    let second = Application::new("second-key", "second-secret", &[ORGANISATION]);
    let applications = vec![Application::new(ACCESS_KEY, SECRET_KEY, &[ORGANISATION]), second];
    let enos = Enos::new("f05g", Options { applications, ..Options::default() }).await;
    enos.sim.add(pipeline(1, "PAUSED"));
    enos.run("p", enos.spec(ID), Value::Null).await;
    enos.sent("p", "r1").await;
    let with_second = || enos.sim.calls().iter().filter(|c| c.call == Call::TokenGet && c.body.contains("second-key")).count();
    assert_eq!(with_second(), 0);
    enos.secret("app", json!({ "accessKey": "second-key", "secretKey": "second-secret" })).await;
    testbed::eventually("the new key to be used", crate::support::world::LIMIT, async || {
        if with_second() > 0 { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    enos.apply("p", ID, json!({ "id": "r2" })).await;
    enos.sent("p", "r2").await;
    assert_eq!((enos.sim.resets(ID), with_second()), (2, 1));
    let api: Api<Secret> = Api::namespaced(enos.world.client.clone(), enos.world.namespace.name());
    api.delete("app", &DeleteParams::default()).await.expect("it can be deleted");
    let missed = enos.world.wait("p", "the Secret to be missed", |s| says(s, "BackendReachable").1 == "SecretNotFound").await;
    assert_eq!(reset(&missed).stage, Stage::Sent, "what was reached stays readable");
}

#[tokio::test(flavor = "multi_thread")]
async fn f15_a_tenant_with_a_wrong_secret_is_not_noticed_by_the_other_on_the_same_gateway() {
    let mut enos = Enos::new("f15", Options::default()).await;
    // The same access key: to the gateway both are one application.
    enos.secret("wrong", json!({ "accessKey": ACCESS_KEY, "secretKey": "wrong" })).await;
    for n in 1..=20 {
        enos.sim.add(pipeline(n, "PAUSED"));
        enos.run(&format!("wrong{n}"), with_secret(&enos, &id(n), "wrong"), Value::Null).await;
    }
    for n in 1..=20 {
        enos.world.reaches(&format!("wrong{n}"), "r1", Stage::Waiting, "AuthenticationFailed").await;
    }
    for n in 21..=25 {
        enos.sim.add(pipeline(n, "PAUSED"));
        enos.run(&format!("right{n}"), enos.spec(&id(n)), Value::Null).await;
    }
    for n in 21..=25 {
        let sent = enos.sent(&format!("right{n}"), "r1").await;
        let took = reset(&sent).completed_at.zip(reset(&sent).accepted_at).map(|(end, begin)| end.duration_since(begin));
        assert!(took.is_some_and(|t| t.as_secs() < 10), "{took:?}");
        assert_eq!(enos.sim.resets(&id(n)), 1);
    }
    let log = enos.world.operator().log();
    let hindered: Vec<_> = log.lines().filter(|l| l.contains("name=\"right") && l.contains("AuthenticationFailed")).collect();
    assert!(hindered.is_empty(), "{hindered:?}");
    // Twenty pipelines with one wrong Secret ask like one, and ever more seldom.
    let refused = enos.sim.calls().iter().filter(|c| c.call == Call::TokenGet && c.code == Some(1003)).count();
    assert!((1..=8).contains(&refused), "{refused} refused calls");
    for n in 1..=20 {
        assert_eq!(enos.sim.resets(&id(n)), 0);
    }
}

/// Whatever looks like a token, a signature or an `encryption`: 64 hexadecimal digits.
fn hashes(text: &str) -> Vec<&str> {
    let hash = |word: &&str| word.len() == 64 && !text.contains(&format!("\"planDigest\":\"{word}\""));
    text.split(|c: char| !c.is_ascii_hexdigit()).filter(hash).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn f06_no_secret_key_token_or_signature_is_shown_anywhere() {
    // Odd enough that each way to write them looks different.
    let (key, secret) = ("AK/odd+key=0815", "S3cr+t/&käy=<4711>%41\"quoted\"");
    let applications = vec![Application::new(key, secret, &[ORGANISATION])];
    let flags = ["--log-filter=trace", "--call-deadline=2s", "--send-window=3s", "--concurrency=16"];
    let mut enos = Enos::with_flags("f06", Options { applications: applications.clone(), ..Options::default() }, &flags).await;
    enos.secret("app", json!({ "accessKey": key, "secretKey": secret })).await;
    let wrong = "Wr0ng/s3cr+t&<0815>";
    enos.secret("wrong", json!({ "accessKey": key, "secretKey": wrong })).await;
    enos.secret("broken", json!({ "accessKey": key, "secretKey": format!("{secret}\n") })).await;
    let echo = format!("the key {key} with {secret}, {}, {}, {}", secret.to_ascii_uppercase(), base64(secret.as_bytes()), percent(secret));
    let faults = [
        None,
        Some((Call::Reset, Kind::Code(61168, None))),
        Some((Call::Reset, Kind::Hang)),
        Some((Call::Reset, Kind::Drop)),
        Some((Call::Reset, Kind::Code(99000, Some(echo.clone())))),
        Some((Call::Reset, Kind::Http(500, echo.clone()))),
        Some((Call::Reset, Kind::Http(401, echo))),
        Some((Call::Reset, Kind::Html(502))),
    ];
    for (n, fault) in faults.iter().enumerate() {
        enos.sim.add(pipeline(n, "PAUSED"));
        if let Some((call, kind)) = fault {
            enos.sim.fault(Fault::new(*call, When::Before, kind.clone()).pipeline(&id(n)));
        }
        enos.run(&format!("p{n}"), enos.spec(&id(n)), json!({ "note": "a note" })).await;
    }
    enos.sim.add(pipeline(20, "RUNNING"));
    enos.run("pause", enos.spec(&id(20)), json!({ "whenActive": "Pause" })).await;
    enos.run("wrong", with_secret(&enos, &id(0), "wrong"), Value::Null).await;
    enos.run("broken", with_secret(&enos, &id(0), "broken"), Value::Null).await;
    let tls = Simulator::start(Options { tls: true, certificate: Certificate::Expired, applications, ..Options::default() }).await;
    let mut spec = enos.spec(ID);
    spec["endpoint"] = json!(tls.endpoint());
    enos.run("tls", spec, Value::Null).await;

    for n in 0..faults.len() {
        enos.world.wait(&format!("p{n}"), "an end", is_over).await;
    }
    enos.world.wait("pause", "an end", is_over).await;
    enos.world.reaches("wrong", "r1", Stage::Waiting, "AuthenticationFailed").await;
    enos.world.reaches("broken", "r1", Stage::Waiting, "AuthenticationFailed").await;
    enos.world.reaches("tls", "r1", Stage::Waiting, "TlsFailed").await;

    let log = enos.world.operator().log();
    let address =
        log.lines().find_map(|l| l.split("probes and metrics address=").nth(1)).expect("the address of /metrics").trim().to_owned();
    let metrics = http_get(&address, "/metrics").await;
    assert!(metrics.contains("streampipeline_reset_transitions"), "{metrics}");
    let all = ListParams::default();
    let events: Api<Event> = Api::namespaced(enos.world.client.clone(), enos.world.namespace.name());
    let events = events.list(&all).await.expect("events can be listed").items;
    assert!(events.len() > 5, "{} events", events.len());
    let places = [
        ("log", log),
        ("metrics", metrics),
        ("pipelines", json!(enos.world.pipelines().list(&all).await.expect("pipelines can be listed").items).to_string()),
        ("records", json!(enos.world.all_records().await).to_string()),
        ("events", json!(events).to_string()),
    ];
    assert!(places[0].1.contains("TRACE"), "everything is logged");
    let mut needles: Vec<String> = vec![key.to_owned(), secret.to_owned(), wrong.to_owned(), format!("{secret}\n")];
    for call in enos.sim.calls() {
        needles.extend(call.token.into_iter().chain(call.signature));
        let body: Value = serde_json::from_str(&call.body).unwrap_or_default();
        needles.extend(body["encryption"].as_str().map(str::to_owned));
    }
    assert!(needles.len() > 10, "tokens and encryptions came: {}", needles.len());
    let mut shown = Vec::new();
    for (place, text) in &places {
        let lower = text.to_lowercase();
        for needle in &needles {
            let quoted = json!(needle).to_string();
            let forms = [
                needle.clone(),
                base64(needle.as_bytes()),
                percent(needle),
                quoted.trim_matches('"').to_owned(),
                format!("{needle:?}").trim_matches('"').to_owned(),
            ];
            for form in forms {
                if let Some(at) = lower.find(&form.to_lowercase()) {
                    let line = text
                        .lines()
                        .scan(0, |end, line| {
                            *end += line.len() + 1;
                            Some((*end, line))
                        })
                        .find(|(end, _)| *end > at);
                    shown.push(format!("{place}: {form}: {}", line.map_or("", |(_, l)| l)));
                }
            }
        }
        // The log of TLS is full of other random numbers.
        let hashes = if *place == "log" { Vec::new() } else { hashes(text) };
        shown.extend(hashes.into_iter().map(|hash| format!("{place}: looks like a signature: {hash}")));
    }
    shown.dedup();
    assert!(shown.is_empty(), "{} times: {:#?}", shown.len(), &shown[..shown.len().min(8)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn e13_what_somebody_new_gets_wrong_is_told_with_what_to_do() {
    let enos = Enos::new("new", Options::default()).await;
    enos.sim.add(pipeline(1, "RUNNING"));
    enos.sim.add(pipeline(2, "PAUSED").unreleased());
    let with = |field: &str, value: Value| {
        let mut spec = enos.spec(&id(1));
        spec[field] = value;
        spec
    };
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        listener.local_addr().expect("an address")
    };
    for (name, spec, stage, reason, parts) in [
        (
            "organisation",
            with("orgID", json!("o999")),
            Stage::Waiting,
            "PermissionMissing",
            &["99403: ", "Denied resource: orgId o999", "Authorize the application", "or correct spec.enos.orgID"][..],
        ),
        (
            "unknown",
            with("pipelineID", json!("nope")),
            Stage::Failed,
            "PipelineNotFound",
            &["61108: ", "has no released pipeline nope", "Correct spec.enos in a new object, or release it"],
        ),
        ("unreleased", with("pipelineID", json!(id(2))), Stage::Failed, "PipelineNotFound", &["61108: ", "or release it"]),
        (
            "running",
            with("pipelineID", json!(id(1))),
            Stage::Waiting,
            "PipelineActive",
            &["reports the pipeline as RUNNING", "Pause or stop it; the reset starts by itself", "Waits until"],
        ),
        (
            "closed",
            with("endpoint", json!(format!("http://{closed}"))),
            Stage::Waiting,
            "EndpointUnreachable",
            &["no connection to http://127.0.0.1:", "Check spec.enos.endpoint, the port and the network"],
        ),
        (
            "elsewhere",
            with("endpoint", json!("https://gateway.example.com")),
            Stage::Waiting,
            "EndpointUnreachable",
            &["the host of https://gateway.example.com has no address", "Check spec.enos.endpoint and DNS"],
        ),
        (
            "not-tls",
            with("endpoint", json!(enos.sim.endpoint().replace("http://", "https://"))),
            Stage::Waiting,
            "TlsFailed",
            &["does not speak TLS", "Check the port of spec.enos.endpoint"],
        ),
        (
            "path",
            with("endpoint", json!(format!("{}/wrong", enos.sim.endpoint()))),
            Stage::Waiting,
            "UnexpectedAnswer",
            &["Check that spec.enos.endpoint"],
        ),
    ] {
        if let Err(refused) =
            enos.world.apply_spec(name, json!({ "enos": spec, "offsetReset": { "id": "r1", "whenCreated": "Run" } })).await
        {
            println!("{name}: refused: {refused}");
            continue;
        }
        let told = enos.world.reaches(name, "r1", stage, reason).await;
        println!("{name}: {}", message(&told));
        for part in parts {
            assert!(message(&told).contains(part), "{name}, {part}: {}", message(&told));
        }
    }
    assert_eq!(enos.reset_calls(), 0);
}
