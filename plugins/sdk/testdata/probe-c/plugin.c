/* The plugin of package guest's tests: it does what its input says. */
#include "rollcall.h"

static rc_text number(int32_t n) {
	static const char digits[] = "0123456789";
	return (rc_text){digits + n, 1};
}

RC_CONFIGURE(config) {
	rc_json o = config->options;
	if (!rc_known(o, "word words flag number inner")) {
		return 1;
	}
	rc_text words = RC_TEXT("");
	for (rc_iterator i = rc_items(rc_value(o, "words")); rc_next(&i);) {
		words = words.size ? RC_JOIN(words, RC_TEXT("+"), rc_string(i.value)) : rc_string(i.value);
	}
	rc_json deep = rc_value(rc_value(o, "inner"), "deep");
	rc_log(RC_INFO, RC_JOIN(config->host, RC_TEXT("|"), config->plugin, RC_TEXT("|"),
	                        rc_option(config, "word", RC_TEXT("none")), RC_TEXT("|"), words, RC_TEXT("|"),
	                        rc_is_true(rc_value(o, "flag")) ? RC_TEXT("true") : RC_TEXT("false"), RC_TEXT("|"),
	                        rc_option(config, "number", RC_TEXT("-1")), RC_TEXT("|"),
	                        deep.size ? rc_string(deep) : RC_TEXT("none")));
	return RC_CONFIGURED;
}

RC_CLASSIFY(request) {
	rc_text rest = request->channel;
	rc_decision d = RC_NO_OPINION;
	for (bool first = true; rest.size || first; first = false) {
		uint32_t end = 0;
		while (end < rest.size && rest.data[end] != '+') {
			end++;
		}
		rc_text word = rc_part(rest, 0, end);
		rest = rc_part(rest, end + 1, rest.size);
		if (!first) {
			d |= rc_equal(word, RC_TEXT("hidden")) ? RC_HIDDEN : 0;
			d |= rc_equal(word, RC_TEXT("count")) ? RC_COUNT_ONLY : 0;
			d |= rc_equal(word, RC_TEXT("grant")) ? RC_NEED_GRANT : 0;
		} else if (rc_equal(word, RC_TEXT("authenticated"))) {
			d = RC_AUTHENTICATED;
		} else if (rc_equal(word, RC_TEXT("anonymous"))) {
			d = RC_ANONYMOUS;
		} else if (rc_equal(word, RC_TEXT("denied"))) {
			d = RC_DENIED;
		} else if (rc_equal(word, RC_TEXT("flag"))) {
			d = request->needs_grant ? RC_HIDDEN : RC_NO_OPINION;
		} else if (rc_equal(word, RC_TEXT("fail"))) {
			__builtin_trap();
		}
	}
	return d;
}

RC_AUTHORIZE(request) {
	rc_text bar = RC_TEXT("|");
	rc_log(RC_WARN, RC_JOIN(request->host, bar, request->channel, bar, number(request->site), bar,
	                        request->anonymous ? RC_TEXT("anonymous") : RC_TEXT("known"), bar, request->user, bar,
	                        request->email));
	return rc_equal(request->user, RC_TEXT("eve")) ? RC_REFUSED : RC_NO_OBJECTION;
}

static char long_key[257];

RC_MEMBERS(endpoint, member) {
	rc_text id = rc_id(member);
	if (rc_equal(id, RC_TEXT("tell"))) {
		rc_log(RC_INFO, RC_JOIN(number(endpoint), RC_TEXT("|"), rc_info(member), RC_TEXT("|"), rc_status(member)));
	} else if (rc_equal(id, RC_TEXT("hide"))) {
		rc_hide(member);
	} else if (rc_equal(id, RC_TEXT("mask"))) {
		rc_set(member, "email", RC_JOIN(RC_TEXT("*"), RC_TEXT("**")));
	} else if (rc_equal(id, RC_TEXT("rename"))) {
		rc_rename(member, "email", "mail");
	} else if (rc_equal(id, RC_TEXT("remove"))) {
		rc_delete(member, "email");
	} else if (rc_equal(id, RC_TEXT("add"))) {
		rc_set_json(member, "level", RC_TEXT("[3,null]"));
	} else if (rc_equal(id, RC_TEXT("swap"))) {
		rc_rename(member, "email", "id");
	} else if (rc_equal(id, RC_TEXT("long"))) {
		__builtin_memset(long_key, 'k', 256);
		rc_set(member, long_key, RC_TEXT("value"));
	} else {
		rc_delete(member, "none");
		rc_rename(member, "none", "other");
	}
}

RC_SHAPE(endpoint, body) {
	if (rc_equal(body, RC_TEXT("\"unchanged\""))) {
		return RC_UNCHANGED;
	}
	if (rc_equal(body, RC_TEXT("\"fail\""))) {
		rc_log(RC_ERROR, RC_TEXT("asked to fail"));
		return RC_SHAPE_FAILED;
	}
	if (rc_equal(body, RC_TEXT("\"endpoint\""))) {
		return number(endpoint);
	}
	/* The text of a string, written again. */
	rc_write_string(rc_equal(body, RC_TEXT("\"request\"")) ? rc_request_body() : rc_string(body));
	return rc_written();
}
