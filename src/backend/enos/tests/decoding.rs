//! Every shape of an answer that is documented, sampled or likely.

use crate::backend::enos::wire::answers::{self, LagPoint, Page, RunStatus};
use crate::backend::enos::wire::{Envelope, Undecodable};

const ID: &str = "565c0114-0000-4372-86d1-000000000000";

fn decode(body: &str) -> Envelope {
    Envelope::decode(body.as_bytes()).unwrap_or_else(|e| panic!("{e}: {body}"))
}

/// An answer whose `data` is this JSON text.
fn data(data: &str) -> Envelope {
    decode(&format!(r#"{{"code":0,"msg":"OK","data":{data}}}"#))
}

#[test]
fn envelopes() {
    for (body, code, status, apim) in [
        ("{\"code\": 0, \"msg\": \"OK\",}", Some(0), Some(0), None),
        ("{\"code\": 0, \"msg\": \"a,}\\\",]\", \"data\": [1, 2 , ] ,\n}\n", Some(0), Some(0), None),
        ("\u{feff}{\"code\":\"61108\"}", Some(61108), Some(61108), None),
        ("{\"code\":0.0}", Some(0), Some(0), None),
        ("{\"code\":0.5}", None, None, None),
        ("{\"code\":null,\"status\":0}", None, Some(0), None),
        ("{\"code\":\"OK\"}", None, None, None),
        ("{\"code\":true}", None, None, None),
        ("{\"code\":[0]}", None, None, None),
        ("{\"code\":{\"code\":0}}", None, None, None),
        ("{\"stauts\":0}", None, Some(0), None),
        ("{\"status\":1003,\"stauts\":0}", None, Some(1003), None),
        ("{\"apim_status\":\"4011\"}", None, None, Some(4011)),
        ("{\"code\":18446744073709551615}", None, None, None),
        ("{}", None, None, None),
    ] {
        let envelope = decode(body);
        assert_eq!((envelope.code(), envelope.status(), envelope.apim_status()), (code, status, apim), "{body}");
    }
    for body in
        ["", " ", "[0]", "[{\"code\":0}]", "0", "\"code\"", "null", "<html>", "{\"code\":0", "{\"code\":0}{", "{\"code\":0,\"code\":1}"]
    {
        assert_eq!(Envelope::decode(body.as_bytes()).unwrap_err(), Undecodable::NotJson, "{body}");
    }
    assert_eq!(Envelope::decode(b"{\"code\":0,\"msg\":\"\xc3\x28\"}").unwrap().code(), Some(0), "no UTF-8");
    assert_eq!(decode(r#"{"message":"Service unavailable"}"#).message(), "Service unavailable");
    assert_eq!(decode(r#"{"msg":"","message":7}"#).message(), "7");
}

#[test]
fn what_is_deep_is_no_crash() {
    for deep in ["[", "{\"a\":"] {
        for n in [100, 200, 100_000] {
            let open = deep.repeat(n);
            let close = if deep == "[" { "]" } else { "}" }.repeat(n);
            let body = format!("{{\"code\":0,\"data\":{open}1{close}}}");
            if let Ok(envelope) = Envelope::decode(body.as_bytes()) {
                let _ = (answers::page(&envelope), answers::lag(&envelope, ID), answers::details(&envelope), answers::token(&envelope));
            }
            let item = format!(
                r#"{{"code":0,"data":{{"pipelines":[{{"pipelineId":"p","name":{open}1{close},"resourceConfig":{open}1{close}}}]}}}}"#
            );
            let _ = Envelope::decode(item.as_bytes()).map(|e| answers::page(&e));
        }
    }
}

#[test]
fn tokens() {
    for (body, expected) in [
        (r#"{"accessToken":"t","expire":7200}"#, Some(("t", Some(7200)))),
        (r#"[{"accessToken":"t","expire":"7200"}]"#, Some(("t", Some(7200)))),
        (r#"{"accessToken":"t"}"#, Some(("t", None))),
        (r#"{"accessToken":""}"#, None),
        (r#"{"accessToken":7}"#, None),
        ("null", None),
        ("\"t\"", None),
    ] {
        let found = answers::token(&data(body));
        assert_eq!(found, expected.map(|(t, life)| (t.to_owned(), life)), "{body}");
    }
}

fn pages(body: &str) -> Result<Page, Undecodable> {
    answers::page(&data(body))
}

#[test]
fn lists() {
    let item = r#"{"orgId":"o","status":"RUNNING","version":"0.1.0","pipelineId":"p","pipelineName":"demo","templateType":1,
        "executionMode":"1","messageChannel":0,"resourceConfig":"{\"men\":2.0,\"cpu\":1.0}","alarmConfig":"","updateTime":1616759448328}"#;
    for body in [
        format!(r#"{{"count":1,"pipelines":[{item}]}}"#),
        format!(r#"{{"count":"1","pipelines":{item}}}"#),
        format!(r#"[{{"count":1,"pipelines":[{item},null,7,"x",[{item}],{{}}]}}]"#),
    ] {
        let page = pages(&body).unwrap();
        assert_eq!((page.count, page.items.len()), (Some(1), 1), "{body}");
        let (id, item) = &page.items[0];
        assert_eq!((id.as_str(), item.name.as_str(), &item.status), ("p", "demo", &RunStatus::Running));
        assert_eq!((item.execution_mode, item.message_channel, item.update_time.as_str()), (Some(1), Some(0), "1616759448328"));
        assert_eq!(item.resource_config.as_deref(), Some(r#"{"men":2.0,"cpu":1.0}"#));
    }
    for (config, expected) in [(r#"{"a": 1}"#, Some(r#"{"a": 1}"#)), ("null", None), ("\"\"", None), ("2", Some("2"))] {
        let page = pages(&format!(r#"{{"pipelines":[{{"pipelineId":1,"resourceConfig":{config}}}]}}"#)).unwrap();
        assert_eq!(page.items[0].1.resource_config.as_deref(), expected, "{config}");
        assert_eq!((page.items[0].0.as_str(), &page.items[0].1.status), ("1", &RunStatus::Other(String::new())));
    }
    let long = format!(
        r#"{{"pipelines":[{{"pipelineId":"{}"}},{{"pipelineId":"p","resourceConfig":"{}","pipelineName":"{}"}}]}}"#,
        "x".repeat(257),
        "1".repeat(5000),
        "\\u0007ü".repeat(5000)
    );
    let page = pages(&long).unwrap();
    assert_eq!((page.items.len(), &page.items[0].1.resource_config), (1, &None));
    assert!(page.items[0].1.name.len() <= 256 && !page.items[0].1.name.contains('\u{7}'));
    assert_eq!(pages(r#"{"count":0}"#).unwrap(), Page { items: vec![], count: Some(0) });
    assert_eq!(pages("[]").unwrap(), Page::default());
    for bad in ["null", "\"\"", "\"x\"", "7", "{}", "[7]", "[[[]]]", r#"{"count":3}"#, r#"{"pipelines":"x"}"#] {
        assert!(pages(bad).is_err(), "{bad}");
    }
    assert!(pages(&format!(r#"{{"pipelines":[{}{{}}]}}"#, "{},".repeat(6000))).is_err(), "too many for a page");
}

#[test]
fn statuses() {
    for (text, status) in [
        ("PUBLISHED", RunStatus::Published),
        ("Running", RunStatus::Running),
        ("paused", RunStatus::Paused),
        (" Stopped ", RunStatus::Stopped),
        ("Run Error", RunStatus::RunError),
        ("RUN_ERROR", RunStatus::RunError),
        ("run-error", RunStatus::RunError),
        ("STARTING", RunStatus::Other("STARTING".into())),
        ("RUNNING2", RunStatus::Other("RUNNING2".into())),
        ("RUNNINGRUNNINGRUNNING", RunStatus::Other("RUNNINGRUNNINGRUNNING".into())),
        ("运行", RunStatus::Other("运行".into())),
        ("", RunStatus::Other(String::new())),
    ] {
        assert_eq!(RunStatus::parse(text), status, "{text}");
    }
}

#[test]
fn details() {
    for body in [
        r#"{"desc":"","pipelineId":"p","pipelineName":"n","version":"1","templateType":1,"templateName":{"en_us":"x"},"messageChannel":"0","pipelineJson":{"a":[1]}}"#,
        r#"[{"pipelineId":"p","pipelineName":"n","version":"1","templateType":"1","messageChannel":0}]"#,
    ] {
        let details = answers::details(&data(body)).unwrap();
        assert_eq!((details.id.as_str(), details.name.as_str(), details.version.as_str()), ("p", "n", "1"));
        assert_eq!((details.template_type, details.message_channel), (Some(1), Some(0)));
    }
    for bad in ["null", "\"\"", "[]", "7"] {
        assert!(answers::details(&data(bad)).is_err(), "{bad}");
    }
}

fn lag(body: &str) -> Option<LagPoint> {
    answers::lag(&data(body), ID).unwrap_or_else(|e| panic!("{e}: {body}"))
}

#[test]
fn lags() {
    let points = r#"[{"lag":0,"offset":6094977,"ts":1616759448328},{"lag":"7","offset":"6094980","ts":"1616759673388"},{"lag":1,"offset":2,"ts":3},{"lag":9}]"#;
    let newest = |topics: &[&str]| {
        let topics = topics.iter().map(|t| (*t).to_owned()).collect();
        Some(LagPoint { ts: 1_616_759_673_388, lag: Some(7), offset: Some(6_094_980), topics })
    };
    assert_eq!(lag(&format!(r#"{{"pipelineId":"{ID}","topicName":"T","lagAndOffset":{points}}}"#)), newest(&["T"]));
    assert_eq!(lag(&format!(r#"[{{"pipelineId":"{ID}","topicName":"T","lagAndOffset":{points}}}]"#)), newest(&["T"]));
    assert_eq!(lag(r#"{"lagAndOffset":{"lag":"7","offset":6094980.0,"ts":1616759673388}}"#), newest(&[""]));
    for none in ["null", "\"\"", "[]", "{}", r#"{"lagAndOffset":null}"#, r#"{"lagAndOffset":[]}"#, r#"{"lagAndOffset":[{"lag":1}]}"#] {
        assert_eq!(lag(none), None, "{none}");
    }
    let two = r#"[{"topicName":"A","lagAndOffset":{"lag":1,"offset":10,"ts":5}},{"topicName":"B","lagAndOffset":{"lag":2,"ts":4}}]"#;
    assert_eq!(lag(two), Some(LagPoint { ts: 4, lag: Some(3), offset: None, topics: vec!["A".into(), "B".into()] }));
    assert!(answers::lag(&data(r#"{"pipelineId":"another","lagAndOffset":[]}"#), ID).is_err());
    assert!(answers::lag(&data("7"), ID).is_err());
    assert_eq!(decode(r#"{"code":0}"#).data::<serde_json::Value>().unwrap(), None);
}
