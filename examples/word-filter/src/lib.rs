//! A filter for messages: words that are masked or refused, and a number of messages a minute for each user.

mod words;

use std::time::Duration;

use rollcall::{kv, Config, ConfigError, Json, Message, Verdict};

use words::Words;

rollcall::plugin! {
    state: Filter,
    configure: Filter::new,
    message: Filter::check,
}

struct Filter {
    masked: Words,
    refused: Words,
    limit: Option<i64>,
}

impl Filter {
    fn new(config: &Config) -> Result<Filter, ConfigError> {
        let block = config.block();
        block.only(&["mask", "refuse", "per_minute"])?;
        let limit = block.integer("per_minute")?;
        if limit.map_or(false, |limit| limit < 1) {
            return Err(block.error("per_minute", "want a number of messages, 1 or more"));
        }
        let filter = Filter {
            masked: Words::new(&block.strings("mask")?),
            refused: Words::new(&block.strings("refuse")?),
            limit,
        };
        match filter.masked.is_empty() && filter.refused.is_empty() && limit.is_none() {
            true => Err(ConfigError::new("config: write mask, refuse or per_minute, or this plugin does nothing")),
            false => Ok(filter),
        }
    }

    fn check(&self, message: &Message) -> Verdict {
        if self.is_over_limit(message) {
            rollcall::count("over_limit", 1);
            return Verdict::Refuse;
        }
        if self.masked.is_empty() && self.refused.is_empty() {
            return Verdict::Send;
        }
        let mut json = message.json();
        if contains(&json, &self.refused) {
            rollcall::count("refused", 1);
            return Verdict::Refuse;
        }
        match mask(&mut json, &self.masked) {
            true => {
                rollcall::count("masked", 1);
                Verdict::Replace(json)
            }
            false => Verdict::Send,
        }
    }

    /// Counts the message, and returns whether it is one too many. If the store is full, it is. The backend has no limit.
    fn is_over_limit(&self, message: &Message) -> bool {
        let limit = match self.limit {
            Some(limit) if !message.sender().is_backend() => limit,
            _ => return false,
        };
        // Without a user, the connection counts. An ID of a user can be longer than a key.
        let (kind, id) = match message.sender().user_id() {
            "" => (b'c', message.connection()),
            user => (b'u', user),
        };
        let mut key = vec![kind];
        key.extend(id.bytes().take(127));
        kv::add(key, 1, Duration::from_secs(60)) > limit
    }
}

/// Whether a text or a key anywhere in the value has one of the words.
fn contains(json: &Json, words: &Words) -> bool {
    match json {
        Json::String(text) => words.are_in(text),
        Json::Array(values) => values.iter().any(|value| contains(value, words)),
        Json::Object(members) => members.iter().any(|(key, value)| words.are_in(key) || contains(value, words)),
        _ => false,
    }
}

/// Masks the words in all texts and keys, and returns whether there were any.
fn mask(json: &mut Json, words: &Words) -> bool {
    let mut found = false;
    let mut change = |text: &mut String| {
        if let Some(masked) = words.mask(text) {
            *text = masked;
            found = true;
        }
    };
    match json {
        Json::String(text) => change(text),
        Json::Array(values) => {
            for value in values {
                found |= mask(value, words);
            }
        }
        Json::Object(members) => {
            for (key, value) in members {
                if let Some(masked) = words.mask(key) {
                    *key = masked;
                    found = true;
                }
                found |= mask(value, words);
            }
        }
        _ => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall::{Kind, Request};

    fn filter(config: &str) -> Result<Filter, String> {
        Filter::new(&Config::parse(format!(r#"{{"config":{}}}"#, config).as_bytes()).unwrap())
            .map_err(|e| e.to_string())
    }

    fn from<'a>(user: &'a str, body: &'a str) -> Message<'a> {
        Message::new(Request::to_authorize("h", "room", Kind::Authenticated, Some((user, ""))), body)
    }

    #[test]
    fn words_are_masked_anywhere() {
        let filter = filter(r#"{"mask":"heck"}"#).unwrap();
        for (body, want) in [
            (r#"{"text":"hello"}"#, None),
            (r#"{"text":"oh Heck!"}"#, Some(r#"{"text":"oh ****!"}"#)),
            (r#"{"text":"h\u0065ck"}"#, Some(r#"{"text":"****"}"#)),
            (r#"{"heck":[{"a":"heck"}],"n":1}"#, Some(r#"{"****":[{"a":"****"}],"n":1}"#)),
        ] {
            let want = want.map_or(Verdict::Send, |json| Verdict::Replace(Json::parse(json).unwrap()));
            assert_eq!(filter.check(&from("ada", body)), want, "{}", body);
        }
    }

    #[test]
    fn words_are_refused_first() {
        let filter = filter(r#"{"mask":"heck","refuse":["darn"]}"#).unwrap();
        assert_eq!(filter.check(&from("ada", r#"{"a":"heck","b":["darn"]}"#)), Verdict::Refuse);
    }

    #[test]
    fn each_user_has_a_limit() {
        let filter = filter(r#"{"per_minute":"2"}"#).unwrap();
        let long = "ü".repeat(200);
        for user in ["ada", "bob", long.as_str()] {
            let sent = [0; 3].map(|_| filter.check(&from(user, "{}")));
            assert_eq!(sent, [Verdict::Send, Verdict::Send, Verdict::Refuse], "{}", user);
        }
    }

    #[test]
    fn a_filter_without_rules_is_refused() {
        for bad in [r#"{}"#, r#"{"per_minute":"0"}"#, r#"{"per_minute":"many"}"#, r#"{"masks":"heck"}"#] {
            assert!(filter(bad).is_err(), "{}", bad);
        }
    }
}
