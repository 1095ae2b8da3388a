//! How the program speaks: data to stdout, the rest to stderr, colours only where somebody sees them.

use std::io::{IsTerminal as _, Write as _};

use crate::failure::Failure;

/// Whether colours may be written to a stream that is a terminal (see no-color.org).
pub(crate) fn colours(is_terminal: bool) -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    is_terminal && !no_color
}

/// Prints a failure to stderr.
pub(crate) fn complain(failure: &Failure) {
    let stderr = std::io::stderr();
    let text = describe(failure, colours(stderr.is_terminal()));
    // Nothing can be told where stderr is gone.
    let _ = stderr.lock().write_all(text.as_bytes());
}

/// Says something beside the data, to stderr.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A failure as text: what happened, the hint in brackets, the chain of causes.
fn describe(failure: &Failure, colours: bool) -> String {
    let word = if colours {
        "\x1b[1;31merror\x1b[0m"
    } else {
        "error"
    };
    let mut text = format!("{word}: {}", failure.error);
    if let Some(hint) = &failure.hint {
        text.push_str(&format!(" [{hint}]"));
    }
    text.push('\n');
    let mut before = failure.error.to_string();
    for cause in failure.error.chain().skip(1) {
        let cause = cause.to_string();
        // Some libraries repeat their cause in their own message.
        if !before.ends_with(&cause) {
            text.push_str(&format!("  caused by: {cause}\n"));
        }
        before = cause;
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::describe;
    use crate::{exit_codes, failure::Failure};

    #[test]
    fn a_failure_tells_what_why_and_what_to_do() {
        let cause = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        let error = Err::<(), _>(cause)
            .context("cannot listen on 127.0.0.1:7070")
            .unwrap_err();
        let failure = Failure::new(exit_codes::LISTEN, error).hint("choose another port");
        insta::assert_snapshot!(describe(&failure, false), @r"
        error: cannot listen on 127.0.0.1:7070 [choose another port]
          caused by: address in use
        ");
    }
}
