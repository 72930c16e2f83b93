//! Directories that are gone with their owner. What a killed owner left behind is removed by the next one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once};

use anyhow::{Context, Result};

/// All of this process, for the end of the process: statics are never dropped.
static MINE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A directory of its own under `target/testbed`.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(what: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        static ONCE: Once = Once::new();
        let base = base();
        ONCE.call_once(|| {
            sweep(&base);
            // SAFETY: the function neither unwinds nor relies on anything that ends before exit.
            unsafe { libc::atexit(remove_all) };
        });
        let dir = base.join(format!("tmp-{}-{}-{what}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        // Process ids come again, in containers soon: what an earlier owner of this one left behind is not ours.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        MINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(dir.clone());
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

extern "C" fn remove_all() {
    if let Ok(mine) = MINE.lock() {
        for dir in mine.iter() {
            let _ = fs::remove_dir_all(dir);
        }
    }
}

/// `target/testbed` of this checkout.
pub fn base() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    target.unwrap_or_else(|| checkout.join("target")).join("testbed")
}

fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("tmp-").and_then(|n| n.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
