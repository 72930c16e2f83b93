//! What the environment asks of a run.

/// A number from the environment.
pub fn number(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or)
}

/// Whether the long variants are to run (`make endure`).
pub fn long() -> bool {
    std::env::var_os("ENDURE").is_some_and(|value| !value.is_empty())
}

/// Writes what a test counted to the file that the environment names, where it names one.
pub fn write_counts(text: &str) {
    if let Ok(file) = std::env::var("HOSTILE_COUNTS") {
        std::fs::write(file, text).expect("the counts are written");
    }
}
