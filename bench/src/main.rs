//! `make bench`: what matters, measured beside what a user would otherwise run, on the same servers in the same run. It only reports:
//! no time is a reason to fail.

mod bare;
mod bed;
mod counts;
mod http;
mod page;
mod process;
mod report;
mod rows;
mod settings;
mod stats;
mod tool;
mod watching;

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, anyhow, ensure};
use futures::FutureExt;
use sha2::{Digest, Sha256};

use crate::bed::Bed;
use crate::report::{Report, Row, Setting};
use crate::rows::{enos, hand_over, idle, in_a_row, landing, one_reset, partitions, thousand};
use crate::settings::Settings;

/// What is going on, beside the table.
pub fn say(what: &str) {
    eprintln!("bench: {what}");
}

#[tokio::main]
async fn main() -> ExitCode {
    // The servers are tied to this process, and go with it.
    let ended = tokio::select! {
        ended = run() => ended,
        // At once: a program that is waited for would be waited for still.
        _ = tokio::signal::ctrl_c() => std::process::exit(130),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let settings = Settings::of_environment()?;
    if std::env::args().any(|argument| argument == "--page") {
        let given = settings.operator.as_deref().map(digest).transpose()?;
        return page::write(&Report::read(&Report::file(given.as_deref()))?);
    }
    let (operator, build) = operator(&settings).await?;
    let digest = digest(&operator)?;
    let file = Report::file(settings.operator.is_some().then_some(digest.as_str()));
    let setting = Setting { machine: process::machine(), operator: digest, build };
    let mut taking = Taking { file, report: Report::new(setting), failed: Vec::new() };
    let _alone = alone().await?;
    say("starting an API server, etcd and a broker");
    let bed = Bed::start(settings, operator).await?;
    let wants = |names: &[&str]| names.iter().any(|name| bed.settings.wants(name));
    if wants(&[one_reset::NAME, landing::NAME]) {
        taking.take(one_reset::NAME, one_reset::run(&bed)).await?;
    }
    if wants(&[thousand::NAME]) {
        taking.take(thousand::NAME, thousand::run(&bed)).await?;
    }
    if wants(&[idle::IDLE, idle::RESTART]) {
        let rows = idle::run(&bed, bed.settings.wants(idle::IDLE), bed.settings.wants(idle::RESTART));
        taking.take(idle::IDLE, rows).await?;
    }
    if wants(&[partitions::NAME]) {
        taking.take(partitions::NAME, partitions::run(&bed)).await?;
    }
    if wants(&[in_a_row::NAME]) {
        taking.take(in_a_row::NAME, in_a_row::run(&bed)).await?;
    }
    if wants(&[enos::NAME]) {
        taking.take(enos::NAME, enos::run(&bed)).await?;
    }
    if wants(&[hand_over::NAME]) {
        taking.take(hand_over::NAME, hand_over::run(&bed)).await?;
    }
    let Taking { file, report, failed } = taking;
    let Setting { machine, operator, build } = &report.setting;
    println!("{machine}, operator {operator} ({build})\n{}", report::table(&report.rows));
    say(&format!("written to {}", file.display()));
    bed.testbed.stop();
    ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}

/// What has been measured so far.
struct Taking {
    file: PathBuf,
    report: Report,
    failed: Vec<&'static str>,
}

impl Taking {
    /// Shows and keeps the rows at once: a later one may take long, and what fails is no reason to lose the others.
    async fn take(&mut self, name: &'static str, run: impl Future<Output = Result<Vec<Row>>>) -> Result<()> {
        // The testbed panics where its servers do not do what they are for.
        let rows = AssertUnwindSafe(run).catch_unwind().await;
        match rows.unwrap_or_else(|_| Err(anyhow!("the testbed gave up"))) {
            Ok(rows) => {
                println!("{}", report::table(&rows));
                self.report.rows.extend(rows);
                self.report.keeping_others(&self.file).write(&self.file)
            }
            Err(error) => {
                say(&format!("{name}: {error:#}"));
                self.failed.push(name);
                Ok(())
            }
        }
    }
}

/// By which two binaries are told apart.
fn digest(operator: &Path) -> Result<String> {
    let bytes = std::fs::read(operator).with_context(|| format!("reading {}", operator.display()))?;
    Ok(hex::encode(Sha256::digest(bytes))[..12].to_owned())
}

/// Two that measure at once would measure each other: the second waits for the first.
async fn alone() -> Result<File> {
    let file = Report::file(None).with_file_name("lock");
    std::fs::create_dir_all(file.parent().context("it is in a directory")?).context("making the report's directory")?;
    let lock = File::create(&file).with_context(|| format!("creating {}", file.display()))?;
    if lock.try_lock().is_err() {
        say("waiting for another measurement to end");
        let wait = move || lock.lock().map(|()| lock);
        return tokio::task::spawn_blocking(wait).await?.context("waiting for another measurement");
    }
    Ok(lock)
}

/// The binary, and how it was built.
async fn operator(settings: &Settings) -> Result<(PathBuf, String)> {
    if let Some(given) = &settings.operator {
        return Ok((given.clone(), "given by OPERATOR".to_owned()));
    }
    say("building the operator as it is released");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate is in the checkout")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // With its own features alone, as it is installed.
    let name = "stream-pipeline-operator";
    cargo.current_dir(root).args(["build", "--quiet", "--release", "--package", name, "--bin", name]);
    let built = tokio::task::spawn_blocking(move || testbed::spawn(cargo).and_then(|mut child| child.wait())).await??;
    ensure!(built.success(), "the release build failed");
    Ok((testbed::base().with_file_name("release").join(name), "release build".to_owned()))
}
