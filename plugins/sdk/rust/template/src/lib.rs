//! PLUGIN_NAME is a plugin of the Rollcall presence gateway.
//!
//! Its options, in the plugin block of the Caddyfile:
//!
//! ```text
//! config {
//!     open  lobby- help   # anonymous connections may join channels with these prefixes
//!     badge guest         # badge of each listed user; none by default
//! }
//! ```

use rollcall::{Config, ConfigError, Decision, Member, Request};

rollcall::plugin! {
    state: Options,
    configure: Options::new,
    classify: Options::classify,
    members: Options::show,
}

struct Options {
    open: Vec<String>,
    badge: Option<String>,
}

impl Options {
    fn new(config: &Config) -> Result<Options, ConfigError> {
        let block = config.block();
        block.only(&["open", "badge"])?;
        Ok(Options { open: block.strings("open")?, badge: block.string("badge")?.map(str::to_string) })
    }

    /// Decides the kind of a channel.
    fn classify(&self, request: &Request) -> Decision {
        match self.open.iter().any(|prefix| request.channel().starts_with(prefix)) {
            true => Decision::ANONYMOUS,
            false => Decision::NO_OPINION,
        }
    }

    /// Changes what an answer shows of a user.
    fn show(&self, member: &mut Member) {
        if let Some(badge) = &self.badge {
            member.set("badge", badge.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall::{Endpoint, Kind};

    fn options(config: &str) -> Options {
        Options::new(&Config::parse(config.as_bytes()).unwrap()).unwrap()
    }

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

    #[test]
    fn users_wear_the_badge() {
        let mut member = Member::of(Endpoint::Users, "1", "ann@example.com");
        options(r#"{"config":{"badge":"guest"}}"#).show(&mut member);
        assert_eq!(member.get("badge"), Some("guest"));
    }
}
