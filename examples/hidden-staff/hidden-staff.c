/*
 * hidden-staff is a Rollcall plugin that leaves the staff out of a host's listings, or marks them.
 *
 * Its options; one of the first two is needed:
 *
 *     config {
 *         domains staff.example        # users with an e-mail address at one of these
 *         ids     admin support-1      # users with one of these IDs
 *         mark                         # list them with "staff": true instead of leaving them out
 *     }
 *
 * A user whose address is not known is staff only by ID.
 */
#include "rollcall.h"

static rc_json domains, ids;
static bool mark;

RC_CONFIGURE(config) {
	if (!rc_known(config->options, "domains ids mark")) {
		return 1;
	}
	domains = rc_value(config->options, "domains");
	ids = rc_value(config->options, "ids");
	rc_json how = rc_value(config->options, "mark");
	mark = rc_is_true(how);
	if (how.size && !mark) {
		return rc_refuse(RC_TEXT("config: mark: want no value"));
	}
	if (!domains.size && !ids.size) {
		return rc_refuse(RC_TEXT("config: want domains or ids, to tell who is staff"));
	}
	if (rc_is_true(domains) || rc_is_true(ids)) {
		return rc_refuse(RC_TEXT("config: domains and ids need a value"));
	}
	return RC_CONFIGURED;
}

static bool is_staff(rc_member *member) {
	rc_text email = rc_email(member), id = rc_id(member);
	uint32_t at = rc_find_last(email, '@');
	if (at < email.size) {
		rc_text domain = rc_part(email, at + 1, email.size);
		for (rc_iterator i = rc_items(domains); rc_next(&i);) {
			if (rc_equal_fold(domain, rc_string(i.value))) {
				return true;
			}
		}
	}
	for (rc_iterator i = rc_items(ids); rc_next(&i);) {
		if (rc_equal(id, rc_string(i.value))) {
			return true;
		}
	}
	return false;
}

RC_MEMBERS(endpoint, member) {
	if (!is_staff(member)) {
		return;
	}
	if (mark) {
		rc_set_json(member, "staff", RC_TEXT("true"));
	} else {
		rc_hide(member);
	}
}
