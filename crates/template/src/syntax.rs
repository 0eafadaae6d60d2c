//! What a template is made of. <https://pkg.go.dev/text/template>

use std::sync::Arc;

/// Nodes in a row.
pub(crate) type List = Vec<Node>;

/// One step of a template; positions are byte offsets in its text.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// Text outside of `{{ }}`.
    Text(String),
    /// `{{pipeline}}`
    Action(Pipeline),
    /// `{{if pipeline}} … {{else}} … {{end}}`
    If(Branch),
    /// `{{range pipeline}} … {{else}} … {{end}}`
    Range(Branch),
    /// `{{with pipeline}} … {{else}} … {{end}}`
    With(Branch),
    /// `{{template "name" pipeline}}`; a block is its definition and this.
    Template { at: usize, name: String, pipeline: Option<Pipeline> },
    /// `{{break}}`
    Break,
    /// `{{continue}}`
    Continue,
}

/// A condition and what hangs from it.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    pub(crate) pipeline: Pipeline,
    pub(crate) then: List,
    pub(crate) otherwise: List,
}

/// `$a, $b := command | command`
#[derive(Clone, Debug)]
pub(crate) struct Pipeline {
    pub(crate) at: usize,
    /// The variables that it sets.
    pub(crate) variables: Vec<String>,
    /// Whether they are there already: `=` and not `:=`.
    pub(crate) assigns: bool,
    pub(crate) commands: Vec<Command>,
}

/// A function or value, and arguments.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) at: usize,
    /// Never empty.
    pub(crate) operands: Vec<Operand>,
}

/// A word of a command.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub(crate) at: usize,
    pub(crate) term: Term,
    /// `.A.B` right behind it.
    pub(crate) fields: Vec<String>,
}

/// An operand without its fields.
#[derive(Clone, Debug)]
pub(crate) enum Term {
    /// `.`, or nothing before the fields
    Dot,
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    /// `$x`; the first `$` is the data itself.
    Variable(String),
    Function(String),
    /// `(pipeline)`
    Pipeline(Box<Pipeline>),
}
