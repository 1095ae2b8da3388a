//! Programs written by others, and one of ours written from the documents alone, against the fake Buildkite.
//!
//! They judge the fake: what a real client cannot work with is wrong in the fake. Run by `cargo test`, or alone by
//! `scripts/real-clients.sh`. Prints a table of who did what; ends with 1 if anything was not as it must be. Which
//! clients there are is said by the environment (`scripts/real-clients.md`); without one of them its rows say
//! SKIPPED.

#![expect(clippy::print_stdout, reason = "the table is this program's product")]

mod agents;
mod clients;

use std::process::ExitCode;

use clients::{Outcome, Row};

fn main() -> ExitCode {
    // Whoever lists the tests of this program learns that it has none by name.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let mut rows = clients::real_agents();
    rows.extend(clients::stacks_client());
    rows.extend(clients::bk_cli());
    rows.extend(clients::agent_metrics());
    rows.extend(clients::python());
    print(&rows);
    let failed = rows.iter().any(|row| matches!(row.outcome, Outcome::Failed));
    ExitCode::from(u8::from(failed))
}

fn print(rows: &[Row]) {
    let width = |of: fn(&Row) -> &str, title: &str| {
        let widths = rows.iter().map(|row| of(row).chars().count());
        widths.chain([title.len()]).max().unwrap_or_default()
    };
    let client = width(|row| &row.client, "client");
    let scenario = width(|row| &row.scenario, "scenario");
    println!(
        "{:<8} {:<client$}  {:<scenario$}  expected => seen",
        "", "client", "scenario"
    );
    for row in rows {
        println!(
            "{:<8} {:<client$}  {:<scenario$}  {} => {}",
            row.outcome.word(),
            row.client,
            row.scenario,
            row.expected,
            row.seen
        );
    }
    let count = |word: &str| rows.iter().filter(|row| row.outcome.word() == word).count();
    println!(
        "{} ok, {} FAILED, {} SKIPPED",
        count("ok"),
        count("FAILED"),
        count("SKIPPED")
    );
}
