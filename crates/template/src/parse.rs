//! Tokens into nodes.

use std::collections::HashMap;

use conex_spec::{Error, Kind, Result};

use crate::fault::{fault, place};
use crate::functions;
use crate::lex::{Placed, Token};
use crate::syntax::{Branch, Command, List, Node, Operand, Pipeline, Term};

/// Actions and parentheses nested deeper than this are no real template.
const MAX_DEPTH: usize = 200;

/// The name under which the template itself is found.
pub(crate) const MAIN: &str = "";

/// Parses a template and what it defines.
pub(crate) fn parse(source: &str, tokens: Vec<Placed>) -> Result<HashMap<String, List>> {
    let mut parser = Parser {
        source,
        tokens,
        next: 0,
        variables: vec!["$".to_owned()],
        defined: HashMap::new(),
        depth: 0,
        loops: 0,
    };
    let (main, stop) = parser.list()?;
    parser.expect_stop(&stop, Stop::Text)?;
    parser.defined.insert(MAIN.to_owned(), main);
    Ok(parser.defined)
}

struct Parser<'t> {
    source: &'t str,
    tokens: Vec<Placed>,
    next: usize,
    /// Those in scope.
    variables: Vec<String>,
    defined: HashMap<String, List>,
    depth: usize,
    /// How many `range` are around.
    loops: usize,
}

/// Where a list ends.
#[derive(PartialEq)]
enum Stop {
    /// At the end of the text.
    Text,
    /// At `{{end}}`, which is read.
    End(usize),
    /// After the word `else`.
    Else(usize),
}

