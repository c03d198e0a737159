/** The kinds and flags of a decision in all combinations, so that a decision allocates nothing. */
const all = new StaticArray<Decision | null>(0x800);

/** A plugin's opinion on a channel. The first with an opinion on the kind decides it; flags of all add up. */
export class Decision {
  /** Leaves the kind to the next plugin, and finally to the site's own rules. */
  static readonly NO_OPINION: Decision = Decision.of(0);
  /** Only connections with a user may join, and the users are listed. */
  static readonly AUTHENTICATED: Decision = Decision.of(1);
  /** Anyone may join, and the channel is listed with a number of connections. */
  static readonly ANONYMOUS: Decision = Decision.of(2);
  /** The channel cannot be joined. */
  static readonly DENIED: Decision = Decision.of(3);

  private constructor(
    /** The result of rollcall_classify. */
    readonly bits: u32,
  ) {}

  private static of(bits: u32): Decision {
    let decision = all[bits];
    if (decision === null) {
      decision = new Decision(bits);
      all[bits] = decision;
    }
    return decision;
  }

  /** Adds that the channel is in no answer of /message/users and /message/channels. */
  hidden(): Decision {
    return Decision.of(this.bits | 0x100);
  }

  /** Adds that the channel needs a login but is listed with a number. */
  countOnly(): Decision {
    return Decision.of(this.bits | 0x200);
  }

  /** Adds that the channel needs a login and a grant, whatever decides its kind. */
  needGrant(): Decision {
    return Decision.of(this.bits | 0x400);
  }
}

/** Whether a connection may join a channel. A plugin can refuse what the site's rules allow, never the reverse. */
export enum Access {
  /** The connection may join, unless another plugin or the site's rules refuse it. */
  NoObjection = 0,
  /** The client gets the error `denied`. */
  Denied = 1,
}
