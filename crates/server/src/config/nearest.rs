//! The known word nearest to a mistyped one.

/// The word among `known` that `typed` was probably meant to be: at most a third of its letters differ, or
/// both begin alike (`family`, `families`).
pub(super) fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|word| (distance(&typed, &word.replace('-', "_")), word))
        .filter(|(steps, word)| {
            let longer = word.len().max(typed.len());
            let alike = word.chars().zip(typed.chars()).take_while(|(a, b)| a == b);
            *steps <= (longer / 3).max(1) || alike.count() >= 4.max(longer.div_ceil(2))
        })
        .min()
        .map(|(_, word)| word)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if swapped {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_is_recognized_and_a_stranger_is_not() {
        let known = ["token", "queues", "stack_key", "endpoint"];
        assert_eq!(nearest("tokne", known), Some("token"));
        assert_eq!(nearest("Queue", known), Some("queues"));
        assert_eq!(nearest("stack-key", known), Some("stack_key"));
        assert_eq!(nearest("endpiont", known), Some("endpoint"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("family", ["families", "images"]), Some("families"));
    }
}
