//! Text in double quotes, and what is put into it from the environment: `$NAME` and `${NAME…}`.

use super::words::{is_name, run};
use super::{Facts, Problem};

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Env(Expansion),
}

/// A variable of the environment, with what stands for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expansion {
    name: String,
    instead: Instead,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Instead {
    Nothing,
    /// `${NAME-text}`: where it is not set; with `:` also where it is empty.
    Unset {
        colon: bool,
        text: String,
    },
    /// `${NAME+text}`: where it is set; with `:` only where it is not empty.
    Set {
        colon: bool,
        text: String,
    },
}

impl Expansion {
    /// Its value; none where the variable is not set.
    pub(super) fn value(&self, facts: &dyn Facts) -> Option<String> {
        let is = facts.env(&self.name);
        let has = |colon: bool| is.as_ref().is_some_and(|is| !colon || !is.is_empty());
        match &self.instead {
            Instead::Nothing => is,
            Instead::Unset { colon, .. } if has(*colon) => is,
            Instead::Unset { text, .. } => Some(text.clone()),
            Instead::Set { colon, text } => Some(if has(*colon) { text.clone() } else { String::new() }),
        }
    }
}

/// The pieces put together.
pub(super) fn text(pieces: &[Piece], facts: &dyn Facts) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Env(expansion) => expansion.value(facts).unwrap_or_default(),
        })
        .collect()
}

/// Text in double quotes, and where it ends.
pub(super) fn quoted(chars: &[char], from: usize) -> Result<(Vec<Piece>, usize), Problem> {
    let unended = || Problem::new(from + 1, "text without an end");
    let (mut pieces, mut text, mut at) = (Vec::new(), String::new(), from + 1);
    loop {
        let next = chars.get(at + 1);
        match chars.get(at).ok_or_else(unended)? {
            '"' => {
                if pieces.is_empty() || !text.is_empty() {
                    pieces.push(Piece::Text(text));
                }
                return Ok((pieces, at + 1));
            }
            '\\' => {
                let (char, end) = escaped(chars, at).ok_or_else(unended)?;
                text.push(char);
                at = end;
            }
            '$' if next == Some(&'$') => {
                text.push('$');
                at += 2;
            }
            '$' if next.is_some_and(|next| is_name(*next) || *next == '{') => {
                let (expansion, end) = read(chars, at)?;
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(Piece::Env(expansion));
                at = end;
            }
            char => {
                text.push(*char);
                at += 1;
            }
        }
    }
}

/// The character that a backslash and what follows stand for, and where that ends.
fn escaped(chars: &[char], at: usize) -> Option<(char, usize)> {
    let next = *chars.get(at + 1)?;
    let code = |digits: &[char], base| {
        let digits: String = digits.iter().collect();
        let code = u32::from_str_radix(&digits, base).ok()?;
        char::from_u32(code & 0xff)
    };
    Some(match next {
        'n' => ('\n', at + 2),
        's' => (' ', at + 2),
        'r' => ('\r', at + 2),
        't' => ('\t', at + 2),
        'v' => ('\u{b}', at + 2),
        'f' => ('\u{c}', at + 2),
        'b' => ('\u{8}', at + 2),
        'a' => ('\u{7}', at + 2),
        'e' => ('\u{1b}', at + 2),
        'x' => match chars.get(at + 2..at + 4) {
            Some(digits) if digits.iter().all(char::is_ascii_hexdigit) => (code(digits, 16)?, at + 4),
            _ => ('x', at + 2),
        },
        '0'..='7' => {
            let end = run(chars, at + 1, |char| ('0'..='7').contains(&char)).min(at + 4);
            (code(&chars[at + 1..end], 8)?, end)
        }
        other => (other, at + 2),
    })
}

/// `$NAME` or `${NAME…}`, and where it ends.
pub(super) fn read(chars: &[char], from: usize) -> Result<(Expansion, usize), Problem> {
    let wrong = |what: &str| Problem::new(from + 1, format!("an expansion {what}"));
    let braced = chars.get(from + 1) == Some(&'{');
    let begin = from + if braced { 2 } else { 1 };
    let part = |char: char| is_name(char) || char.is_ascii_digit();
    let end = match chars.get(begin) {
        Some(first) if is_name(*first) => run(chars, begin, part),
        _ => return Err(wrong("must have the name of a variable")),
    };
    let name: String = chars[begin..end].iter().collect();
    if !braced {
        let instead = Instead::Nothing;
        return Ok((Expansion { name, instead }, end));
    }
    let close = chars[end..].iter().position(|char| *char == '}');
    let close = end + close.ok_or_else(|| wrong("has no end"))?;
    let rest: String = chars[end..close].iter().collect();
    let (colon, rule) = match rest.strip_prefix(':') {
        Some(rule) => (true, rule),
        None => (false, rest.as_str()),
    };
    let plain = |text: &str| !text.contains(['$', '"', '\'', '\\']);
    let instead = match (rule.chars().next(), rule.get(1..)) {
        (None, _) if !colon => Instead::Nothing,
        (Some('-'), Some(text)) if plain(text) => Instead::Unset {
            colon,
            text: text.to_owned(),
        },
        (Some('+'), Some(text)) if plain(text) => Instead::Set {
            colon,
            text: text.to_owned(),
        },
        _ => return Err(wrong("can have no more than `-` or `+` and plain text here")),
    };
    Ok((Expansion { name, instead }, close + 1))
}
