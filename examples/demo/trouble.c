/*
 * trouble is a plugin of the demo that refuses and fails on purpose, so that the page can show what its visitors then
 * see. It uses the contract without an SDK.
 *
 * A message {"trouble":"trap"} makes it crash; "refuse", "loop", "error", "rubbish" and "large" are the other ways. A
 * user whose id is "trouble." and one of these words makes it do the same at the login.
 */
#include <stdbool.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))

static char input[320 << 10] __attribute__((aligned(8))); /* more than a message and its request have */

EXPORT("rollcall_abi_v1") void marker(void) {
}

EXPORT("rollcall_buffer") char *buffer(uint32_t size) {
	return size <= sizeof input ? input : 0;
}

/* begins reports whether the size bytes at p begin with a text. */
static bool begins(const char *p, uint32_t size, const char *text) {
	for (; *text; text++, p++, size--) {
		if (size == 0 || *p != *text) {
			return false;
		}
	}
	return true;
}

/* find returns the rest of the size bytes at p after the first text in them, or 0. */
static const char *find(const char *p, uint32_t size, const char *text, uint32_t length, uint32_t *left) {
	for (; size >= length; p++, size--) {
		if (begins(p, size, text)) {
			*left = size - length;
			return p + length;
		}
	}
	return 0;
}

static volatile uint32_t turns;

/* act does what the word at p asks for, and returns the result of the hook. */
static int64_t act(const char *p, uint32_t size) {
	static const char rubbish[] = "this is not JSON";
	if (begins(p, size, "refuse\"")) {
		return 1;
	}
	if (begins(p, size, "trap\"")) {
		__builtin_trap();
	}
	if (begins(p, size, "loop\"")) {
		for (;;) {
			turns++;
		}
	}
	if (begins(p, size, "error\"")) {
		return -1;
	}
	if (begins(p, size, "rubbish\"")) {
		return (int64_t)(uintptr_t)rubbish << 32 | (sizeof rubbish - 1);
	}
	if (begins(p, size, "large\"")) {
		return (int64_t)(uintptr_t)input << 32 | sizeof input;
	}
	return 0;
}

EXPORT("rollcall_connect") int64_t connect(const char *p, uint32_t size) {
	const char id[] = "\"user\":{\"id\":\"trouble.";
	uint32_t left;
	const char *word = find(p, size, id, sizeof id - 1, &left);
	return word ? act(word, left) : 0;
}

EXPORT("rollcall_message") int64_t message(const char *p, uint32_t size) {
	const char key[] = "\"trouble\":\"";
	uint32_t left;
	const char *word = find(p, size, key, sizeof key - 1, &left);
	return word ? act(word, left) : 0;
}

/* It has no objection to any join, whatever its other hooks did. */
EXPORT("rollcall_authorize") int64_t authorize(const char *p, uint32_t size) {
	(void)p;
	(void)size;
	return 0;
}
