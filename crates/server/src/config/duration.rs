//! Durations as people write them: `250ms`, `90s`, `5m`, `1h30m`, `2d`.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Reads a duration; `None` if the text is none or too long to count.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total_ms: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (_, ms) = UNITS.iter().find(|(name, _)| *name == &rest[..letters])?;
        total_ms = total_ms.checked_add(count.checked_mul(*ms)?)?;
        rest = rest[letters..].trim_start();
    }
    Some(Duration::from_millis(total_ms))
}

/// Writes a duration in the same form, shortest first unit that fits.
pub(super) fn write(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (name, ms) in UNITS.iter().rev() {
        if left >= *ms {
            text.push_str(&format!("{}{name}", left / ms));
            left %= ms;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{prop_assert_eq, proptest};

    use super::{parse, write};

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse("90s"), Some(Duration::from_secs(90)));
        assert_eq!(parse("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse("1h 30m"), Some(Duration::from_secs(5400)));
        for bad in ["", "5", "m", "5 parsecs", "-1s", "1.5h", "99999999999999999d"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ms in 0_u64..1_000_000_000_000) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse(&write(duration)), Some(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,20}") {
            let _ = parse(&text);
        }
    }
}