impl Parser<'_> {
    fn list(&mut self) -> Result<(List, Stop)> {
        self.deeper()?;
        let mut nodes = List::new();
        let stop = loop {
            let Some(placed) = self.take() else { break Stop::Text };
            if let Token::Outside(text) = placed.token {
                nodes.push(Node::Text(text));
                continue;
            }
            let at = placed.at;
            match self.keyword() {
                Some("end") => {
                    self.close("end")?;
                    break Stop::End(at);
                }
                Some("else") => break Stop::Else(at),
                Some("define") => self.define(at)?,
                Some(keyword) => nodes.push(self.control(keyword, at)?),
                None => {
                    let pipeline = self.pipeline(&Token::Close, "action")?;
                    nodes.push(Node::Action(pipeline));
                }
            }
        };
        self.depth -= 1;
        Ok((nodes, stop))
    }

    /// The keyword that comes next, read.
    fn keyword(&mut self) -> Option<&'static str> {
        const KEYWORDS: [&str; 10] = [
            "block", "break", "continue", "define", "else", "end", "if", "range", "template",
            "with",
        ];
        let Some(Token::Word(word)) = self.peek() else { return None };
        let keyword = KEYWORDS.into_iter().find(|keyword| keyword == word)?;
        self.next += 1;
        Some(keyword)
    }

    fn control(&mut self, keyword: &'static str, at: usize) -> Result<Node> {
        match keyword {
            "if" => self.branch("if", at).map(Node::If),
            "with" => self.branch("with", at).map(Node::With),
            "range" => {
                self.loops += 1;
                let branch = self.branch("range", at);
                self.loops -= 1;
                branch.map(Node::Range)
            }
            "template" => self.template(at),
            "block" => self.block(at),
            jump => {
                if self.loops == 0 {
                    return Err(self.fault(at, &format!("`{jump}` is not inside of `range`")));
                }
                self.close(jump)?;
                Ok(if jump == "break" { Node::Break } else { Node::Continue })
            }
        }
    }

    /// A condition up to its `{{end}}`. `{{else if …}}` is an `if` in the other branch.
    fn branch(&mut self, keyword: &'static str, at: usize) -> Result<Branch> {
        self.deeper()?;
        let scope = self.variables.len();
        let pipeline = self.pipeline(&Token::Close, keyword)?;
        let inner = self.variables.len();
        let (then, stop) = self.list()?;
        self.variables.truncate(inner);
        let otherwise = match stop {
            Stop::End(_) => List::new(),
            Stop::Text => return Err(self.unfinished(keyword, at)),
            Stop::Else(at) => self.otherwise(keyword, at)?,
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(Branch { pipeline, then, otherwise })
    }

    fn otherwise(&mut self, keyword: &'static str, at: usize) -> Result<List> {
        if keyword != "range" && self.peek() == Some(&Token::Word(keyword.to_owned())) {
            self.next += 1;
            return Ok(vec![self.control(keyword, at)?]);
        }
        self.close("else")?;
        let (list, stop) = self.list()?;
        match stop {
            Stop::End(_) => Ok(list),
            Stop::Text => Err(self.unfinished(keyword, at)),
            Stop::Else(again) => Err(self.fault(again, "second `else`").expected("`{{end}}`")),
        }
    }

    /// `{{define "name"}} … {{end}}`
    fn define(&mut self, at: usize) -> Result<()> {
        if self.depth > 1 {
            return Err(self.fault(at, "`define` is inside of another action"));
        }
        let name = self.name("define")?;
        self.close("define")?;
        self.body(name, at, "define")
    }

    /// `{{block "name" pipeline}} … {{end}}`: a definition and its use in one.
    fn block(&mut self, at: usize) -> Result<Node> {
        let name = self.name("block")?;
        let pipeline = self.pipeline(&Token::Close, "block")?;
        self.body(name.clone(), at, "block")?;
        Ok(Node::Template { at, name, pipeline: Some(pipeline) })
    }

    /// The list of a template of its own, which sees none of the variables around it.
    fn body(&mut self, name: String, at: usize, keyword: &str) -> Result<()> {
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let loops = std::mem::take(&mut self.loops);
        let (list, stop) = self.list()?;
        if stop == Stop::Text {
            return Err(self.unfinished(keyword, at));
        }
        self.expect_stop(&stop, Stop::End(0))?;
        self.variables = outer;
        self.loops = loops;
        self.defined.insert(name, list);
        Ok(())
    }

    /// `{{template "name"}}` or `{{template "name" pipeline}}`
    fn template(&mut self, at: usize) -> Result<Node> {
        let name = self.name("template")?;
        let pipeline = if self.peek() == Some(&Token::Close) {
            self.next += 1;
            None
        } else {
            Some(self.pipeline(&Token::Close, "template")?)
        };
        Ok(Node::Template { at, name, pipeline })
    }

    fn name(&mut self, keyword: &str) -> Result<String> {
        match self.take() {
            Some(Placed { token: Token::Text(name), .. }) => Ok(name),
            other => Err(self.unexpected(other.as_ref(), keyword).expected("a name in quotes")),
        }
    }

    /// Up to `end`, which is read.
    fn pipeline(&mut self, end: &Token, place: &str) -> Result<Pipeline> {
        self.deeper()?;
        let at = self.position();
        let (variables, assigns) = self.declaration(place)?;
        let mut commands = Vec::new();
        loop {
            let command = self.command(place)?;
            // Only a function takes the value of the command before it.
            if let (false, Some(first)) = (commands.is_empty(), command.operands.first())
                && is_value(first)
            {
                return Err(self
                    .fault(first.at, "pipeline leads into a value")
                    .expected("a function after `|`"));
            }
            commands.push(command);
            match self.take() {
                Some(Placed { token: Token::Bar, .. }) => {}
                Some(Placed { token, .. }) if token == *end => break,
                other => {
                    return Err(self
                        .unexpected(other.as_ref(), place)
                        .expected(format!("an operand, `|` or {}", end.shown())));
                }
            }
        }
        if !assigns {
            self.variables.extend(variables.iter().cloned());
        }
        self.depth -= 1;
        Ok(Pipeline { at, variables, assigns, commands })
    }

    /// `$x :=`, `$x =`, and in a `range` `$i, $x :=`.
    fn declaration(&mut self, place: &str) -> Result<(Vec<String>, bool)> {
        let token = |ahead: usize| self.tokens.get(self.next + ahead).map(|placed| &placed.token);
        let (names, length) = match (token(0), token(1), token(2), token(3)) {
            (Some(Token::Variable(name)), Some(Token::Declare | Token::Assign), ..) => {
                (vec![name.clone()], 1)
            }
            (
                Some(Token::Variable(first)),
                Some(Token::Comma),
                Some(Token::Variable(second)),
                Some(Token::Declare | Token::Assign),
            ) => (vec![first.clone(), second.clone()], 3),
            _ => return Ok((Vec::new(), false)),
        };
        let at = self.position();
        if names.len() > 1 && place != "range" {
            return Err(self.fault(at, "too many variables").expected("one outside of `range`"));
        }
        let assigns = token(length) == Some(&Token::Assign);
        if assigns {
            names.iter().try_for_each(|name| self.known(name, at))?;
        }
        self.next += length + 1;
        Ok((names, assigns))
    }

    fn command(&mut self, place: &str) -> Result<Command> {
        let at = self.position();
        let mut operands = Vec::new();
        loop {
            match self.peek() {
                None
                | Some(
                    Token::Close
                    | Token::RightParenthesis
                    | Token::Bar
                    | Token::Comma
                    | Token::Declare
                    | Token::Assign
                    | Token::Outside(_)
                    | Token::Open,
                ) => break,
                Some(_) => operands.push(self.operand(place)?),
            }
        }
        if operands.is_empty() {
            let found = self.peek().map_or("the end".into(), Token::shown);
            return Err(self.fault(at, &format!("missing value for {place}")).found(found));
        }
        Ok(Command { at, operands })
    }

    fn operand(&mut self, place: &str) -> Result<Operand> {
        let Some(placed) = self.take() else { return Err(self.unexpected(None, place)) };
        let at = placed.at;
        let mut fields = Vec::new();
        let term = match placed.token.clone() {
            Token::Dot => Term::Dot,
            Token::Text(text) => Term::Text(text.into()),
            Token::Int(number) => Term::Int(number),
            Token::Float(number) => Term::Float(number),
            Token::Field(name) => {
                fields.push(name);
                Term::Dot
            }
            Token::Variable(name) => {
                self.known(&name, at)?;
                Term::Variable(name)
            }
            Token::Word(word) => self.word(word, at)?,
            Token::LeftParenthesis => {
                Term::Pipeline(Box::new(self.pipeline(&Token::RightParenthesis, "parentheses")?))
            }
            _ => return Err(self.unexpected(Some(&placed), place)),
        };
        let chains = !fields.is_empty()
            || matches!(term, Term::Variable(_) | Term::Function(_) | Term::Pipeline(_));
        while let Some(Placed { token: Token::Field(name), spaced: false, at }) =
            self.tokens.get(self.next)
        {
            if !chains {
                return Err(self.fault(*at, "a value has no fields").found(format!("`.{name}`")));
            }
            fields.push(name.clone());
            self.next += 1;
        }
        Ok(Operand { at, term, fields })
    }

    fn word(&self, word: String, at: usize) -> Result<Term> {
        match word.as_str() {
            "true" => Ok(Term::Bool(true)),
            "false" => Ok(Term::Bool(false)),
            "nil" => Ok(Term::Nil),
            name if functions::is_known(name) => Ok(Term::Function(word)),
            _ => Err(self
                .fault(at, "unknown function")
                .expected(functions::names())
                .found(format!("`{}`", word.escape_debug()))
                .hint(format!("a field is written `.{}`", word.escape_debug()))),
        }
    }

    fn known(&self, variable: &String, at: usize) -> Result<()> {
        if self.variables.contains(variable) {
            return Ok(());
        }
        Err(self
            .fault(at, "unknown variable")
            .expected(format!("one of {}", self.variables.join(", ")))
            .found(format!("`{}`", variable.escape_debug())))
    }

    /// `}}` after a word that stands alone.
    fn close(&mut self, keyword: &str) -> Result<()> {
        match self.take() {
            Some(Placed { token: Token::Close, .. }) => Ok(()),
            other => Err(self.unexpected(other.as_ref(), keyword).expected("`}}`")),
        }
    }

    fn expect_stop(&self, stop: &Stop, expected: Stop) -> Result<()> {
        match (stop, expected) {
            (Stop::Text, Stop::Text) | (Stop::End(_), Stop::End(_)) => Ok(()),
            (Stop::End(at), _) => Err(self.fault(*at, "`end` without a beginning")),
            (Stop::Else(at), _) => Err(self.fault(*at, "`else` without `if`, `with` or `range`")),
            (Stop::Text, _) => Err(self.fault(self.source.len(), "unexpected end")),
        }
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::new(Kind::Limit, "template is nested too deep")
                .context(place(self.source, self.position()))
                .expected(format!("at most {MAX_DEPTH} levels")));
        }
        Ok(())
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|placed| &placed.token)
    }

    fn take(&mut self) -> Option<Placed> {
        let placed = self.tokens.get_mut(self.next)?;
        self.next += 1;
        // A text may be long; it is needed once.
        let token = match &mut placed.token {
            Token::Outside(text) => Token::Outside(std::mem::take(text)),
            other => other.clone(),
        };
        Some(Placed { token, ..*placed })
    }

    fn position(&self) -> usize {
        self.tokens.get(self.next).map_or(self.source.len(), |placed| placed.at)
    }

    fn unfinished(&self, keyword: &str, at: usize) -> Error {
        self.fault(at, &format!("`{keyword}` has no end")).expected("`{{end}}`")
    }

    fn unexpected(&self, placed: Option<&Placed>, place: &str) -> Error {
        let at = placed.map_or(self.source.len(), |placed| placed.at);
        let found = placed.map_or("the end".into(), |placed| placed.token.shown());
        self.fault(at, &format!("unexpected word in {place}")).found(found)
    }

    fn fault(&self, at: usize, message: &str) -> Error {
        fault(self.source, at, message)
    }
}

/// Whether it can only stand at the start of a pipeline.
fn is_value(operand: &Operand) -> bool {
    match operand.term {
        Term::Nil | Term::Bool(_) | Term::Int(_) | Term::Float(_) | Term::Text(_) => true,
        Term::Dot => operand.fields.is_empty(),
        Term::Variable(_) | Term::Function(_) | Term::Pipeline(_) => false,
    }
}
