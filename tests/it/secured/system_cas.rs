//! D8: a system that has no CA certificates.

use std::path::Path;

use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::{Operator, Scratch};

use crate::support::secured::{SecuredWorld, Way, run, tls};
use crate::support::status::{assert_has, says};
use crate::support::world::{EXE, flags};

#[tokio::test(flavor = "multi_thread")]
async fn d8_a_system_without_cas_is_told_as_that() {
    let locked = SecuredWorld::without_operator("sd8c").await;
    locked.let_in();
    let dir = Scratch::new("no-cas").expect("a directory");
    let (script, none) = (dir.path().join("operator"), dir.path().join("none"));
    let none = none.display();
    let text = format!("#!/bin/sh\nSSL_CERT_FILE={none} SSL_CERT_DIR={none} exec {EXE} \"$@\"\n");
    std::fs::write(&script, text).expect("a script");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it can be run");
    let _operator = Operator::start(locked.world.testbed, Path::new(&script), locked.world.namespace.name(), &flags(&[]));
    let (_, group) = locked.topic_and_group().await;
    locked.apply("p", &Way::new("p", locked.secured.ssl(), json!({}), Value::Null), &group, run("r1")).await;
    let status = locked.world.reaches("p", "r1", Stage::Waiting, "TlsFailed").await;
    let message = says(&status, "Ready").2;
    assert_has(message, &["the system that the operator runs on has none", "spec.kafka.tls.ca"]);
    locked.apply("p", &Way::new("p", locked.secured.ssl(), tls(), Value::Null), &group, run("r1")).await;
    locked.world.verified("p", "r1").await;
}
