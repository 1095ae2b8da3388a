//! `[log]`: how much is logged, and in which form.

use super::section::{Complaint, Section, choice};

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Levels, such as `info` or `info,gust_cloud=debug`.
    pub filter: String,
    /// Form.
    pub format: LogFormat,
}

pub(super) fn read(root: &Section<'_>) -> Log {
    let mut log = Log {
        filter: "info".to_owned(),
        format: LogFormat::Text,
    };
    let Some(section) = root.section("log") else {
        return log;
    };
    let filter = section.field("filter");
    if let Some(filter) = filter.and_then(|f| f.parsed("a text", read_filter)) {
        log.filter = filter;
    }
    if let Some(field) = section.field("format") {
        let words = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        let read = field.parsed("a text", |t| choice(t, &words));
        log.format = read.unwrap_or_default();
    }
    section.close();
    log
}

/// Checks each part of a filter: a level, or `target=level`.
fn read_filter(text: &str) -> Result<String, Complaint> {
    let levels = ["off", "error", "warn", "info", "debug", "trace"].map(|level| (level, ()));
    for part in text.split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        choice(level.trim(), &levels)?;
    }
    Ok(text.to_owned())
}
