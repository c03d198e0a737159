use std::str;

use crate::{Endpoint, Json};

/// The body of an answer, the input of `shape`.
pub struct Answer<'a> {
    endpoint: Endpoint,
    body: &'a str,
}

impl<'a> Answer<'a> {
    /// An answer as the host passes it; for tests too.
    pub fn new(endpoint: Endpoint, body: &'a [u8]) -> Answer<'a> {
        Answer { endpoint, body: str::from_utf8(body).expect("the host sent text that is not UTF-8") }
    }

    /// The endpoint that answers.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The body as text.
    pub fn body(&self) -> &'a str {
        self.body
    }

    /// The body as a JSON value.
    pub fn json(&self) -> Json {
        match Json::parse(self.body) {
            Ok(json) => json,
            Err(err) => panic!("the answer: {}", err),
        }
    }
}
