//! Commands as people run them, and as messages tell them to.

use std::process::{Command, Output};

use testbed::Testbed;

/// Both streams of a command that must succeed.
#[track_caller]
pub fn succeeded(output: &Output) -> String {
    let text = both_streams(output);
    assert!(output.status.success(), "expected success, got {}: {text}", output.status);
    text
}

pub fn both_streams(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Helm, without anything of the person's own Helm being read or written.
pub fn helm(testbed: &Testbed, args: &[&str]) -> Output {
    let mut command = Command::new(testbed.parts.bin.join("helm"));
    for name in ["HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME"] {
        command.env(name, std::env::temp_dir().join("no-helm"));
    }
    command.env("KUBECONFIG", testbed.cluster.kubeconfig()).args(args).output().expect("helm is there")
}

/// Runs a command of a message in a shell, where Kafka's tools have the names that the messages give them, and know the brokers.
pub fn kafka_shell(testbed: &Testbed, bootstrap: &str, command: &str) -> Output {
    let bin = testbed.kafka_bin();
    let tools = ["kafka-acls", "kafka-consumer-groups", "kafka-configs", "kafka-transactions"];
    let named = |tool: &str| format!("{tool}() {{ '{}/{tool}.sh' --bootstrap-server {bootstrap} \"$@\"; }}\n", bin.display());
    let text = tools.map(named).concat() + &command.replace(" --bootstrap-server …", "");
    tokio::task::block_in_place(|| Command::new("bash").args(["-c", &text]).output()).expect("a shell is there")
}

/// The command of this tool in a message, as a person copies it: brackets and the next sentence are no part of it.
pub fn command_in<'a>(message: &'a str, tool: &str) -> &'a str {
    let from = message.find(tool).unwrap_or_else(|| panic!("expected a command of {tool} in: {message}"));
    let text = &message[from..];
    let (mut quoted, mut escaped) = (false, false);
    let ends = |(at, c): (usize, char)| {
        quoted ^= c == '\'' && !escaped;
        escaped = !quoted && !escaped && c == '\\';
        let rest = &text[at..];
        let end = c == ')' || c == ';' || c == '`' || rest.starts_with(" (") || rest.starts_with(". ");
        (!quoted && end).then_some(at)
    };
    let end = text.char_indices().find_map(ends).unwrap_or(text.len());
    text[..end].trim_end_matches('.')
}

/// The word of a message that follows these words.
pub fn word_after<'a>(message: &'a str, before: &str) -> &'a str {
    let rest = message.split_once(before).unwrap_or_else(|| panic!("expected {before:?} in: {message}")).1;
    rest.split([' ', ';', ',', ')']).next().unwrap_or_default()
}
