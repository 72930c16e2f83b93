//! What the process of a Kafka client gives up before it talks to a broker: files, other programs, signals to others, new
//! privileges, and memory without end. It keeps its sockets. Called before there is a second thread.

use std::fs;

use anyhow::{Result, ensure};
use landlock::{ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use rustix::thread::set_no_new_privs;

/// Bytes of private memory, reserved or used. An answer of 16 MiB, which librdkafka takes at most, is held about twice, and a thread for
/// each broker reserves 256 KiB.
const MEMORY: u64 = 192 << 20;

/// A client has a connection to each broker of the cluster.
const OPEN_FILES: u64 = 1024;

/// What stays possible if the step fails, and the step.
type Step = (&'static str, fn() -> Result<()>);

/// Applies every restriction that it can. Returns in words what stays possible: a kernel may lack a restriction.
pub fn lock_down() -> Vec<String> {
    let steps: [Step; 6] = [
        ("it does not end with the operator by signal", || Ok(set_parent_process_death_signal(Some(Signal::KILL))?)),
        ("it may gain privileges", || Ok(set_no_new_privs(true)?)),
        // If memory runs short, the kernel is to kill this process and not the operator. Raising the value needs no right.
        ("it is not the first to end when memory runs short", || Ok(fs::write("/proc/self/oom_score_adj", "1000")?)),
        ("its memory has no limit", || limit(Resource::Data, MEMORY)),
        ("its open files have no limit", || limit(Resource::Nofile, OPEN_FILES)),
        ("it may open files and send signals", close_the_files),
    ];
    // A dump would hold credentials. It cannot fail: lowering a limit is always allowed.
    let _ = limit(Resource::Core, 0);
    steps.into_iter().filter_map(|(open, step)| step().err().map(|why| format!("{open} ({why:#})"))).collect()
}

fn limit(what: Resource, most: u64) -> Result<()> {
    Ok(setrlimit(what, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// Landlock without a rule: no file can be opened, no program started, no other process signalled or traced.
fn close_the_files() -> Result<()> {
    let rules = Ruleset::default().handle_access(AccessFs::from_all(ABI::V5))?.scope(Scope::from_all(ABI::V6))?;
    let status = rules.create()?.restrict_self()?;
    ensure!(status.ruleset != RulesetStatus::NotEnforced, "the kernel has no Landlock");
    Ok(())
}

/// For tests: which forbidden things this process could still do.
#[cfg(debug_assertions)]
pub fn could() -> Vec<String> {
    let program = std::env::args_os().next().unwrap_or_default();
    let tries: [(&str, &dyn Fn() -> bool); 9] = [
        ("read a file", &|| fs::read("/etc/passwd").is_ok()),
        ("read the account's token", &|| fs::read_dir("/var/run/secrets").is_ok()),
        ("read its own environment", &|| fs::read("/proc/self/environ").is_ok()),
        ("list a directory", &|| fs::read_dir("/").is_ok()),
        ("write a file", &|| fs::write("/tmp/stream-pipeline-operator-tries", "x").is_ok()),
        ("start a program", &|| std::process::Command::new("/bin/true").spawn().is_ok()),
        ("start itself", &|| std::process::Command::new(&program).spawn().is_ok()),
        ("signal its parent", &|| rustix::process::getppid().is_some_and(|parent| rustix::process::test_kill_process(parent).is_ok())),
        ("take a gigabyte", &|| Vec::<u8>::new().try_reserve_exact(1 << 30).is_ok()),
    ];
    tries.into_iter().filter(|(_, attempt)| attempt()).map(|(what, _)| what.to_owned()).collect()
}
