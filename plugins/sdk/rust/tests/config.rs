use rollcall::Config;

const SAMPLE: &str = r#"{"host":"portal.example.com","plugin":"rules","config":{
    "one":"word","many":["a","b"],"on":true,"off":"false","number":"42","inner":{"deep":{"x":"y"}}}}"#;

fn config(text: &str) -> Config {
    Config::parse(text.as_bytes()).unwrap()
}

#[test]
fn a_block_is_read_by_type() {
    let config = config(SAMPLE);
    let block = config.block();
    assert_eq!((config.host(), config.plugin()), ("portal.example.com", "rules"));
    assert_eq!(block.string("one").unwrap(), Some("word"));
    assert_eq!(block.strings("one").unwrap(), ["word"]);
    assert_eq!(block.strings("many").unwrap(), ["a", "b"]);
    assert_eq!((block.bool("on").unwrap(), block.bool("off").unwrap()), (true, false));
    assert_eq!(block.integer("number").unwrap(), Some(42));
    let deep = block.block("inner").unwrap().block("deep").unwrap();
    assert_eq!(deep.string("x").unwrap(), Some("y"));
    assert_eq!(block.names().collect::<Vec<_>>(), ["one", "many", "on", "off", "number", "inner"]);
}

#[test]
fn what_is_not_there_is_nothing() {
    for text in [r#"{"config":{}}"#, "{}", r#"{"config":null}"#] {
        let config = config(text);
        let block = config.block();
        assert_eq!((config.host(), config.plugin()), ("", ""));
        assert_eq!(block.string("none").unwrap(), None);
        assert!(block.strings("none").unwrap().is_empty());
        assert!(!block.bool("none").unwrap());
        assert_eq!(block.integer("none").unwrap(), None);
        assert_eq!(block.block("none").unwrap().names().count(), 0);
        assert!(!block.has("none"));
    }
}

#[test]
fn errors_name_the_place_and_what_is_wanted() {
    let config = config(SAMPLE);
    let block = config.block();
    let inner = block.block("inner").unwrap();
    for (got, want) in [
        (block.string("many").err(), "config.many: want one word, got several words"),
        (block.strings("inner").err(), "config.inner: want one or more words, got a block"),
        (block.strings("on").err(), "config.on: want one or more words, got nothing"),
        (block.bool("one").err(), "config.one: want nothing, true or false, got a word"),
        (block.integer("one").err(), "config.one: want an integer, got \"word\""),
        (block.block("one").err(), "config.one: want a block in braces, got a word"),
        (inner.string("deep").err(), "config.inner.deep: want one word, got a block"),
        (inner.only(&["a", "b"]).err(), "config.inner.deep: unknown; known are a, b"),
    ] {
        assert_eq!(got.unwrap().to_string(), want);
    }
    assert!(inner.only(&["deep"]).is_ok());
    for text in ["", "[", r#"{"config":1}"#] {
        assert!(Config::parse(text.as_bytes()).is_err(), "{}", text);
    }
}
