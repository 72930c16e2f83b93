//! What the image brings beside the program: certificate authorities, and a resolver of names. `make test-image` unpacks the image and
//! runs these, and tests of other themes, with its program, its files and its user (testbed/image/confined.sh).

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::{Operator, Scratch};

use crate::support::secured::{LOCAL, SecuredWorld, Way, run};
use crate::support::status::{assert_has, says};
use crate::support::world::{World, flags};

/// The image's program with this setting of confined.sh.
fn with(dir: &Scratch, setting: &str, file: &Path) -> PathBuf {
    let program = std::env::var("TESTBED_OPERATOR").expect("`make test-image` runs this test");
    let script = dir.path().join("image");
    let text = format!("#!/bin/sh\n{setting}={} exec {program} \"$@\"\n", file.display());
    std::fs::write(&script, text).expect("a script");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it can be run");
    script
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the image: make test-image"]
async fn image_trusts_the_authorities_that_it_brings_and_those_put_in_their_place() {
    let mut locked = SecuredWorld::new("image-cas", &[]).await;
    locked.let_in();
    let (topic, group) = locked.topic_and_group().await;
    let way = Way::new("p", locked.secured.ssl(), json!({}), Value::Null);
    locked.apply("p", &way, &group, run("r1")).await;
    let status = locked.world.reaches("p", "r1", Stage::Waiting, "TlsFailed").await;
    // An image without authorities would say that the system has none.
    assert_has(says(&status, "Ready").2, &["the broker's certificate is of a CA that is not trusted"]);
    locked.world.kill_operator();
    let dir = Scratch::new("image-cas").expect("a directory");
    let cas = dir.path().join("cas.crt");
    std::fs::write(&cas, locked.secured.ca_pem()).expect("a file");
    let program = with(&dir, "IMAGE_CAS", &cas);
    let _operator = Operator::start(locked.world.testbed, &program, locked.world.namespace.name(), &flags(&LOCAL));
    locked.world.verified("p", "r1").await;
    assert_eq!(locked.world.offset(&group, &topic).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the image: make test-image"]
async fn image_resolves_names_without_a_library_of_the_system() {
    let mut world = World::without_operator("image-names").await;
    let dir = Scratch::new("image-names").expect("a directory");
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost\n127.0.0.1 broker.image.test\n").expect("a file");
    let program = with(&dir, "HOSTS", &hosts);
    let _operator = Operator::start(world.testbed, &program, world.namespace.name(), &flags(&[]));
    for host in ["localhost", "broker.image.test"] {
        world.named = Some(vec![world.bootstrap.replace("127.0.0.1", host)]);
        let topic = world.topic(&[10]).await;
        let group = world.group(&topic, &[7]).await;
        world.apply(host, &group, run("r1")).await;
        world.verified(host, "r1").await;
        assert_eq!(world.offset(&group, &topic).await, Some(0), "{host}");
    }
}
