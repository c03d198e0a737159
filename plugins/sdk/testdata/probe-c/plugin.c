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

static rc_text decimal(int64_t n) {
	static char digits[20];
	uint32_t at = sizeof digits;
	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	return (rc_text){digits + at, sizeof digits - at};
}

RC_CONNECT(login) {
	rc_text bar = RC_TEXT("|"), user = login->user, empty = RC_TEXT("");
	rc_json role = rc_value(login->claims, "role");
	rc_log(RC_INFO, RC_JOIN(login->host, bar, login->connection, bar,
	                        login->anonymous ? RC_TEXT("anonymous") : RC_TEXT("known"), bar, user, bar, login->email, bar,
	                        login->info, bar, rc_is_string(role) ? rc_string(role) : empty));
	if (rc_equal(user, RC_TEXT("eve"))) {
		return RC_REFUSE;
	}
	bool both = rc_equal(user, RC_TEXT("both")), info = both || rc_equal(user, RC_TEXT("info"));
	bool open = both || rc_equal(user, RC_TEXT("open"));
	if (rc_equal(user, RC_TEXT("null"))) {
		return RC_TEXT("{\"info\":null}");
	}
	if (!info && !open) {
		return RC_UNCHANGED;
	}
	rc_write(RC_TEXT("{"));
	if (info) {
		rc_write(RC_TEXT("\"info\":"));
		rc_write_with(RC_TEXT("{}"), "role", rc_string(role));
	}
	if (open) {
		rc_write(both ? RC_TEXT(",") : empty);
		rc_write(RC_TEXT("\"channels\":[\"news-*\","));
		rc_write_string(RC_TEXT("a\"b"));
		rc_write(RC_TEXT("]"));
	}
	rc_write(RC_TEXT("}"));
	return rc_written();
}

static bool is(rc_text text, const char *word) { return rc_equal(text, rc_c(word)); }

RC_MESSAGE(sender, message) {
	rc_json field = rc_value(message, "text");
	rc_text bar = RC_TEXT("|"), text = rc_is_string(field) ? rc_string(field) : RC_TEXT(""), found, c = sender->channel;
	if (is(c, "get")) {
		rc_log(RC_INFO, rc_kv_get(text, &found) ? found : RC_TEXT("none"));
	} else if (is(c, "set")) {
		rc_log(RC_INFO, rc_kv_set(text, RC_JOIN(text, RC_TEXT("!")), 1500) ? RC_TEXT("true") : RC_TEXT("false"));
	} else if (is(c, "short")) {
		rc_kv_set(text, RC_TEXT("short"), 0);
	} else if (is(c, "delete")) {
		rc_kv_delete(text);
	} else if (is(c, "add")) {
		rc_log(RC_INFO, decimal(rc_kv_add(text, 1, RC_MINUTE)));
	} else if (is(c, "count")) {
		rc_count(text, 2);
	} else if (is(c, "replace")) {
		rc_write_with(message, "text", RC_JOIN(text, RC_TEXT("!")));
		return rc_written();
	} else {
		rc_text who = sender->anonymous ? RC_TEXT("anonymous") : sender->backend ? RC_TEXT("backend") : RC_TEXT("known");
		rc_log(RC_WARN, RC_JOIN(sender->host, bar, c, bar, number(sender->site), bar, who, bar, sender->user, bar,
		                        sender->email, bar, sender->connection, bar, text));
	}
	return is(c, "refuse") ? RC_REFUSE : RC_UNCHANGED;
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
