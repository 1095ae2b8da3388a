//! What all pages have: the frame, and pieces of HTML.

use crate::stamp::rfc3339;
use crate::wire::Response;

const STYLE: &str = include_str!("style.css");

/// Looks again while something runs, and leaves open what is open.
const REFRESH: &str = "<script>\nsetInterval(async () => {\n  const text = await (await fetch(location.href)).text();\n  const next = new DOMParser().parseFromString(text, 'text/html');\n  const now = document.querySelector('main'), then = next.querySelector('main');\n  if (!then || now.innerHTML === then.innerHTML) return;\n  for (const job of then.querySelectorAll('details')) {\n    const old = document.getElementById(job.id);\n    if (old) job.open = old.open;\n  }\n  now.replaceWith(then);\n}, 2000);\n</script>\n<noscript><meta http-equiv=\"refresh\" content=\"3\"></noscript>\n";

/// A whole page.
pub(super) fn page(organization: &str, title: &str, main: &str, runs: bool) -> Response {
    let (title, organization) = (escape(title), escape(organization));
    let refresh = if runs { REFRESH } else { "" };
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header><div><a href=\"/\">{organization}</a> <span>· fake Buildkite</span></div></header>\n<main>\n{main}</main>\n{refresh}</body>\n</html>\n"
    );
    Response {
        body: html.into(),
        ..Response::empty(200)
    }
    .with("content-type", "text/html; charset=utf-8")
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A state as a coloured word.
pub(super) fn badge(state: &str) -> String {
    let colour = match state {
        "passed" => "passed",
        "failed" | "failing" | "timed_out" | "waiting_failed" => "failed",
        "running" | "accepted" | "canceling" | "timing_out" => "running",
        "scheduled" | "reserved" => "ready",
        _ => "idle",
    };
    format!(
        "<span class=\"state {colour}\">{}</span>",
        state.replace('_', " ")
    )
}

/// A wall time, to be read by people: `2026-08-01 10:00:00 UTC`.
pub(super) fn moment(unix_ns: i128) -> String {
    format!("{} UTC", rfc3339(unix_ns)[..19].replace('T', " "))
}

/// A length of time, to be read by people.
pub(super) fn length(ns: i128) -> String {
    let seconds = ns.max(0) as f64 / 1e9;
    match seconds as u64 {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", seconds as u64 / 60, seconds as u64 % 60),
        whole => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

/// A log without what steers a terminal.
pub(super) fn plain(log: &str) -> String {
    let mut out = String::with_capacity(log.len());
    let mut chars = log.chars().peekable();
    while let Some(char) = chars.next() {
        match (char, chars.peek()) {
            // Colours and the like end with a letter; the agent's own marks, and titles, with a bell.
            ('\u{1b}', Some('[')) => {
                chars.next();
                while chars.next().is_some_and(|char| !('@'..='~').contains(&char)) {}
            }
            ('\u{1b}', Some('_' | ']')) => while chars.next().is_some_and(|char| char != '\u{7}') {},
            ('\u{1b}', _) => {}
            ('\r', Some('\n')) => {}
            ('\r', _) => out.push('\n'),
            _ => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_lose_what_steers_a_terminal() {
        assert_eq!(
            plain("\u{1b}_bk;t=17\u{7}~~~ \u{1b}[32mok\u{1b}[0m\r\n50%\r100%\n"),
            "~~~ ok\n50%\n100%\n"
        );
    }

    #[test]
    fn lengths_are_readable() {
        let read = [400, 61_000, 3_720_000].map(|ms: i128| length(ms * 1_000_000));
        assert_eq!(read, ["0.4 s", "1 min 1 s", "1 h 2 min"]);
    }
}
