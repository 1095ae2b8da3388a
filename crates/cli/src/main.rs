//! The `gust` program. Everything it does is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    gust_cli::main()
}
