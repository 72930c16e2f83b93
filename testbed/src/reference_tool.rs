//! `kafka-consumer-groups`, many times in one JVM: starting one takes longer than what it is started for.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result};

use crate::Testbed;
use crate::broker::java;

pub struct ReferenceTool {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    bootstrap: String,
}

impl ReferenceTool {
    /// # Errors
    /// The JVM cannot be started.
    pub fn start(testbed: &Testbed) -> Result<Self> {
        Self::at(&testbed.parts.jars, &testbed.bootstrap())
    }

    /// For other brokers.
    ///
    /// # Errors
    /// As [`ReferenceTool::start`].
    pub fn at(jars: &Path, bootstrap: &str) -> Result<Self> {
        let class = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/ConsumerGroups.java");
        let mut child = java(jars)
            .arg(class)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("starting the tool")?;
        let (to, from) = (child.stdin.take().context("its input")?, child.stdout.take().context("its output")?);
        Ok(Self { child, to, from: BufReader::new(from), bootstrap: bootstrap.to_owned() })
    }

    /// What it says to these arguments.
    ///
    /// # Errors
    /// The JVM has ended.
    pub fn run(&mut self, args: &[String]) -> Result<String> {
        let line =
            ["--bootstrap-server", &self.bootstrap].into_iter().chain(args.iter().map(String::as_str)).collect::<Vec<_>>().join("\t");
        writeln!(self.to, "{line}").context("asking the tool")?;
        let mut said = String::new();
        loop {
            let mut line = String::new();
            anyhow::ensure!(self.from.read_line(&mut line).context("its answer")? > 0, "the tool has ended: {said}");
            if line == ".\n" {
                return Ok(said);
            }
            said += &line;
        }
    }
}

impl Drop for ReferenceTool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
