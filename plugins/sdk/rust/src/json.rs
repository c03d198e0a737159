use std::fmt;
use std::str;

mod parse;
mod write;

pub use parse::JsonError;

/// A JSON value. Objects keep the order of their keys, and numbers their text, so reading and
/// writing a value does not change it.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as JSON writes it. `Json::from` converts an integer.
    Number(String),
    /// A string, without its escapes.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads one value, nested to at most 64 levels. Half a surrogate pair becomes U+FFFD.
    pub fn parse(text: &str) -> Result<Json, JsonError> {
        parse::parse(text)
    }

    /// The value of a key of an object; `None` if there is none, or if this is not an object. Of a key that is
    /// repeated, it is the last, which browsers take too.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().rfind(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Sets the value of a key of an object. A new key is added at the end.
    ///
    /// # Panics
    /// If this is not an object.
    pub fn set(&mut self, key: &str, value: impl Into<Json>) {
        let members = match self {
            Json::Object(members) => members,
            _ => panic!("Json::set({:?}): this is no object", key),
        };
        match members.iter().position(|(name, _)| name == key) {
            Some(first) => {
                members[first].1 = value.into();
                let mut next = 0..;
                members.retain(|(name, _)| next.next() == Some(first) || name != key);
            }
            None => members.push((key.to_string(), value.into())),
        }
    }

    /// Removes a key from an object and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<Json> {
        match self {
            Json::Object(members) => {
                let last = members.iter().rposition(|(name, _)| name == key)?;
                let value = members.remove(last).1;
                members.retain(|(name, _)| name != key);
                Some(value)
            }
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of `true` or `false`.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Json::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A number that is an integer of 64 bits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Json::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A number as a float, possibly with a loss of precision.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Json::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The values of an array.
    pub fn as_array(&self) -> Option<&[Json]> {
        match self {
            Json::Array(values) => Some(values),
            _ => None,
        }
    }

    /// The keys and values of an object.
    pub fn as_object(&self) -> Option<&[(String, Json)]> {
        match self {
            Json::Object(members) => Some(members),
            _ => None,
        }
    }

    /// Appends the value as JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        write::write(self, out);
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut out = Vec::new();
        self.write(&mut out);
        f.write_str(str::from_utf8(&out).map_err(|_| fmt::Error)?)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Json {
        Json::Bool(value)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::String(text.to_string())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Json {
        Json::String(text)
    }
}

impl From<Vec<Json>> for Json {
    fn from(values: Vec<Json>) -> Json {
        Json::Array(values)
    }
}

macro_rules! from_integer {
    ($($integer:ty)*) => {$(
        impl From<$integer> for Json {
            fn from(value: $integer) -> Json {
                Json::Number(value.to_string())
            }
        }
    )*};
}

from_integer!(i32 u32 i64 u64 usize);
