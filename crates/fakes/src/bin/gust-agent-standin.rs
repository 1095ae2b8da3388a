//! `gust-agent-standin`: takes the place of `buildkite-agent` where none is installed. See `gust_fakes::standin`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(gust_fakes::standin::run(std::env::args_os()))
}
