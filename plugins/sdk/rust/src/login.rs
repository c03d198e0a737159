use std::str;

use crate::Json;

/// A connection that opens or logs in, the input of `connect`.
pub struct Login {
    host: String,
    connection: String,
    user: Option<(String, String)>,
    info: Option<Json>,
    claims: Option<Json>,
}

impl Login {
    /// Reads what the host wrote: an object with host, connection, user and claims; for tests too.
    pub fn parse(input: &[u8]) -> Result<Login, String> {
        let text = str::from_utf8(input).map_err(|_| "the login is not UTF-8".to_string())?;
        let json = Json::parse(text).map_err(|err| format!("the login: {}", err))?;
        let string = |value: Option<&Json>| value.and_then(Json::as_str).unwrap_or("").to_string();
        let object = |value: Option<&Json>| value.filter(|json| json.as_object().is_some()).cloned();
        let user = object(json.get("user"));
        let login = Login {
            host: string(json.get("host")),
            connection: string(json.get("connection")),
            user: user.as_ref().map(|user| (string(user.get("id")), string(user.get("email")))),
            info: object(user.as_ref().and_then(|user| user.get("info"))),
            claims: object(json.get("claims")),
        };
        match login.connection.is_empty() {
            true => Err("the login has no connection".to_string()),
            false => Ok(login),
        }
    }

    /// The host: lower case, without a port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The ID of the connection.
    pub fn connection(&self) -> &str {
        &self.connection
    }

    /// Whether the connection has no user.
    pub fn is_anonymous(&self) -> bool {
        self.user.is_none()
    }

    /// The ID of the user; empty for an anonymous connection.
    pub fn user_id(&self) -> &str {
        self.user.as_ref().map_or("", |user| &user.0)
    }

    /// The e-mail address of the user; empty if it is not known.
    pub fn email(&self) -> &str {
        self.user.as_ref().map_or("", |user| &user.1)
    }

    /// The info of the user, an object; `None` if there is none.
    pub fn info(&self) -> Option<&Json> {
        self.info.as_ref()
    }

    /// A claim of the token; `None` without a token, or without this claim.
    pub fn claim(&self, name: &str) -> Option<&Json> {
        self.claims.as_ref()?.get(name)
    }
}

/// What becomes of a login.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    refused: bool,
    changes: Vec<(String, Json)>,
}

impl Entry {
    /// The login is accepted as it is.
    pub fn accept() -> Entry {
        Entry { refused: false, changes: Vec::new() }
    }

    /// The login is refused.
    pub fn refuse() -> Entry {
        Entry { refused: true, changes: Vec::new() }
    }

    /// Replaces the info of the user by an object of at most 2 KiB, or by `Json::Null`.
    pub fn info(mut self, info: Json) -> Entry {
        self.changes.push(("info".to_string(), info));
        self
    }

    /// Lets the user join and use the channels that match: patterns, or another form of the token claim.
    /// The plugin block must say `grants`.
    pub fn channels(mut self, channels: impl Into<Json>) -> Entry {
        self.changes.push(("channels".to_string(), channels.into()));
        self
    }

    /// Whether the login is refused.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// What the host gets; `None` if the login stays as it is.
    pub fn json(&self) -> Option<Json> {
        match self.refused || self.changes.is_empty() {
            true => None,
            false => Some(Json::Object(self.changes.clone())),
        }
    }
}
