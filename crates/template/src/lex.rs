//! Text into tokens.

use conex_spec::{Error, Result};

use crate::fault::fault;
use crate::literal;

/// A word of a template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// Text outside of `{{ }}`.
    Outside(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// A keyword, a function, `true`, `false`, `nil`.
    Word(String),
    /// `.Name`
    Field(String),
    /// `$name` or `$`
    Variable(String),
    Text(String),
    Int(i64),
    Float(f64),
    Dot,
    LeftParenthesis,
    RightParenthesis,
    Bar,
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

impl Token {
    /// As an error shows it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Outside(_) => "text".into(),
            Self::Open => "`{{`".into(),
            Self::Close => "`}}`".into(),
            Self::Word(word) => format!("`{}`", word.escape_debug()),
            Self::Field(name) => format!("`.{}`", name.escape_debug()),
            Self::Variable(name) => format!("`{}`", name.escape_debug()),
            Self::Text(text) => format!("\"{}\"", text.escape_debug()),
            Self::Int(number) => format!("`{number}`"),
            Self::Float(number) => format!("`{number}`"),
            Self::Dot => "`.`".into(),
            Self::LeftParenthesis => "`(`".into(),
            Self::RightParenthesis => "`)`".into(),
            Self::Bar => "`|`".into(),
            Self::Comma => "`,`".into(),
            Self::Declare => "`:=`".into(),
            Self::Assign => "`=`".into(),
        }
    }
}

/// A token and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) token: Token,
    /// Byte offset.
    pub(crate) at: usize,
    /// Whether white space stands before it.
    pub(crate) spaced: bool,
}

/// All tokens of a template. With `escapes`, `\n`, `\t` and `\\` outside of `{{ }}` are what Go's
/// strings make of them, as docker and podman have it on their command lines.
pub(crate) fn lex(source: &str, escapes: bool) -> Result<Vec<Placed>> {
    let mut lexer = Lexer { source, at: 0, spaced: false, escapes, tokens: Vec::new() };
    lexer.run()?;
    Ok(lexer.tokens)
}

/// What `{{-` and `-}}` remove.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

struct Lexer<'t> {
    source: &'t str,
    at: usize,
    spaced: bool,
    escapes: bool,
    tokens: Vec<Placed>,
}

impl<'t> Lexer<'t> {
    fn run(&mut self) -> Result<()> {
        let mut trims = false;
        loop {
            let start = self.at;
            let rest = &self.source[start..];
            let length = rest.find("{{").unwrap_or(rest.len());
            let mut text = &rest[..length];
            if trims {
                text = text.trim_start_matches(SPACE);
            }
            let open = start + length;
            let action = &self.source[open..];
            let marked = action.strip_prefix("{{-").is_some_and(|rest| rest.starts_with(SPACE));
            if marked {
                text = text.trim_end_matches(SPACE);
            }
            if !text.is_empty() {
                let text = if self.escapes { unescape(text) } else { text.to_owned() };
                self.tokens.push(Placed { token: Token::Outside(text), at: start, spaced: false });
            }
            if action.is_empty() {
                return Ok(());
            }
            // The white space after `{{-` belongs to the marker.
            self.at = open + if marked { 4 } else { 2 };
            trims = if self.rest().starts_with("/*") {
                self.comment(open)?
            } else {
                self.push_at(Token::Open, open);
                self.action(open)?
            };
        }
    }

    /// `/* … */`, which fills its action; whether the action trims what follows.
    fn comment(&mut self, open: usize) -> Result<bool> {
        let Some(length) = self.rest().find("*/") else {
            return Err(self.fault(open, "comment has no end").expected("`*/}}`"));
        };
        self.at += length + 2;
        let rest = self.rest();
        if rest.starts_with("}}") {
            self.at += 2;
            return Ok(false);
        }
        if rest.starts_with(SPACE) && rest[1..].starts_with("-}}") {
            self.at += 4;
            return Ok(true);
        }
        Err(self.fault(self.at, "comment does not fill its action").expected("`*/}}` or `*/ -}}`"))
    }

