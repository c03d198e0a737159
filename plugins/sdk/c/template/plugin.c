/*
 * PLUGIN_NAME is a plugin of the Rollcall presence gateway.
 *
 * Its options, in the plugin block of the Caddyfile:
 *
 *     config {
 * [hook classify]
 *         open  lobby- help   # anonymous connections may join channels with these prefixes
 * [end]
 * [hook authorize]
 *         staff example.com   # channels that begin with staff- are for e-mail addresses at this domain
 * [end]
 * [hook connect]
 *         ban   mallory       # users who may not log in
 * [end]
 * [hook message]
 *         words darn heck     # messages whose text contains one of these are refused
 *         limit 100           # messages of a user in a minute
 * [end]
 * [hook members]
 *         badge guest         # badge of each listed user; none by default
 * [end]
 * [hook shape]
 *         wrap  channels      # key of an object that answers are wrapped in
 * [end]
 *     }
 */
#include "rollcall.h"

/* [hook classify] */
static rc_json open;
/* [end] */
/* [hook authorize] */
static rc_text staff;
/* [end] */
/* [hook connect] */
static rc_json ban;
/* [end] */
/* [hook message] */
static rc_json words;
static int64_t limit;
/* [end] */
/* [hook members] */
static rc_text badge;
/* [end] */
/* [hook shape] */
static rc_text wrap;
/* [end] */

/* The names of the options. */
static const char names[] = ""
/* [hook classify] */
	"open "
/* [end] */
/* [hook authorize] */
	"staff "
/* [end] */
/* [hook connect] */
	"ban "
/* [end] */
/* [hook message] */
	"words limit "
/* [end] */
/* [hook members] */
	"badge "
/* [end] */
/* [hook shape] */
	"wrap "
/* [end] */
	;

RC_CONFIGURE(config) {
	if (!rc_known(config->options, names)) {
		return 1;
	}
/* [hook classify] */
	open = rc_value(config->options, "open");
/* [end] */
/* [hook authorize] */
	staff = rc_option(config, "staff", RC_TEXT(""));
/* [end] */
/* [hook connect] */
	ban = rc_value(config->options, "ban");
/* [end] */
/* [hook message] */
	words = rc_value(config->options, "words");
	limit = rc_integer(rc_option(config, "limit", RC_TEXT("0")), -1);
	if (limit < 0) {
		return rc_refuse(RC_TEXT("config.limit: want a number of messages"));
	}
/* [end] */
/* [hook members] */
	badge = rc_option(config, "badge", RC_TEXT(""));
/* [end] */
/* [hook shape] */
	wrap = rc_option(config, "wrap", RC_TEXT(""));
/* [end] */
	return RC_CONFIGURED;
}
/* [hook connect] */

/* Decides whether a login is accepted. */
RC_CONNECT(login) {
	for (rc_iterator i = rc_items(ban); rc_next(&i);) {
		if (!login->anonymous && rc_equal(login->user, rc_string(i.value))) {
			return RC_REFUSE;
		}
	}
	return RC_UNCHANGED;
}
/* [end] */
/* [hook classify] */

/* Decides the kind of a channel. */
RC_CLASSIFY(request) {
	for (rc_iterator i = rc_items(open); rc_next(&i);) {
		if (rc_starts_with(request->channel, rc_string(i.value))) {
			return RC_ANONYMOUS;
		}
	}
	return RC_NO_OPINION;
}
/* [end] */
/* [hook authorize] */

/* Decides whether a connection may join a channel. */
RC_AUTHORIZE(request) {
	if (!staff.size || !rc_starts_with(request->channel, RC_TEXT("staff-"))) {
		return RC_NO_OBJECTION;
	}
	return rc_ends_with(request->email, RC_JOIN(RC_TEXT("@"), staff)) ? RC_NO_OBJECTION : RC_REFUSED;
}
/* [end] */
/* [hook message] */

/* Decides whether a message is sent. */
RC_MESSAGE(sender, message) {
	rc_text text = rc_string(rc_value(message, "text"));
	for (rc_iterator i = rc_items(words); rc_next(&i);) {
		if (rc_contains(text, rc_string(i.value))) {
			return RC_REFUSE;
		}
	}
	if (limit && sender->user.size && rc_kv_add(RC_JOIN(RC_TEXT("m|"), rc_part(sender->user, 0, 126)), 1, RC_MINUTE) > limit) {
		return RC_REFUSE;
	}
	return RC_UNCHANGED;
}
/* [end] */
/* [hook members] */

/* Changes what an answer shows of a user. */
RC_MEMBERS(endpoint, member) {
	if (badge.size) {
		rc_set(member, "badge", badge);
	}
}
/* [end] */
/* [hook shape] */

/* Changes a whole answer. */
RC_SHAPE(endpoint, body) {
	if (!wrap.size) {
		return RC_UNCHANGED;
	}
	rc_write(RC_TEXT("{"));
	rc_write_string(wrap);
	rc_write(RC_TEXT(":"));
	rc_write(body);
	rc_write(RC_TEXT("}"));
	return rc_written();
}
/* [end] */
