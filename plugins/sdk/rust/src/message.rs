use std::convert::TryInto;
use std::str;

use crate::{Json, Request};

/// The tag of the extension with the ID of the sender's connection.
const CONNECTION: u16 = 1;

/// A message to one channel, and who sends it: the input of `message`.
pub struct Message<'a> {
    sender: Request<'a>,
    body: &'a str,
}

impl<'a> Message<'a> {
    /// A message for tests; the sender is made by [`Request::to_authorize`].
    pub fn new(sender: Request<'a>, body: &'a str) -> Message<'a> {
        Message { sender, body }
    }

    /// Reads the bytes that the host wrote.
    #[doc(hidden)]
    pub fn decode(bytes: &'a [u8]) -> Result<Message<'a>, &'static str> {
        let cut = "the message is shorter than its lengths say";
        let head: [u8; 4] = bytes.get(..4).ok_or(cut)?.try_into().map_err(|_| cut)?;
        let (request, body) = match (u32::from_le_bytes(head) as usize).checked_add(4) {
            Some(end) if end <= bytes.len() => (&bytes[4..end], &bytes[end..]),
            _ => return Err(cut),
        };
        let body = str::from_utf8(body).map_err(|_| "the message is not UTF-8")?;
        Ok(Message { sender: Request::decode(request)?, body })
    }

    /// The channel, and who sends. The user is empty for an anonymous connection and for the backend.
    pub fn sender(&self) -> &Request<'a> {
        &self.sender
    }

    /// The ID of the sender's connection; empty for the backend.
    pub fn connection(&self) -> &'a str {
        self.sender.extension(CONNECTION).map_or("", |id| str::from_utf8(id).unwrap_or(""))
    }

    /// The message as it was sent: an object as JSON.
    pub fn body(&self) -> &'a str {
        self.body
    }

    /// The message as a value.
    ///
    /// # Panics
    /// If it is nested more than 64 deep, which fails the hook.
    pub fn json(&self) -> Json {
        match Json::parse(self.body) {
            Ok(json) => json,
            Err(err) => panic!("the message: {}", err),
        }
    }
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is sent as it is.
    Send,
    /// It is refused, for all of its channels.
    Refuse,
    /// Another object is sent to this channel.
    Replace(Json),
}
