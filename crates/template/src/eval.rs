//! Nodes into text.

use conex_spec::{Error, Kind, Result};
use serde_json::Value as Json;

use crate::buffer::Buffer;
use crate::fault::{fault, place};
use crate::functions::{self, Answer};
use crate::parse::MAIN;
use crate::syntax::{Branch, Command, Node, Operand, Pipeline, Term};
use crate::value::{Text, Value, member, sorted};
use crate::{Limits, Template, print};

/// Templates that call each other deeper than this never end.
const MAX_CALLS: usize = 64;

/// What an element of a list that is made costs, in bytes.
pub(crate) const PART: usize = 64;

/// What a template prints of some data.
pub(crate) fn render(template: &Template, data: &Json, limits: Limits) -> Result<String> {
    let root = Value::of(data);
    let mut machine = Machine {
        template,
        variables: vec![("$", root.clone())],
        out: Buffer::new(limits.output),
        steps: limits.steps,
        work: limits.work,
        calls: 0,
    };
    if let Some(main) = template.defined.get(MAIN) {
        machine.list(&root, main)?;
    }
    machine.out.finish().ok_or_else(|| too_long(limits.output))
}

fn too_long(limit: usize) -> Error {
    Error::new(Kind::Limit, "template prints too much").expected(format!("at most {limit} bytes"))
}

struct Machine<'t, 'a> {
    template: &'t Template,
    variables: Vec<(&'t str, Value<'a>)>,
    out: Buffer,
    /// How many more steps it may make.
    steps: u64,
    /// How many more bytes its functions may make.
    work: usize,
    calls: usize,
}

