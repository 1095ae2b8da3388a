//! The command line: the part of `buildkite-agent`'s that the guest and jobs use. What is not here is
//! refused with exit code 1.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A stand-in for buildkite-agent: speaks the Agent API and runs the job's command.
#[derive(Debug, Parser)]
#[command(name = "gust-agent-standin", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Acquire one job, run it, and end
    Start(Box<StartOptions>),
    /// Run the command of the job in the environment (started by `start`)
    Bootstrap(BootstrapOptions),
    /// Annotate the build or the job
    Annotate(AnnotateOptions),
    /// Read and write the build's meta-data
    #[command(subcommand)]
    MetaData(MetaDataCommand),
    /// Upload artifacts
    #[command(subcommand)]
    Artifact(ArtifactCommand),
    /// Upload pipeline steps
    #[command(subcommand)]
    Pipeline(PipelineCommand),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PingMode {
    Auto,
    PollOnly,
}

#[derive(Debug, Args)]
pub struct StartOptions {
    /// The job to acquire
    #[arg(long, env = "BUILDKITE_AGENT_ACQUIRE_JOB")]
    pub acquire_job: Option<String>,
    /// Registration or job acquisition token; `file://PATH` and `fd://N` are read
    #[arg(long, env = "BUILDKITE_AGENT_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Base of the Agent API, `/v3` included
    #[arg(
        long,
        env = "BUILDKITE_AGENT_ENDPOINT",
        default_value = "https://agent-edge.buildkite.com/v3"
    )]
    pub endpoint: String,
    /// The agent's name; `%hostname` and `%spawn` are filled in
    #[arg(long, env = "BUILDKITE_AGENT_NAME", default_value = "")]
    pub name: String,
    /// Tags, `key=value` each
    #[arg(long, env = "BUILDKITE_AGENT_TAGS", value_delimiter = ',')]
    pub tags: Vec<String>,
    /// The queue, instead of a tag
    #[arg(long, env = "BUILDKITE_AGENT_QUEUE")]
    pub queue: Option<String>,
    /// Priority shown with the agent
    #[arg(long, env = "BUILDKITE_AGENT_PRIORITY")]
    pub priority: Option<String>,
    /// Below it jobs get their directories
    #[arg(long, env = "BUILDKITE_BUILD_PATH")]
    pub build_path: Option<PathBuf>,
    /// How commands are run
    #[arg(long, env = "BUILDKITE_SHELL", default_value = "/bin/bash -e -c")]
    pub shell: String,
    /// Started in place of `bootstrap`; split at spaces, quotes are not understood
    #[arg(long, env = "BUILDKITE_BOOTSTRAP_SCRIPT_PATH")]
    pub bootstrap_script: Option<String>,
    /// Seconds a canceled job gets in all
    #[arg(long, env = "BUILDKITE_CANCEL_GRACE_PERIOD", default_value_t = 10)]
    pub cancel_grace_period: i64,
    /// Seconds between the cancel signal and SIGKILL; negative: counted back from the whole grace
    #[arg(long, env = "BUILDKITE_SIGNAL_GRACE_PERIOD_SECONDS", default_value_t = -1, allow_hyphen_values = true)]
    pub signal_grace_period_seconds: i64,
    /// Seconds the agent stays after its job while it waits for its ping; 0: no limit
    #[arg(long, env = "BUILDKITE_AGENT_DISCONNECT_AFTER_UPTIME", default_value_t = 0)]
    pub disconnect_after_uptime: u64,
    /// How the agent learns that it is paused; streaming is not spoken, `auto` polls
    #[arg(long, env = "BUILDKITE_AGENT_PING_MODE", default_value = "auto")]
    pub ping_mode: PingMode,
    /// End with the job's exit status
    #[arg(long, env = "BUILDKITE_AGENT_REFLECT_EXIT_STATUS")]
    pub reflect_exit_status: bool,
    /// Directory of agent hooks; the stand-in runs none and refuses a directory that holds any
    #[arg(long, env = "BUILDKITE_HOOKS_PATH")]
    pub hooks_path: Option<PathBuf>,
    /// Only 1 is possible
    #[arg(long, env = "BUILDKITE_AGENT_SPAWN", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=1))]
    pub spawn: u8,
    #[command(flatten)]
    pub without_effect: WithoutEffect,
}

