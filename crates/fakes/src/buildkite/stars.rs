//! Patterns with stars: of branches in steps, webhooks and lists, and of paths in lists of artifacts.

/// Whether a pattern covers the whole text; `*` stands for any piece of it, also for none.
pub(super) fn like(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    // Each piece as early as it can be: that leaves the most to those behind it.
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, is) in [
            ("main", "main", true),
            ("main", "maine", false),
            ("*dev*", "my-dev-branch", true),
            ("*dev*", "main", false),
            ("feature/*", "feature/a/b", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*a", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(like(pattern, text), is, "{pattern} {text}");
        }
    }
}
