//! Numbers in sentences.

/// So many of something: `1 job`, `2 jobs`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    }
}
