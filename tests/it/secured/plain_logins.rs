//! C2: log-ins that would show their secret on the way.

use serde_json::Value;
use stream_pipeline_api::Stage;

use crate::support::secured::{SecuredWorld, Way, login, oauth, run};
use crate::support::sockets::Trap;
use crate::support::status::{assert_has, says};

#[tokio::test(flavor = "multi_thread")]
async fn c2_a_log_in_that_shows_its_secret_needs_tls_or_a_flag() {
    let mut locked = SecuredWorld::new("sc2", &[]).await;
    locked.let_in();
    let trap = Trap::at("127.0.0.1").await;
    let topic = locked.world.topic(&[10]).await;
    // The Secret does not even exist: it is not read.
    for (name, sasl, what) in [
        ("plain", login("PLAIN", "none"), "would show the password"),
        ("oauth", oauth(&format!("http://{}/token", trap.address), "none"), "would show the token"),
    ] {
        let group = locked.world.group(&topic, &[7]).await;
        locked.apply(name, &Way::new(name, trap.address.clone(), Value::Null, sasl), &group, run("r1")).await;
        let status = locked.world.reaches(name, "r1", Stage::Waiting, "EndpointNotAllowed").await;
        let message = says(&status, "Ready").2;
        assert_has(message, &[what, "not a byte was sent", "spec.kafka.tls", "SCRAM", "--allow-plain-sasl"]);
    }
    // SCRAM proves the password without sending it.
    let group = locked.world.group(&topic, &[7]).await;
    let open = locked.secured.sasl_plaintext();
    locked.apply("scram", &Way::new("scram", open.clone(), Value::Null, login("SCRAM-SHA-512", "login")), &group, run("r1")).await;
    locked.world.verified("scram", "r1").await;
    assert_eq!(trap.came(), 0, "connections");
    locked.world.kill_operator();
    locked.start(&["--allow-plain-sasl"]);
    let group = locked.world.group(&topic, &[7]).await;
    locked.apply("allowed", &Way::new("allowed", open, Value::Null, login("PLAIN", "login")), &group, run("r1")).await;
    locked.world.verified("allowed", "r1").await;
    assert_eq!(locked.world.offset(&group, &topic).await, Some(0));
}
