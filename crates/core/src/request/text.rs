//! Bounds on texts that carry what strangers wrote: job details, notifications, terminals.

/// Longest rendering in bytes: what Buildkite takes as the detail of a finished job.
pub const DETAIL_BYTES: usize = 4096;
/// Longest short form in characters: what Buildkite takes as a notification.
pub const SHORT_CHARS: usize = 256;

/// The text for use between backquotes: at most 64 characters, nothing that could move a cursor or end the quote.
pub(crate) fn quotable(text: &str) -> String {
    let clean = |c: char| if c.is_control() || c == '`' { '\u{fffd}' } else { c };
    let mut quoted: String = text.chars().take(64).map(clean).collect();
    if text.chars().nth(64).is_some() {
        quoted.push('…');
    }
    quoted
}

/// At most `most` characters of the text, with an ellipsis where some were cut.
pub(crate) fn clipped(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// The lines with newlines between, as many as fit; then how many are missing.
pub(crate) fn bounded(lines: &[String]) -> String {
    let mut text = String::new();
    for (i, line) in lines.iter().enumerate() {
        let line = clipped(line, 700);
        let rest = format!("\n… and {} more", lines.len() - i);
        if text.len() + 1 + line.len() + rest.len() > DETAIL_BYTES {
            text.push_str(&rest);
            break;
        }
        if i > 0 {
            text.push('\n');
        }
        text.push_str(&line);
    }
    text
}

/// The first line, and how many follow.
pub(crate) fn short(lines: &[String]) -> String {
    let Some(first) = lines.first() else {
        return String::new();
    };
    let more = match lines.len() - 1 {
        0 => String::new(),
        n => format!(" (and {n} more)"),
    };
    clipped(first, SHORT_CHARS - more.chars().count()) + &more
}

/// `a, b and c`, at most sixteen of them.
pub(crate) fn listed<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    let shown = all.get(..16.min(all.len())).unwrap_or(&[]);
    if shown.len() < all.len() {
        return format!("{} and {} more", shown.join(", "), all.len() - shown.len());
    }
    match all.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}
