//! The simulator for whoever works at a shell.

use anyhow::{Context, Result};

use super::{ACCESS_KEY, Application, ORGANISATION, Options, Organisation, Pipeline, SECRET_KEY, Simulator};

/// `ENOS_ORG`, `ENOS_ACCESS_KEY`, `ENOS_SECRET_KEY`, `ENOS_PORT`, or what is obviously made up.
pub fn standalone_options() -> Result<Options> {
    let of = |name: &str, default: &str| std::env::var(name).ok().filter(|v| !v.is_empty()).unwrap_or_else(|| default.to_owned());
    let org = of("ENOS_ORG", ORGANISATION);
    let port: u16 = of("ENOS_PORT", "0").parse().context("ENOS_PORT is no port")?;
    Ok(Options {
        port: Some(port).filter(|p| *p != 0),
        organisations: vec![Organisation::new(&org)],
        applications: vec![Application::new(&of("ENOS_ACCESS_KEY", ACCESS_KEY), &of("ENOS_SECRET_KEY", SECRET_KEY), &[&org])],
        ..Options::default()
    })
}

/// With a pipeline that runs, one that is paused and one that is stopped.
pub fn standalone(options: Options) -> Result<Simulator> {
    let org = options.organisations.first().context("an organisation is needed")?.id.clone();
    let simulator = Simulator::start_in_thread(options)?;
    for (n, status) in [(1, "RUNNING"), (2, "PAUSED"), (3, "STOPPED")] {
        let (id, name) = (format!("565c0114-0000-4372-86d1-00000000000{n}"), format!("demo-{}", status.to_lowercase()));
        simulator.add(Pipeline::new(&org, &id, &name, status).series(6_000_000, 6_094_977));
    }
    Ok(simulator)
}
