//! With which code `gust` ends. The table is part of the interface: `docs/errors/exit-codes.md` shows it,
//! and a test compares the two. Codes are added, never given a new meaning.

/// Done.
pub const SUCCESS: u8 = 0;
/// Gust failed in a way it has no better word for.
pub const FAILED: u8 = 1;
/// The command line is wrong (clap's own code).
pub const USAGE: u8 = 2;
/// The configuration, or another file given to gust, was refused.
pub const CONFIG: u8 = 3;
/// An address could not be bound.
pub const LISTEN: u8 = 4;
/// The store could not be opened, read or written.
pub const STORE: u8 = 5;
/// A running gust could not be reached, or refused.
pub const ADMIN: u8 = 6;
/// No machine can be what was asked for.
pub const REQUEST: u8 = 7;
/// A demo's job ended otherwise than expected.
pub const DEMO_UNEXPECTED: u8 = 10;
/// A demo's machine was left behind.
pub const DEMO_LEFTOVER: u8 = 11;
/// A program the demo needs is missing or ended early.
pub const DEMO_PROGRAM: u8 = 12;
/// Interrupted (128 + SIGINT, as shells count).
pub const INTERRUPTED: u8 = 130;

/// Every code with its meaning, for the documentation.
pub const TABLE: [(u8, &str); 12] = [
    (SUCCESS, "done"),
    (FAILED, "gust failed in a way it has no better word for"),
    (USAGE, "the command line is wrong"),
    (
        CONFIG,
        "the configuration, or another file given to gust, was refused",
    ),
    (LISTEN, "an address could not be bound"),
    (STORE, "the store could not be opened, read or written"),
    (ADMIN, "a running gust could not be reached, or refused"),
    (
        REQUEST,
        "`gust explain`, `gust lint`: no machine can be what is asked for",
    ),
    (
        DEMO_UNEXPECTED,
        "`gust demo`: a job ended otherwise than expected",
    ),
    (DEMO_LEFTOVER, "`gust demo`: a machine was left behind"),
    (
        DEMO_PROGRAM,
        "`gust demo`: a program it needs is missing or ended early",
    ),
    (INTERRUPTED, "interrupted by Ctrl-C or SIGTERM"),
];

#[cfg(test)]
mod tests {
    #[test]
    fn the_documented_table_is_the_one_in_the_code() {
        let page = include_str!("../../../docs/errors/exit-codes.md");
        let documented: Vec<&str> = page.lines().filter(|l| l.starts_with("| ")).skip(2).collect();
        let in_code: Vec<String> = super::TABLE
            .iter()
            .map(|(code, meaning)| format!("| {code} | {meaning} |"))
            .collect();
        assert_eq!(documented, in_code);
    }
}
