//! `gust serve`: reads the configuration, sets up logging and hands over to the server.

use std::process::ExitCode;

use anyhow::Context as _;
use gust_server::{
    ServeError, ServeOptions,
    config::{Config, Host, Log, LogFormat},
};
use tracing_subscriber::EnvFilter;

use crate::{args::ServeArgs, exit_codes, failure::Failure, supervise};

/// Runs the command until SIGTERM or Ctrl-C.
///
/// # Errors
/// The configuration is refused, or the server cannot start or go on.
pub(crate) fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let config =
        Config::load(&args.config, &Host).map_err(|error| Failure::new(exit_codes::CONFIG, error))?;
    start_log(&config.log)?;
    if config.cluster.is_some() && !supervise::is_supervised() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let code = runtime.block_on(supervise::supervise(&config))?;
        return Ok(ExitCode::from(code));
    }
    if supervise::is_supervised() {
        supervise::follow_parent();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let options = ServeOptions {
        journal: args.journal.clone(),
    };
    runtime
        .block_on(gust_server::serve(config, options))
        .map_err(|error| Failure::new(exit_code(&error), error))?;
    Ok(ExitCode::from(exit_codes::SUCCESS))
}

/// The documented code of each way in which a replica ends.
fn exit_code(error: &ServeError) -> u8 {
    match error {
        ServeError::Listen { .. } => exit_codes::LISTEN,
        ServeError::Journal(_) | ServeError::Store(_) => exit_codes::STORE,
        ServeError::File { .. }
        | ServeError::Etcd(_)
        | ServeError::Plan(_)
        | ServeError::Source { .. }
        | ServeError::Project { .. }
        | ServeError::Grpc(_) => exit_codes::CONFIG,
        ServeError::Reflection(_) => exit_codes::FAILED,
        ServeError::Lead(_) | ServeError::Signal(_) => exit_codes::FAILED,
    }
}

/// Logs go to stderr.
fn start_log(log: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&log.filter)
        .context("cannot read log.filter")
        .map_err(|error| Failure::new(exit_codes::CONFIG, error))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(crate::output::colours(std::io::IsTerminal::is_terminal(
            &std::io::stderr(),
        )));
    let started = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|cause| {
        Failure::new(
            exit_codes::FAILED,
            anyhow::anyhow!("cannot start logging: {cause}"),
        )
    })
}