/// Flags of the real agent that ask for what the stand-in does anyway, or does not have to begin with.
#[derive(Debug, Args)]
pub struct WithoutEffect {
    #[arg(long, hide = true)]
    no_color: bool,
    #[arg(long, hide = true)]
    no_pty: bool,
    #[arg(long, hide = true)]
    no_ansi_timestamps: bool,
    #[arg(long, hide = true)]
    no_http2: bool,
    #[arg(long, hide = true)]
    no_plugins: bool,
    #[arg(long, hide = true)]
    no_local_hooks: bool,
    #[arg(long, hide = true)]
    no_git_submodules: bool,
    #[arg(long, hide = true)]
    no_feature_reporting: bool,
    #[arg(long, hide = true)]
    skip_checkout: bool,
    #[arg(long, hide = true)]
    disconnect_after_job: bool,
    #[arg(long, hide = true)]
    debug: bool,
    #[arg(long, hide = true)]
    log_level: Option<String>,
    #[arg(long, hide = true)]
    log_format: Option<String>,
    #[arg(long, hide = true)]
    plugins_path: Option<PathBuf>,
    #[arg(long, hide = true)]
    sockets_path: Option<PathBuf>,
    #[arg(long, hide = true)]
    git_mirrors_path: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct BootstrapOptions {
    /// How commands are run
    #[arg(long, env = "BUILDKITE_SHELL", default_value = "/bin/bash -e -c")]
    pub shell: String,
}

/// What every command of a job takes from its environment.
#[derive(Debug, Args)]
pub struct JobOptions {
    /// The job
    #[arg(long, env = "BUILDKITE_JOB_ID", default_value = "")]
    pub job: String,
    /// The job's token
    #[arg(
        long,
        env = "BUILDKITE_AGENT_ACCESS_TOKEN",
        default_value = "",
        hide_env_values = true
    )]
    pub agent_access_token: String,
    /// Base of the Agent API
    #[arg(long, env = "BUILDKITE_AGENT_ENDPOINT", default_value = "")]
    pub endpoint: String,
    #[arg(long, hide = true)]
    pub no_color: bool,
    #[arg(long, hide = true)]
    pub debug: bool,
    #[arg(long, hide = true)]
    pub log_level: Option<String>,
}

#[derive(Debug, Args)]
pub struct AnnotateOptions {
    /// The text; read from stdin where absent
    pub body: Option<String>,
    #[arg(long, env = "BUILDKITE_ANNOTATION_CONTEXT", default_value = "default")]
    pub context: String,
    #[arg(long, env = "BUILDKITE_ANNOTATION_STYLE")]
    pub style: Option<String>,
    #[arg(long, env = "BUILDKITE_ANNOTATION_APPEND")]
    pub append: bool,
    #[arg(long, env = "BUILDKITE_ANNOTATION_PRIORITY", default_value_t = 3)]
    pub priority: u8,
    #[arg(long, env = "BUILDKITE_ANNOTATION_SCOPE", default_value = "build")]
    pub scope: String,
    #[command(flatten)]
    pub of: JobOptions,
}

#[derive(Debug, Subcommand)]
pub enum MetaDataCommand {
    /// Set a key; the value is read from stdin where absent
    Set {
        key: String,
        value: Option<String>,
        #[command(flatten)]
        of: JobOptions,
    },
    /// Print a key's value
    Get {
        key: String,
        /// Printed where the key is not set
        #[arg(long)]
        default: Option<String>,
        #[command(flatten)]
        of: JobOptions,
    },
    /// Exit 0 where the key is set, 100 where not
    Exists {
        key: String,
        #[command(flatten)]
        of: JobOptions,
    },
    /// Print all keys
    Keys {
        #[command(flatten)]
        of: JobOptions,
    },
}

#[derive(Debug, Subcommand)]
pub enum ArtifactCommand {
    /// Upload files that match patterns, separated by `;`
    Upload {
        paths: String,
        #[command(flatten)]
        of: JobOptions,
    },
}

#[derive(Debug, Subcommand)]
pub enum PipelineCommand {
    /// Upload steps from a file, or from stdin where no file is named
    Upload {
        file: Option<PathBuf>,
        /// Replace the steps that have not run yet
        #[arg(long)]
        replace: bool,
        /// Leave `${VAR}` as it is
        #[arg(long)]
        no_interpolation: bool,
        #[command(flatten)]
        of: JobOptions,
    },
}
