use std::fmt;
use std::str;

use crate::Json;

/// The input of `configure`: the host that the plugin works for, and its block of the Caddyfile.
pub struct Config {
    host: String,
    plugin: String,
    block: Block,
}

impl Config {
    /// Reads the JSON that the host sends to `rollcall_configure`; for tests too.
    pub fn parse(bytes: &[u8]) -> Result<Config, ConfigError> {
        let text = str::from_utf8(bytes).map_err(|_| ConfigError::new("config: not UTF-8"))?;
        let json = Json::parse(text).map_err(|err| ConfigError::new(format!("config: {}", err)))?;
        let text = |key| json.get(key).and_then(Json::as_str).unwrap_or("").to_string();
        Ok(Config {
            host: text("host"),
            plugin: text("plugin"),
            block: Block {
                name: "config".to_string(),
                json: match json.get("config") {
                    Some(Json::Object(members)) => Json::Object(members.clone()),
                    None | Some(Json::Null) => Json::Object(Vec::new()),
                    Some(_) => return Err(ConfigError::new("config: want a block in braces")),
                },
            },
        })
    }

    /// The host; empty for an instance that several hosts share.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The name of the plugin: that of its file, unless the Caddyfile gives another.
    pub fn plugin(&self) -> &str {
        &self.plugin
    }

    /// The block `config` of the plugin; empty if there is none.
    pub fn block(&self) -> &Block {
        &self.block
    }
}

/// A block of the Caddyfile: names with a word, with several words, with a block, or alone. If the
/// Caddyfile has a wrong form, the methods return a clear error with the path of the name.
pub struct Block {
    name: String, // as a path, such as "config.colours"
    json: Json,   // an object
}

impl Block {
    /// The names in the block, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.json.as_object().unwrap_or(&[]).iter().map(|(name, _)| name.as_str())
    }

    /// Refuses names that are not known, and so misspelt ones.
    pub fn only(&self, known: &[&str]) -> Result<(), ConfigError> {
        match self.names().find(|name| !known.contains(name)) {
            Some(name) => Err(self.error(name, &format!("unknown; known are {}", known.join(", ")))),
            None => Ok(()),
        }
    }

    /// Whether the block has the name.
    pub fn has(&self, name: &str) -> bool {
        self.json.get(name).is_some()
    }

    /// The one word of a name; `None` if the name is absent.
    pub fn string(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        match self.json.get(name) {
            None => Ok(None),
            Some(Json::String(text) | Json::Number(text)) => Ok(Some(text)),
            Some(other) => Err(self.want(name, "one word", other)),
        }
    }

    /// The words of a name, one or more; none if the name is absent.
    pub fn strings(&self, name: &str) -> Result<Vec<String>, ConfigError> {
        let value = match self.json.get(name) {
            None => return Ok(Vec::new()),
            Some(value) => value,
        };
        let values = match value {
            Json::Array(values) => values.as_slice(),
            single => std::slice::from_ref(single),
        };
        let words = values.iter().map(|value| match value {
            Json::String(text) | Json::Number(text) => Ok(text.clone()),
            other => Err(self.want(name, "one or more words", other)),
        });
        words.collect()
    }

    /// Whether the block has the name, alone or with `true`; `false` turns it off.
    pub fn bool(&self, name: &str) -> Result<bool, ConfigError> {
        match self.json.get(name) {
            None => Ok(false),
            Some(Json::Bool(value)) => Ok(*value),
            Some(Json::String(text)) if text == "true" => Ok(true),
            Some(Json::String(text)) if text == "false" => Ok(false),
            Some(other) => Err(self.want(name, "nothing, true or false", other)),
        }
    }

    /// The integer of a name; `None` if the name is absent.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, ConfigError> {
        match self.string(name)? {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(self.error(name, &format!("want an integer, got {:?}", text))),
            },
        }
    }

    /// The block of a name; an empty one if the name is absent.
    pub fn block(&self, name: &str) -> Result<Block, ConfigError> {
        let json = match self.json.get(name) {
            None => Json::Object(Vec::new()),
            Some(Json::Object(members)) => Json::Object(members.clone()),
            Some(other) => return Err(self.want(name, "a block in braces", other)),
        };
        Ok(Block { name: format!("{}.{}", self.name, name), json })
    }

    /// The block as JSON: an object.
    pub fn json(&self) -> &Json {
        &self.json
    }

    /// An error about a name of this block, for `configure` to return.
    pub fn error(&self, name: &str, reason: &str) -> ConfigError {
        ConfigError::new(format!("{}.{}: {}", self.name, name, reason))
    }

    fn want(&self, name: &str, want: &str, got: &Json) -> ConfigError {
        let got = match got {
            Json::Null | Json::Bool(_) => "nothing",
            Json::Number(_) | Json::String(_) => "a word",
            Json::Array(_) => "several words",
            Json::Object(_) => "a block",
        };
        self.error(name, &format!("want {}, got {}", want, got))
    }
}

/// An error in the configuration of a plugin: it refuses the plugin, and the text is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    /// An error of the plugin's own. Block::error also names the place.
    pub fn new(reason: impl Into<String>) -> ConfigError {
        ConfigError(reason.into())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}
