use rollcall::Json;

#[test]
fn what_is_read_and_written_again_is_the_same() {
    for text in [
        "null",
        "true",
        "false",
        "0",
        "-0.5e+10",
        "123456789012345678901234567890",
        r#""""#,
        r#""a \"quoted\" \\ text""#,
        r#""\n\r\t\u0000\u001f""#,
        "\"Grüße, 世界 🎉\"",
        "[]",
        "{}",
        r#"[1,[2,[]],{"b":1,"a":null}]"#,
        r#"{"room":[{"id":"1","email":""}],"lobby":3}"#,
    ] {
        assert_eq!(Json::parse(text).unwrap().to_string(), text);
    }
    let spaced = " {\r\n\t\"a\" : [ 1 , 2 ] } ";
    assert_eq!(Json::parse(spaced).unwrap().to_string(), r#"{"a":[1,2]}"#);
}

#[test]
fn escapes_are_resolved() {
    for (text, want) in [
        (r#""\/\b\f\u0041""#, "/\u{8}\u{c}A"),
        (r#""\ud83c\udf89""#, "🎉"),
        (r#""\uD83C\uDF89""#, "🎉"),
        (r#""\ud83c""#, "\u{fffd}"),
        (r#""\udf89x""#, "\u{fffd}x"),
        (r#""\ud83cA""#, "\u{fffd}A"),
        (r#""\ud83c\u0041""#, "\u{fffd}A"),
        (r#""\ud83c\ud83c\udf89""#, "\u{fffd}🎉"),
    ] {
        assert_eq!(Json::parse(text).unwrap().as_str(), Some(want), "{}", text);
    }
}

#[test]
fn what_is_not_json_is_an_error_with_its_place() {
    for (text, offset) in [
        ("", 0),
        ("nul", 0),
        ("truth", 0),
        ("[1", 2),
        ("[1,]", 3),
        ("[1 2]", 3),
        ("{", 1),
        (r#"{"a"}"#, 4),
        (r#"{"a":1,}"#, 7),
        (r#"{a:1}"#, 1),
        ("01", 1),
        ("1.", 2),
        ("-", 1),
        ("1e", 2),
        ("+1", 0),
        ("\"a", 2),
        ("\"a\nb\"", 2),
        (r#""\x""#, 2),
        (r#""\u12g4""#, 5),
        ("1 2", 2),
        ("'a'", 0),
    ] {
        let err = Json::parse(text).unwrap_err();
        assert_eq!(err.offset, offset, "{:?}: {}", text, err);
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(Json::parse(&nested(64)).is_ok());
    assert_eq!(Json::parse(&nested(65)).unwrap_err().reason, "nested too deeply");
    assert!(Json::parse(&"[".repeat(1_000_000)).is_err());
    assert!(Json::parse(&"{\"a\":".repeat(1_000_000)).is_err());
}

#[test]
fn values_are_taken_apart_and_put_together() {
    let mut json = Json::parse(r#"{"a":1,"b":[true,"x"],"c":{}}"#).unwrap();
    assert_eq!(json.get("a").and_then(Json::as_i64), Some(1));
    assert_eq!(json.get("a").and_then(Json::as_f64), Some(1.0));
    let list = json.get("b").and_then(Json::as_array).unwrap();
    assert_eq!((list[0].as_bool(), list[1].as_str()), (Some(true), Some("x")));
    assert_eq!(json.get("none"), None);
    assert_eq!(json.get("c").and_then(Json::as_object), Some(&[][..]));
    json.set("a", "one");
    json.set("d", vec![Json::from(2u64), Json::from(false), Json::Null]);
    assert_eq!(json.remove("b").map(|list| list.to_string()), Some(r#"[true,"x"]"#.to_string()));
    assert_eq!(json.to_string(), r#"{"a":"one","c":{},"d":[2,false,null]}"#);
}

#[test]
fn of_a_repeated_key_the_last_counts_and_no_other_stays() {
    let parse = || Json::parse(r#"{"a":1,"b":2,"a":3,"c":4,"a":5}"#).unwrap();
    let mut json = parse();
    assert_eq!(json.get("a"), Some(&Json::from(5)));
    json.set("a", "new");
    assert_eq!(json.to_string(), r#"{"a":"new","b":2,"c":4}"#);
    let mut json = parse();
    assert_eq!(json.remove("a"), Some(Json::from(5)));
    assert_eq!(json.to_string(), r#"{"b":2,"c":4}"#);
}
