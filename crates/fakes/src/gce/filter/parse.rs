//! Reading filters: a scanner without tokens, because what a character means depends on where it stands (a
//! colon is an operator after a field and part of a timestamp after an operator).

use super::{Node, Test};

/// Parentheses deeper than this are refused, so that no filter can exhaust the stack.
const DEEPEST: u32 = 50;

type Parsed<T> = Result<T, String>;

/// Makes a test of the value that follows its operator.
type Make = fn(String) -> Test;

pub(super) fn parse(text: &str) -> Parsed<Node> {
    let mut scan = Scan { rest: text, depth: 0 };
    let node = scan.sequence()?;
    match scan.rest.is_empty() {
        true => Ok(node),
        false => Err(format!("Unexpected '{}'.", scan.rest)),
    }
}

struct Scan<'t> {
    rest: &'t str,
    depth: u32,
}

impl<'t> Scan<'t> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.space();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Eats a word operator: `AND`, `eq`; it must end there.
    fn eat_word(&mut self, word: &str) -> bool {
        self.space();
        let ends = |rest: &str| rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || c == '(');
        match self.rest.strip_prefix(word).filter(|rest| ends(rest)) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Factors joined by AND, or side by side.
    fn sequence(&mut self) -> Parsed<Node> {
        let (mut nodes, mut bare_matches) = (Vec::new(), 0);
        loop {
            let is_bare = {
                self.space();
                !self.rest.starts_with('(')
            };
            let node = self.factor()?;
            let is_match = matches!(
                node,
                Node::Compare {
                    test: Test::Matches(_) | Test::MatchesNot(_),
                    ..
                }
            );
            bare_matches += u32::from(is_bare && is_match);
            nodes.push(node);
            let joined = self.eat_word("AND");
            self.space();
            if !joined && (self.rest.is_empty() || self.rest.starts_with(')')) {
                break;
            }
        }
        if bare_matches > 0 && nodes.len() > 1 {
            return Err("Several expressions with eq or ne must each be in parentheses.".into());
        }
        Ok(if nodes.len() == 1 {
            nodes.remove(0)
        } else {
            Node::All(nodes)
        })
    }

    /// Terms joined by OR.
    fn factor(&mut self) -> Parsed<Node> {
        let mut nodes = vec![self.term()?];
        while self.eat_word("OR") {
            nodes.push(self.term()?);
        }
        Ok(if nodes.len() == 1 {
            nodes.remove(0)
        } else {
            Node::Any(nodes)
        })
    }

    fn term(&mut self) -> Parsed<Node> {
        if self.eat_word("NOT") || self.eat("-") {
            return Ok(Node::Not(Box::new(self.term_deeper()?)));
        }
        if self.eat("(") {
            self.deeper()?;
            let node = self.sequence()?;
            self.depth -= 1;
            return if self.eat(")") {
                Ok(node)
            } else {
                Err("A parenthesis is not closed.".into())
            };
        }
        self.comparison()
    }

    fn term_deeper(&mut self) -> Parsed<Node> {
        self.deeper()?;
        let node = self.term();
        self.depth -= 1;
        node
    }

    fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEEPEST {
            Err("It is nested too deep.".into())
        } else {
            Ok(())
        }
    }

    fn comparison(&mut self) -> Parsed<Node> {
        self.space();
        let is_path = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
        let end = self.rest.find(|c| !is_path(c)).unwrap_or(self.rest.len());
        let (path, rest) = self.rest.split_at(end);
        if path.is_empty() {
            return Err(format!("A field is expected at '{rest}'."));
        }
        self.rest = rest;
        let operators: [(&str, Make); 7] = [
            ("!=", Test::NotEqual),
            ("<=", Test::LessOrEqual),
            (">=", Test::MoreOrEqual),
            ("=", Test::Equal),
            ("<", Test::Less),
            (">", Test::More),
            (":", Test::Has),
        ];
        for (operator, test) in operators {
            if self.eat(operator) {
                return Ok(Node::Compare {
                    path: path.to_owned(),
                    test: test(self.value()?),
                });
            }
        }
        for (operator, test) in [
            ("eq", Test::Matches as fn(regex::Regex) -> Test),
            ("ne", Test::MatchesNot),
        ] {
            if self.eat_word(operator) {
                let pattern = self.value()?;
                let whole = format!("^(?:{pattern})$");
                let built = regex::RegexBuilder::new(&whole).size_limit(1 << 20).build();
                let pattern = built.map_err(|_| format!("'{pattern}' is not a regular expression."))?;
                return Ok(Node::Compare {
                    path: path.to_owned(),
                    test: test(pattern),
                });
            }
        }
        Err(format!("An operator is expected after '{path}'."))
    }

    fn value(&mut self) -> Parsed<String> {
        self.space();
        for quote in ['"', '\''] {
            if let Some(rest) = self.rest.strip_prefix(quote) {
                return self.quoted(rest, quote);
            }
        }
        // Outside quotes a value ends at a space or at a parenthesis that it did not open itself.
        let mut open = 0;
        let ends = |c: char| {
            open += i32::from(c == '(') - i32::from(c == ')');
            c.is_whitespace() || open < 0
        };
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (value, rest) = self.rest.split_at(end);
        if value.is_empty() {
            return Err("A value is missing.".into());
        }
        self.rest = rest;
        Ok(value.to_owned())
    }

    fn quoted(&mut self, rest: &'t str, quote: char) -> Parsed<String> {
        let mut value = String::new();
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
                c if c == quote => {
                    self.rest = &rest[at + c.len_utf8()..];
                    return Ok(value);
                }
                c => value.push(c),
            }
        }
        Err("A quote is not closed.".into())
    }
}
