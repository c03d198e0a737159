//! The Rust guest: a lobby is anonymous, staff rooms are hidden, e-mail addresses are masked.

use rollcall::{Answer, Decision, Json, Request};

rollcall::plugin! {
    classify: classify,
    shape: shape,
}

fn classify(request: &Request) -> Decision {
    match request.channel() {
        channel if channel.starts_with("lobby-") => Decision::ANONYMOUS,
        channel if channel.starts_with("staff-") => Decision::AUTHENTICATED.hidden(),
        _ => Decision::NO_OPINION,
    }
}

fn shape(answer: &Answer) -> Option<Json> {
    let mut json = answer.json();
    mask(&mut json);
    Some(json)
}

fn mask(json: &mut Json) {
    match json {
        Json::Array(list) => list.iter_mut().for_each(mask),
        Json::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                match value {
                    Json::String(text) if key == "email" => *text = masked(text),
                    other => mask(other),
                }
            }
        }
        _ => {}
    }
}

fn masked(email: &str) -> String {
    let at = email.find('@').unwrap_or(email.len());
    format!("{}***{}", email.chars().next().unwrap_or('?'), &email[at..])
}
