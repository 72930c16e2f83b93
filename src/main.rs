//! Parses arguments, starts logging, joins controller and server, and ends both in order.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::{CommandFactory, FromArgMatches};
use stream_pipeline_operator::backend::kafka::process;
use stream_pipeline_operator::clock::Clock;
use stream_pipeline_operator::config::{Command, Config};
use stream_pipeline_operator::endpoints::EndpointPolicy;
use stream_pipeline_operator::kubernetes::{api_server, install, uninstall};
use stream_pipeline_operator::leader::{self, Candidate};
use stream_pipeline_operator::running::Running;
use stream_pipeline_operator::{controller, server, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    // Before there is a second thread: the Kafka client's process first gives up what it does not need.
    if std::env::args_os().nth(1).is_some_and(|first| first == process::SUBCOMMAND) {
        return process::main();
    }
    operate()
}

#[tokio::main]
async fn operate() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stream-pipeline-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let given = Config::command().get_matches();
    let config = Config::from_arg_matches(&given)?;
    telemetry::start(config.log_format, &config.log_filter)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), settings = Config::settings(&given), "Starting");
    let no_way = "no way to the Kubernetes API server (KUBECONFIG, or a service account)";
    let kubernetes = kube::Config::infer().await.context(no_way)?;
    if let Some(command) = &config.command {
        let (client, scope) = (kube::Client::try_from(kubernetes).context(no_way)?, config.scope());
        return match command {
            Command::CheckInstall { service } => install::check(&client, &scope, &config.timing(), service).await,
            Command::CheckUninstall => uninstall::check(&client, &scope).await,
        };
    }
    let given = api_server::given(&kubernetes).await;
    let forbidden: Vec<_> = given.iter().map(SocketAddr::ip).collect();
    let policy = Arc::new(EndpointPolicy::parse(&config.allowed_endpoints, &forbidden).context("--allowed-endpoints")?);
    policy.learn_api_server(&given);
    let clock = Clock::default();
    let client = kube::client::ClientBuilder::try_from(kubernetes).context(no_way)?.with_layer(&clock).build();
    let running = Running::begin()?;
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = running.shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("Shutting down: nothing new is started, what was sent is read back");
        shutdown.cancel();
    });
    let drained = CancellationToken::new();
    let control = async {
        let result = controller::run((client.clone(), clock), &config, (policy, given), running.clone()).await;
        drained.cancel();
        result
    };
    let lead = async {
        match &config.leader_election {
            None => running.lead(),
            Some(lease) => {
                let identity = format!("{}_{}", leader::host(), running.incarnation);
                Candidate::new(client.clone(), lease, identity, config.lease_duration.into()).run(&running, &drained).await?;
            }
        }
        running.shutdown.cancelled().await;
        Ok(())
    };
    // Where one ends, all do.
    let ending = async |task: Result<()>| {
        running.shutdown.cancel();
        task
    };
    let (served, controlled, led) = tokio::join!(
        async { ending(server::serve(config.listen, running.clone(), drained.clone()).await).await },
        async { ending(control.await).await },
        async { ending(lead.await).await },
    );
    served.and(controlled).and(led)
}
