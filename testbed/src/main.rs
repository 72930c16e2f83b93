//! The testbed from the command line: `up`, `down`, `exec`, `build`, `node-parts`, `enos-simulator`.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use testbed::{Testbed, base, enos, ensure, ensure_node, spawn, tie_to_parent};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("build") => ensure().map(drop)?,
        Some("node-parts") => node_parts()?,
        Some("up") => up()?,
        Some("down") => down()?,
        Some("serve") => serve()?,
        Some("enos-simulator") => enos_simulator(&args[1..])?,
        Some("run") => return run_tied(&args[1..]),
        Some("exec") => return exec(&args[1..]),
        _ => bail!(
            "usage: testbed build | node-parts | up | down | exec COMMAND… | run COMMAND… (NAME=x for one of several) | enos-simulator [--accept-sdk-header]"
        ),
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the programs of a real node are, for `testbed/node`.
fn node_parts() -> Result<()> {
    let (parts, node) = (ensure()?, ensure_node()?);
    println!("PARTS={}\nNODE_PARTS={}\nJARS={}", parts.bin.display(), node.display(), parts.jars.display());
    Ok(())
}

/// `target/testbed`, or `target/testbed/x` with NAME=x.
fn home() -> PathBuf {
    std::env::var("NAME").ok().filter(|n| !n.is_empty()).map_or_else(base, |name| base().join(name))
}

/// Whether the process is a testbed, and not one that has taken its number since.
fn alive(pid: &str) -> bool {
    let command = fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
    command.ends_with(b"testbed\0serve\0")
}

fn up() -> Result<()> {
    ensure()?;
    let home = home();
    fs::create_dir_all(&home)?;
    let (pid_file, env) = (home.join("pid"), home.join("env"));
    // Two at once under one name: the second finds the first's.
    let lock = fs::File::create(home.join("lock"))?;
    lock.lock().context("locking the testbed's directory")?;
    if fs::read_to_string(&pid_file).is_ok_and(|pid| alive(&pid)) {
        println!("up already: . {}", env.display());
        return Ok(());
    }
    let _ = fs::remove_file(&env);
    let log = home.join("log");
    let file = fs::File::create(&log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("serve").stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    // SAFETY: setsid is async-signal-safe and touches only the child.
    unsafe {
        command.pre_exec(|| if libc::setsid() == -1 { Err(std::io::Error::last_os_error()) } else { Ok(()) });
    }
    let mut child = command.spawn().context("starting the testbed")?;
    fs::write(&pid_file, child.id().to_string())?;
    let begun = Instant::now();
    while !env.is_file() {
        if child.try_wait()?.is_some() || begun.elapsed() > Duration::from_secs(180) {
            // Its servers go with it.
            let _ = (child.kill(), child.wait(), fs::remove_file(&pid_file));
            bail!("the testbed did not come up:\n{}", fs::read_to_string(&log).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("up after {:.1} s. To use it: . {}", begun.elapsed().as_secs_f32(), env.display());
    Ok(())
}

fn down() -> Result<()> {
    let pid_file = home().join("pid");
    let Ok(pid) = fs::read_to_string(&pid_file) else { return Ok(()) };
    if alive(&pid) {
        // SAFETY: a plain system call; the process was checked to be a testbed.
        unsafe { libc::kill(pid.trim().parse()?, libc::SIGTERM) };
        let begun = Instant::now();
        while alive(&pid) {
            if begun.elapsed() > Duration::from_secs(30) {
                bail!("process {} did not end within 30 s", pid.trim());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let _ = (fs::remove_file(home().join("env")), fs::remove_file(pid_file));
    println!("down");
    Ok(())
}

/// Holds the servers until SIGTERM.
fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let testbed = tokio::task::spawn_blocking(|| Testbed::start()?.with_enos()).await??;
        testbed.write_env(&home())?;
        term.recv().await;
        Ok(())
    })
}

/// A simulated EnOS alone, until SIGTERM or Ctrl-C.
fn enos_simulator(args: &[String]) -> Result<()> {
    let mut options = enos::standalone_options()?;
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {}
        ["--accept-sdk-header"] => options.accept_sdk_header = true,
        _ => bail!("usage: testbed enos-simulator [--accept-sdk-header]"),
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let simulator = enos::standalone(options)?;
        println!("ENOS_ENDPOINT={}", simulator.endpoint());
        tokio::select! {
            _ = term.recv() => {}
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
        Ok(())
    })
}

/// Becomes a command that ends with whoever started it.
fn run_tied(command: &[String]) -> Result<ExitCode> {
    let (program, args) = command.split_first().context("run needs a command")?;
    tie_to_parent()?;
    Err(Command::new(program).args(args).exec()).with_context(|| format!("running {program}"))
}

/// Runs a command beside servers that end with it.
fn exec(command: &[String]) -> Result<ExitCode> {
    let (program, args) = command.split_first().context("exec needs a command")?;
    let testbed = Testbed::start()?.with_enos()?;
    let mut command = Command::new(program);
    command.args(args).envs(testbed.env());
    let status = spawn(command).and_then(|mut child| child.wait()).with_context(|| format!("running {program}"))?;
    drop(testbed);
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}
