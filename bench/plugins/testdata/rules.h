// The work of the C guests, for any host.
#include <stdint.h>

static inline int starts(const uint8_t *text, uint32_t size, const char *prefix) {
	uint32_t i = 0;
	for (; prefix[i] != 0; i++) {
		if (i >= size || text[i] != (uint8_t)prefix[i]) {
			return 0;
		}
	}
	return 1;
}

// rule decides about a channel: lobbies are anonymous, staff rooms are hidden, no opinion on
// others.
static inline uint32_t rule(const uint8_t *channel, uint32_t size) {
	if (starts(channel, size, "lobby-")) {
		return 2;
	}
	if (starts(channel, size, "staff-")) {
		return 1 | 1 << 8;
	}
	return 0;
}

// string_end returns the end of the JSON string that starts at the quote, after its closing quote.
static inline uint32_t string_end(const uint8_t *json, uint32_t size, uint32_t at) {
	for (at++; at < size && json[at] != '"'; at++) {
		if (json[at] == '\\') {
			at++;
		}
	}
	return at + 1 < size ? at + 1 : size;
}

// mask copies a JSON text and hides each "email" except for its first letter and its domain. It
// needs room for 1 + size * 2 bytes and returns the number of bytes written.
static uint32_t mask(const uint8_t *json, uint32_t size, uint8_t *to) {
	uint32_t at = 0, out = 0;
	int email = 0;
	while (at < size) {
		if (json[at] != '"') {
			if (json[at] == ',' || json[at] == '}') {
				email = 0;
			}
			to[out++] = json[at++];
			continue;
		}
		uint32_t end = string_end(json, size, at), from = at;
		if (email) {
			uint32_t sign = at + 1;
			while (sign < end && json[sign] != '@') {
				sign++;
			}
			to[out++] = '"';
			to[out++] = json[at + 1];
			to[out++] = '*';
			to[out++] = '*';
			to[out++] = '*';
			from = sign;
		}
		email = end - at == 7 && starts(json + at, 7, "\"email\"");
		while (from < end) {
			to[out++] = json[from++];
		}
		at = end;
	}
	return out;
}
