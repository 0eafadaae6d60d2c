//! Rules: what is asked, who asks it, why, and how to mend what breaks it.

use serde::{Serialize, Serializer};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// What breaks a SHOULD, and what a reader may stumble over.
    Warning,
    /// What breaks a MUST, and what conex refuses.
    Error,
}

impl Severity {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that can be wrong. Its id never changes.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is called, as `descriptor-size-negative`.
    pub id: &'static str,
    /// How bad it is to break it.
    pub severity: Severity,
    /// The document that asks for it, as `image-spec descriptor.md`.
    pub document: &'static str,
    /// The heading there.
    pub section: &'static str,
    /// What is asked, in one line.
    pub text: &'static str,
    /// What happens where it is broken.
    pub why: &'static str,
    /// What to do about it.
    pub mend: &'static str,
}

impl Rule {
    /// Document and heading: `image-spec descriptor.md "Properties"`.
    pub fn source(&self) -> String {
        format!("{} \"{}\"", self.document, self.section)
    }
}

/// In reports a rule is its id.
impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id)
    }
}

/// A table of rules: `NAME: severity "id", "text", "why", "mend";` under the document and the
/// heading that asks for them.
macro_rules! rules {
    ($($document:literal $section:literal {
        $($name:ident: $severity:ident $id:literal, $text:literal, $why:literal, $mend:literal;)*
    })*) => {
        $($(
            #[doc = $text]
            pub static $name: $crate::lint::Rule = $crate::lint::Rule {
                id: $id,
                severity: $crate::lint::Severity::$severity,
                document: $document,
                section: $section,
                text: $text,
                why: $why,
                mend: $mend,
            };
        )*)*
        pub(super) static ALL: &[&$crate::lint::Rule] = &[$($(&$name),*),*];
    };
}
pub(super) use rules;
