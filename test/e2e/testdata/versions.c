/*
 * A plugin whose version can be told from every answer: VERSION is a letter that the compiler defines. Channels that
 * begin with "open-" are open to everyone only as long as a version of it decides.
 */
#include "rollcall.h"

#define TEXT(x) TEXT_OF(x)
#define TEXT_OF(x) #x

/* What an instance holds, so that one that is not given back shows in the memory of the process. */
static volatile unsigned char ballast[1 << 20];

RC_CONFIGURE(config) {
	(void)config;
	for (uint32_t i = 0; i < sizeof ballast; i += 4096) {
		ballast[i] = 1;
	}
	return RC_CONFIGURED;
}

RC_CLASSIFY(request) {
	return rc_starts_with(request->channel, RC_TEXT("open-")) ? RC_ANONYMOUS : RC_NO_OPINION;
}

RC_AUTHORIZE(request) {
	return rc_ends_with(request->channel, RC_TEXT("-refused")) ? RC_REFUSED : RC_NO_OBJECTION;
}

RC_MEMBERS(endpoint, member) {
	rc_set(member, "version", RC_TEXT(TEXT(VERSION)));
}

RC_SHAPE(endpoint, body) {
	rc_write(RC_TEXT("{\"version\":\"" TEXT(VERSION) "\",\"answer\":"));
	rc_write(body);
	rc_write(RC_TEXT("}"));
	return rc_written();
}
