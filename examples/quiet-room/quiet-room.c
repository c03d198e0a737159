/*
 * quiet-room is a Rollcall plugin for rooms in which everybody listens and only hosts write.
 *
 * Its options; rooms is needed:
 *
 *     config {
 *         rooms townhall webinar-*     # channels; a star at the end stands for any text
 *         claim role                   # claim of the token that says who is a host; "role" by default
 *         value host                   # its value, or one of its values; "host" by default
 *     }
 *
 * Who is a host is known at the login, from the token, and is needed at each message. So connect stores it for the
 * connection, and message looks it up. The backend may always write.
 */
#include "rollcall.h"

static rc_json rooms;
static rc_text claim, value;

RC_CONFIGURE(config) {
	if (!rc_known(config->options, "rooms claim value")) {
		return 1;
	}
	rooms = rc_value(config->options, "rooms");
	if (!rooms.size || rc_is_true(rooms) || rc_is_object(rooms)) {
		return rc_refuse(RC_TEXT("config: want the names of rooms: rooms townhall webinar-*"));
	}
	claim = rc_option(config, "claim", RC_TEXT("role"));
	value = rc_option(config, "value", RC_TEXT("host"));
	return RC_CONFIGURED;
}

static bool is_quiet(rc_text channel) {
	for (rc_iterator i = rc_items(rooms); rc_next(&i);) {
		rc_text name = rc_string(i.value);
		bool star = name.size && name.data[name.size - 1] == '*';
		if (star ? rc_starts_with(channel, rc_part(name, 0, name.size - 1)) : rc_equal(channel, name)) {
			return true;
		}
	}
	return false;
}

/* A claim may be a text or a list of texts. */
static bool is_host(rc_json claims) {
	for (rc_iterator i = rc_items(claims); rc_next(&i);) {
		if (!rc_equal(rc_string(i.name), claim)) {
			continue;
		}
		if (rc_is_object(i.value)) {
			return false;
		}
		for (rc_iterator v = rc_items(i.value); rc_next(&v);) {
			if (rc_is_string(v.value) && rc_equal(rc_string(v.value), value)) {
				return true;
			}
		}
	}
	return false;
}

/* The key of a connection that belongs to a host. */
static rc_text host_key(rc_text connection) {
	return RC_JOIN(RC_TEXT("host|"), rc_part(connection, 0, 120));
}

RC_CONNECT(login) {
	rc_text key = host_key(login->connection);
	if (!is_host(login->claims)) {
		rc_kv_delete(key); /* the connection may have belonged to a host before */
	} else if (!rc_kv_set(key, RC_TEXT("1"), RC_DAY)) {
		rc_log(RC_WARN, RC_TEXT("the store is full: a host cannot write; raise kv"));
	}
	return RC_UNCHANGED;
}

RC_MESSAGE(sender, message) {
	(void)message;
	if (sender->backend || !is_quiet(sender->channel)) {
		return RC_UNCHANGED;
	}
	rc_text key = host_key(sender->connection), found;
	if (!rc_kv_get(key, &found)) {
		rc_count(RC_TEXT("quiet_refused"), 1);
		return RC_REFUSE;
	}
	rc_kv_set(key, found, RC_DAY); /* a host who writes stays one for another day */
	return RC_UNCHANGED;
}
