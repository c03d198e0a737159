//! PLUGIN_NAME is a plugin of the Rollcall presence gateway.
//!
//! Its options, in the plugin block of the Caddyfile:
//!
//! ```text
//! config {
//! [hook classify]
//!     open  lobby- help   # anonymous connections may join channels with these prefixes
//! [end]
//! [hook authorize]
//!     staff example.com   # channels that begin with staff- are for e-mail addresses at this domain
//! [end]
//! [hook connect]
//!     ban   mallory       # users who may not log in
//! [end]
//! [hook message]
//!     words darn heck     # messages whose text contains one of these are refused
//!     limit 100           # messages of a user in a minute
//! [end]
//! [hook members]
//!     badge guest         # badge of each listed user; none by default
//! [end]
//! [hook shape]
//!     wrap  channels      # key of an object that answers are wrapped in
//! [end]
//! }
//! ```

// [hook message]
use std::time::Duration;
// [end]

// [hook message]
use rollcall::kv;
// [end]
// [hook authorize]
use rollcall::Access;
// [end]
// [hook classify]
use rollcall::Decision;
// [end]
// [hook members]
use rollcall::Member;
// [end]
// [hook classify authorize]
use rollcall::Request;
// [end]
// [hook shape]
use rollcall::Answer;
// [end]
// [hook message shape]
use rollcall::Json;
// [end]
use rollcall::{Config, ConfigError};
// [hook connect]
use rollcall::{Entry, Login};
// [end]
// [hook message]
use rollcall::{Message, Verdict};
// [end]

rollcall::plugin! {
    state: Options,
    configure: Options::new,
    // [hook connect]
    connect: Options::login,
    // [end]
    // [hook classify]
    classify: Options::classify,
    // [end]
    // [hook authorize]
    authorize: Options::join,
    // [end]
    // [hook message]
    message: Options::send,
    // [end]
    // [hook members]
    members: Options::show,
    // [end]
    // [hook shape]
    shape: Options::answer,
    // [end]
}

struct Options {
    // [hook classify]
    open: Vec<String>,
    // [end]
    // [hook authorize]
    staff: Option<String>,
    // [end]
    // [hook connect]
    ban: Vec<String>,
    // [end]
    // [hook message]
    words: Vec<String>,
    limit: Option<i64>,
    // [end]
    // [hook members]
    badge: Option<String>,
    // [end]
    // [hook shape]
    wrap: Option<String>,
    // [end]
}

/// The names of the options.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    // [hook classify]
    "open",
    // [end]
    // [hook authorize]
    "staff",
    // [end]
    // [hook connect]
    "ban",
    // [end]
    // [hook message]
    "words",
    "limit",
    // [end]
    // [hook members]
    "badge",
    // [end]
    // [hook shape]
    "wrap",
    // [end]
];

impl Options {
    fn new(config: &Config) -> Result<Options, ConfigError> {
        let block = config.block();
        block.only(NAMES)?;
        Ok(Options {
            // [hook classify]
            open: block.strings("open")?,
            // [end]
            // [hook authorize]
            staff: block.string("staff")?.map(str::to_string),
            // [end]
            // [hook connect]
            ban: block.strings("ban")?,
            // [end]
            // [hook message]
            words: block.strings("words")?,
            limit: block.integer("limit")?,
            // [end]
            // [hook members]
            badge: block.string("badge")?.map(str::to_string),
            // [end]
            // [hook shape]
            wrap: block.string("wrap")?.map(str::to_string),
            // [end]
        })
    }

    // [hook connect]
    /// Decides whether a login is accepted.
    fn login(&self, login: &Login) -> Entry {
        match !login.is_anonymous() && self.ban.iter().any(|id| id == login.user_id()) {
            true => Entry::refuse(),
            false => Entry::accept(),
        }
    }

    // [end]
    // [hook classify]
    /// Decides the kind of a channel.
    fn classify(&self, request: &Request) -> Decision {
        match self.open.iter().any(|prefix| request.channel().starts_with(prefix)) {
            true => Decision::ANONYMOUS,
            false => Decision::NO_OPINION,
        }
    }

    // [end]
    // [hook authorize]
    /// Decides whether a connection may join a channel.
    fn join(&self, request: &Request) -> Access {
        match &self.staff {
            Some(domain) if request.channel().starts_with("staff-") => {
                match request.email().ends_with(&format!("@{}", domain)) {
                    true => Access::NoObjection,
                    false => Access::Denied,
                }
            }
            _ => Access::NoObjection,
        }
    }

