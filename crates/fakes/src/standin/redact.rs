//! Keeps secrets out of the log: values of variables that are named like secrets, and the agent's tokens.

use std::collections::BTreeMap;

/// Endings of names whose values are secrets.
const SECRET_NAMES: [&str; 7] = [
    "_TOKEN",
    "_PASSWORD",
    "_SECRET",
    "_ACCESS_KEY",
    "_SECRET_KEY",
    "_PRIVATE_KEY",
    "_CONNECTION_STRING",
];
/// Shorter values would blot out half of the log.
const SHORTEST: usize = 6;
const REDACTED: &[u8] = b"[REDACTED]";

/// Replaces secrets in a stream, also where one arrives in two pieces.
#[derive(Default)]
pub struct Redactor {
    secrets: Vec<Vec<u8>>,
    held: Vec<u8>,
}

impl Redactor {
    /// For a job with this environment and these tokens.
    pub fn for_env<'a>(env: &'a BTreeMap<String, String>, tokens: impl IntoIterator<Item = &'a str>) -> Self {
        let named = env
            .iter()
            .filter(|(name, _)| SECRET_NAMES.iter().any(|end| name.ends_with(end)));
        let values = named.map(|(_, value)| value.as_str()).chain(tokens);
        let mut secrets: Vec<_> = values
            .filter(|value| value.len() >= SHORTEST)
            .map(|value| value.as_bytes().to_vec())
            .collect();
        // Longest first: a secret that contains another is replaced whole.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self {
            secrets,
            held: Vec::new(),
        }
    }

    /// Takes in bytes and puts out all that cannot be part of a secret any more.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        let mut at = 0;
        while at < self.held.len() {
            let rest = &self.held[at..];
            if let Some(secret) = self.secrets.iter().find(|secret| rest.starts_with(secret)) {
                out.extend_from_slice(REDACTED);
                at += secret.len();
            } else if self.secrets.iter().any(|secret| secret.starts_with(rest)) {
                break;
            } else {
                out.push(rest[0]);
                at += 1;
            }
        }
        self.held.drain(..at);
    }

    /// Puts out what was still held back.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    fn redactor() -> Redactor {
        let env = BTreeMap::from([
            ("MY_TOKEN".into(), "abcabcd".into()),
            ("PLAIN".into(), "visible".into()),
        ]);
        Redactor::for_env(&env, ["job-token"])
    }

    #[test]
    fn secrets_vanish_and_all_else_stays() {
        let mut out = Vec::new();
        let mut redactor = redactor();
        redactor.push(b"visible abcabcabcd job-token job-tok", &mut out);
        redactor.end(&mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "visible abc[REDACTED] [REDACTED] job-tok"
        );
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(cuts in proptest::collection::vec(0_usize..40, 0..6)) {
            let text = b"xx job-token yy abcabcd zz job-toke".as_slice();
            let mut whole = Vec::new();
            let mut fresh = redactor();
            fresh.push(text, &mut whole);
            fresh.end(&mut whole);
            let mut pieces = Vec::new();
            let mut fresh = redactor();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut from = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                fresh.push(&text[from..cut], &mut pieces);
                from = cut;
            }
            fresh.end(&mut pieces);
            prop_assert_eq!(whole, pieces);
        }
    }
}
