use std::borrow::Cow;

use crate::{Endpoint, Json};

/// A user that an answer is about to list, or that browsers are about to see: keys and values, of
/// which the host sends `id` and `email`, and `info` and `status` where there are any. The fields that are left when the hook returns are shown, in this order.
pub struct Member<'a> {
    endpoint: Endpoint,
    pub(crate) fields: Vec<Field<'a>>,
    changed: bool,
    hidden: bool,
}

pub(crate) struct Field<'a> {
    pub key: Cow<'a, str>,
    pub value: Value<'a>,
}

pub(crate) enum Value<'a> {
    Text(Cow<'a, str>),
    Json(Cow<'a, str>),
}

impl<'a> Member<'a> {
    pub(crate) fn new(endpoint: Endpoint) -> Member<'a> {
        Member { endpoint, fields: Vec::with_capacity(8), changed: false, hidden: false }
    }

    /// A user as the host sends it, for tests.
    pub fn of(endpoint: Endpoint, id: &'a str, email: &'a str) -> Member<'a> {
        let mut member = Member::new(endpoint);
        member.set("id", id);
        member.set("email", email);
        member.changed = false;
        member
    }

    pub(crate) fn reset(&mut self) {
        self.fields.clear();
        self.changed = false;
        self.hidden = false;
    }

    /// What shows the user.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The ID of the user; empty if an earlier plugin removed it.
    pub fn id(&self) -> &str {
        self.get("id").unwrap_or("")
    }

    /// The e-mail address of the user; empty if it is not known or an earlier plugin removed it.
    pub fn email(&self) -> &str {
        self.get("email").unwrap_or("")
    }

    /// The information about the user, as JSON; `None` if there is none, or if the answer does not show it.
    pub fn info(&self) -> Option<&str> {
        self.get_json("info")
    }

    /// The status of the user, as JSON; `None` if there is none, or if the answer does not show it.
    pub fn status(&self) -> Option<&str> {
        self.get_json("status")
    }

    /// The text of a key; `None` if there is none, or if it is JSON other than a string.
    pub fn get(&self, key: &str) -> Option<&str> {
        match &self.field(key)?.value {
            Value::Text(text) => Some(text),
            Value::Json(_) => None,
        }
    }

    /// The JSON of a key; `None` if there is none, or if it is a text.
    pub fn get_json(&self, key: &str) -> Option<&str> {
        match &self.field(key)?.value {
            Value::Json(text) => Some(text),
            Value::Text(_) => None,
        }
    }

    /// Sets a key to a text. A new key is added at the end.
    ///
    /// # Panics
    /// If the key is longer than 255 bytes.
    pub fn set(&mut self, key: impl Into<Cow<'a, str>>, text: impl Into<Cow<'a, str>>) {
        self.put(key.into(), Value::Text(text.into()));
    }

    /// Sets a key to a number, an object, or any other JSON.
    ///
    /// # Panics
    /// If the key is longer than 255 bytes.
    pub fn set_json(&mut self, key: impl Into<Cow<'a, str>>, value: &Json) {
        self.put(key.into(), Value::Json(value.to_string().into()));
    }

    /// Removes a key, if it is there.
    pub fn remove(&mut self, key: &str) {
        if let Some(at) = self.position(key) {
            self.fields.remove(at);
            self.changed = true;
        }
    }

    /// Renames a key. If the new key had a value, it is lost; without the old key nothing happens.
    ///
    /// # Panics
    /// If the new key is longer than 255 bytes.
    pub fn rename(&mut self, from: &str, to: impl Into<Cow<'a, str>>) {
        let to = check(to.into());
        if self.position(from).is_none() || from == to {
            return;
        }
        self.remove(&to);
        if let Some(at) = self.position(from) {
            self.fields[at].key = to;
            self.changed = true;
        }
    }

    /// Leaves the user out of the answer, counts included.
    pub fn hide(&mut self) {
        self.hidden = true;
        self.changed = true;
    }

    /// Whether [`hide`](Member::hide) was called.
    pub fn is_hidden(&self) -> bool {
        self.hidden
    }

    pub(crate) fn is_changed(&self) -> bool {
        self.changed
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.key == key)
    }

    fn field(&self, key: &str) -> Option<&Field<'a>> {
        self.fields.iter().find(|field| field.key == key)
    }

    fn put(&mut self, key: Cow<'a, str>, value: Value<'a>) {
        self.changed = true;
        match self.position(&key) {
            Some(at) => self.fields[at].value = value,
            None => self.fields.push(Field { key: check(key), value }),
        }
    }
}

fn check(key: Cow<str>) -> Cow<str> {
    assert!(key.len() <= 255, "a key of a member has at most 255 bytes, this one has {}", key.len());
    key
}
