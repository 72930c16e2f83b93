//! Writes the generated files: CRDs and their copies in the chart, the chart's values and README, what is installed without Helm, the
//! reference pages, the column of tests in the scenarios.
//! With `--check` it writes nothing, and fails when a committed file differs or a scenario and its tests do not match.

mod chart;
mod definitions;
mod deploy;
mod reference;
mod scenarios;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

fn main() -> Result<ExitCode> {
    let check = std::env::args().any(|a| a == "--check");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace is above this crate")?;
    let scenarios = scenarios::render(root)?;
    let mut complaints = scenarios.complaints;
    let (of_chart, lacking) = chart::files(root)?;
    complaints.extend(lacking);
    let mut files = definitions::files()?;
    files.extend(of_chart);
    files.extend(reference::files());
    files.push((scenarios::PAGE.to_owned(), scenarios.text));
    settle(root, check, files, &mut complaints)?;
    // After the chart is written, which it is rendered from.
    settle(root, check, deploy::files(root)?, &mut complaints)?;
    complaints.iter().for_each(|complaint| eprintln!("{complaint}"));
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes the files, or complains of each that is not as it should be.
fn settle(root: &Path, check: bool, files: Vec<(String, String)>, complaints: &mut Vec<String>) -> Result<()> {
    for (name, text) in files {
        let path = root.join(&name);
        if !check {
            std::fs::create_dir_all(path.parent().unwrap_or(root))?;
            std::fs::write(&path, &text).with_context(|| format!("writing {name}"))?;
        } else if std::fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            complaints.push(format!("{name} is out of date: run `make generate` and commit the result"));
        }
    }
    Ok(())
}
