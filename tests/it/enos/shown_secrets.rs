//! F06: nothing of what is secret is shown.

use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::enos::{Application, Call, Certificate, Fault, Kind, ORGANISATION, Options, Simulator, When};

use crate::support::enos::{EnosWorld, ID, id, numbered};
use crate::support::leaks::{base64, percent, places, shown};
use crate::support::status::{assert_has, is_over};

/// Whatever looks like a token, a signature or an `encryption`: 64 hexadecimal digits.
fn hashes(text: &str) -> Vec<&str> {
    let hash = |word: &&str| word.len() == 64 && !text.contains(&format!("\"planDigest\":\"{word}\""));
    text.split(|c: char| !c.is_ascii_hexdigit()).filter(hash).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn f06_no_secret_key_token_or_signature_is_shown_anywhere() {
    // So odd that each encoding of them looks different.
    let (key, secret) = ("AK/odd+key=0815", "S3cr+t/&käy=<4711>%41\"quoted\"");
    let applications = vec![Application::new(key, secret, &[ORGANISATION])];
    let flags = ["--log-filter=trace", "--call-deadline=2s", "--send-window=3s", "--concurrency=16"];
    let mut enos = EnosWorld::with_flags("f06", Options { applications: applications.clone(), ..Options::default() }, &flags).await;
    enos.world.secret("app", json!({ "accessKey": key, "secretKey": secret })).await;
    let wrong = "Wr0ng/s3cr+t&<0815>";
    enos.world.secret("wrong", json!({ "accessKey": key, "secretKey": wrong })).await;
    enos.world.secret("broken", json!({ "accessKey": key, "secretKey": format!("{secret}\n") })).await;
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
        enos.sim.add(numbered(n, "PAUSED"));
        if let Some((call, kind)) = fault {
            enos.sim.fault(Fault::new(*call, When::Before, kind.clone()).pipeline(&id(n)));
        }
        enos.run(&format!("p{n}"), enos.spec(&id(n)), json!({ "note": "a note" })).await;
    }
    enos.sim.add(numbered(20, "RUNNING"));
    enos.run("pause", enos.spec(&id(20)), json!({ "whenActive": "Pause" })).await;
    enos.run("wrong", enos.spec_with_secret(&id(0), "wrong"), Value::Null).await;
    enos.run("broken", enos.spec_with_secret(&id(0), "broken"), Value::Null).await;
    let tls = Simulator::start(Options { tls: true, certificate: Certificate::Expired, applications, ..Options::default() }).await;
    enos.run("tls", enos.spec_at(ID, &tls.endpoint()), Value::Null).await;

    for n in 0..faults.len() {
        enos.world.wait(&format!("p{n}"), "an end", is_over).await;
    }
    enos.world.wait("pause", "an end", is_over).await;
    enos.world.reaches("wrong", "r1", Stage::Waiting, "AuthenticationFailed").await;
    enos.world.reaches("broken", "r1", Stage::Waiting, "AuthenticationFailed").await;
    enos.world.reaches("tls", "r1", Stage::Waiting, "TlsFailed").await;

    let places = places(&mut enos.world).await;
    assert_has(&places[1].1, &["streampipeline_reset_transitions"]);
    assert!(enos.world.events().await.len() > 5, "expected more than five events");
    assert!(places[0].1.contains("TRACE"), "expected lines of every level in the log");
    let mut secrets: Vec<String> = vec![key.to_owned(), secret.to_owned(), wrong.to_owned(), format!("{secret}\n")];
    for call in enos.sim.calls() {
        secrets.extend(call.token.into_iter().chain(call.signature));
        let body: Value = serde_json::from_str(&call.body).unwrap_or_default();
        secrets.extend(body["encryption"].as_str().map(str::to_owned));
    }
    assert!(secrets.len() > 10, "expected tokens and encryptions among the secrets: {}", secrets.len());
    let mut shown = shown(&places, &secrets);
    // The log of TLS is full of other random numbers.
    for (place, text) in places.iter().filter(|(place, _)| *place != "log") {
        shown.extend(hashes(text).into_iter().map(|hash| format!("{place}: looks like a signature: {hash}")));
    }
    assert!(shown.is_empty(), "shown {} times: {:#?}", shown.len(), &shown[..shown.len().min(8)]);
}
