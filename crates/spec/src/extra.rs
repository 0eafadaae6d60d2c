//! Members that the specification does not know, kept.

use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// Unknown members by name, in the order of the document. Nearly every object has none, and an
/// index has thousands of objects, so none take up one word only.
#[derive(Clone, Debug, Default)]
pub struct Extra(Option<Box<Map<String, Value>>>);

static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// A map that was emptied is no different from one that never was.
impl PartialEq for Extra {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Extra {}

impl Deref for Extra {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Self::Target {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for Extra {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0.get_or_insert_default()
    }
}

impl From<Map<String, Value>> for Extra {
    fn from(members: Map<String, Value>) -> Self {
        Self(Some(members).filter(|members| !members.is_empty()).map(Box::new))
    }
}

impl IntoIterator for Extra {
    type Item = (String, Value);
    type IntoIter = serde_json::map::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        self.0.map(|members| *members).unwrap_or_default().into_iter()
    }
}

impl Serialize for Extra {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Extra {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_one_equals_none() {
        let mut emptied = Extra::default();
        emptied.insert("x".into(), Value::Null);
        assert_ne!(emptied, Extra::default());
        emptied.shift_remove("x");
        assert_eq!(emptied, Extra::default());
    }

    #[test]
    fn it_is_a_map_that_may_be_nothing() {
        let mut extra = Extra::default();
        assert!(extra.is_empty() && extra.get("x").is_none());
        extra.insert("x".into(), 1.into());
        assert_eq!(extra["x"], 1);
        assert_eq!(serde_json::to_string(&extra).unwrap(), r#"{"x":1}"#);
        assert_eq!(serde_json::from_str::<Extra>("{}").unwrap(), Extra::default());
        assert_eq!(extra.into_iter().next(), Some(("x".into(), 1.into())));
        assert_eq!(size_of::<Extra>(), size_of::<usize>());
    }
}