    /// Up to `}}`; whether it trims what follows.
    fn action(&mut self, open: usize) -> Result<bool> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches(SPACE);
            self.spaced = trimmed.len() < rest.len();
            self.at += rest.len() - trimmed.len();
            let trims = self.spaced && trimmed.starts_with("-}}");
            if trims || trimmed.starts_with("}}") {
                let at = self.at;
                self.at += if trims { 3 } else { 2 };
                self.push_at(Token::Close, at);
                return Ok(trims);
            }
            if trimmed.is_empty() {
                return Err(self.fault(open, "action has no end").expected("`}}`"));
            }
            self.token()?;
        }
    }

    fn token(&mut self) -> Result<()> {
        let rest = self.rest();
        let mut chars = rest.chars();
        let first = chars.next().unwrap_or_default();
        let second = chars.next().unwrap_or_default();
        match first {
            '(' => self.single(Token::LeftParenthesis),
            ')' => self.single(Token::RightParenthesis),
            '|' => self.single(Token::Bar),
            ',' => self.single(Token::Comma),
            '=' => self.single(Token::Assign),
            ':' if second == '=' => {
                let at = self.at;
                self.at += 2;
                self.push_at(Token::Declare, at);
            }
            '"' | '`' | '\'' => return self.quoted(first),
            '.' if !second.is_ascii_digit() => {
                let name = word(&rest[1..]);
                let token =
                    if name.is_empty() { Token::Dot } else { Token::Field(name.to_owned()) };
                return self.operand(token, 1 + name.len());
            }
            '$' => {
                let length = 1 + word(&rest[1..]).len();
                return self.operand(Token::Variable(rest[..length].to_owned()), length);
            }
            '0'..='9' | '.' => return self.number(),
            '+' | '-' if second.is_ascii_digit() || second == '.' => return self.number(),
            first if is_word(first) => {
                let name = word(rest);
                return self.operand(Token::Word(name.to_owned()), name.len());
            }
            other => {
                return Err(self
                    .fault(self.at, "unexpected character")
                    .expected("a field, function, variable, number, string or `}}`")
                    .found(format!("`{}`", other.escape_debug())));
            }
        }
        Ok(())
    }

    fn number(&mut self) -> Result<()> {
        let rest = self.rest();
        // Signs belong to it at its start and in an exponent.
        let hexadecimal =
            rest.trim_start_matches(['+', '-']).to_ascii_lowercase().starts_with("0x");
        let mut before = ' ';
        let length = rest
            .char_indices()
            .find(|&(at, c)| {
                let sign = matches!(c, '+' | '-')
                    && (at == 0
                        || (matches!(before, 'e' | 'E') && !hexadecimal)
                        || matches!(before, 'p' | 'P'));
                before = c;
                !(sign || c == '.' || is_word(c))
            })
            .map_or(rest.len(), |(at, _)| at);
        let text = &rest[..length];
        let token = literal::number(text).ok_or_else(|| {
            self.fault(self.at, "not a number that fits")
                .expected("an integer of 64 bits or a decimal number")
                .found(format!("`{}`", text.escape_debug()))
        })?;
        self.operand(token, length)
    }

    fn quoted(&mut self, quote: char) -> Result<()> {
        let rest = self.rest();
        let Some(length) = literal::end(rest, quote) else {
            return Err(self.fault(self.at, "string has no end").expected(format!("`{quote}`")));
        };
        let inner = &rest[1..length - 1];
        let fault = |found: &str| {
            self.fault(self.at, "string breaks the rules of Go")
                .expected("escapes as \\n, \\\", \\x41, \\u00e9, and one character between `'`")
                .found(format!("`{}`", found.escape_debug()))
        };
        let token = match quote {
            '`' => Token::Text(inner.replace('\r', "")),
            '"' => Token::Text(literal::unquote(inner, '"').map_err(|bad| fault(&bad))?),
            _ => {
                let text = literal::unquote(inner, '\'').map_err(|bad| fault(&bad))?;
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(only), None) => Token::Int(i64::from(u32::from(only))),
                    _ => return Err(fault(inner)),
                }
            }
        };
        self.operand(token, length)
    }

    /// A word of a command ends where something else starts.
    fn operand(&mut self, token: Token, length: usize) -> Result<()> {
        let at = self.at;
        self.at += length;
        let next = self.rest().chars().next();
        let ends = next.is_none_or(|c| SPACE.contains(&c) || ".,|:=()".contains(c))
            || self.rest().starts_with("}}");
        if !ends {
            return Err(self
                .fault(self.at, "unexpected character")
                .expected(format!("white space after {}", token.shown()))
                .found(format!("`{}`", next.unwrap_or_default().escape_debug())));
        }
        self.push_at(token, at);
        Ok(())
    }

    fn single(&mut self, token: Token) {
        self.push_at(token, self.at);
        self.at += 1;
    }

    fn push_at(&mut self, token: Token, at: usize) {
        self.tokens.push(Placed { token, at, spaced: self.spaced });
        self.spaced = false;
    }

    fn rest(&self) -> &'t str {
        &self.source[self.at..]
    }

    fn fault(&self, at: usize, message: &str) -> Error {
        fault(self.source, at, message)
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn word(text: &str) -> &str {
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.clone().next() } else { None };
        plain.push(match escaped {
            Some('n') => '\n',
            Some('t') => '\t',
            _ => {
                plain.push(c);
                continue;
            }
        });
        chars.next();
    }
    plain
}
