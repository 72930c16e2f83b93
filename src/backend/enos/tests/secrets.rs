//! A gateway that repeats everything it received: no secret of it is ever shown.

use std::time::Instant;

use super::stub::*;
use crate::backend::enos::{EnosClient, Failure};

fn clean(shown: &str, stub: &Stub) {
    let mut secrets = vec![KEY.to_owned(), SECRET.to_owned(), TOKEN.to_owned()];
    for asked in stub.asked() {
        secrets.extend(["apim-signature", "apim-accesstoken"].iter().filter_map(|h| asked.header(h)).map(str::to_owned));
        if let Ok(body) = serde_json::from_str::<serde_json::Value>(&asked.body) {
            secrets.extend(["encryption", "accessToken"].iter().filter_map(|k| body[k].as_str()).map(str::to_owned));
        }
    }
    for secret in secrets {
        assert!(!shown.to_lowercase().contains(&secret.to_lowercase()), "{secret} in {shown}");
    }
}

fn shown(failure: &Failure) -> String {
    assert!(failure.text.len() <= 200 && !failure.text.contains(char::is_control), "{failure}");
    format!("{failure} {failure:?} {failure:#?}")
}

/// The key, the secret and the rest of the request, with `before` bytes in front so that the cut falls into a secret.
fn echo(asked: &Asked, before: usize) -> String {
    let header = |name| asked.header(name).unwrap_or_default().to_uppercase();
    let body = asked.body.replace('"', "'");
    let said = format!("{} {} {} {KEY} {SECRET} {body}", "x".repeat(before), header("apim-signature"), header("apim-accesstoken"));
    said.replace('\\', "/")
}

#[tokio::test]
async fn nothing_secret_is_shown() {
    for before in [0, 100, 150, 180, 195, 199, 300] {
        let stub = Stub::start(move |n, asked| match n % 3 {
            0 => say(&format!(r#"{{"code":61168,"msg":"{}"}}"#, echo(asked, before))),
            1 => Do::Say(401, format!(r#"{{"message":"{}\u0007\n"}}"#, echo(asked, before))),
            _ => Do::Raw(http(502, &format!("Content-Type: {}\r\n", asked.header("apim-accesstoken").unwrap()), "<html>")),
        });
        let client = stub.client();
        for _ in 0..3 {
            clean(&shown(&client.reset(ORG, ID, soon()).await.unwrap_err()), &stub);
            clean(&shown(&client.details(ORG, ID, true).await.unwrap_err()), &stub);
            clean(&shown(&client.pipelines(ORG, Instant::now()).await.unwrap_err()), &stub);
        }
        let stub = Stub::bare(move |asked| say(&format!(r#"{{"status":1004,"msg":"{}"}}"#, echo(asked, before))));
        clean(&shown(&stub.client().reset(ORG, ID, soon()).await.unwrap_err()), &stub);
    }
}

#[tokio::test]
async fn structs_show_nothing() {
    let stub = Stub::start(|_, _| ok());
    let (settings, client) = (stub.settings(), stub.client());
    client.reset(ORG, ID, soon()).await.unwrap();
    clean(&format!("{settings:?} {:?} {client:?}", settings.credentials), &stub);
    let bad = EnosClient::new(super::stub::settings(&format!("https://{KEY}:{SECRET}@gateway"))).unwrap_err();
    clean(&shown(&bad), &stub);
}