/// Where to go after a list.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'t, 'a> Machine<'t, 'a> {
    fn list(&mut self, dot: &Value<'a>, nodes: &'t [Node]) -> Result<Flow> {
        for node in nodes {
            self.step()?;
            let flow = self.node(dot, node)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, dot: &Value<'a>, node: &'t Node) -> Result<Flow> {
        match node {
            Node::Text(text) => self.out.push(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(dot, pipeline)?;
                match value {
                    _ if !pipeline.variables.is_empty() => {}
                    Value::Nil => self.out.push("<no value>"),
                    value => print::value(&mut self.out, &value),
                }
            }
            Node::If(branch) => return self.condition(dot, branch, false),
            Node::With(branch) => return self.condition(dot, branch, true),
            Node::Range(branch) => return self.range(dot, branch),
            Node::Template { at, name, pipeline } => {
                self.call_template(dot, *at, name, pipeline.as_ref())?;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        if self.out.overflowed() {
            return Err(too_long(self.out.len() + self.out.room()));
        }
        Ok(Flow::Next)
    }

    fn condition(&mut self, dot: &Value<'a>, branch: &'t Branch, moves: bool) -> Result<Flow> {
        let scope = self.variables.len();
        let value = self.pipeline(dot, &branch.pipeline)?;
        let flow = match (value.is_true(), moves) {
            (true, true) => self.list(&value, &branch.then),
            (true, false) => self.list(dot, &branch.then),
            (false, _) => self.list(dot, &branch.otherwise),
        };
        self.variables.truncate(scope);
        flow
    }

    fn range(&mut self, dot: &Value<'a>, branch: &'t Branch) -> Result<Flow> {
        let scope = self.variables.len();
        let value = self.pipeline(dot, &branch.pipeline)?;
        let inner = self.variables.len();
        let count = self.count(&value, branch)?;
        if count == 0 {
            self.variables.truncate(scope);
            return self.list(dot, &branch.otherwise);
        }
        let members = if let Value::Map(map) = &value { sorted(map) } else { Vec::new() };
        for index in 0..count {
            self.step()?;
            let position = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
            let (key, element) = match (&value, members.get(index)) {
                (_, Some((key, member))) => (Value::Text(Text::Data(key)), Value::of(member)),
                (Value::Int(_) | Value::Uint(_), None) => (position.clone(), position),
                (list, None) => (position, list.element(index).unwrap_or(Value::Nil)),
            };
            self.set_loop(branch, inner, key, &element);
            let flow = self.list(&element, &branch.then)?;
            self.variables.truncate(inner);
            if flow == Flow::Break {
                break;
            }
        }
        self.variables.truncate(scope);
        Ok(Flow::Next)
    }

    /// How often a loop runs.
    fn count(&self, value: &Value<'a>, branch: &'t Branch) -> Result<usize> {
        match value {
            Value::Nil => Ok(0),
            Value::Map(map) => Ok(map.len()),
            Value::Int(number) => Ok(usize::try_from(*number).unwrap_or(0)),
            Value::Uint(number) => Ok(usize::try_from(*number).unwrap_or(usize::MAX)),
            other => other.list_length().ok_or_else(|| {
                self.fault(branch.pipeline.at, "range over a value that has no elements")
                    .expected("a list, a map or a whole number")
                    .found(other.type_name())
            }),
        }
    }

    /// One variable is the element, of two the first is its key.
    fn set_loop(&mut self, branch: &'t Branch, inner: usize, key: Value<'a>, element: &Value<'a>) {
        let names = &branch.pipeline.variables;
        let values =
            if names.len() == 2 { vec![key, element.clone()] } else { vec![element.clone()] };
        // The pipeline declared them below `inner`.
        let declared = inner - if branch.pipeline.assigns { 0 } else { names.len() };
        for (index, (name, value)) in names.iter().zip(values).enumerate() {
            if branch.pipeline.assigns {
                self.assign(name, value);
            } else if let Some(variable) = self.variables.get_mut(declared + index) {
                variable.1 = value;
            }
        }
    }

    fn call_template(
        &mut self,
        dot: &Value<'a>,
        at: usize,
        name: &str,
        pipeline: Option<&'t Pipeline>,
    ) -> Result<()> {
        let template = self.template;
        let Some(list) = template.defined.get(name).filter(|_| name != MAIN) else {
            let mut known: Vec<_> = template.defined.keys().filter(|name| *name != MAIN).collect();
            known.sort_unstable();
            return Err(self
                .fault(at, "template is not defined")
                .expected(format!("one of {known:?}"))
                .found(format!("{name:?}")));
        };
        self.calls += 1;
        if self.calls > MAX_CALLS {
            return Err(Error::new(Kind::Limit, "templates call each other too deep")
                .context(place(&template.source, at))
                .expected(format!("at most {MAX_CALLS} levels")));
        }
        let data = match pipeline {
            Some(pipeline) => self.pipeline(dot, pipeline)?,
            None => Value::Nil,
        };
        let outer = std::mem::replace(&mut self.variables, vec![("$", data.clone())]);
        self.list(&data, list)?;
        self.variables = outer;
        self.calls -= 1;
        Ok(())
    }

    fn pipeline(&mut self, dot: &Value<'a>, pipeline: &'t Pipeline) -> Result<Value<'a>> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(dot, command, value)?);
        }
        let value = value.unwrap_or(Value::Nil);
        for name in &pipeline.variables {
            if pipeline.assigns {
                self.assign(name, value.clone());
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    fn command(
        &mut self,
        dot: &Value<'a>,
        command: &'t Command,
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>> {
        self.step()?;
        let Some(first) = command.operands.first() else { return Ok(Value::Nil) };
        if let (Term::Function(name), true) = (&first.term, first.fields.is_empty()) {
            return self.call(dot, first.at, name, &command.operands[1..], last);
        }
        if command.operands.len() > 1 || last.is_some() {
            let at = command.operands.get(1).map_or(command.at, |operand| operand.at);
            return Err(self
                .fault(at, "a value takes no arguments")
                .expected("a function before them"));
        }
        match first.term {
            Term::Nil => Err(self.fault(first.at, "nil is no command").expected("a value")),
            _ => self.operand(dot, first),
        }
    }

    fn operand(&mut self, dot: &Value<'a>, operand: &'t Operand) -> Result<Value<'a>> {
        let value = match &operand.term {
            Term::Dot => dot.clone(),
            Term::Nil => Value::Nil,
            Term::Bool(value) => Value::Bool(*value),
            Term::Int(number) => Value::Int(*number),
            Term::Float(number) => Value::Float(*number),
            Term::Text(text) => Value::Text(Text::Made(text.clone())),
            Term::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known.map_or(Value::Nil, |(_, value)| value.clone())
            }
            Term::Function(name) => self.call(dot, operand.at, name, &[], None)?,
            Term::Pipeline(pipeline) => {
                let scope = self.variables.len();
                let value = self.pipeline(dot, pipeline)?;
                self.variables.truncate(scope);
                value
            }
        };
        self.fields(value, operand)
    }

    /// `.A.B` of a value. What a map lacks is nothing, and nothing has nothing.
    fn fields(&self, mut value: Value<'a>, operand: &Operand) -> Result<Value<'a>> {
        for name in &operand.fields {
            value = match value {
                Value::Nil => Value::Nil,
                Value::Map(map) => member(map, name).unwrap_or(Value::Nil),
                other => {
                    return Err(self
                        .fault(operand.at, &format!("cannot look for `.{name}`"))
                        .expected("a map")
                        .found(format!("a value of type {}", other.type_name())));
                }
            };
        }
        Ok(value)
    }

    fn call(
        &mut self,
        dot: &Value<'a>,
        at: usize,
        name: &str,
        operands: &'t [Operand],
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>> {
        let in_call = |err: Error, template: &Template| {
            err.context(format_args!("{}: {name}", place(&template.source, at)))
        };
        let count = operands.len() + usize::from(last.is_some());
        functions::check_count(name, count).map_err(|err| in_call(err, self.template))?;
        if matches!(name, "and" | "or") {
            return self.decide(dot, name == "and", operands, last);
        }
        let mut args = Vec::with_capacity(count);
        for operand in operands {
            args.push(self.operand(dot, operand)?);
        }
        args.extend(last);
        let mut made = Buffer::new(self.work);
        let answer =
            functions::call(name, &args, &mut made).map_err(|err| in_call(err, self.template))?;
        let value = match answer {
            Answer::Value(value) => value,
            Answer::Buffer => match made.finish() {
                Some(text) => Value::text(text),
                None => return Err(in_call(too_much(self.work), self.template)),
            },
        };
        self.charge(&value).map_err(|err| in_call(err, self.template))?;
        Ok(value)
    }

    /// "and: Returns the boolean AND of its arguments by returning the first empty argument or the
    /// last argument", and evaluates no further; `or` likewise.
    fn decide(
        &mut self,
        dot: &Value<'a>,
        all: bool,
        operands: &'t [Operand],
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>> {
        let mut value = Value::Nil;
        for operand in operands {
            value = self.operand(dot, operand)?;
            if value.is_true() != all {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    fn assign(&mut self, name: &str, value: Value<'a>) {
        if let Some(variable) = self.variables.iter_mut().rev().find(|(known, _)| *known == name) {
            variable.1 = value;
        }
    }

    /// What functions make is bounded in all.
    fn charge(&mut self, value: &Value<'a>) -> Result<()> {
        let size = match value {
            Value::Text(Text::Made(text)) => text.len(),
            Value::Made(list) => list.len() * PART,
            _ => 0,
        };
        self.work = self.work.checked_sub(size).ok_or_else(|| too_much(self.work))?;
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        self.steps = self.steps.checked_sub(1).ok_or_else(|| {
            Error::new(Kind::Limit, "template does too much").expected("fewer steps")
        })?;
        Ok(())
    }

    fn fault(&self, at: usize, message: &str) -> Error {
        fault(&self.template.source, at, message)
    }
}

fn too_much(left: usize) -> Error {
    Error::new(Kind::Limit, "functions make too much text")
        .expected(format!("at most {left} bytes"))
}
