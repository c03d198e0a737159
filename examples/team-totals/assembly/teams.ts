import { Json } from "./rollcall";

/** A team whose answer is being built. */
class Team {
  users: Json = Json.array();
  channels: Json = Json.array();
  ids: Set<string> = new Set();
  channelNames: Set<string> = new Set();
  counted: i64 = 0;

  addChannel(name: string): void {
    if (this.channelNames.has(name)) return;
    this.channelNames.add(name);
    this.channels.push(Json.string(name));
  }

  toJson(): Json {
    return Json.object()
      .add("total", Json.integer(this.users.items.length))
      .add("counted", Json.integer(this.counted))
      .add("channels", this.channels)
      .add("users", this.users);
  }
}

/** The teams of an answer, in the order in which they appear. */
export class Teams {
  private byName: Map<string, Team> = new Map();
  private ids: Set<string> = new Set();
  private counted: i64 = 0;

  /** Whether the user is in a team. */
  has(user: Json): bool {
    return this.ids.has(idOf(user));
  }

  /** Adds a user, in a channel or in none. Each user is listed once in a team and counted once in the total. */
  addUser(name: string, channel: string | null, user: Json): void {
    const id = idOf(user);
    this.ids.add(id);
    const team = this.team(name);
    if (channel !== null) team.addChannel(channel);
    if (team.ids.has(id)) return;
    team.ids.add(id);
    team.users.push(user);
  }

  /** Adds a channel that is listed as a number, without users. */
  addCount(name: string, channel: string, count: i64): void {
    this.counted += count;
    const team = this.team(name);
    team.addChannel(channel);
    team.counted += count;
  }

  toJson(): Json {
    const teams = Json.object();
    const names = this.byName.keys();
    for (let i = 0; i < names.length; i++) teams.add(names[i], this.byName.get(names[i]).toJson());
    return Json.object()
      .add("teams", teams)
      .add("total", Json.integer(this.ids.size))
      .add("counted", Json.integer(this.counted));
  }

  private team(name: string): Team {
    if (!this.byName.has(name)) this.byName.set(name, new Team());
    return this.byName.get(name);
  }
}

/** The ID of a user; if another plugin removed it, all that is shown. */
function idOf(user: Json): string {
  const id = user.get("id");
  return id !== null ? id.asString : user.toString();
}
