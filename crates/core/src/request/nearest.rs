//! The nearest known name to a mistyped one.

/// The known name with the fewest edits, if it is near enough to be a typing error. Of equals the first.
pub(crate) fn name<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A long text is no typing error, and comparing it would take time that its author chooses.
    if typed.is_empty() || typed.len() > 64 {
        return None;
    }
    let allowed = (typed.chars().count() / 3).min(3);
    known
        .into_iter()
        .map(|candidate| (edits(typed, candidate), candidate))
        .filter(|(n, candidate)| *n <= allowed && *n < candidate.chars().count())
        .min_by_key(|(n, _)| *n)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn one text into the other.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (
        a.to_lowercase().chars().collect(),
        b.to_lowercase().chars().collect(),
    );
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + changed);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_recognized_and_other_words_are_not() {
        let known = ["cpu", "memory", "local-ssd", "zone"];
        assert_eq!(name("memroy", known), Some("memory"));
        assert_eq!(name("CPU", known), Some("cpu"));
        assert_eq!(name("localssd", known), Some("local-ssd"));
        assert_eq!(name("team", known), None);
        assert_eq!(
            name("m3", ["c3", "n2d"]),
            None,
            "two letters are too few to be a typing error"
        );
        assert_eq!(name("", known), None);
        assert_eq!(name(&"x".repeat(10_000), known), None);
    }
}
