//! Noise for the decoders: sample bodies mutated by a seeded generator. Nothing may panic, and only a real success may count as one.

use std::time::{Duration, Instant};

use crate::backend::enos::failure::{Effect, FailureKind};
use crate::backend::enos::wire::{Envelope, answers};
use crate::backend::enos::{judge, wire::answers::RunStatus};

const SAMPLES: [&str; 9] = [
    "{\"code\": 0, \"msg\": \"OK\",}",
    r#"{"code":61168,"msg":"Failed to get the Kafka average rate.","data":""}"#,
    r#"{"stauts":0,"msg":"SUCCESS","business":"apim-token-service","data":{"accessToken":"abc","expire":7200}}"#,
    r#"{"apim_status":4011,"apim_refreshtoken":"x"}"#,
    r#"{"message":"Invalid authentication credentials"}"#,
    r#"{"code":0,"data":{"count":1,"pipelines":[{"orgId":"o1","status":"RUNNING","pipelineId":"565c","pipelineName":"demo","executionMode":0,"resourceConfig":"{\"men\":2.0,\"cpu\":1.0}","updateTime":"..."}]}}"#,
    r#"{"code":0,"data":{"pipelineId":"565c","topicName":"T","lagAndOffset":[{"lag":0,"offset":6094977,"ts":1616759448328},{"lag":"0","offset":"1","ts":1616759673388}]}}"#,
    r#"{"code":0,"data":[{"desc":"","pipelineId":"565c","templateName":{"en_us":"a"},"messageChannel":"0","pipelineJson":{"a":[1,2,{"b":null}]}}]}"#,
    "<html><head><title>502 Bad Gateway</title></head></html>",
];

const TOKENS: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "null",
    "true",
    "0",
    "-1",
    "1e999",
    "9223372036854775808",
    "0.1",
    "\"code\":0,",
    "\"data\":",
    "\"pipelines\":",
    "\"lagAndOffset\":",
    "\\ud800",
    "\u{feff}",
    "ü",
    "\n",
    "\u{0}",
];

const VALUES: [&str; 20] = [
    "null",
    "true",
    "0",
    "-1",
    "61168",
    "4012",
    "\"0\"",
    "\"\"",
    "\"x\"",
    "1.0",
    "1.5",
    "1e400",
    "18446744073709551615",
    "{}",
    "[]",
    "[[]]",
    "{\"count\":2,\"pipelines\":[{\"pipelineId\":7}]}",
    "[{\"lag\":\"1\",\"ts\":9223372036854775807}]",
    "[null,{}]",
    "\"\\u0000\\n\"",
];

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below.max(1)
    }
}

/// A sample with some values replaced, mostly still JSON.
fn revalued(random: &mut Random) -> Vec<u8> {
    let mut body = SAMPLES[random.next(SAMPLES.len())].as_bytes().to_vec();
    for _ in 0..=random.next(4) {
        let colons: Vec<_> = body.iter().enumerate().filter(|(_, b)| **b == b':').map(|(at, _)| at + 1).collect();
        let Some(&from) = colons.get(random.next(colons.len())) else { break };
        let end = body[from..].iter().position(|b| matches!(b, b',' | b'}' | b']')).map_or(body.len(), |n| from + n);
        // A list or object that was just opened stays open, and gets one more value.
        let to = if matches!(body.get(from), Some(b'{' | b'[')) { from } else { end };
        let value = VALUES[random.next(VALUES.len())];
        let separator = if to == from { ",\"code\":" } else { "" };
        drop(body.splice(from..to, value.bytes().chain(separator.bytes())));
    }
    body
}

/// A sample with bytes, tokens and parts cut, moved and inserted.
fn mutated(random: &mut Random) -> Vec<u8> {
    let mut body = SAMPLES[random.next(SAMPLES.len())].as_bytes().to_vec();
    for _ in 0..=random.next(6) {
        let at = random.next(body.len() + 1);
        let end = (at + random.next(24)).min(body.len());
        match random.next(7) {
            0 => body.truncate(at),
            1 => drop(body.drain(at..end)),
            2 => drop(body.splice(at..at, TOKENS[random.next(TOKENS.len())].bytes())),
            3 => drop(body.splice(at..end, TOKENS[random.next(TOKENS.len())].bytes())),
            4 if at < body.len() => body[at] = random.next(256) as u8,
            5 => {
                let part = body[at..end].to_vec();
                let to = random.next(body.len() + 1);
                drop(body.splice(to..to, part));
            }
            _ => {
                let other = SAMPLES[random.next(SAMPLES.len())].as_bytes();
                let from = random.next(other.len());
                drop(body.splice(at..end, other[from..].iter().copied()));
            }
        }
    }
    body
}

/// Decodes a body; returns whether it was JSON.
fn look(body: &[u8]) -> bool {
    let Ok(envelope) = Envelope::decode(body) else { return false };
    let judged = judge::judge(200, envelope.code(), envelope.apim_status());
    assert_eq!(judged.is_none(), envelope.code() == Some(0));
    if let Some((FailureKind::BadAnswer, effect)) = judged {
        assert_eq!(effect, Effect::Unknown);
    }
    assert!(envelope.message().len() <= body.len() * 3 + 32);
    if let Ok(page) = answers::page(&envelope) {
        for (id, item) in page.items {
            assert!(!id.is_empty() && id.len() <= 256 && item.name.len() <= 256);
            assert!(!matches!(item.status, RunStatus::Other(word) if word.len() > 64));
        }
    }
    let _ = (answers::details(&envelope), answers::lag(&envelope, "565c"));
    assert!(answers::token(&envelope).is_none_or(|(token, _)| !token.is_empty()));
    true
}

/// How many inputs were tried, and how many of them were JSON.
fn run(inputs: u64, seed: u64, at_most: Duration) -> (u64, u64) {
    let (mut random, begun) = (Random(seed | 1), Instant::now());
    let (mut tried, mut json) = (0, 0);
    while tried < inputs && (tried % 1024 != 0 || begun.elapsed() < at_most) {
        let body = if random.next(2) == 0 { revalued(&mut random) } else { mutated(&mut random) };
        let seen = std::panic::catch_unwind(|| look(&body));
        assert!(seen.is_ok(), "input {tried} of seed {seed}: {:?}", String::from_utf8_lossy(&body));
        json += u64::from(seen.unwrap_or_default());
        tried += 1;
    }
    (tried, json)
}

#[test]
fn ten_thousand_bodies_of_noise() {
    let (tried, json) = run(10_000, 20_240_229, Duration::from_secs(60));
    assert!(tried == 10_000 && json > 2_000, "{json} of {tried} were JSON");
}

/// `make fuzz`: FUZZ_INPUTS bodies (1,000,000), FUZZ_SECONDS at most (600), from FUZZ_SEED (the time).
#[test]
#[ignore = "long; make fuzz runs it"]
fn a_million_bodies_of_noise() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_secs());
    let (inputs, seed) = (number("FUZZ_INPUTS", 1_000_000), number("FUZZ_SEED", now));
    let begun = Instant::now();
    let (tried, json) = run(inputs, seed, Duration::from_secs(number("FUZZ_SECONDS", 600)));
    println!("{tried} inputs, {json} of them JSON, seed {seed}, {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(tried, inputs, "the time was up first");
}
