use std::time::Duration;

use rollcall::{kv, Entry, Json, Kind, Login, Message, Request, Verdict};

fn encode(flags: u8, texts: [&str; 4], connection: &str, body: &str) -> Vec<u8> {
    let mut request = vec![1, 1, flags, 0];
    for text in texts {
        request.extend_from_slice(&(text.len() as u16).to_le_bytes());
    }
    let mut extension = vec![1, 0, connection.len() as u8, 0];
    extension.extend_from_slice(connection.as_bytes());
    request.extend_from_slice(&(extension.len() as u32).to_le_bytes());
    request.extend_from_slice(texts.concat().as_bytes());
    request.extend_from_slice(&extension);
    let mut out = (request.len() as u32).to_le_bytes().to_vec();
    out.extend_from_slice(&request);
    out.extend_from_slice(body.as_bytes());
    out
}

#[test]
fn a_message_is_decoded() {
    let bytes = encode(0, ["h", "sales", "ada", "a@b"], "CONN", r#"{"text":"\u0068i"}"#);
    let message = Message::decode(&bytes).ok().unwrap();
    assert_eq!(
        (message.sender().channel(), message.sender().user_id(), message.connection()),
        ("sales", "ada", "CONN")
    );
    assert!(!message.sender().is_backend() && !message.sender().is_anonymous());
    assert_eq!(message.json().get("text").and_then(Json::as_str), Some("hi"));
    assert_eq!(message.body(), r#"{"text":"\u0068i"}"#);
    for end in 0..bytes.len() - message.body().len() {
        assert!(Message::decode(&bytes[..end]).is_err(), "cut at {}", end);
    }
    let backend = encode(2, ["h", "sales", "", ""], "", "{}");
    let backend = Message::decode(&backend).ok().unwrap();
    assert!(backend.sender().is_backend());
    assert_eq!(backend.connection(), "");
    assert!(Message::decode(&[0xff; 8]).is_err());
}

#[test]
fn tests_of_plugins_make_messages() {
    let sender = Request::to_authorize("h", "sales", Kind::Authenticated, Some(("ada", "")));
    let message = Message::new(sender, "{}");
    assert_eq!((message.connection(), message.json()), ("", Json::Object(Vec::new())));
    assert_ne!(Verdict::Send, Verdict::Refuse);
}

#[test]
fn a_login_is_read() {
    let text =
        br#"{"host":"h","connection":"c","user":{"id":"ada","email":"a@b","info":{"n":1}},"claims":{"role":"host"}}"#;
    let login = Login::parse(text).ok().unwrap();
    assert_eq!((login.host(), login.connection(), login.user_id(), login.email()), ("h", "c", "ada", "a@b"));
    assert_eq!(login.claim("role").and_then(Json::as_str), Some("host"));
    assert_eq!(login.info().map(|info| info.to_string()), Some(r#"{"n":1}"#.to_string()));
    let nobody = Login::parse(br#"{"host":"h","connection":"c","user":null,"claims":null}"#).ok().unwrap();
    assert!(
        nobody.is_anonymous() && nobody.user_id().is_empty() && nobody.info().is_none() && nobody.claim("x").is_none()
    );
    for bad in ["", "{", "{}", "\u{fffd}"] {
        assert!(Login::parse(bad.as_bytes()).is_err(), "{:?}", bad);
    }
    assert!(Login::parse(&[0xff]).is_err());
}

#[test]
fn an_entry_is_written() {
    assert_eq!((Entry::accept().json(), Entry::refuse().json()), (None, None));
    assert!(Entry::refuse().is_refused() && !Entry::accept().is_refused());
    let entry = Entry::accept().info(Json::Null).channels(vec![Json::from("news-*")]);
    assert_eq!(entry.json().unwrap().to_string(), r#"{"info":null,"channels":["news-*"]}"#);
}

#[test]
fn values_are_stored() {
    let minute = Duration::from_secs(60);
    assert_eq!(kv::get("a"), None);
    assert!(kv::set("a", b"x", minute));
    assert_eq!(kv::get("a"), Some(b"x".to_vec()));
    assert_eq!(kv::add("a", 1, minute), kv::FULL);
    assert_eq!((kv::add("n", 2, minute), kv::add("n", -5, minute)), (2, -3));
    assert_eq!((kv::add("m", i64::MAX, minute), kv::add("m", 5, minute)), (i64::MAX - 1, i64::MAX - 1));
    kv::remove("a");
    assert_eq!(kv::get("a"), None);
    for bad in [Duration::from_secs(0), Duration::from_secs(86_401)] {
        assert!(std::panic::catch_unwind(|| kv::add("b", 1, bad)).is_err(), "{:?}", bad);
    }
    assert!(std::panic::catch_unwind(|| kv::get("")).is_err());
    assert!(std::panic::catch_unwind(|| kv::set("b", b"x", Duration::from_micros(500))).is_err());
}
