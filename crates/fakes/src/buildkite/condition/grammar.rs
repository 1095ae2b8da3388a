//! Words put together.

use super::expand::Piece;
use super::words::{Token, Word};
use super::{Comparator, Expr, Node, Problem, Value, variables};

/// So deep can a condition be nested: nobody writes that by hand, and no stack is too small for it.
const DEPTH: usize = 100;

pub(super) fn read(tokens: Vec<Token>) -> Result<Node, Problem> {
    let mut reader = Reader {
        tokens,
        next: 0,
        depth: 0,
    };
    if matches!(reader.peek().word, Word::End) {
        return Err(Problem::new(1, "the condition is empty"));
    }
    let node = reader.expression()?;
    match reader.peek().word {
        Word::End => Ok(node),
        _ => Err(reader.unexpected()),
    }
}

struct Reader {
    /// The last is always the end.
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

impl Reader {
    fn peek(&self) -> &Token {
        &self.tokens[self.next]
    }

    fn take(&mut self) -> Token {
        let token = self.tokens[self.next].clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    /// Takes the sign if it is next.
    fn sign(&mut self, wanted: &str) -> bool {
        let there = matches!(self.peek().word, Word::Sign(sign) if sign == wanted);
        if there {
            self.take();
        }
        there
    }

    fn must(&mut self, wanted: &str) -> Result<(), Problem> {
        if self.sign(wanted) {
            return Ok(());
        }
        let problem = self.unexpected();
        Err(Problem {
            what: format!("{}, expected `{wanted}`", problem.what),
            ..problem
        })
    }

    fn unexpected(&self) -> Problem {
        let token = self.peek();
        let what = match &token.word {
            Word::End => "unexpected end".to_owned(),
            Word::Sign(sign) => format!("unexpected `{sign}`"),
            Word::Name(name) => format!("unexpected `{name}`"),
            Word::Number(number) => format!("unexpected {number}"),
            Word::Text(_) => "unexpected text".to_owned(),
            Word::Regex(_) => "unexpected regular expression".to_owned(),
            Word::Expansion(_) => "unexpected expansion".to_owned(),
        };
        Problem::new(token.at, what)
    }

    /// Whatever can nest goes through here.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Problem>) -> Result<T, Problem> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Problem::new(self.peek().at, "the condition is nested too deeply"));
        }
        let done = read(self);
        self.depth -= 1;
        done
    }

    fn expression(&mut self) -> Result<Node, Problem> {
        self.deeper(|reader| {
            let condition = reader.any()?;
            if !reader.sign("?") {
                return Ok(condition);
            }
            let at = condition.at;
            let yes = reader.expression()?;
            reader.must(":")?;
            let no = reader.expression()?;
            let expr = Expr::Choose(Box::new([condition, yes, no]));
            Ok(Node { at, expr })
        })
    }

    fn any(&mut self) -> Result<Node, Problem> {
        let first = self.all()?;
        self.chain("||", first, Self::all, Expr::Any)
    }

    fn all(&mut self) -> Result<Node, Problem> {
        let first = self.comparison()?;
        self.chain("&&", first, Self::comparison, Expr::All)
    }

    fn chain(
        &mut self,
        sign: &str,
        first: Node,
        more: impl Fn(&mut Self) -> Result<Node, Problem>,
        together: impl Fn(Vec<Node>) -> Expr,
    ) -> Result<Node, Problem> {
        let at = first.at;
        let mut nodes = vec![first];
        while self.sign(sign) {
            nodes.push(more(self)?);
        }
        if nodes.len() > 1 {
            let expr = together(nodes);
            return Ok(Node { at, expr });
        }
        nodes.pop().ok_or_else(|| self.unexpected())
    }

    fn comparator(&mut self) -> Option<Comparator> {
        let comparator = match &self.peek().word {
            Word::Sign("==") => Comparator::Equal,
            Word::Sign("!=") => Comparator::Differs,
            Word::Sign("=~") => Comparator::Matches,
            Word::Sign("!~") => Comparator::MatchesNot,
            Word::Name(name) if name == "includes" => Comparator::Includes,
            _ => return None,
        };
        self.take();
        Some(comparator)
    }

    /// Comparisons in a row are read from the left, each one deeper than the one before it.
    fn comparison(&mut self) -> Result<Node, Problem> {
        let mut left = self.operand()?;
        let depth = self.depth;
        while let Some(comparator) = self.comparator() {
            self.depth += 1;
            let right = self.operand()?;
            let at = left.at;
            let expr = Expr::Compare(comparator, Box::new((left, right)));
            left = Node { at, expr };
        }
        self.depth = depth;
        Ok(left)
    }

    fn operand(&mut self) -> Result<Node, Problem> {
        self.deeper(|reader| {
            let at = reader.peek().at;
            if reader.sign("!") {
                let expr = Expr::Not(Box::new(reader.operand()?));
                return Ok(Node { at, expr });
            }
            if reader.sign("(") {
                let node = reader.expression()?;
                reader.must(")")?;
                return Ok(node);
            }
            if reader.sign("[") {
                let expr = Expr::List(reader.items()?);
                return Ok(Node { at, expr });
            }
            let expr = match reader.peek().word.clone() {
                Word::Sign(_) | Word::End => return Err(reader.unexpected()),
                Word::Number(number) => Expr::Value(Value::Number(number)),
                Word::Regex(regex) => Expr::Regex(regex),
                Word::Expansion(expansion) => Expr::Expansion(expansion),
                Word::Text(pieces) => text(pieces),
                Word::Name(name) => {
                    reader.take();
                    let expr = reader.named(at, &name)?;
                    return Ok(Node { at, expr });
                }
            };
            reader.take();
            Ok(Node { at, expr })
        })
    }

    fn items(&mut self) -> Result<Vec<Node>, Problem> {
        let mut items = Vec::new();
        if self.sign("]") {
            return Ok(items);
        }
        loop {
            items.push(self.expression()?);
            if !self.sign(",") {
                self.must("]")?;
                return Ok(items);
            }
        }
    }

    /// What a name is: a literal, a call, or a variable.
    fn named(&mut self, at: usize, name: &str) -> Result<Expr, Problem> {
        match name {
            "true" => return Ok(Expr::Value(Value::Flag(true))),
            "false" => return Ok(Expr::Value(Value::Flag(false))),
            "null" => return Ok(Expr::Value(Value::Null)),
            "includes" => return Err(Problem::new(at, "unexpected `includes`")),
            _ => {}
        }
        if !self.sign("(") {
            return variables::find(at, name);
        }
        if !matches!(name, "env" | "build.env") {
            return Err(Problem::new(at, format!("`{name}` is not a function")));
        }
        if self.sign(")") {
            return Err(Problem::new(at, format!("`{name}` takes the name of a variable")));
        }
        let argument = self.expression()?;
        self.must(")")?;
        if let Expr::Value(Value::Text(variable)) = &argument.expr {
            variables::check_env(argument.at, variable)?;
        }
        Ok(Expr::Env {
            nullable: name == "build.env",
            name: Box::new(argument),
        })
    }
}

/// Text into which nothing is put is a value.
fn text(pieces: Vec<Piece>) -> Expr {
    match pieces.as_slice() {
        [Piece::Text(text)] => Expr::Value(Value::Text(text.clone())),
        _ => Expr::Template(pieces),
    }
}
