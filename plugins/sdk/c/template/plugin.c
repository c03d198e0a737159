/*
 * PLUGIN_NAME is a plugin of the Rollcall presence gateway.
 *
 * Its options, in the plugin block of the Caddyfile:
 *
 *     config {
 *         open  lobby- help   # anonymous connections may join channels with these prefixes
 *         badge guest         # badge of each listed user; none by default
 *     }
 */
#include "rollcall.h"

static rc_json open;
static rc_text badge;

RC_CONFIGURE(config) {
	if (!rc_known(config->options, "open badge")) {
		return 1;
	}
	open = rc_value(config->options, "open");
	badge = rc_option(config, "badge", RC_TEXT(""));
	return RC_CONFIGURED;
}

/* Decides the kind of a channel. */
RC_CLASSIFY(request) {
	for (rc_iterator i = rc_items(open); rc_next(&i);) {
		if (rc_starts_with(request->channel, rc_string(i.value))) {
			return RC_ANONYMOUS;
		}
	}
	return RC_NO_OPINION;
}

/* Changes what an answer shows of a user. */
RC_MEMBERS(endpoint, member) {
	if (badge.size) {
		rc_set(member, "badge", badge);
	}
}
