//! Flags, each also an environment variable: `--send-window` is `STREAM_PIPELINE_SEND_WINDOW`.

use std::net::SocketAddr;

use clap::{ArgMatches, CommandFactory, Parser, Subcommand};
use kube::core::Duration;

use crate::kubernetes::scope::Scope;
use crate::leader::LeaseName;
use crate::telemetry::LogFormat;
use stream_pipeline_core::Timing;
use stream_pipeline_core::prune::Keep;

/// Moves the read position of streaming pipelines (StreamPipeline objects), once per request, and proves it.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Config {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Watch these namespaces only; without it, all.
    #[arg(long, env = "STREAM_PIPELINE_WATCH_NAMESPACE", value_delimiter = ',')]
    pub watch_namespace: Vec<String>,
    /// Work only while holding this Lease, NAMESPACE/NAME, and stand by otherwise; without it, work at once. For several replicas.
    #[arg(long, env = "STREAM_PIPELINE_LEADER_ELECTION")]
    pub leader_election: Option<LeaseName>,
    /// How long a Lease lasts that is not renewed, in whole seconds, 3 or more: after a crash the next replica works that much later.
    #[arg(long, env = "STREAM_PIPELINE_LEASE_DURATION", default_value = "15s", value_parser = lease_duration)]
    pub lease_duration: Duration,
    /// Address for /livez, /readyz and /metrics.
    #[arg(long, env = "STREAM_PIPELINE_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// How lines of the log are written.
    #[arg(long, env = "STREAM_PIPELINE_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
    /// What to log, as in RUST_LOG.
    #[arg(long, env = "STREAM_PIPELINE_LOG_FILTER", default_value = "info,kube_runtime::controller=warn")]
    pub log_filter: String,
    /// How many StreamPipelines are worked on at once; the namespace with the fewest is next. One that waits for its brokers or gateway for
    /// longer than a second does not count, and while the API server is slow fewer go at a time.
    #[arg(long, env = "STREAM_PIPELINE_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// Most Kafka clients at once, each a process of its own; beyond it the namespace with the fewest is next.
    #[arg(long, env = "STREAM_PIPELINE_KAFKA_CLIENTS", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..))]
    pub kafka_clients: u16,
    /// Bytes of memory that the container may take. Where the Kafka clients take more than three quarters of it, the largest is ended;
    /// without a limit none is.
    #[arg(long, env = "STREAM_PIPELINE_MEMORY_LIMIT")]
    pub memory_limit: Option<u64>,
    /// How long after a plan was recorded it may still be sent.
    #[arg(long, env = "STREAM_PIPELINE_SEND_WINDOW", default_value = "5s")]
    pub send_window: Duration,
    /// Most partitions that are sent to Kafka in one request; a larger plan is sent in chunks, each read back before the next.
    #[arg(long, env = "STREAM_PIPELINE_CHUNK_SIZE", default_value_t = 5000, value_parser = clap::value_parser!(u16).range(1..))]
    pub chunk_size: u16,
    /// How long one call to Kafka or to the API server may take.
    #[arg(long, env = "STREAM_PIPELINE_CALL_DEADLINE", default_value = "10s")]
    pub call_deadline: Duration,
    /// A message whose sender timed out or died that long ago is taken as lost.
    #[arg(long, env = "STREAM_PIPELINE_LATE_BOUND", default_value = "20s")]
    pub late_bound: Duration,
    /// How often a pipeline whose request waits is looked at.
    #[arg(long, env = "STREAM_PIPELINE_RECHECK_WAITING", default_value = "3s")]
    pub recheck_waiting: Duration,
    /// How often a pipeline at rest is looked at; where there are more than forty, ten of them are looked at each second. Looks that are
    /// further apart than 5s count towards a quiet period only after five that have found the same.
    #[arg(long, env = "STREAM_PIPELINE_RECHECK_IDLE", default_value = "4s")]
    pub recheck_idle: Duration,
    /// Longest delay between two tries while a backend cannot be reached.
    #[arg(long, env = "STREAM_PIPELINE_MAX_BACKOFF", default_value = "1m")]
    pub max_backoff: Duration,
    /// How often the list of an organization's EnOS pipelines is read while none of them is worked on.
    #[arg(long, env = "STREAM_PIPELINE_LIST_INTERVAL", default_value = "15s")]
    pub list_interval: Duration,
    /// How long a pipeline may be kept paused by the operator before it warns; EnOS documents a limit of 24h.
    #[arg(long, env = "STREAM_PIPELINE_PAUSE_WARNING", default_value = "12h")]
    pub pause_warning: Duration,
    /// How long a stop that a platform has accepted may take to show; a pipeline that is still seen to run is not told as brought back before.
    #[arg(long, env = "STREAM_PIPELINE_SLOW_STOP", default_value = "5m")]
    pub slow_stop: Duration,
    /// How long a deleted StreamPipeline waits for its pipeline to be brought back; then it goes, and a warning says so.
    #[arg(long, env = "STREAM_PIPELINE_FINALIZER_DEADLINE", default_value = "10m")]
    pub finalizer_deadline: Duration,
    /// How long a record keeps its table of offsets, which an undo needs. The newest reset of a StreamPipeline keeps it always, and the
    /// record itself stays.
    #[arg(long, env = "STREAM_PIPELINE_KEEP_PLANS_FOR", default_value = "2160h")]
    pub keep_plans_for: Duration,
    /// How many records of one StreamPipeline keep their tables.
    #[arg(long, env = "STREAM_PIPELINE_KEEP_PLANS", default_value_t = 100)]
    pub keep_plans: u16,
    /// Where brokers, gateways and token endpoints may be: addresses, CIDR ranges, host names, *.suffixes. Without it, anywhere
    /// but loopback, link-local and the API server.
    #[arg(long, env = "STREAM_PIPELINE_ALLOWED_ENDPOINTS", value_delimiter = ',')]
    pub allowed_endpoints: Vec<String>,
    /// Let StreamPipelines name gateways by http://, where tokens can be read on the way.
    #[arg(long, env = "STREAM_PIPELINE_ALLOW_PLAIN_HTTP")]
    pub allow_plain_http: bool,
    /// Let StreamPipelines log in with PLAIN or OAUTHBEARER without TLS, where passwords and tokens can be read on the way.
    #[arg(long, env = "STREAM_PIPELINE_ALLOW_PLAIN_SASL")]
    pub allow_plain_sasl: bool,
}

