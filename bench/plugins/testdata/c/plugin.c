// The C guest: a lobby is anonymous, staff rooms are hidden, e-mail addresses are masked.
#include "rollcall.h"
#include "rules.h"

RC_CLASSIFY(request) {
	return (rc_decision)rule((const uint8_t *)request->channel.data, request->channel.size);
}

RC_SHAPE(endpoint, body) {
	uint8_t *to = (uint8_t *)rc_make(1 + (uint64_t)body.size * 2);
	if (!to) {
		return RC_SHAPE_FAILED;
	}
	return (rc_text){(const char *)to, mask((const uint8_t *)body.data, body.size, to)};
}