    // [end]
    // [hook message]
    /// Decides whether a message is sent.
    fn send(&self, message: &Message) -> Verdict {
        let json = message.json();
        let text = json.get("text").and_then(Json::as_str).unwrap_or("");
        if self.words.iter().any(|word| text.contains(word)) {
            return Verdict::Refuse;
        }
        let user = message.sender().user_id().as_bytes();
        let key = &user[..user.len().min(128)];
        match self.limit {
            Some(limit) if !key.is_empty() && kv::add(key, 1, Duration::from_secs(60)) > limit => Verdict::Refuse,
            _ => Verdict::Send,
        }
    }

    // [end]
    // [hook members]
    /// Changes what an answer shows of a user.
    fn show(&self, member: &mut Member) {
        if let Some(badge) = &self.badge {
            member.set("badge", badge.clone());
        }
    }

    // [end]
    // [hook shape]
    /// Changes a whole answer.
    fn answer(&self, answer: &Answer) -> Option<Json> {
        let key = self.wrap.as_ref()?;
        Some(Json::Object(vec![(key.clone(), answer.json())]))
    }
    // [end]
}

#[cfg(test)]
mod tests {
    use super::*;
    // [hook members]
    use rollcall::Endpoint;
    // [end]
    // [hook classify authorize message]
    use rollcall::Kind;
    // [end]

    fn options(config: &str) -> Options {
        Options::new(&Config::parse(config.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn an_option_that_is_misspelt_is_refused() {
        assert!(Options::new(&Config::parse(br#"{"config":{"bagde":"guest"}}"#).unwrap()).is_err());
        options(r#"{"config":{}}"#);
    }

    // [hook connect]
    #[test]
    fn banned_users_are_refused() {
        let options = options(r#"{"config":{"ban":"mallory"}}"#);
        for (user, want) in [("mallory", Entry::refuse()), ("ada", Entry::accept())] {
            let text = format!(r#"{{"host":"h","connection":"c","user":{{"id":"{}","email":""}}}}"#, user);
            assert_eq!(options.login(&Login::parse(text.as_bytes()).unwrap()), want, "{}", user);
        }
    }

    // [end]
    // [hook classify]
    #[test]
    fn open_channels_are_anonymous() {
        let options = options(r#"{"config":{"open":["lobby-","help"]}}"#);
        for (channel, want) in
            [("lobby-1", Decision::ANONYMOUS), ("help", Decision::ANONYMOUS), ("team", Decision::NO_OPINION)]
        {
            let request = Request::to_classify("portal.example.com", channel, Kind::Authenticated);
            assert_eq!(options.classify(&request), want, "{}", channel);
        }
    }

    // [end]
    // [hook authorize]
    #[test]
    fn staff_rooms_are_for_staff() {
        let options = options(r#"{"config":{"staff":"example.com"}}"#);
        for (user, want) in [
            (Some(("ada", "ada@example.com")), Access::NoObjection),
            (Some(("bob", "bob@example.org")), Access::Denied),
            (None, Access::Denied),
        ] {
            let request = Request::to_authorize("portal.example.com", "staff-room", Kind::Authenticated, user);
            assert_eq!(options.join(&request), want, "{:?}", user);
        }
    }

    // [end]
    // [hook message]
    #[test]
    fn words_and_many_messages_are_refused() {
        let options = options(r#"{"config":{"words":["heck"],"limit":"2"}}"#);
        let send = |user, body| {
            let sender = rollcall::Request::to_authorize("h", "sales", Kind::Authenticated, Some((user, "")));
            options.send(&Message::new(sender, body))
        };
        assert_eq!(send("bob", r#"{"text":"oh h\u0065ck"}"#), Verdict::Refuse);
        let sent = [0; 3].map(|_| send("ada", r#"{"text":"hello"}"#));
        assert_eq!(sent, [Verdict::Send, Verdict::Send, Verdict::Refuse]);
    }

    // [end]
    // [hook members]
    #[test]
    fn users_wear_the_badge() {
        let mut member = Member::of(Endpoint::Users, "1", "ann@example.com");
        options(r#"{"config":{"badge":"guest"}}"#).show(&mut member);
        assert_eq!(member.get("badge"), Some("guest"));
    }

    // [end]
    // [hook shape]
    #[test]
    fn answers_are_wrapped() {
        let answer = Answer::new(rollcall::Endpoint::Users, b"{}");
        let got = options(r#"{"config":{"wrap":"channels"}}"#).answer(&answer);
        assert_eq!(got.map(|json| json.to_string()), Some(r#"{"channels":{}}"#.to_string()));
    }

    // [end]
}
