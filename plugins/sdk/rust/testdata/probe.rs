//! The plugin of package guest's tests: it does what its input says.

use std::time::Duration;

use rollcall::*;

struct Probe;

rollcall::plugin! {
    state: Probe,
    configure: Probe::new,
    classify: Probe::classify,
    authorize: Probe::authorize,
    connect: |_, login| enter(login),
    message: |_, message| send(message),
    members: |_, member| change(member),
    shape: |_, answer| shape(answer),
}

impl Probe {
    fn new(config: &Config) -> Result<Probe, ConfigError> {
        let block = config.block();
        block.only(&["word", "words", "flag", "number", "inner"])?;
        let inner = block.block("inner")?;
        let line = [
            config.host(),
            config.plugin(),
            block.string("word")?.unwrap_or("none"),
            &block.strings("words")?.join("+"),
            &block.bool("flag")?.to_string(),
            &block.integer("number")?.unwrap_or(-1).to_string(),
            inner.string("deep")?.unwrap_or("none"),
        ]
        .join("|");
        log(Level::Info, &line);
        Ok(Probe)
    }

    fn classify(&self, request: &Request) -> Decision {
        let mut words = request.channel().split('+');
        let mut decision = match words.next().unwrap_or("") {
            "authenticated" => Decision::AUTHENTICATED,
            "anonymous" => Decision::ANONYMOUS,
            "denied" => Decision::DENIED,
            "fail" => panic!("asked to fail"),
            "flag" if request.needs_grant() => Decision::NO_OPINION.hidden(),
            "tell" => {
                log(Level::Debug, &tell(request));
                Decision::NO_OPINION
            }
            _ => Decision::NO_OPINION,
        };
        for flag in words {
            match flag {
                "hidden" => decision = decision.hidden(),
                "count" => decision = decision.count_only(),
                "grant" => decision = decision.need_grant(),
                _ => (),
            }
        }
        decision
    }

    fn authorize(&self, request: &Request) -> Access {
        log(Level::Warn, &tell(request));
        match request.user_id() {
            "eve" => Access::Denied,
            _ => Access::NoObjection,
        }
    }
}

fn tell(request: &Request) -> String {
    let (kind, who) = (request.kind() as i32 + 1, if request.is_anonymous() { "anonymous" } else { "known" });
    format!(
        "{}|{}|{}|{}|{}|{}",
        request.host(), request.channel(), kind, who, request.user_id(), request.email()
    )
}

fn enter(login: &Login) -> Entry {
    let role = login.claim("role").and_then(Json::as_str).unwrap_or("");
    let who = if login.is_anonymous() { "anonymous" } else { "known" };
    let info = login.info().map_or(String::new(), Json::to_string);
    let line = [login.host(), login.connection(), who, login.user_id(), login.email(), &info, role];
    log(Level::Info, &line.join("|"));
    let info = || Json::Object(vec![("role".to_string(), Json::from(role))]);
    let channels = || vec![Json::from("news-*"), Json::from("a\"b")];
    match login.user_id() {
        "eve" => Entry::refuse(),
        "info" => Entry::accept().info(info()),
        "null" => Entry::accept().info(Json::Null),
        "open" => Entry::accept().channels(channels()),
        "both" => Entry::accept().info(info()).channels(channels()),
        _ => Entry::accept(),
    }
}

fn send(message: &Message) -> Verdict {
    let mut json = message.json();
    let text = json.get("text").and_then(Json::as_str).unwrap_or("").to_string();
    let sender = message.sender();
    match sender.channel() {
        "get" => {
            let value = kv::get(&text).map_or("none".to_string(), |value| String::from_utf8(value).unwrap());
            log(Level::Info, &value);
        }
        "set" => {
            let stored = kv::set(&text, format!("{}!", text).as_bytes(), Duration::from_millis(1500));
            log(Level::Info, &stored.to_string());
        }
        "short" => {
            kv::set(&text, b"short", Duration::from_micros(500));
        }
        "delete" => kv::remove(&text),
        "add" => log(Level::Info, &kv::add(&text, 1, Duration::from_secs(60)).to_string()),
        "count" => count(&text, 2),
        "replace" => {
            json.set("text", text + "!");
            return Verdict::Replace(json);
        }
        channel => {
            let who = match (sender.is_anonymous(), sender.is_backend()) {
                (true, _) => "anonymous",
                (_, true) => "backend",
                _ => "known",
            };
            let kind = (sender.kind() as i32 + 1).to_string();
            let line = [
                sender.host(), channel, &kind, who, sender.user_id(), sender.email(), message.connection(), &text,
            ];
            log(Level::Warn, &line.join("|"));
        }
    }
    match sender.channel() {
        "refuse" => Verdict::Refuse,
        _ => Verdict::Send,
    }
}

fn change(member: &mut Member) {
    match member.id() {
        "tell" => {
            let endpoint = number(member.endpoint());
            let (info, status) = (member.info().unwrap_or(""), member.status().unwrap_or(""));
            log(Level::Info, &format!("{}|{}|{}", endpoint, info, status))
        }
        "hide" => member.hide(),
        "mask" => member.set("email", "***"),
        "rename" => member.rename("email", "mail"),
        "remove" => member.remove("email"),
        "add" => member.set_json("level", &Json::parse("[3,null]").unwrap()),
        "swap" => member.rename("email", "id"),
        "long" => member.set("k".repeat(256), "value"),
        _ => {
            member.remove("none");
            member.rename("none", "other");
        }
    }
}

fn shape(answer: &Answer) -> Option<Json> {
    match answer.body() {
        "\"unchanged\"" => None,
        "\"request\"" => Some(Json::from(request_body())),
        "\"endpoint\"" => Some(Json::from(number(answer.endpoint()))),
        _ => Some(answer.json()),
    }
}

fn number(endpoint: Endpoint) -> i32 {
    match endpoint {
        Endpoint::Users => 1,
        Endpoint::AllUsers => 2,
        Endpoint::Channels => 3,
        Endpoint::Live => 4,
        Endpoint::Events => 5,
        Endpoint::Other(number) => number,
    }
}
