//! The `gust` command line: which commands there are, how their failures are told, and with which exit
//! code the program ends.
//!
//! What a replica does belongs to `gust_server`; this crate starts it (`serve`), talks to one that runs
//! (`admin`), and shows all of gust at work on one machine (`demo`).

mod admin;
mod args;
mod demo;
pub mod exit_codes;
mod explain;
mod failure;
pub mod lint;
mod output;
mod serve;
mod supervise;
mod table;

use std::process::ExitCode;

use clap::Parser as _;

use self::{
    args::{Cli, Command},
    failure::Failure,
};

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(failure) => {
            output::complain(&failure);
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    install_tls_provider()?;
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Admin(command) => admin::run(command),
        Command::Explain(args) => explain::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Demo(args) => demo::run(args).map(|()| ExitCode::from(exit_codes::SUCCESS)),
    }
}

/// The one TLS provider of the process. Without this the first TLS configuration would have to guess, and
/// panics where two providers are linked.
fn install_tls_provider() -> Result<(), Failure> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.install_default().map_err(|_| {
        Failure::new(
            exit_codes::FAILED,
            anyhow::anyhow!("another TLS provider was installed first"),
        )
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_tls_configuration_can_be_built_with_what_is_linked() {
        super::install_tls_provider().expect("the first installation");
        let roots = rustls::RootCertStore::empty();
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        assert!(!config.alpn_protocols.contains(&b"h3".to_vec()));
    }
}
