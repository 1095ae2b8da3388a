//! Arguments of the commands that talk to a running gust.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum, builder::PossibleValuesParser};
use gust_core::reason::Kind;

/// How to reach a replica, and as whom.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Admin address of any replica
    #[arg(
        long,
        env = "GUST_ADDRESS",
        hide_env_values = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:7072"
    )]
    pub(crate) address: String,
    /// File with the token; GUST_TOKEN holds a token itself
    #[arg(long, env = "GUST_TOKEN_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Authority of the replicas' certificates (PEM), for https
    #[arg(long, env = "GUST_AUTHORITY", hide_env_values = true, value_name = "FILE")]
    pub(crate) authority: Option<PathBuf>,
    /// Your own certificate (PEM), where replicas ask for one
    #[arg(
        long,
        env = "GUST_CERTIFICATE",
        hide_env_values = true,
        value_name = "FILE",
        requires = "key"
    )]
    pub(crate) certificate: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(
        long,
        env = "GUST_KEY",
        hide_env_values = true,
        value_name = "FILE",
        requires = "certificate"
    )]
    pub(crate) key: Option<PathBuf>,
    /// How long an answer may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) deadline: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a number of seconds above 0, at most 3600".to_owned()),
    }
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Who leads, who is there, what waits for what
    Status(Output),
    /// List jobs that have not ended, or watch them
    Jobs(JobsArgs),
    /// One job: what it waits for, its machines, its timeline
    Job(JobArgs),
    /// List machines, or watch them
    Machines(MachinesArgs),
    /// Finish a job that waits; it fails in Buildkite with your note
    Cancel(CancelArgs),
    /// Make no more machines until `gust resume`; jobs wait and are told so, running ones run on
    Pause(NoteArgs),
    /// End a pause
    Resume(Output),
    /// Make no more machines in a region of a project, in a zone, or of a family
    Cordon(PlaceArgs),
    /// As cordon, and delete machines there that have no job yet; running jobs run on
    Drain(PlaceArgs),
    /// Take a region of a project, a zone or a family into service again
    Uncordon(PlaceOnly),
}

/// How the answer is printed.
#[derive(Clone, Debug, Args)]
pub(crate) struct Output {
    /// Print the answer as JSON, as protobuf maps it
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

impl AdminCommand {
    /// How to reach the replica.
    pub(crate) fn connection(&self) -> &Connection {
        let output = match self {
            Self::Status(output) | Self::Resume(output) => output,
            Self::Jobs(args) => &args.output,
            Self::Job(args) => &args.output,
            Self::Machines(args) => &args.output,
            Self::Cancel(args) => &args.output,
            Self::Pause(args) => &args.output,
            Self::Cordon(args) | Self::Drain(args) => &args.output,
            Self::Uncordon(args) => &args.output,
        };
        &output.connection
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum JobPhaseArg {
    Waiting,
    Refusing,
    Claimed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MachinePhaseArg {
    Creating,
    Booting,
    Claimed,
    Deleting,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct JobsArgs {
    /// Only those of this queue
    #[arg(long)]
    pub(crate) queue: Option<String>,
    /// Only those of this pipeline (its slug)
    #[arg(long)]
    pub(crate) pipeline: Option<String>,
    /// Only those of this build number
    #[arg(long, value_name = "NUMBER")]
    pub(crate) build: Option<u64>,
    /// Only those in this phase
    #[arg(long)]
    pub(crate) phase: Option<JobPhaseArg>,
    /// Only those that wait for this kind of reason
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::as_str)))]
    pub(crate) reason: Option<String>,
    /// List at most so many
    #[arg(long, value_name = "N", conflicts_with = "watch")]
    pub(crate) limit: Option<usize>,
    /// Go on and print every change
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct JobArgs {
    /// Buildkite's UUID of the job
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct MachinesArgs {
    /// Only those of this project
    #[arg(long)]
    pub(crate) project: Option<String>,
    /// Only those in this region
    #[arg(long)]
    pub(crate) region: Option<String>,
    /// Only those in this zone
    #[arg(long)]
    pub(crate) zone: Option<String>,
    /// Only those in this phase
    #[arg(long)]
    pub(crate) phase: Option<MachinePhaseArg>,
    /// List at most so many
    #[arg(long, value_name = "N", conflicts_with = "watch")]
    pub(crate) limit: Option<usize>,
    /// Go on and print every change
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CancelArgs {
    /// Buildkite's UUID of the job
    pub(crate) id: String,
    /// Why; the developer reads it
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) note: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct NoteArgs {
    /// Why; developers read it on their jobs
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) note: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PlaceArgs {
    /// `<project>/<region>`, a zone (in every project), a family (`n2d`), or a family in a zone (`n2d@us-central1-a`)
    pub(crate) place: String,
    /// Why
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) note: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PlaceOnly {
    /// `<project>/<region>`, a zone, a family, or a family in a zone
    pub(crate) place: String,
    #[command(flatten)]
    pub(crate) output: Output,
}
