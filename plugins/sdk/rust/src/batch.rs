//! The records of users that `rollcall_members` gets and returns:
//!
//! ```text
//! batch  = { u32 record length, record }*
//! record = { u8 key length, key, u8 type, u32 value length, value }*      type 1: text, 2: a JSON value
//! ```

use std::borrow::Cow;
use std::str;

use crate::member::{Field, Value};
use crate::{Endpoint, Member};

const TEXT: u8 = 1;
const JSON: u8 = 2;

/// Calls the hook for each record of a batch. If it changed one, writes the new batch to `out` and returns true.
pub fn rewrite(
    batch: &[u8],
    endpoint: Endpoint,
    out: &mut Vec<u8>,
    hook: impl Fn(&mut Member),
) -> Result<bool, &'static str> {
    out.clear();
    let mut changed = false;
    let mut member = Member::new(endpoint);
    let mut rest = Reader(batch);
    while !rest.0.is_empty() {
        let start = batch.len() - rest.0.len();
        let record = rest.sized()?;
        read(record, &mut member)?;
        hook(&mut member);
        if !changed && member.is_changed() {
            out.extend_from_slice(&batch[..start]);
            changed = true;
        }
        if changed {
            let at = out.len();
            out.extend_from_slice(&[0; 4]);
            write(&member, out);
            let length = (out.len() - at - 4) as u32;
            out[at..at + 4].copy_from_slice(&length.to_le_bytes());
        }
    }
    Ok(changed)
}

fn read<'a>(record: &'a [u8], member: &mut Member<'a>) -> Result<(), &'static str> {
    member.reset();
    let mut rest = Reader(record);
    while !rest.0.is_empty() {
        let key_length = rest.take(1)?[0];
        let key = text(rest.take(usize::from(key_length))?)?;
        let kind = rest.take(1)?[0];
        let value = Cow::Borrowed(text(rest.sized()?)?);
        let value = match kind {
            TEXT => Value::Text(value),
            JSON => Value::Json(value),
            _ => return Err("a record has a value of an unknown type"),
        };
        member.fields.push(Field { key: Cow::Borrowed(key), value });
    }
    Ok(())
}

/// Writes the fields of a member; of a hidden one, nothing.
fn write(member: &Member, out: &mut Vec<u8>) {
    if member.is_hidden() {
        return;
    }
    for field in &member.fields {
        let (kind, value) = match &field.value {
            Value::Text(text) => (TEXT, text),
            Value::Json(text) => (JSON, text),
        };
        out.push(field.key.len() as u8); // Member ensures at most 255 bytes
        out.extend_from_slice(field.key.as_bytes());
        out.push(kind);
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        out.extend_from_slice(value.as_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        if length > self.0.len() {
            return Err("a batch of records ends too early");
        }
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(taken)
    }

    /// Reads a u32, and as many bytes as it says.
    fn sized(&mut self) -> Result<&'a [u8], &'static str> {
        let length = self.take(4)?;
        self.take(u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize)
    }
}

fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    str::from_utf8(bytes).map_err(|_| "a record has text that is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Json;

    fn record(fields: &[(&str, u8, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, kind, value) in fields {
            out.push(key.len() as u8);
            out.extend_from_slice(key.as_bytes());
            out.push(*kind);
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(value.as_bytes());
        }
        out
    }

    fn batch(records: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for record in records {
            out.extend_from_slice(&(record.len() as u32).to_le_bytes());
            out.extend_from_slice(record);
        }
        out
    }

    fn user(id: &str, email: &str) -> Vec<u8> {
        record(&[("id", TEXT, id), ("email", TEXT, email)])
    }

    fn run(input: &[u8], hook: fn(&mut Member)) -> Option<Vec<u8>> {
        let mut out = b"left over from the last call".to_vec();
        rewrite(input, Endpoint::Users, &mut out, hook).unwrap().then(|| out)
    }

    #[test]
    fn a_batch_that_no_hook_changes_is_not_sent_back() {
        let input = batch(&[user("1", "ann@example.com"), user("2", "")]);
        let hook = |member: &mut Member| {
            assert_eq!(member.endpoint(), Endpoint::Users);
            assert!(!member.id().is_empty());
            member.remove("none");
            member.rename("none", "other");
        };
        assert_eq!(run(&input, hook), None);
        assert_eq!(run(b"", |_| panic!("there is no record")), None);
    }

    #[test]
    fn records_before_and_after_the_changed_one_stay() {
        let input = batch(&[user("1", "a@x"), user("2", "b@x"), user("3", "c@x")]);
        let output = run(&input, |member| {
            if member.id() == "2" {
                member.set("email", member.email().to_uppercase());
            }
        });
        assert_eq!(output, Some(batch(&[user("1", "a@x"), user("2", "B@X"), user("3", "c@x")])));
    }

    #[test]
    fn a_hidden_user_is_an_empty_record() {
        let input = batch(&[user("1", "a@x"), user("2", "b@x")]);
        let output = run(&input, |member| {
            if member.id() == "1" {
                member.hide()
            }
        });
        assert_eq!(output, Some(batch(&[vec![], user("2", "b@x")])));
    }

    #[test]
    fn keys_are_set_renamed_and_removed() {
        let input = batch(&[user("1", "ann@example.com")]);
        let output = run(&input, |member| {
            member.rename("id", "user");
            member.remove("email");
            member.set("team", "Grün");
            member.set_json("level", &Json::from(3));
            assert_eq!(member.get("user"), Some("1"));
            assert_eq!(member.get("level"), None);
            assert_eq!(member.get_json("level"), Some("3"));
            assert_eq!((member.id(), member.email()), ("", ""));
        });
        assert_eq!(output, Some(batch(&[record(&[("user", 1, "1"), ("team", 1, "Grün"), ("level", 2, "3")])])));
    }

    #[test]
    fn a_rename_takes_the_place_of_the_key_that_was_there() {
        let input = batch(&[user("1", "ann@example.com")]);
        let output = run(&input, |member| member.rename("email", "id"));
        assert_eq!(output, Some(batch(&[record(&[("id", 1, "ann@example.com")])])));
    }

    #[test]
    fn a_broken_batch_is_an_error() {
        let good = batch(&[user("1", "a@x")]);
        for end in 1..good.len() {
            assert!(rewrite(&good[..end], Endpoint::Users, &mut Vec::new(), |_| ()).is_err(), "cut at {}", end);
        }
        for (name, broken) in [
            ("unknown type", record(&[("id", 3, "1")])),
            ("key cut off", vec![5, b'i', b'd']),
            ("not UTF-8", vec![1, 0xff, 1, 0, 0, 0, 0]),
        ] {
            assert!(rewrite(&batch(&[broken]), Endpoint::Users, &mut Vec::new(), |_| ()).is_err(), "{}", name);
        }
    }

    #[test]
    #[should_panic(expected = "at most 255 bytes")]
    fn a_key_that_is_too_long_is_refused() {
        run(&batch(&[user("1", "")]), |member| member.set("k".repeat(256), "v"));
    }
}
