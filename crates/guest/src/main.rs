//! `gust-guest`: started at boot, without arguments. See the crate's documentation.
//!
//! The exit code is 0 whatever became of the job; another means that the guest itself failed, and whoever
//! started it must turn the machine off.

use std::{panic::AssertUnwindSafe, process::ExitCode};

use gust_guest::{
    life::{self, End, chain},
    power,
    settings::Settings,
};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;

/// sysexits' EX_SOFTWARE.
const OWN_FAULT: u8 = 70;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("GUST_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
    // Only fails if one is installed, and then there is one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let settings = Settings::from_env();
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::from(OWN_FAULT);
        }
    };
    // A panic is a fault of the guest; the machine must go off all the same.
    let lived = std::panic::catch_unwind(AssertUnwindSafe(|| live(&runtime, &settings)));
    if lived.is_err() {
        tracing::error!("the guest has a bug: it panicked");
    }
    let off = runtime.block_on(power::off(settings.power_off));
    if let Err(error) = off {
        tracing::error!(%error, "still on");
    }
    if lived.is_ok() && off.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(OWN_FAULT)
    }
}

fn live(runtime: &Runtime, settings: &Settings) {
    match runtime.block_on(life::live(settings)) {
        Ok(End::Ran { job, .. }) => tracing::info!(%job, "the machine has done its job"),
        Ok(End::NoJob(reason)) => tracing::info!(reason, "there is no job for this machine"),
        Ok(End::Stopped(cause)) => tracing::info!(cause = cause.as_str(), "stopped before the claim"),
        Err(error) => tracing::error!(error = %chain(&error), "the machine is of no use"),
    }
}
