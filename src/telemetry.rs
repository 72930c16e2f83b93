//! Logs: JSON or text, to standard error. Characters that are not shown are removed, wherever a text came from.

use std::io::{self, Write};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use stream_pipeline_core::words;

/// How log lines look.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}

/// Starts logging; call once.
///
/// # Errors
/// The filter cannot be read.
pub fn start(format: LogFormat, filter: &str) -> Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| format!("--log-filter {filter:?}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Clean(io::stderr()));
    match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
        LogFormat::Text => builder.with_ansi(false).init(),
    }
    Ok(())
}

/// Cleans each write, which has to be one whole line.
struct Clean<W>(W);

impl<W: Write> Write for Clean<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let (text, end) = text.strip_suffix('\n').map_or((&*text, ""), |text| (text, "\n"));
        self.0.write_all(format!("{}{end}", words::clean(text)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_and_shows_what_it_holds() {
        let mut written = Vec::new();
        let mut log = Clean(&mut written);
        for line in ["member \u{1b}[31mred\nforged line\u{2028}\u{202e}gnp\n", "{\"message\":\"a\u{200d}b\"}\n"] {
            log.write_all(line.as_bytes()).expect("memory takes it");
        }
        log.flush().expect("memory takes it");
        assert_eq!(String::from_utf8(written).expect("text"), "member  [31mred forged line  gnp\n{\"message\":\"a b\"}\n");
    }
}