/// The field of a Lease has whole seconds.
fn lease_duration(text: &str) -> Result<Duration, String> {
    let given: Duration = text.parse().map_err(|e| format!("{e}"))?;
    let length = std::time::Duration::from(given);
    let whole = length.subsec_nanos() == 0 && length.as_secs() >= 3;
    whole.then_some(given).ok_or_else(|| "whole seconds are needed, 3s or more".to_owned())
}

/// What it does instead of operating.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Fails while the operator that was installed cannot do its work; `helm test` asks it.
    #[command(hide = true)]
    CheckInstall {
        /// Host and port where the operator answers.
        #[arg(long)]
        service: String,
    },
    /// Fails while a pipeline is kept stopped that nobody would start again without the operator; the chart asks it before an uninstall.
    #[command(hide = true)]
    CheckUninstall,
}

impl Config {
    /// Every flag with its value, as on a command line. None of them is a secret.
    pub fn settings(matches: &ArgMatches) -> String {
        let given = |arg: &clap::Arg| {
            let values: Vec<_> = matches.get_raw(arg.get_id().as_str())?.map(|v| v.to_string_lossy()).collect();
            Some(format!("--{}={}", arg.get_long()?, values.join(",")))
        };
        Self::command().get_arguments().filter_map(given).collect::<Vec<_>>().join(" ")
    }

    pub fn scope(&self) -> Scope {
        Scope::of(&self.watch_namespace)
    }

    pub fn keep(&self) -> Keep {
        Keep { plans_for: self.keep_plans_for.into(), plans: self.keep_plans.into() }
    }

    pub fn timing(&self) -> Timing {
        Timing {
            send_window: self.send_window.into(),
            chunk_size: self.chunk_size.into(),
            call_deadline: self.call_deadline.into(),
            late_bound: self.late_bound.into(),
            recheck_waiting: self.recheck_waiting.into(),
            recheck_idle: self.recheck_idle.into(),
            max_backoff: self.max_backoff.into(),
            list_interval: self.list_interval.into(),
            pause_warning: self.pause_warning.into(),
            slow_stop: self.slow_stop.into(),
            finalizer_deadline: self.finalizer_deadline.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_an_environment_variable_of_its_name_with_the_projects_prefix() {
        let command = Config::command();
        // Flags that clap adds by itself are no settings.
        let flags = command.get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()));
        for arg in flags {
            let flag = arg.get_long().expect("every argument is a flag");
            let variable = arg.get_env().unwrap_or_else(|| panic!("--{flag} has no environment variable")).to_string_lossy();
            assert_eq!(variable, format!("STREAM_PIPELINE_{}", flag.replace('-', "_").to_uppercase()), "--{flag}");
        }
    }

    #[test]
    fn d4_the_settings_tell_what_was_given_and_what_was_left_out() {
        let given = ["operator", "--concurrency=7", "--allowed-endpoints=10.0.0.0/8,gw.example.com", "--allow-plain-http"];
        let settings = Config::settings(&Config::command().get_matches_from(given));
        for flag in
            ["--concurrency=7 ", "--allowed-endpoints=10.0.0.0/8,gw.example.com ", "--allow-plain-http=true", "--call-deadline=10s "]
        {
            assert!(settings.contains(flag), "{flag}: {settings}");
        }
        assert!(!settings.contains("watch-namespace"), "all namespaces: {settings}");
        let again = Config::command().try_get_matches_from(
            std::iter::once("operator").chain(settings.split(' ').filter(|f| !f.ends_with("=true") && !f.ends_with("=false"))),
        );
        assert!(again.is_ok(), "{again:?}");
    }
}
