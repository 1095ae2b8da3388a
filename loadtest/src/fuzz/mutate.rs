//! Samples, mutated: bytes, lines, and JSON as JSON.

use rand::{Rng, RngCore, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::json;

/// Longest input, but for what is nested or repeated on purpose.
const LONGEST: usize = 64 << 10;

/// What parsers have stumbled over before, in any format.
const WORDS: &[&[u8]] = &[
    b"null",
    b"true",
    b"-1",
    b"0",
    b"18446744073709551615",
    b"18446744073709551616",
    b"-9223372036854775808",
    b"9223372036854775807",
    b"4294967296",
    b"1e308",
    b"1e999",
    b"-0",
    b"0x10",
    b"NaN",
    b"inf",
    b"1.5",
    b"1_000",
    b"99999999999999999999999999999999999999",
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc0\x80",
    b"\r\n",
    b"\n\n",
    b"\t",
    b"\"",
    b"'",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"=",
    b":",
    b",",
    b"*",
    b"&a",
    b"*a",
    b"<<: *a",
    b"!!binary x",
    b"---\n",
    b"{}",
    b"[]",
    b"()",
    b"${",
    b"%",
    b"%%",
    b"\xe2\x80\xae",
    "é".as_bytes(),
    "𝒳".as_bytes(),
    b"1970-01-01T00:00:00Z",
    b"9999-12-31T23:59:59.999999999+23:59",
    b"-0001-01-01T00:00:00Z",
    b"2026-02-30T25:61:61Z",
    b"00000000-0000-0000-0000-000000000000",
    b"PT-1S",
    b"18446744073709551615s",
    b"9223372036854775807h",
];

/// What opens a level, for nesting.
const OPENERS: &[(&[u8], &[u8])] = &[
    (b"[", b"]"),
    (b"{\"a\":", b"}"),
    (b"(", b")"),
    (b"{ a ", b"}"),
    (b"{a: ", b"}"),
    (b"- ", b""),
    (b"a.", b""),
    (b"NOT ", b""),
    (b"-", b""),
    (b"\"", b"\""),
    (b"[a.", b"]"),
    (b"\n  ", b""),
    (b"> ", b""),
];

/// A source of inputs that is the same for the same seed.
pub(super) struct Mutator(ChaCha8Rng);

impl Mutator {
    pub(super) fn new(seed: u64, target: &str) -> Self {
        // Each target has a stream of its own, so that one can be run again without the others.
        let name = target.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(ChaCha8Rng::seed_from_u64(seed ^ name))
    }

    /// A sample with a few changes.
    pub(super) fn input(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus.choose(&mut self.0).cloned().unwrap_or_default();
        let rounds = match self.0.random_range(0..8) {
            0..5 => 1,
            5..7 => self.0.random_range(2..5),
            _ => self.0.random_range(5..20),
        };
        for _ in 0..rounds {
            self.change(&mut input, corpus);
            if input.len() > LONGEST {
                input.truncate(LONGEST);
            }
        }
        if self.0.random_range(0..200) == 0 {
            self.nest(&mut input);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        match self.0.random_range(0..20) {
            0 => self.flip(input),
            1 => {
                let span = self.span(input.len());
                input.drain(span);
            }
            2 => {
                let piece = input[self.span(input.len())].to_vec();
                self.insert(input, &piece);
            }
            3 => {
                let other = corpus.choose(&mut self.0).cloned().unwrap_or_default();
                let piece = other[self.span(other.len())].to_vec();
                self.insert(input, &piece);
            }
            4 => {
                let at = self.0.random_range(0..=input.len());
                input.truncate(at);
            }
            5..8 => self.word(input),
            8 => self.number(input),
            9 | 10 => self.line(input),
            11 => {
                let mut bytes = vec![0; self.0.random_range(1..9)];
                self.0.fill_bytes(&mut bytes);
                self.insert(input, &bytes);
            }
            12 => {
                let piece = input[self.span(input.len().min(64))].to_vec();
                let times = self.0.random_range(2..400);
                self.insert(input, &piece.repeat(times));
            }
            _ => self.json(input),
        }
    }

    fn flip(&mut self, input: &mut [u8]) {
        if let Some(last) = input.len().checked_sub(1) {
            let at = self.0.random_range(0..=last);
            input[at] ^= 1 << self.0.random_range(0..8);
        }
    }

    /// A part of something of that length, mostly a short one.
    fn span(&mut self, length: usize) -> std::ops::Range<usize> {
        let from = self.0.random_range(0..=length);
        let most = match self.0.random_range(0..4) {
            0 => length - from,
            _ => (length - from).min(16),
        };
        from..from + self.0.random_range(0..=most)
    }

    fn insert(&mut self, input: &mut Vec<u8>, piece: &[u8]) {
        let at = self.0.random_range(0..=input.len());
        input.splice(at..at, piece.iter().copied());
    }

    /// Puts a word somewhere, in most cases in place of what stands there.
    fn word(&mut self, input: &mut Vec<u8>) {
        let word = WORDS.choose(&mut self.0).copied().unwrap_or_default();
        let from = self.0.random_range(0..=input.len());
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let length = match self.0.random_range(0..3) {
            0 => 0,
            _ => input[from..].iter().take_while(|byte| is_part(byte)).count(),
        };
        input.splice(from..from + length, word.iter().copied());
    }

    /// Puts another number in place of one.
    fn number(&mut self, input: &mut Vec<u8>) {
        let from = self.0.random_range(0..=input.len());
        let Some(start) = input[from..]
            .iter()
            .position(u8::is_ascii_digit)
            .map(|at| from + at)
        else {
            return;
        };
        let length = input[start..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let digits = match self.0.random_range(0..3) {
            0 => self.0.next_u64().to_string(),
            1 => self.0.random_range(0..100_u8).to_string(),
            _ => "9".repeat(self.0.random_range(1..400)),
        };
        input.splice(start..start + length, digits.bytes());
    }

    /// Leaves out, doubles, moves or indents a line.
    fn line(&mut self, input: &mut Vec<u8>) {
        let mut lines: Vec<Vec<u8>> = input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let at = self.0.random_range(0..lines.len());
        match self.0.random_range(0..4) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2 => {
                let other = self.0.random_range(0..lines.len());
                lines.swap(at, other);
            }
            _ => lines[at].splice(0..0, b"  ".iter().copied()).for_each(drop),
        }
        *input = lines.join(&b'\n');
    }

    /// Changes the JSON in an input, if there is some, as JSON.
    fn json(&mut self, input: &mut Vec<u8>) {
        let Some(from) = input.iter().position(|byte| matches!(byte, b'{' | b'[')) else {
            return self.word(input);
        };
        let mut stream = serde_json::Deserializer::from_slice(&input[from..]).into_iter::<Value>();
        let Some(Ok(mut value)) = stream.next() else {
            return self.word(input);
        };
        let end = from + stream.byte_offset();
        json::change(&mut value, &mut self.0);
        let text = serde_json::to_vec(&value).unwrap_or_default();
        input.splice(from..end, text);
    }

    /// Opens so many levels that a parser that calls itself must mind its stack.
    fn nest(&mut self, input: &mut Vec<u8>) {
        let levels = *[100, 130, 600, 5_000, 30_000].choose(&mut self.0).unwrap_or(&100);
        let (open, close) = *OPENERS.choose(&mut self.0).unwrap_or(&OPENERS[0]);
        let at = self.0.random_range(0..=input.len());
        let closing = if self.0.random() {
            close.repeat(levels)
        } else {
            Vec::new()
        };
        let rest = input.split_off(at);
        input.extend(open.repeat(levels));
        input.extend(closing);
        input.extend(rest);
    }
}
