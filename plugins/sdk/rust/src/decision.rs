/// A plugin's opinion on a channel. The first with an opinion on the kind decides it; flags of all add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision(u64);

impl Decision {
    /// Leaves the kind to the next plugin, and finally to the site's own rules.
    pub const NO_OPINION: Decision = Decision(0);
    /// Only connections with a user may join, and the users are listed.
    pub const AUTHENTICATED: Decision = Decision(1);
    /// Anyone may join, and the channel is listed with a number of connections.
    pub const ANONYMOUS: Decision = Decision(2);
    /// The channel cannot be joined.
    pub const DENIED: Decision = Decision(3);

    /// Adds that the channel is in no answer of `/message/users` and `/message/channels`.
    pub const fn hidden(self) -> Decision {
        Decision(self.0 | 1 << 8)
    }

    /// Adds that the channel needs a login but is listed with a number.
    pub const fn count_only(self) -> Decision {
        Decision(self.0 | 1 << 9)
    }

    /// Adds that the channel needs a login and a grant, whatever decides its kind.
    pub const fn need_grant(self) -> Decision {
        Decision(self.0 | 1 << 10)
    }

    /// The result of `rollcall_classify`.
    #[doc(hidden)]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// Whether a connection may join a channel. A plugin can refuse what the site's rules allow, never the reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The connection may join, unless another plugin or the site's rules refuse it.
    NoObjection,
    /// The client gets the error `denied`.
    Denied,
}
