//! A condition cut into words.

use regex::{Regex, RegexBuilder};

use super::Problem;
use super::expand::{self, Expansion, Piece};

#[derive(Clone, Debug)]
pub(super) enum Word {
    /// Text, in pieces where something is to be put into it.
    Text(Vec<Piece>),
    Number(i64),
    Regex(Regex),
    /// A name, which may have dots; also `true`, `false`, `null` and `includes`.
    Name(String),
    Expansion(Expansion),
    Sign(&'static str),
    End,
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) word: Word,
    /// The character at which it begins, from 1.
    pub(super) at: usize,
}

/// The longer ones first.
const SIGNS: [&str; 13] = [
    "==", "!=", "=~", "!~", "&&", "||", "!", "(", ")", "[", "]", ",", "?",
];

/// All words of a condition; the last is [`Word::End`].
pub(super) fn cut(text: &str) -> Result<Vec<Token>, Problem> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(char) = chars.get(at) {
        if char.is_ascii_whitespace() {
            at += 1;
        } else if chars[at..].starts_with(&['/', '/']) {
            at = chars[at..]
                .iter()
                .position(|char| *char == '\n')
                .map_or(chars.len(), |to| at + to);
        } else {
            let (word, end) = word(&chars, at)?;
            tokens.push(Token { word, at: at + 1 });
            at = end;
        }
    }
    tokens.push(Token {
        word: Word::End,
        at: chars.len() + 1,
    });
    Ok(tokens)
}

/// The word that begins there, and where it ends.
fn word(chars: &[char], at: usize) -> Result<(Word, usize), Problem> {
    match chars[at] {
        '"' => {
            let (pieces, end) = expand::quoted(chars, at)?;
            Ok((Word::Text(pieces), end))
        }
        '\'' => single_quoted(chars, at),
        '/' => regex(chars, at),
        '$' => {
            let (expansion, end) = expand::read(chars, at)?;
            Ok((Word::Expansion(expansion), end))
        }
        char if char.is_ascii_digit() => {
            let end = run(chars, at, |char| char.is_ascii_digit());
            let digits: String = chars[at..end].iter().collect();
            let number = digits.parse();
            let number = number.map_err(|_| Problem::new(at + 1, format!("{digits} is too large")))?;
            Ok((Word::Number(number), end))
        }
        char if is_name(char) => {
            let end = run(chars, at, |char| {
                is_name(char) || char.is_ascii_digit() || char == '.'
            });
            let name: String = chars[at..end].iter().collect();
            if name.ends_with('.') || name.contains("..") {
                return Err(Problem::new(at + 1, format!("`{name}` is not a name")));
            }
            Ok((Word::Name(name), end))
        }
        ':' => Ok((Word::Sign(":"), at + 1)),
        char => {
            let begins = |sign: &&&str| {
                let mut there = chars[at..].iter();
                sign.chars().all(|char| there.next() == Some(&char))
            };
            match SIGNS.iter().find(begins) {
                Some(sign) => Ok((Word::Sign(sign), at + sign.len())),
                None => Err(Problem::new(at + 1, format!("unexpected {char:?}"))),
            }
        }
    }
}

pub(super) fn is_name(char: char) -> bool {
    char.is_ascii_alphabetic() || char == '_'
}

/// Where the run of such characters ends.
pub(super) fn run(chars: &[char], from: usize, is: impl Fn(char) -> bool) -> usize {
    let more = chars[from..].iter().take_while(|char| is(**char)).count();
    from + more
}

/// Nothing is put into text in single quotes, and a backslash guards only itself and the quote.
fn single_quoted(chars: &[char], from: usize) -> Result<(Word, usize), Problem> {
    let mut text = String::new();
    let mut at = from + 1;
    loop {
        match (chars.get(at), chars.get(at + 1)) {
            (None, _) => return Err(Problem::new(from + 1, "text without an end")),
            (Some('\''), _) => return Ok((Word::Text(vec![Piece::Text(text)]), at + 1)),
            (Some('\\'), Some(guarded @ ('\\' | '\''))) => {
                text.push(*guarded);
                at += 2;
            }
            (Some(char), _) => {
                text.push(*char);
                at += 1;
            }
        }
    }
}

fn regex(chars: &[char], from: usize) -> Result<(Word, usize), Problem> {
    let mut end = from + 1;
    while chars.get(end).is_some_and(|char| *char != '/') {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    if end >= chars.len() {
        return Err(Problem::new(from + 1, "regular expression without an end"));
    }
    let after = run(chars, end + 1, |char| char.is_ascii_alphabetic());
    let flags = &chars[end + 1..after];
    if let Some(flag) = flags.iter().find(|flag| **flag != 'i') {
        let what = format!("the flag `{flag}` of a regular expression is not supported");
        return Err(Problem::new(end + 2, what));
    }
    let pattern: String = chars[from + 1..end].iter().collect();
    if let Some(feature) = refused_feature(&pattern) {
        let what = format!("{feature} are not supported in regular expressions");
        return Err(Problem::new(from + 1, what));
    }
    let built = RegexBuilder::new(&pattern)
        .case_insensitive(!flags.is_empty())
        .build();
    // What the library says has several lines; the last tells what is wrong.
    let words = |error: regex::Error| {
        let all = error.to_string();
        let last = all.lines().last().unwrap_or_default();
        format!(
            "the regular expression is not valid: {}",
            last.trim_start_matches("error: ")
        )
    };
    match built {
        Ok(regex) => Ok((Word::Regex(regex), after)),
        Err(error) => Err(Problem::new(from + 1, words(error))),
    }
}

/// What the library would take, but Buildkite refuses.
fn refused_feature(pattern: &str) -> Option<&'static str> {
    let (mut in_class, mut before) = (false, ' ');
    let mut rest = pattern;
    while let Some(char) = rest.chars().next() {
        if char == '\\' {
            let guarded = rest.chars().nth(1).map_or(0, char::len_utf8);
            rest = &rest[1 + guarded..];
            before = ' ';
            continue;
        }
        match char {
            ']' => in_class = false,
            '[' => in_class = true,
            '(' if !in_class && ["(?<", "(?P<"].iter().any(|named| rest.starts_with(named)) => {
                let behind = rest.starts_with("(?<=") || rest.starts_with("(?<!");
                return Some(if behind { "lookbehinds" } else { "named groups" });
            }
            '+' if !in_class && ['?', '*', '+', '}'].contains(&before) => {
                return Some("possessive quantifiers");
            }
            _ => {}
        }
        before = char;
        rest = &rest[char.len_utf8()..];
    }
    None
}
