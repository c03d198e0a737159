use rollcall::{Access, Decision, Endpoint, Kind, Request};

fn encode(kind: u8, flags: u16, texts: [&str; 4], extension: &[u8]) -> Vec<u8> {
    let mut out = vec![1, kind];
    out.extend_from_slice(&flags.to_le_bytes());
    for text in texts {
        out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    }
    out.extend_from_slice(&(extension.len() as u32).to_le_bytes());
    for text in texts {
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(extension);
    out
}

#[test]
fn a_request_is_decoded() {
    let extension = [7, 0, 1, 0, 9, 8, 0, 2, 0, 1, 2];
    let bytes = encode(2, 1, ["h.example", "lobby-ü", "u1", "u1@h.example"], &extension);
    let request = Request::decode(&bytes).ok().unwrap();
    assert_eq!(request.kind(), Kind::Anonymous);
    assert!(request.is_anonymous());
    assert!(!request.needs_grant());
    assert!(Request::decode(&encode(1, 4, ["h", "c", "", ""], b"")).ok().unwrap().needs_grant());
    assert_eq!((request.host(), request.channel()), ("h.example", "lobby-ü"));
    assert_eq!((request.user_id(), request.email()), ("u1", "u1@h.example"));
    assert_eq!(request.extension(8), Some(&[1, 2][..]));
    assert_eq!(request.extension(9), None);
}

#[test]
fn a_broken_request_is_an_error() {
    let good = encode(1, 0, ["h", "c", "", ""], b"");
    assert!(Request::decode(&good).is_ok());
    for end in 0..good.len() {
        assert!(Request::decode(&good[..end]).is_err(), "cut at {}", end);
    }
    let mut version = good.clone();
    version[0] = 2;
    assert!(Request::decode(&version).is_err());
    assert!(Request::decode(&encode(3, 0, ["h", "c", "", ""], b"")).is_err());
    let cut = encode(1, 0, ["h", "c", "", ""], &[7, 0, 5, 0, 1]);
    assert_eq!(Request::decode(&cut).ok().unwrap().extension(7), None);
}

#[test]
fn text_is_checked_whatever_its_length() {
    for length in 0..40 {
        let ascii = "x".repeat(length);
        let bytes = encode(1, 0, ["h", &ascii, "", ""], b"");
        assert_eq!(Request::decode(&bytes).ok().unwrap().channel(), ascii);
        for at in 0..length {
            let mut broken = bytes.clone();
            broken[17 + at] = 0xff;
            let channel = || Request::decode(&broken).ok().unwrap().channel().len();
            assert!(std::panic::catch_unwind(channel).is_err(), "byte {} of {}", at, length);
        }
        let mixed = ascii + "ü";
        let bytes = encode(1, 0, ["h", &mixed, "", ""], b"");
        assert_eq!(Request::decode(&bytes).ok().unwrap().channel(), mixed);
    }
}

#[test]
fn decisions_have_the_bits_of_the_contract() {
    assert_eq!(Decision::NO_OPINION.bits(), 0);
    assert_eq!(Decision::AUTHENTICATED.bits(), 1);
    assert_eq!(Decision::ANONYMOUS.bits(), 2);
    assert_eq!(Decision::DENIED.bits(), 3);
    assert_eq!(Decision::AUTHENTICATED.hidden().bits(), 0x101);
    assert_eq!(Decision::NO_OPINION.count_only().hidden().bits(), 0x300);
    assert_eq!(Decision::NO_OPINION.need_grant().bits(), 0x400);
    assert_ne!(Access::NoObjection, Access::Denied);
    assert_eq!([4, 5, 6].map(Endpoint::from), [Endpoint::Live, Endpoint::Events, Endpoint::Other(6)]);
}

#[test]
fn tests_of_plugins_make_requests() {
    let request = Request::to_authorize("h", "c", Kind::Authenticated, Some(("u", "u@h")));
    assert_eq!((request.user_id(), request.email(), request.is_anonymous()), ("u", "u@h", false));
    assert!(Request::to_authorize("h", "c", Kind::Anonymous, None).is_anonymous());
    assert!(!Request::to_classify("h", "c", Kind::Anonymous).is_anonymous());
}
