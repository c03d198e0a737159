use std::str;

/// The kind of a channel by the site's own rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection needs a user to join.
    Authenticated,
    /// Anyone may join.
    Anonymous,
}

/// The kind of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/message/users`
    Users,
    /// `/message/allusers`
    AllUsers,
    /// `/message/channels`
    Channels,
    /// What browsers see of each other, for `members` alone.
    Live,
    /// What events show of a user, for `members` alone.
    Events,
    /// An endpoint newer than this crate. Treat it as the most public one.
    Other(i32),
}

impl From<i32> for Endpoint {
    fn from(number: i32) -> Endpoint {
        match number {
            1 => Endpoint::Users,
            2 => Endpoint::AllUsers,
            3 => Endpoint::Channels,
            4 => Endpoint::Live,
            5 => Endpoint::Events,
            other => Endpoint::Other(other),
        }
    }
}

const HEADER: usize = 16;

/// A channel to classify or, for `authorize`, a connection that wants to join one.
pub struct Request<'a> {
    kind: Kind,
    anonymous: bool,
    backend: bool,
    grant: bool,
    host: &'a [u8],
    channel: &'a [u8],
    user_id: &'a [u8],
    email: &'a [u8],
    extension: &'a [u8],
}

impl<'a> Request<'a> {
    /// A request as `classify` gets it, for tests.
    pub fn to_classify(host: &'a str, channel: &'a str, kind: Kind) -> Request<'a> {
        let [host, channel] = [host.as_bytes(), channel.as_bytes()];
        Request {
            kind,
            anonymous: false,
            backend: false,
            grant: false,
            host,
            channel,
            user_id: b"",
            email: b"",
            extension: b"",
        }
    }

    /// A request as `authorize` gets it, for tests. The user is an ID and an e-mail address; `None`
    /// is an anonymous connection.
    pub fn to_authorize(host: &'a str, channel: &'a str, kind: Kind, user: Option<(&'a str, &'a str)>) -> Request<'a> {
        let (user_id, email) = user.unwrap_or_default();
        Request {
            anonymous: user.is_none(),
            user_id: user_id.as_bytes(),
            email: email.as_bytes(),
            ..Request::to_classify(host, channel, kind)
        }
    }

    /// Reads the bytes that the host wrote. It is inlined, so that unused parts cost nothing.
    #[doc(hidden)]
    #[inline(always)]
    pub fn decode(bytes: &'a [u8]) -> Result<Request<'a>, &'static str> {
        if bytes.len() < HEADER {
            return Err("the request is shorter than its header");
        }
        if bytes[0] != 1 {
            return Err("the request is of a version other than 1");
        }
        let kind = match bytes[1] {
            1 => Kind::Authenticated,
            2 => Kind::Anonymous,
            _ => return Err("the request has an unknown kind"),
        };
        let short = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let host = HEADER;
        let channel = host + short(4);
        let user_id = channel + short(6);
        let email = user_id + short(8);
        let extension = email + short(10);
        let after = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]) as usize;
        if bytes.len() < extension || bytes.len() - extension < after {
            return Err("the request is shorter than its lengths say");
        }
        // The offsets are in order, and the last one is within the bytes.
        let part = |from: usize, to: usize| unsafe { bytes.get_unchecked(from..to) };
        Ok(Request {
            kind,
            anonymous: bytes[2] & 1 != 0,
            backend: bytes[2] & 2 != 0,
            grant: bytes[2] & 4 != 0,
            host: part(host, channel),
            channel: part(channel, user_id),
            user_id: part(user_id, email),
            email: part(email, extension),
            extension: part(extension, extension + after),
        })
    }

    /// Whether the site's own rules need a grant for the channel. `Decision::ANONYMOUS` is then
    /// refused as a failure.
    pub fn needs_grant(&self) -> bool {
        self.grant
    }

    /// The kind by the site's own rules.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The host: lower case, without a port.
    #[inline]
    pub fn host(&self) -> &'a str {
        text(self.host)
    }

    /// The name of the channel.
    #[inline]
    pub fn channel(&self) -> &'a str {
        text(self.channel)
    }

    /// Whether the connection has no user. For `classify` it is false.
    pub fn is_anonymous(&self) -> bool {
        self.anonymous
    }

    /// Whether a backend sends the message. It is false except for `message`.
    pub fn is_backend(&self) -> bool {
        self.backend
    }

    /// The ID of the user; empty for `classify` and for an anonymous connection.
    #[inline]
    pub fn user_id(&self) -> &'a str {
        text(self.user_id)
    }

    /// The e-mail address of the user; empty if it is not known, and for `classify`.
    #[inline]
    pub fn email(&self) -> &'a str {
        text(self.email)
    }

    /// The value of an extension that later versions of the host may send; `None` if it is absent.
    pub fn extension(&self, tag: u16) -> Option<&'a [u8]> {
        let mut rest = self.extension;
        while rest.len() >= 4 {
            let (head, after) = rest.split_at(4);
            let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
            if length > after.len() {
                return None;
            }
            if head[..2] == tag.to_le_bytes() {
                return Some(&after[..length]);
            }
            rest = &after[length..];
        }
        None
    }
}

/// Checks when a text is read, so that a plugin pays only for what it reads. Nearly all names are
/// ASCII and cost little.
#[inline(always)]
fn text(bytes: &[u8]) -> &str {
    if !is_ascii(bytes) {
        check(bytes);
    }
    unsafe { str::from_utf8_unchecked(bytes) }
}

#[cold]
#[inline(never)]
fn check(bytes: &[u8]) {
    str::from_utf8(bytes).expect("the host sent text that is not UTF-8");
}

/// Reads eight bytes per turn; the last turn overlaps the one before.
#[inline(always)]
fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    if bytes.len() < 8 {
        return bytes.iter().all(|byte| *byte < 0x80);
    }
    let last = bytes.len() - 8;
    let word = |at: usize| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(eight)
    };
    let mut seen = word(last);
    let mut at = 0;
    while at < last {
        seen |= word(at);
        at += 8;
    }
    seen & HIGH == 0
}
