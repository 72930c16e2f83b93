//! Directories that are gone with their owner, in whatever way it ends.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// A directory of its own under `target/testbed`.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(what: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        static ONCE: Once = Once::new();
        let base = base();
        ONCE.call_once(|| {
            sweep(&base);
            clean_up_after(&base);
        });
        let dir = base.join(format!("tmp-{}-{}-{what}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        // Process ids come again, in containers soon: what an earlier owner of this one left behind is not ours.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self(dir))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `target/testbed` of this checkout.
pub fn base() -> PathBuf {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    // A relative one is meant from the checkout: tests run in the directory of their package.
    checkout.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into())).join("testbed")
}

/// Waits for the end of this process, which closes its input, and for its servers to follow. Statics are never dropped,
/// and nothing of a killed process runs.
const CLEANER: &str = r#"cat >/dev/null; for n in 1 2 3 4 5; do rm -rf "$0"-*; sleep 0.2; done"#;

fn clean_up_after(base: &Path) {
    let mine = base.join(format!("tmp-{}", std::process::id()));
    let mut cleaner = Command::new("sh");
    cleaner.args(["-c", CLEANER]).arg(mine).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // A process group of its own: what interrupts this process must not interrupt it.
    match cleaner.process_group(0).spawn() {
        // Its input stays open as long as this process lives.
        Ok(mut cleaner) => std::mem::forget(cleaner.stdin.take()),
        Err(error) => eprintln!("testbed: nobody will clean up below {}: {error}", base.display()),
    }
}

/// What is there still, from a machine that stopped.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("tmp-").and_then(|n| n.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
