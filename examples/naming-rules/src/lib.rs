//! Decides a channel's kind by its name, and which companies may join it, as its block of the Caddyfile says.

mod pattern;

use pattern::Pattern;
use rollcall::{Access, Config, ConfigError, Decision, Request};

rollcall::plugin! {
    state: Rules,
    configure: Rules::new,
    classify: Rules::classify,
    authorize: Rules::authorize,
}

/// The rules of one host.
struct Rules {
    denied: Vec<Pattern>,
    authenticated: Vec<Pattern>,
    anonymous: Vec<Pattern>,
    hidden: Vec<Pattern>,
    count_only: Vec<Pattern>,
    companies: Vec<Company>,
}

/// Channels for users with an e-mail address in one of the domains only.
struct Company {
    channels: Pattern,
    domains: Vec<String>,
}

impl Rules {
    fn new(config: &Config) -> Result<Rules, ConfigError> {
        let block = config.block();
        block.only(&["denied", "authenticated", "anonymous", "hidden", "count_only", "email_domain"])?;
        let patterns = |name: &str| -> Result<Vec<Pattern>, ConfigError> {
            Ok(block.strings(name)?.into_iter().map(Pattern::new).collect())
        };
        let domains = block.block("email_domain")?;
        let mut companies = Vec::new();
        for channels in domains.names() {
            let list = domains.strings(channels)?;
            if let Some(domain) = list.iter().find(|domain| domain.contains('@')) {
                return Err(domains.error(channels, &format!("want a domain without @, got {:?}", domain)));
            }
            companies.push(Company {
                channels: Pattern::new(channels.to_string()),
                domains: list.iter().map(|domain| domain.to_lowercase()).collect(),
            });
        }
        Ok(Rules {
            denied: patterns("denied")?,
            authenticated: patterns("authenticated")?,
            anonymous: patterns("anonymous")?,
            hidden: patterns("hidden")?,
            count_only: patterns("count_only")?,
            companies,
        })
    }

    /// If several rules match a name, the strictest decides.
    fn classify(&self, request: &Request) -> Decision {
        let channel = request.channel();
        let among = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(channel));
        let mut decision = if among(&self.denied) {
            Decision::DENIED
        } else if among(&self.authenticated) {
            Decision::AUTHENTICATED
        } else if among(&self.anonymous) {
            Decision::ANONYMOUS
        } else {
            Decision::NO_OPINION
        };
        if among(&self.hidden) {
            decision = decision.hidden();
        }
        if among(&self.count_only) {
            decision = decision.count_only();
        }
        decision
    }

    fn authorize(&self, request: &Request) -> Access {
        let domain = match request.email().rsplit_once('@') {
            Some((_, domain)) => domain.to_lowercase(),
            None => String::new(), // no domain is empty, so this user is in no company
        };
        let refused = self
            .companies
            .iter()
            .any(|company| company.channels.matches(request.channel()) && !company.domains.contains(&domain));
        match refused {
            true => Access::Denied,
            false => Access::NoObjection,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall::Kind;

    fn rules(config: &str) -> Result<Rules, ConfigError> {
        Rules::new(&Config::parse(format!(r#"{{"config":{}}}"#, config).as_bytes())?)
    }

    #[test]
    fn the_strictest_rule_decides() {
        let rules = rules(
            r#"{"denied":"*-closed","authenticated":["vip-*","staff-*"],"anonymous":["lobby-*","*-open"],
                "hidden":"*-secret*","count_only":"*-webinar"}"#,
        )
        .unwrap();
        for (channel, want) in [
            ("team-1", Decision::NO_OPINION),
            ("lobby-1", Decision::ANONYMOUS),
            ("vip-open", Decision::AUTHENTICATED),
            ("vip-closed", Decision::DENIED),
            ("lobby-secrets", Decision::ANONYMOUS.hidden()),
            ("team-webinar", Decision::NO_OPINION.count_only()),
            ("staff-secret-webinar", Decision::AUTHENTICATED.hidden().count_only()),
        ] {
            assert_eq!(rules.classify(&Request::to_classify("h", channel, Kind::Authenticated)), want, "{}", channel);
        }
    }

    #[test]
    fn companies_keep_to_their_channels() {
        let rules =
            rules(r#"{"email_domain":{"acme-*":["acme.example","Acme.test"],"*-board":"acme.example"}}"#).unwrap();
        let access = |channel, email| {
            rules.authorize(&Request::to_authorize("h", channel, Kind::Authenticated, Some(("u", email))))
        };
        for (channel, email, want) in [
            ("acme-1", "ann@acme.example", Access::NoObjection),
            ("acme-1", "bob@ACME.test", Access::NoObjection),
            ("acme-1", "eve@notacme.example", Access::Denied),
            ("acme-1", "acme.example", Access::Denied),
            ("acme-1", "", Access::Denied),
            ("acme-board", "bob@acme.test", Access::Denied), // both rules must allow it
            ("acme-board", "ann@acme.example", Access::NoObjection),
            ("other", "eve@evil.example", Access::NoObjection),
        ] {
            assert_eq!(access(channel, email), want, "{} {}", channel, email);
        }
        let nobody = Request::to_authorize("h", "acme-1", Kind::Anonymous, None);
        assert_eq!(rules.authorize(&nobody), Access::Denied);
    }

    #[test]
    fn a_mistake_in_the_caddyfile_is_refused() {
        for (config, want) in [
            (r#"{"annonymous":"x"}"#, "config.annonymous: unknown; known are denied, authenticated, anonymous, "),
            (r#"{"hidden":{"x":"y"}}"#, "config.hidden: want one or more words, got a block"),
            (r#"{"email_domain":{"x":"a@b"}}"#, "config.email_domain.x: want a domain without @, got \"a@b\""),
        ] {
            let err = rules(config).err().unwrap().to_string();
            assert!(err.starts_with(want), "{}", err);
        }
    }
}
