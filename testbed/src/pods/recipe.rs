//! What a pod is to run, as its annotations say.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::consumer::{Consumer, Member};

/// Of the annotations that are read here.
pub const PREFIX: &str = "testbed/";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Protocol {
    Classic,
    Consumer,
    Assign,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    group: String,
    topic: String,
    protocol: Protocol,
    /// A static member, under the pod's name.
    fixed: bool,
    pub crash_loop: bool,
    /// From the request to stop until the consumer hears it.
    pub stop_delay: Duration,
}

impl Recipe {
    /// None when nothing is asked for.
    pub fn read(annotations: Option<&BTreeMap<String, String>>) -> Result<Option<Self>, String> {
        let get = |key: &str| annotations.and_then(|a| a.get(&format!("{PREFIX}{key}"))).map(String::as_str);
        let (Some(group), Some(topic)) = (get("group"), get("topic")) else { return Ok(None) };
        let unknown = |key: &str, value: &str| Err(format!("annotation {PREFIX}{key}: {value:?} is not known"));
        let protocol = match get("protocol") {
            None | Some("classic") => Protocol::Classic,
            Some("consumer") => Protocol::Consumer,
            Some("assign") => Protocol::Assign,
            Some(other) => return unknown("protocol", other),
        };
        let fixed = match get("instance-id") {
            None => false,
            Some("static") => true,
            Some(other) => return unknown("instance-id", other),
        };
        let crash_loop = match get("crash-loop") {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return unknown("crash-loop", other),
        };
        let stop_delay = match get("stop-delay-ms").map(|text| (text, text.parse())) {
            None => Duration::ZERO,
            Some((_, Ok(millis))) => Duration::from_millis(millis),
            Some((text, Err(_))) => return unknown("stop-delay-ms", text),
        };
        Ok(Some(Self { group: group.to_owned(), topic: topic.to_owned(), protocol, fixed, crash_loop, stop_delay }))
    }

    pub fn start(&self, bootstrap: &str, name: &str) -> Consumer {
        if self.protocol == Protocol::Assign {
            return Consumer::assigned(bootstrap, &self.group, &self.topic, 0, Duration::from_millis(200));
        }
        let member = Member {
            group: &self.group,
            topic: &self.topic,
            client_id: name,
            kip848: self.protocol == Protocol::Consumer,
            instance_id: self.fixed.then_some(name),
        };
        Consumer::member(bootstrap, &member)
    }
}
